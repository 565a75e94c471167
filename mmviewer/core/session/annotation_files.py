"""Annotations on the disk: one small file per item, and exchange in the form of COCO's instance files."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmviewer import __version__
from mmviewer.core.errors import ExportError, InputError, MMViewerError
from mmviewer.core.media.files import write_atomically
from mmviewer.core.session.annotations import (
    COLOURS,
    MOST,
    Annotation,
    annotation_of,
    is_colour,
    next_colour,
    values_of,
)

VERSION = 1
_LARGEST = 64 << 20
"""Bytes of a file that is read; COCO's own for 5,000 pictures takes 20 MB."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Annotated:
    """What an exchanged file says of one item.

    `id` is the content id, empty in files of others; `size` is (height, width) in pixels, or (0, 0).
    """

    name: str
    annotations: tuple[Annotation, ...]
    id: str = ""
    size: tuple[int, int] = (0, 0)


class AnnotationStore:
    """Keeps annotations by content id, so that they come back with the item, whatever its file is called.

    Parameters
    ----------
    folder : Path or None
        Made when there is something to keep; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        known = folder is not None and folder.is_dir()
        self._known = {path.stem for path in folder.glob("*.json")} if known and folder is not None else set()

    def load(self, item_id: str) -> tuple[Annotation, ...] | None:
        """What is kept of an item; None where nothing ever was. What is broken is logged and left out."""
        if self._folder is None or item_id not in self._known:
            return None
        try:
            values = _read(self._path(item_id))
        except MMViewerError as error:
            logger.warning("annotations cannot be read: %s", error)
            return None
        listed = values.get("annotations")
        found = []
        for each in listed[:MOST] if isinstance(listed, list) else ():
            try:
                found.append(annotation_of(each if isinstance(each, dict) else {}))
            except InputError as error:
                logger.warning("annotations: dropped one: %s", error)
        return tuple(found)

    def save(self, item_id: str, name: str, annotations: Sequence[Annotation]) -> None:
        """Keep the annotations of an item, an empty list as well.

        Raises
        ------
        ExportError
            The file cannot be written; says why.
        """
        if self._folder is None or not item_id.isalnum():
            return
        values = {"version": VERSION, "item": name, "annotations": [values_of(each) for each in annotations]}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"Annotations cannot be kept: the folder {self._folder} cannot be made ({error.strerror}); "
                "they stay until the window is closed."
            ) from error
        write_atomically(self._path(item_id), json.dumps(values, indent=1).encode(), ExportError)
        self._known.add(item_id)

    def _path(self, item_id: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{item_id}.json"


def write_coco(path: Path, items: Sequence[Annotated]) -> None:
    """Write annotations as a COCO instance file; stretches of sounds carry `span`, which COCO does not know.

    Raises
    ------
    ExportError
        There is nothing to write, or the file cannot be written.
    """
    listed = [each for item in items for each in item.annotations]
    if not listed:
        raise ExportError("There are no annotations to write; draw a region on an item first.")
    names = list(dict.fromkeys(each.label for each in listed))
    content: dict[str, Any] = {
        "info": {"description": "Annotations of mmviewer", "version": __version__},
        "images": [
            {
                "id": number,
                "file_name": item.name,
                "height": item.size[0],
                "width": item.size[1],
                "content_id": item.id,
            }
            for number, item in enumerate(items, start=1)
        ],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    for number, item in enumerate(items, start=1):
        for each in item.annotations:
            place = {"id": len(content["annotations"]) + 1, "image_id": number}
            content["annotations"].append(
                {**place, "category_id": names.index(each.label) + 1, "colour": each.colour, **_shape(each)}
            )
    write_atomically(path, json.dumps(content, indent=1).encode(), ExportError)


def read_coco(path: Path, known: Collection[str] | None = None) -> tuple[Annotated, ...]:
    """Read a COCO instance file; run-length masks are taken as their boxes, and each outline on its own.

    With `known`, file names and content ids, only what is said of these pictures is read, or of the only one.

    Raises
    ------
    InputError
        The file is no such file; names it and says what is wrong.
    """
    values = _read(path)
    pictures = {each["id"]: each for each in _table(values, "images", path) if _is_id(each.get("id"))}
    names = {
        each["id"]: each["name"]
        for each in _table(values, "categories", path)
        if _is_id(each.get("id")) and isinstance(each.get("name"), str)
    }
    if known is not None and len(pictures) > 1:
        chosen = {
            place
            for place, each in pictures.items()
            if _name(each) in known or str(each.get("content_id", "")) in known
        }
    else:
        chosen = set(pictures)
    found: dict[object, list[Annotation]] = {}
    broken = 0
    for each in _table(values, "annotations", path):
        place, category = each.get("image_id"), each.get("category_id")
        if not _is_id(place) or place not in pictures:
            broken += 1
            continue
        if place not in chosen:
            continue
        mine = found.setdefault(place, [])
        try:
            mine += _regions(each, names.get(category, "") if _is_id(category) else "", mine)
        except (InputError, TypeError, ValueError, OverflowError):
            broken += 1
    if not pictures or (chosen and not any(found.values())):
        raise InputError(f"{path.name} holds no annotation that can be read; choose a COCO instance file.")
    if broken:
        logger.warning("%s: %d annotations were left out", path.name, broken)
    return tuple(_annotated(pictures[place], regions[:MOST]) for place, regions in found.items() if regions)


def _annotated(picture: Mapping[str, Any], regions: Sequence[Annotation]) -> Annotated:
    height, width = picture.get("height"), picture.get("width")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else (0, 0)
    return Annotated(_name(picture), tuple(regions), str(picture.get("content_id", ""))[:64], size)


def _name(picture: Mapping[str, Any]) -> str:
    """The file name without folders."""
    return str(picture.get("file_name", ""))[:1000].replace("\\", "/").rsplit("/", 1)[-1]


def _shape(annotation: Annotation) -> dict[str, Any]:
    if annotation.kind == "span":
        return {"span": list(annotation.points[0]), "area": 0, "iscrowd": 0}
    top, left, bottom, right = annotation.box
    outline = [number for point in annotation.points for number in point]
    return {
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": [outline] if annotation.kind == "polygon" else [],
        "area": annotation.area,
        "iscrowd": 0,
    }


def _regions(values: Mapping[str, Any], name: str, before: Sequence[Annotation]) -> list[Annotation]:
    given = values.get("colour")
    colour = given if is_colour(given) else next_colour(before) if len(before) < MOST else COLOURS[0]
    assert isinstance(colour, str)
    if "span" in values:
        start, end = values["span"]
        return [Annotation(name, "span", ((float(start), float(end)),), colour)]
    outlines = values.get("segmentation")
    if isinstance(outlines, list) and outlines:
        return [Annotation(name, "polygon", _pairs(outline), colour) for outline in outlines]
    left, top, width, height = (float(each) for each in values["bbox"])
    return [Annotation(name, "box", ((left, top), (left + width, top + height)), colour)]


def _pairs(outline: Sequence[float]) -> tuple[tuple[float, float], ...]:
    numbers = [float(each) for each in outline]
    return tuple(zip(numbers[0::2], numbers[1::2], strict=True))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path.name} is larger than {_LARGEST >> 20} MB; split it into smaller files.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror}); choose another file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no JSON file; choose a COCO instance file.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path.name} holds no annotations; choose a COCO instance file.")
    return values


def _table(values: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    listed = values.get(key)
    if not isinstance(listed, list):
        raise InputError(f"{path.name} has no list of {key}; choose a COCO instance file.")
    return [each for each in listed if isinstance(each, dict)]


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)
