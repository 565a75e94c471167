"""Pictures of any number of items in a strip or a grid; only those in view are ever asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QScrollBar, QToolTip, QWidget

from mmviewer.gui.widgets.ink import faded
from mmviewer.gui.widgets.painting import ByteArray, accent, rgb_image

Rows = NDArray[np.int64]
Box = tuple[float, float, float, float]

_PICTURE = 72
_GAP = 8
_BADGE_SHARE = 0.4  # of a picture's height: what lies higher could be hidden by a badge
_FETCHED_AT_ONCE = 24
_KEPT = 2_000
_WORDS = 60  # letters in the place of a picture


class Filmstrip(QAbstractScrollArea):
    """Items side by side, each a picture with a line below.

    Parameters
    ----------
    wrapped : bool
        A grid that scrolls down instead of a strip that scrolls sideways.

    Signals
    -------
    picked(int), opened(int)
        The row that was clicked or stepped to; that was clicked twice or on which Return was pressed.
    """

    picked = Signal(int)
    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None, *, wrapped: bool = False) -> None:
        super().__init__(parent)
        self._wrapped = wrapped
        self.rows: Rows = np.zeros(0, np.int64)
        self._picked: int | None = None
        self._fetch: Callable[[Rows], Sequence[ByteArray | None]] = lambda rows: [None] * len(rows)
        self._captions: Callable[[Rows], Sequence[str]] = lambda rows: [f"{row}" for row in rows]
        self._badges: dict[int, str] = {}
        self._boxes: dict[int, Box] = {}
        self._pictures: OrderedDict[int, QImage | None] = OrderedDict()
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self.viewport().update)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        off, needed = Qt.ScrollBarPolicy.ScrollBarAlwaysOff, Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.setHorizontalScrollBarPolicy(off if wrapped else needed)
        self.setVerticalScrollBarPolicy(needed if wrapped else off)

    # --- content --------------------------------------------------------------------------------------
    def set_sources(
        self,
        pictures: Callable[[Rows], Sequence[ByteArray | None]],
        captions: Callable[[Rows], Sequence[str]],
    ) -> None:
        """Where pictures [h, w, 3] and lines come from, by row."""
        self._fetch, self._captions = pictures, captions
        self._pictures.clear()
        self.viewport().update()

    def set_rows(
        self,
        rows: Rows,
        badges: Mapping[int, str] | None = None,
        boxes: Mapping[int, Box] | None = None,
    ) -> None:
        """Show these items, in this order.

        By row, `badges` are a few letters in the corner of some, and `boxes` (top, left, bottom and right as
        shares of the picture) are framed in it.
        """
        self.rows = np.asarray(rows, np.int64)
        self._badges, self._boxes = dict(badges or {}), dict(boxes or {})
        self._bar().setValue(0)
        self._measure()
        self.setAccessibleDescription(f"{len(rows):,} items")
        self.viewport().update()

    def forget_pictures(self) -> None:
        """Ask for all pictures anew."""
        self._pictures.clear()
        self.viewport().update()

    def set_picked(self, row: int | None) -> None:
        """Ring an item and bring it into view; emits nothing."""
        self._picked = row
        place = self._place_of(row)
        if place is not None:
            self._show(place)
        self.viewport().update()

    def rect_of(self, place: int) -> QRect:
        """Where the item at a place lies in the viewport."""
        line, column = divmod(place, self._columns())
        cell, shift = self._cell(), self._bar().value()
        if self._wrapped:
            return QRect(column * cell.width(), line * cell.height() - shift, cell.width(), cell.height())
        return QRect(place * cell.width() - shift, 0, cell.width(), cell.height())

    def place_at(self, x: float, y: float) -> int | None:
        """The place under a position of the viewport."""
        cell, shift = self._cell(), self._bar().value()
        if self._wrapped:
            column, line = int(x // cell.width()), int((y + shift) // cell.height())
            place = line * self._columns() + column if column < self._columns() else -1
        else:
            place = int((x + shift) // cell.width()) if y < cell.height() else -1
        return place if 0 <= place < len(self.rows) else None

    # --- painting -------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        places = self._places_in_view()
        rows = self.rows[places]
        missing = []
        for place, row, text in zip(places.tolist(), rows.tolist(), self._captions(rows), strict=True):
            if row not in self._pictures:
                missing.append(row)
            self._paint_cell(painter, QRectF(self.rect_of(place)), row, text)
        painter.end()
        self._fetch_missing(missing)

    def _paint_cell(self, painter: QPainter, cell: QRectF, row: int, text: str) -> None:
        frame = QRectF(cell.left() + _GAP / 2, cell.top() + _GAP / 2, _PICTURE, _PICTURE)
        palette = self.palette()
        image = self._pictures.get(row)
        painter.setPen(Qt.PenStyle.NoPen)
        if image is None:
            painter.setBrush(palette.color(QPalette.ColorRole.Button))
            painter.drawRoundedRect(frame, 4, 4)
            self._paint_words(painter, frame, text)
        else:
            size = image.size().scaled(_PICTURE, _PICTURE, Qt.AspectRatioMode.KeepAspectRatio)
            rect = QRectF(QPointF(), size.toSizeF())
            rect.moveCenter(frame.center())
            painter.drawImage(rect, image)
            if row in self._boxes:
                self._paint_box(painter, rect, self._boxes[row])
        if row in self._badges:
            self._paint_badge(painter, frame, self._badges[row], self._boxes.get(row))
        if row == self._picked:
            painter.setPen(QPen(accent(palette), 2.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(frame.adjusted(-1, -1, 1, 1), 5, 5)
        metrics = QFontMetricsF(painter.font())
        words = metrics.elidedText(text.replace("\n", " "), Qt.TextElideMode.ElideMiddle, cell.width() - _GAP)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        under = QRectF(cell.left(), frame.bottom() + 2, cell.width(), metrics.height())
        painter.drawText(under, Qt.AlignmentFlag.AlignCenter, words)

    def _paint_words(self, painter: QPainter, frame: QRectF, text: str) -> None:
        """What has no picture is shown by its words."""
        painter.setPen(self.palette().color(QPalette.ColorRole.ButtonText))
        within = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWrapAnywhere
        painter.save()
        painter.setClipRect(frame)
        painter.drawText(frame.adjusted(5, 3, -5, -3), int(within), text[:_WORDS])
        painter.restore()

    def _paint_box(self, painter: QPainter, rect: QRectF, box: Box) -> None:
        """Frame a part of a picture, dark and light so that it is seen on any."""
        top, left, bottom, right = box
        frame = QRectF(
            QPointF(rect.left() + left * rect.width(), rect.top() + top * rect.height()),
            QPointF(rect.left() + right * rect.width(), rect.top() + bottom * rect.height()),
        )
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 200), 4.0), (QColor(255, 255, 255), 1.8)):
            painter.setPen(QPen(colour, width))
            painter.drawRect(frame)

    def _paint_badge(self, painter: QPainter, frame: QRectF, text: str, box: Box | None) -> None:
        """A few letters in a corner of a picture, below where a box lies above."""
        metrics = QFontMetricsF(painter.font())
        badge = QRectF(0, 0, metrics.horizontalAdvance(text) + 8, metrics.height())
        badge.moveTopLeft(frame.topLeft() + QPointF(2, 2))
        if box is not None and box[0] < _BADGE_SHARE:
            badge.moveBottomLeft(frame.bottomLeft() + QPointF(2, -2))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(self.palette().color(QPalette.ColorRole.Base), 0.82))
        painter.drawRoundedRect(badge, 3, 3)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, text)

    def _fetch_missing(self, missing: list[int]) -> None:
        if not missing:
            return
        rows = np.array(missing[:_FETCHED_AT_ONCE], np.int64)
        for row, pixels in zip(missing, self._fetch(rows), strict=False):
            self._pictures[row] = None if pixels is None else rgb_image(pixels)
        while len(self._pictures) > _KEPT:
            self._pictures.popitem(last=False)
        self._later.start()

    # --- events ---------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Pick what is clicked."""
        place = self.place_at(event.position().x(), event.position().y())
        if place is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pick(place)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Nothing more to do: pressing picked."""
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open what is clicked twice."""
        place = self.place_at(event.position().x(), event.position().y())
        if place is not None:
            self.opened.emit(int(self.rows[place]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step to the next item; Return opens it."""
        columns = self._columns() if self._wrapped else 1
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -columns,
            Qt.Key.Key_Down: columns,
        }
        key, place = Qt.Key(event.key()), self._place_of(self._picked)
        if key in steps and len(self.rows):
            self._pick(0 if place is None else min(max(0, place + steps[key]), len(self.rows) - 1))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and place is not None:
            self.opened.emit(int(self.rows[place]))
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Any wheel scrolls, whichever way the items run."""
        delta = event.angleDelta()
        self._bar().setValue(self._bar().value() - (delta.y() or delta.x()))
        event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._measure()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    def viewportEvent(self, event: object) -> bool:
        """The whole line as a tooltip."""
        if isinstance(event, QHelpEvent):
            place = self.place_at(event.pos().x(), event.pos().y())
            if place is not None:
                words = self._captions(self.rows[place : place + 1])
                QToolTip.showText(event.globalPos(), words[0], self)
            return True
        return super().viewportEvent(event)  # type: ignore[arg-type]

    def sizeHint(self) -> QSize:
        return QSize(4 * self._cell().width(), self._cell().height() + 12)

    def minimumSizeHint(self) -> QSize:
        return QSize(self._cell().width() + 12, self._cell().height() + 12)

    # --- geometry ---------------------------------------------------------------------------------------
    def _cell(self) -> QSize:
        height = _PICTURE + _GAP + 2 + self.fontMetrics().height()
        return QSize(_PICTURE + _GAP, height)

    def _columns(self) -> int:
        if not self._wrapped:
            return max(1, len(self.rows))
        return max(1, self.viewport().width() // self._cell().width())

    def _bar(self) -> QScrollBar:
        return self.verticalScrollBar() if self._wrapped else self.horizontalScrollBar()

    def _measure(self) -> None:
        cell = self._cell()
        if self._wrapped:
            lines = -(-len(self.rows) // self._columns())
            whole, page, step = lines * cell.height(), self.viewport().height(), cell.height()
        else:
            whole, page, step = len(self.rows) * cell.width(), self.viewport().width(), cell.width()
        bar = self._bar()
        bar.setRange(0, max(0, whole - page))
        bar.setPageStep(page)
        bar.setSingleStep(step)

    def _places_in_view(self) -> Rows:
        cell, shift = self._cell(), self._bar().value()
        if self._wrapped:
            first, last = shift // cell.height(), (shift + self.viewport().height()) // cell.height() + 1
            first, last = first * self._columns(), last * self._columns()
        else:
            first, last = shift // cell.width(), (shift + self.viewport().width()) // cell.width() + 1
        return np.arange(first, min(last, len(self.rows)), dtype=np.int64)

    def _place_of(self, row: int | None) -> int | None:
        if row is None:
            return None
        found = np.flatnonzero(self.rows == row)
        return int(found[0]) if len(found) else None

    def _show(self, place: int) -> None:
        rect, bar = self.rect_of(place), self._bar()
        low, high = (rect.top(), rect.bottom()) if self._wrapped else (rect.left(), rect.right())
        page = bar.pageStep()
        if low < 0:
            bar.setValue(bar.value() + low)
        elif high > page:
            bar.setValue(bar.value() + high - page)

    def _pick(self, place: int) -> None:
        self._picked = int(self.rows[place])
        self._show(place)
        self.viewport().update()
        self.picked.emit(self._picked)
