"""Regions over a picture: painted, drawn as rectangle or lasso, moved, resized, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

from PySide6.QtCore import QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QPainter, QPen, QPolygonF

from mmviewer.gui.widgets.painting import readable_on

Tool = Literal["", "box", "polygon"]
Point = tuple[float, float]

_NEAR = 6.0  # view pixels within which an outline or handle is hit
_LEAST = 4.0  # view pixels of a drag that is meant as a drawing
_STROKE = 3.0  # view pixels between two points of a lasso
_MOST_POINTS = 2_000
_NUDGE = 0.01  # of the picture, for the keyboard


@dataclass(frozen=True, slots=True)
class Region:
    """One region as a view shows it.

    Parameters
    ----------
    id, label, colour : str
    points : tuple of (float, float)
        In pixels of the original: the two corners of a box, else the outline.
    kind : {"box", "polygon"}
    """

    id: str
    label: str
    colour: str
    kind: str
    points: tuple[Point, ...]

    @property
    def outline(self) -> tuple[Point, ...]:
        """All corners in order."""
        if self.kind != "box":
            return self.points
        (x0, y0), (x1, y1) = self.points
        return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


class Stage(Protocol):
    """What the layer needs of the view that it lies over."""

    def to_source(self, point: QPointF) -> QPointF:
        """A point of the view in pixels of the original."""

    def to_view(self, rect: QRectF) -> QRectF:
        """A rectangle of the original in the view."""

    def update(self) -> None:
        """Paint again."""


class RegionLayer(QObject):
    """Regions over a view, and the tool that draws them; what it emits is carried out elsewhere."""

    TAG_ROOM: ClassVar[float] = 18
    """Room above an outline from which its name stands there and not inside."""
    TOOLS: ClassVar[dict[Qt.Key, Tool]] = {Qt.Key.Key_R: "box", Qt.Key.Key_L: "polygon"}

    drawn = Signal(str, object)
    """Kind and points of a new region."""
    reshaped = Signal(str, object)
    """Id and points of a region that was moved or resized."""
    chosen = Signal(object)
    """Id of the region to measure maps against, or None."""
    removed = Signal(str)
    """Id of a region that shall go."""
    tool_changed = Signal(str)
    """"box", "polygon", or empty."""

    def __init__(self, stage: Stage, parent: QObject, extent: Callable[[], QRectF | None]) -> None:
        super().__init__(parent)
        self._stage = stage
        self._extent = extent
        self._regions: tuple[Region, ...] = ()
        self._chosen = ""
        self._tool: Tool = ""
        self._stroke: list[Point] = []
        self._grip: _Grip | None = None
        self._moved: Region | None = None
        self._corner: QRectF | None = None

    # --- what is shown ---------------------------------------------------------------------------------
    @property
    def tool(self) -> Tool:
        """What a drag draws; empty for nothing."""
        return self._tool

    @property
    def chosen_id(self) -> str:
        """The chosen region, or empty."""
        return self._chosen

    def set_tool(self, tool: Tool) -> None:
        """Let a drag draw a box or an outline, or nothing."""
        if tool != self._tool:
            self._tool, self._corner = tool, None
            self._stroke.clear()
            self.tool_changed.emit(tool)
            self._stage.update()

    def set_regions(self, regions: Sequence[Region], chosen: str = "") -> None:
        """Show other regions; emits nothing."""
        self._regions, self._chosen = tuple(regions), chosen
        self._grip = self._moved = None
        self._stage.update()

    # --- mouse -----------------------------------------------------------------------------------------
    def press(self, at: QPointF) -> bool:
        """Begin to draw, move or resize; False where the press is for the view."""
        if self._extent() is None:
            return False
        self._grip = self._grip_at(at)
        if self._grip is not None:
            return True
        hit = self._hit(at)
        if hit is not None and not self._tool:
            self.chosen.emit(hit.id)
            self._grip = _Grip(hit, None, self._stage.to_source(at))
            return True
        if self._tool:
            self._stroke = [self._inside(at)]
        return bool(self._tool)

    def move(self, at: QPointF) -> bool:
        """Go on with what a press began."""
        if self._grip is not None:
            self._moved = self._settled(self._grip.carried(self._inside_point(at)))
        elif self._stroke:
            point = self._inside(at)
            if self._tool == "box":
                self._stroke[1:] = [point]
            elif self._far(self._stroke[-1], point) and len(self._stroke) < _MOST_POINTS:
                self._stroke.append(point)
        else:
            return False
        self._stage.update()
        return True

    def release(self) -> bool:
        """End what a press began."""
        began = bool(self._stroke) or self._grip is not None
        moved, stroke = self._moved, tuple(self._stroke)
        self._grip = self._moved = None
        self._stroke.clear()
        if moved is not None:
            self._emit_reshaped(moved)
        elif stroke and self._is_drawing(stroke):
            self._emit_drawn(stroke)
        self._stage.update()
        return began

    def cursor(self, at: QPointF) -> Qt.CursorShape | None:
        """What the pointer shall look like here; None for the view's own."""
        grip = self._grip_at(at)
        if grip is not None:
            return Qt.CursorShape.SizeAllCursor if grip.corner is None else Qt.CursorShape.CrossCursor
        if self._tool:
            return Qt.CursorShape.CrossCursor
        return Qt.CursorShape.PointingHandCursor if self._hit(at) is not None else None

    # --- keyboard --------------------------------------------------------------------------------------
    def key(self, event: QKeyEvent, cell: QRectF | None) -> bool:
        """Act on a key; `cell` is the patch of the keyboard's cursor in pixels of the original."""
        key = Qt.Key(event.key())
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if key in self.TOOLS and plain:
            self.set_tool("" if self.TOOLS[key] == self._tool else self.TOOLS[key])
        elif key == Qt.Key.Key_Escape:
            return self._escape()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._tool == "box" and cell is not None:
            self._set_corner(cell)
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self._chosen:
            self.removed.emit(self._chosen)
        elif event.modifiers() & Qt.KeyboardModifier.AltModifier and key in _NUDGES:
            return self._nudge(key)
        else:
            return False
        return True

    def follow(self, cell: QRectF | None) -> None:
        """Stretch a box that the keyboard began to another patch."""
        if self._corner is not None and cell is not None:
            self._stroke = _corners(self._corner.united(cell))
            self._stage.update()

    # --- painting ----------------------------------------------------------------------------------------
    def paint(self, painter: QPainter) -> None:
        """Draw the regions and what is being drawn."""
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for region in self._regions:
            chosen = region.id == self._chosen
            moving = self._moved is not None and region.id == self._moved.id
            self._paint_region(painter, self._moved if moving and self._moved else region, chosen)
        if len(self._stroke) > 1:
            kind = "box" if self._tool == "box" else "polygon"
            stroke = Region("", "", "#ffffff", kind, tuple(self._stroke))
            self._paint_region(painter, self._settled(stroke), False)
        painter.restore()

    def _paint_region(self, painter: QPainter, region: Region, chosen: bool) -> None:
        shape = self._polygon(region)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for color, width in (
            (QColor(0, 0, 0, 150), 4.5 if chosen else 3),
            (QColor(region.colour), 2.2 if chosen else 1.2),
        ):
            pen = QPen(color, width)
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            painter.setPen(pen)
            painter.drawPolygon(shape)
        if region.label:
            self._paint_tag(painter, region, shape.boundingRect(), chosen)
        if chosen:
            painter.setPen(QPen(QColor(0, 0, 0, 200), 1))
            painter.setBrush(QColor(region.colour))
            for corner in self._handles(region):
                painter.drawRect(QRectF(corner.x() - 4, corner.y() - 4, 8, 8))

    def _paint_tag(self, painter: QPainter, region: Region, around: QRectF, chosen: bool) -> None:
        """Its name on a ground of its colour, above the outline where there is room."""
        font = painter.font()
        font.setPixelSize(11)
        font.setBold(chosen)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        text = metrics.elidedText(region.label, Qt.TextElideMode.ElideRight, 160)
        size = metrics.horizontalAdvance(text) + 8
        top = around.top() - 17 if around.top() > self.TAG_ROOM else around.top() + 1
        tag = QRectF(max(0.0, around.left() - 1), top, size, 16)
        ground = QColor(region.colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(tag, 3, 3)
        painter.setPen(readable_on(ground))
        painter.drawText(tag, Qt.AlignmentFlag.AlignCenter, text)

    # --- inside ----------------------------------------------------------------------------------------
    def _escape(self) -> bool:
        """Leave the drawing, then the tool, then the region."""
        if self._stroke or self._grip is not None:
            self._stroke.clear()
            self._grip = self._moved = self._corner = None
            self._stage.update()
        elif self._tool:
            self.set_tool("")
        elif self._chosen:
            self.chosen.emit(None)
        else:
            return False
        return True

    def _set_corner(self, cell: QRectF) -> None:
        """The first corner of a box by keyboard, or the second, which ends it."""
        if self._corner is None:
            self._corner = cell
            self._stroke = _corners(cell)
            self._stage.update()
            return
        points = tuple(_corners(self._corner.united(cell)))
        self._corner = None
        self._stroke.clear()
        self._emit_drawn(points)

    def _nudge(self, key: Qt.Key) -> bool:
        region, extent = self._region(self._chosen), self._extent()
        if region is None or extent is None:
            return False
        right, down = _NUDGES[key]
        step = QPointF(right * _NUDGE * extent.width(), down * _NUDGE * extent.height())
        self._emit_reshaped(
            replace(region, points=tuple((x + step.x(), y + step.y()) for x, y in region.points))
        )
        return True

    def _settled(self, region: Region) -> Region:
        """The region as it may be while it is drawn or moved."""
        return region

    def _emit_drawn(self, points: tuple[Point, ...]) -> None:
        self.drawn.emit(self._tool, points)

    def _emit_reshaped(self, region: Region) -> None:
        self.reshaped.emit(region.id, region.points)

    def _region(self, region_id: str) -> Region | None:
        return next((each for each in self._regions if each.id == region_id), None)

    def _polygon(self, region: Region) -> QPolygonF:
        return QPolygonF([self._to_view(point) for point in region.outline])

    def _to_view(self, point: Point) -> QPointF:
        return self._stage.to_view(QRectF(point[0], point[1], 0, 0)).topLeft()

    def _handles(self, region: Region) -> list[QPointF]:
        """Where it can be resized: the corners of a box; an outline by hand is only moved."""
        return [self._to_view(point) for point in region.outline] if region.kind == "box" else []

    def _grip_at(self, at: QPointF) -> _Grip | None:
        """What a press takes hold of: a handle or the outline of the chosen region."""
        region = self._region(self._chosen)
        if region is None:
            return None
        start = self._stage.to_source(at)
        for index, handle in enumerate(self._handles(region)):
            if (handle - at).manhattanLength() <= 1.5 * _NEAR:
                return _Grip(region, index, start)
        near = not self._tool and _distance(self._polygon(region), at) <= _NEAR
        return _Grip(region, None, start) if near else None

    def _hit(self, at: QPointF) -> Region | None:
        """The region whose outline lies under a point, the last drawn first."""
        near = (each for each in reversed(self._regions) if _distance(self._polygon(each), at) <= _NEAR)
        return next(near, None)

    def _inside_point(self, at: QPointF) -> QPointF:
        extent, point = self._extent(), self._stage.to_source(at)
        if extent is None:
            return point
        return QPointF(
            min(max(point.x(), extent.left()), extent.right()),
            min(max(point.y(), extent.top()), extent.bottom()),
        )

    def _inside(self, at: QPointF) -> Point:
        point = self._inside_point(at)
        return point.x(), point.y()

    def _far(self, one: Point, other: Point) -> bool:
        return (self._to_view(one) - self._to_view(other)).manhattanLength() >= _STROKE

    def _is_drawing(self, stroke: tuple[Point, ...]) -> bool:
        if len(stroke) < (2 if self._tool == "box" else 3):
            return False
        bounds = QPolygonF([self._to_view(point) for point in stroke]).boundingRect()
        return min(bounds.width(), bounds.height()) >= _LEAST


@dataclass(frozen=True, slots=True)
class _Grip:
    """A region held at a point of the original: at a corner of its outline, or as a whole."""

    region: Region
    corner: int | None
    start: QPointF

    def carried(self, to: QPointF) -> Region:
        """The region after the pointer went there."""
        if self.corner is None:
            dx, dy = to.x() - self.start.x(), to.y() - self.start.y()
            return replace(self.region, points=tuple((x + dx, y + dy) for x, y in self.region.points))
        opposite = self.region.outline[(self.corner + 2) % 4]
        return replace(self.region, points=(opposite, (to.x(), to.y())))


_NUDGES = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


def _corners(rect: QRectF) -> list[Point]:
    return [(rect.left(), rect.top()), (rect.right(), rect.bottom())]


def _distance(shape: QPolygonF, at: QPointF) -> float:
    """From a point to the outline of a closed shape."""
    points = [shape.at(index) for index in range(shape.count())]
    pairs = zip(points, [*points[1:], *points[:1]], strict=True)
    return min((_to_segment(at, first, last) for first, last in pairs), default=float("inf"))


def _to_segment(at: QPointF, first: QPointF, last: QPointF) -> float:
    along = last - first
    length = QPointF.dotProduct(along, along)
    share = min(max(QPointF.dotProduct(at - first, along) / length, 0.0), 1.0) if length > 0 else 0.0
    away = at - (first + along * share)
    return float(QPointF.dotProduct(away, away) ** 0.5)
