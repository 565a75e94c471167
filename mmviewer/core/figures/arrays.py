"""The numbers behind a figure, as NPZ and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import singledispatch
from io import BytesIO, StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.figures.provenance import provenance_json
from mmviewer.core.figures.spec import (
    AnyFigure,
    ImageMapFigure,
    ScatterFigure,
    ScoreFigure,
    TimeMapFigure,
    TokenStripFigure,
)
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import Provenance

Arrays = dict[str, NDArray[Any]]
Row = Iterable[Any]

_MOST_MAP_VALUES = 200_000_000


def npz_bytes(figure: AnyFigure, provenance: Provenance) -> bytes:
    """A compressed NPZ of the figure's arrays and ``provenance``, a string of JSON; it holds no pickles.

    Maps have ``grid`` (over patches or positions), ``map`` (float32 at the original's size, or one value
    per sample; NaN where the model saw nothing) and ``tokens``. Of several tokens, `grid` has one map for
    each, and `map` too as long as that is less than 200 million values, else their mean.
    """
    buffer = BytesIO()
    named: dict[str, Any] = arrays(figure) | {"provenance": np.array(provenance_json(provenance))}
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def csv_bytes(figure: AnyFigure) -> bytes:
    """A UTF-8 table with a header line: one row per label, patch, position or point."""
    header, rows = table(figure)
    buffer = StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")


@singledispatch
def arrays(figure: AnyFigure) -> Arrays:
    """The arrays of a figure by name."""
    raise TypeError(f"no arrays are known for {type(figure).__name__}")


@singledispatch
def table(figure: AnyFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    """Header and rows of a figure's CSV."""
    raise TypeError(f"no table is known for {type(figure).__name__}")


@arrays.register
def _(figure: ImageMapFigure) -> Arrays:
    return {
        "grid": figure.grid,
        "map": figure.geometry.to_source(figure.grid, figure.style.interpolation),
        "tokens": strings([figure.token]),
    }


@arrays.register
def _(figure: TimeMapFigure) -> Arrays:
    return {
        "grid": figure.values,
        "map": figure.geometry.to_source(figure.values, len(figure.samples), figure.style.interpolation),
        "seconds": _position_edges(figure),
        "tokens": strings([figure.token]),
    }


@arrays.register
def _(figure: TokenStripFigure) -> Arrays:
    named: Arrays = {"grid": figure.values, "tokens": strings(figure.tokens)}
    geometry = figure.geometry
    if isinstance(geometry, ImageGeometry):
        size = geometry.source[0] * geometry.source[1]
        whole = (
            [figure.values.mean(axis=0)] if size * len(figure.tokens) > _MOST_MAP_VALUES else figure.values
        )
        named["map"] = np.stack([geometry.to_source(grid, figure.style.interpolation) for grid in whole])
    else:
        named["seconds"] = _position_edges(figure)
    if figure.probabilities:
        probabilities = [np.nan if value is None else value for value in figure.probabilities]
        named["probabilities"] = np.array(probabilities, dtype=np.float32)
    return named


@arrays.register
def _(figure: ScoreFigure) -> Arrays:
    return {
        "probabilities": figure.probabilities,
        "similarities": figure.similarities,
        "labels": strings(figure.labels),
        "items": strings(figure.items),
        "templates": strings(figure.templates),
    }


@arrays.register
def _(figure: ScatterFigure) -> Arrays:
    return {
        "coordinates": figure.coordinates,
        "names": strings(figure.names),
        "modalities": strings([str(modality) for modality in figure.modalities]),
    }


@table.register
def _(figure: ImageMapFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    header = ("token", "row", "column", "top", "left", "bottom", "right", "value")
    return header, _patch_rows(figure.geometry, figure.token, figure.grid)


@table.register
def _(figure: TimeMapFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    return ("token", "position", "start", "end", "value"), _position_rows(figure, figure.token, figure.values)


@table.register
def _(figure: TokenStripFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    pairs = list(zip(figure.tokens, figure.values, strict=True))
    geometry = figure.geometry
    if isinstance(geometry, ImageGeometry):
        header = ("token", "row", "column", "top", "left", "bottom", "right", "value")
        return header, (row for token, grid in pairs for row in _patch_rows(geometry, token, grid))
    rows = (row for token, values in pairs for row in _position_rows(figure, token, values))
    return ("token", "position", "start", "end", "value"), rows


@table.register
def _(figure: ScoreFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    rows = (
        (item, label, _number(figure.probabilities[i, j]), _number(figure.similarities[i, j]))
        for i, item in enumerate(figure.items)
        for j, label in enumerate(figure.labels)
    )
    return ("item", "label", "probability", "similarity"), rows


@table.register
def _(figure: ScatterFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    rows = (
        (name, str(modality), _number(x), _number(y))
        for name, modality, (x, y) in zip(figure.names, figure.modalities, figure.coordinates, strict=True)
    )
    return ("name", "modality", "x", "y"), rows


def _patch_rows(geometry: ImageGeometry, token: str, grid: NDArray[np.float32]) -> Iterator[Row]:
    for row, column in np.ndindex(*grid.shape):
        box = (f"{edge:.2f}" for edge in geometry.cell_box(row, column))
        yield (token, row, column, *box, _number(grid[row, column]))


def _position_rows(
    figure: TimeMapFigure | TokenStripFigure, token: str, values: NDArray[np.float32]
) -> Iterator[Row]:
    geometry = figure.geometry
    assert not isinstance(geometry, ImageGeometry)
    for index in range(geometry.valid):
        start, end = geometry.span(index)
        yield (token, index, f"{start:.4f}", f"{end:.4f}", _number(values[index]))


def _position_edges(figure: TimeMapFigure | TokenStripFigure) -> NDArray[np.float64]:
    geometry = figure.geometry
    assert not isinstance(geometry, ImageGeometry)
    return np.array([geometry.start + index * geometry.step for index in range(geometry.positions + 1)])


def strings(values: Iterable[str]) -> NDArray[np.str_]:
    """Texts as an array that needs no pickle."""
    return np.array([value.encode("utf-8", "replace").decode() for value in values], dtype=np.str_)


def _number(value: Any) -> str:
    return f"{float(value):.8g}"
