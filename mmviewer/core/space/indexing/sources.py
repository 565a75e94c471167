"""What kind of source a path is."""

from __future__ import annotations

from pathlib import Path

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import display_name, to_path, unreadable
from mmviewer.core.space.collection.sources import (
    EmbeddingsSource,
    FolderSource,
    ListSource,
    SourceSpec,
    TableSource,
)

_TABLES = frozenset((".csv", ".tsv", ".parquet"))
_LISTS = frozenset((".txt", ".lst", ".list"))
_ARRAYS = frozenset((".npy", ".npz", ".safetensors"))


def source_at(
    location: str | Path,
    *,
    watch: bool = False,
    embeddings: bool = False,
    path_column: str | None = None,
    text_column: str | None = None,
    ids: str | None = None,
    label: str = "",
) -> SourceSpec:
    """The source that a path names: a folder, a list of files, a table, or own embeddings.

    Parameters
    ----------
    location : path
    watch : bool
        Whether changes in a folder shall be followed.
    embeddings : bool
        Whether a Parquet file, or a folder of them, holds vectors.
    path_column, text_column : str, optional
        Of a table; found by their usual names.
    ids : str, optional
        File with the ids of vectors that come without any.
    label : str
        What to call a space of own embeddings.

    Raises
    ------
    InputError, MediaError
        It is not there, or none of these.
    """
    path = to_path(location)
    name, ending = display_name(path), path.suffix.lower()
    try:
        folder = path.is_dir()
        path.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if embeddings or (not folder and ending in _ARRAYS):
        return EmbeddingsSource(str(path), label=label, ids=ids, path_column=path_column)
    if folder:
        return FolderSource(str(path), watch=watch)
    if ending in _TABLES:
        return TableSource(str(path), path_column=path_column, text_column=text_column)
    if ending in _LISTS:
        return ListSource(str(path))
    raise InputError(
        f"{name} is no source: give a folder, a list of files (.txt), a table (.csv, .tsv, .parquet), or "
        "vectors (.npy, .npz, .safetensors, or Parquet with --embeddings)."
    )
