"""A picture with a map over it: zoom, pan, the value under the cursor, the unseen part hatched."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QGestureEvent, QPinchGesture, QSizePolicy, QWidget

from mmviewer.gui.widgets.map_card import MapCard
from mmviewer.gui.widgets.map_layer import Cell, GridMap
from mmviewer.gui.widgets.painting import MapStyle, accent, color_bar, grey_style, hatch, number
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.region_tools import RegionLayer
from mmviewer.gui.widgets.sink_marks import SINK_WORDS, paint_ring

FOOT = 30
"""Height kept free under the picture for the readout and the scale."""

_MARGIN = 10
_ZOOM_STEP = 1.25
_LINE = 3.0  # view pixels
_MOST = 64.0  # view pixels per pixel of the original
_TOOL_WORDS = {
    "box": "Drag a box, or press Enter on its first and last patch · Esc leaves",
    "polygon": "Draw around a region · Esc leaves",
}
_STEPS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


Sight = tuple[float, QPointF]
"""Zoom against the whole picture, and the pixel of the original in the middle."""


class ImageView(QWidget):
    """Shows a picture and one map over it; holds no truth of its own.

    Wheel or pinch zooms at the pointer, dragging pans, a double click or 0 fits, the arrow keys walk over the
    patches (with Shift: pan), Esc leaves them. `regions` are drawn with R (rectangle) or L (lasso).
    """

    cell_hovered = Signal(object)
    """(row, column) of the patch under the pointer or the keyboard's cursor, or None."""
    sight_changed = Signal(object)
    """Zoomed or moved by the user: `Sight` for another view, or None for the whole picture."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture: Picture | None = None
        self._map: GridMap | None = None
        self._style = grey_style()
        self._image: QImage | None = None
        self._scale = 1.0
        self._origin = QPointF(0, 0)
        self._fitted = True
        self._pan_from: QPointF | None = None
        self._pointer: QPointF | None = None
        self._cell: Cell | None = None
        self._sinks: tuple[Cell, ...] = ()
        self.regions = RegionLayer(self, self, lambda: self._picture.rect if self._picture else None)
        self.card = MapCard(self, self._covered)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.grabGesture(Qt.GestureType.PinchGesture)
        self.setAccessibleName("Picture with its map")

    # --- what is shown -------------------------------------------------------------------------------
    def set_picture(self, picture: Picture | None) -> None:
        """Show another picture, as a whole and without a map, or none."""
        self._picture = picture
        self._pointer = None
        self._set_cell(None)
        self.set_map(None)
        self._fit()

    def set_map(self, grid: GridMap | None) -> None:
        """Lay another map over the picture, or none."""
        appeared = self._map is None and grid is not None
        self._map, self._image = grid, None
        if appeared:
            self.card.place()
        if self._pointer is not None:
            self._set_cell(self._cell_under(self._pointer))
        self.update()

    def set_style(self, style: MapStyle) -> None:
        """Paint maps in another way."""
        self._style, self._image = style, None
        self.update()

    def set_sinks(self, cells: tuple[Cell, ...]) -> None:
        """Ring the patches that draw weight whatever is asked."""
        if cells != self._sinks:
            self._sinks = cells
            self.update()

    def mark(self, cell: Cell | None) -> None:
        """Outline a cell chosen elsewhere; emits nothing."""
        if cell != self._cell:
            self._cell = cell
            self.update()

    @property
    def cell(self) -> Cell | None:
        """The outlined cell."""
        return self._cell

    # --- coordinates ------------------------------------------------------------------------------------
    def to_source(self, point: QPointF) -> QPointF:
        """A point of the view in pixels of the original."""
        return (point - self._origin) / self._scale

    def to_view(self, rect: QRectF) -> QRectF:
        """A rectangle of the original in the view."""
        return QRectF(
            rect.left() * self._scale + self._origin.x(),
            rect.top() * self._scale + self._origin.y(),
            rect.width() * self._scale,
            rect.height() * self._scale,
        )

    @property
    def zoom(self) -> float:
        """View pixels per pixel of the original."""
        return self._scale

    def fit(self) -> None:
        """Show the whole picture as large as it goes."""
        self._fit()
        self.sight_changed.emit(None)

    def set_sight(self, sight: Sight | None) -> None:
        """Show the part of the picture that another view shows; emits nothing."""
        self._fit()
        if sight is not None and self._picture is not None:
            self._fitted = False
            self._scale *= sight[0]
            self._origin = self._stage().center() - sight[1] * self._scale
            self._keep_in_sight()

    def _fit(self) -> None:
        self._fitted = True
        if self._picture is not None:
            self._scale = self._whole()
            self._origin = self._stage().center() - self._picture.rect.center() * self._scale
            self.card.set_margin(int(self.to_view(self._picture.rect).left()))
        self.card.place()
        self.update()

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom, keeping the point of the picture at `at` (the middle by default) where it is."""
        if self._picture is None:
            return
        at = at or self._stage().center()
        fixed = self.to_source(at)
        least = 0.25 * min(1.0, 64 / max(self._picture.rect.width(), self._picture.rect.height()))
        self._scale = min(max(self._scale * factor, least), _MOST)
        self._origin = at - fixed * self._scale
        self._fitted = False
        self._keep_in_sight()
        self._tell_sight()

    def pan_by(self, dx: float, dy: float) -> None:
        """Move the picture by view pixels."""
        self._origin += QPointF(dx, dy)
        self._fitted = False
        self._keep_in_sight()
        self._tell_sight()

    def readout(self) -> str:
        """The line under the picture: the patch, its value and the pixel under the pointer."""
        parts = []
        if self._map is not None and self._cell is not None:
            row, column = self._cell
            parts.append(f"patch ({row}, {column})")
            parts.append(number(float(self._map.values[row, column])))
            if self._cell in self._sinks:
                parts.append(SINK_WORDS)
        if self._pointer is not None and self._picture is not None:
            at = self.to_source(self._pointer)
            if self._picture.rect.contains(at):
                if self._map is not None and self._map.cell_at(at) is None:
                    parts.append("not seen by the model")
                parts.append(f"px {int(at.x())}, {int(at.y())}")
        return " · ".join(parts)

    # --- painting -------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(640, 480)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 140)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        if self._picture is None:
            return
        target = _at_least_a_line(self.to_view(self._picture.rect))
        shown = self._map is not None and self._style.show_map
        dimming = self._style.dimming if shown else 0.0
        self._picture.draw(painter, target, self.devicePixelRatioF(), dimming)
        if self._map is not None:
            self._paint_map(painter, self._map, target)
        self.regions.paint(painter)
        self._paint_foot(painter)
        self._paint_focus(painter)

    def _paint_map(self, painter: QPainter, grid: GridMap, target: QRectF) -> None:
        painter.save()
        painter.setClipRect(target)
        box = _at_least_a_line(self.to_view(grid.rect))
        if self._style.show_map:
            if self._image is None:
                self._image = grid.image(self._style)
            smooth = self._style.interpolation != "nearest"
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(box, self._image)
        hatch(painter, target, (box,))
        for cell in grid.missing:
            hatch(painter, self.to_view(grid.cell_rect(cell)))
        if self._style.show_grid:
            self._paint_grid(painter, grid)
        for cell in self._sinks:
            paint_ring(painter, self.to_view(grid.cell_rect(cell)))
        if self._cell is not None:
            outline = self.to_view(grid.cell_rect(self._cell))
            for color, width in ((QColor(0, 0, 0, 160), 3), (QColor(255, 255, 255), 1.4)):
                painter.setPen(QPen(color, width))
                painter.drawRect(outline)
        painter.restore()

    def _paint_grid(self, painter: QPainter, grid: GridMap) -> None:
        box = self.to_view(grid.rect)
        rows, columns = grid.values.shape
        if min(box.width() / columns, box.height() / rows) < 3:
            return  # lines closer than this would hide the picture
        painter.setPen(QPen(QColor(255, 255, 255, 90), 1))
        for row in range(rows + 1):
            y = box.top() + row * box.height() / rows
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
        for column in range(columns + 1):
            x = box.left() + column * box.width() / columns
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))

    def _paint_foot(self, painter: QPainter) -> None:
        foot = QRectF(0, self.height() - FOOT, self.width(), FOOT)
        background = self.palette().color(QPalette.ColorRole.Base)
        background.setAlphaF(0.9)
        painter.fillRect(foot, background)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scale_width = 0.0
        if self._map is not None and self._style.show_map:
            scale_width = min(240.0, 0.45 * self.width())
            area = QRectF(self.width() - scale_width - _MARGIN, foot.top(), scale_width, FOOT)
            color_bar(painter, area, self._style, self._map.low, self._map.high, self.palette())
        room = QRectF(_MARGIN + 2, foot.top(), self.width() - scale_width - 3 * _MARGIN, FOOT)
        text = painter.fontMetrics().elidedText(
            self._foot_words(), Qt.TextElideMode.ElideRight, int(room.width())
        )
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)

    def _foot_words(self) -> str:
        """The readout; without one, what the tool does or the rings mean."""
        if self.regions.tool:
            return _TOOL_WORDS[self.regions.tool]
        return self.readout() or (f"\N{WHITE CIRCLE} {SINK_WORDS}" if self._sinks and self._map else "")

    def _paint_focus(self, painter: QPainter) -> None:
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(accent(self.palette()), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    # --- events -----------------------------------------------------------------------------------------
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitted:
            self._fit()
        else:
            self._keep_in_sight()
            self.card.place()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.regions.move(event.position()):
            self._point_at(event.position())
            return
        shape = self.regions.cursor(event.position()) if event.buttons() == Qt.MouseButton.NoButton else None
        if shape is not None:
            self.setCursor(shape)
        elif event.buttons() == Qt.MouseButton.NoButton:
            self.unsetCursor()
        if self._pan_from is not None:
            moved = event.position() - self._pan_from
            self._pan_from = event.position()
            self.pan_by(moved.x(), moved.y())
        self._point_at(event.position())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.regions.press(event.position()):
            return
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._pan_from = event.position()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._pan_from = None
        self.regions.release()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.fit()

    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)

    def focusOutEvent(self, event: object) -> None:
        if self._pointer is None:
            self._set_cell(None)
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        steps = event.angleDelta().y() / 120
        if steps:
            self.zoom_by(_ZOOM_STEP**steps, event.position())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        handled = self.regions.key(event, self._cell_rect) or self._key(
            Qt.Key(event.key()), event.modifiers()
        )
        self.regions.follow(self._cell_rect)
        if not handled:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QNativeGestureEvent):
            if event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
                self.zoom_by(1 + event.value(), event.position())
                return True
        elif isinstance(event, QGestureEvent):
            pinch = event.gesture(Qt.GestureType.PinchGesture)
            if isinstance(pinch, QPinchGesture):
                self.zoom_by(pinch.scaleFactor(), self.mapFromGlobal(pinch.centerPoint()))
                return True
        return super().event(event)

    def _key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier) -> bool:
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(_ZOOM_STEP)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(1 / _ZOOM_STEP)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key == Qt.Key.Key_Escape and self._cell is not None:
            self._set_cell(None)
        elif key in _STEPS and modifiers & Qt.KeyboardModifier.ShiftModifier:
            down, right = _STEPS[key]
            self.pan_by(-40 * right, -40 * down)
        elif key in _STEPS:
            self._step(_STEPS[key])
        else:
            return False
        return True

    # --- inside -----------------------------------------------------------------------------------------
    @property
    def _cell_rect(self) -> QRectF | None:
        """The outlined patch in pixels of the original."""
        both = self._map is not None and self._cell is not None
        return self._map.cell_rect(self._cell) if both and self._map and self._cell else None

    def _stage(self) -> QRectF:
        """The part of the view where a fitted picture goes."""
        return QRectF(0, 0, self.width(), max(1, self.height() - FOOT)).adjusted(2, 2, -2, 0)

    def _whole(self) -> float:
        """The scale at which the whole picture is seen."""
        assert self._picture is not None
        room, rect = self._stage(), self._picture.rect
        return max(1e-6, min(room.width() / rect.width(), room.height() / rect.height()))

    def _tell_sight(self) -> None:
        if self._picture is not None:
            centre = self.to_source(self._stage().center())
            self.sight_changed.emit((self._scale / self._whole(), centre))

    def _keep_in_sight(self) -> None:
        """Leave at least a corner of the picture in view."""
        if self._picture is not None:
            target = self.to_view(self._picture.rect)
            stage = self._stage().adjusted(40, 40, -40, -40)
            dx = max(0.0, stage.left() - target.right()) - max(0.0, target.left() - stage.right())
            dy = max(0.0, stage.top() - target.bottom()) - max(0.0, target.top() - stage.bottom())
            self._origin += QPointF(dx, dy)
        self.update()

    def _point_at(self, position: QPointF | None) -> None:
        self._pointer = position
        self._set_cell(None if position is None else self._cell_under(position))
        self.update(0, self.height() - FOOT, self.width(), FOOT)

    def _cell_under(self, position: QPointF) -> Cell | None:
        if self._picture is None or self._map is None or position.y() >= self.height() - FOOT:
            return None
        at = self.to_source(position)
        return self._map.cell_at(at) if self._picture.rect.contains(at) else None

    def _step(self, direction: Cell) -> None:
        """Walk to the neighbouring patch, from the middle at first."""
        if self._map is None:
            return
        rows, columns = self._map.values.shape
        row, column = self._cell or (rows // 2 - direction[0], columns // 2 - direction[1])
        self._pointer = None
        self._set_cell(
            (min(max(row + direction[0], 0), rows - 1), min(max(column + direction[1], 0), columns - 1))
        )

    def _set_cell(self, cell: Cell | None) -> None:
        if cell != self._cell:
            self._cell = cell
            self.update()
            self.setAccessibleDescription(self.readout())
            self.cell_hovered.emit(cell)

    def _covered(self, area: QRect) -> float:
        """How much a card over `area` would hide: the map's mass there, and a little for plain picture."""
        if self._picture is None:
            return 0.0
        hidden = QRectF(area).intersected(self.to_view(self._picture.rect))
        cost = hidden.width() * hidden.height() / max(1, area.width() * area.height())
        if self._map is not None and not hidden.isEmpty():
            top_left, bottom_right = self.to_source(hidden.topLeft()), self.to_source(hidden.bottomRight())
            cost += 20 * self._map.mass(QRectF(top_left, bottom_right))
        return cost


def _at_least_a_line(rect: QRectF) -> QRectF:
    """A picture of one pixel by thousands is still seen when it is fitted."""
    wider, higher = max(0.0, _LINE - rect.width()) / 2, max(0.0, _LINE - rect.height()) / 2
    return rect.adjusted(-wider, -higher, wider, higher)
