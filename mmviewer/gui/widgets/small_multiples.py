"""Maps side by side with named rows and columns; zoom, pan and pointing are the same in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
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
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.painting import MapStyle, accent, color_bar, grey_style, number
from mmviewer.gui.widgets.tile import (
    Tile,
    TileState,
    fitted,
    paint_link,
    paint_picture,
    paint_sound,
)

_GAP = 10
_TOP = 28
_FOOT = 22
_LEAST, _MOST = 112, 380
_WIDEST_NAME = 150
_ZOOM_STEP, _MOST_ZOOM = 1.25, 24.0
_CLICK = 4  # pixels that a hand may move during a click

Place = tuple[int, int]
Name = tuple[str, str]
"""What is written, and its tooltip."""


class SmallMultiples(QAbstractScrollArea):
    """A table of maps.

    Ctrl and wheel, pinch, + and − zoom all maps at once, dragging pans them, 0 fits them again. Arrow keys
    walk over the cells; Enter or a click opens one, or starts what it offers.
    """

    opened = Signal(int, int)
    """A map was clicked: row and column."""
    wanted = Signal(int, int)
    """What a cell without a map offers was asked for."""
    zoomed = Signal(float)
    """The common zoom, 1 for the whole picture."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[Name, ...] = ()
        self._columns: tuple[Name, ...] = ()
        self._tiles: dict[Place, Tile] = {}
        self._images: dict[Place, tuple[Tile, QImage | None]] = {}
        self._styles = (grey_style(), grey_style())
        self._zoom = 1.0
        self._centre = QPointF(0.5, 0.5)
        self._point: QPointF | None = None
        self._cursor: Place = (0, 0)
        self._hovered: Place | None = None
        self._pressed: QPointF | None = None
        self._last = QPointF()
        self._moved = False
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Window)
        self.setAccessibleName("Maps side by side")

    # --- what is shown ---------------------------------------------------------------------------------
    def set_matrix(self, rows: Sequence[Name], columns: Sequence[Name], tiles: Mapping[Place, Tile]) -> None:
        """Show other cells; zoom and place stay, and coloured maps of tiles that are the same are kept."""
        self._rows, self._columns, self._tiles = tuple(rows), tuple(columns), dict(tiles)
        self._images = {
            place: kept for place, kept in self._images.items() if self._tiles.get(place) is kept[0]
        }
        if self._cursor not in self._tiles:
            self._cursor = (0, 0)
        self._arrange()

    def set_styles(self, plain: MapStyle, signed: MapStyle) -> None:
        """Paint maps in another way: those from zero up, and those with values against and for."""
        self._styles = (plain, signed)
        self._images.clear()
        self.viewport().update()

    @property
    def tiles(self) -> dict[Place, Tile]:
        """What the cells show."""
        return dict(self._tiles)

    @property
    def zoom(self) -> float:
        """How much larger than the whole picture."""
        return self._zoom

    @property
    def point(self) -> QPointF | None:
        """The place that is outlined in all cells, in fractions of the picture."""
        return None if self._point is None else QPointF(self._point)

    def fit(self) -> None:
        """Show whole pictures again."""
        self._set_view(1.0, QPointF(0.5, 0.5))

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom all maps; `at`, in fractions of the picture, stays where it is."""
        at = at or self._centre
        zoom = min(max(self._zoom * factor, 1.0), _MOST_ZOOM)
        shift = (at - self._centre) * (self._zoom / zoom)
        self._set_view(zoom, at - shift)

    def cell_rect(self, place: Place) -> QRectF:
        """Where the picture of a cell lies in the viewport."""
        return self._rect(place).translated(self._scrolled())

    # --- layout ------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(640, 420)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 120)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    @property
    def _side(self) -> int:
        """Width kept for the names of rows."""
        metrics = self.fontMetrics()
        longest = max((metrics.horizontalAdvance(name) for name, _ in self._rows), default=0)
        most = min(_WIDEST_NAME, int(0.24 * self.viewport().width()))
        return max(min(longest + 18, most), 36)

    def _size(self) -> tuple[float, float]:
        """Width and height of each picture: all cells in sight where they stay large enough."""
        columns, rows = max(1, len(self._columns)), max(1, len(self._rows))
        view = self.viewport()
        aspect = max((tile.aspect for tile in self._tiles.values()), default=1.0)
        across = (view.width() - self._side - 4) / columns - _GAP
        down = ((view.height() - _TOP) / rows - _FOOT - _GAP) / aspect
        width = max(min(across, max(down, _LEAST * 1.35), _MOST), _LEAST)
        return width, width * aspect

    def _rect(self, place: Place) -> QRectF:
        width, height = self._size()
        left = self._side + place[1] * (width + _GAP)
        return QRectF(left, _TOP + place[0] * (height + _FOOT + _GAP), width, height)

    def _arrange(self) -> None:
        corner = self._rect((max(0, len(self._rows) - 1), max(0, len(self._columns) - 1)))
        view = self.viewport().size()
        for bar, whole, page, step in (
            (self.verticalScrollBar(), corner.bottom() + _FOOT, view.height(), corner.height() / 2),
            (self.horizontalScrollBar(), corner.right() + 2, view.width(), corner.width() / 2),
        ):
            bar.setRange(0, max(0, math.ceil(whole) - page))
            bar.setPageStep(page)
            bar.setSingleStep(int(step))
        self.viewport().update()

    def _scrolled(self) -> QPointF:
        return QPointF(-self.horizontalScrollBar().value(), -self.verticalScrollBar().value())

    def _target(self, tile: Tile, room: QRectF) -> QRectF:
        """Where the whole picture lies under the common zoom; it may reach beyond the cell."""
        whole = fitted(tile, room)
        width = whole.width() * self._zoom
        height = whole.height() * (self._zoom if tile.picture is not None else 1.0)
        middle_y = self._centre.y() if tile.picture is not None else 0.5
        return QRectF(
            room.center().x() - self._centre.x() * width,
            room.center().y() - middle_y * height,
            width,
            height,
        )

    def _set_view(self, zoom: float, centre: QPointF) -> None:
        half = 0.5 / zoom
        kept = QPointF(*(min(max(value, half), 1 - half) for value in (centre.x(), centre.y())))
        if (zoom, kept) != (self._zoom, self._centre):
            self._zoom, self._centre = zoom, kept
            self.zoomed.emit(zoom)
            self.viewport().update()

    # --- painting ----------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self.viewport()) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_cells(painter)
            self._paint_names(painter)

    def _paint_cells(self, painter: QPainter) -> None:
        view = QRectF(self.viewport().rect())
        inner = view.adjusted(self._side - 3, _TOP - 3, 0, 0)
        for place, tile in self._tiles.items():
            room = self.cell_rect(place)
            if room.adjusted(0, 0, 0, _FOOT).intersects(inner):
                painter.save()
                painter.setClipRect(inner)
                self._paint_cell(painter, place, tile, room)
                painter.restore()

    def _paint_cell(self, painter: QPainter, place: Place, tile: Tile, room: QRectF) -> None:
        painter.fillRect(room, self.palette().color(QPalette.ColorRole.Base))
        painter.save()
        painter.setClipRect(room, Qt.ClipOperation.IntersectClip)
        style, target = self._styles[tile.signed], self._target(tile, room)
        paint_picture(painter, tile, target, style, self._image(place, tile), self.devicePixelRatioF())
        paint_sound(painter, tile, target, style, self.palette())
        if tile.state is not TileState.MAP:
            self._paint_words(painter, tile, room)
        elif self._point is not None:
            paint_link(painter, tile, target, self._point)
        painter.restore()
        if tile.state is TileState.MAP:
            self._paint_foot(painter, tile, style, room)
        self._paint_frame(painter, place, room)

    def _image(self, place: Place, tile: Tile) -> QImage | None:
        kept = self._images.get(place)
        if kept is None or kept[0] is not tile:
            kept = (tile, tile.colored(self._styles[tile.signed]))
            self._images[place] = kept
        return kept[1]

    def _paint_words(self, painter: QPainter, tile: Tile, room: QRectF) -> None:
        veil = self.palette().color(QPalette.ColorRole.Base)
        veil.setAlphaF(0.86)
        painter.fillRect(room, veil)
        role = QPalette.ColorRole
        painter.setPen(self.palette().color(role.PlaceholderText))
        area = room.adjusted(8, 6, -8, -6)
        flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
        if tile.button:
            metrics = painter.fontMetrics()
            width = min(metrics.horizontalAdvance(tile.button) + 22, room.width() - 8)
            box = QRectF(room.center().x() - width / 2, room.bottom() - 36, width, 26)
            area.setBottom(box.top() - 4)
            painter.drawText(area, flags, self._shortened(painter, tile.words, area))
            painter.setPen(QPen(accent(self.palette()), 1))
            painter.setBrush(self.palette().color(role.Button))
            painter.drawRoundedRect(box, 6, 6)
            painter.setPen(self.palette().color(role.ButtonText))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, tile.button)
        else:
            painter.drawText(area, flags, self._shortened(painter, tile.words, area))

    def _shortened(self, painter: QPainter, words: str, area: QRectF) -> str:
        """As much of a sentence as the cell holds; the tooltip has all of it."""
        metrics, flags = painter.fontMetrics(), int(Qt.TextFlag.TextWordWrap)
        if metrics.boundingRect(area.toRect(), flags, words).height() <= area.height():
            return words
        parts = words.split(" ")
        while len(parts) > 1:
            parts.pop()
            shown = " ".join(parts) + "…"
            if metrics.boundingRect(area.toRect(), flags, shown).height() <= area.height():
                return shown
        return metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(area.width()))

    def _paint_foot(self, painter: QPainter, tile: Tile, style: MapStyle, room: QRectF) -> None:
        foot = QRectF(room.left(), room.bottom() + 1, room.width(), _FOOT - 2)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        if self._point is None:
            color_bar(painter, foot, style, *tile.scale, self.palette())
            return
        value = tile.value_at(self._point)
        words = "not seen" if value is None else number(value)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, words)

    def _paint_frame(self, painter: QPainter, place: Place, room: QRectF) -> None:
        at_cursor = self.hasFocus() and place == self._cursor
        if not at_cursor and place != self._hovered:
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        ink = accent(self.palette()) if at_cursor else self.palette().color(QPalette.ColorRole.Mid)
        painter.setPen(QPen(ink, 2))
        painter.drawRoundedRect(room.adjusted(-2, -2, 2, 2), 3, 3)

    def _paint_names(self, painter: QPainter) -> None:
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        metrics = painter.fontMetrics()
        elide = Qt.TextElideMode.ElideRight
        for column, (name, _) in enumerate(self._columns):
            room = self.cell_rect((0, column))
            if room.right() > self._side:
                area = QRectF(room.left(), 0, room.width(), _TOP - 4)
                shown = metrics.elidedText(name, elide, int(area.width()))
                painter.setClipRect(QRectF(self._side, 0, self.viewport().width(), _TOP))
                painter.drawText(area, Qt.AlignmentFlag.AlignCenter, shown)
        painter.setClipRect(QRectF(0, _TOP, self._side, self.viewport().height()))
        for row, (name, _) in enumerate(self._rows):
            room = self.cell_rect((row, 0))
            area = QRectF(2, room.top(), self._side - 12, room.height())
            shown = metrics.elidedText(name, elide, int(area.width()))
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, shown)

    # --- events --------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = self._last = event.position()
            self._moved = False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._pressed is None:
            self._point_at(at)
            return
        self._moved = self._moved or (at - self._pressed).manhattanLength() > _CLICK
        place = self._at(self._pressed)
        if self._moved and place is not None:
            target = self._target(self._tiles[place], self.cell_rect(place))
            moved = at - self._last
            shift = QPointF(moved.x() / target.width(), moved.y() / max(target.height(), 1.0))
            self._set_view(self._zoom, self._centre - shift)
        self._last = at

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        clicked = self._pressed is not None and not self._moved
        self._pressed = None
        place = self._at(event.position())
        if clicked and place is not None:
            self._cursor = place
            self._act(place)

    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            place = self._at(event.position())
            at = None if place is None else self._fraction(place, event.position())
            self.zoom_by(_ZOOM_STEP ** (event.angleDelta().y() / 120), at)
            event.accept()
        else:
            super().wheelEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QNativeGestureEvent):
            if event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
                self.zoom_by(1 + event.value())
                return True
        elif isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            words = self._explained(QPointF(event.pos()))
            if words:
                QToolTip.showText(event.globalPos(), plain_tooltip(words), self.viewport())
            else:
                QToolTip.hideText()
            return True
        return super().viewportEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        if key in steps:
            shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._pan(steps[key]) if shifted else self._step(steps[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._act(self._cursor)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(_ZOOM_STEP, self._point)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(1 / _ZOOM_STEP)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key == Qt.Key.Key_Escape and self._point is not None:
            self._set_point(None)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: object) -> None:
        self.viewport().update()

    def focusOutEvent(self, event: object) -> None:
        self._set_point(None)
        self.viewport().update()

    # --- inside ----------------------------------------------------------------------------------------
    def _at(self, position: QPointF) -> Place | None:
        if position.x() < self._side or position.y() < _TOP:
            return None
        return next((place for place in self._tiles if self.cell_rect(place).contains(position)), None)

    def _fraction(self, place: Place, position: QPointF) -> QPointF:
        target = self._target(self._tiles[place], self.cell_rect(place))
        return QPointF(
            (position.x() - target.left()) / max(target.width(), 1e-6),
            (position.y() - target.top()) / max(target.height(), 1e-6),
        )

    def _point_at(self, position: QPointF | None) -> None:
        place = None if position is None else self._at(position)
        if place != self._hovered:
            self._hovered = place
            self.viewport().update()
        if place is None or position is None or self._tiles[place].state is not TileState.MAP:
            self._set_point(None)
            return
        point = self._fraction(place, position)
        inside = 0 <= point.x() <= 1 and 0 <= point.y() <= 1
        self._set_point(point if inside else None)

    def _set_point(self, point: QPointF | None) -> None:
        if point != self._point:
            self._point = point
            self.viewport().update()

    def _act(self, place: Place) -> None:
        tile = self._tiles.get(place)
        if tile is None:
            return
        if tile.state is TileState.MAP:
            self.opened.emit(*place)
        elif tile.button:
            self.wanted.emit(*place)

    def _pan(self, step: tuple[int, int]) -> None:
        self._set_view(self._zoom, self._centre + QPointF(step[1], step[0]) * (0.2 / self._zoom))

    def _step(self, step: tuple[int, int]) -> None:
        """Walk to a neighbour, outline its strongest place everywhere, and keep it in sight."""
        place = (self._cursor[0] + step[0], self._cursor[1] + step[1])
        if place not in self._tiles:
            return
        self._cursor = place
        self._set_point(self._tiles[place].strongest())
        rect, view = self._rect(place), self.viewport()
        for bar, first, last, head, page in (
            (self.verticalScrollBar(), rect.top(), rect.bottom() + _FOOT, _TOP, view.height()),
            (self.horizontalScrollBar(), rect.left(), rect.right() + _GAP, self._side, view.width()),
        ):
            if first - head < bar.value():
                bar.setValue(int(first - head))
            elif last > bar.value() + page:
                bar.setValue(int(last - page))
        names = f"{self._rows[place[0]][0]}, {self._columns[place[1]][0]}. "
        self.setAccessibleDescription(names + (self._tiles[place].tip or self._tiles[place].words))
        view.update()

    def _explained(self, position: QPointF) -> str:
        place = self._at(position)
        if place is not None:
            return self._tiles[place].tip or self._tiles[place].words
        for row, (name, tip) in enumerate(self._rows):
            rect = self.cell_rect((row, 0))
            if position.x() < self._side and rect.top() <= position.y() <= rect.bottom():
                return tip or name
        for column, (name, tip) in enumerate(self._columns):
            rect = self.cell_rect((0, column))
            if position.y() < _TOP and rect.left() <= position.x() <= rect.right():
                return tip or name
        return ""
