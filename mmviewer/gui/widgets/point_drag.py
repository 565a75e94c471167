"""Questions that are dragged: from the map into the history, and from the history into the ask line."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, Qt
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.point_map_paint import Pin

QUERY_MIME = "application/x-mmviewer-query"
"""Carries the key of a query."""


def drag_pin(source: QWidget, pin: Pin) -> None:
    """Drag a question of the map until it is let go."""
    drag_query(source, pin.key, pin.text)


def drag_query(source: QWidget, key: str, text: str) -> None:
    """Drag a question; other programs get its words."""
    mime = QMimeData()
    mime.setData(QUERY_MIME, key.encode())
    mime.setText(text)
    drag = QDrag(source)
    drag.setMimeData(mime)
    drag.exec(Qt.DropAction.CopyAction)
