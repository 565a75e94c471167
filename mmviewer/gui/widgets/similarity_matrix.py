"""A matrix of similarities in the order of its dendrogram, which stands above it; names beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QFont,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.painting import (
    ByteArray,
    FloatArray,
    MapStyle,
    accent,
    color_bar,
    colored_image,
    grey_style,
    number,
    packed_colors,
)

Order = NDArray[np.int64]
Merges = NDArray[np.float64]

_MARGIN = 8.0
_GAP = 6.0
_BAR = 22.0
_TREE_SHARE, _TREE_LEAST, _TREE_MOST = 0.16, 36.0, 120.0
_NAMES_SHARE, _NAMES_MOST = 0.3, 220.0
_MOST_SIDE = 1400.0


def dendrogram_lines(merges: Merges, order: Order) -> NDArray[np.float64]:
    """The bracket of each merge: [M - 1, 4, 2], (x, height) from the first child up, across and down.

    Parameters
    ----------
    merges : float64 array [M - 1, 4]
        As `scipy.cluster.hierarchy.linkage` returns them.
    order : int64 array [M]
        Leaves from left to right; leaf `order[k]` stands at x = k + 0.5.
    """
    count = len(order)
    x, height = np.zeros(count + len(merges)), np.zeros(count + len(merges))
    x[order] = np.arange(count) + 0.5
    lines = np.empty((len(merges), 4, 2))
    for number_, (first, second, apart) in enumerate(merges[:, :3]):
        left, right = sorted((int(first), int(second)), key=lambda node: x[node])
        lines[number_] = (
            (x[left], height[left]),
            (x[left], apart),
            (x[right], apart),
            (x[right], height[right]),
        )
        x[count + number_], height[count + number_] = (x[left] + x[right]) / 2, apart
    return lines


class SimilarityMatrix(QWidget):
    """Shows cosines as colours; tells what lies under the pointer, and which line was clicked.

    Signals
    -------
    chosen(int)
        The number, in the order given, of the item or category whose line was clicked.
    pointed(object)
        (line, column) under the pointer or the keys, as numbers in the order given; None for none.
    """

    chosen = Signal(int)
    pointed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: FloatArray = np.zeros((0, 0), np.float32)
        self._order: Order = np.zeros(0, np.int64)
        self._lines = np.zeros((0, 4, 2))
        self._names: tuple[str, ...] = ()
        self._style: MapStyle = grey_style()
        self._image = QImage()
        self._ends = (0.0, 1.0)
        self._cell: tuple[int, int] | None = None  # places among the leaves
        self._marked: int | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(240, 220)
        self.setAccessibleName("Similarity matrix")

    # --- content --------------------------------------------------------------------------------------
    def set_matrix(
        self, values: FloatArray, order: Order, merges: Merges, names: Sequence[str], colours: ByteArray
    ) -> None:
        """Show another matrix.

        Parameters
        ----------
        values : float32 array [M, M]
        order : int64 array [M]
            Leaves from one end to the other.
        merges : float64 array [M - 1, 4]
            As scipy has them.
        names : sequence of str
            In the order of `values`.
        colours : uint8 array [256, 3]
            From the lowest to the highest value.
        """
        self._values, self._order = values, order
        self._lines = dendrogram_lines(merges, order)
        self._names = tuple(name.replace("\n", " ") for name in names)
        self._style = MapStyle(np.concatenate([colours, np.full((256, 1), 255, np.uint8)], axis=1))
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        self._ends = (low, high) if high > low else (low - 0.5, high + 0.5)
        sorted_values = np.ascontiguousarray(values[np.ix_(order, order)], np.float32)
        self._image = colored_image(sorted_values, *self._ends, packed_colors(self._style.colors))
        self._marked = None
        self._point_at(None)
        self.setAccessibleDescription(
            f"{len(order)} lines, cosines from {number(low)} to {number(high)}. Arrow keys move, Return"
            " chooses."
        )
        self.update()

    def set_marked(self, which: int | None) -> None:
        """Point out the line of an item, by its number in the order given."""
        if which != self._marked:
            self._marked = which
            self.update()

    @property
    def cell(self) -> tuple[int, int] | None:
        """(line, column) that is looked at, as numbers in the order given."""
        if self._cell is None:
            return None
        return int(self._order[self._cell[0]]), int(self._order[self._cell[1]])

    def words(self) -> str:
        """What lies under the pointer, in words; what the colours mean while nothing does."""
        if not len(self._order):
            return ""
        if self.cell is None:
            return "cosine similarity; point at a cell, click a line"
        line, column = self.cell
        value = f"{self._values[line, column]:.3f}".replace("-", "\N{MINUS SIGN}")
        if line == column:
            return f"{self._names[line]}: {value}"
        return f"{self._names[line]}  ·  {self._names[column]}: {value}"

    # --- geometry ---------------------------------------------------------------------------------------
    def square(self) -> QRectF:
        """Where the matrix lies."""
        return self._rooms()[0]

    def cell_rect(self, line: int, column: int) -> QRectF:
        """Where a cell lies, by numbers in the order given."""
        square, places = self.square(), np.argsort(self._order)
        side = square.width() / max(1, len(self._order))
        return QRectF(square.left() + places[column] * side, square.top() + places[line] * side, side, side)

    def _rooms(self) -> tuple[QRectF, float, float]:
        """The square, the width of the names at its left, the height of the tree above it."""
        metrics = self.fontMetrics()
        longest = max((metrics.horizontalAdvance(name) for name in self._names), default=0) + 14.0
        least = metrics.horizontalAdvance(_height_words(1.05)) + 14.0  # no height has a longer one
        names = max(least, min(longest, _NAMES_MOST, _NAMES_SHARE * self.width()))
        tree = min(max(_TREE_SHARE * self.height(), _TREE_LEAST), _TREE_MOST)
        below = _BAR + metrics.height() + 2 * _GAP
        wide = self.width() - 2 * _MARGIN - names
        high = self.height() - 2 * _MARGIN - tree - _GAP - below
        side = max(20.0, min(wide, high, _MOST_SIDE))
        left = _MARGIN + names + max(0.0, (wide - side) / 2)
        return QRectF(left, _MARGIN + tree + _GAP, side, side), names, tree

    def _cell_at(self, at: QPointF) -> tuple[int, int] | None:
        square, count = self.square(), len(self._order)
        if not count or not square.adjusted(-self._rooms()[1], 0, 0, 0).contains(at):
            return None
        side = square.width() / count
        line = min(count - 1, int((at.y() - square.top()) / side))
        column = min(count - 1, int((at.x() - square.left()) / side)) if at.x() >= square.left() else line
        return line, column

    # --- events -----------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point_at(self._cell_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._point_at(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self._cell_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and cell is not None:
            self._point_at(cell)
            self.chosen.emit(int(self._order[cell[0]]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        key, last = Qt.Key(event.key()), len(self._order) - 1
        if key in steps and last >= 0:
            line, column = self._cell if self._cell is not None else (0, 0)
            down, right = steps[key] if self._cell is not None else (0, 0)
            self._point_at((min(max(line + down, 0), last), min(max(column + right, 0), last)))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._cell is not None:
            self.chosen.emit(int(self._order[self._cell[0]]))
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def _point_at(self, cell: tuple[int, int] | None) -> None:
        if cell != self._cell:
            self._cell = cell
            self.update()
            self.pointed.emit(self.cell)

    # --- painting ---------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(680, 720)

    def picture(self, scale: float = 2.0) -> QImage:
        """All of it as an image, `scale` times as fine as on the screen, without what is pointed at."""
        image = QImage(self.size() * scale, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(scale)
        image.fill(self.palette().color(QPalette.ColorRole.Base))
        painter = QPainter(image)
        painter.setFont(self.font())
        self._paint(painter, pointed=False)
        painter.end()
        return image

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
            self._paint(painter, pointed=True)

    def _paint(self, painter: QPainter, *, pointed: bool) -> None:
        if not len(self._order):
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        square, names, tree = self._rooms()
        self._paint_tree(painter, square, names, tree)
        painter.drawImage(square, self._image)
        self._paint_names(painter, square, names, pointed=pointed)
        if pointed:
            self._paint_pointed(painter, square)
        line = self.fontMetrics().height()
        bar = QRectF(square.left(), square.bottom() + _GAP, square.width(), _BAR)
        color_bar(painter, bar, self._style, *self._ends, self.palette())
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        words = self.words() if pointed else "cosine similarity"
        under = QRectF(_MARGIN, bar.bottom() + _GAP / 2, self.width() - 2 * _MARGIN, line + 2)
        shown = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideMiddle, int(under.width()))
        painter.drawText(under, Qt.AlignmentFlag.AlignCenter, shown)

    def _paint_tree(self, painter: QPainter, square: QRectF, names: float, tree: float) -> None:
        highest = float(self._lines[:, 1, 1].max(initial=0.0))
        across = square.width() / len(self._order)
        up = tree / highest if highest > 0 else 0.0
        base = square.top() - _GAP
        width = 1.3 if len(self._order) <= 80 else 0.8
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.WindowText), width))
        for bracket in self._lines:
            painter.drawPolyline(
                QPolygonF([QPointF(square.left() + x * across, base - y * up) for x, y in bracket])
            )
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        right = Qt.AlignmentFlag.AlignRight
        room = QRectF(square.left() - names, base - tree, names - 8, tree)
        if highest > 0:
            painter.drawText(room, right | Qt.AlignmentFlag.AlignTop, _height_words(highest))
            painter.drawText(room, right | Qt.AlignmentFlag.AlignBottom, "1")

    def _paint_names(self, painter: QPainter, square: QRectF, room: float, *, pointed: bool) -> None:
        """As many names as have room, one line each; those that are pointed at in any case."""
        metrics = self.fontMetrics()
        side = square.width() / len(self._order)
        step = max(1, math.ceil(metrics.height() * 0.9 / side))
        strong = set(self._cell or ()) if pointed else set()
        marked = (
            set(np.flatnonzero(self._order == self._marked).tolist()) if self._marked is not None else set()
        )
        taken: list[QRectF] = []
        for place in (*sorted(strong), *sorted(marked - strong), *range(0, len(self._order), step)):
            middle = square.top() + (place + 0.5) * side
            rect = QRectF(square.left() - room, middle - metrics.height() / 2, room - 8, metrics.height())
            if any(rect.adjusted(0, 2, 0, -2).intersects(other) for other in taken):
                continue
            taken.append(rect)
            self._paint_name(painter, rect, place, strong=place in strong, marked=place in marked)
        painter.setFont(self.font())

    def _paint_name(self, painter: QPainter, rect: QRectF, place: int, *, strong: bool, marked: bool) -> None:
        font = QFont(self.font())
        font.setBold(strong or marked)
        painter.setFont(font)
        ink = accent(self.palette()) if marked else self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(ink)
        name = painter.fontMetrics().elidedText(
            self._names[self._order[place]], Qt.TextElideMode.ElideRight, int(rect.width())
        )
        painter.drawText(rect, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, name)

    def _paint_pointed(self, painter: QPainter, square: QRectF) -> None:
        if self._cell is None:
            return
        side = square.width() / len(self._order)
        line, column = self._cell
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        across = QRectF(square.left(), square.top() + line * side, square.width(), side)
        down = QRectF(square.left() + column * side, square.top(), side, square.height())
        for colour, width in ((Qt.GlobalColor.black, 3), (Qt.GlobalColor.white, 1)):
            painter.setPen(QPen(colour, width))
            for rect in (across, down) if self.hasFocus() or self.underMouse() else (across & down,):
                painter.drawRect(rect)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)


def _height_words(height: float) -> str:
    """What a height of the tree means."""
    return f"cosine {number(1 - height, 2)}"
