"""A similarity matrix as a table: names in the first line and the first column."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mmviewer.core.media.files import to_path
from mmviewer.core.space.collection.export import printable, replacing
from mmviewer.core.types import FloatArray


def write_matrix(path: str | Path, names: Sequence[str], values: FloatArray) -> None:
    """Write cosines [M, M] as CSV in UTF-8; the file is whole or not there.

    Raises
    ------
    ExportError
        It cannot be written.
    """
    shown = [printable(name) for name in names]
    with replacing(to_path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *shown])
        for name, line in zip(shown, values.tolist(), strict=True):
            writer.writerow([name, *(f"{value:.6g}" for value in line)])
