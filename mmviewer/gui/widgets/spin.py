"""Fields of numbers whose text keeps clear of their frame, which a style sheet's padding does not do."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QDoubleSpinBox, QSpinBox

_INDENT = 7  # as in lines of text


class SpinBox(QSpinBox):
    """A whole number."""

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self.lineEdit().setTextMargins(_INDENT, 0, _INDENT, 0)


class DoubleSpinBox(QDoubleSpinBox):
    """A number with decimals."""

    def __init__(self, **properties: Any) -> None:
        super().__init__(**properties)
        self.lineEdit().setTextMargins(_INDENT, 0, _INDENT, 0)
