"""Items as points in the plane: shape and colour say the modality, lines lead to the nearest.

The points are pyqtgraph's; what must keep its size on the screen (pictures, names, lines with numbers, the
card under the pointer) is painted over them in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPalette,
    QResizeEvent,
)
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.ink import faded
from mmviewer.gui.widgets.scatter_paint import Scene, paint_scene

SHAPES = {"image": "o", "text": "t1", "audio": "s"}
"""pyqtgraph's names of a disc, a triangle and a square."""
_DARK = {"image": "#6c9bf5", "text": "#f0b64a", "audio": "#4fc3a1"}
_LIGHT = {"image": "#2f66d0", "text": "#a86a00", "audio": "#12805f"}
_REACH = 16.0  # pixels from the pointer to a point that still counts
_MANY = 20_000  # from here on a density says more than points, and paints faster
_DENSITY_CELL = 3  # pixels
_MARGIN = 30  # pixels around all points


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """What is shown: N items, `coordinates` float32 [N, 2], `kinds` "image", "text" or "audio"."""

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    coordinates: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def __post_init__(self) -> None:
        if len({len(self.ids), len(self.names), len(self.kinds), len(self.coordinates)}) != 1:
            raise ValueError("a plane needs one name, kind and position for each id")


def kind_colours(palette: QPalette) -> dict[str, QColor]:
    """Colour of each modality, readable on the palette's background."""
    dark = palette.color(QPalette.ColorRole.Base).lightnessF() < 0.5
    return {kind: QColor(name) for kind, name in (_DARK if dark else _LIGHT).items()}


class ScatterView(pg.PlotWidget):
    """The plane of embeddings.

    Signals
    -------
    point_chosen(str)
        The id of the item that was clicked or stepped to.
    point_hovered(object)
        The id under the pointer, or None.
    """

    point_chosen = Signal(str)
    point_hovered = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, enableMenu=False)
        self._plane = Plane()
        self._index: dict[str, int] = {}
        self._rows: dict[str, NDArray[np.intp]] = {kind: np.zeros(0, np.intp) for kind in SHAPES}
        self._current: int | None = None
        self._hovered: int | None = None
        self._selection: frozenset[int] = frozenset()
        self._nearest: tuple[tuple[int, float], ...] = ()
        self._picture: Callable[[str], QImage | None] = lambda _id: None
        self._pressed = QPointF()
        self._fitted = True  # until the user pans or zooms
        self._box: pg.ViewBox = self.getPlotItem().getViewBox()
        self._density = pg.ImageItem(axisOrder="row-major")
        self._points = {kind: pg.ScatterPlotItem(pxMode=True) for kind in SHAPES}
        for item in (self._density, *self._points.values()):
            self._box.addItem(item)
        self.hideAxis("left")
        self.hideAxis("bottom")
        self.hideButtons()
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Items in the embedding space")
        self._settle = QTimer(self, singleShot=True, interval=40)  # a density is made once the view rests
        self._settle.timeout.connect(self._show_points)
        self._box.sigRangeChanged.connect(self._on_range)
        self._box.sigRangeChangedManually.connect(self._on_moved)
        self._apply_colours()

    # --- content --------------------------------------------------------------------------------------
    @property
    def plane(self) -> Plane:
        """What is shown."""
        return self._plane

    def set_plane(self, plane: Plane) -> None:
        """Show other points; the zoom stays when the items are the same and have not moved."""
        moved = plane.ids != self._plane.ids or not np.array_equal(plane.coordinates, self._plane.coordinates)
        current = self.current
        self._plane = plane
        self._index = {item_id: index for index, item_id in enumerate(plane.ids)}
        kinds = np.array(plane.kinds, dtype=np.str_)
        self._rows = {kind: np.flatnonzero(kinds == kind) for kind in SHAPES}
        self._current = self._index.get(current) if current is not None else None
        self._hovered, self._nearest, self._selection = None, (), frozenset()
        self._show_points()
        if moved:
            self.fit()

    def set_pictures(self, picture: Callable[[str], QImage | None]) -> None:
        """Where thumbnails come from: id to picture, None for items without one."""
        self._picture = picture
        self.viewport().update()

    @property
    def current(self) -> str | None:
        """The id of the marked item."""
        return self._plane.ids[self._current] if self._current is not None else None

    def set_current(self, item_id: str | None, nearest: Sequence[tuple[str, float]] = ()) -> None:
        """Mark an item and draw lines to its nearest, each with its cosine similarity."""
        self._current = self._index.get(item_id) if item_id is not None else None
        known = [(self._index[other], cosine) for other, cosine in nearest if other in self._index]
        self._nearest = tuple(known) if self._current is not None else ()
        name = self._plane.names[self._current] if self._current is not None else "nothing"
        self.setAccessibleDescription(f"{len(self._plane.ids)} items, {name} chosen")
        self.viewport().update()

    def set_selection(self, ids: Sequence[str]) -> None:
        """Ring several items."""
        self._selection = frozenset(self._index[item_id] for item_id in ids if item_id in self._index)
        self.viewport().update()

    def set_equal_scale(self, equal: bool) -> None:
        """Use the same scale on both axes, so that distances on the screen compare in all directions."""
        self._box.setAspectLocked(equal)
        self.fit()

    def fit(self) -> None:
        """Bring all points into view."""
        points = self._plane.coordinates
        if len(points) == 0:
            return
        low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
        size = np.maximum(high - low, max(float((high - low).max()) * 0.02, 1e-6))
        # margins in pixels, so that pictures and names at the border are not cut
        area = self._area()
        pixels = np.maximum((area.width() - 2 * _MARGIN, area.height() - 2 * _MARGIN), 20.0)
        size = size * (1 + 2 * _MARGIN / pixels)
        (left, bottom), (right, top) = (low + high - size) / 2, (low + high + size) / 2
        self._box.setRange(xRange=(float(left), float(right)), yRange=(float(bottom), float(top)), padding=0)
        self._fitted = True

    # --- geometry -----------------------------------------------------------------------------------
    def pixels(self) -> NDArray[np.float64]:
        """Where the points lie in the viewport, [N, 2]."""
        area = self._area()
        (left, right), (bottom, top) = self._box.viewRange()
        points = self._plane.coordinates.astype(np.float64)
        x = area.left() + (points[:, 0] - left) / (right - left) * area.width()
        y = area.bottom() - (points[:, 1] - bottom) / (top - bottom) * area.height()
        return np.stack([x, y], axis=1)

    def _area(self) -> QRectF:
        return QRectF(self.mapFromScene(self._box.sceneBoundingRect()).boundingRect())

    def index_at(self, position: QPointF) -> int | None:
        """The point nearest to a position of the viewport, None when none is in reach."""
        if not self._plane.ids:
            return None
        distance = np.hypot(*(self.pixels() - (position.x(), position.y())).T)
        nearest = int(distance.argmin())
        return nearest if distance[nearest] <= _REACH else None

    # --- painting -----------------------------------------------------------------------------------
    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:
        """Paint pictures, names, lines and the card over pyqtgraph's points."""
        if not self._plane.ids:
            return
        scene = Scene(
            area=self._area(),
            pixels=self.pixels(),
            names=self._plane.names,
            kinds=self._plane.kinds,
            current=self._current,
            hovered=self._hovered,
            nearest=self._nearest,
            selection=self._selection,
            picture=lambda index: self._picture(self._plane.ids[index]),
            colours=kind_colours(self.palette()),
            palette=self.palette(),
            focused=self.hasFocus(),
        )
        painter.save()
        painter.resetTransform()
        painter.setFont(self.font())
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing
            | QPainter.RenderHint.TextAntialiasing
            | QPainter.RenderHint.SmoothPixmapTransform
        )
        paint_scene(painter, scene)
        painter.restore()

    def _show_points(self) -> None:
        points = self._plane.coordinates
        crowded = len(points) > _MANY and int(self._in_view().sum()) > _MANY
        self._density.setVisible(crowded)
        for item in self._points.values():
            item.setVisible(not crowded)
        if crowded:
            self._show_density()
        else:
            self._show_symbols()
        self.viewport().update()

    def _show_symbols(self) -> None:
        points = self._plane.coordinates
        size = 9 if len(points) < 500 else 7 if len(points) < 5_000 else 5
        colours = kind_colours(self.palette())
        for kind, item in self._points.items():
            item.setData(
                pos=points[self._rows[kind]],
                symbol=SHAPES[kind],
                size=size,
                pen=None,
                brush=pg.mkBrush(faded(colours[kind], 0.85)),
            )

    def _in_view(self) -> NDArray[np.bool_]:
        (left, right), (bottom, top) = self._box.viewRange()
        x, y = self._plane.coordinates.T
        inside: NDArray[np.bool_] = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        return inside

    def _show_density(self) -> None:
        area = self._area()
        (left, right), (bottom, top) = self._box.viewRange()
        x, y = self._plane.coordinates.T
        cells = (max(1, int(area.height()) // _DENSITY_CELL), max(1, int(area.width()) // _DENSITY_CELL))
        counts, _, _ = np.histogram2d(y, x, bins=cells, range=((bottom, top), (left, right)))
        level = np.log1p(counts) / max(np.log1p(counts.max()), 1e-9)
        rgba = np.zeros((*cells, 4), np.uint8)
        accent = self.palette().color(QPalette.ColorRole.Accent)
        rgba[..., :3] = (accent.red(), accent.green(), accent.blue())
        rgba[..., 3] = np.where(counts > 0, 60 + 195 * level, 0).astype(np.uint8)
        self._density.setImage(rgba, autoLevels=False, levels=None)
        self._density.setRect(QRectF(left, bottom, right - left, top - bottom))

    def _apply_colours(self) -> None:
        self.setBackground(self.palette().color(QPalette.ColorRole.Base))

    def _on_moved(self, *_axes: object) -> None:
        self._fitted = False

    def _on_range(self) -> None:
        self.viewport().update()
        if len(self._plane.ids) > _MANY:
            self._settle.start()

    # --- interaction ----------------------------------------------------------------------------------
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what is under the pointer."""
        super().mouseMoveEvent(event)
        self._set_hovered(None if event.buttons() else self.index_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Put the card away."""
        super().leaveEvent(event)
        self._set_hovered(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Remember where a click began: a drag pans."""
        super().mousePressEvent(event)
        event.accept()
        self._pressed = event.position()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Choose the point that was clicked."""
        super().mouseReleaseEvent(event)
        event.accept()
        moved = (event.position() - self._pressed).manhattanLength() > 4
        index = self.index_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and not moved and index is not None:
            self.point_chosen.emit(self._plane.ids[index])

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Bring all points into view."""
        if self.index_at(event.position()) is None:
            self.fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step to the next point in a direction; zoom with + and -, fit with 0."""
        directions = {
            Qt.Key.Key_Left: (-1.0, 0.0),
            Qt.Key.Key_Right: (1.0, 0.0),
            Qt.Key.Key_Up: (0.0, -1.0),
            Qt.Key.Key_Down: (0.0, 1.0),
        }
        zooms = {Qt.Key.Key_Plus: 0.8, Qt.Key.Key_Equal: 0.8, Qt.Key.Key_Minus: 1.25}
        key = Qt.Key(event.key())
        if key in directions:
            index = self._next_towards(*directions[key])
            if index is not None:
                self.point_chosen.emit(self._plane.ids[index])
        elif key in zooms:
            self._box.scaleBy((zooms[key], zooms[key]))
            self._on_moved()
        elif key == Qt.Key.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)

    def _next_towards(self, right: float, down: float) -> int | None:
        """The nearest point within 60 degrees of a direction; any point when none is marked yet."""
        if not self._plane.ids:
            return None
        if self._current is None:
            return 0
        pixels = self.pixels()
        offset = pixels - pixels[self._current]
        along = offset @ (right, down)
        across = np.abs(offset @ (down, right))
        ahead = (along > 0.5) & (across <= along * 1.73)
        if not ahead.any():
            ahead = along > 0.5
        cost = np.where(ahead, along + 2 * across, np.inf)
        best = int(cost.argmin())
        return best if np.isfinite(cost[best]) else None

    def _set_hovered(self, index: int | None) -> None:
        if index == self._hovered:
            return
        self._hovered = index
        self.setCursor(Qt.CursorShape.ArrowCursor if index is None else Qt.CursorShape.PointingHandCursor)
        self.point_hovered.emit(None if index is None else self._plane.ids[index])
        self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show where the keyboard is."""
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Hide where the keyboard was."""
        super().focusOutEvent(event)
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep all points in view until the user has moved them; a density depends on the size in pixels."""
        super().resizeEvent(event)
        if not hasattr(self, "_settle"):  # called while pyqtgraph builds the widget
            return
        if self._fitted:
            self.fit()
        if len(self._plane.ids) > _MANY:
            self._settle.start()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_settle"):
            self._apply_colours()
            self._show_points()
