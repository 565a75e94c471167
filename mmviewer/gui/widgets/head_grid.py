"""All layers by all heads as small maps to compare and to pick from."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QMenu, QToolTip, QWidget

from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.head_order import MEASURES, Order, entropy, ordered, strongest
from mmviewer.gui.widgets.painting import FloatArray, MapStyle, accent, grey_style
from mmviewer.gui.widgets.picture import Picture
from mmviewer.gui.widgets.tile_atlas import EnlargeAll, TileAtlas

_GAP = 4
_ROW_LABEL = 30
_TOP_LABEL = 20
_CAPTION = 16
_LEAST, _MOST = 44, 120

_KEYS = (
    "Click or Enter opens it, Ctrl+click adds it to the selection, P pins it; M and X take the whole layer."
)

HeadIndex = tuple[int, int]


class HeadGrid(QAbstractScrollArea):
    """Small maps, each on its own colour scale, with a number under each.

    A click or Enter picks a head, again or Esc lets it go; with Ctrl several of a layer stand for their mean.
    The name of a layer or M takes the mean of all its heads, X the largest; P pins.
    """

    picked = Signal(int, object)
    """Layer from 0, and a head from 0, several of them as a tuple, "mean" or "max"."""
    released = Signal()
    """No certain heads are wanted any more."""
    pinned = Signal(int, int)
    """Layer and head to keep in sight."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: FloatArray = np.zeros((0, 0, 1, 1), np.float32)
        self._box = (0.0, 0.0, 1.0, 1.0)
        self._enlarge: EnlargeAll | None = None
        self._picture: Picture | None = None
        self._style = grey_style()
        self._order: Order = "layer"
        self._cells: list[HeadIndex] = []
        self._atlas: TileAtlas | None = None
        self._own: dict[Order, FloatArray] = {}
        self._given: dict[Order, FloatArray] = {}
        self._picked: frozenset[HeadIndex] = frozenset()
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
        self._atlas = None
        self._arrange()

    def set_maps(
        self,
        values: FloatArray,
        box: tuple[float, float, float, float] | None = None,
        enlarge: EnlargeAll | None = None,
    ) -> None:
        """Show maps [L, H, R, C] over `box` of the picture, or [L, H, P] along time."""
        self._values, self._enlarge = values, enlarge
        if box is not None:
            self._box = box
        self._own = {"entropy": entropy(values), "strongest": strongest(values)}
        self._given = {key: each for key, each in self._given.items() if each.shape == values.shape[:2]}
        self._atlas = None
        self._sort()

    def set_measures(self, measures: Mapping[Order, FloatArray]) -> None:
        """Take numbers [L, H] that depend on more than the maps: the region, the chosen map."""
        self._given = {key: each for key, each in measures.items() if each.shape == self._values.shape[:2]}
        self._sort()

    def set_style(self, style: MapStyle) -> None:
        """Paint maps in another way."""
        self._style = style
        self._atlas = None
        self.viewport().update()

    def set_order(self, order: Order) -> None:
        """Show the heads in another order; without numbers for it, in the model's."""
        self._order = order
        self._sort()

    def set_picked(self, indices: frozenset[HeadIndex]) -> None:
        """Show which heads are picked; emits nothing."""
        if indices != self._picked:
            self._picked = indices
            if len(indices) == 1:
                (index,) = indices
                self._cursor = self._cells.index(index) if index in self._cells else self._cursor
            self.viewport().update()

    @property
    def cells(self) -> tuple[HeadIndex, ...]:
        """(layer, head) in the order shown."""
        return tuple(self._cells)

    @property
    def numbered_by(self) -> Order:
        """What the number under each map is."""
        if self._by_layer:
            return "region" if "region" in self._given else "entropy"
        return self._order

    def number(self, index: HeadIndex) -> str:
        """What stands under a map."""
        by = self.numbered_by
        return MEASURES[by].told(float(self._numbers[by][index]))

    def cell_rect(self, index: HeadIndex) -> QRectF:
        """Where a map lies in the viewport."""
        return self._rect(self._cells.index(index)).translated(self._scrolled())

    @property
    def _numbers(self) -> dict[Order, FloatArray]:
        return self._own | self._given

    @property
    def _by_layer(self) -> bool:
        return self._order == "layer" or self._order not in self._numbers

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
        none = np.zeros(self._values.shape[:2], np.float32)
        order: Order = "layer" if self._by_layer else self._order
        self._cells = ordered(self._numbers.get(order, none), order)
        self._cursor = self._cells.index(at) if at in self._cells else 0
        self._arrange()

    @property
    def _columns(self) -> int:
        """As many as there are heads in the model's order, else as many as fit."""
        heads = int(self._values.shape[1])
        if self._by_layer or not heads:
            return max(1, heads)
        layers = int(self._values.shape[0])
        words = self._small_metrics().horizontalAdvance(f"L{layers} H{heads} · +0.00")
        least = max(_LEAST, math.ceil(words) + 4)
        return max(1, min(len(self._cells), (self.viewport().width() + _GAP) // (least + _GAP)))

    def _small_font(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(11)
        return font

    def _small_metrics(self) -> QFontMetricsF:
        return QFontMetricsF(self._small_font())

    def _cell_size(self) -> tuple[float, float]:
        """Width and height of one map."""
        left = _ROW_LABEL if self._by_layer else 0
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
        left = (_ROW_LABEL if self._by_layer else 0) + column * (width + _GAP)
        top = (_TOP_LABEL if self._by_layer else 2) + row * (height + _GAP + _CAPTION)
        return QRectF(left, top, width, height)

    def _arrange(self) -> None:
        last = self._rect(max(0, len(self._cells) - 1))
        columns = self._rect(min(self._columns, max(1, len(self._cells))) - 1)
        view = self.viewport().size()
        for bar, whole, page, step in (
            (
                self.verticalScrollBar(),
                last.bottom() + _CAPTION + 2,
                view.height(),
                last.height() + _CAPTION + _GAP,
            ),
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
        painter.setFont(self._small_font())
        for place, index in enumerate(self._cells):
            rect = self._rect(place).translated(shift)
            if rect.top() - _TOP_LABEL > self.viewport().height():
                break
            if rect.bottom() + _CAPTION >= 0:
                self._paint_cell(painter, index, rect)
                self._paint_labels(painter, place, index, rect)

    def _paint_cell(self, painter: QPainter, index: HeadIndex, rect: QRectF) -> None:
        if self._atlas is None:
            maps = self._values.reshape(-1, *self._values.shape[2:])
            self._atlas = TileAtlas(maps, self._box, self._picture, self._style, self._enlarge)
        palette = self.palette()
        painter.save()
        painter.setClipRect(rect)
        painter.fillRect(rect, palette.color(QPalette.ColorRole.Base))
        place = index[0] * self._values.shape[1] + index[1]
        self._atlas.paint(painter, place, rect, self.devicePixelRatioF(), accent(palette))
        painter.restore()
        at_cursor = self.hasFocus() and self._cells[self._cursor] == index
        if index in self._picked or at_cursor:
            ink = palette.color(QPalette.ColorRole.WindowText) if at_cursor else accent(palette)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(ink, 1.5))
            painter.drawRoundedRect(rect.adjusted(-1, -1, 1, 1), 3, 3)
            if index in self._picked:
                painter.setPen(QPen(accent(palette), 2.5))
                painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), 2, 2)

    def _paint_labels(self, painter: QPainter, place: int, index: HeadIndex, rect: QRectF) -> None:
        layer, head = index
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        foot = QRectF(rect.left(), rect.bottom(), rect.width(), _CAPTION)
        if not self._by_layer:
            words = f"L{layer + 1} H{head + 1} · {self.number(index)}"
            painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, words)
            return
        painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, self.number(index))
        if head == 0:
            vertical = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(self._side(rect), vertical | Qt.AlignmentFlag.AlignLeft, f"L{layer + 1}")
        if layer == 0:
            top = QRectF(rect.left(), rect.top() - _TOP_LABEL, rect.width(), _TOP_LABEL - 2)
            painter.drawText(top, Qt.AlignmentFlag.AlignCenter, f"H{head + 1}")

    def _side(self, rect: QRectF) -> QRectF:
        """Where the name of a layer stands, beside its first map."""
        return QRectF(rect.left() - _ROW_LABEL, rect.top(), _ROW_LABEL - 4, rect.height())

    # --- events --------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        index, layer = self._at(event.position()), self._layer_at(event.position())
        if index is not None:
            self._cursor = self._cells.index(index)
            self._pick(index, together=bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))
        elif layer is not None:
            self.picked.emit(layer, "mean")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def contextMenuEvent(self, event: object) -> None:
        at = getattr(event, "pos", QPoint)()
        index = self._at(QPointF(at)) or (self._cells[self._cursor] if self._cells else None)
        if index is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        layer, head = index
        menu.addAction("Open").triggered.connect(lambda: self.picked.emit(layer, head))
        menu.addAction("Add to the selection").triggered.connect(lambda: self._pick(index, together=True))
        menu.addAction("Pin").triggered.connect(lambda: self.pinned.emit(layer, head))
        menu.addSeparator()
        menu.addAction(f"Mean of layer {layer + 1}").triggered.connect(
            lambda: self.picked.emit(layer, "mean")
        )
        menu.addAction(f"Largest of layer {layer + 1}").triggered.connect(
            lambda: self.picked.emit(layer, "max")
        )
        menu.popup(self.viewport().mapToGlobal(at))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self._columns,
            Qt.Key.Key_Down: self._columns,
        }
        if not self._cells:
            super().keyPressEvent(event)
            return
        layer, head = self._cells[self._cursor]
        together = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if key in steps:
            target = self._cursor + steps[key]
            if 0 <= target < len(self._cells):
                self._move_to(target)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._pick((layer, head), together=together)
        elif key in (Qt.Key.Key_M, Qt.Key.Key_X) and not together:
            self.picked.emit(layer, "mean" if key == Qt.Key.Key_M else "max")
        elif key == Qt.Key.Key_P and not together:
            self.pinned.emit(layer, head)
        elif key == Qt.Key.Key_Escape and self._picked:
            self._let_go()
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
        numbers = [
            MEASURES[key].explained.format(MEASURES[key].told(float(numbers[index])))
            for key, numbers in self._numbers.items()
        ]
        return "\n".join(
            [f"Layer {layer + 1}, head {head + 1}.", *numbers, "Coloured on its own scale.", _KEYS]
        )

    # --- inside ----------------------------------------------------------------------------------------
    def _at(self, position: QPointF) -> HeadIndex | None:
        point = position - self._scrolled()
        return next(
            (index for place, index in enumerate(self._cells) if self._rect(place).contains(point)), None
        )

    def _layer_at(self, position: QPointF) -> int | None:
        """The layer whose name lies under a point."""
        if not self._by_layer:
            return None
        point = position - self._scrolled()
        first = [place for place, (_, head) in enumerate(self._cells) if head == 0]
        return next(
            (self._cells[each][0] for each in first if self._side(self._rect(each)).contains(point)), None
        )

    def _pick(self, index: HeadIndex, *, together: bool) -> None:
        """Pick a head alone, or together with those of its layer; what was picked is let go."""
        same_layer = {each for each in self._picked if each[0] == index[0]} if together else set()
        if together:
            chosen = frozenset(same_layer ^ {index})
        else:
            chosen = frozenset() if self._picked == {index} else frozenset({index})
        if not chosen:
            self._let_go()
            return
        self.set_picked(chosen)
        self.viewport().update()
        heads = tuple(sorted(head for _, head in chosen))
        self.picked.emit(index[0], heads[0] if len(heads) == 1 else heads)

    def _let_go(self) -> None:
        self.set_picked(frozenset())
        self.released.emit()

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
