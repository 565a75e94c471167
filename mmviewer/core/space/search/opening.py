"""Which search a space gets: every vector looked at while there are few, else an index kept on the disk."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.search.approximate import Approximate
from mmviewer.core.space.search.exact import EXACT_LIMIT, Exact
from mmviewer.core.space.unit_rows import CentredRows, UnitRows

_log = logging.getLogger(__name__)

Searcher = Exact | Approximate
_VERSION = 1
_SAMPLED = 1024


def open_search(
    rows: UnitRows, path: Path | None, name: str, progress: Progress = SILENT, limit: int = EXACT_LIMIT
) -> Searcher:
    """Return the search of a space; an index is read from `path`, or made and written there.

    Parameters
    ----------
    rows : UnitRows
    path : Path or None
        Of the index, beside the vectors; None keeps it in memory only. A disk that refuses is no error: the
        index is then made again next time.
    name : str
        What the vectors are: model, weights and preprocessing.
    progress : Progress
    limit : int
        Rows up to which every vector is looked at.
    """
    if len(rows) <= limit:
        return Exact(rows)
    key = built_from(rows, name)
    index = None if path is None else Approximate.restore(path, rows, key, progress)
    if index is not None:
        return index
    index = Approximate.build(rows, progress)
    if path is not None:
        try:
            index.save(path, key)
        except OSError:
            _log.warning("the index of %s cannot be kept", name, exc_info=True)
    return index


def built_from(rows: UnitRows, name: str) -> str:
    """A key that changes with the space, the model, or the vectors that came first."""
    digest = hashlib.sha256(f"{_VERSION} {name} {rows.width}".encode())
    digest.update(np.ascontiguousarray(rows.matrix[:_SAMPLED]).tobytes())
    if isinstance(rows, CentredRows):
        digest.update(rows.centres.tobytes())
    return digest.hexdigest()
