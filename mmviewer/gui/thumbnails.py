"""Items in little: a reduced image or the envelope of a sound, and what to call them where room is scarce."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen, QPolygonF

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import FloatArray, Media
from mmviewer.gui.widgets.painting import rgb_image

SIDE = 128
_BARS = 32
_SOUND_GROUND = QColor("#2a2f3a")  # reads on light and dark ground alike
_SOUND_INK = QColor("#8fd3bd")


class Thumbnails:
    """Makes pictures when they are first asked for and keeps them by item id."""

    def __init__(self) -> None:
        self._made: dict[str, QImage | None] = {}

    def of(self, media: Media) -> QImage | None:
        """The picture of an item; None for texts."""
        if media.id not in self._made:
            self._made[media.id] = picture_of(media)
        return self._made[media.id]

    def keep(self, ids: Iterable[str]) -> None:
        """Forget the pictures of all other items."""
        kept = set(ids)
        self._made = {item_id: image for item_id, image in self._made.items() if item_id in kept}


def short_name(item: LibraryItem) -> str:
    """The words of a text, unless the user has given it a name of its own."""
    return item.media.text or item.name if item.name == item.media.name else item.name


def picture_of(media: Media) -> QImage | None:
    """The picture of an item, made anew; None for texts."""
    if media.pixels is not None:
        return _reduced(media.pixels)
    return _envelope(media.samples) if media.samples is not None else None


def region_picture(
    media: Media, box: tuple[float, float, float, float], outline: Sequence[tuple[float, float]] = ()
) -> QImage | None:
    """What lies in a box (top, left, bottom, right in original pixels), darkened outside of an outline."""
    if media.pixels is None:
        return None
    height, width = media.pixels.shape[:2]
    scale = np.array((height, width)) / np.maximum(media.size, 1)
    low, high = np.floor(box[:2] * scale).astype(int), np.ceil(box[2:] * scale).astype(int)
    low = np.clip(low, 0, (height - 1, width - 1))
    high = np.clip(high, low + 1, (height, width))
    image = _reduced(np.ascontiguousarray(media.pixels[low[0] : high[0], low[1] : high[1]]))
    if len(outline):
        inside = np.array(outline) * scale[::-1] - low[::-1]
        _darken_outside(image, inside * (np.array(image.size().toTuple()) / (high - low)[::-1]))
    return image


def _darken_outside(image: QImage, outline: NDArray[np.float64]) -> None:
    around = QPainterPath()
    around.addRect(QRectF(image.rect()))
    inner = QPainterPath()
    inner.addPolygon(QPolygonF([QPointF(x, y) for x, y in outline]))
    painter = QPainter(image)
    painter.fillPath(around.subtracted(inner), QColor(0, 0, 0, 170))
    painter.end()


def _reduced(pixels: NDArray[np.uint8]) -> QImage:
    """Take every n-th pixel first: smooth scaling of millions of pixels would be felt."""
    step = max(1, min(pixels.shape[:2]) // (2 * SIDE))
    image = rgb_image(pixels[::step, ::step])
    return image.scaled(
        SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    )


def _envelope(samples: FloatArray) -> QImage:
    """Bars of the loudest sample in each of equal parts."""
    image = QImage(SIDE, SIDE // 2, QImage.Format.Format_RGB32)
    image.fill(_SOUND_GROUND)
    if len(samples) == 0:
        return image
    parts = np.array_split(np.abs(samples), min(_BARS, len(samples)))
    peaks = np.array([part.max() for part in parts])
    heights = peaks / max(float(peaks.max()), 1e-9) * (SIDE / 2 - 12) / 2 + 1
    painter = QPainter(image)
    painter.setPen(QPen(_SOUND_INK, 2))
    for column, height in enumerate(heights):
        x, middle = (column + 0.5) * SIDE / len(heights), SIDE / 4
        painter.drawLine(QPointF(x, middle - height), QPointF(x, middle + height))
    painter.end()
    return image
