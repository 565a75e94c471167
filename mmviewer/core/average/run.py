"""Make the maps of many items, one after the other, and average them as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.average.frame import average, distances, on_frame
from mmviewer.core.average.result import AverageMap, LeftOut
from mmviewer.core.cautions import applying
from mmviewer.core.errors import DeviceError, InputError, MediaError, UnsupportedError
from mmviewer.core.explain.base import METHODS, explain, method_infos
from mmviewer.core.explain.selection import ShownMap, show
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import score_of_shown
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import FloatArray, MapSpec, Media, Modality, TokenMaps
from mmviewer.core.words import seconds_in_words

Item = tuple[int, str]
"""Number and name."""

_TELL_AFTER = 0.2  # seconds between two partial results: more than one can see only cost time
_USUAL = ("gradient_attention", "gradcam")
_KIND_WORDS = {Modality.IMAGE: "image", Modality.AUDIO: "sound"}


def check_question(model: LoadedModel, modality: Modality, text: str, spec: MapSpec) -> None:
    """Say at once what would fail for every item.

    Raises
    ------
    InputError
        The text has no word or is too long, or there is no such method.
    UnsupportedError
        The model embeds no text, or has nothing there that the method could use.
    """
    side = model.side(modality)
    query_sequence(side, "", text)
    method = METHODS.get(spec.method)
    if not method.offers(side, "query"):
        raise UnsupportedError(
            f"{method.label} cannot show what {model.info.label} looks for in"
            f" {'an image' if modality is Modality.IMAGE else 'a sound'}; choose another method or model."
        )


def usual_method(model: LoadedModel, modality: Modality) -> str:
    """The method by which typed texts are looked for unless another is named."""
    side = model.side(modality)
    offered = [info.key for info in method_infos(side) if info.points_for("query")]
    return next((key for key in (*_USUAL, *offered) if key in offered), _USUAL[0])


def map_of_item(
    model: LoadedModel,
    media: Media,
    modality: Modality,
    text: str,
    spec: MapSpec,
    progress: Progress = SILENT,
) -> TokenMaps:
    """The maps of one item for a text, as single maps are made; `MediaError` if it is of another kind."""
    if media.modality is not modality:
        raise MediaError(f"{media.name} is no {_KIND_WORDS[modality]}; images and sounds are averaged apart.")
    prepared = model.prepare(media)
    return explain(model, prepared, query_sequence(model, prepared.media_id, text), spec, _Check(progress))


def average_maps(
    items: Sequence[Item],
    make: Callable[[int], TokenMaps],
    text: str,
    *,
    asked: int = 0,
    notes: Sequence[str] = (),
    progress: Progress = SILENT,
    partial: Callable[[AverageMap], None] | None = None,
) -> AverageMap:
    """Average the maps of a text over items, each brought to the frame of its item.

    An item that cannot be read, or in which nothing counts for the text, is listed with the reason, and the
    others go on.

    Parameters
    ----------
    items : sequence of (int, str)
        Number and name of each.
    make : callable
        Makes the maps of the item with this number.
    text : str
    asked : int
        Of how many items these were taken; by default of themselves.
    notes : sequence of str
        What else a reader must know.
    progress : Progress
        Reported to, and checked for a cancel, before each item.
    partial : callable, optional
        Receives what is known so far, a few times a second, without the maps of single items.

    Raises
    ------
    InputError
        None of the items has a map; the sentence says why the first has none.
    """
    if not items:
        raise InputError("There is nothing to average; choose images or sounds that are files.")
    known = _Known(items, text, asked or len(items), notes)
    began = warm = told = time.perf_counter()
    pace = 0.0
    for done, (row, name) in enumerate(items):
        progress.report(done, len(items), _message(done, len(items), pace * (len(items) - done)))
        try:
            known.add(row, name, make(row))
        except (MediaError, UnsupportedError, DeviceError) as error:
            known.left_out.append(LeftOut(row, name, error.message))
        now = time.perf_counter()
        if done == 0:
            warm = now  # the first item also waits for what the device prepares once
        pace = (now - warm) / done if done else now - began
        if partial is not None and known.maps and now - told > _TELL_AFTER and done + 1 < len(items):
            partial(known.result(pace * (len(items) - done - 1), whole=False))
            told = now
    if not known.maps:
        raise InputError(f"None of the {len(items):,} items has a map. {known.left_out[0].reason}")
    return known.result(None, whole=True)


class _Known:
    """What is known while items come in."""

    def __init__(self, items: Sequence[Item], text: str, asked: int, notes: Sequence[str]) -> None:
        self._total, self._text, self._asked = len(items), text, asked
        self._given = notes
        self._rows: list[int] = []
        self._names: list[str] = []
        self._descriptions: dict[str, None] = {}
        self._cautions: dict[str, int] = {}
        self._first: tuple[TokenMaps, ShownMap] | None = None
        self.maps: list[FloatArray] = []
        self.left_out: list[LeftOut] = []

    def add(self, row: int, name: str, maps: TokenMaps) -> None:
        shown = show(maps)
        self.maps.append(on_frame(shown.grid, maps.geometry))
        self._rows.append(row)
        self._names.append(name)
        self._descriptions[maps.description] = None
        for caution in applying(maps.cautions, shown.tokens):
            self._cautions[caution.text] = self._cautions.get(caution.text, 0) + 1
        self._first = self._first or (maps, shown)

    def result(self, seconds_left: float | None, *, whole: bool) -> AverageMap:
        assert self._first is not None
        first, shown = self._first
        maps = np.stack(self.maps)
        common = average(maps)
        rows: NDArray[np.int64] = np.array(self._rows, np.int64)
        return AverageMap(
            average=common,
            rows=rows,
            names=tuple(self._names),
            distances=distances(maps, common.mean),
            maps=maps if whole else maps[:0],
            left_out=tuple(self.left_out),
            asked=self._asked,
            total=self._total,
            text=self._text,
            spec=first.spec,
            kind=first.kind,
            modality=Modality.IMAGE if len(common.mean) > 1 else Modality.AUDIO,
            description=first.description,
            score=score_of_shown(first.score, [first.tokens[index].text for index in shown.tokens]),
            signed=first.signed,
            notes=self._notes(),
            model_id=first.model_id,
            seconds_left=seconds_left,
        )

    def _notes(self) -> tuple[str, ...]:
        """Cautions that hold for every map, and whether all were made alike."""
        notes = [*self._given, *(text for text, count in self._cautions.items() if count == len(self.maps))]
        if len(self._descriptions) > 1:
            notes.append(f"Not all maps were made alike: {'; '.join(self._descriptions)}.")
        return tuple(notes)


class _Check(Progress):
    """Asks whether to stop; what a single map reports is not told."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def check(self) -> None:
        self._progress.check()


def _message(done: int, total: int, seconds: float) -> str:
    left = f" · about {seconds_in_words(seconds)} left" if done else ""
    return f"Map {done + 1:,} of {total:,}{left}"
