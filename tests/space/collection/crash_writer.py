"""Kills a writer at random points and looks at what it left; prints one JSON object.

``python crash_writer.py FOLDER KILLS``. Each writer is forked from this process, which has no threads and no
torch, so that a kill costs milliseconds. A writer scans a folder, then embeds what is pending in batches.
Before each kill the folder grows, so that however fast the machine is there is work to be killed at. Two of
three writers end themselves at a random step (a function's call or return) of those that an undisturbed
writer was seen to take; one is ended from outside at a random moment, which falls within a system's call too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmviewer.core.space.collection import Catalogue, FolderSource, SpaceInfo

BATCH = 16
NEW_FILES = 8 * BATCH  # for each kill; whole batches only, so that every label is on BATCH rows
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


def write(folder: Path, files: Path, embeds: Callable[[], object] = lambda: None) -> None:
    """Scan, then embed what is pending, as an indexer does; `embeds` is called between the two."""
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        info = space(catalogue)
        pending = catalogue.pending(info.id)
        embeds()
        for start in range(0, len(pending), BATCH):
            rows = pending[start : start + BATCH]
            contents = [content_of(row) for row in rows.tolist()]
            with catalogue.begin_batch() as batch:
                batch.set_content(rows, contents)
                batch.append_vectors(info.id, contents, np.stack([vector_of(each) for each in contents]))
            if start % (8 * BATCH) == 0:
                catalogue.set_labels(rows, f"from {rows[0]}")


def end_after(steps: int) -> None:
    """Kill this process at the call or return, of Python's functions or of C's, that is `steps` from now."""
    left = itertools.count(steps, -1)

    def step(*_: object) -> None:
        if next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(step)


def count_steps(folder: Path, files: Path) -> tuple[int, int]:
    """The steps of an undisturbed writer: of its scan, and of its batches."""
    steps = itertools.count()
    after_scan: list[int] = []

    def step(*_: object) -> None:
        next(steps)

    sys.setprofile(step)
    write(folder, files, lambda: after_scan.append(next(steps)))
    sys.setprofile(None)
    return after_scan[0], next(steps) - after_scan[0]


def forked(work: Callable[[], None]) -> int:
    """The process that does `work` and ends."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


def was_killed(child: int) -> bool:
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_at_a_step(folder: Path, files: Path, steps: int, *, embedding: bool) -> bool:
    """A writer that ends `steps` after its start, or after it began to embed; was it at work?"""

    def work() -> None:
        if embedding:
            write(folder, files, lambda: end_after(steps))
        else:
            end_after(steps)
            write(folder, files)

    return was_killed(forked(work))


def kill_at_a_moment(folder: Path, files: Path, seconds: float) -> bool:
    """A writer that is ended from outside, `seconds` after it began to embed; was it at work?"""
    hears, tells = os.pipe()
    child = forked(lambda: write(folder, files, lambda: os.write(tells, b"!")))
    os.close(tells)
    os.read(hears, 1)
    time.sleep(seconds)
    os.close(hears)
    os.kill(child, signal.SIGKILL)
    return was_killed(child)


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


def grow(files: Path, count: int) -> None:
    """Add NEW_FILES to the `count` that the folder holds."""
    for number in range(count, count + NEW_FILES):
        (files / f"{number:05}.txt").touch()


def main(place: Path, kills: int) -> dict[str, object]:
    files, folder = place / "files", place / "collection"
    files.mkdir()
    chance = random.Random(6)
    grow(files, 0)
    write(folder, files)  # what is done once only, as importing, is done here
    grow(files, NEW_FILES)
    scan, batches = count_steps(folder, files)
    seen = [look(folder)]
    at_work = {"scanning": 0, "embedding": 0, "moment": 0}
    for number in range(kills):
        grow(files, (number + 2) * NEW_FILES)
        kind = list(at_work)[number % 3]
        if kind == "moment":
            killed = kill_at_a_moment(folder, files, chance.uniform(0.0, 0.05))
        else:
            steps = chance.randrange(int(0.9 * (batches if kind == "embedding" else scan + batches)))
            killed = kill_at_a_step(folder, files, steps, embedding=kind == "embedding")
        at_work[kind] += killed
        seen.append(look(folder))
        assert seen[-1]["rows"] >= seen[-2]["rows"], "a committed batch was lost"
    write(folder, files)
    total = (kills + 2) * NEW_FILES
    with Catalogue.open(folder) as catalogue:
        vectors = catalogue.vectors(space(catalogue).id)
        right = np.stack([vector_of(content_of(row)) for row in range(total)])
        whole = bool((vectors.take(np.arange(total)) == right.astype(np.float32)).all())
        count = vectors.info.count
    return {
        "files": total,
        "at_work": at_work,
        "rounds_with_progress": sum(a["rows"] < b["rows"] for a, b in pairwise(seen)),
        "tails_cut": sum(each["cut"] for each in seen),
        "whole": whole,
        "vectors": count,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
