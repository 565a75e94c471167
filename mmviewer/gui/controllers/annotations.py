"""Regions of items: drawn, named, moved and removed with undo; kept, imported and exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from mmviewer import paths
from mmviewer.core.errors import MMViewerError
from mmviewer.core.session.annotation_files import Annotated, AnnotationStore, read_coco, write_coco
from mmviewer.core.session.annotations import (
    COLOURS,
    MOST,
    Annotation,
    AnnotationKind,
    Point,
    is_colour,
    next_colour,
)
from mmviewer.core.session.samples import sample_of
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.controllers.library import Change

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench


class AnnotationController(QObject):
    """Changes `state.annotations` and `state.region`; what is drawn stays with the item between runs."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        home = workbench.settings.folder
        self._store = AnnotationStore(None if home is None else home / "annotations")
        self._seen: set[str] = set()
        self._state.items_changed.connect(self._on_items)
        self._on_items(self._state.items)

    def release(self) -> None:
        """Stop watching the state."""
        self._state.items_changed.disconnect(self._on_items)

    # --- what a user does ------------------------------------------------------------------------------
    def choose(self, annotation_id: str | None) -> None:
        """Measure maps against a region of the current item, or against none."""
        found = (each for each in self._current() if each.id == annotation_id)
        self._state.set_region(next(found, None))

    def add(self, kind: AnnotationKind, points: Sequence[Point], name: str = "") -> None:
        """Add a region to the current item and choose it; what lies outside of the item is cut off."""
        item = self._state.current
        if item is None:
            return
        before = self._current()
        if len(before) >= MOST:
            self._workbench.notice.emit(f"{item.name} has {MOST} regions; remove some first.", "warning")
            return
        try:
            drawn = Annotation(name, kind, tuple(points), next_colour(before))
        except MMViewerError:
            return  # less than a region, such as a click without a drag
        inside = drawn.kept_inside(extent_of(item))
        if inside is not None:
            self._change(f"Draw {inside.label}", item, (*before, inside))
            self.choose(inside.id)

    def reshape(self, annotation_id: str, points: Sequence[Point]) -> None:
        """Move a region or change its outline."""
        item = self._state.current
        region = self._named(annotation_id)
        if item is None or region is None:
            return
        inside = replace(region, points=tuple(points)).kept_inside(extent_of(item))
        if inside is not None:
            self._replace(f"Move {region.label}", item, inside)

    def rename(self, annotation_id: str, name: str) -> None:
        """Give a region a name."""
        region, item = self._named(annotation_id), self._state.current
        if region is not None and item is not None:
            self._replace(f"Name {region.label}", item, replace(region, name=name))

    def recolour(self, annotation_id: str, colour: str) -> None:
        """Give a region another colour."""
        region, item = self._named(annotation_id), self._state.current
        if region is not None and item is not None and is_colour(colour):
            self._replace(f"Colour {region.label}", item, replace(region, colour=colour))

    def remove(self, annotation_id: str) -> None:
        """Remove a region of the current item."""
        region, item = self._named(annotation_id), self._state.current
        if region is not None and item is not None:
            left = [each for each in self._current() if each.id != annotation_id]
            self._change(f"Remove {region.label}", item, left)

    # --- files -----------------------------------------------------------------------------------------
    def export_file(self, path: Path, *, all_items: bool = False) -> None:
        """Write the regions of the current item, or of all, as a COCO file."""
        items = self._state.items if all_items else [self._state.current]
        chosen = [item for item in items if item is not None and self._state.annotations_of(item.id)]
        annotated = [
            Annotated(item.name, self._state.annotations_of(item.id), item.id, _size(item)) for item in chosen
        ]
        if self._tried(lambda: write_coco(path, annotated)):
            self._workbench.notice.emit(f"Wrote {path}", "info")

    def import_file(self, path: Path) -> None:
        """Add the regions of a COCO file to the items they belong to, by content, else by file name."""
        read: list[Annotated] = []
        known = {name for item in self._state.items for name in (item.id, item.name, _file_name(item))}
        if not self._tried(lambda: read.extend(read_coco(path, known))):
            return
        changes = self._to_add(read)
        added = sum(len(fresh) for _, fresh in changes)
        if added:
            stack = self._workbench.undo_stack
            stack.beginMacro(f"Import {path.name}")
            for item, fresh in changes:
                self._change("Import", item, (*self._state.annotations_of(item.id), *fresh))
            stack.endMacro()
        words = (
            f"Added {added} region{'' if added == 1 else 's'} of {path.name}."
            if added
            else f"Nothing of {path.name} is new for an item of the library: its pictures have other names "
            "or sizes, or their regions are there already."
        )
        self._workbench.notice.emit(words, "info" if added else "warning")

    # --- inside ------------------------------------------------------------------------------------------
    def _on_items(self, items: tuple[LibraryItem, ...]) -> None:
        for item in items:
            if item.id not in self._seen:
                self._seen.add(item.id)
                kept = self._store.load(item.id)
                self._state.set_annotations(item.id, things_of(item) if kept is None else kept)

    def _current(self) -> tuple[Annotation, ...]:
        item = self._state.current
        return self._state.annotations_of(item.id) if item is not None else ()

    def _named(self, annotation_id: str) -> Annotation | None:
        return next((each for each in self._current() if each.id == annotation_id), None)

    def _replace(self, words: str, item: LibraryItem, changed: Annotation) -> None:
        listed = [changed if each.id == changed.id else each for each in self._current()]
        self._change(words, item, listed)

    def _change(self, words: str, item: LibraryItem, after: Sequence[Annotation]) -> None:
        before, wanted = self._state.annotations_of(item.id), tuple(after)
        if before != wanted:
            redo, undo = (lambda: self._set(item, wanted)), (lambda: self._set(item, before))
            self._workbench.undo_stack.push(Change(words, redo, undo))

    def _set(self, item: LibraryItem, annotations: tuple[Annotation, ...]) -> None:
        self._state.set_annotations(item.id, annotations)
        self._tried(lambda: self._store.save(item.id, item.name, annotations))

    def _to_add(self, read: Sequence[Annotated]) -> list[tuple[LibraryItem, list[Annotation]]]:
        """What is new of a file for which item."""
        only = self._state.current if len(read) == 1 else None
        changes = []
        for one in read:
            item = self._owner(one, only)
            if item is None:
                continue
            known = self._state.annotations_of(item.id)
            cut = [each.kept_inside(extent_of(item)) for each in one.annotations]
            changes.append((item, _without_known(known, [each for each in cut if each])[: MOST - len(known)]))
        return [(item, fresh) for item, fresh in changes if fresh]

    def _owner(self, one: Annotated, only: LibraryItem | None) -> LibraryItem | None:
        """The item that an entry of a file is about; `only` where it can be no other, if its size fits."""
        known = self._state.item(one.id)
        if known is not None:
            return known
        named = [item for item in self._state.items if one.name in (_file_name(item), item.name)]
        candidates = named or ([only] if only is not None else [])
        return next((item for item in candidates if one.size in ((0, 0), _size(item))), None)

    def _tried(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except MMViewerError as error:
            self._workbench.report(ErrorReport(type(error).__name__, error.message))
            return False
        return True


def things_of(item: LibraryItem) -> tuple[Annotation, ...]:
    """Where the things of a sample lie, as its list says; nothing for other items."""
    sample = sample_of(item.media.path, paths.samples())
    height, width = extent_of(item)
    found = []
    for number, (name, place) in enumerate(sample.things.items() if sample is not None else ()):
        colour = COLOURS[number % len(COLOURS)]
        if item.media.modality is Modality.IMAGE and len(place) == 4:
            left, top, right, bottom = place
            corners = ((left * width, top * height), (right * width, bottom * height))
            found.append(Annotation(name, "box", corners, colour, id=f"sample-{number}"))
        elif item.media.modality is Modality.AUDIO and len(place) == 2:
            found.append(Annotation(name, "span", ((place[0], place[1]),), colour, id=f"sample-{number}"))
    return tuple(found)


def extent_of(item: LibraryItem) -> tuple[float, float]:
    """Height and width of a picture in pixels; (0, seconds) of a sound."""
    if item.media.modality is Modality.IMAGE:
        return float(item.media.size[0]), float(item.media.size[1])
    return 0.0, item.media.duration


def _without_known(known: Sequence[Annotation], read: Sequence[Annotation]) -> list[Annotation]:
    there = {(each.name or each.label, each.kind, each.points) for each in known}
    return [each for each in read if (each.name or each.label, each.kind, each.points) not in there]


def _size(item: LibraryItem) -> tuple[int, int]:
    return item.media.size if item.media.modality is Modality.IMAGE else (0, 0)


def _file_name(item: LibraryItem) -> str:
    return Path(item.media.path).name if item.media.path is not None else item.media.name
