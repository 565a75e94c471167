"""Tokens as chips: hover, click, combine and step through them; thousands stay fluid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QContextMenuEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy, QToolTip, QWidget

from mmviewer.gui.widgets.chips import GAP, HEIGHT, ROW, Chip, ChipFlow, reads_right_to_left
from mmviewer.gui.widgets.elided_label import plain_tooltip
from mmviewer.gui.widgets.painting import FloatArray, accent, readable_on

_RADIUS = 6.0
_NUMBER_FROM = 0.35  # of the brightest chip: fainter ones get no number


class TokenStrip(QAbstractScrollArea):
    """One widget that paints the chips in sight; holds no truth of its own.

    Arrow keys step, Home and End jump, Shift extends, Ctrl+A takes all, Esc clears. A click chooses,
    Ctrl+click adds or removes, Shift+click extends.
    """

    hovered = Signal(object)
    """Index of the chip under the pointer, or None."""
    chosen = Signal(tuple)
    """Indices of the chosen chips, ascending."""
    menu_wanted = Signal(int, QPoint)
    """A chip was clicked with the right button, or the menu key was pressed on it; where, on the screen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chips: tuple[Chip, ...] = ()
        self._widths: dict[str, float] = {}
        self._flow = ChipFlow((), 1, self._measure)
        self._rtl = False
        self._picked: frozenset[int] = frozenset()
        self._anchor = 0
        self._cursor: int | None = None
        self._hovered: int | None = None
        self._linked: frozenset[int] = frozenset()
        self._lit: FloatArray | None = None
        self._floor = 0.0
        self._lit_where = ""
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.viewport().setMouseTracking(True)
        self.viewport().setBackgroundRole(QPalette.ColorRole.Window)
        self.setAccessibleName("Tokens")

    # --- what is shown ---------------------------------------------------------------------------------
    def set_chips(self, chips: Sequence[Chip]) -> None:
        """Show other tokens, or the same with more of them."""
        bar = self.verticalScrollBar()
        following = bar.value() >= bar.maximum() - ROW and len(chips) > len(self._chips)
        self._chips = tuple(chips)
        self._rtl = reads_right_to_left([chip.text for chip in chips if not chip.special][:50])
        self._picked = frozenset(i for i in self._picked if i < len(chips))
        self._cursor = None if self._cursor is None or self._cursor >= len(chips) else self._cursor
        self._lit = None
        self._linked = frozenset()
        self._flow_again()
        self._set_hovered(None)
        if following:
            bar.setValue(bar.maximum())

    def set_chosen(self, indices: Sequence[int]) -> None:
        """Show which chips are chosen; emits nothing."""
        picked = frozenset(i for i in indices if 0 <= i < len(self._chips))
        if picked != self._picked:
            self._picked = picked
            if len(picked) == 1:
                self._cursor = self._anchor = min(picked)
                self._scroll_to(self._cursor)
            self._announce()
            self.viewport().update()

    def show_start(self) -> None:
        """Scroll to the first token, or to the chosen ones."""
        if self._chips:
            self._scroll_to(min(self._picked, default=0))

    def set_lit(self, shares: FloatArray | None, floor: float = 0.0, where: str = "") -> None:
        """Light chips by a share 0..1 each [T]: how much of its map a token has at the place pointed at.

        The brightest chip is lit in full, if its share is at least `floor`. With `where`, which names a
        region for the tooltip, every chip says its number.
        """
        self._floor, self._lit_where = floor, where
        if shares is not None and len(shares) != len(self._chips):
            shares = None
        if shares is not None or self._lit is not None:
            self._lit = shares
            self.viewport().update()

    def set_linked(self, indices: Sequence[int]) -> None:
        """Ring the chips of the word that is pointed at elsewhere; emits nothing."""
        linked = frozenset(i for i in indices if 0 <= i < len(self._chips))
        if linked != self._linked:
            self._linked = linked
            if linked:
                self._scroll_to(min(linked))
            self.viewport().update()

    @property
    def linked(self) -> tuple[int, ...]:
        """Chips of the word that is pointed at elsewhere, ascending."""
        return tuple(sorted(self._linked))

    @property
    def chips(self) -> tuple[Chip, ...]:
        """The tokens shown."""
        return self._chips

    @property
    def picked(self) -> tuple[int, ...]:
        """The chosen chips, ascending."""
        return tuple(sorted(self._picked))

    def chip_rect(self, index: int) -> QRectF:
        """Where a chip lies in the viewport."""
        return self._flow.rect(index).translated(0, -self.verticalScrollBar().value())

    # --- size --------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(480, int(min(max(self._flow.height, ROW), 2 * ROW)) + 4)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, int(ROW) + 4)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._flow_again()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._widths.clear()
            self._flow_again()

    # --- events --------------------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._set_hovered(self._chip_at(event.position()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self._chip_at(event.position())
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if index is None:
            self._choose(frozenset())
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._extend(index)
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._anchor = self._cursor = index
            self._choose(self._picked ^ {index})
        else:
            self._anchor = self._cursor = index
            self._choose(frozenset() if self._picked == {index} else frozenset({index}))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            index = self._cursor
        else:
            index = self._chip_at(QPointF(event.pos()))
        if index is not None:
            below = self.chip_rect(index).bottomLeft().toPoint()
            self.menu_wanted.emit(index, self.viewport().mapToGlobal(below))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if key == Qt.Key.Key_Escape and self._picked:
            self._choose(frozenset())
        elif key == Qt.Key.Key_A and control:
            self._choose(frozenset(range(len(self._chips))))
        elif (target := self._target(key)) is not None:
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._extend(target)
            else:
                self._anchor = self._cursor = target
                self._choose(frozenset({target}))
            self._scroll_to(target)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: object) -> None:
        if self._cursor is None and self._chips:
            self._cursor = min(self._picked, default=0)
        self.viewport().update()

    def focusOutEvent(self, event: object) -> None:
        self.viewport().update()

    def viewportEvent(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            self._show_tooltip(event.pos(), event.globalPos())
            return True
        if event.type() == QEvent.Type.Leave:
            self._set_hovered(None)
        return super().viewportEvent(event)

    # --- painting ----------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self.viewport()) as painter:
            self._paint(painter, event.rect())

    def _paint(self, painter: QPainter, area: QRect) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scroll = self.verticalScrollBar().value()
        for index in self._flow.between(area.top() + scroll, area.bottom() + scroll):
            self._paint_chip(painter, index, self._flow.rect(index).translated(0, -scroll))

    def _paint_chip(self, painter: QPainter, index: int, rect: QRectF) -> None:
        chip, palette = self._chips[index], self.palette()
        chosen = index in self._picked
        self._paint_ground(painter, index, rect)
        faint = chip.special or chip.given
        role = QPalette.ColorRole.PlaceholderText if faint else QPalette.ColorRole.ButtonText
        painter.setPen(self._chosen_ink() if chosen else palette.color(role))
        inner = rect.adjusted(8, 2, -8, -11)  # above the bar or share; without one the text stays there too
        text = self.fontMetrics().elidedText(chip.label, Qt.TextElideMode.ElideMiddle, int(inner.width()) + 3)
        painter.drawText(inner, Qt.AlignmentFlag.AlignCenter, text)
        if chip.by_hand:
            self._paint_fork(painter, rect)
        if self._lit is not None:
            self._paint_share(painter, rect, float(self._lit[index]), chosen)
        elif chip.probability is not None:
            self._paint_bar(painter, rect, chip.probability, chosen)

    def _paint_ground(self, painter: QPainter, index: int, rect: QRectF) -> None:
        palette, chip = self.palette(), self._chips[index]
        fill = palette.color(QPalette.ColorRole.Button)
        if index in self._picked:
            fill = palette.color(QPalette.ColorRole.Accent)
        elif chip.special or chip.given:
            fill.setAlphaF(0.35)
        pen = QPen(palette.color(QPalette.ColorRole.Mid), 1)
        if chip.special:
            pen.setStyle(Qt.PenStyle.DashLine)
        if index == self._hovered:
            pen = QPen(accent(self.palette()), 1.5)
        elif index in self._linked:
            pen = QPen(accent(self.palette()), 2.5)
        painter.setBrush(fill)
        painter.setPen(pen)
        painter.drawRoundedRect(rect.adjusted(1.5, 1.5, -1.5, -1.5), _RADIUS, _RADIUS)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if index == self._cursor and self.hasFocus():
            painter.setPen(QPen(palette.color(QPalette.ColorRole.WindowText), 2))
            painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), _RADIUS, _RADIUS)

    def _paint_fork(self, painter: QPainter, rect: QRectF) -> None:
        """Two ways that part: the token was put here in place of another."""
        at = rect.topRight() + QPointF(-10, 10)
        painter.drawLine(at + QPointF(-3, 3), at)
        painter.drawLine(at, at + QPointF(3, -3))
        painter.drawLine(at, at + QPointF(-3, -3))

    def _paint_bar(self, painter: QPainter, rect: QRectF, share: float, chosen: bool) -> None:
        """A thin bar, as long as the token was probable."""
        track = QRectF(rect.left() + 8, rect.bottom() - 9, rect.width() - 16, 3)
        color = self._bar_color(chosen)
        faint = QColor(color)
        faint.setAlphaF(0.22)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faint)
        painter.drawRoundedRect(track, 1.5, 1.5)
        painter.setBrush(color)
        track.setWidth(max(2.0, track.width() * min(max(share, 0.0), 1.0)))
        painter.drawRoundedRect(track, 1.5, 1.5)

    def _paint_share(self, painter: QPainter, rect: QRectF, share: float, chosen: bool) -> None:
        """A ring as strong as the token's share of the brightest one, and the number where it counts."""
        assert self._lit is not None
        brightest = max(float(np.max(self._lit, initial=0.0)), self._floor)
        strength = share / brightest if brightest > 0 else 0.0
        if strength < 0.02 and not self._lit_where:
            return
        ring = self._bar_color(chosen)
        ring.setAlphaF(min(1.0, 0.15 + 0.85 * strength))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(ring, 1 + 2 * strength))
        painter.drawRoundedRect(rect.adjusted(2, 2, -2, -2), _RADIUS, _RADIUS)
        if strength >= _NUMBER_FROM or self._lit_where:
            painter.save()
            font = painter.font()
            font.setPixelSize(10)
            painter.setFont(font)
            ink = self.palette().color(QPalette.ColorRole.ButtonText)
            painter.setPen(self._chosen_ink() if chosen else ink)
            foot = QRectF(rect.left(), rect.bottom() - 15, rect.width(), 12)
            painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, _percent(share))
            painter.restore()

    def _bar_color(self, chosen: bool) -> QColor:
        return self._chosen_ink() if chosen else accent(self.palette())

    def _chosen_ink(self) -> QColor:
        return readable_on(self.palette().color(QPalette.ColorRole.Accent))

    # --- inside ----------------------------------------------------------------------------------------
    def _measure(self, text: str) -> float:
        if text not in self._widths:
            self._widths[text] = float(self.fontMetrics().horizontalAdvance(text[:200]))
        return self._widths[text]

    def _flow_again(self) -> None:
        self._flow = ChipFlow(self._chips, self.viewport().width() - 2, self._measure, self._rtl)
        page = self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, int(self._flow.height) - page))
        bar.setPageStep(page)
        bar.setSingleStep(int(ROW))
        self.updateGeometry()
        self.viewport().update()

    def _chip_at(self, position: QPointF) -> int | None:
        return self._flow.at(position + QPointF(0, self.verticalScrollBar().value()))

    def _target(self, key: Qt.Key) -> int | None:
        """Where a key leads to."""
        count = len(self._chips)
        if not count:
            return None
        at = self._cursor if self._picked or self._cursor is not None else None
        forward = Qt.Key.Key_Left if self._rtl else Qt.Key.Key_Right
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            if at is None or not self._picked:
                return at or 0
            return min(max(at + (1 if key == forward else -1), 0), count - 1)
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            return self._flow.beside(at or 0, 1 if key == Qt.Key.Key_Down else -1)
        return {Qt.Key.Key_Home: 0, Qt.Key.Key_End: count - 1}.get(key)

    def _extend(self, index: int) -> None:
        self._cursor = index
        low, high = sorted((min(self._anchor, len(self._chips) - 1), index))
        self._choose(frozenset(range(low, high + 1)))

    def _choose(self, picked: frozenset[int]) -> None:
        self.viewport().update()
        if picked != self._picked:
            self._picked = picked
            self._announce()
            self.chosen.emit(self.picked)

    def _set_hovered(self, index: int | None) -> None:
        if index != self._hovered:
            for changed in (self._hovered, index):
                if changed is not None and changed < len(self._flow):
                    self.viewport().update(self.chip_rect(changed).toAlignedRect())
            self._hovered = index
            self.hovered.emit(index)

    def _scroll_to(self, index: int) -> None:
        bar, rect = self.verticalScrollBar(), self._flow.rect(index)
        top, bottom = int(rect.top() - GAP / 2), int(rect.top() + HEIGHT + GAP / 2)
        if top < bar.value():
            bar.setValue(top)
        elif bottom > bar.value() + self.viewport().height():
            bar.setValue(bottom - self.viewport().height())

    def _announce(self) -> None:
        """Tell assistive technology what is chosen."""
        spoken = [
            f"token {i + 1} of {len(self._chips)}: {self._chips[i].explained()}" for i in self.picked[:5]
        ]
        self.setAccessibleDescription("; ".join(spoken) or "no token chosen")
        event = QAccessibleEvent(self, QAccessible.Event.DescriptionChanged)
        QAccessible.updateAccessibility(event)

    def _show_tooltip(self, at: QPoint, on_screen: QPoint) -> None:
        index = self._chip_at(QPointF(at))
        if index is None:
            QToolTip.hideText()
            return
        text = self._chips[index].explained()
        if self._lit is not None:
            where = self._lit_where or "at the chosen place"
            text += f"\n{_percent(float(self._lit[index]))} of its map lies {where}"
        rect = self.chip_rect(index).toRect()
        QToolTip.showText(on_screen, plain_tooltip(text), self.viewport(), rect)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
