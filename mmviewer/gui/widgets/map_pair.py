"""An item before and after, side by side, with their maps on one colour scale."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from mmviewer.gui.widgets.painting import MapStyle, color_bar, grey_style
from mmviewer.gui.widgets.tile import Tile, fitted, paint_picture, paint_sound

_GAP = 8.0
_HEADING = 20.0
_BAR = 22.0
_LEAST, _MOST = 70.0, 260.0


class MapPair(QWidget):
    """Two tiles under the headings "before" and "after"; the scale below is that of both."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tiles: tuple[Tile, ...] = ()
        self._images: list[QImage | None] = []
        self._headings: tuple[str, ...] = ()
        self._style: MapStyle = grey_style()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Maps before and after")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """What is shown, before first."""
        return self._tiles

    def set_tiles(self, tiles: tuple[Tile, ...], headings: tuple[str, ...], style: MapStyle) -> None:
        """Show other tiles, painted in a style."""
        self._tiles, self._headings, self._style = tiles, headings, style
        self._images = [tile.colored(style) for tile in tiles]
        self.setAccessibleDescription(". ".join(tile.tip for tile in tiles if tile.tip))
        self.setToolTip("")
        self.updateGeometry()
        self.update()

    # --- geometry --------------------------------------------------------------------------------------
    @property
    def _has_scale(self) -> bool:
        return any(tile.grid is not None or tile.curve is not None for tile in self._tiles)

    def heightForWidth(self, width: int) -> int:
        if not self._tiles:
            return 0
        room = (width - _GAP) / 2
        picture = min(max(room * self._tiles[0].aspect, _LEAST), _MOST)
        return int(_HEADING + picture + (_BAR if self._has_scale else 0))

    def hasHeightForWidth(self) -> bool:
        return True

    def sizeHint(self) -> QSize:
        return QSize(280, self.heightForWidth(280))

    def minimumSizeHint(self) -> QSize:
        return QSize(160, self.heightForWidth(160))

    # --- painting --------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            for place in range(len(self._tiles)):
                self._paint_tile(painter, place)
            if self._has_scale:
                low, high = next(tile.scale for tile in self._tiles if tile.grid or tile.curve)
                bar = QRectF(0, self.height() - _BAR + 2, self.width(), _BAR - 4)
                color_bar(painter, bar, self._style, low, high, self.palette())

    def _paint_tile(self, painter: QPainter, place: int) -> None:
        tile = self._tiles[place]
        width = (self.width() - _GAP) / 2
        left = place * (width + _GAP)
        height = self.height() - _HEADING - (_BAR if self._has_scale else 0)
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        heading = painter.fontMetrics().elidedText(
            self._headings[place], Qt.TextElideMode.ElideRight, int(width)
        )
        line = QRectF(left, 0, width, _HEADING - 2)
        painter.drawText(line, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, heading)
        room = QRectF(left, _HEADING, width, max(height, 10))
        painter.save()
        painter.setClipRect(room)
        if tile.picture is not None:
            target = fitted(tile, room)
            ratio = self.devicePixelRatioF()
            paint_picture(painter, tile, target, self._style, self._images[place], ratio)
        elif tile.curve is not None:
            painter.fillRect(room, self.palette().color(QPalette.ColorRole.Base))
            paint_sound(painter, tile, room, self._style, self.palette())
        painter.restore()
        if tile.words:
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(room.adjusted(6, 4, -6, -4), flags, tile.words)
