"""Small painting helpers: NumPy arrays to images, hatching, numbers, colour bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QImage,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QPixmap,
)

ByteArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709, the primaries of sRGB


@dataclass(frozen=True, slots=True, eq=False)
class MapStyle:
    """How a map is painted; changes no number.

    Parameters
    ----------
    colors : uint8 array [256, 4]
        Red, green, blue and alpha from the lowest to the highest value of the scale.
    dimming : float
        0..1, how far the picture under the map goes towards its dimmed twin.
    interpolation : str
        "nearest", "bilinear" or "bicubic".
    show_map, show_grid : bool
        Whether the map and the lines between patches are drawn.
    """

    colors: ByteArray
    dimming: float = 1.0
    interpolation: str = "bilinear"
    show_map: bool = True
    show_grid: bool = False


def grey_style() -> MapStyle:
    """A plain style to begin with: from transparent black to white."""
    ramp = np.arange(256, dtype=np.uint8)
    return MapStyle(np.stack([ramp, ramp, ramp, ramp], axis=1))


def accent(palette: QPalette) -> QColor:
    """The accent for lines and bars: lighter on a dark ground, so that thin ones can be seen."""
    color = palette.color(QPalette.ColorRole.Accent)
    dark = palette.color(QPalette.ColorRole.Window).lightnessF() < 0.5
    return color.lighter(130) if dark else color


def warning(palette: QPalette) -> QColor:
    """Amber for words of caution, readable on the ground of the palette."""
    dark = palette.color(QPalette.ColorRole.Window).lightnessF() < 0.5
    return QColor("#e8b34a" if dark else "#8f6000")


def readable_on(ground: QColor) -> QColor:
    """White or near black, whichever has the higher contrast on `ground`."""
    channels = np.array([ground.redF(), ground.greenF(), ground.blueF()])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return QColor("white") if float(linear @ _LUMA) < 0.18 else QColor("#101114")


def rgb_image(pixels: ByteArray) -> QImage:
    """Copy uint8 pixels [H, W, 3] into a QImage."""
    height, width = pixels.shape[:2]
    rgbx = np.empty((height, width, 4), np.uint8)
    rgbx[..., :3] = pixels[..., ::-1]  # RGB32 lies as blue, green, red in memory
    rgbx[..., 3] = 255
    return QImage(rgbx.data, width, height, 4 * width, QImage.Format.Format_RGB32).copy()


def packed_colors(colors: ByteArray) -> NDArray[np.uint32]:
    """Premultiplied ARGB words [256] of RGBA `colors` [256, 4]."""
    alpha = colors[:, 3:].astype(np.float32) / 255
    red, green, blue = np.rint(colors[:, :3] * alpha).astype(np.uint32).T
    words: NDArray[np.uint32] = colors[:, 3].astype(np.uint32) << 24 | red << 16 | green << 8 | blue
    return words


def colored_image(values: FloatArray, low: float, high: float, packed: NDArray[np.uint32]) -> QImage:
    """Colour `values` [H, W] by `packed` [256] between `low` and `high`; NaN becomes transparent."""
    height, width = values.shape
    span = high - low
    scaled = (values - np.float32(low)) * np.float32(255 / span if span > 0 else 0)
    missing = ~np.isfinite(scaled)
    holes = bool(missing.any())
    if holes:
        scaled[missing] = 0
    np.clip(scaled, 0, 255, out=scaled)
    words = packed[np.rint(scaled, out=scaled).astype(np.uint8)]
    if holes:
        words[missing] = 0
    return QImage(words.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied).copy()


def framed_picture(painter: QPainter, image: QImage, rect: QRectF, edge: QColor, width: float = 1.5) -> None:
    """Draw `image` into `rect` with round corners and a frame of colour `edge`."""
    shape = QPainterPath()
    shape.addRoundedRect(rect, 4, 4)
    painter.save()
    painter.setClipPath(shape)
    painter.drawImage(rect, image)
    painter.restore()
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(edge, width))
    painter.drawPath(shape)


def hatch(painter: QPainter, area: QRectF, holes: tuple[QRectF, ...] = ()) -> None:
    """Veil and hatch `area` except `holes`: what the model did not see."""
    painter.save()
    region = [area]
    for hole in holes:
        region = [part for piece in region for part in _without(piece, hole)]
    for part in region:
        painter.fillRect(part, QColor(20, 20, 24, 150))
        painter.fillRect(part, hatch_brush())
    painter.restore()


def hatch_brush() -> QBrush:
    """Diagonal lines, light with a dark edge, so that they show on any picture in both themes."""
    tile = QPixmap(10, 10)
    tile.fill(Qt.GlobalColor.transparent)
    painter = QPainter(tile)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for color, width in ((QColor(0, 0, 0, 90), 3.0), (QColor(235, 235, 235, 170), 1.2)):
        painter.setPen(QPen(color, width))
        for shift in (-10, 0, 10):
            painter.drawLine(QPointF(shift - 1, 11), QPointF(shift + 11, -1))
    painter.end()
    return QBrush(tile)


def _without(area: QRectF, hole: QRectF) -> list[QRectF]:
    """`area` minus `hole`, as up to four rectangles."""
    inner = area.intersected(hole)
    if inner.isEmpty():
        return [area]
    parts = [
        QRectF(area.left(), area.top(), area.width(), inner.top() - area.top()),
        QRectF(area.left(), inner.bottom(), area.width(), area.bottom() - inner.bottom()),
        QRectF(area.left(), inner.top(), inner.left() - area.left(), inner.height()),
        QRectF(inner.right(), inner.top(), area.right() - inner.right(), inner.height()),
    ]
    return [part for part in parts if part.width() > 0 and part.height() > 0]


def number(value: float, digits: int = 3) -> str:
    """A number as people read it: `digits` significant ones, so that it does not jump; a real minus sign."""
    if math.isnan(value):
        return "no value"
    if value == 0:
        return "0"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:#.{digits}g}"
    return text.rstrip(".").replace("-", "\N{MINUS SIGN}")


def color_bar(
    painter: QPainter, area: QRectF, style: MapStyle, low: float, high: float, palette: QPalette
) -> None:
    """Draw the scale of a map into `area`: a bar in the map's colours between its two numbers."""
    painter.save()
    metrics = painter.fontMetrics()
    left, right = number(low, 2), number(high, 2)
    room = max(metrics.horizontalAdvance(left), metrics.horizontalAdvance(right)) + 8
    bar = QRectF(area.left() + room, area.center().y() - 5, max(10.0, area.width() - 2 * room), 10)
    gradient = QLinearGradient(bar.topLeft(), bar.topRight())
    for stop in range(0, 256, 15):
        red, green, blue = (int(c) for c in style.colors[stop, :3])
        gradient.setColorAt(stop / 255, QColor(red, green, blue))
    painter.setPen(QPen(palette.color(QPalette.ColorRole.Mid), 1))
    painter.setBrush(gradient)
    painter.drawRoundedRect(bar, 2, 2)
    painter.setPen(palette.color(QPalette.ColorRole.WindowText))
    vertical = Qt.AlignmentFlag.AlignVCenter
    painter.drawText(
        QRectF(area.left(), area.top(), room - 6, area.height()), vertical | Qt.AlignmentFlag.AlignRight, left
    )
    painter.drawText(
        QRectF(bar.right() + 6, area.top(), room, area.height()), vertical | Qt.AlignmentFlag.AlignLeft, right
    )
    if low < 0 < high:
        zero = bar.left() + bar.width() * (-low / (high - low))
        painter.drawLine(QPointF(zero, bar.top() - 2), QPointF(zero, bar.bottom() + 2))
    painter.restore()
