"""Draw a matrix of maps: named rows and columns, one colour bar for each kind of number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.figures.draw_maps import draw_curve, range_text, resampled, style_lut
from mmviewer.core.figures.overlay import paint
from mmviewer.core.figures.sheet import (
    FAINT,
    GREY,
    INK,
    MARGIN,
    TEXT_SIZE,
    Sheet,
    elide,
    quiet,
    text_width,
    wrap,
)
from mmviewer.core.figures.spec import MapStyle, MatrixCell, MatrixFigure, MatrixItem
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry

_MOST_ROWS, _MOST_COLUMNS = 24, 16
_PAGE_WIDTH = 7.4
_LEAST_CELL, _MOST_CELL = 0.95, 1.75
_GAP = 0.1
_LONGEST_ROW_LABEL = 1.25
_TINY = 6.0
_TIME_ASPECT = 0.45
_BAR_WIDTH, _BAR_HEIGHT, _BAR_STEP = 1.75, 0.09, 0.6
_LEAST_PIXELS, _MOST_PIXELS = 300, 700


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things lie, in inches from the top left of the body."""

    left: float
    top: float
    cell: float
    heights: tuple[float, ...]
    foot: float

    def place(self, row: int, column: int) -> tuple[float, float]:
        """Left and top of a cell's picture."""
        above = sum(self.heights[:row]) + row * (self.foot + _GAP)
        return self.left + column * (self.cell + _GAP), self.top + above

    @property
    def bottom(self) -> float:
        """Where the rows end."""
        return self.top + sum(self.heights) + len(self.heights) * (self.foot + _GAP)


def draw_matrix(figure: MatrixFigure, caption: str) -> Sheet:
    """Small multiples under one header, with the scales at the foot."""
    if not figure.rows or not figure.columns:
        raise InputError("There is nothing to compare yet; choose at least one row and one column.")
    figure, left_out = _cut(figure)
    layout = _layout(figure)
    bars = _bars(figure)
    right = layout.left + len(figure.columns) * (layout.cell + _GAP)
    width = max(right + MARGIN, 5.0)
    across = max(1, int((width - 2 * MARGIN) / (_BAR_WIDTH + 0.35)))
    body = layout.bottom + -(-len(bars) // across) * _BAR_STEP + 0.05
    notes = [note for note in (*figure.notes, left_out) if note]
    sheet = Sheet(width, body, figure.title, figure.subject, notes, caption)
    _write_names(sheet, figure, layout)
    pictures = [_picture(item) for item in figure.items]
    for row, cells in enumerate(figure.cells):
        for column, cell in enumerate(cells):
            _draw_cell(sheet, figure, cell, pictures, layout, row, column)
    for number, bar in enumerate(bars):
        x = MARGIN + number % across * (_BAR_WIDTH + 0.35)
        _draw_bar(sheet, bar, x, layout.bottom + number // across * _BAR_STEP)
    return sheet


def _cut(figure: MatrixFigure) -> tuple[MatrixFigure, str]:
    """Keep a page readable, and say what is left out."""
    rows, columns = len(figure.rows), len(figure.columns)
    if rows <= _MOST_ROWS and columns <= _MOST_COLUMNS:
        return figure, ""
    cells = tuple(cells[:_MOST_COLUMNS] for cells in figure.cells[:_MOST_ROWS])
    kept = replace(figure, rows=figure.rows[:_MOST_ROWS], columns=figure.columns[:_MOST_COLUMNS], cells=cells)
    words = f"first {len(kept.rows)} of {rows} rows and {len(kept.columns)} of {columns} columns"
    return kept, words


def _layout(figure: MatrixFigure) -> _Layout:
    labels = [elide(name, _LONGEST_ROW_LABEL, TEXT_SIZE, bold=True) for name in figure.rows]
    left = MARGIN + max(text_width(label, TEXT_SIZE, bold=True) for label in labels) + 0.12
    room = (_PAGE_WIDTH - left - MARGIN) / len(figure.columns) - _GAP
    cell = min(max(room, _LEAST_CELL), _MOST_CELL)
    heights = tuple(max(cell * _aspect(figure, each) for each in cells) for cells in figure.cells)
    lines = max(len(_column_lines(name, cell)) for name in figure.columns)
    below = [each for cells in figure.cells for each in cells]
    lines_below = any(each.place for each in below) + (not figure.shared_scale)
    seconds = any(isinstance(each.geometry, TimeGeometry) for each in below)
    foot = 0.04 + 0.095 * lines_below + (0.09 if seconds else 0.0)
    return _Layout(left, 0.08 + lines * 0.14, cell, heights, foot)


def _aspect(figure: MatrixFigure, cell: MatrixCell) -> float:
    """Height over width, within bounds that keep the thinnest picture visible."""
    pixels = figure.items[cell.item].pixels
    if pixels is None:
        return _TIME_ASPECT
    return float(min(max(pixels.shape[0] / pixels.shape[1], 0.35), 1.6))


def _column_lines(name: str, width: float) -> list[str]:
    return wrap(name, width, TEXT_SIZE * 1.06, 2)  # bold letters are wider


def _write_names(sheet: Sheet, figure: MatrixFigure, layout: _Layout) -> None:
    for column, name in enumerate(figure.columns):
        x, _ = layout.place(0, column)
        lines = _column_lines(name, layout.cell)
        for number, line in enumerate(reversed(lines)):
            y = layout.top - 0.05 - number * 0.14
            sheet.text(x + layout.cell / 2, y, line, size=TEXT_SIZE, weight="bold", ha="center", va="bottom")
    for row, name in enumerate(figure.rows):
        _, y = layout.place(row, 0)
        label = elide(name, _LONGEST_ROW_LABEL, TEXT_SIZE, bold=True)
        middle = y + layout.heights[row] / 2
        style = {"size": TEXT_SIZE, "weight": "bold", "ha": "right", "va": "center"}
        sheet.text(layout.left - 0.09, middle, label, **style)


def _picture(item: MatrixItem) -> NDArray[np.uint8] | None:
    return None if item.pixels is None else resampled(item.pixels, _LEAST_PIXELS, _MOST_PIXELS)


def _draw_cell(
    sheet: Sheet,
    figure: MatrixFigure,
    cell: MatrixCell,
    pictures: Sequence[NDArray[np.uint8] | None],
    layout: _Layout,
    row: int,
    column: int,
) -> None:
    x, y = layout.place(row, column)
    height = layout.cell * _aspect(figure, cell)
    top = y + (layout.heights[row] - height) / 2
    axes = sheet.axes(x, top, layout.cell, height)
    pixels, style = pictures[cell.item], replace(figure.style, signed=cell.signed)
    if cell.values is None or cell.failure:
        _draw_failure(sheet, axes, cell.failure or "not computed", x, top, layout.cell, height)
        return
    if isinstance(cell.geometry, ImageGeometry) and pixels is not None:
        quiet(axes, ticks=False)
        size = (pixels.shape[0], pixels.shape[1])
        values = cell.geometry.to_source(cell.values, style.interpolation, size)
        painted = paint(pixels, values, style_lut(style), cell.low, cell.high, style.opacity)
        axes.imshow(painted, interpolation="none", aspect="auto")
    elif isinstance(cell.geometry, TimeGeometry):
        draw_curve(axes, cell.values, cell.geometry, cell.low, cell.high)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.tick_params(labelsize=5, pad=1, length=1.5)
    else:
        _draw_failure(sheet, axes, "the picture is missing", x, top, layout.cell, height)
        return
    _write_foot(sheet, figure, cell, x, y + layout.heights[row], layout.cell)


def _write_foot(
    sheet: Sheet, figure: MatrixFigure, cell: MatrixCell, x: float, y: float, width: float
) -> None:
    below = 0.1 if isinstance(cell.geometry, TimeGeometry) else 0.02
    lines = [cell.place] if cell.place else []
    if not figure.shared_scale:
        lines.append(range_text(cell.low, cell.high))
    for number, line in enumerate(lines):
        y_line = y + below + number * 0.095
        sheet.text(x, y_line, elide(line, width, _TINY), size=_TINY, color=GREY, va="top")


def _draw_failure(
    sheet: Sheet, axes: Axes, sentence: str, x: float, y: float, width: float, height: float
) -> None:
    quiet(axes, ticks=False)
    axes.set_facecolor("#f4f5f7")
    step = _TINY * 1.3 / 72
    lines = wrap(sentence, width - 0.12, _TINY, max(1, int((height - 0.08) / step)))
    for number, line in enumerate(lines):
        sheet.text(x + 0.06, y + 0.05 + number * step, line, size=_TINY, color=GREY, va="top")


# --- scales -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Bar:
    """A colour bar; without a range (NaN) its ends are called by words."""

    words: str
    style: MapStyle
    low: float
    high: float


def _bars(figure: MatrixFigure) -> list[_Bar]:
    made = [cell for cells in figure.cells for cell in cells if cell.values is not None and not cell.failure]
    found: dict[tuple[object, ...], _Bar] = {}
    for cell in made:
        style = replace(figure.style, signed=cell.signed)
        if figure.shared_scale:
            found.setdefault((cell.unit, cell.low, cell.high), _Bar(cell.unit, style, cell.low, cell.high))
        else:
            words = "against and for, each map on its own" if cell.signed else "each map on its own"
            found.setdefault((cell.signed,), _Bar(words, style, float("nan"), float("nan")))
    return list(found.values())


def _draw_bar(sheet: Sheet, bar: _Bar, x: float, y: float) -> None:
    for number, line in enumerate(reversed(wrap(bar.words, _BAR_WIDTH + 0.15, 6.5, 2))):
        sheet.text(x, y + 0.22 - number * 0.105, line, size=6.5, color=INK, va="bottom")
    axes = sheet.axes(x, y + 0.25, _BAR_WIDTH, _BAR_HEIGHT)
    # many equal rows, because some viewers blur the edges of a picture one pixel high
    table = np.repeat(style_lut(bar.style)[None], 32, axis=0)
    known = bool(np.isfinite(bar.low))
    ends = (bar.low, bar.high) if known else (0.0, 1.0)
    axes.imshow(table, extent=(*ends, 0, 1), interpolation="none", aspect="auto")
    axes.set_yticks([])
    if known:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlim(*ends)
    else:
        axes.set_xticks([0, 1], ["strongest against" if bar.style.signed else "0", "strongest"])
    axes.tick_params(labelsize=6, pad=1.5, length=2, color=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
