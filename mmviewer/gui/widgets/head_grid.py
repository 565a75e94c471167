"""All layers by all heads as small maps to compare and to pick from."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.head_order import Order, entropy, ordered, strongest
from mmviewer.gui.widgets.map_layer import Enlarge, GridMap
from mmviewer.gui.widgets.painting import FloatArray, MapStyle, accent, grey_style
from mmviewer.gui.widgets.picture import Picture

_GAP = 4
_ROW_LABEL = 30
_TOP_LABEL = 20
_CAPTION = 16
_LEAST, _MOST = 44, 120

HeadIndex = tuple[int, int]


class HeadGrid(QAbstractScrollArea):
    """Small maps, each on its own colour scale; one is picked by click or Enter, again or Esc lets it go."""

    picked = Signal(int, int)
    """Layer and head, from 0."""
    released = Signal()
    """No single head is wanted any more."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: FloatArray = np.zeros((0, 0, 1, 1), np.float32)
        self._box = (0.0, 0.0, 1.0, 1.0)
        self._enlarge: Enlarge | None = None
        self._picture: Picture | None = None
        self._style = grey_style()
        self._order: Order = "layer"
        self._cells: list[HeadIndex] = []
        self._images: dict[HeadIndex, QImage] = {}
        self._entropy = self._strongest = np.zeros((0, 0), np.float32)
        self._picked: HeadIndex | None = None
        self._cursor = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Window)
        self.setAccessibleName("Maps of all layers and heads")

    # --- what is shown ---------------------------------------------------------------------------------
    def set_picture(self, picture: Picture | None) -> None:
        """Lay the maps over this picture; None for sounds, whose maps are curves."""
        self._picture = picture
        self._arrange()

    def set_maps(
        self,
        values: FloatArray,
        box: tuple[float, float, float, float] | None = None,
        enlarge: Enlarge | None = None,
    ) -> None:
        """Show maps [L, H, R, C] over `box` of the picture, or [L, H, P] along time."""
        self._values, self._enlarge = values, enlarge
        if box is not None:
            self._box = box
        self._entropy, self._strongest = entropy(values), strongest(values)
        self._images.clear()
        self._sort()

    def set_style(self, style: MapStyle) -> None:
        """Paint maps in another way."""
        self._style = style
        self._images.clear()
        self.viewport().update()

    def set_order(self, order: Order) -> None:
        """Show the heads in another order."""
        self._order = order
        self._sort()

    def set_picked(self, index: HeadIndex | None) -> None:
        """Show which head is picked; emits nothing."""
        if index != self._picked:
            self._picked = index
            if index in self._cells:
                self._cursor = self._cells.index(index)
            self.viewport().update()

    @property
    def cells(self) -> tuple[HeadIndex, ...]:
        """(layer, head) in the order shown."""
        return tuple(self._cells)

    def cell_rect(self, index: HeadIndex) -> QRectF:
        """Where a map lies in the viewport."""
        return self._rect(self._cells.index(index)).translated(self._scrolled())

    # --- layout ------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(320, 320)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, 100)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _sort(self) -> None:
        at = self._cells[self._cursor] if self._cursor < len(self._cells) else None
        self._cells = ordered(self._values, self._order)
        self._cursor = self._cells.index(at) if at in self._cells else 0
        self._arrange()

    @property
    def _columns(self) -> int:
        """As many as there are heads in the model's order, else as many as fit."""
        heads = int(self._values.shape[1])
        if self._order == "layer" or not heads:
            return max(1, heads)
        return max(1, min(len(self._cells), (self.viewport().width() + _GAP) // (_LEAST + 16 + _GAP)))

    def _cell_size(self) -> tuple[float, float]:
        """Width and height of one map."""
        left = _ROW_LABEL if self._order == "layer" else 0
        room = self.viewport().width() - left - _GAP * (self._columns - 1) - 2
        width = float(min(max(room / self._columns, _LEAST), _MOST))
        aspect = 0.55
        if self._picture is not None:
            aspect = min(max(self._picture.rect.height() / self._picture.rect.width(), 0.4), 1.6)
        return width, round(width * aspect)

    def _rect(self, place: int) -> QRectF:
        """Where the map at a place lies in the whole."""
        width, height = self._cell_size()
        row, column = divmod(place, self._columns)
        by_layer = self._order == "layer"
        left = (_ROW_LABEL if by_layer else 0) + column * (width + _GAP)
        top = (_TOP_LABEL if by_layer else 2) + row * (height + _GAP + (0 if by_layer else _CAPTION))
        return QRectF(left, top, width, height)

    def _arrange(self) -> None:
        last = self._rect(max(0, len(self._cells) - 1))
        columns = self._rect(min(self._columns, max(1, len(self._cells))) - 1)
        foot = 2 if self._order == "layer" else _CAPTION + 2
        view = self.viewport().size()
        for bar, whole, page, step in (
            (self.verticalScrollBar(), last.bottom() + foot, view.height(), last.height() + _GAP),
            (self.horizontalScrollBar(), columns.right() + 2, view.width(), last.width() + _GAP),
        ):
            bar.setRange(0, max(0, math.ceil(whole) - page))
            bar.setPageStep(page)
            bar.setSingleStep(int(step))
        self.viewport().update()

    def _scrolled(self) -> QPointF:
        return QPointF(-self.horizontalScrollBar().value(), -self.verticalScrollBar().value())

    # --- painting ----------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self.viewport()) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shift = self._scrolled()
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        for place, index in enumerate(self._cells):
            rect = self._rect(place).translated(shift)
            if rect.top() - _TOP_LABEL > self.viewport().height():
                break
            if rect.bottom() + _CAPTION >= 0:
                self._paint_cell(painter, index, rect)
                self._paint_labels(painter, place, index, rect)

    def _paint_cell(self, painter: QPainter, index: HeadIndex, rect: QRectF) -> None:
        painter.save()
        painter.setClipRect(rect)
        painter.fillRect(rect, self.palette().color(QPalette.ColorRole.Base))
        if self._values.ndim == 4 and self._picture is not None:
            self._paint_map(painter, index, rect)
        elif self._values.ndim == 3:
            self._paint_curve(painter, self._values[index], rect)
        painter.restore()
        at_cursor = self.hasFocus() and self._cells[self._cursor] == index
        if index == self._picked or at_cursor:
            ink = self.palette().color(QPalette.ColorRole.WindowText) if at_cursor else accent(self.palette())
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(ink, 1.5))
            painter.drawRoundedRect(rect.adjusted(-1, -1, 1, 1), 3, 3)
            if index == self._picked:
                painter.setPen(QPen(accent(self.palette()), 2.5))
                painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), 2, 2)

    def _paint_map(self, painter: QPainter, index: HeadIndex, rect: QRectF) -> None:
        assert self._picture is not None
        self._picture.draw(painter, rect, self.devicePixelRatioF(), 1.0)
        if index not in self._images:
            grid = self._values[index]
            finite = grid[np.isfinite(grid)]
            low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
            if self._enlarge is None or high <= low:
                return
            self._images[index] = GridMap(grid, self._box, low, high, self._enlarge).image(
                self._style, raster=96
            )
        top, left, bottom, right = self._box
        source = self._picture.rect
        fx, fy = rect.width() / source.width(), rect.height() / source.height()
        box = QRectF(rect.left() + left * fx, rect.top() + top * fy, (right - left) * fx, (bottom - top) * fy)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(box, self._images[index])

    def _paint_curve(self, painter: QPainter, values: FloatArray, rect: QRectF) -> None:
        known = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        peak = float(np.abs(known).max(initial=0.0))
        if peak <= 0:
            return
        heights = known / peak * (rect.height() - 4)
        x = np.linspace(rect.left(), rect.right(), len(values))
        y = rect.bottom() - 2 - heights
        points = [QPointF(*point) for point in zip(x.tolist(), y.tolist(), strict=True)]
        painter.setPen(QPen(accent(self.palette()), 1.2))
        painter.drawPolyline(QPolygonF(points))

    def _paint_labels(self, painter: QPainter, place: int, index: HeadIndex, rect: QRectF) -> None:
        layer, head = index
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        if self._order != "layer":
            value = self._entropy[index] if self._order == "entropy" else self._strongest[index]
            foot = QRectF(rect.left(), rect.bottom(), rect.width(), _CAPTION)
            painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, f"L{layer + 1} H{head + 1} · {value:.2f}")
            return
        if head == 0:
            side = QRectF(rect.left() - _ROW_LABEL, rect.top(), _ROW_LABEL - 4, rect.height())
            painter.drawText(
                side, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, f"L{layer + 1}"
            )
        if layer == 0:
            top = QRectF(rect.left(), rect.top() - _TOP_LABEL, rect.width(), _TOP_LABEL - 2)
            painter.drawText(top, Qt.AlignmentFlag.AlignCenter, f"H{head + 1}")

    # --- events --------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self._at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and index is not None:
            self._cursor = self._cells.index(index)
            self._pick(index)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self._columns,
            Qt.Key.Key_Down: self._columns,
        }
        if key in steps and self._cells:
            target = self._cursor + steps[key]
            if 0 <= target < len(self._cells):
                self._move_to(target)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._cells:
            self._pick(self._cells[self._cursor])
        elif key == Qt.Key.Key_Escape and self._picked is not None:
            self._pick(self._picked)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: object) -> None:
        self.viewport().update()

    def focusOutEvent(self, event: object) -> None:
        self.viewport().update()

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self._at(QPointF(event.pos()))
            if index is None:
                QToolTip.hideText()
            else:
                place = self.cell_rect(index).toRect()
                QToolTip.showText(
                    event.globalPos(), plain_tooltip(self.explained(index)), self.viewport(), place
                )
            return True
        return super().viewportEvent(event)

    def explained(self, index: HeadIndex) -> str:
        """What the tooltip and a screen reader say of a head."""
        layer, head = index
        return (
            f"Layer {layer + 1}, head {head + 1}.\n"
            f"Entropy {self._entropy[index]:.2f} (0: one place only, 1: everywhere alike).\n"
            f"{100 * self._strongest[index]:.0f} % of its weight lies in the strongest place.\n"
            "Coloured on its own scale."
        )

    # --- inside ----------------------------------------------------------------------------------------
    def _at(self, position: QPointF) -> HeadIndex | None:
        point = position - self._scrolled()
        return next(
            (index for place, index in enumerate(self._cells) if self._rect(place).contains(point)), None
        )

    def _pick(self, index: HeadIndex) -> None:
        again = index == self._picked
        self.set_picked(None if again else index)
        self.viewport().update()
        if again:
            self.released.emit()
        else:
            self.picked.emit(*index)

    def _move_to(self, place: int) -> None:
        self._cursor = place
        rect = self._rect(place)
        for bar, first, last, page in (
            (
                self.verticalScrollBar(),
                rect.top() - _TOP_LABEL,
                rect.bottom() + _CAPTION,
                self.viewport().height(),
            ),
            (
                self.horizontalScrollBar(),
                rect.left() - _ROW_LABEL,
                rect.right() + _GAP,
                self.viewport().width(),
            ),
        ):
            if first < bar.value():
                bar.setValue(int(first))
            elif last > bar.value() + page:
                bar.setValue(int(last - page))
        self.setAccessibleDescription(self.explained(self._cells[place]))
        self.viewport().update()
