"""One small map of a matrix, and how it is painted at the common zoom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPalette, QPen

from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.painting import MapStyle, hatch
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.time_map import TimeMap, paint_curve, paint_unheard

_RASTER = 160
_CURVE_POINTS = 256


class TileState(StrEnum):
    """What a cell can show."""

    MAP = "map"
    WAITING = "waiting"
    RUNNING = "running"
    OFFERED = "offered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A cell.

    Parameters
    ----------
    state : TileState
    picture : Picture or None
        What a map over patches lies on; None for sounds.
    grid : GridMap or None
    curve : TimeMap or None
        A map along a sound of `duration` seconds.
    signed : bool
    words : str
        What is said in place of a map.
    button : str
        What a click does there; empty where it does nothing.
    tip : str
        All that is known, for tooltip and screen reader.
    """

    state: TileState
    picture: Picture | None = None
    grid: GridMap | None = None
    curve: TimeMap | None = None
    duration: float = 0.0
    signed: bool = False
    words: str = ""
    button: str = ""
    tip: str = ""

    @property
    def scale(self) -> tuple[float, float]:
        """Ends of the colour scale."""
        shown = self.grid or self.curve
        return (shown.low, shown.high) if shown is not None else (0.0, 1.0)

    @property
    def aspect(self) -> float:
        """Height over width, within bounds that keep thin pictures visible."""
        if self.picture is None:
            return 0.5
        return min(max(self.picture.rect.height() / max(self.picture.rect.width(), 1), 0.4), 1.3)

    def value_at(self, point: QPointF) -> float | None:
        """Value at a point, in fractions of the picture or the sound; None where the model saw nothing."""
        if self.grid is not None and self.picture is not None:
            cell = self.grid.cell_at(_inside(self.picture.rect, point))
            return None if cell is None else float(self.grid.values[cell])
        if self.curve is not None:
            index = self.curve.index_at(point.x() * self.duration)
            return None if index is None else float(self.curve.values[index])
        return None

    def strongest(self) -> QPointF | None:
        """Where the map is largest, in fractions."""
        if self.grid is not None and self.picture is not None and np.isfinite(self.grid.values).any():
            row, column = np.unravel_index(int(np.nanargmax(self.grid.values)), self.grid.values.shape)
            centre, whole = self.grid.cell_rect((int(row), int(column))).center(), self.picture.rect
            return QPointF(centre.x() / whole.width(), centre.y() / whole.height())
        if self.curve is not None and len(self.curve.values):
            index = int(np.nanargmax(self.curve.values))
            second = self.curve.start + (index + 0.5) * self.curve.step
            return QPointF(second / max(self.duration, 1e-9), 0.5)
        return None

    def colored(self, style: MapStyle) -> QImage | None:
        """The coloured map over its box, to be kept between paints."""
        return None if self.grid is None else self.grid.image(style, raster=_RASTER)


def fitted(tile: Tile, room: QRectF) -> QRectF:
    """Where the whole picture lies in the room of a cell without zoom."""
    if tile.picture is None:
        return room
    whole = tile.picture.rect
    scale = min(room.width() / whole.width(), room.height() / whole.height())
    size = (max(whole.width() * scale, 3.0), max(whole.height() * scale, 3.0))
    return QRectF(room.center().x() - size[0] / 2, room.center().y() - size[1] / 2, *size)


def paint_picture(
    painter: QPainter, tile: Tile, target: QRectF, style: MapStyle, image: QImage | None, ratio: float
) -> None:
    """Draw the picture of a tile and its map; what the model did not see is hatched."""
    if tile.picture is None:
        return
    shown = image is not None and style.show_map
    tile.picture.draw(painter, target, ratio, style.dimming if shown else 0.0)
    if tile.grid is None:
        return
    box = _carried(tile.grid.rect, tile.picture.rect, target)
    if shown and image is not None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, style.interpolation != "nearest")
        painter.drawImage(box, image)
    hatch(painter, target, (box,))
    for cell in tile.grid.missing:
        hatch(painter, _carried(tile.grid.cell_rect(cell), tile.picture.rect, target))


def paint_sound(painter: QPainter, tile: Tile, target: QRectF, style: MapStyle, palette: QPalette) -> None:
    """Draw the curve of a tile; what the model did not hear is hatched."""
    if tile.curve is None:
        return
    seconds = (np.arange(_CURVE_POINTS) + 0.5) * (tile.duration / _CURVE_POINTS)
    values = tile.curve.sampled(seconds.astype(np.float32), style.interpolation)
    paint_curve(painter, target, values, tile.curve, style, palette)

    def x_of(second: float) -> float:
        return target.left() + second / max(tile.duration, 1e-9) * target.width()

    paint_unheard(painter, target, tile.duration, tile.curve, x_of)


def paint_link(painter: QPainter, tile: Tile, target: QRectF, point: QPointF) -> None:
    """Outline the patch or position of a tile that lies at a point, in fractions."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if tile.grid is not None and tile.picture is not None:
        cell = tile.grid.cell_at(_inside(tile.picture.rect, point))
        if cell is None:
            return
        outline = _carried(tile.grid.cell_rect(cell), tile.picture.rect, target)
    elif tile.curve is not None:
        index = tile.curve.index_at(point.x() * tile.duration)
        if index is None:
            return
        per_second = target.width() / max(tile.duration, 1e-9)
        left = target.left() + (tile.curve.start + index * tile.curve.step) * per_second
        outline = QRectF(left, target.top() + 1, tile.curve.step * per_second, target.height() - 2)
    else:
        return
    for color, width in ((QColor(0, 0, 0, 160), 3), (QColor(255, 255, 255), 1.4)):
        painter.setPen(QPen(color, width))
        painter.drawRect(outline)


def _inside(whole: QRectF, point: QPointF) -> QPointF:
    return QPointF(point.x() * whole.width(), point.y() * whole.height())


def _carried(rect: QRectF, whole: QRectF, target: QRectF) -> QRectF:
    """Carry a rectangle of the original to the screen, where the whole lies in `target`."""
    fx, fy = target.width() / whole.width(), target.height() / whole.height()
    return QRectF(
        target.left() + rect.left() * fx,
        target.top() + rect.top() * fy,
        rect.width() * fx,
        rect.height() * fy,
    )
