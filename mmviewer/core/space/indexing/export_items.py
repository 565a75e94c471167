"""Items of a collection as a table, by the ending of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import display_name
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import Catalogue, Status
from mmviewer.core.space.collection.export import FACTS


def export_items(
    catalogue: Catalogue,
    path: str | Path,
    rows: NDArray[np.int64] | None = None,
    columns: Sequence[str] = (),
    space_id: str = "",
    progress: Progress = SILENT,
) -> int:
    """Write items as CSV or Parquet and return how many.

    Parameters
    ----------
    catalogue : Catalogue
    path : path
        Ending in .csv or .parquet.
    rows : int64 array, optional
        By default all that are not removed.
    columns : sequence of str
        By default all facts and columns.
    space_id : str
        Whose vectors are written too, in Parquet; none if empty.
    progress : Progress

    Raises
    ------
    InputError
        Another ending, vectors in a CSV, or a column or space that is not there.
    ExportError
        The file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise InputError(f"{display_name(path)} must end in .csv or .parquet.")
    if space_id and ending == ".csv":
        raise InputError("Vectors are written as Parquet only; choose a name that ends in .parquet.")
    chosen = np.flatnonzero(catalogue.table().status != Status.REMOVED) if rows is None else rows
    named = list(columns) or [*FACTS, *(column.name for column in catalogue.columns())]
    if ending == ".parquet":
        catalogue.export_parquet(chosen, named, path, space_id or None, progress)
    else:
        catalogue.export_csv(chosen, named, path, progress)
    return len(chosen)
