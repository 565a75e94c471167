"""Icons in the colour of the text: one SVG per name in ``resources/icons``."""

from __future__ import annotations

import logging
from functools import cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer

from mmviewer import paths

_SIZES = (16, 32, 48)

logger = logging.getLogger(__name__)


def icon(name: str, colour: QColor | None = None) -> QIcon:
    """The icon called `name`, by default in the text colour of the application's palette now."""
    palette = QGuiApplication.palette()
    shown = colour or palette.color(QPalette.ColorRole.ButtonText)
    faint = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.ButtonText)
    return _icon(name, shown.name(), faint.name())


def app_icon() -> QIcon:
    """The application's own icon, in its own colours."""
    return QIcon(str(paths.resources() / "icons" / "mmviewer.svg"))


@cache
def _icon(name: str, colour: str, faint: str) -> QIcon:
    result = QIcon()
    for size in _SIZES:
        result.addPixmap(_drawn(name, colour, size), QIcon.Mode.Normal)
        result.addPixmap(_drawn(name, faint, size), QIcon.Mode.Disabled)
    return result


def _drawn(name: str, colour: str, size: int) -> QPixmap:
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(_source(name).replace("currentColor", colour).encode())).render(
        painter, QRectF(0, 0, size, size)
    )
    painter.end()
    return pixmap


@cache
def _source(name: str) -> str:
    try:
        return (paths.resources() / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    except OSError:  # a missing picture must not keep the window from opening
        logger.warning("the icon %r is missing", name)
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'
