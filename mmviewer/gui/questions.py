"""What a question to a collection is made of: words, items, files, regions; values without any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from mmviewer.core.session.annotations import Annotation
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.space.patches import PatchHits
from mmviewer.core.types import Media, MediaRef
from mmviewer.engine.protocol_space import QueryPart, SpaceAnswer
from mmviewer.gui.thumbnails import picture_of, region_picture

Rows = NDArray[np.int64]
Box = tuple[float, float, float, float]

_THIS = frozenset({"this", "it"})
_PICKED = "picked"
# a sign stands alone between blanks, so that "black-and-white" is one word
_SIGN = re.compile(r"(?:^|(?<=\s))([+\-−–])(?=\s)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a question, and how it counts: a text, an item of the collection, a file, or a region of it.

    Parameters
    ----------
    weight : float
        Negative to take it away.
    text : str
    row : int or None
    media : MediaRef or None
    box : tuple of float or None
        Top, left, bottom and right of a region of `media`, in pixels.
    outline : tuple of (float, float)
        The line of (x, y) around a region that is no rectangle.
    name : str
        What a file or region is called.
    """

    weight: float
    text: str = ""
    row: int | None = None
    media: MediaRef | None = None
    box: Box | None = None
    outline: tuple[tuple[float, float], ...] = ()
    name: str = field(default="", compare=False)

    @property
    def asked(self) -> QueryPart:
        """As the engine takes it."""
        return QueryPart(self.weight, self.text, self.row, self.media, self.box, self.outline)


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """What stands before the line of words and is meant by "this": a file, a region, or a former question."""

    name: str
    parts: tuple[Part, ...]
    picture: QImage | None = None

    @property
    def is_region(self) -> bool:
        """Whether it is a region and nothing else."""
        return len(self.parts) == 1 and self.parts[0].box is not None


@dataclass(frozen=True, slots=True)
class Query:
    """A question: what was asked, in words and in parts.

    Parameters
    ----------
    key : str
    text : str
        As its chip says it.
    parts : tuple of Part
    typed : str
        What stood in the line; empty where it was asked by pointing.
    kept : bool
        Whether it stays in the history however many follow.
    thing : Thing or None
        What stood before the line.
    by_patches : bool
        Whether images were ranked by the one patch nearest to the region.
    """

    key: str
    text: str
    parts: tuple[Part, ...]
    typed: str = ""
    kept: bool = False
    thing: Thing | None = field(default=None, compare=False)
    by_patches: bool = False

    @property
    def tip(self) -> str:
        """What a chip says further."""
        ways = "Click to ask again; drag it to keep it, or onto the line to ask more of it."
        return ways if not self.kept else "Kept. Click to ask again."

    @property
    def picture(self) -> QImage | None:
        """What a chip shows."""
        return None if self.thing is None else self.thing.picture


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answer to a question.

    Parameters
    ----------
    query : Query
    rows : int64 array [K]
        Most similar first.
    cosines : float32 array [K]
    similarity : float32 array [N] or None
        Of every item, NaN without a vector.
    note : str
        What it is the answer to, and how exact it is.
    boxes : mapping of int to tuple of float
        By row: top, left, bottom and right of the patch that was found, as shares of the image's size.
    """

    query: Query
    rows: Rows
    cosines: NDArray[np.float32]
    similarity: NDArray[np.float32] | None = None
    note: str = ""
    boxes: Mapping[int, Box] = field(default_factory=dict)


# --- things ------------------------------------------------------------------------------------------------
def thing_of_media(media: Media) -> Thing:
    """A file, or any item, as a question."""
    ref = MediaRef(media.id, media.modality, media.name, media.path, media.text)
    return Thing(media.name, (Part(1.0, media=ref, name=media.name),), picture_of(media))


def thing_of_item(item: LibraryItem) -> Thing:
    """An item of the library as a question, by the name that the user gave it."""
    return Thing(item.name, (Part(1.0, media=item.ref, name=item.name),), picture_of(item.media))


def thing_of_region(item: LibraryItem, region: Annotation) -> Thing:
    """A region of a picture as a question."""
    name = f"“{region.label}” in {item.name}"
    outline = region.points if region.kind == "polygon" else ()
    part = Part(1.0, media=item.ref, box=region.box, outline=outline, name=name)
    return Thing(name, (part,), region_picture(item.media, region.box, outline))


def thing_of_query(query: Query) -> Thing:
    """A former question as a part of the next."""
    return Thing(query.text, query.parts, query.picture)


# --- reading -----------------------------------------------------------------------------------------------
def parts_of(text: str, picked: int | None, thing: Thing | None = None) -> tuple[Part, ...]:
    """Read a question such as "this + snow − dog".

    "this" is `thing`, which also counts where it is not named; without one it is the item `picked`, as is
    "picked".

    Raises
    ------
    ValueError
        The picked item is asked for and nothing is picked; or there is no word at all. The message is for
        the user.
    """
    words = _signed(text)
    parts: list[Part] = []
    named = False
    for weight, word in words:
        folded = word.casefold()
        in_sum = len(words) > 1 or thing is not None
        if folded in _THIS and thing is not None:
            named = True
            parts += _weighted(thing, weight)
        elif in_sum and folded in {*_THIS, _PICKED}:
            if picked is None:
                raise ValueError(
                    f"“{folded}” means the picked item, and nothing is picked; click a point first."
                )
            parts.append(Part(weight, row=picked))
        else:
            parts.append(Part(weight, word))
    if thing is not None and not named:
        parts = [*thing.parts, *parts]
    if not parts:
        raise ValueError("Type what to look for.")
    return tuple(parts)


def _signed(text: str) -> list[tuple[float, str]]:
    """Each word with its sign."""
    pieces = _SIGN.split(text)
    signs = ["+", *pieces[1::2]] if pieces[0].strip() else pieces[1::2]
    words = pieces[0::2] if pieces[0].strip() else pieces[2::2]
    bare = [word.strip().strip('“”"') for word in words]
    return [(1.0 if sign == "+" else -1.0, word) for sign, word in zip(signs, bare, strict=True) if word]


def _weighted(thing: Thing, weight: float) -> list[Part]:
    return [replace(part, weight=part.weight * weight) for part in thing.parts]


# --- answers -----------------------------------------------------------------------------------------------
def found_items(query: Query, answer: SpaceAnswer) -> Found:
    """What came of a search among items."""
    how = (
        "every vector was compared" if answer.recall is None else f"finds {answer.recall:.0%} of the nearest"
    )
    note = f"Nearest to {query.text} by cosine · {how}"
    return Found(query, answer.rows, answer.cosines, answer.similarity, note)


def found_patches(query: Query, hits: PatchHits, images: int, *, closed: bool = False) -> Found:
    """What came of a search among the patches of those of `images` that are indexed.

    `closed`: items are looked at with the gap between kinds closed, which patches never are.
    """
    scale = np.tile(np.maximum(hits.sizes, 1), 2)  # [K, 4]
    boxes = {
        int(row): (top, left, bottom, right)
        for row, (top, left, bottom, right) in zip(
            hits.rows.tolist(), (hits.boxes / scale).tolist(), strict=True
        )
    }
    note = (
        f"Images whose best patch (framed) is nearest to {query.parts[0].name} by cosine ·"
        f" {hits.patches:,} patches of {hits.images:,} images were compared"
    )
    if images > hits.images:
        note += f" · {images - hits.images:,} images have no patches there; index them anew"
    if closed:
        note += " · the gap is not closed among patches"
    return Found(query, hits.rows, hits.cosines, None, note, boxes)
