"""A label that never cuts its text silently: it elides, and the tooltip has the whole."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget


class ElidedLabel(QWidget):
    """Plain text, elided at the end; never taken for rich text.

    Parameters
    ----------
    text : str
    role : QPalette.ColorRole
        Colour of the text.
    bold : bool
    lines : int
        Most lines to break it into.
    width : int
        Width it asks for at most when it may break, pixels.
    """

    def __init__(
        self,
        text: str = "",
        role: QPalette.ColorRole = QPalette.ColorRole.WindowText,
        bold: bool = False,
        parent: QWidget | None = None,
        *,
        lines: int = 1,
        width: int = 300,
    ) -> None:
        super().__init__(parent)
        self._most_lines, self._width = lines, width
        self._text = self._more = ""
        self._role = role
        if bold:
            font = self.font()
            font.setBold(True)
            self.setFont(font)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.set_text(text)

    @property
    def text(self) -> str:
        """The whole text."""
        return self._text

    def set_text(self, text: str, more: str = "") -> None:
        """Show another text, line breaks become spaces; `more` stands in the tooltip alone."""
        self._text, self._more = " ".join(text.split()), more
        self.setAccessibleName(self._text)
        self.updateGeometry()
        self._explain()
        self.update()

    def set_shape(self, width: int, lines: int) -> None:
        """Ask for another width at most, with so many lines to break it into."""
        if (width, lines) != (self._width, self._most_lines):
            self._width, self._most_lines = width, lines
            self.updateGeometry()
            self._explain()
            self.update()

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        whole = metrics.horizontalAdvance(self._text) + 2
        if self._most_lines == 1:
            return QSize(whole, metrics.height() + 2)
        lines = len(self._broken(self._width))
        return QSize(min(whole, self._width), max(1, lines) * metrics.lineSpacing() + 2)

    def minimumSizeHint(self) -> QSize:
        return QSize(24, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._explain()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setPen(self.palette().color(self._role))
        lines = self._broken(self.width())
        height = self.height() / max(1, len(lines))
        for row, line in enumerate(lines):
            place = QRectF(0, row * height, self.width(), height)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, line)

    def _broken(self, width: float) -> list[str]:
        """The text in at most as many lines as allowed, the last one elided."""
        metrics = self.fontMetrics()
        lines: list[str] = []
        words = self._text.split(" ")
        while words and len(lines) < self._most_lines - 1:
            fitting = 1
            while fitting < len(words) and metrics.horizontalAdvance(" ".join(words[: fitting + 1])) <= width:
                fitting += 1
            lines.append(" ".join(words[:fitting]))
            words = words[fitting:]
        if words:
            lines.append(" ".join(words))
        return [metrics.elidedText(line, Qt.TextElideMode.ElideRight, int(width)) for line in lines]

    def _explain(self) -> None:
        cut = " ".join(self._broken(self.width())) != self._text
        shown = [*([self._text] if cut else []), *([self._more] if self._more else [])]
        self.setToolTip(plain_tooltip("\n\n".join(shown)))


def plain_tooltip(text: str, limit: int = 2000) -> str:
    """Text safe to show as a tooltip: wrapped by Qt, never read as markup."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"<qt>{escape(shown).replace(chr(10), '<br>')}</qt>" if shown else ""
