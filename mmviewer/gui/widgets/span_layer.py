"""Stretches of a sound: painted, drawn, moved and resized along its time axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QObject, QPointF, QRectF, Qt

from mmviewer.gui.widgets.region_tools import Point, Region, RegionLayer, Tool


class SpanLayer(RegionLayer):
    """A layer whose regions reach from top to bottom; points are one pair, start and end in seconds.

    Parameters
    ----------
    stage : _TimeStage
        Carries seconds to the view.
    """

    TAG_ROOM: ClassVar[float] = float("inf")  # what lies above the lanes covers it
    TOOLS: ClassVar[dict[Qt.Key, Tool]] = {Qt.Key.Key_R: "box"}

    def set_regions(self, regions: Sequence[Region], chosen: str = "") -> None:
        """Show other stretches; emits nothing."""
        boxes = [
            replace(each, kind="box", points=((each.points[0][0], 0.0), (each.points[0][1], 1.0)))
            for each in regions
        ]
        super().set_regions(boxes, chosen)

    def _settled(self, region: Region) -> Region:
        (x0, _), (x1, _) = region.points[0], region.points[-1]
        return replace(region, kind="box", points=((x0, 0.0), (x1, 1.0)))

    def _emit_drawn(self, points: tuple[Point, ...]) -> None:
        self.drawn.emit("span", ((points[0][0], points[-1][0]),))

    def _emit_reshaped(self, region: Region) -> None:
        self.reshaped.emit(region.id, ((region.points[0][0], region.points[-1][0]),))

    def _is_drawing(self, stroke: tuple[Point, ...]) -> bool:
        return len(stroke) > 1 and self._far(stroke[0], (stroke[-1][0], stroke[0][1]))


class TimeStage:
    """A sound's view as a picture of its seconds (x) by a height of 1 (y)."""

    def __init__(
        self,
        lanes: Callable[[], QRectF],
        x_of: Callable[[float], float],
        seconds_at: Callable[[float], float],
        update: Callable[[], None],
    ) -> None:
        self._lanes, self._x_of, self._seconds_at = lanes, x_of, seconds_at
        self.update = update

    def to_source(self, point: QPointF) -> QPointF:
        """Seconds, and height from 0 at the top to 1."""
        lanes = self._lanes()
        return QPointF(self._seconds_at(point.x()), (point.y() - lanes.top()) / max(1.0, lanes.height()))

    def to_view(self, rect: QRectF) -> QRectF:
        """Where a stretch lies."""
        lanes = self._lanes()
        left, right = self._x_of(rect.left()), self._x_of(rect.right())
        top = lanes.top() + rect.top() * lanes.height()
        return QRectF(left, top, right - left, rect.height() * lanes.height())


def span_layer(parent: QObject, stage: TimeStage, duration: Callable[[], float]) -> SpanLayer:
    """A layer over a sound that lasts `duration` seconds; nothing can be drawn on an empty one."""

    def extent() -> QRectF | None:
        return QRectF(0, 0, duration(), 1) if duration() > 0 else None

    return SpanLayer(stage, parent, extent)
