"""Where the items of a collection come from: plain values that are kept in the catalogue as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from mmviewer.core.errors import InputError
from mmviewer.core.media.files import to_path


@dataclass(frozen=True, slots=True)
class FolderSource:
    """All pictures, sounds and texts of a folder and its subfolders.

    Parameters
    ----------
    path : str
        Absolute.
    watch : bool
        Whether changes in it shall be followed while the app runs.
    """

    path: str
    watch: bool = False


@dataclass(frozen=True, slots=True)
class ListSource:
    """Files that a list names, a path in each line.

    Parameters
    ----------
    path : str
        Of the list.
    root : str, optional
        Where relative paths start, by default the folder of the list. If it is given, what leads out of it is
        refused.
    """

    path: str
    root: str | None = None


@dataclass(frozen=True, slots=True)
class TableSource:
    """A CSV, TSV or Parquet file with paths, texts or both in each line; further columns are kept.

    Of both in one line the file and the text are two items that belong together. Columns that are not named
    here are found by the usual names, such as "path", "caption", "id", "x" and "y".

    Parameters
    ----------
    path : str
    path_column, text_column, id_column, x_column, y_column : str, optional
    root : str, optional
        As of `ListSource`.
    """

    path: str
    path_column: str | None = None
    text_column: str | None = None
    id_column: str | None = None
    x_column: str | None = None
    y_column: str | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingsSource:
    """Own embeddings: NPY, NPZ, safetensors, a Parquet file, or a folder of Parquet shards.

    Vectors whose ids or paths name items of other sources become theirs; others are items of their own.
    They are kept with length 1. Columns beside them are kept as those of a table.

    Parameters
    ----------
    path : str
    label : str
        What to call the space; by default the name of the file.
    vectors : str, optional
        Array, tensor or column of the vectors; found by itself where there is one only.
    ids : str, optional
        A file with an id in each line, or an NPY of ids, for formats that have none.
    path_column, id_column, x_column, y_column : str, optional
        As of `TableSource`.
    root : str, optional
        As of `ListSource`.
    """

    path: str
    label: str = ""
    vectors: str | None = None
    ids: str | None = None
    path_column: str | None = None
    id_column: str | None = None
    x_column: str | None = None
    y_column: str | None = None
    root: str | None = None


SourceSpec = FolderSource | ListSource | TableSource | EmbeddingsSource

_TYPES: dict[str, type[SourceSpec]] = {
    "folder": FolderSource,
    "list": ListSource,
    "table": TableSource,
    "embeddings": EmbeddingsSource,
}


@dataclass(frozen=True, slots=True)
class Source:
    """A source that was added to a collection.

    Parameters
    ----------
    id : int
    spec : SourceSpec
    scanned : float or None
        When it was last looked through, seconds since the epoch.
    notes : tuple of str
        What was said then.
    """

    id: int
    spec: SourceSpec
    scanned: float | None = None
    notes: tuple[str, ...] = ()


def absolute(path: str | Path) -> str:
    """An absolute path for a source.

    Raises
    ------
    MediaError
        It is no path on this computer.
    """
    return str(to_path(path))


def located(spec: SourceSpec) -> SourceSpec:
    """The source with absolute paths.

    Raises
    ------
    MediaError
        One of them is no path on this computer.
    """
    spec = replace(spec, path=absolute(spec.path))
    if not isinstance(spec, FolderSource) and spec.root is not None:
        spec = replace(spec, root=absolute(spec.root))
    if isinstance(spec, EmbeddingsSource) and spec.ids is not None:
        spec = replace(spec, ids=absolute(spec.ids))
    return spec


def same_place(spec: SourceSpec) -> tuple[SourceSpec, SourceSpec]:
    """The source, and what stands for the same items: whether a folder is watched makes no other of it."""
    return spec, replace(spec, watch=not spec.watch) if isinstance(spec, FolderSource) else spec


def to_json(spec: SourceSpec) -> str:
    """A source as it is kept; equal sources give equal texts."""
    name = next(name for name, kind in _TYPES.items() if type(spec) is kind)
    return json.dumps({"type": name, **asdict(spec)}, sort_keys=True)


def from_json(text: str) -> SourceSpec:
    """The source that `to_json` was given.

    Raises
    ------
    InputError
        It is none that this version knows.
    """
    try:
        values = json.loads(text)
        kind = _TYPES[values.pop("type")]
        known = {each.name for each in fields(kind)}
        spec = kind(**{name: value for name, value in values.items() if name in known})
        if not isinstance(spec.path, str) or not all(_is_option(value) for value in asdict(spec).values()):
            raise TypeError("an option is of another kind")
        return spec
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            "A source of this collection cannot be understood; remove and add it again."
        ) from error


def _is_option(value: object) -> bool:
    return value is None or isinstance(value, str | bool)
