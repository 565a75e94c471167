"""The picture of a million points: from afar a density, nearer shapes, nearest their pictures and words.

Rows are the numbers of the items, 0 to N-1, in all that goes in and comes out. `PointMap` adds what a user
does with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QElapsedTimer, QEvent, QPointF, QRectF, QSize, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.painting import accent, rgb_image
from mmviewer.gui.widgets.point_index import Coordinates, PointIndex
from mmviewer.gui.widgets.point_ink import PointInk, Scale
from mmviewer.gui.widgets.point_map_paint import Card, Overlay, Pin, paint_overlay
from mmviewer.gui.widgets.point_raster import ByteArray, PointRaster, Window
from mmviewer.gui.widgets.point_view import PlaneView

Rows = NDArray[np.int64]

KIND_NAMES = ("images", "sounds", "texts", "known by vector only")
_KIND_SHOWN = (0, 2, 1, 3)  # the hues that the other views give them
_REACH = 14.0  # pixels from the pointer to a point that still counts
_PICTURES_UP_TO = 4_000  # points in view
_NAMES_UP_TO = 120
_FETCHED_AT_ONCE = 24  # pictures read for one frame; the others follow
_PICTURES_KEPT = 3_000
_BEYOND = 0.3  # painted beyond each edge where many points are shown, so that most steps of a drag are free
_BEYOND_FROM = 40_000
_AT_ONCE = 50_000  # so few points are prepared without pause
_SLICE_MS = 8  # of preparing more, before other events have their turn


class PointCanvas(QWidget):
    """Shows points; what a mouse does to them is not its business.

    Signals
    -------
    ready()
        New points are shown.
    inked()
        Colours, mask or selection are others.
    moved()
        The user looks at another part of the plane.
    """

    ready = Signal()
    inked = Signal()
    moved = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._describe: Callable[[int], Card] = lambda row: Card(f"{row}")
        self._fetch_names: Callable[[Rows], Sequence[str]] = lambda rows: [""] * len(rows)
        self._fetch: Callable[[Rows], Sequence[ByteArray | None]] = lambda rows: [None] * len(rows)
        self._pictures: OrderedDict[int, QImage | None] = OrderedDict()
        self._wanted: dict[int, None] = {}
        self._view = PlaneView()
        self._fitted = True  # until the user pans or zooms
        self._dragging = False
        self._drawn: list[QPointF] = []  # the line of a lasso on its way
        self._pins: tuple[Pin, ...] = ()
        self._pin_places: tuple[tuple[QRectF, Pin], ...] = ()
        self._labels: tuple[tuple[float, float, str], ...] = ()
        self._paths: tuple[Coordinates, ...] = ()
        self.show_pictures = True
        self._steps: Generator[None, None, tuple[PointIndex, PointRaster]] | None = None
        self._pending = (np.zeros((0, 2), np.float32), np.zeros(0, np.uint8))
        self._keep_view = False
        self._stale_ink = False
        self._selected = self._mask = np.zeros(0, np.bool_)
        self._ink = PointInk(0)
        self._picked: int | None = None
        self._hovered: int | None = None
        self._near: tuple[tuple[int, float], ...] = ()
        self._slice = QTimer(self, interval=0)
        self._slice.timeout.connect(self._go_on)
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self.update)
        index = PointIndex(self._pending[0])
        self._take(index, PointRaster(*self._pending, index))
        self.setMinimumSize(160, 120)

    # --- content --------------------------------------------------------------------------------------
    @property
    def count(self) -> int:
        """How many rows there are, with a place or without."""
        return len(self._xy)

    @property
    def preparing(self) -> bool:
        """Whether new points are on their way to the screen."""
        return self._steps is not None

    def set_points(self, xy: Coordinates, kinds: ByteArray, *, keep_view: bool = False) -> None:
        """Show other points: `xy` float32 [N, 2], NaN for nowhere, and `kinds` uint8 [N].

        Many points are prepared in short turns, so that the window goes on; `ready` tells when they are
        shown. Colours, mask, selection and the picked point belong to the points before, and are forgotten
        unless there are as many points as before.
        """
        if xy.ndim != 2 or xy.shape[1] != 2 or len(kinds) != len(xy):
            raise ValueError("points need two coordinates and a kind each")
        self._keep_view = keep_view
        self._pending = (xy, kinds)
        self._steps = _prepare(xy, kinds)
        if len(xy) <= _AT_ONCE:
            while self._steps is not None:
                self._step()
        else:
            self._slice.start()

    def set_colours(
        self, codes: NDArray[np.int32], names: Sequence[str], shown: Sequence[int] | None = None
    ) -> None:
        """Colour by class: `codes` [N] into `names`; only the classes `shown` have hues, in this order."""
        self._ink.set_classes(codes, names, range(len(names)) if shown is None else shown)
        self._recolour()

    def set_kind_colours(self) -> None:
        """Colour by kind, as at first."""
        self._ink.set_classes(_kind_codes(self._kinds), KIND_NAMES, _KIND_SHOWN)
        self._recolour()

    def set_values(self, values: NDArray[np.floating], label: str) -> Scale:
        """Colour by a number [N]; tells which numbers the ends of the ramp stand for."""
        self._ink.set_numbers(values, label)
        self._recolour()
        assert self._ink.scale is not None
        return self._ink.scale

    def show_classes(self, codes: Sequence[int]) -> None:
        """Give these classes hues, and let the others be grey."""
        self._ink.show(codes)
        self._recolour()

    def set_highlight(self, code: int | None) -> None:
        """Let one class stand out, or none."""
        if code != self._ink.highlight:
            self._ink.highlight = code
            self._recolour()

    def set_mask(self, mask: NDArray[np.bool_] | None) -> None:
        """Show only these points [N]; None for all."""
        wanted = np.ones(self.count, np.bool_) if mask is None else np.array(mask, np.bool_)
        if not np.array_equal(wanted, self._mask):
            self._mask = wanted
            self._recolour()

    def set_labels(self, labels: Iterable[tuple[float, float, str]]) -> None:
        """Name places of the plane, the most important first; where names would overlap later ones wait."""
        self._labels = tuple(labels)
        self.update()

    def set_pins(self, pins: Iterable[Pin]) -> None:
        """Show questions that have a place as stars; they can be dragged away."""
        self._pins = tuple(pins)
        self.update()

    def set_paths(self, paths: Iterable[Coordinates]) -> None:
        """Draw lines through places of the plane, each float32 [L, 2]; they begin faint and end strong."""
        self._paths = tuple(paths)
        self.update()

    def set_pictures(self, fetch: Callable[[Rows], Sequence[ByteArray | None]]) -> None:
        """Where thumbnails come from: rows to pixels [h, w, 3], None for those without."""
        self._fetch = fetch
        self.forget_pictures()

    def forget_pictures(self) -> None:
        """Ask for all pictures anew: they may have come by now."""
        self._pictures.clear()
        self.update()

    def set_names(self, fetch: Callable[[Rows], Sequence[str]], describe: Callable[[int], Card]) -> None:
        """Where names come from, and what the card says of a row."""
        self._fetch_names, self._describe = fetch, describe
        self.update()

    # --- picked and selected ----------------------------------------------------------------------------
    def set_picked(self, row: int | None, near: Sequence[int] = (), cosines: Sequence[float] = ()) -> None:
        """Put a point in front of all, with lines to others; emits nothing."""
        self._picked = row if row is not None and 0 <= row < self.count else None
        self._near = tuple((int(other), float(cosine)) for other, cosine in zip(near, cosines, strict=True))
        self.update()

    @property
    def picked_row(self) -> int | None:
        """The point in front."""
        return self._picked

    @property
    def selection(self) -> Rows:
        """Selected rows, in order."""
        return np.flatnonzero(self._selected).astype(np.int64)

    def set_selection(self, rows: Rows | NDArray[np.bool_]) -> None:
        """Select those of these rows that are points of this map, and no others; emits nothing."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        selected = np.zeros(self.count, np.bool_)
        selected[rows[rows < self.count]] = True
        if not np.array_equal(selected, self._selected):
            self._selected = selected
            self._recolour()

    # --- view -------------------------------------------------------------------------------------------
    def fit(self) -> None:
        """Bring all points into view."""
        self._fit()
        self.moved.emit()

    def look_as(self, other: PointCanvas) -> None:
        """Look at the same part of the plane as another map, as closely."""
        self._view = other._view.resized(self.width(), self.height())
        self._fitted = False
        self.update()

    def mirror(self, other: PointCanvas) -> None:
        """Take the colours, mask and selection of another map of the same items."""
        if other.count == self.count:
            self._ink, self._mask, self._selected = other._ink, other._mask, other._selected
            self._recolour()

    def show_hovered(self, row: int | None) -> None:
        """Show a point as if the pointer were on it; emits nothing."""
        self._hovered = row if row is not None and self._has_place(row) else None
        self.update()

    def _fit(self) -> None:
        self._view = self._view.around(*self._index.bounds)
        self._fitted = True
        self.update()

    def look_at(self, rows: Rows) -> None:
        """Bring some points into view."""
        xy = self._xy[rows]
        xy = xy[np.isfinite(xy).all(axis=1)]
        if not len(xy):
            return
        low, high = xy.min(axis=0).astype(float), xy.max(axis=0).astype(float)
        self._view = self._view.around(low[0], low[1], high[0], high[1])
        closest = self._view.fitting_scale(*self.extent) * 200
        self._view = replace(self._view, scale=min(self._view.scale, closest))
        self._fitted = False
        self.update()
        self.moved.emit()

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of all points, in their own units."""
        left, bottom, right, top = self._index.bounds
        return right - left, top - bottom

    def place_of(self, row: int) -> QPointF:
        """Where a point lies in the widget."""
        return self._view.to_pixels(float(self._xy[row, 0]), float(self._xy[row, 1]))

    def row_at(self, position: QPointF) -> int | None:
        """The point nearest to a position of the widget, None when none is in reach."""
        reach = _REACH / self._view.scale
        return self._index.nearest(*self._view.to_plane(position), (reach, reach), ~self._mask)

    @property
    def in_view(self) -> int:
        """How many points were painted last, those just beyond the edges included."""
        return self._raster.in_view

    # --- preparing --------------------------------------------------------------------------------------
    def _go_on(self) -> None:
        clock = QElapsedTimer()
        clock.start()
        while self._steps is not None and clock.elapsed() < _SLICE_MS:
            self._step()
        if self._steps is None:
            self._slice.stop()

    def _step(self) -> None:
        assert self._steps is not None
        try:
            next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._take(*end.value)

    def _take(self, index: PointIndex, raster: PointRaster) -> None:
        xy, kinds = self._pending
        before = len(getattr(self, "_xy", ()))
        same = len(xy) == before > 0
        self._xy, self._kinds, self._index, self._raster = xy, kinds, index, raster
        self._hovered = None
        if not same:
            self._mask = np.ones(len(xy), np.bool_)
            self._selected = np.zeros(len(xy), np.bool_)
            self._picked, self._near = None, ()
            self._ink = PointInk(len(xy))
            self._ink.set_classes(_kind_codes(kinds), KIND_NAMES, _KIND_SHOWN)
            self._pictures.clear()
        self._recolour()
        if not (self._keep_view and before and len(xy)):
            self._fit()
        self.setAccessibleDescription(f"{index.count:,} points")
        self.ready.emit()

    def _on_map(self) -> NDArray[np.bool_]:
        return self._mask & np.isfinite(self._xy).all(axis=1)

    def _recolour(self) -> None:
        """Colour and order the points anew before they are painted next, once for all changes until then."""
        self._stale_ink = True
        self._spoil()
        self.inked.emit()

    def _settle_ink(self) -> None:
        if not self._stale_ink:
            return
        self._stale_ink = False
        some = bool(self._selected.any())
        layer, ink, colours = self._ink.resolve(self._selected if some else None, self.palette())
        self._raster.set_order(self._mask, layer)
        self._raster.set_ink(ink, colours)

    def _spoil(self) -> None:
        self._image: QImage | None = None
        self._image_window: Window | None = None
        self.update()

    # --- painting ---------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        if not self.count:
            return
        self._paint_points(painter)
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing
            | QPainter.RenderHint.TextAntialiasing
            | QPainter.RenderHint.SmoothPixmapTransform
        )
        self._wanted = {}
        self._pin_places = paint_overlay(painter, self._overlay())
        painter.end()
        self._fetch_wanted()

    def _paint_points(self, painter: QPainter) -> None:
        self._settle_ink()
        window = self._image_window
        whole = QRectF(self.rect())
        if (
            self._image is None
            or window is None
            or window.scale != self._view.scale
            or window.ratio != self.devicePixelRatioF()
            or not self._view.place_of(window).adjusted(-0.5, -0.5, 0.5, 0.5).contains(whole)
        ):
            beyond = _BEYOND if self._raster.count > _BEYOND_FROM else 0.0
            window = self._view.window(self.devicePixelRatioF(), beyond)
            words = self._raster.paint(window)
            height, width = words.shape
            self._image = QImage(
                words.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied
            ).copy()
            self._image_window = window
        target = self._view.place_of(window)
        # a cell may be several pixels wide, and the last line of cells may reach over the edge
        cell = max(1.0, round(window.width * window.ratio / self._image.width())) / window.ratio
        size = QSize(self._image.width(), self._image.height())
        painter.drawImage(
            QRectF(round(target.x()), round(target.y()), size.width() * cell, size.height() * cell),
            self._image,
        )

    def _overlay(self) -> Overlay:
        close = self._close_rows()
        named = close if self._few_in_view(len(close)) else close[:0]
        places = self._view.pixels(self._xy[close])
        near_to, near = self._ties()
        return Overlay(
            area=QRectF(self.rect()),
            palette=self.palette(),
            accent=accent(self.palette()),
            focused=self.hasFocus(),
            close=close,
            places=places,
            names=self._fetch_names(named) if len(named) else [],
            picture=self._picture,
            edge=lambda row: self._ink.colour(row, self.palette()),
            picked=self._placed(self._picked),
            near=tuple((row, self.place_of(row), cosine) for row, cosine in near if self._has_place(row)),
            near_to=near_to,
            hovered=self._hover_card(),
            labels=tuple((self._view.to_pixels(x, y), text) for x, y, text in self._labels),
            paths=tuple(self._view.pixels(path) for path in self._paths),
            pins=tuple((self._view.to_pixels(pin.x, pin.y), pin) for pin in self._pins),
            drawn=tuple(self._drawn),
            side=64.0 if len(close) <= 40 else 48.0 if len(close) <= 400 else 36.0,
        )

    def _ties(self) -> tuple[QPointF | None, tuple[tuple[int, float], ...]]:
        """Where lines to the nearest begin, and to which rows: at the picked point, else at a question."""
        picked = self._placed(self._picked)
        if self._near and picked is not None:
            return picked[1], self._near
        pin = next((pin for pin in self._pins if pin.near), None)
        return (None, ()) if pin is None else (self._view.to_pixels(pin.x, pin.y), pin.near)

    def _close_rows(self) -> Rows:
        """The points that may be shown as pictures, the topmost first; none in a crowd."""
        self._settle_ink()
        window = self._view.window(1.0)
        if self._index.about(*window.rect) > 4 * _PICTURES_UP_TO + 1000:
            return np.zeros(0, np.int64)
        rows = self._raster.rows_in(window)
        return rows if len(rows) <= _PICTURES_UP_TO else rows[:0]

    @staticmethod
    def _few_in_view(count: int) -> bool:
        return 0 < count <= _NAMES_UP_TO

    def _has_place(self, row: int) -> bool:
        return 0 <= row < self.count and bool(np.isfinite(self._xy[row]).all())

    def _placed(self, row: int | None) -> tuple[int, QPointF] | None:
        return None if row is None or not self._has_place(row) else (row, self.place_of(row))

    def _hover_card(self) -> tuple[int, QPointF, Card] | None:
        if self._hovered is None or self._dragging:
            return None
        card = self._describe(self._hovered)
        cosine = dict(self._ties()[1]).get(self._hovered)
        if cosine is not None:
            what = "the picked item" if self._near else "the question"
            card = replace(card, lines=(*card.lines, f"cosine {cosine:.3f} to {what}"))
        return self._hovered, self.place_of(self._hovered), card

    def _picture(self, row: int) -> QImage | None:
        if not self.show_pictures:
            return None
        if row in self._pictures:
            self._pictures.move_to_end(row)
            return self._pictures[row]
        self._wanted[row] = None
        return None

    def _fetch_wanted(self) -> None:
        """Read some of the pictures that were missing, and paint again."""
        rows = np.array(list(self._wanted)[:_FETCHED_AT_ONCE], np.int64)
        if not len(rows):
            return
        for row, pixels in zip(rows.tolist(), self._fetch(rows), strict=True):
            self._pictures[row] = None if pixels is None else rgb_image(pixels)
        while len(self._pictures) > _PICTURES_KEPT:
            self._pictures.popitem(last=False)
        self._later.start()

    # --- looks ------------------------------------------------------------------------------------------
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._view = self._view.resized(self.width(), self.height())
        if self._fitted:
            self._fit()
        self._spoil()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._recolour()

    def sizeHint(self) -> QSize:
        return QSize(640, 480)

    def colour_of(self, row: int) -> QColor:
        """The colour of a point, for other views of it."""
        return self._ink.colour(row, self.palette())

    def release(self) -> None:
        """Stop what is under way."""
        self._steps = None
        self._slice.stop()
        self._later.stop()


def _prepare(xy: Coordinates, kinds: ByteArray) -> Generator[None, None, tuple[PointIndex, PointRaster]]:
    index = yield from PointIndex.steps(xy)
    raster = yield from PointRaster.steps(xy, kinds, index)
    return index, raster


def _kind_codes(kinds: ByteArray) -> NDArray[np.int32]:
    return np.minimum(kinds, 3).astype(np.int32)
