"""Small changes to fonts and colours that several widgets share."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont


def tabular(font: QFont) -> QFont:
    """The same font with digits of equal width, so that numbers do not jump."""
    result = QFont(font)
    result.setFeature(QFont.Tag("tnum"), 1)
    return result


def faded(colour: QColor, opacity: float) -> QColor:
    """The same colour at another opacity."""
    result = QColor(colour)
    result.setAlphaF(opacity)
    return result
