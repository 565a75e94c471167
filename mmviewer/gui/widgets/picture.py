"""A picture and its dimmed twin, ready to be drawn at any zoom."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter

from mmviewer.gui.widgets.painting import ByteArray, rgb_image


class Picture:
    """Pixels for the screen, halved again and again so that drawing small is quick and free of aliasing.

    Parameters
    ----------
    pixels : uint8 array [H, W, 3]
        May be smaller than the original.
    source : tuple of int
        Height and width of the original, the coordinates everything is said in.
    dim : callable
        Makes the twin that lies under a map: darker and greyer, so that the colours are the map's.
    """

    def __init__(
        self, pixels: ByteArray, source: tuple[int, int], dim: Callable[[ByteArray], ByteArray]
    ) -> None:
        self._pixels = pixels
        self._dim = dim
        self.rect = QRectF(0, 0, source[1], source[0])

    @cached_property
    def _plain(self) -> list[QImage]:
        return _halvings(rgb_image(self._pixels))

    @cached_property
    def _dimmed(self) -> list[QImage]:
        return _halvings(rgb_image(self._dim(self._pixels)))

    def draw(self, painter: QPainter, target: QRectF, ratio: float, dimming: float) -> None:
        """Draw into `target` (view pixels; `ratio` device pixels each); `dimming` 0..1 towards the twin."""
        smooth = target.width() * ratio < 4 * self._pixels.shape[1]  # show pixels as they are when close
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        if dimming < 1:
            painter.drawImage(target, _level(self._plain, target, ratio))
        if dimming > 0:
            painter.setOpacity(dimming)
            painter.drawImage(target, _level(self._dimmed, target, ratio))
            painter.setOpacity(1)


def _halvings(image: QImage) -> list[QImage]:
    levels = [image]
    while max(levels[-1].width(), levels[-1].height()) > 256:
        last = levels[-1]
        levels.append(
            last.scaled(
                max(1, last.width() // 2),
                max(1, last.height() // 2),
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
    return levels


def _level(levels: list[QImage], target: QRectF, ratio: float) -> QImage:
    """The smallest level that still has a pixel for each device pixel."""
    width, height = target.width() * ratio, target.height() * ratio
    fitting = [level for level in levels if level.width() >= width and level.height() >= height]
    return fitting[-1] if fitting else levels[0]
