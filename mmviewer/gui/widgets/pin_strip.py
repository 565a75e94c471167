"""Pinned maps side by side: small, named, opened by a click, taken away by their cross or Del."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.painting import FloatArray, MapStyle, accent
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.tile_atlas import EnlargeAll, TileAtlas

_GAP = 6
_WORDS = 30
_HIGH = 84
_CROSS = 20


@dataclass(frozen=True, slots=True, eq=False)
class PinTile:
    """One pinned map [R, C] over `box` of the picture, or [P]; `subject` and `place` stand under it.

    The scale of a signed map has its middle at 0.
    """

    values: FloatArray
    box: tuple[float, float, float, float]
    style: MapStyle
    subject: str
    place: str
    signed: bool = False


class PinStrip(QAbstractScrollArea):
    """A row that scrolls; arrow keys step, Enter opens, Del unpins."""

    opened = Signal(int)
    """Place of a pin that shall be shown in the viewer again."""
    unpinned = Signal(int)
    """Place of a pin that shall go."""

    def __init__(self, enlarge: EnlargeAll, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._enlarge = enlarge
        self._tiles: tuple[PinTile, ...] = ()
        self._atlases: list[TileAtlas] = []
        self._picture: Picture | None = None
        self._cursor = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setMouseTracking(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Window)
        self.setAccessibleName("Pinned maps")

    def show_tiles(self, tiles: Sequence[PinTile], picture: Picture | None) -> None:
        """Show other pins; emits nothing."""
        self._tiles, self._picture = tuple(tiles), picture
        self._cursor = min(self._cursor, max(0, len(tiles) - 1))
        self._atlases = [
            TileAtlas(tile.values[None], tile.box, picture, tile.style, self._enlarge, signed=tile.signed)
            for tile in tiles
        ]
        self._arrange()
        self.updateGeometry()

    @property
    def tiles(self) -> tuple[PinTile, ...]:
        """What is shown."""
        return self._tiles

    def tile_rect(self, place: int) -> QRectF:
        """Where a map lies in the viewport."""
        wide = self._width()
        left = place * (wide + _GAP) - self.horizontalScrollBar().value()
        return QRectF(1 + left, 1, wide, _HIGH)

    # --- size --------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(200, _HIGH + _WORDS + 4 + self.horizontalScrollBar().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(100, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    # --- events --------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self._at(event.position())
        if place is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self._cursor = place
        if self._cross(place).contains(event.position()):
            self.unpinned.emit(place)
        else:
            self.opened.emit(place)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if not self._tiles:
            super().keyPressEvent(event)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            step = 1 if key == Qt.Key.Key_Right else -1
            self._cursor = min(max(self._cursor + step, 0), len(self._tiles) - 1)
            self._show_cursor()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit(self._cursor)
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.unpinned.emit(self._cursor)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: object) -> None:
        self.viewport().update()

    def focusOutEvent(self, event: object) -> None:
        self.viewport().update()

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            place = self._at(QPointF(event.pos()))
            if place is None:
                QToolTip.hideText()
            else:
                words = plain_tooltip(self._explained(place))
                QToolTip.showText(event.globalPos(), words, self.viewport(), self.tile_rect(place).toRect())
            return True
        return super().viewportEvent(event)

    # --- painting ----------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self.viewport()) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            font = painter.font()
            font.setPixelSize(11)
            painter.setFont(font)
            for place in range(len(self._tiles)):
                rect = self.tile_rect(place)
                if rect.right() >= 0 and rect.left() <= self.viewport().width():
                    self._paint_tile(painter, place, rect)

    def _paint_tile(self, painter: QPainter, place: int, rect: QRectF) -> None:
        palette, tile = self.palette(), self._tiles[place]
        painter.save()
        painter.setClipRect(rect)
        painter.fillRect(rect, palette.color(QPalette.ColorRole.Base))
        self._atlases[place].paint(painter, 0, rect, self.devicePixelRatioF(), accent(palette))
        painter.restore()
        metrics = painter.fontMetrics()
        for line, text in enumerate((tile.subject, tile.place)):
            role = QPalette.ColorRole.PlaceholderText if line else QPalette.ColorRole.WindowText
            painter.setPen(palette.color(role))
            foot = QRectF(rect.left(), rect.bottom() + 1 + 14 * line, rect.width(), 14)
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, int(rect.width()))
            painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, shown)
        cross = self._cross(place)
        ground = palette.color(QPalette.ColorRole.Window)
        ground.setAlphaF(0.8)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(cross, 4, 4)
        painter.setPen(QPen(palette.color(QPalette.ColorRole.WindowText), 1.4))
        inner = cross.adjusted(6, 6, -6, -6)
        painter.drawLine(inner.topLeft(), inner.bottomRight())
        painter.drawLine(inner.topRight(), inner.bottomLeft())
        if self.hasFocus() and place == self._cursor:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(accent(palette), 2))
            painter.drawRoundedRect(rect, 3, 3)

    # --- inside ----------------------------------------------------------------------------------------
    def _explained(self, place: int) -> str:
        tile = self._tiles[place]
        return (
            f"{tile.subject}, {tile.place}: as it was when it was pinned, on its own colour scale.\n"
            "Click to show it in the viewer; the cross or Del takes it away."
        )

    def _width(self) -> float:
        if self._picture is None:
            return 140.0
        ratio = self._picture.rect.width() / max(1.0, self._picture.rect.height())
        return float(min(max(_HIGH * ratio, 64.0), 160.0))

    def _cross(self, place: int) -> QRectF:
        rect = self.tile_rect(place)
        return QRectF(rect.right() - _CROSS - 1, rect.top() + 1, _CROSS, _CROSS)

    def _at(self, position: QPointF) -> int | None:
        places = range(len(self._tiles))
        return next((place for place in places if self.tile_rect(place).contains(position)), None)

    def _show_cursor(self) -> None:
        rect, bar = self.tile_rect(self._cursor), self.horizontalScrollBar()
        if rect.left() < 0:
            bar.setValue(int(bar.value() + rect.left()))
        elif rect.right() > self.viewport().width():
            bar.setValue(int(bar.value() + rect.right() - self.viewport().width() + 1))
        self.setAccessibleDescription(self._explained(self._cursor))
        self.viewport().update()

    def _arrange(self) -> None:
        whole = len(self._tiles) * (self._width() + _GAP)
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(0, int(whole) - self.viewport().width()))
        bar.setPageStep(self.viewport().width())
        bar.setSingleStep(40)
        self.viewport().update()
