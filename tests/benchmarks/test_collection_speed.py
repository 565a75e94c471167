"""A collection of a million items: ``pytest tests/benchmarks/test_collection_speed.py --benchmark-only``.

The yardstick is SQLite itself: one plain pass over the same million rows, in the same run. A thousand of the
items are broken.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmviewer.core.space.collection import Catalogue, FolderSource, Status
from mmviewer.core.space.collection.ledger import KINDS_SERIES, SOURCES_SERIES, STATUS_SERIES

COUNT = 1_000_000
WIDTH = 64
BROKEN = 1000
ROUNDS = 5

_ITEMS = """
INSERT INTO items (row, source, key, is_file, size, modified, hash, reason)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ? - 1)
SELECT n, ?, printf('folder %04d/picture %07d.jpg', n / 1000, n), 1, 100000 + n, 1700000000000000000 + n,
  CAST(printf('%016x', n) AS BLOB), '' FROM numbers
"""
_VECTORS = "INSERT INTO vectors (space, hash, position) SELECT 1, hash, row FROM items ORDER BY hash"


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million pictures with a vector each, laid down as the scanner and the indexer do."""
    place = tmp_path_factory.mktemp("million")
    rows = np.arange(COUNT)
    with Catalogue.open(place / "collection", create=True) as catalogue:
        source = catalogue.add_source(FolderSource(str(place)))
        catalogue.add_space(model_id="m", label="m", width=WIDTH, weights_hash="w", preprocessing="p")
        ledger = catalogue._ledger
        status = np.full(COUNT, Status.READY, np.uint8)
        status[:: COUNT // BROKEN] = Status.FAILED
        with ledger.writing():
            ledger.database.execute(_ITEMS, (COUNT, source.id))
            ledger.database.execute(_VECTORS)
            ledger.database.execute("UPDATE spaces SET count = ?", (COUNT,))
            ledger.series(*KINDS_SERIES).set(rows, 0)
            ledger.series(*STATUS_SERIES).set(rows, status)
            ledger.series(*SOURCES_SERIES).set(rows, source.id)
            ledger.index(1).set(rows, rows)
            info = ledger.spaces()[1]
            ledger.file(info).append(0, np.ones((COUNT, WIDTH), np.float16))
    return place / "collection"


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def opened(folder: Path) -> None:
    """All that the map needs: kinds, status, sources and where the vectors are."""
    with Catalogue.open(folder, readonly=True) as catalogue:
        assert len(catalogue.table()) == COUNT
        vectors = catalogue.vectors(catalogue.spaces()[0].id)
        assert vectors.matrix.shape == (COUNT, WIDTH)
        assert int(vectors.index[-1]) == COUNT - 1


def plain(folder: Path) -> None:
    """One plain pass of SQLite over the items."""
    connection = sqlite3.connect(folder / "catalogue.sqlite")
    assert connection.execute("SELECT count(*) FROM items WHERE size > 0").fetchone() == (COUNT,)
    connection.close()


def ratio(benchmark, ours: Callable[[], object], yardstick: Callable[[], object]) -> float:  # type: ignore[no-untyped-def]
    """Median of ours over the yardstick's, in turns; the figures go into the report."""
    pairs = [(seconds(ours), seconds(yardstick)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    benchmark.extra_info.update(ours_s=mine, yardstick_s=theirs, ratio=mine / theirs)
    benchmark.pedantic(ours, rounds=1)
    return mine / theirs


def test_opening_a_million_items(benchmark, million: Path) -> None:  # type: ignore[no-untyped-def]
    """Wanted: two seconds. It reads arrays in blocks, so it takes less than one pass over the rows."""
    assert ratio(benchmark, lambda: opened(million), lambda: plain(million)) < 1.0


def test_listing_a_thousand_failures_among_a_million(benchmark, million: Path) -> None:  # type: ignore[no-untyped-def]
    def failures() -> None:
        with Catalogue.open(million, readonly=True) as catalogue:
            assert sum(1 for _ in catalogue.failures()) == BROKEN

    assert ratio(benchmark, failures, lambda: plain(million)) < 3.0


def test_a_commit_does_not_grow_with_the_collection(benchmark, million: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """64 contents in a million items against 64 in a thousand."""
    (tmp_path / "files").mkdir()
    for number in range(1000):
        (tmp_path / "files" / f"{number}.txt").touch()
    with Catalogue.open(million) as large, Catalogue.open(tmp_path / "small", create=True) as small:
        small.scan(small.add_source(FolderSource(str(tmp_path / "files"))).id)
        small.add_space(model_id="m", label="m", width=WIDTH, weights_hash="w", preprocessing="p")
        turn = iter(range(10_000))

        def commit(catalogue: Catalogue) -> None:
            start = 64 * (next(turn) % 15)
            hashes = [f"{1000 + next(turn) * 64 + each:032x}" for each in range(64)]
            with catalogue.begin_batch() as batch:
                batch.set_content(range(start, start + 64), hashes)
                batch.append_vectors(catalogue.spaces()[0].id, hashes, np.ones((64, WIDTH)))

        assert ratio(benchmark, lambda: commit(large), lambda: commit(small)) < 4.0
