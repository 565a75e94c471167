"""A bubble that points at a control of the window and says a sentence about it, and a ring around that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from mmviewer.gui.widgets.painting import accent
from mmviewer.gui.widgets.wrapped_label import WrappedLabel

ARROW = 11
_WIDTH = 312
_RADIUS = 9.0
_EDGE = 8  # from the edge of the window
_RING = 3


class Side(StrEnum):
    """Where the bubble lies, seen from what it points at."""

    RIGHT = "right"
    BELOW = "below"
    LEFT = "left"
    ABOVE = "above"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a bubble lies: its top left corner, the side of the target, and the tip of its arrow."""

    corner: QPoint
    side: Side | None
    tip: QPoint


def place(size: QSize, target: QRect, room: QRect, sides: Sequence[Side]) -> Placed:
    """Put a bubble of `size` beside `target`, wholly inside `room`.

    The first of `sides` with room enough is taken; where none has, the bubble lies over the lower right
    corner of the target, and no arrow is drawn.
    """
    inner = room.adjusted(_EDGE, _EDGE, -_EDGE, -_EDGE)
    shown = target.intersected(room)
    for side in sides:
        corner = _beside(size, shown, side)
        corner = _kept_in(QRect(corner, size), inner, along=side in (Side.RIGHT, Side.LEFT))
        if inner.contains(QRect(corner, size)):
            return Placed(corner, side, _tip(QRect(corner, size), shown, side))
    corner = shown.bottomRight() - QPoint(size.width() + _EDGE, size.height() + _EDGE)
    box = QRect(corner, size)
    corner = QPoint(
        max(inner.left(), min(box.left(), inner.right() - size.width() + 1)),
        max(inner.top(), min(box.top(), inner.bottom() - size.height() + 1)),
    )
    return Placed(corner, None, corner)


def _beside(size: QSize, target: QRect, side: Side) -> QPoint:
    centre = target.center()
    across, along = centre.x() - size.width() // 2, centre.y() - size.height() // 2
    return {
        Side.RIGHT: QPoint(target.right() + _RING, along),
        Side.LEFT: QPoint(target.left() - size.width() - _RING + 1, along),
        Side.BELOW: QPoint(across, target.bottom() + _RING),
        Side.ABOVE: QPoint(across, target.top() - size.height() - _RING + 1),
    }[side]


def _kept_in(box: QRect, inner: QRect, *, along: bool) -> QPoint:
    """Move a box in one direction only: up and down, or to the sides."""
    if along:
        top = max(inner.top(), min(box.top(), inner.bottom() - box.height() + 1))
        return QPoint(box.left(), top)
    left = max(inner.left(), min(box.left(), inner.right() - box.width() + 1))
    return QPoint(left, box.top())


def _tip(box: QRect, target: QRect, side: Side) -> QPoint:
    """Where the arrow's tip touches, as near to the target's middle as the bubble's edge allows."""
    margin = ARROW + round(_RADIUS) + 8
    x = min(max(target.center().x(), box.left() + margin), box.right() - margin)
    y = min(max(target.center().y(), box.top() + margin), box.bottom() - margin)
    return {
        Side.RIGHT: QPoint(box.left(), y),
        Side.LEFT: QPoint(box.right(), y),
        Side.BELOW: QPoint(x, box.top()),
        Side.ABOVE: QPoint(x, box.bottom()),
    }[side]


class Callout(QWidget):
    """Floats over its parent; takes no input outside of itself."""

    advanced = Signal()
    """Next, or Done, was pressed."""
    returned = Signal()
    """Back was pressed."""
    left = Signal()
    """Leave was pressed."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self._placed: Placed | None = None
        self._ring = _Ring(over)
        self.setAccessibleName("Guided tour")
        self.title = QLabel()
        self.title.setObjectName("heading")
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setWordWrap(True)
        self.text = WrappedLabel()
        self.count = QLabel()
        self.count.setObjectName("faint")
        self.leave = _button("Leave", "Leave the tour; Esc does too. Help brings it back.", flat=True)
        self.back = _button("Back", "The step before.", flat=True)
        self.next = _button("Next", "The next step; doing what it says goes on as well.")
        self.leave.clicked.connect(self.left)
        self.back.clicked.connect(self.returned)
        self.next.clicked.connect(self.advanced)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.count)
        row.addStretch(1)
        for button in (self.leave, self.back, self.next):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(ARROW + 14, ARROW + 10, ARROW + 12, ARROW + 10)
        column.setSpacing(7)
        column.addWidget(self.title)
        column.addWidget(self.text)
        column.addLayout(row)
        self.hide()

    def show_step(self, title: str, text: str, number: int, count: int) -> None:
        """Show a step, the first being 1; `point_at` places it."""
        self.title.setText(title)
        self.text.setText(text)
        self.count.setText(f"{number} of {count}")
        self.count.setAccessibleName(f"Step {number} of {count}")
        self.back.setVisible(number > 1)
        self.leave.setVisible(number < count)
        self.next.setText("Done" if number == count else "Next")
        self.setAccessibleDescription(f"{title}. {text}")

    def show_done(self) -> None:
        """Say that the user has done what the step proposed."""
        if not self.title.text().startswith("✓"):
            self.title.setText(f"✓ {self.title.text()}")

    def point_at(self, target: QRect | None, sides: Sequence[Side]) -> None:
        """Lie beside `target`, in coordinates of the parent; without one, in the middle."""
        room = self._over.rect()
        width = min(_WIDTH, room.width() - 2 * _EDGE)
        layout = self.layout()
        if layout is not None:
            layout.activate()  # what it knows of the height is of the former text
        self.setFixedSize(width, self.heightForWidth(width))
        if target is None or target.isEmpty():
            middle = room.center() - self.rect().center()
            placed = Placed(middle, None, middle)
        else:
            placed = place(self.size(), target, room, sides)
        self._ring.surround(target)
        if placed != self._placed or self.isHidden():
            self._placed = placed
            self.move(placed.corner)
            self.show()
            self.update()
        self._ring.raise_()
        self.raise_()

    def put_away(self) -> None:
        """Remove bubble and ring for good."""
        for widget in (self._ring, self):
            widget.hide()
            widget.deleteLater()

    def paintEvent(self, event: QPaintEvent) -> None:
        palette = self.palette()
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(palette.color(QPalette.ColorRole.Window))
            painter.setPen(QPen(accent(palette), 1.5))
            painter.drawPath(self._shape())

    def _shape(self) -> QPainterPath:
        """A rounded box with an arrow."""
        box = QRectF(self.rect()).adjusted(ARROW, ARROW, -ARROW, -ARROW)
        path = QPainterPath()
        path.addRoundedRect(box, _RADIUS, _RADIUS)
        if self._placed is None or self._placed.side is None:
            return path
        tip = QPointF(self._placed.tip - self._placed.corner)
        arrow = QPainterPath()
        foot = ARROW + 2
        if self._placed.side in (Side.RIGHT, Side.LEFT):
            edge = box.left() if self._placed.side is Side.RIGHT else box.right()
            points = (QPointF(edge, tip.y() - foot), tip, QPointF(edge, tip.y() + foot))
        else:
            edge = box.top() if self._placed.side is Side.BELOW else box.bottom()
            points = (QPointF(tip.x() - foot, edge), tip, QPointF(tip.x() + foot, edge))
        arrow.moveTo(points[0])
        for point in points[1:]:
            arrow.lineTo(point)
        arrow.closeSubpath()
        return path.united(arrow)


class _Ring(QWidget):
    """A frame around what the bubble points at; the pointer goes through it."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()

    def surround(self, target: QRect | None) -> None:
        """Lie around `target`; without one, be hidden."""
        if target is None or target.isEmpty():
            self.hide()
            return
        box = target.adjusted(-_RING, -_RING, _RING, _RING).intersected(self._over.rect())
        if box != self.geometry() or self.isHidden():
            self.setGeometry(box)
            self.show()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(accent(self.palette()), 2))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)


def _button(text: str, tip: str, *, flat: bool = False) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumHeight(26)
    button.setProperty("flat-button" if flat else "primary", True)
    return button
