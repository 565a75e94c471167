"""Painted over the points of a scatter, in pixels: pictures, names that do not overlap, lines, card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPalette, QPen

from mmviewer.gui.widgets.ink import faded
from mmviewer.gui.widgets.painting import framed_picture
from mmviewer.gui.widgets.placing import Taken, card_corner, centred, place_for

_THUMBNAIL = 36.0
_PICTURES_UP_TO = 60  # points in view; with more, discs tell more than a heap of pictures
_NAMES_UP_TO = 120
_NAME_WIDTH = 150.0
_CARD_PICTURE = 112.0
_LETTERS = {"image": "image", "text": "text", "audio": "sound"}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is needed to paint once; indices are into `pixels` [N, 2]."""

    area: QRectF
    pixels: NDArray[np.float64]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    current: int | None
    hovered: int | None
    nearest: tuple[tuple[int, float], ...]
    selection: frozenset[int]
    picture: Callable[[int], QImage | None]
    colours: dict[str, QColor]
    palette: QPalette
    focused: bool

    def at(self, index: int) -> QPointF:
        """Where a point lies."""
        return QPointF(*self.pixels[index])

    def visible(self) -> NDArray[np.intp]:
        """Indices of the points in view."""
        low = (self.area.left(), self.area.top())
        high = (self.area.right(), self.area.bottom())
        return np.flatnonzero(((self.pixels >= low) & (self.pixels <= high)).all(axis=1))

    def first(self, indices: Iterable[int]) -> Iterator[int]:
        """Indices without repeats, what the user is about first."""
        leading = (self.hovered, self.current, *(index for index, _ in self.nearest))
        seen: set[int] = set()
        for index in (*leading, *indices):
            if index is not None and index not in seen:
                seen.add(index)
                yield int(index)


def paint_scene(painter: QPainter, scene: Scene) -> None:
    """Paint everything that belongs over the points."""
    visible = scene.visible()
    taken = Taken(scene.area)
    _paint_lines(painter, scene)
    pictures = _paint_pictures(painter, scene, visible, taken)
    _paint_marks(painter, scene, pictures)
    _paint_names(painter, scene, visible, pictures, taken)
    if scene.hovered is not None:
        _paint_card(painter, scene, scene.hovered)


def _paint_lines(painter: QPainter, scene: Scene) -> None:
    if scene.current is None:
        return
    ink = scene.palette.color(QPalette.ColorRole.Text)
    for index, cosine in scene.nearest:
        strength = 0.25 + 0.6 * max(0.0, min(1.0, cosine))
        painter.setPen(QPen(faded(ink, strength), 1.2, Qt.PenStyle.DashLine))
        painter.drawLine(scene.at(scene.current), scene.at(index))


def _paint_pictures(
    painter: QPainter, scene: Scene, visible: NDArray[np.intp], taken: Taken
) -> dict[int, QRectF]:
    """Paint thumbnails where they do not hide each other; tell where they are."""
    wanted = visible.tolist() if len(visible) <= _PICTURES_UP_TO else []
    painted: dict[int, QRectF] = {}
    for index in scene.first(wanted):
        is_chosen = index == scene.current
        if len(visible) > _PICTURES_UP_TO and not is_chosen:
            continue
        image = scene.picture(index)
        if image is None or image.isNull():
            continue
        side = _THUMBNAIL * (1.3 if is_chosen else 1.0)
        rect = centred(scene.at(index), _fitted(image, side))
        if taken.is_free(rect.adjusted(4, 4, -4, -4)):  # a little overlap is readable
            taken.take(rect)
            painted[index] = rect
    for index, rect in reversed(painted.items()):  # what the user is about comes on top
        image = scene.picture(index)
        if image is not None:
            framed_picture(painter, image, rect, scene.colours[scene.kinds[index]])
    return painted


def _paint_marks(painter: QPainter, scene: Scene, pictures: dict[int, QRectF]) -> None:
    """Ring what is selected, hovered and chosen."""
    ink = scene.palette.color(QPalette.ColorRole.Text)
    accent = scene.palette.color(QPalette.ColorRole.Accent)
    rings = [(index, faded(ink, 0.7), 1.5) for index in scene.selection]
    rings += [(index, ink, 1.5) for index in (scene.hovered,) if index is not None]
    rings += [
        (index, accent if scene.focused else ink, 2.5) for index in (scene.current,) if index is not None
    ]
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for index, colour, width in rings:
        rect = pictures.get(index)
        painter.setPen(QPen(colour, width))
        if rect is not None:
            painter.drawRoundedRect(rect.adjusted(-2, -2, 2, 2), 5, 5)
        else:
            painter.drawEllipse(scene.at(index), 8, 8)


def _paint_names(
    painter: QPainter,
    scene: Scene,
    visible: NDArray[np.intp],
    pictures: dict[int, QRectF],
    taken: Taken,
) -> None:
    """Name as many points as find room; those the user is about come first, then texts."""
    cosines = dict(scene.nearest)
    others: list[int] = []
    points = Taken(scene.area)  # only what the user is about may be named over a point
    if len(visible) <= _NAMES_UP_TO:
        others = sorted(visible.tolist(), key=lambda index: scene.kinds[index] != "text")
        for index in (point for point in others if point not in pictures):
            points.take(centred(scene.at(index), QSizeF(10, 10)))
    metrics = QFontMetricsF(painter.font())
    ink = scene.palette.color(QPalette.ColorRole.Text)
    base = scene.palette.color(QPalette.ColorRole.Base)
    leading = {scene.current, *cosines}
    for index in scene.first(others):
        if index == scene.hovered or not scene.area.contains(scene.at(index)):
            continue  # the card names the hovered one
        name = scene.names[index].replace("\n", " ")
        if scene.kinds[index] == "text":
            name = f"“{name}”"
        text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, _NAME_WIDTH)
        if index in cosines:
            text = f"{text}  {_cosine(cosines[index])}"
        anchor = pictures.get(index, centred(scene.at(index), QSizeF(12, 12)))
        size = QSizeF(metrics.horizontalAdvance(text) + 4, metrics.height())
        obstacles = (taken,) if index in leading else (taken, points)
        rect = place_for(size, anchor, scene.area, obstacles)
        if rect is None:
            continue
        taken.take(rect)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faded(base, 0.72))  # keeps the letters readable over lines and points
        painter.drawRoundedRect(rect, 3, 3)
        painter.setPen(ink if index in leading else faded(ink, 0.72))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)


def _paint_card(painter: QPainter, scene: Scene, index: int) -> None:
    """What is under the pointer: picture, name, modality, similarity to the chosen item."""
    metrics = QFontMetricsF(painter.font())
    cosine = dict(scene.nearest).get(index)
    facts = _LETTERS[scene.kinds[index]] + (f" · cosine {cosine:.3f}" if cosine is not None else "")
    name = metrics.elidedText(scene.names[index].replace("\n", " "), Qt.TextElideMode.ElideMiddle, 240)
    image = scene.picture(index)
    picture = QSizeF()
    if image is not None and not image.isNull():
        picture = QSizeF(image.size()).scaled(
            _CARD_PICTURE, _CARD_PICTURE, Qt.AspectRatioMode.KeepAspectRatio
        )
    text_width = max(metrics.horizontalAdvance(name), metrics.horizontalAdvance(facts))
    gap = 10.0 if not picture.isEmpty() else 0.0
    height = max(picture.height(), 2 * metrics.height() + 2)
    card = QRectF(0, 0, picture.width() + gap + text_width + 20, height + 16)
    card.moveTopLeft(card_corner(card.size(), scene.at(index), scene.area))

    ink = scene.palette.color(QPalette.ColorRole.ToolTipText)
    painter.setPen(QPen(faded(ink, 0.25), 1))
    painter.setBrush(scene.palette.color(QPalette.ColorRole.ToolTipBase))
    painter.drawRoundedRect(card, 6, 6)
    inner = card.adjusted(10, 8, -10, -8)
    if image is not None and not picture.isEmpty():
        painter.drawImage(QRectF(inner.topLeft(), picture), image)
    lines = QRectF(inner.left() + picture.width() + gap, inner.top(), text_width + 2, metrics.height())
    painter.setPen(ink)
    painter.drawText(lines, Qt.AlignmentFlag.AlignVCenter, name)
    painter.setPen(faded(ink, 0.75))
    painter.drawText(lines.translated(0, metrics.height() + 2), Qt.AlignmentFlag.AlignVCenter, facts)


def _fitted(image: QImage, side: float) -> QSizeF:
    return QSizeF(image.size()).scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio)


def _cosine(value: float) -> str:
    """Two decimals with a real minus sign, and none before zero."""
    return f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")
