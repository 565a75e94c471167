"""Look items up in the catalogue."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmviewer.core.media.files import display_name
from mmviewer.core.space.collection.columns import Columns
from mmviewer.core.space.collection.ledger import KINDS_SERIES, STATUS_SERIES, Ledger
from mmviewer.core.space.collection.records import from_stored
from mmviewer.core.space.collection.sources import FolderSource, Source
from mmviewer.core.space.collection.types import KINDS, CollectionItem, Rows, Status

_NAME_LETTERS = 60
_FIELDS = "row, source, key, is_file, text, hash, size, modified, reason"


def items(ledger: Ledger, rows: Rows, sources: Sequence[Source]) -> list[CollectionItem]:
    """The items of `rows`, in that order; call inside `Database.reading`."""
    roots = _roots(sources)
    kinds, states = (ledger.series(*each).at(rows) for each in (KINDS_SERIES, STATUS_SERIES))
    found = ledger.database.execute(
        f"SELECT {_FIELDS} FROM items WHERE row IN (SELECT value FROM json_each(?))",  # noqa: S608 - our own names
        (json.dumps(rows.tolist()),),
    )
    facts = {each[0]: each for each in found}
    extras = Columns(ledger).extras(rows)
    return [
        _item(facts[row], roots, int(kind), int(state), extra)
        for row, kind, state, extra in zip(rows.tolist(), kinds, states, extras, strict=True)
    ]


def paths(ledger: Ledger, rows: Rows, sources: Sequence[Source]) -> list[tuple[int, str]]:
    """Row and absolute path of those of `rows` that are files, in order; call inside `Database.reading`."""
    roots = _roots(sources)
    found = ledger.database.execute(
        "SELECT row, source, key FROM items WHERE is_file AND row IN (SELECT value FROM json_each(?))",
        (json.dumps(rows.tolist()),),
    )
    return [(row, _path(roots, source, from_stored(key))) for row, source, key in found]


def _roots(sources: Sequence[Source]) -> dict[int, str]:
    return {each.id: each.spec.path for each in sources if isinstance(each.spec, FolderSource)}


def _path(roots: Mapping[int, str], source: int, key: str) -> str:
    return os.path.join(roots[source], key) if source in roots else key  # noqa: PTH118


def _item(
    facts: Sequence[Any], roots: Mapping[int, str], kind: int, state: int, extra: Mapping[str, str | float]
) -> CollectionItem:
    row, source, stored, is_file, text, content, size, modified, reason = facts
    key = from_stored(stored)
    path = _path(roots, source, key) if is_file else None
    return CollectionItem(
        row,
        display_name(key) if text is None else _beginning(text),
        path,
        KINDS[kind] if kind < len(KINDS) else None,
        text,
        content.hex() if content else None,
        Status(state),
        reason,
        source,
        size,
        modified / 1e9,
        extra,
    )


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * _NAME_LETTERS].split())
    return line if len(line) <= _NAME_LETTERS else f"{line[: _NAME_LETTERS - 1]}…"


def find(ledger: Ledger, text: str, limit: int) -> Rows:
    """Rows whose key or text contains `text`, case of ASCII letters apart; call inside `Database.reading`."""
    pattern = "%" + "".join(f"\\{each}" if each in "\\%_" else each for each in text) + "%"
    states = ledger.series(*STATUS_SERIES)
    found = ledger.database.execute(
        "SELECT row FROM items WHERE key LIKE ? ESCAPE '\\' OR text LIKE ? ESCAPE '\\' ORDER BY row",
        (pattern, pattern),
    )
    rows: list[int] = []
    for (row,) in found:
        if states.at(np.array([row]))[0] != Status.REMOVED:
            rows.append(row)
        if len(rows) >= limit:
            break
    return np.array(rows, np.int64)
