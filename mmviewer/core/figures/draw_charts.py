"""Draw zero-shot scores and the embedding space."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from mmviewer.core.errors import InputError
from mmviewer.core.figures.colormaps import lut
from mmviewer.core.figures.sheet import (
    ACCENT,
    FAINT,
    GREY,
    INK,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    Sheet,
    elide,
    quiet,
    text_width,
)
from mmviewer.core.figures.spec import ScatterFigure, ScoreFigure
from mmviewer.core.types import Modality

_MOST_BARS = 60
_MOST_ROWS, _MOST_COLUMNS = 60, 30
_NUMBERS_UP_TO = 15
_MOST_NAMES = 60
_MOST_THUMBNAILS = 150
_THUMBNAIL = 0.34
_RASTER_ABOVE = 5_000
# Okabe and Ito's colours, told apart by all; the shapes say the same
_MARKS = {
    Modality.IMAGE: ("o", "#0072b2", "images"),
    Modality.TEXT: ("^", "#d55e00", "texts"),
    Modality.AUDIO: ("s", "#009e73", "sounds"),
}


Place = tuple[float, float, float, float]  # left, bottom, right, top in inches


# --- scores -------------------------------------------------------------------------------------------
def draw_scores(figure: ScoreFigure, caption: str) -> Sheet:
    """Bars with numbers for one item, a table of colours and numbers for several."""
    if not figure.labels or not figure.items:
        raise InputError("There are no scores yet; type at least one label and choose an item.")
    return _draw_bars(figure, caption) if len(figure.items) == 1 else _draw_table(figure, caption)


def _draw_bars(figure: ScoreFigure, caption: str) -> Sheet:
    probabilities, similarities = figure.probabilities[0], figure.similarities[0]
    order = np.argsort(-probabilities, kind="stable") if figure.sort else np.arange(len(figure.labels))
    hidden = len(order) - _MOST_BARS
    order = order[:_MOST_BARS]
    count, row = len(order), 0.25
    picture = 1.25 if figure.pixels is not None else 0.0
    widest = max(text_width(elide(figure.labels[index], 2.4, TEXT_SIZE), TEXT_SIZE) for index in order)
    left = MARGIN + (picture + 0.2 if picture else 0) + widest + 0.1
    bars, numbers = 3.0, 1.0
    body = max(count * row + 0.5, picture + 0.1)
    more = f"{hidden} less likely labels are not drawn" if hidden > 0 and figure.sort else ""
    sheet = Sheet(
        left + bars + numbers + MARGIN,
        body,
        figure.title or figure.items[0],
        "zero-shot scores",
        (_score_line(figure), more),
        caption,
    )
    if figure.pixels is not None:
        _draw_thumbnail(sheet, figure.pixels, picture)
    axes = sheet.axes(left, 0.2, bars, count * row)
    places = np.arange(count)
    axes.barh(places, np.ones(count), height=0.62, color="#eef0f3")
    axes.barh(places, np.nan_to_num(probabilities[order]), height=0.62, color=ACCENT)
    axes.set_xlim(0, 1)
    axes.set_ylim(count - 0.5, -0.5)
    quiet(axes, ticks=False)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("probability")
    head: dict[str, Any] = {"size": 6.5, "color": GREY, "va": "bottom", "ha": "right"}
    sheet.text(left + bars + 0.42, 0.18, "prob.", **head)
    sheet.text(left + bars + 0.92, 0.18, "cosine", **head)
    for place, index in enumerate(order):
        y = 0.2 + (place + 0.5) * row
        label = elide(figure.labels[index], 2.4, TEXT_SIZE)
        sheet.text(left - 0.08, y, label, size=TEXT_SIZE, ha="right", va="center_baseline")
        style = {"size": SMALL_SIZE, "ha": "right", "va": "center_baseline"}
        sheet.text(left + bars + 0.42, y, f"{probabilities[index]:.3f}", color=INK, **style)
        sheet.text(left + bars + 0.92, y, f"{similarities[index]:.3f}", color=GREY, **style)
    return sheet


def _draw_thumbnail(sheet: Sheet, pixels: NDArray[np.uint8], side: float) -> None:
    small = _thumbnail(pixels, 400)
    height, width = small.shape[:2]
    scale = side / max(height, width)
    axes = sheet.axes(MARGIN, 0.2, max(width * scale, 0.02), max(height * scale, 0.02))
    axes.imshow(small, interpolation="none", aspect="auto")
    quiet(axes, ticks=False)


def _draw_table(figure: ScoreFigure, caption: str) -> Sheet:
    values = figure.probabilities[:_MOST_ROWS, :_MOST_COLUMNS]
    rows, columns = values.shape
    with_numbers = columns <= _NUMBERS_UP_TO
    cell_width, cell_height = (0.46, 0.25) if with_numbers else (0.22, 0.22)
    names = [elide(name, 2.0, TEXT_SIZE) for name in figure.items[:rows]]
    labels = [elide(label, 1.3, TEXT_SIZE) for label in figure.labels[:columns]]
    left = MARGIN + max(text_width(name, TEXT_SIZE) for name in names) + 0.12
    # labels stand at 45 degrees above their columns
    rise = max(text_width(label, TEXT_SIZE) for label in labels) * 0.71 + 0.2
    width, height = columns * cell_width, rows * cell_height
    page = max(left + width + max(rise - cell_width, 0.3) + MARGIN, 4.6)
    left_out = len(figure.items) > rows or len(figure.labels) > columns
    more = f"first {rows} of {len(figure.items)} items, {columns} of {len(figure.labels)} labels"
    sheet = Sheet(
        page,
        rise + height + 0.1,
        figure.title or "Zero-shot scores",
        f"{len(figure.items)} items, {len(figure.labels)} labels",
        (_score_line(figure), more if left_out else ""),
        caption,
    )
    axes = sheet.axes(left, rise, width, height)
    colours = lut("viridis")
    index = np.clip(np.nan_to_num(values) * 255, 0, 255).astype(np.intp)
    axes.imshow(colours[index], interpolation="none", aspect="auto")
    axes.set_yticks(np.arange(rows), names, size=TEXT_SIZE, color=INK)
    axes.set_xticks(np.arange(columns), labels, size=TEXT_SIZE, color=INK)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="left", rotation_mode="anchor", va="bottom")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if with_numbers:
        for row in range(rows):
            for column in range(columns):
                dark = values[row, column] < 0.6
                axes.text(
                    column,
                    row,
                    f"{values[row, column]:.2f}",
                    size=6.5,
                    color="white" if dark else INK,
                    ha="center",
                    va="center",
                )
    return sheet


def _score_line(figure: ScoreFigure) -> str:
    templates = ", ".join(f"“{template}”" for template in figure.templates[:3])
    if len(figure.templates) > 3:
        templates += f" and {len(figure.templates) - 3} more"
    over = "softmax over the labels" if figure.activation == "softmax" else f"{figure.activation} per label"
    return f"{over} · {templates}" if templates else over


# --- scatter ------------------------------------------------------------------------------------------
def draw_scatter(figure: ScatterFigure, caption: str) -> Sheet:
    """Points by modality, pictures in place when they are few, names where there is room."""
    points = np.asarray(figure.coordinates, dtype=np.float64)
    count = len(points)
    if not count:
        raise InputError("There are no points yet; add items that the model can embed.")
    side, left = 5.6, MARGIN + 0.35
    sheet = Sheet(
        left + side + 0.25 + MARGIN,
        side * 0.8 + 0.4,
        figure.title or "Embedding space",
        f"{figure.method} of {count:,} items",
        (figure.details,),
        caption,
    )
    axes = sheet.axes(left, 0, side, side * 0.8)
    axes.set_xlabel(f"{figure.method} 1")
    axes.set_ylabel(f"{figure.method} 2")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    _frame(axes, points)
    quiet(axes)
    _draw_neighbours(axes, figure, points)
    for modality, (marker, colour, name) in _MARKS.items():
        chosen = np.array([kind is modality for kind in figure.modalities], dtype=bool)
        if chosen.any():
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=max(4.0, min(30.0, 3_000 / count)),
                marker=marker,
                color=colour,
                alpha=0.85,
                linewidths=0,
                label=f"{name} ({int(chosen.sum())})",
                zorder=3,
                # a vector file with a mark for each of very many points could hardly be opened
                rasterized=count > _RASTER_ABOVE,
            )
    _draw_thumbnails(axes, figure, points)
    legend = axes.legend(loc="upper left", frameon=False, fontsize=SMALL_SIZE, ncols=3, handletextpad=0.2)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([26.0])
    _write_names(axes, figure, points, side, side * 0.8)
    return sheet


def _frame(axes: Axes, points: NDArray[np.float64]) -> None:
    """Limits with room around the points, and more above for the legend."""
    finite = points[np.isfinite(points).all(axis=1)]
    low, high = (finite.min(axis=0), finite.max(axis=0)) if len(finite) else (np.zeros(2), np.ones(2))
    reach = np.where(high - low > 0, high - low, 1.0)
    axes.set_xlim(low[0] - 0.08 * reach[0], high[0] + 0.14 * reach[0])
    axes.set_ylim(low[1] - 0.08 * reach[1], high[1] + 0.16 * reach[1])


def _draw_neighbours(axes: Axes, figure: ScatterFigure, points: NDArray[np.float64]) -> None:
    if figure.chosen is None:
        return
    start = points[figure.chosen]
    axes.scatter(start[0], start[1], s=130, facecolors="none", edgecolors=INK, linewidths=1.0, zorder=6)
    for index, cosine in figure.neighbours:
        end = points[index]
        axes.plot(*zip(start, end, strict=True), color=GREY, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)
        axes.text(
            (start[0] + end[0]) / 2,
            (start[1] + end[1]) / 2,
            f"{cosine:.2f}",
            size=6.5,
            color=INK,
            ha="center",
            va="center",
            zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        )


def _draw_thumbnails(axes: Axes, figure: ScatterFigure, points: NDArray[np.float64]) -> None:
    if len(points) > _MOST_THUMBNAILS:
        return
    for point, pixels in zip(points, figure.thumbnails, strict=False):
        if pixels is None:
            continue
        small = _thumbnail(pixels, 96)
        # 72 points per inch: zoom is in points per pixel
        image = OffsetImage(small, zoom=_THUMBNAIL * 72 / max(small.shape[:2]), interpolation="none")
        frame = {"edgecolor": FAINT, "linewidth": 0.5, "facecolor": "white"}
        axes.add_artist(AnnotationBbox(image, tuple(point), pad=0.06, bboxprops=frame, zorder=4))


def _write_names(
    axes: Axes, figure: ScatterFigure, points: NDArray[np.float64], width: float, height: float
) -> None:
    """Write names beside their points as long as none covers another; the chosen and its neighbours first."""
    first = [] if figure.chosen is None else [figure.chosen, *(index for index, _ in figure.neighbours)]
    if len(points) <= _MOST_NAMES:
        first += [index for index in range(len(points)) if index not in set(first)]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    scale = np.array([width / (right - left), height / (top - bottom)])
    inches = (points - np.array([left, bottom])) * scale
    taken: list[Place] = [(0.0, height - 0.25, 3.0, height)]  # the legend
    taken += _covered(figure, inches)
    for index in first:
        if not np.isfinite(inches[index]).all():
            continue
        has_picture = index < len(figure.thumbnails) and figure.thumbnails[index] is not None
        gap = _THUMBNAIL / 2 + 0.06 if has_picture else 0.08
        name = elide(figure.names[index], 1.3, 6.5)
        length = text_width(name, 6.5)
        x, y = inches[index]
        for start, low in (
            (x + gap, y - 0.05),
            (x - gap - length, y - 0.05),
            (x - length / 2, y + gap),
            (x - length / 2, y - gap - 0.1),
        ):
            box = (start, low, start + length, low + 0.11)
            if _is_free(box, taken, inches, index, width, height):
                taken.append(box)
                axes.text(
                    start / scale[0] + left, low / scale[1] + bottom, name, size=6.5, va="bottom", zorder=8
                )
                break


def _covered(figure: ScatterFigure, inches: NDArray[np.float64]) -> list[Place]:
    """Where thumbnails and the numbers on similarity lines are."""
    places: list[Place] = []
    if len(inches) <= _MOST_THUMBNAILS:
        half = _THUMBNAIL / 2 + 0.03
        for (x, y), pixels in zip(inches, figure.thumbnails, strict=False):
            if pixels is not None:
                places.append((x - half, y - half, x + half, y + half))
    if figure.chosen is not None:
        for index, _ in figure.neighbours:
            x, y = (inches[figure.chosen] + inches[index]) / 2
            places.append((x - 0.14, y - 0.07, x + 0.14, y + 0.07))
    return places


def _is_free(
    box: Place, taken: list[Place], points: NDArray[np.float64], own: int, width: float, height: float
) -> bool:
    left, bottom, right, top = box
    if left < 0 or right > width + 0.2 or bottom < 0 or top > height:
        return False
    if any(left < x1 and right > x0 and bottom < y1 and top > y0 for x0, y0, x1, y1 in taken):
        return False
    inside = (
        (points[:, 0] > left - 0.04)
        & (points[:, 0] < right + 0.04)
        & (points[:, 1] > bottom - 0.04)
        & (points[:, 1] < top + 0.04)
    )
    inside[own] = False
    return not inside.any()


def _thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(image)
