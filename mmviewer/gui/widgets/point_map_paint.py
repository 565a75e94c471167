"""Painted over the points of a map: thumbnails and words, labels of clusters, the picked point, the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPainter,
    QPalette,
    QPen,
    QPolygonF,
)

from mmviewer.gui.widgets.ink import faded
from mmviewer.gui.widgets.painting import framed_picture
from mmviewer.gui.widgets.placing import Taken, card_corner, centred, place_for
from mmviewer.gui.widgets.point_colours import hues

Rows = NDArray[np.int64]

_NAME_WIDTH = 160.0
_CARD_WIDTH = 280.0
_CARD_PICTURE = 96.0
_MOST_PICTURES = 160
_MOST_NAMES = 80


@dataclass(frozen=True, slots=True)
class Card:
    """What the card under the pointer says of a point."""

    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """A question with a place on the map: a star with its words, and lines to its nearest (row, cosine)."""

    x: float
    y: float
    text: str
    key: str = ""
    near: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """All that is needed to paint once; places are pixels of the widget."""

    area: QRectF
    palette: QPalette
    accent: QColor
    focused: bool
    close: Rows
    """Points near enough for pictures, the most important first; empty in a crowd."""
    places: NDArray[np.float64]
    """Of `close`, [n, 2]."""
    names: Sequence[str]
    """Of `close`; empty where there is no room for names."""
    picture: Callable[[int], QImage | None]
    edge: Callable[[int], QColor]
    """The colour of a point, for the frame of its picture."""
    picked: tuple[int, QPointF] | None = None
    near: tuple[tuple[int, QPointF, float], ...] = ()
    near_to: QPointF | None = None
    """Where the lines to `near` begin: at the picked point or at a question."""
    hovered: tuple[int, QPointF, Card] | None = None
    labels: tuple[tuple[QPointF, str], ...] = ()
    pins: tuple[tuple[QPointF, Pin], ...] = ()
    paths: tuple[NDArray[np.float64], ...] = ()
    """Lines through the plane, [L, 2] each."""
    drawn: tuple[QPointF, ...] = ()
    """The line of a lasso on its way."""
    side: float = 40.0
    """Of a thumbnail."""


def paint_overlay(painter: QPainter, overlay: Overlay) -> tuple[tuple[QRectF, Pin], ...]:
    """Paint everything that belongs over the points; tell where the pins are, to be dragged."""
    taken = Taken(overlay.area)
    _paint_paths(painter, overlay)
    _paint_lines(painter, overlay)
    rects = _paint_pictures(painter, overlay, taken)
    _paint_names(painter, overlay, rects, taken)
    _paint_labels(painter, overlay)
    _paint_near(painter, overlay, rects)
    pins = tuple(_paint_pin(painter, overlay, place, pin) for place, pin in overlay.pins)
    _paint_picked(painter, overlay)
    if overlay.drawn:
        _paint_drawn(painter, overlay)
    if overlay.hovered is not None:
        _paint_hovered(painter, overlay, rects, *overlay.hovered)
    return pins


def _paint_lines(painter: QPainter, overlay: Overlay) -> None:
    if overlay.near_to is None:
        return
    ink = overlay.palette.color(QPalette.ColorRole.Text)
    for _, place, cosine in overlay.near:
        strength = 0.25 + 0.6 * max(0.0, min(1.0, cosine))
        painter.setPen(QPen(faded(ink, strength), 1.2, Qt.PenStyle.DashLine))
        painter.drawLine(overlay.near_to, place)


def _paint_paths(painter: QPainter, overlay: Overlay) -> None:
    """Ways through the plane, one colour each; a dot for each step, the last ones stronger."""
    colours = hues(overlay.palette)
    painter.save()
    for number, path in enumerate(overlay.paths):
        steps = path[np.isfinite(path).all(axis=1)]
        for place, (first, second) in enumerate(pairwise(steps), start=1):
            strength = 0.25 + 0.7 * place / max(len(steps) - 1, 1)
            colour = faded(colours[number % len(colours)], strength)
            painter.setPen(QPen(colour, 1.5))
            painter.drawLine(QPointF(*first), QPointF(*second))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(*first), 3, 3)
    painter.restore()


def _paint_pictures(painter: QPainter, overlay: Overlay, taken: Taken) -> dict[int, QRectF]:
    """Paint thumbnails where they do not hide each other; tell where they are."""
    rects: dict[int, QRectF] = {}
    square = QSizeF(overlay.side, overlay.side)
    for row, (x, y) in zip(overlay.close.tolist(), overlay.places, strict=True):
        if len(rects) >= _MOST_PICTURES:
            break
        cell = centred(QPointF(x, y), square)
        if not taken.is_free(cell):
            continue
        image = overlay.picture(row)
        if image is None:
            continue
        size = QSizeF(image.size()).scaled(square, Qt.AspectRatioMode.KeepAspectRatio)
        rects[row] = centred(QPointF(x, y), size)
        taken.take(cell)
        framed_picture(painter, image, rects[row], overlay.edge(row))
    return rects


def _paint_names(painter: QPainter, overlay: Overlay, rects: dict[int, QRectF], taken: Taken) -> None:
    """Name as many points as find room: those the user is about first, then what has no picture."""
    named = dict(zip(overlay.close.tolist(), overlay.names, strict=False))
    place = {row: QPointF(x, y) for row, (x, y) in zip(overlay.close.tolist(), overlay.places, strict=True)}
    metrics = QFontMetricsF(painter.font())
    ink = overlay.palette.color(QPalette.ColorRole.Text)
    base = overlay.palette.color(QPalette.ColorRole.Base)
    for row in sorted(named, key=lambda row: row in rects)[:_MOST_NAMES]:
        words = named[row].replace("\n", " ")
        text = metrics.elidedText(words, Qt.TextElideMode.ElideRight, _NAME_WIDTH)
        anchor = rects.get(row, centred(place[row], QSizeF(12, 12)))
        size = QSizeF(metrics.horizontalAdvance(text) + 6, metrics.height())
        rect = place_for(size, anchor, overlay.area, (taken,)) if text else None
        if rect is None:
            continue
        taken.take(rect)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(base, 0.72))  # keeps the letters readable over points
        painter.drawRoundedRect(rect, 3, 3)
        painter.setPen(faded(ink, 0.85))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)


def _paint_near(painter: QPainter, overlay: Overlay, rects: dict[int, QRectF]) -> None:
    """Show the nearest in front of the others, each with its cosine."""
    ink = overlay.palette.color(QPalette.ColorRole.Text)
    base = overlay.palette.color(QPalette.ColorRole.Base)
    metrics = QFontMetricsF(painter.font())
    taken = Taken(overlay.area)
    if overlay.picked is not None:
        taken.take(centred(overlay.picked[1], QSizeF(overlay.side + 12, overlay.side + 12)))
    for row, place, cosine in overlay.near:
        rect = rects.get(row) or centred(place, QSizeF(12, 12))
        image = overlay.picture(row)
        spot = centred(place, QSizeF(overlay.side, overlay.side))
        if image is not None and overlay.area.contains(place) and taken.is_free(spot):
            size = QSizeF(image.size()).scaled(spot.size(), Qt.AspectRatioMode.KeepAspectRatio)
            rect = centred(place, size)
            framed_picture(painter, image, rect, overlay.edge(row))
            taken.take(rect)
        else:
            painter.setPen(QPen(ink, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(place, 7, 7)
        text = cosine_text(cosine)
        words = QSizeF(metrics.horizontalAdvance(text) + 6, metrics.height())
        spot_for_words = place_for(words, rect, overlay.area, (taken,))
        if spot_for_words is not None and overlay.area.contains(place):
            taken.take(spot_for_words)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(faded(base, 0.8))
            painter.drawRoundedRect(spot_for_words, 3, 3)
            painter.setPen(ink)
            painter.drawText(spot_for_words, Qt.AlignmentFlag.AlignCenter, text)


def _paint_labels(painter: QPainter, overlay: Overlay) -> None:
    """Name clusters, the first in the list first, where the names do not overlap."""
    if not overlay.labels:
        return
    painter.save()
    font = QFont(painter.font())
    font.setWeight(QFont.Weight.DemiBold)
    painter.setFont(font)
    metrics = QFontMetricsF(font)
    taken = Taken(overlay.area)
    ink = overlay.palette.color(QPalette.ColorRole.Text)
    base = overlay.palette.color(QPalette.ColorRole.Base)
    for place, text in overlay.labels:
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, _NAME_WIDTH)
        rect = centred(place, QSizeF(metrics.horizontalAdvance(shown) + 10, metrics.height() + 2))
        if not overlay.area.contains(rect) or not taken.is_free(rect):
            continue
        taken.take(rect.adjusted(-4, -2, 4, 2))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(base, 0.78))
        painter.drawRoundedRect(rect, 4, 4)
        painter.setPen(ink)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, shown)
    painter.restore()


def _paint_pin(painter: QPainter, overlay: Overlay, place: QPointF, pin: Pin) -> tuple[QRectF, Pin]:
    star = QPolygonF(
        [
            place + QPointF(np.sin(turn) * size, -np.cos(turn) * size)
            for turn, size in zip(np.linspace(0, 2 * np.pi, 11)[:-1], (9.0, 4.0) * 5, strict=True)
        ]
    )
    base = overlay.palette.color(QPalette.ColorRole.Base)
    painter.setPen(QPen(base, 1.5))
    painter.setBrush(overlay.accent)
    painter.drawPolygon(star)
    metrics = QFontMetricsF(painter.font())
    text = metrics.elidedText(pin.text.replace("\n", " "), Qt.TextElideMode.ElideRight, _NAME_WIDTH)
    size = QSizeF(metrics.horizontalAdvance(text) + 8, metrics.height())
    rect = place_for(size, centred(place, QSizeF(20, 20)), overlay.area, ())
    if rect is not None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(base, 0.8))
        painter.drawRoundedRect(rect, 3, 3)
        painter.setPen(overlay.palette.color(QPalette.ColorRole.Text))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
    whole = star.boundingRect()
    return (whole if rect is None else whole.united(rect)), pin


def _paint_picked(painter: QPainter, overlay: Overlay) -> None:
    """The picked point lies in front of everything, larger, with a ring."""
    if overlay.picked is None or not overlay.area.adjusted(-40, -40, 40, 40).contains(overlay.picked[1]):
        return
    row, place = overlay.picked
    ink = overlay.accent if overlay.focused else overlay.palette.color(QPalette.ColorRole.Text)
    image = overlay.picture(row)
    if image is not None:
        side = overlay.side * 1.25
        rect = centred(place, QSizeF(image.size()).scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio))
        framed_picture(painter, image, rect, ink, 3)
        return
    base = overlay.palette.color(QPalette.ColorRole.Base)
    painter.setPen(QPen(base, 2))
    painter.setBrush(overlay.edge(row))
    painter.drawEllipse(place, 7, 7)
    painter.setPen(QPen(ink, 2.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(place, 10, 10)


def _paint_drawn(painter: QPainter, overlay: Overlay) -> None:
    painter.setPen(QPen(overlay.accent, 1.5, Qt.PenStyle.DashLine))
    painter.setBrush(faded(overlay.accent, 0.12))
    painter.drawPolygon(QPolygonF(list(overlay.drawn)))


def _paint_hovered(
    painter: QPainter, overlay: Overlay, rects: dict[int, QRectF], row: int, place: QPointF, card: Card
) -> None:
    """Ring the point under the pointer, and say what it is: picture, name, lines of facts."""
    ink = overlay.palette.color(QPalette.ColorRole.Text)
    painter.setPen(QPen(ink, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if row in rects:
        painter.drawRoundedRect(rects[row].adjusted(-2, -2, 2, 2), 5, 5)
    else:
        painter.drawEllipse(place, 8, 8)
    metrics = QFontMetricsF(painter.font())
    name = metrics.elidedText(card.name.replace("\n", " "), Qt.TextElideMode.ElideMiddle, _CARD_WIDTH)
    lines = [metrics.elidedText(line, Qt.TextElideMode.ElideRight, _CARD_WIDTH) for line in card.lines]
    image = overlay.picture(row)
    picture = QSizeF()
    if image is not None and not image.isNull():
        picture = QSizeF(image.size()).scaled(
            _CARD_PICTURE, _CARD_PICTURE, Qt.AspectRatioMode.KeepAspectRatio
        )
    width = max(metrics.horizontalAdvance(text) for text in (name, *lines))
    gap = 10.0 if not picture.isEmpty() else 0.0
    line_height = metrics.height() + 2
    height = max(picture.height(), line_height * (1 + len(lines)))
    box = QRectF(0, 0, picture.width() + gap + width + 20, height + 16)
    box.moveTopLeft(card_corner(box.size(), place, overlay.area))
    words = overlay.palette.color(QPalette.ColorRole.ToolTipText)
    painter.setPen(QPen(faded(words, 0.25), 1))
    painter.setBrush(overlay.palette.color(QPalette.ColorRole.ToolTipBase))
    painter.drawRoundedRect(box, 6, 6)
    inner = box.adjusted(10, 8, -10, -8)
    if image is not None and not picture.isEmpty():
        painter.drawImage(QRectF(inner.topLeft(), picture), image)
    for number, text in enumerate((name, *lines)):
        painter.setPen(words if number == 0 else faded(words, 0.75))
        left, top = inner.left() + picture.width() + gap, inner.top() + number * line_height
        painter.drawText(QRectF(left, top, width + 2, line_height), Qt.AlignmentFlag.AlignVCenter, text)


def cosine_text(value: float) -> str:
    """Two decimals with a real minus sign, and none before zero."""
    return f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")
