"""One line on a map's card that says how far to trust it: a dot with a shape of its own, and words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from mmviewer.gui.widgets.elided_label import ElidedLabel, plain_tooltip
from mmviewer.gui.widgets.ink import tabular
from mmviewer.gui.widgets.painting import accent, warning

_DOT = 10.0
_GAP = 7.0


class Level(StrEnum):
    """Which dot stands before the words."""

    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Badge:
    """Words, a dot and a tooltip."""

    text: str
    level: Level
    tip: str = ""


def level_color(level: Level, palette: QPalette) -> QColor:
    """Green, amber, red or grey, readable on the ground of the palette."""
    dark = palette.color(QPalette.ColorRole.Window).lightnessF() < 0.5
    return {
        Level.GOOD: QColor("#6cc08b" if dark else "#1c7a43"),
        Level.MIXED: warning(palette),
        Level.BAD: QColor("#f07a72" if dark else "#b3261e"),
        Level.WAITING: palette.color(QPalette.ColorRole.PlaceholderText),
    }[level]


def paint_dot(painter: QPainter, middle: QPointF, level: Level, palette: QPalette) -> None:
    """A full disc, a half one, a crossed ring or an empty ring: told apart without colours too."""
    color, radius = level_color(level, palette), _DOT / 2
    box = QRectF(middle.x() - radius, middle.y() - radius, _DOT, _DOT)
    painter.setPen(QPen(color, 1.6))
    painter.setBrush(color if level is Level.GOOD else Qt.BrushStyle.NoBrush)
    painter.drawEllipse(box)
    if level is Level.MIXED:
        painter.setBrush(color)
        painter.drawChord(box, 90 * 16, 180 * 16)
    elif level is Level.BAD:
        reach = radius * 0.7
        painter.drawLine(middle + QPointF(-reach, reach), middle + QPointF(reach, -reach))


class TrustBadge(QAbstractButton):
    """The line, broken into two where there is little room; a click or Space asks for more."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._badge = Badge("", Level.WAITING)
        self._words = ElidedLabel(parent=self)
        self._words.setFont(tabular(self.font()))
        self._words.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        row = QHBoxLayout(self)
        row.setContentsMargins(int(_DOT + _GAP), 3, 2, 3)
        row.addWidget(self._words)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.hide()

    @property
    def badge(self) -> Badge:
        """What it says."""
        return self._badge

    def show_badge(self, badge: Badge) -> None:
        """Say something else."""
        self._badge = badge
        self._words.set_text(badge.text)
        self.updateGeometry()
        self.setAccessibleName(f"Trust: {badge.text}")
        self.setAccessibleDescription(badge.tip)
        self.setToolTip(plain_tooltip("\n\n".join(part for part in (badge.text, badge.tip) if part)))
        self.update()

    def set_shape(self, width: int, lines: int) -> None:
        """Ask for another width at most, with so many lines to break the words into."""
        self._words.set_shape(width - int(_DOT + _GAP) - 2, lines)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        words = self._words.sizeHint()
        return QSize(words.width() + int(_DOT + _GAP) + 2, max(24, words.height() + 6))

    def minimumSizeHint(self) -> QSize:
        return QSize(60, self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            line = self.fontMetrics().height()
            paint_dot(painter, QPointF(_DOT / 2 + 1, 4 + line / 2), self._badge.level, self.palette())
            if self.underMouse() or self.hasFocus():
                painter.setPen(QPen(accent(self.palette()), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
