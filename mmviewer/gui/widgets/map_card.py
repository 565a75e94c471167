"""The floating card that says what map is shown: which token, what kind, from where, how far to trust it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.painting import accent, warning
from mmviewer.gui.widgets.trust_badge import Badge, TrustBadge

_MARGIN = 10
_STEP = 16
_WIDTH = 380
_NARROWEST = 190
_ROOMY = 120_000
"""In a view of fewer square pixels the open card would hide most of the picture."""
_HIGH = 260
_PADDING = 20  # left and right of the text

_ARROWS = {
    Qt.Key.Key_Left: QPoint(-_STEP, 0),
    Qt.Key.Key_Right: QPoint(_STEP, 0),
    Qt.Key.Key_Up: QPoint(0, -_STEP),
    Qt.Key.Key_Down: QPoint(0, _STEP),
}


@dataclass(frozen=True, slots=True)
class CardText:
    """What the card says; each part may be empty.

    `title` stands in bold, `lines` plain. Of `caution`, which applies to this very map, and `caveat`, which
    always holds, the first is shown; `page` of the help says more.
    """

    title: str = ""
    lines: tuple[str, ...] = ()
    caveat: str = ""
    caution: str = ""
    page: str = ""


class MapCard(QWidget):
    """A card over a view: dragged by mouse or arrow keys, folded by its button or a double click.

    Until it is moved it keeps to the corner where it covers least; in a small view it is folded at first.

    Parameters
    ----------
    parent : QWidget
        The view that it floats over.
    cost : callable, optional
        How much a rectangle of the view would be missed if the card lay over it.
    banner : bool
        Lie flat along the top, in room that the view keeps free (`reserved`), until it is moved.
    """

    reserve_changed = Signal()
    """The room to keep free is another."""
    learn_more = Signal(str)
    """A page of the help is wanted."""
    trust_wanted = Signal()
    """The badge was pressed: how far can the map be believed?"""

    def __init__(
        self, parent: QWidget, cost: Callable[[QRect], float] | None = None, *, banner: bool = False
    ) -> None:
        super().__init__(parent)
        self._banner = banner
        self._margin = 0
        self._view = parent
        self._cost = cost
        self._content = CardText()
        self._badge: Badge | None = None
        self._grip: QPoint | None = None
        self._moved = False
        self._corner = 0
        self._open = True
        self._by_hand = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setToolTip("What the colours mean. Drag to move it, double click to fold it.")
        self._title = ElidedLabel(bold=True, parent=self)
        self._fold = QToolButton(self)
        self._fold.setProperty("flat-button", True)
        self._fold.setFixedSize(24, 24)
        self._fold.setCursor(Qt.CursorShape.ArrowCursor)
        self._fold.clicked.connect(self.toggle)
        ink, faint = QPalette.ColorRole.WindowText, QPalette.ColorRole.PlaceholderText
        self._lines = [ElidedLabel(role=ink, parent=self) for _ in range(4)]
        self.badge = TrustBadge(self)
        self.badge.clicked.connect(self.trust_wanted)
        self._caveat = ElidedLabel(role=faint, parent=self)
        self._learn = QToolButton(self)
        self._learn.setProperty("flat-button", True)
        self._learn.setText("Learn more")
        self._learn.setToolTip("Open the help page about this, with an example.")
        self._learn.setCursor(Qt.CursorShape.PointingHandCursor)
        self._learn.clicked.connect(lambda: self.learn_more.emit(self._content.page))
        self._arrange()
        self._show_fold()
        self.hide()

    @property
    def content(self) -> CardText:
        """What the card says now."""
        return self._content

    @property
    def is_open(self) -> bool:
        """Whether the lines under the title are shown."""
        return self._open

    def show_text(self, content: CardText) -> None:
        """Say something else; a card without a title is hidden."""
        if content == self._content:
            return
        self._content = content
        self._title.set_text(content.title)
        self._fill()
        self.setVisible(bool(content.title))
        self.reserve_changed.emit()
        self.setAccessibleName(content.title)
        self.setAccessibleDescription(". ".join((*content.lines, content.caution or content.caveat)))
        self._resize()

    def show_badge(self, badge: Badge | None) -> None:
        """Say how far the map can be believed; None for nothing."""
        self._badge = badge
        if badge is not None and badge != self.badge.badge:
            self.badge.show_badge(badge)
        if self.badge.isHidden() == (badge is not None):
            self._fill()
        self._resize()

    def toggle(self) -> None:
        """Fold to the title, or unfold; from then on it stays as it is."""
        self._by_hand = True
        self._set_open(not self._open)

    def fold(self) -> None:
        """Show the title only until the user unfolds it."""
        self._by_hand = True
        self._set_open(False)

    def place(self) -> None:
        """Go to the corner where the card covers least, or stay where it was put, inside the parent."""
        if self._lies_flat:
            self._resize()
        elif not self._by_hand:
            high, wide = self._view.height(), self._view.width()
            roomy = high >= _HIGH and high * wide >= _ROOMY
            self._set_open(roomy or self._fits_beside)
        if self._moved:
            self._move_to(self.pos())
            return
        corners, cost = self._corners(), self._cost
        if cost is not None and not self._banner:
            self._corner = min(range(4), key=lambda i: cost(QRect(corners[i], self.size())))
        self.move(corners[self._corner])

    def set_margin(self, width: int) -> None:
        """Say how much room is free beside what the view shows; a card that fits there covers nothing."""
        if width != self._margin:
            self._margin = width
            self._resize()

    @property
    def reserved(self) -> int:
        """Height that the view keeps free for a banner at its top; 0 once it was moved."""
        return self.height() + _MARGIN if self._banner and self.isVisible() and not self._moved else 0

    def reset(self) -> None:
        """Forget where it was put."""
        self._moved = False
        self._fill()
        self._resize()
        self.place()
        self.reserve_changed.emit()

    # --- events ------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._grip = event.position().toPoint()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grip is not None:
            self._float_to(self.mapToParent(event.position().toPoint() - self._grip))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grip = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.toggle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in _ARROWS:
            self._float_to(self.pos() + _ARROWS[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.toggle()
        elif key == Qt.Key.Key_Home:
            self.reset()
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._resize()
        elif event.type() == QEvent.Type.PaletteChange:
            self._tint()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        fill = palette.color(QPalette.ColorRole.Window)
        fill.setAlphaF(0.95)
        edge = accent(palette) if self.hasFocus() else palette.color(QPalette.ColorRole.Mid)
        painter.setBrush(fill)
        painter.setPen(QPen(edge, 2 if self.hasFocus() else 1))
        painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 7, 7)

    # --- inside --------------------------------------------------------------------------------------
    def _set_open(self, is_open: bool) -> None:
        if is_open != self._open:
            self._open = is_open
            self._show_fold()
            self._fill()
            self._resize()

    def _arrange(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self._title, 1)
        top.addWidget(self._fold)
        box = QVBoxLayout(self)
        box.setContentsMargins(12, 5, 6, 7)
        box.setSpacing(1)
        box.addLayout(top)
        for line in self._lines:
            box.addWidget(line)
        box.addWidget(self.badge)
        foot = QHBoxLayout()
        foot.setSpacing(4)
        foot.addWidget(self._caveat, 1)
        foot.addWidget(self._learn, 0, Qt.AlignmentFlag.AlignBottom)
        box.addLayout(foot)

    def _fill(self) -> None:
        lines = self._content.lines
        if self._lies_flat:
            lines = (" · ".join(lines),) if lines else ()
        for index, label in enumerate(self._lines):
            label.set_text(lines[index] if index < len(lines) else "")
            label.setVisible(self._open and index < len(lines))
        self.badge.setVisible(self._badge is not None)
        caution, caveat = self._content.caution, self._content.caveat
        self._caveat.set_text(f"⚠ {caution}" if caution else caveat, more=caveat if caution else "")
        self._caveat.setVisible(self._open and bool(caution or caveat))
        self._learn.setVisible(self._open and bool(self._content.page))
        self._tint()

    def _tint(self) -> None:
        """Amber for what applies here, faint for what always holds."""
        palette = self.palette()
        if self._content.caution:
            palette.setColor(QPalette.ColorRole.PlaceholderText, warning(palette))
        if palette != self._caveat.palette():
            self._caveat.setPalette(palette)
        link = f"QToolButton {{ color: {accent(palette).name()}; }}"
        if link != self._learn.styleSheet():
            self._learn.setStyleSheet(link)

    def _show_fold(self) -> None:
        self._fold.setArrowType(Qt.ArrowType.UpArrow if self._open else Qt.ArrowType.DownArrow)
        self._fold.setToolTip("Fold the card" if self._open else "Unfold the card")
        self._fold.setAccessibleName(self._fold.toolTip())

    def _resize(self) -> None:
        layout = self.layout()
        if layout is None:
            return
        before = self.reserved
        most = self._most_width()
        flat = self._lies_flat
        self._title.set_shape(most - _PADDING - 30, 1 if flat else 2)
        beside = self._learn.sizeHint().width() + 4 if self._content.page else 0
        self._caveat.set_shape(most - _PADDING - beside, 1 if flat else 3)
        self.badge.set_shape(most - _PADDING, 1 if flat or not self._open else 2)
        for label in self._lines:
            label.set_shape(most - _PADDING, 1 if flat else 2)
        layout.invalidate()
        layout.activate()
        wanted = layout.sizeHint()
        self.resize(most if flat else min(wanted.width(), most), wanted.height())
        # kept while tokens are hovered: a card that jumps is worse than one that hides a little
        self._move_to(self.pos() if self._moved else self._corners()[self._corner])
        if self.reserved != before:
            self.reserve_changed.emit()

    @property
    def _lies_flat(self) -> bool:
        return self._banner and not self._moved

    def _most_width(self) -> int:
        room = max(140, self._view.width() - 2 * _MARGIN)
        if self._lies_flat:
            return room
        return min(_WIDTH, room, self._margin - 2 * _MARGIN if self._fits_beside else room)

    @property
    def _fits_beside(self) -> bool:
        return self._margin - 2 * _MARGIN >= _NARROWEST

    def _float_to(self, position: QPoint) -> None:
        """Go where the user puts it; a banner becomes a card."""
        if not self._moved:
            self._moved = True
            self._fill()
            self._resize()
            self.reserve_changed.emit()
        self._move_to(position)

    def _corners(self) -> list[QPoint]:
        parent = self._view
        left, right = _MARGIN, parent.width() - self.width() - _MARGIN
        top, bottom = _MARGIN, parent.height() - self.height() - _MARGIN - 30  # above the readout
        return [QPoint(right, top), QPoint(left, top), QPoint(right, bottom), QPoint(left, bottom)]

    def _move_to(self, position: QPoint) -> None:
        parent = self._view
        x = min(max(0, position.x()), max(0, parent.width() - self.width()))
        y = min(max(0, position.y()), max(0, parent.height() - self.height()))
        self.move(x, y)
