"""How attention sinks are marked: a small ring, and the words that go with it."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

SINK_WORDS = "attention sink: draws weight whatever the word"


def paint_ring(painter: QPainter, cell: QRectF) -> None:
    """Draw a ring in the middle of a cell, light with a dark edge so that it shows on any map."""
    radius = min(max(0.32 * min(cell.width(), cell.height()), 4.0), 11.0)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for color, width in ((QColor(0, 0, 0, 190), 3.6), (QColor(255, 255, 255), 1.6)):
        painter.setPen(QPen(color, width))
        painter.drawEllipse(cell.center(), radius, radius)
    painter.restore()
