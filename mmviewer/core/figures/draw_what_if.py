"""Draw an item before and after an intervention."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from mmviewer.core.errors import InputError
from mmviewer.core.figures.arrays import strings
from mmviewer.core.figures.draw_maps import (
    draw_curve,
    range_text,
    resampled,
    style_lut,
)
from mmviewer.core.figures.overlay import paint
from mmviewer.core.figures.sheet import (
    ACCENT,
    FAINT,
    GREY,
    INK,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TITLE_SIZE,
    Sheet,
    elide,
    quiet,
    text_width,
    wrap,
)
from mmviewer.core.figures.spec import ChangeBar, MatrixCell, MatrixItem, WhatIfFigure
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry

_PAGE = 7.0
_ROW = 0.22
_LINE = 0.16
_GAP = 0.15
_PICTURE, _CURVE = 2.3, 0.9
_MOST_ROWS = 80
_SIDES = ("before", "after")


def draw_what_if(figure: WhatIfFigure, caption: str) -> Sheet:
    """Texts on top, then both sides of the item, then what changed in rows."""
    if not (figure.texts or figure.items or figure.tokens or figure.labels):
        raise InputError("There is nothing to compare yet; try a change in the What if panel first.")
    inner = _PAGE - 2 * MARGIN
    texts = [wrap(text, inner - 0.6, TEXT_SIZE, 3) or [""] for text in figure.texts]
    pair = _pair_height(figure)
    tables = [(title, rows) for title, rows in _tables(figure) if rows]
    body = sum(len(lines) for lines in texts) * _LINE + (_GAP if texts else 0)
    body += pair + (_GAP if pair else 0) + (_LINE + _GAP if figure.summary else 0)
    body += sum(0.28 + len(rows) * _ROW + _GAP for _, rows in tables)
    title, lines = f"What if: {figure.recipe}", figure.notes
    if text_width(title, TITLE_SIZE, bold=True) > inner * 0.66:
        title, lines = "What if", (figure.recipe, *figure.notes)
    sheet = Sheet(_PAGE, body + 0.05, title, figure.title, lines, caption)
    top = _draw_texts(sheet, figure.texts, texts)
    if pair:
        _draw_pair(sheet, figure, top)
        top += pair + _GAP
    if figure.summary:
        sheet.text(MARGIN, top, elide(figure.summary, inner, TEXT_SIZE), size=TEXT_SIZE, va="top")
        top += _LINE + _GAP
    for title, rows in tables:
        _draw_rows(sheet, title, rows, top)
        top += 0.28 + len(rows) * _ROW + _GAP
    return sheet


def what_if_arrays(figure: WhatIfFigure) -> dict[str, Any]:
    """Maps [2, R, C] or [2, P] before and after, and the changes by label; NaN where there is no number."""
    named: dict[str, Any] = {
        "texts": strings(figure.texts),
        "tokens": strings([bar.label for bar in figure.tokens]),
        "token_changes": np.array([bar.value for bar in figure.tokens], np.float64),
        "labels": strings([bar.label for bar in figure.labels]),
        "label_changes": np.array([bar.value for bar in figure.labels], np.float64),
    }
    grids = [cell.values for cell in figure.cells if cell.values is not None]
    return named | ({"grid": np.stack(grids)} if grids else {})


def what_if_table(figure: WhatIfFigure) -> tuple[tuple[str, ...], Iterator[Iterable[Any]]]:
    """One row for each token and label."""
    rows = (
        (what, bar.label, "" if math.isnan(bar.value) else f"{bar.value:.8g}", bar.numbers)
        for what, bars in ((figure.unit, figure.tokens), ("label probability", figure.labels))
        for bar in bars
    )
    return ("what", "name", "change", "numbers"), rows


def _tables(figure: WhatIfFigure) -> list[tuple[str, Sequence[ChangeBar]]]:
    tokens = (
        "similarity of the item with each word"
        if figure.unit == "similarity"
        else "log-probability of each token of the text before (nats · probability)"
    )
    more = len(figure.tokens) - _MOST_ROWS
    title = f"Change of the {tokens}" + (f", first {_MOST_ROWS} of {len(figure.tokens)}" if more > 0 else "")
    return [
        (title, figure.tokens[:_MOST_ROWS]),
        ("Change of the labels' probabilities", figure.labels[:_MOST_ROWS]),
    ]


def _draw_texts(sheet: Sheet, texts: Sequence[str], broken: Sequence[Sequence[str]]) -> float:
    """Write both texts; words that the other does not have are bold."""
    kept = _common(texts)
    top = 0.0
    for side, lines, same in zip(_SIDES, broken, kept, strict=False):
        sheet.text(MARGIN, top, side, size=TEXT_SIZE, color=GREY, va="top")
        place = 0
        for line in lines:
            left = MARGIN + 0.6
            for word in line.split():
                bold = place < len(same) and not same[place]
                weight = "bold" if bold else "normal"
                sheet.text(left, top, word, size=TEXT_SIZE, weight=weight, va="top")
                left += text_width(word, TEXT_SIZE, bold) + text_width("n", TEXT_SIZE) * 0.6
                place += 1
            top += _LINE
    return top + (_GAP if texts else 0)


def _common(texts: Sequence[str]) -> list[list[bool]]:
    """For each word of each text, whether the other text has it in its place."""
    words = [text.split() for text in texts]
    kept = [[len(texts) < 2] * len(each) for each in words]
    if len(words) > 1:
        for block in SequenceMatcher(None, words[0], words[1], autojunk=False).get_matching_blocks():
            for step in range(block.size):
                kept[0][block.a + step] = kept[1][block.b + step] = True
    return kept


# --- both sides of the item --------------------------------------------------------------------------
def _pair_height(figure: WhatIfFigure) -> float:
    if not figure.items:
        return 0.0
    return 0.2 + _side_size(figure.items[0])[1] + (0.42 if figure.cells else 0.0)


def _side_size(item: MatrixItem) -> tuple[float, float]:
    """Width and height of one side."""
    widest = (_PAGE - 2 * MARGIN - 0.3) / 2
    if item.pixels is None:
        return widest, _CURVE
    height, width = item.pixels.shape[:2]
    aspect = min(max(width / max(height, 1), 0.2), 5.0)
    high = min(_PICTURE, widest / aspect)
    return high * aspect, high


def _draw_pair(sheet: Sheet, figure: WhatIfFigure, top: float) -> None:
    width, height = _side_size(figure.items[0])
    for place, item in enumerate(figure.items[:2]):
        left = MARGIN + place * (width + 0.3)
        words = " · ".join(filter(None, (_SIDES[place], figure.subject if figure.cells else "")))
        sheet.text(
            left, top + 0.14, elide(words, width, SMALL_SIZE), size=SMALL_SIZE, color=GREY, va="bottom"
        )
        cell = figure.cells[place] if place < len(figure.cells) else None
        _draw_side(sheet, figure, item, cell, (left, top + 0.2, width, height))
    if figure.cells:
        _draw_scale(sheet, figure, figure.cells[0], top + 0.2 + height)


def _draw_side(
    sheet: Sheet,
    figure: WhatIfFigure,
    item: MatrixItem,
    cell: MatrixCell | None,
    place: tuple[float, float, float, float],
) -> None:
    axes = sheet.axes(*place)
    geometry = cell.geometry if cell is not None else None
    if item.pixels is not None:
        quiet(axes, ticks=False)
        pixels = resampled(item.pixels, 300, 900)
        if cell is not None and cell.values is not None and isinstance(geometry, ImageGeometry):
            style = replace(figure.style, signed=cell.signed)
            size = (pixels.shape[0], pixels.shape[1])
            values = geometry.to_source(cell.values, style.interpolation, size)
            pixels = paint(pixels, values, style_lut(style), cell.low, cell.high, style.opacity)
        axes.imshow(pixels, interpolation="none", aspect="auto")
    elif cell is not None and cell.values is not None and isinstance(geometry, TimeGeometry):
        draw_curve(axes, cell.values, geometry, cell.low, cell.high)
        axes.set_yticks([])
        axes.tick_params(labelsize=6, pad=1, length=2)
    else:
        quiet(axes, ticks=False)


def _draw_scale(sheet: Sheet, figure: WhatIfFigure, cell: MatrixCell, top: float) -> None:
    """The colour bar of both maps, with numbers; of curves, which have no colours, the numbers alone."""
    if isinstance(cell.geometry, TimeGeometry):
        words = f"{cell.unit}, both from {range_text(cell.low, cell.high)}"
        line = elide(words, _PAGE - MARGIN * 2, SMALL_SIZE)
        sheet.text(MARGIN, top + 0.22, line, size=SMALL_SIZE, color=GREY, va="center")
        return
    axes = sheet.axes(MARGIN, top + 0.06, 1.8, 0.08)
    table = np.repeat(style_lut(replace(figure.style, signed=cell.signed))[None], 32, axis=0)
    axes.imshow(table, extent=(cell.low, cell.high, 0, 1), interpolation="none", aspect="auto")
    axes.set_yticks([])
    axes.set_xticks([cell.low, cell.high], [f"{cell.low:.2g}", f"{cell.high:.2g}"])
    axes.tick_params(labelsize=6, pad=1.5, length=2, color=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    words = elide(f"{cell.unit}, both maps on this scale", _PAGE - MARGIN * 2 - 2.1, SMALL_SIZE)
    sheet.text(MARGIN + 2.1, top + 0.1, words, size=SMALL_SIZE, color=GREY, va="center")


# --- rows --------------------------------------------------------------------------------------------
def _draw_rows(sheet: Sheet, title: str, rows: Sequence[ChangeBar], top: float) -> None:
    """Bars to the left for losses and to the right for gains."""
    inner = _PAGE - 2 * MARGIN
    heading = elide(title, inner, TEXT_SIZE, bold=True)
    sheet.text(MARGIN, top, heading, size=TEXT_SIZE, weight="bold", va="top")
    label = min(max(text_width(bar.label, TEXT_SIZE) for bar in rows), 1.8) + 0.1
    number = min(max(text_width(bar.numbers, SMALL_SIZE) for bar in rows), 2.2) + 0.1
    track = inner - label - number
    axes = sheet.axes(MARGIN + label, top + 0.26, track, len(rows) * _ROW)
    values = np.nan_to_num(np.array([bar.value for bar in rows], np.float64))
    reach = max(float(np.abs(values).max()), 1e-9)
    places = np.arange(len(rows))
    axes.axvline(0, color=FAINT, linewidth=0.8)
    colours = [ACCENT if value < 0 else "white" for value in values]
    axes.barh(places, values, height=0.55, color=colours, edgecolor=ACCENT, linewidth=0.8)
    axes.set_xlim(-1.05 * reach, 1.05 * reach)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    quiet(axes, ticks=False)
    for place, bar in enumerate(rows):
        y = top + 0.26 + (place + 0.5) * _ROW
        name = elide(bar.label, label - 0.08, TEXT_SIZE)
        sheet.text(MARGIN, y, name, size=TEXT_SIZE, va="center_baseline")
        colour = GREY if math.isnan(bar.value) else INK
        numbers = elide(bar.numbers, number, SMALL_SIZE)
        style = {"size": SMALL_SIZE, "ha": "right", "va": "center_baseline", "color": colour}
        sheet.text(_PAGE - MARGIN, y, numbers, **style)
