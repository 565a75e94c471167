"""Draw the average map of many items beside their deviation; its arrays and its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.figures.arrays import Arrays, Row, strings
from mmviewer.core.figures.draw_maps import colour_bar, style_lut
from mmviewer.core.figures.overlay import colour_range
from mmviewer.core.figures.sheet import FAINT, MARGIN, TEXT_SIZE, Sheet
from mmviewer.core.figures.spec import AverageFigure, FloatArray, MapStyle

_SIDE, _STRIP = 2.45, 0.75
_BAR_ROOM = 0.95
_LEFT = 0.42
_NAMED = 6


def draw_average(figure: AverageFigure, caption: str) -> Sheet:
    """Mean and deviation side by side, each on the frame that all items have in common."""
    if not figure.names:
        raise InputError("There is no average yet; make one first.")
    images = len(figure.mean) > 1
    height = _SIDE if images else _STRIP
    step = _LEFT + _SIDE + _BAR_ROOM
    top = 0.2
    sheet = Sheet(
        2 * MARGIN + 2 * step,
        top + height + 0.45,
        f"“{figure.text}”",
        f"{figure.title} · registered to the {figure.frame}",
        _lines(figure),
        caption,
    )
    plain = replace(figure.style, signed=False, vmin=None, vmax=None)
    for place, (name, values, style) in enumerate(
        (("mean", figure.mean, figure.style), ("standard deviation", figure.deviation, plain))
    ):
        x = MARGIN + place * step + _LEFT
        sheet.text(x, top - 0.05, name, size=TEXT_SIZE, weight="bold", va="bottom")
        low, high = colour_range(values, style.signed)
        axes = sheet.axes(x, top, _SIDE, height)
        _draw_frame(axes, values, style, low, high, images=images)
        colour_bar(sheet, x + _SIDE + 0.12, top, height, style, low, high, (name,))
    return sheet


def average_arrays(figure: AverageFigure) -> Arrays:
    """``mean``, ``deviation`` and ``count`` [R, C]; ``items``, ``distances`` and ``maps`` [n, R, C]."""
    return {
        "mean": figure.mean,
        "deviation": figure.deviation,
        "count": figure.count,
        "items": strings(figure.names),
        "distances": figure.distances,
        "maps": figure.maps,
        "left_out": strings(figure.left_out),
        "tokens": strings([figure.text]),
    }


def average_table(figure: AverageFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    """One line for each cell of the frame."""
    rows = (
        (figure.text, *at, *(f"{each[at]:.8g}" for each in (figure.mean, figure.deviation)), figure.count[at])
        for at in np.ndindex(*figure.mean.shape)
    )
    return ("token", "row", "column", "mean", "deviation", "count"), rows


def _lines(figure: AverageFigure) -> tuple[str, ...]:
    kind = f"{figure.kind} of {figure.score}" if figure.score else str(figure.kind)
    first = figure.description if figure.description.lower().startswith(str(figure.kind)) else ""
    words = first or " · ".join(part for part in (kind, figure.description) if part)
    known = np.flatnonzero(np.isfinite(figure.distances))
    order = known[np.argsort(-figure.distances[known], kind="stable")][:_NAMED]
    far = ", ".join(f"{figure.names[place]} ({figure.distances[place]:.2f})" for place in order.tolist())
    return (words, f"Differ most (1 − correlation): {far}." if far else "", " ".join(figure.notes))


def _draw_frame(
    axes: Axes, values: FloatArray, style: MapStyle, low: float, high: float, *, images: bool
) -> None:
    axes.patch.set(hatch="////", edgecolor=FAINT, facecolor="white", linewidth=0)
    axes.imshow(_coloured(values, style, low, high), extent=(0, 1, 1, 0), interpolation="none", aspect="auto")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("share of the width" if images else "share of the length")
    if images:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylabel("share of the height")
    else:
        axes.set_yticks([])


def _coloured(values: FloatArray, style: MapStyle, low: float, high: float) -> NDArray[np.uint8]:
    """Colours [R, C, 4] of values; nothing where there is no value."""
    seen = np.isfinite(values)
    level = np.clip((np.where(seen, values, low) - low) / (high - low), 0, 1)
    colours = style_lut(style)[np.rint(255 * level).astype(np.intp)]
    return np.concatenate([colours, np.where(seen, 255, 0)[..., None].astype(np.uint8)], axis=-1)
