"""A writer that is killed, a disk that fills, files that are cut or damaged: it opens and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmviewer.core.errors import CollectionError
from mmviewer.core.space.collection import Catalogue, FolderSource, SpaceInfo

HERE = Path(__file__).parent
WIDTH = 256


def run(*arguments: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment,
    )


def name(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A collection of 40 texts with a vector each."""
    (tmp_path / "files").mkdir()
    for number in range(40):
        (tmp_path / "files" / f"{number:03}.txt").touch()
    with Catalogue.open(tmp_path / "collection", create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(tmp_path / "files"))).id)
        add(catalogue, range(40))
    return tmp_path / "collection"


def space(catalogue: Catalogue) -> SpaceInfo:
    return catalogue.add_space(model_id="m", label="m", width=WIDTH, weights_hash="w", preprocessing="p")


def add(catalogue: Catalogue, rows: range) -> None:
    drawn = np.random.default_rng(rows.start).normal(size=(len(rows), WIDTH))
    with catalogue.begin_batch() as batch:
        batch.set_content(rows, [name(each) for each in rows])
        batch.append_vectors(space(catalogue).id, [name(each) for each in rows], drawn)


def vectors_of(folder: Path) -> Path:
    return next(folder.glob("vectors/*.f16"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked, which this system cannot")
def test_killed_at_fifty_moments_it_verifies_and_goes_on_each_time(tmp_path: Path) -> None:
    done = run(str(HERE / "crash_writer.py"), str(tmp_path), "50")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"]
    assert told["vectors"] == told["files"] - told["files"] // 10  # every tenth shares another's
    assert (told["at_work"]["scanning"], told["at_work"]["embedding"]) == (17, 17)
    assert told["rounds_with_progress"] > 5


@pytest.mark.parametrize("extra", [1, 2, 3, 511, 512, 513, 10_000])
def test_the_rest_of_an_interrupted_batch_is_cut_off(filled: Path, extra: int) -> None:
    path = vectors_of(filled)
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"\xaa" * extra)
    with path.with_suffix(".crc").open("ab") as file:
        file.write(b"\xaa" * (extra // 3))
    with Catalogue.open(filled, readonly=True) as reader:  # readers see what is committed
        assert reader.vectors(reader.spaces()[0].id).matrix.tobytes() == before
    with Catalogue.open(filled) as catalogue:
        report = catalogue.verify()
        assert report.sound, report.problems
        assert (report.items, report.vectors, report.missing) == (40, 40, 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize("which", ["f16", "crc"])
def test_vectors_that_a_broken_disk_lost_are_pending_again(filled: Path, which: str) -> None:
    path = vectors_of(filled).with_suffix(f".{which}")
    row = 2 * WIDTH if which == "f16" else 4
    os.truncate(path, 30 * row + 1)
    with Catalogue.open(filled, readonly=True) as reader:
        seen = reader.vectors(reader.spaces()[0].id)
        assert len(seen.rows()) == (30 if which == "f16" else 40)
        assert not reader.verify().sound
    with Catalogue.open(filled) as catalogue:
        assert catalogue.pending(space(catalogue).id).tolist() == list(range(30, 40))
        add(catalogue, range(30, 40))
        assert catalogue.verify().sound
        assert len(catalogue.vectors(space(catalogue).id).rows()) == 40


def test_a_flipped_bit_is_found_and_repaired(filled: Path) -> None:
    path = vectors_of(filled)
    content = bytearray(path.read_bytes())
    content[7 * 2 * WIDTH + 100] ^= 0x04
    path.write_bytes(content)
    with Catalogue.open(filled) as catalogue:
        report = catalogue.verify()
        assert (report.broken_vectors, report.repaired, report.sound) == (1, False, False)
        assert "1 vector of m is damaged" in report.problems[0]
        assert catalogue.verify(repair=True).repaired
        assert catalogue.pending(space(catalogue).id).tolist() == [7]
        assert catalogue.verify().sound
        add(catalogue, range(7, 8))
        assert catalogue.verify().sound
        assert not len(catalogue.pending(space(catalogue).id))


def test_an_index_that_points_elsewhere_is_found(filled: Path) -> None:
    import sqlite3

    with sqlite3.connect(filled / "catalogue.sqlite") as raw:
        raw.execute("UPDATE vectors SET position = 3 WHERE hash = ?", (bytes.fromhex(name(5)),))
    with Catalogue.open(filled, readonly=True) as reader:
        problems = reader.verify().problems
    assert any("1 item points to another vector" in each for each in problems)
    assert any("claimed twice" in each for each in problems)


def test_missing_files_are_counted(filled: Path) -> None:
    (filled.parent / "files" / "011.txt").unlink()
    with Catalogue.open(filled, readonly=True) as reader:
        report = reader.verify()
    assert (report.missing, report.missing_rows, report.sound) == (1, (11,), True)


_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_collection_crash import add, space
from mmviewer.core.errors import CollectionError
from mmviewer.core.space.collection import Catalogue
folder = Path({folder!r})
with Catalogue.open(folder) as catalogue:
    size = max(each.stat().st_size for each in folder.rglob("*{what}"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 3000, resource.RLIM_INFINITY))
    for start in range(40, 400, 8):
        try:
            add(catalogue, range(start, start + 8))
        except CollectionError as error:
            print(error.message)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    committed = catalogue.spaces()[0].count
    assert committed == start, (committed, start)
    add(catalogue, range(start, start + 8))  # there is room again: it goes on in the same program
    report = catalogue.verify()
    assert report.sound, report.problems
    assert catalogue.spaces()[0].count == start + 8
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a file's size are set by POSIX systems only")
@pytest.mark.parametrize("what", [".f16", "-wal"])
def test_a_disk_that_fills_loses_the_running_batch_only(filled: Path, what: str) -> None:
    for number in range(40, 420):
        (filled.parent / "files" / f"{number:03}.txt").touch()
    with Catalogue.open(filled) as catalogue:
        catalogue.scan(catalogue.sources[0].id)
    done = run("-c", _FULL.format(here=str(HERE), folder=str(filled), what=what))
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout or "check the disk and the room on it" in done.stdout, (
        done.stdout
    )
    assert len(done.stdout.splitlines()) == 1


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CollectionError, match="cannot be written"):
        Catalogue.open(tmp_path / "file" / "collection", create=True)
