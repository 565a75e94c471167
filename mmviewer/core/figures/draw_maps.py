"""Draw maps over pictures and along time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from mmviewer.core.errors import InputError
from mmviewer.core.figures.colormaps import lut, suited
from mmviewer.core.figures.overlay import colour_range, paint
from mmviewer.core.figures.sheet import (
    ACCENT,
    FAINT,
    GREY,
    INK,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    Sheet,
    clean,
    elide,
    quiet,
    text_width,
    wrap,
)
from mmviewer.core.figures.spec import ImageMapFigure, MapFigure, MapStyle, TimeMapFigure, TokenStripFigure
from mmviewer.core.media.geometry import ImageGeometry, Interpolation, TimeGeometry
from mmviewer.core.media.spectrogram import log_mel

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_PICTURE_SIDE = 5.4
_LEAST_PIXELS, _MOST_PIXELS = 900, 2000
_MOST_TOKENS = 60
_PAGE_WIDTH = 7.4
_BAR, _LEAST_BAR = 0.14, 1.0
_TICK_HERTZ = (250, 500, 1000, 2000, 4000, 8000)
_WAVE_BINS = 1600


# --- one picture ------------------------------------------------------------------------------------
def draw_image_map(figure: ImageMapFigure, caption: str) -> Sheet:
    """A picture with axes in original pixels, the map over it and a colour bar with numbers."""
    height, width = figure.geometry.source
    box_width, box_height = _fit_box(width / height, _PICTURE_SIDE)
    left, right = MARGIN + 0.42, 0.85 if figure.show_map else 0.1
    page = max(left + box_width + right + MARGIN, 4.6)
    low, high = _range(figure.grid, figure.style)
    sheet = Sheet(
        page,
        box_height + 0.42,
        _quoted(figure.token) if figure.show_map else figure.title,
        figure.title if figure.show_map else f"{width} × {height} pixels",
        _explaining_lines(figure) if figure.show_map else (),
        caption,
    )
    axes = sheet.axes(left, 0, box_width, box_height)
    raster = _painted(figure, low, high) if figure.show_map else resampled(figure.pixels)
    axes.imshow(raster, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.set_xlabel("x (pixels of the original)")
    axes.set_ylabel("y (pixels)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    if figure.show_patches:
        _draw_patches(axes, figure.geometry)
    if figure.show_map:
        bar_height = min(box_height, 3.2)
        colour_bar(sheet, left + box_width + 0.16, 0, bar_height, figure.style, low, high, _quantity(figure))
    return sheet


def _painted(figure: ImageMapFigure, low: float, high: float) -> Pixels:
    pixels = resampled(figure.pixels)
    size = (pixels.shape[0], pixels.shape[1])
    values = figure.geometry.to_source(figure.grid, figure.style.interpolation, size)
    return paint(pixels, values, style_lut(figure.style), low, high, figure.style.opacity)


def _draw_patches(axes: Axes, geometry: ImageGeometry) -> None:
    top, left, bottom, right = geometry.visible
    rows, columns = geometry.grid
    line: dict[str, Any] = {"color": "white", "alpha": 0.5, "linewidth": 0.4}
    for row in range(rows + 1):
        y, _ = geometry.from_input(row * geometry.patch_size[0], 0)
        if top <= y <= bottom:
            axes.plot([left, right], [y, y], **line)
    for column in range(columns + 1):
        _, x = geometry.from_input(0, column * geometry.patch_size[1])
        if left <= x <= right:
            axes.plot([x, x], [top, bottom], **line)
    axes.set_xlim(0, geometry.source[1])
    axes.set_ylim(geometry.source[0], 0)


# --- small multiples ----------------------------------------------------------------------------------
def draw_token_strip(figure: TokenStripFigure, caption: str) -> Sheet:
    """The maps of the chosen tokens side by side, or one above the other along time."""
    if not figure.tokens:
        raise InputError("No token is chosen; choose at least one in the token strip.")
    count = len(figure.tokens)
    if count > _MOST_TOKENS:
        figure = replace(
            figure,
            values=figure.values[:_MOST_TOKENS],
            tokens=figure.tokens[:_MOST_TOKENS],
            description=f"{figure.description} · first {_MOST_TOKENS} of {count} tokens",
        )
    if isinstance(figure.geometry, ImageGeometry):
        return _draw_pictures(figure, figure.geometry, caption)
    return _draw_curves(figure, figure.geometry, caption)


def _draw_pictures(figure: TokenStripFigure, geometry: ImageGeometry, caption: str) -> Sheet:
    if figure.pixels is None:
        raise InputError("The picture of these maps is missing; open it again.")
    height, width = geometry.source
    cells = len(figure.tokens) + 1  # the bare picture comes first
    columns = min(cells, 5)
    gap, right = 0.12, 0.75
    side = min((_PAGE_WIDTH - 2 * MARGIN - right - (columns - 1) * gap) / columns, 2.1)
    cell_width, cell_height = _fit_box(width / height, side)
    step_x, step_y = max(cell_width, 0.9) + gap, cell_height + 0.36
    rows = -(-cells // columns)
    page = max(2 * MARGIN + columns * step_x - gap + right, 4.6)
    bar_height = max(min(cell_height, rows * step_y - 0.3), _LEAST_BAR)
    body = max(rows * step_y, bar_height + 0.3)
    sheet = Sheet(page, body, figure.text or "Tokens", figure.title, _explaining_lines(figure), caption)
    pixels = resampled(figure.pixels, least=300, most=700)
    ranges = _token_ranges(figure)
    table = style_lut(figure.style)
    for cell in range(cells):
        x, y = MARGIN + cell % columns * step_x, cell // columns * step_y + 0.2
        axes = sheet.axes(x, y, cell_width, cell_height)
        quiet(axes, ticks=False)
        if cell == 0:
            axes.imshow(pixels, interpolation="none", aspect="auto")
            sheet.text(x, y - 0.04, "original", size=SMALL_SIZE, color=GREY, va="bottom")
            continue
        token = cell - 1
        low, high = ranges[token]
        size = (pixels.shape[0], pixels.shape[1])
        values = geometry.to_source(figure.values[token], figure.style.interpolation, size)
        axes.imshow(
            paint(pixels, values, table, low, high, figure.style.opacity), interpolation="none", aspect="auto"
        )
        _label_token(sheet, figure, token, x, y - 0.04, step_x - gap)
        if not figure.shared_scale:
            place = y + cell_height + 0.02
            sheet.text(x, place, range_text(low, high), size=6, color=GREY, va="top")
    bar_x = MARGIN + columns * step_x
    low, high = ranges[0] if figure.shared_scale else (float("nan"), float("nan"))
    colour_bar(sheet, bar_x, 0.2, bar_height, figure.style, low, high, _quantity(figure))
    return sheet


def _label_token(
    sheet: Sheet, figure: TokenStripFigure, token: int, x: float, y: float, width: float
) -> None:
    probability = figure.probabilities[token] if token < len(figure.probabilities) else None
    number = "" if probability is None else f"{probability:.2f}"
    number_width = text_width(number, 6.5)
    label = elide(figure.tokens[token], width - number_width - 0.05, TEXT_SIZE, bold=True)
    sheet.text(x, y, label, size=TEXT_SIZE, weight="bold", va="bottom")
    if number:
        after = x + text_width(label, TEXT_SIZE, bold=True) + 0.06
        sheet.text(after, y + 0.005, number, size=6.5, color=GREY, va="bottom")


def _draw_curves(figure: TokenStripFigure, geometry: TimeGeometry, caption: str) -> Sheet:
    left, right, wave, row = MARGIN + 1.05, 0.75, 0.55, 0.34
    width = _PAGE_WIDTH - left - right
    count = len(figure.tokens)
    sheet = Sheet(
        _PAGE_WIDTH,
        wave + 0.12 + count * row + 0.4,
        figure.text or "Tokens",
        figure.title,
        _explaining_lines(figure),
        caption,
    )
    if figure.samples is not None:
        axes = sheet.axes(left, 0, width, wave)
        _waveform(axes, figure.samples, geometry.duration)
        axes.set_xticks([])
    ranges = _token_ranges(figure)
    for token in range(count):
        top = wave + 0.12 + token * row
        axes = sheet.axes(left, top, width, row * 0.84)
        low, high = ranges[token]
        draw_curve(axes, figure.values[token], geometry, low, high, figure.style.interpolation)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        if token < count - 1:
            axes.set_xticks([])
            axes.spines["bottom"].set_color(FAINT)
        else:
            axes.set_xlabel("time (s)")
        label = elide(figure.tokens[token], left - MARGIN - 0.1, TEXT_SIZE, bold=True)
        style = {"size": TEXT_SIZE, "weight": "bold", "ha": "right", "va": "center"}
        sheet.text(left - 0.08, top + row * 0.5, label, **style)
        text = range_text(low, high)
        sheet.text(left + width + 0.06, top + row * 0.5, text, size=6, color=GREY, va="center")
    return sheet


# --- sound ------------------------------------------------------------------------------------------
def draw_time_map(figure: TimeMapFigure, caption: str) -> Sheet:
    """Waveform, spectrogram with the map over it, and the map as a curve, above one time axis."""
    left, right = MARGIN + 0.55, 0.95
    width = _PAGE_WIDTH - left - right - MARGIN * 0.5
    sheet = Sheet(_PAGE_WIDTH, 4.25, _quoted(figure.token), figure.title, _explaining_lines(figure), caption)
    low, high = _range(figure.values[: max(figure.geometry.valid, 1)], figure.style)
    axes = sheet.axes(left, 0, width, 0.65)
    _waveform(axes, figure.samples, figure.geometry.duration)
    axes.tick_params(labelbottom=False)
    axes = sheet.axes(left, 0.8, width, 1.75)
    _spectrogram(axes, figure, low, high)
    colour_bar(sheet, left + width + 0.16, 0.8, 1.75, figure.style, low, high, _quantity(figure))
    axes = sheet.axes(left, 2.75, width, 1.05)
    draw_curve(axes, figure.values, figure.geometry, low, high, figure.style.interpolation)
    axes.set_ylabel(str(figure.kind))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set_xlabel("time (s)")
    return sheet


def _spectrogram(axes: Axes, figure: TimeMapFigure, low: float, high: float) -> None:
    picture = log_mel(figure.samples, figure.sample_rate, max_frames=_MOST_PIXELS)
    level = picture.values - picture.values.min()
    grey = (level * (225 / max(float(level.max()), 1e-6))).astype(np.uint8)[::-1]  # low bands at the bottom
    columns = max(_LEAST_PIXELS, grey.shape[1])
    pixels = np.asarray(
        Image.fromarray(grey).resize((columns, 320), Image.Resampling.BILINEAR).convert("RGB")
    )
    curve = figure.geometry.to_source(figure.values, columns, figure.style.interpolation)
    values = np.broadcast_to(curve, pixels.shape[:2])
    painted = paint(pixels, values, style_lut(figure.style), low, high, figure.style.opacity)
    bands = len(picture.centres)
    axes.imshow(painted, extent=(0, figure.geometry.duration, 0, bands), interpolation="none", aspect="auto")
    shown = [hertz for hertz in _TICK_HERTZ if picture.centres[0] <= hertz <= picture.centres[-1] * 1.05]
    places = np.interp(shown, picture.centres, np.arange(bands) + 0.5)
    axes.set_yticks(places, [f"{hertz / 1000:g}" for hertz in shown])
    axes.set_ylabel("frequency (kHz)")
    axes.tick_params(labelbottom=False)


def _waveform(axes: Axes, samples: FloatArray, duration: float) -> None:
    bins = min(_WAVE_BINS, max(len(samples), 1))
    starts = np.linspace(0, len(samples), bins, endpoint=False).astype(np.intp)
    high, low = np.maximum.reduceat(samples, starts), np.minimum.reduceat(samples, starts)
    seconds = (np.arange(bins) + 0.5) * (duration / bins)
    axes.fill_between(seconds, low, high, color=GREY, linewidth=0.3, edgecolor=GREY)
    reach = max(float(np.abs(samples).max()), 1e-3) * 1.05
    axes.set_xlim(0, duration)
    axes.set_ylim(-reach, reach)
    axes.set_yticks([])
    quiet(axes)
    axes.spines["left"].set_visible(False)


def draw_curve(
    axes: Axes,
    values: FloatArray,
    geometry: TimeGeometry,
    low: float,
    high: float,
    interpolation: Interpolation = "bilinear",
) -> None:
    """Draw values along time into `axes`, hatched where nothing was heard."""
    count = max(2, min(geometry.valid * 8, 8_000))
    seconds = (np.arange(count) + 0.5) * (geometry.duration / count)
    curve = geometry.to_source(values, count, interpolation)
    axes.fill_between(seconds, np.clip(0, low, high), curve, color=ACCENT, alpha=0.25, linewidth=0)
    axes.plot(seconds, curve, color=ACCENT, linewidth=0.9)
    first, last = geometry.visible
    for start, end in ((0.0, first), (last, geometry.duration)):
        if end - start > 1e-6:
            axes.axvspan(start, end, facecolor="none", edgecolor=FAINT, hatch="////", linewidth=0)
    axes.set_xlim(0, geometry.duration)
    axes.set_ylim(low, high + 0.04 * (high - low))
    quiet(axes)


# --- shared pieces ------------------------------------------------------------------------------------
def colour_bar(
    sheet: Sheet,
    left: float,
    top: float,
    height: float,
    style: MapStyle,
    low: float,
    high: float,
    labels: Sequence[str],
) -> None:
    """A bar with numbers; without a range (NaN) its ends are called by words."""
    axes = sheet.axes(left, top, _BAR, height)
    # many equal columns, because some viewers blur the edges of a picture one pixel wide
    table = np.repeat(style_lut(style)[::-1, None], 32, axis=1)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_xticks([])
    if np.isfinite(low):
        axes.imshow(table, extent=(0, 1, low, high), interpolation="none", aspect="auto")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.set_ylim(low, high)
    else:
        axes.imshow(table, extent=(0, 1, 0, 1), interpolation="none", aspect="auto")
        axes.set_yticks([0, 1], ["against" if style.signed else "0", "largest"])
    axes.set_ylabel(_whole_label(labels, height * 1.1), color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _whole_label(labels: Sequence[str], length: float) -> str:
    """The first of `labels` that two lines of `length` inches hold whole; else the last, cut."""
    for label in labels:
        lines = wrap(label, length, SMALL_SIZE, 2)
        if " ".join(lines) == clean(label):
            return "\n".join(lines)
    return elide(labels[-1], length, SMALL_SIZE)


def _explaining_lines(figure: MapFigure) -> tuple[str, ...]:
    kind = f"{figure.kind} of {figure.score}" if figure.score else str(figure.kind)
    words = [figure.description] if figure.description else [kind]
    # descriptions of methods begin with the kind where it is attention
    if figure.description and not figure.description.lower().startswith(str(figure.kind)):
        words.insert(0, kind)
    if isinstance(figure.geometry, ImageGeometry) and not _sees_all(figure.geometry):
        words.append("hatched: not seen by the model")
    return (" · ".join(words), figure.caveat)


def _sees_all(geometry: ImageGeometry) -> bool:
    top, left, bottom, right = geometry.visible
    height, width = geometry.source
    return top < 0.5 and left < 0.5 and height - bottom < 0.5 and width - right < 0.5


def _token_ranges(figure: TokenStripFigure) -> list[tuple[float, float]]:
    values = figure.values
    if isinstance(figure.geometry, TimeGeometry):
        values = values[:, : max(figure.geometry.valid, 1)]
    if figure.shared_scale:
        return [_range(values, figure.style)] * len(values)
    return [_range(token, figure.style) for token in values]


def _range(values: FloatArray, style: MapStyle) -> tuple[float, float]:
    low, high = colour_range(values, style.signed)
    low = low if style.vmin is None else style.vmin
    high = high if style.vmax is None else style.vmax
    return (low, high) if high > low else (low, low + 1.0)


def style_lut(style: MapStyle) -> Pixels:
    """Colours [256, 3] of a style, of the kind that suits its values."""
    return lut(suited(style.colormap, style.signed))


def _quantity(figure: MapFigure) -> tuple[str, ...]:
    """What the numbers are, and the same in short: the score stands in the header too."""
    kind = str(figure.kind)
    return (f"{kind} ({figure.score})", kind) if figure.score else (kind,)


def range_text(low: float, high: float) -> str:
    """The ends of a scale in words."""
    return f"{low:.2g} to {high:.2g}"


def _quoted(token: str) -> str:
    if "“" in token:  # says already what it quotes: mean of “a”, “b”
        return token
    return f"“{token.strip() or '␣'}”"


def _fit_box(aspect: float, side: float) -> tuple[float, float]:
    """Width and height in inches; pictures thinner than 1 : 5 are drawn wider than they are."""
    aspect = min(max(aspect, 0.2), 5.0)
    return (side, side / aspect) if aspect >= 1 else (side * aspect, side)


def resampled(pixels: Pixels, least: int = _LEAST_PIXELS, most: int = _MOST_PIXELS) -> Pixels:
    """Small pictures enlarged by whole factors, so that maps are smooth on them; large ones reduced."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest < least:
        factor = -(-least // longest)
        return np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
    if longest <= most:
        return pixels
    size = (max(1, round(width * most / longest)), max(1, round(height * most / longest)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
