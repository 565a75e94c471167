"""Write a figure as PNG, SVG or PDF, or its numbers as NPZ or CSV (matplotlib without pyplot)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import singledispatch
from io import BytesIO
from threading import Lock
from typing import Any, overload

import matplotlib as mpl

from mmviewer.core.errors import ExportError
from mmviewer.core.figures.arrays import arrays, csv_bytes, npz_bytes, table
from mmviewer.core.figures.draw_average import average_arrays, average_table, draw_average
from mmviewer.core.figures.draw_charts import draw_scatter, draw_scores
from mmviewer.core.figures.draw_maps import draw_image_map, draw_time_map, draw_token_strip
from mmviewer.core.figures.draw_matrix import draw_matrix
from mmviewer.core.figures.draw_what_if import draw_what_if, what_if_arrays, what_if_table
from mmviewer.core.figures.matrix_arrays import matrix_arrays, matrix_table
from mmviewer.core.figures.provenance import caption_line, provenance_json
from mmviewer.core.figures.sheet import Sheet, clean, settings
from mmviewer.core.figures.spec import (
    AnyFigure,
    AverageFigure,
    ImageMapFigure,
    MatrixFigure,
    ScatterFigure,
    ScoreFigure,
    TimeMapFigure,
    TokenStripFigure,
    WhatIfFigure,
)
from mmviewer.core.media.files import display_name, to_path, write_atomically
from mmviewer.core.types import Provenance

FORMATS = ("png", "svg", "pdf", "npz", "csv")
"""Endings that `render` writes."""

_LEAST_DPI, _MOST_DPI = 30, 1200
_MOST_PIXELS = 150_000_000
# matplotlib's settings are global to the process
_ONE_AT_A_TIME = Lock()


@overload
def render(
    figure: AnyFigure, provenance: Provenance, path: None = None, *, dpi: int = 200, caption: bool = True
) -> bytes: ...
@overload
def render(
    figure: AnyFigure,
    provenance: Provenance,
    path: str | os.PathLike[str],
    *,
    dpi: int = 200,
    caption: bool = True,
) -> str: ...
def render(
    figure: AnyFigure,
    provenance: Provenance,
    path: str | os.PathLike[str] | None = None,
    *,
    dpi: int = 200,
    caption: bool = True,
) -> bytes | str:
    """Draw a figure and write it, or return it as PNG.

    Parameters
    ----------
    figure : a figure of `mmviewer.core.figures.spec`
    provenance : Provenance
        Written into the file as metadata (a line of JSON), and as the caption.
    path : path or None
        Where to write; its ending, one of `FORMATS`, says how. An existing file is replaced as a whole.
    dpi : int
        Resolution of a PNG, and of pictures inside of an SVG or PDF.
    caption : bool
        Whether the provenance stands under the figure; it is in the metadata in any case.

    Returns
    -------
    str or bytes
        The path written, or the bytes of a PNG.

    Raises
    ------
    ExportError
        If the ending is unknown, the resolution too high, or the file cannot be written.
    InputError
        If there is nothing to draw.
    """
    if path is None:
        return encode(figure, provenance, "png", dpi=dpi, caption=caption)
    target = to_path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ExportError(
            f"{display_name(target)} has no ending that says how to write it; use one of: "
            f"{', '.join('.' + known for known in FORMATS)}."
        )
    content = encode(figure, provenance, kind, dpi=dpi, caption=caption)
    write_atomically(target, content, ExportError)
    return str(target)


def encode(
    figure: AnyFigure, provenance: Provenance, kind: str, *, dpi: int = 200, caption: bool = True
) -> bytes:
    """The bytes of a file of `kind`, one of `FORMATS`."""
    try:
        if kind == "npz":
            return npz_bytes(figure, provenance)
        if kind == "csv":
            return csv_bytes(figure)
        return _draw(figure, provenance, kind, dpi, caption)
    except MemoryError as error:
        raise ExportError("The figure needs more memory than is free; choose fewer dots per inch.") from error


def _draw(figure: AnyFigure, provenance: Provenance, kind: str, dpi: int, caption: bool) -> bytes:
    if not _LEAST_DPI <= dpi <= _MOST_DPI:
        raise ExportError(f"{dpi} dots per inch are not possible; choose {_LEAST_DPI} to {_MOST_DPI}.")
    line = caption_line(provenance)
    with _ONE_AT_A_TIME, warnings.catch_warnings(), mpl.rc_context(settings()):
        # a script without a font on this computer is drawn as boxes; the text in SVG is whole
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        sheet = draw(figure, line if caption else "")
        width, height = sheet.width, sheet.height
        if kind == "png" and width * height * dpi * dpi > _MOST_PIXELS:
            raise ExportError(
                f"At {dpi} dots per inch this figure would have more than {_MOST_PIXELS // 1_000_000} "
                "megapixels; choose fewer."
            )
        buffer = BytesIO()
        metadata = _METADATA[kind](clean(_title(figure)), clean(line), provenance)
        sheet.figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


@singledispatch
def draw(figure: AnyFigure, caption: str) -> Sheet:
    """Lay a figure out on a sheet."""
    raise TypeError(f"{type(figure).__name__} is no figure that can be drawn")


draw.register(ImageMapFigure, draw_image_map)
draw.register(TimeMapFigure, draw_time_map)
draw.register(TokenStripFigure, draw_token_strip)
draw.register(ScoreFigure, draw_scores)
draw.register(ScatterFigure, draw_scatter)
draw.register(MatrixFigure, draw_matrix)
arrays.register(MatrixFigure, matrix_arrays)
table.register(MatrixFigure, matrix_table)
draw.register(WhatIfFigure, draw_what_if)
arrays.register(WhatIfFigure, what_if_arrays)
table.register(WhatIfFigure, what_if_table)
draw.register(AverageFigure, draw_average)
arrays.register(AverageFigure, average_arrays)
table.register(AverageFigure, average_table)


def _title(figure: AnyFigure) -> str:
    shown = getattr(figure, "token", "") or getattr(figure, "text", "")
    return " · ".join(part for part in (shown, figure.title) if part) or "mmviewer figure"


def _png_metadata(title: str, line: str, provenance: Provenance) -> dict[str, Any]:
    return {
        "Title": title,
        "Description": line,
        "Software": f"mmviewer {provenance.version}",
        "mmviewer": provenance_json(provenance),
    }


def _svg_metadata(title: str, line: str, provenance: Provenance) -> dict[str, Any]:
    return {
        "Title": title,
        "Source": line,
        "Description": provenance_json(provenance),
        "Creator": f"mmviewer {provenance.version}",
        "Date": provenance.created,
    }


def _pdf_metadata(title: str, line: str, provenance: Provenance) -> dict[str, Any]:
    return {
        "Title": title,
        "Subject": line,
        "Keywords": provenance_json(provenance),
        "Creator": f"mmviewer {provenance.version}",
    }


_METADATA: dict[str, Callable[[str, str, Provenance], dict[str, Any]]] = {
    "png": _png_metadata,
    "svg": _svg_metadata,
    "pdf": _pdf_metadata,
}
