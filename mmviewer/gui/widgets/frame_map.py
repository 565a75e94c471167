"""A map on a neutral frame without a picture under it: a square, or a strip along time, and its scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from mmviewer.gui.widgets.painting import (
    ByteArray,
    FloatArray,
    MapStyle,
    color_bar,
    colored_image,
    grey_style,
    hatch,
    number,
    packed_colors,
)

_MOST = 220
_STRIP = 56
_BAR = 24


class FrameMap(QWidget):
    """Cells of one value each; those without a value are hatched. Pointing at one tells its value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.values: FloatArray = np.zeros((0, 0), np.float32)
        self._counts: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._scale = (0.0, 1.0)
        self._style = grey_style()
        self._strip = False
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Average map")

    def set_map(
        self,
        values: FloatArray,
        counts: NDArray[np.int32],
        scale: tuple[float, float],
        colors: ByteArray,
    ) -> None:
        """Show a map.

        Parameters
        ----------
        values : float32 array [R, C]
            One row along time; NaN where there is nothing.
        counts : int32 array [R, C]
            Of how many items each value is.
        scale : tuple of float
            Values of the first and the last colour.
        colors : uint8 array [256, 3]
            There is no picture that could shine through.
        """
        self.values, self._counts, self._scale = values, counts, scale
        self._style = MapStyle(np.concatenate([colors[:, :3], np.full((256, 1), 255, np.uint8)], axis=1))
        if (len(values) == 1) != self._strip:
            self._strip = len(values) == 1
            self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """A frame of pictures is square."""
        return True

    def heightForWidth(self, width: int) -> int:
        return (_STRIP if self._strip else min(width, _MOST)) + _BAR

    def sizeHint(self) -> QSize:
        return QSize(_MOST, self.heightForWidth(_MOST))

    def minimumSizeHint(self) -> QSize:
        return QSize(100, self.heightForWidth(100))

    def frame(self) -> QRectF:
        """Where the map lies."""
        height = float(self.height() - _BAR)
        width = float(self.width()) if self._strip else min(height, float(self.width()))
        return QRectF((self.width() - width) / 2, 0, width, height).adjusted(0.5, 0.5, -0.5, -0.5)

    def words_at(self, x: float, y: float) -> str:
        """The value under a position, and of how many items it is; empty outside of the map."""
        frame = self.frame()
        if not self.values.size or not frame.contains(QPointF(x, y)):
            return ""
        rows, columns = self.values.shape
        row = min(math.floor((y - frame.top()) / frame.height() * rows), rows - 1)
        column = min(math.floor((x - frame.left()) / frame.width() * columns), columns - 1)
        value = float(self.values[row, column])
        shown = "no value" if math.isnan(value) else number(value)
        return f"{shown} · {int(self._counts[row, column]):,} maps have a value here"

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        frame = self.frame()
        if self.values.size:
            if not np.isfinite(self.values).all():
                hatch(painter, frame)
            painter.drawImage(
                frame, colored_image(self.values, *self._scale, packed_colors(self._style.colors))
            )
            below = QRectF(0, self.height() - _BAR, self.width(), _BAR)
            color_bar(painter, below, self._style, *self._scale, self.palette())
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Mid), 1))
        painter.drawRect(frame)

    def event(self, event: object) -> bool:
        """Tell the value that is pointed at."""
        if isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.words_at(event.pos().x(), event.pos().y()), self)
            return True
        return super().event(event)  # type: ignore[arg-type]
