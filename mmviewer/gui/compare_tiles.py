"""Cells of a comparison as the widget takes them; those that have not changed stay the same objects."""

from __future__ import annotations

from typing import Any

from mmviewer.core.cautions import applying
from mmviewer.core.compare.plan import CellMap, Place
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.targets import score_of_shown
from mmviewer.gui.controllers.compare import CompareController
from mmviewer.gui.map_style import picture_of
from mmviewer.gui.view_model import enlarge, grid_box
from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.painting import number
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.tile import Tile, TileState
from mmviewer.gui.widgets.time_map import TimeMap

_PICTURES_KEPT = 64


class Tiles:
    """Makes tiles, and keeps those whose map and scale are as before."""

    def __init__(self, compare: CompareController, state: SessionState) -> None:
        self._compare, self._state = compare, state
        self._kept: dict[Place, tuple[tuple[Any, ...], Tile]] = {}
        self._pictures: dict[str, Picture | None] = {}

    def tile(self, place: Place, cell: CellMap | None, ends: tuple[float, float] | None) -> Tile:
        """The tile of a cell: its map on the scale `ends`, or what is said in its place."""
        question = self._compare.plan.questions[place]
        item = self._state.item(question.item_id)
        what = self._without_map(place) if cell is None else (TileState.MAP, "", "")
        made = cell.maps if cell is not None else None
        key = (question, made, ends, what, item.name if item else "")
        kept = self._kept.get(place)
        if kept is not None and kept[0] == key:
            return kept[1]
        tile = self._make(place, item, cell, ends, what)
        self._kept[place] = (key, tile)
        return tile

    def _make(
        self,
        place: Place,
        item: LibraryItem | None,
        cell: CellMap | None,
        ends: tuple[float, float] | None,
        what: tuple[TileState, str, str],
    ) -> Tile:
        picture = self._picture(item)
        if cell is None or ends is None or item is None:
            state, words, button = what
            return Tile(state, picture, words=words, button=button, tip=words)
        geometry, grid, (low, high) = cell.maps.geometry, cell.shown.grid, ends
        tip = self._tip(place, cell, ends)
        if isinstance(geometry, ImageGeometry):
            over = GridMap(grid, grid_box(geometry), low, high, enlarge)
            return Tile(TileState.MAP, picture, over, signed=cell.maps.signed, tip=tip)
        heard = grid[: max(1, geometry.valid)]
        along = TimeMap(heard, geometry.start, geometry.step, low, high)
        return Tile(
            TileState.MAP,
            curve=along,
            duration=item.media.duration,
            signed=cell.maps.signed,
            tip=tip,
        )

    def _picture(self, item: LibraryItem | None) -> Picture | None:
        if item is None or item.media.pixels is None:
            return None
        if item.id not in self._pictures:
            if len(self._pictures) >= _PICTURES_KEPT:
                self._pictures.clear()
            self._pictures[item.id] = picture_of(item)
        return self._pictures[item.id]

    def _without_map(self, place: Place) -> tuple[TileState, str, str]:
        """State, words and button of a cell that has no map."""
        compare, question = self._compare, self._compare.plan.questions[place]
        found = compare.cell(place)
        if isinstance(found, str):
            retry = "Try again" if compare.can_retry(place) else ""
            return TileState.FAILED, found, retry
        if compare.running == question.source and not compare.stopped:
            return TileState.RUNNING, "Computing…", ""
        estimate = compare.estimate(place)
        if estimate is not None and compare.waits_for_click(place):
            takes = time_words(estimate.seconds).capitalize()
            words = f"{takes}: {estimate.forwards} passes through the model."
            return TileState.OFFERED, words, "Compute"
        if compare.stopped:
            return TileState.OFFERED, "Stopped.", "Compute"
        return TileState.WAITING, "Waiting…", ""

    def _tip(self, place: Place, cell: CellMap, ends: tuple[float, float]) -> str:
        maps, plan = cell.maps, self._compare.plan
        lines = [f"{plan.rows[place[0]].label} · {plan.columns[place[1]].label}", maps.description]
        shown = [maps.tokens[index].text for index in cell.shown.tokens]
        score = score_of_shown(maps.score, shown if self._compare.plan.questions[place].word else ())
        kind = str(maps.kind).capitalize()
        lines.append(f"{kind} of the {score}." if score else f"{kind}.")
        lines.append(f"Colours from {number(ends[0])} to {number(ends[1])}.")
        lines += [caution.text for caution in applying(maps.cautions, cell.shown.tokens)]
        return "\n".join(line for line in (*lines, maps.caveat, "Click to open it in the viewer.") if line)


def time_words(seconds: float) -> str:
    """How long something takes, as people say it."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"about {minutes:.0f} min" if minutes >= 2 else f"about {minutes:.1f} min"
