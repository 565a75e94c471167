"""The numbers behind a matrix of maps, as NPZ and CSV."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmviewer.core.figures.arrays import Arrays, Row, strings
from mmviewer.core.figures.spec import MatrixCell, MatrixFigure
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry


def matrix_arrays(figure: MatrixFigure) -> Arrays:
    """One array for each map, named after row and column, with the names and scales of all.

    ``grid_0_2`` is the map of the first row's third column, over patches or positions. ``ranges`` [R, C, 2]
    holds the ends of the colour scales, NaN where there is no map; ``failures`` [R, C] says why.
    """
    named: Arrays = {
        "rows": strings(figure.rows),
        "columns": strings(figure.columns),
        "items": _table(figure, [figure.items[cell.item].name for cell in _all(figure)]),
        "units": _table(figure, [cell.unit for cell in _all(figure)]),
        "failures": _table(figure, [cell.failure for cell in _all(figure)]),
        "ranges": np.array(
            [(cell.low, cell.high) if _made(cell) else (np.nan, np.nan) for cell in _all(figure)], np.float32
        ).reshape(len(figure.rows), len(figure.columns), 2),
    }
    for row, column, cell in _placed(figure):
        if cell.values is not None and _made(cell):
            named[f"grid_{row}_{column}"] = cell.values
    return named


def matrix_table(figure: MatrixFigure) -> tuple[tuple[str, ...], Iterator[Row]]:
    """One line for each patch or position of each map."""
    header = ("row", "column", "item", "unit", "patch_row", "patch_column", "start", "end", "value")
    return header, _rows(figure)


def _rows(figure: MatrixFigure) -> Iterator[Row]:
    for row, column, cell in _placed(figure):
        if cell.values is None or not _made(cell):
            continue
        names = (figure.rows[row], figure.columns[column], figure.items[cell.item].name, cell.unit)
        if isinstance(cell.geometry, TimeGeometry):
            for position in range(cell.geometry.valid):
                start, end = cell.geometry.span(position)
                yield (*names, "", position, f"{start:.4f}", f"{end:.4f}", f"{cell.values[position]:.8g}")
        elif isinstance(cell.geometry, ImageGeometry):
            for at in np.ndindex(*cell.values.shape):
                yield (*names, *at, "", "", f"{cell.values[at]:.8g}")


def _placed(figure: MatrixFigure) -> Iterator[tuple[int, int, MatrixCell]]:
    for row, cells in enumerate(figure.cells):
        for column, cell in enumerate(cells):
            yield row, column, cell


def _all(figure: MatrixFigure) -> list[MatrixCell]:
    return [cell for cells in figure.cells for cell in cells]


def _made(cell: MatrixCell) -> bool:
    return cell.values is not None and not cell.failure


def _table(figure: MatrixFigure, words: list[str]) -> np.ndarray:
    return strings(words).reshape(len(figure.rows), len(figure.columns))
