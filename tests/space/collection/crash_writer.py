"""Kills a writer at random moments and looks at what it left; prints one JSON object.

``python crash_writer.py FOLDER KILLS``. Each writer is forked from this process, which has no threads and no
torch, so that a kill costs milliseconds. A writer scans a folder, then embeds what is pending in batches.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmviewer.core.space.collection import Catalogue, FolderSource, SpaceInfo

BATCH = 16
FILES = 200 * BATCH  # whole batches only, so that every label is on BATCH rows
WIDTH = 96


def content_of(row: int) -> str:
    """Every tenth item holds what the one before it holds."""
    return hashlib.blake2b(b"%d" % (row - (row % 10 == 9)), digest_size=16).hexdigest()


def vector_of(content: str) -> np.ndarray:
    """The vector that a content must have: none other."""
    seed = int(content[:8], 16)
    drawn = np.random.default_rng(seed).normal(size=WIDTH)
    return (drawn / np.linalg.norm(drawn)).astype(np.float16)


def space(catalogue: Catalogue) -> SpaceInfo:
    return catalogue.add_space(model_id="m", label="model", width=WIDTH, weights_hash="w", preprocessing="p")


def write(folder: Path, files: Path, begun: int | None = None) -> None:
    """Scan, then embed what is pending, as an indexer does; tells on the pipe `begun` when it embeds."""
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        info = space(catalogue)
        pending = catalogue.pending(info.id)
        if begun is not None:
            os.write(begun, b"!")
        for start in range(0, len(pending), BATCH):
            rows = pending[start : start + BATCH]
            contents = [content_of(row) for row in rows.tolist()]
            with catalogue.begin_batch() as batch:
                batch.set_content(rows, contents)
                batch.append_vectors(info.id, contents, np.stack([vector_of(each) for each in contents]))
            if start % (8 * BATCH) == 0:
                catalogue.set_labels(rows, f"from {rows[0]}")


def kill_once(folder: Path, files: Path, seconds: float, *, embedding: bool) -> bool:
    """Fork a writer and end it `seconds` after its start, or after it began to embed; was it at work?"""
    hears, tells = os.pipe()
    child = os.fork()
    if not child:
        try:
            write(folder, files, tells)
        finally:
            os._exit(0)
    os.close(tells)
    if embedding:
        os.read(hears, 1)
    time.sleep(seconds)
    os.close(hears)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def look(folder: Path) -> dict[str, int]:
    """Open what was left as the next writer would; every committed vector must be right."""
    tail = sum(each.stat().st_size for each in folder.glob("vectors/*.f16"))
    with Catalogue.open(folder, create=True) as catalogue:
        info = space(catalogue)
        report = catalogue.verify()
        assert report.sound, report.problems
        vectors = catalogue.vectors(info.id)
        rows = vectors.rows()
        held = {
            row: catalogue.items([row])[0].content_hash for row in rows[:: max(len(rows) // 20, 1)].tolist()
        }
        for row, content in held.items():
            assert content == content_of(row), row
            np.testing.assert_array_equal(vectors.matrix[vectors.index[row]], vector_of(content_of(row)))
        codes, names = catalogue.labels()
        sizes = np.bincount(codes[codes >= 0], minlength=len(names))
        assert (sizes == BATCH).all(), sizes  # a label is on all rows of its batch or on none
        return {"rows": len(rows), "items": catalogue.count, "cut": tail > info.count * WIDTH * 2}


def main(place: Path, kills: int) -> dict[str, object]:
    files, folder = place / "files", place / "collection"
    files.mkdir()
    for number in range(FILES):
        (files / f"{number:05}.txt").touch()
    chance = random.Random(6)
    seen = [{"rows": 0, "items": 0, "cut": False}]
    at_work = 0
    for number in range(kills):
        embedding = number % 3 > 0
        at_work += kill_once(folder, files, chance.uniform(0.0, 0.15), embedding=embedding)
        seen.append(look(folder))
        assert seen[-1]["rows"] >= seen[-2]["rows"], "a committed batch was lost"
    write(folder, files)
    with Catalogue.open(folder) as catalogue:
        vectors = catalogue.vectors(space(catalogue).id)
        right = np.stack([vector_of(content_of(row)) for row in range(FILES)])
        whole = bool((vectors.take(np.arange(FILES)) == right.astype(np.float32)).all())
        count = vectors.info.count
    return {
        "at_work": at_work,
        "rounds_with_progress": sum(a["rows"] < b["rows"] for a, b in pairwise(seen)),
        "tails_cut": sum(each["cut"] for each in seen),
        "whole": whole,
        "vectors": count,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
