"""Room on a painted surface: what is there already, and where a name still fits."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSizeF

_CELL = 3  # pixels


class Taken:
    """What is painted already, in cells of a few pixels: a look is quick however much there is."""

    def __init__(self, area: QRectF) -> None:
        self._corner = area.topLeft()
        shape = (int(area.height()) // _CELL + 1, int(area.width()) // _CELL + 1)
        self._cells = np.zeros(shape, np.bool_)

    def is_free(self, rect: QRectF) -> bool:
        """Whether nothing lies in `rect`."""
        return not self._cells[self._slices(rect)].any()

    def take(self, rect: QRectF) -> None:
        """Let nothing else come into `rect`."""
        self._cells[self._slices(rect)] = True

    def _slices(self, rect: QRectF) -> tuple[slice, slice]:
        left, top = rect.left() - self._corner.x(), rect.top() - self._corner.y()
        return (
            slice(max(0, int(top) // _CELL), max(0, int(top + rect.height()) // _CELL + 1)),
            slice(max(0, int(left) // _CELL), max(0, int(left + rect.width()) // _CELL + 1)),
        )


def place_for(size: QSizeF, anchor: QRectF, area: QRectF, obstacles: tuple[Taken, ...]) -> QRectF | None:
    """A free place beside, above or below an anchor, or None."""
    middle = anchor.center()
    # above and below, a name may be pushed sideways to stay inside
    left = min(max(middle.x() - size.width() / 2, area.left() + 1), area.right() - size.width() - 1)
    corners = (
        QPointF(anchor.right() + 3, middle.y() - size.height() / 2),
        QPointF(anchor.left() - 3 - size.width(), middle.y() - size.height() / 2),
        QPointF(left, anchor.bottom() + 2),
        QPointF(left, anchor.top() - 2 - size.height()),
    )
    for corner in corners:
        rect = QRectF(corner, size)
        if area.contains(rect) and all(taken.is_free(rect) for taken in obstacles):
            return rect
    return None


def centred(middle: QPointF, size: QSizeF) -> QRectF:
    """A rectangle of `size` around `middle`."""
    rect = QRectF(QPointF(), size)
    rect.moveCenter(middle)
    return rect


def card_corner(size: QSizeF, point: QPointF, area: QRectF) -> QPointF:
    """Where a card lies: beside the point, turned inwards at the edges."""
    x = point.x() + 16 if point.x() + 16 + size.width() <= area.right() else point.x() - 16 - size.width()
    y = min(max(point.y() - size.height() / 2, area.top() + 4), area.bottom() - 4 - size.height())
    return QPointF(max(x, area.left() + 4), max(y, area.top() + 4))
