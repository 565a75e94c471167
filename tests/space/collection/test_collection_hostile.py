"""Files that are made to harm: pickles, bombs, heads that lie, a stranger's catalogue: each one sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mmviewer.core.errors import CollectionError, InputError, MediaError
from mmviewer.core.space.collection import (
    Catalogue,
    EmbeddingsSource,
    FolderSource,
    SpaceInfo,
    Status,
    Thumbnails,
)
from mmviewer.core.space.collection.sources import TableSource

HERE = Path(__file__).parent


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue.open(tmp_path / "collection", create=True) as made:
        yield made


def scan(catalogue: Catalogue, path: Path, **options: str) -> None:
    catalogue.scan(catalogue.add_source(EmbeddingsSource(str(path), **options)).id)


def refused(catalogue: Catalogue, path: Path, says: str, **options: str) -> None:
    """It is refused with one sentence, and the collection is as before and alive."""
    with pytest.raises((InputError, MediaError), match=says) as told:
        scan(catalogue, path, **options)
    assert "\n" not in told.value.message
    assert catalogue.count == 0
    assert catalogue.verify().sound


class Evil:
    """Would write a file when it is unpickled."""

    def __reduce__(self):
        return (os.system, ("touch /tmp/mmviewer-was-harmed",))


def npy_bytes(head: str, content: bytes = b"") -> bytes:
    padded = head.encode() + b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + content


def test_pickles_are_never_run(catalogue: Catalogue, tmp_path: Path) -> None:
    objects = np.array([Evil(), Evil()], dtype=object)
    np.save(tmp_path / "a.npy", objects)
    refused(catalogue, tmp_path / "a.npy", "no plain numbers")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Evil()))
    refused(catalogue, tmp_path / "b.npy", "no plain numbers")
    np.savez(tmp_path / "c.npz", vectors=np.ones((2, 2)), ids=objects)
    refused(catalogue, tmp_path / "c.npz", "holds objects")
    np.save(tmp_path / "v.npy", np.ones((2, 2)))
    refused(catalogue, tmp_path / "v.npy", "no plain numbers", ids=str(tmp_path / "a.npy"))
    assert not Path("/tmp/mmviewer-was-harmed").exists()


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 512), }", "damaged"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 512), }", "damaged"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999), }", "damaged"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", "damaged"),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2), }", "not vectors"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (8,), }", "not vectors"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 8), }", "up to"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 4), }", "not vectors"),
        ("__import__('os').system('true')", "damaged"),
        ("(" * 9000, "damaged"),
        ("", "damaged"),
    ],
)
def test_heads_that_lie(catalogue: Catalogue, tmp_path: Path, head: str, says: str) -> None:
    content = npy_bytes(head, b"\0" * 32)
    (tmp_path / "a.npy").write_bytes(content)
    refused(catalogue, tmp_path / "a.npy", says)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vectors.npy", content)
    refused(catalogue, tmp_path / "a.npz", ".")


def test_a_bomb_is_not_unpacked(catalogue: Catalogue, tmp_path: Path) -> None:
    rows = 1 << 21  # 128 MB of zeros in 128 kB
    head = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (rows, 16)}
    np.lib.format.write_array_header_1_0(head, described)
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("vectors.npy", "w", force_zip64=True) as file,
    ):
        file.write(head.getvalue())
        for _ in range(rows >> 18):
            file.write(bytes(1 << 24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(catalogue, tmp_path / "bomb.npz", "times its size; it is damaged or made to harm")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_archives_that_are_broken(catalogue: Catalogue, tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", vectors=np.ones((200, 50)))
    content = (tmp_path / "good.npz").read_bytes()
    for place, broken in enumerate((content[:-30], content[: len(content) // 2], b"PK\x03\x04", b"")):
        (tmp_path / f"{place}.npz").write_bytes(broken)
        refused(catalogue, tmp_path / f"{place}.npz", ".")
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    refused(catalogue, tmp_path / "flipped.npz", "damaged")
    np.savez(tmp_path / "two.npz", a=np.ones((2, 3)), b=np.ones((2, 3)))
    refused(catalogue, tmp_path / "two.npz", "Say which array of two.npz holds the vectors; it has a, b")
    refused(catalogue, tmp_path / "two.npz", "no array of vectors “c”", vectors="c")
    scan(catalogue, tmp_path / "two.npz", vectors="b")
    assert catalogue.count == 2


@pytest.mark.parametrize(
    "head",
    [
        {"v": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 10**12]}},
        {"v": {"dtype": "F32", "shape": [2, 4], "data_offsets": [-32, 0]}},
        {"v": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 32]}},
        {"v": {"dtype": "F32", "shape": ["2", None], "data_offsets": [0, 32]}},
        {"v": {"dtype": "F32", "shape": [2, 4]}},
        {"v": {"dtype": "I8", "shape": [4, 8], "data_offsets": [0, 32]}},
        {"v": 5},
        [],
    ],
)
def test_safetensors_that_lie(catalogue: Catalogue, tmp_path: Path, head: object) -> None:
    told = json.dumps(head).encode()
    (tmp_path / "a.safetensors").write_bytes(len(told).to_bytes(8, "little") + told + bytes(32))
    refused(catalogue, tmp_path / "a.safetensors", ".")


def test_parquet_that_is_none(catalogue: Catalogue, tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"] * 500, "vector": [[1.0, 2.0]] * 1000})
    parquet.write_table(table, tmp_path / "good.parquet", compression="none")
    content = (tmp_path / "good.parquet").read_bytes()
    chance = np.random.default_rng(0)
    for place in range(12):
        broken = bytearray(content)
        for where in chance.integers(0, len(content), 20):
            broken[where] ^= int(chance.integers(1, 255))
        (tmp_path / "broken.parquet").write_bytes(broken[: len(content) - place * 7])
        with Catalogue.open(tmp_path / f"c{place}", create=True) as other:
            try:  # flipped values are read as they are; all else is a sentence
                scan(other, tmp_path / "broken.parquet")
            except (InputError, MediaError) as error:
                assert "\n" not in error.message  # noqa: PT017 - either outcome is right
            assert other.verify().sound
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "none.parquet")
    refused(catalogue, tmp_path / "none.parquet", "Say which column")
    (tmp_path / "empty").mkdir()
    refused(catalogue, tmp_path / "empty", "holds no Parquet file")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    source = catalogue.add_source(TableSource(str(tmp_path / "a.xlsx")))
    with pytest.raises(InputError, match="no table"):
        catalogue.scan(source.id)


def test_ids_that_do_not_fit(catalogue: Catalogue, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    (tmp_path / "ids.txt").write_text("a\nb\n")
    refused(catalogue, tmp_path / "v.npy", "2 ids for 3 vectors", ids=str(tmp_path / "ids.txt"))
    refused(catalogue, tmp_path / "v.npy", "does not exist", ids=str(tmp_path / "nothing.txt"))


def test_links_in_circles_and_devices(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "deep" / "back").symlink_to(folder, target_is_directory=True)
    (folder / "good.png").write_bytes(b"x")
    os.mkfifo(folder / "pipe.png")
    catalogue.scan(catalogue.add_source(FolderSource(str(folder))).id)
    told = {each.name: (each.status, each.reason) for each in catalogue.items(range(catalogue.count))}
    assert told["good.png"] == (Status.NEW, "")
    assert "link that leads back to itself" in told["loop.png"][1]
    assert "pipe.png" not in told
    assert len(told) <= 3


@contextmanager
def as_nobody() -> Iterator[None]:
    """Let the superuser of a container be refused as others are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_folders_that_may_not_be_read(catalogue: Catalogue) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to nobody
        Path(place).chmod(0o755)
        folder = Path(place) / "files"
        (folder / "closed").mkdir(parents=True)
        (folder / "closed" / "a.png").write_bytes(b"x")
        source = catalogue.add_source(FolderSource(str(folder)))
        catalogue.scan(source.id)
        (folder / "closed").chmod(0)
        with as_nobody():
            report = catalogue.scan(source.id)
        (folder / "closed").chmod(0o755)
        assert "1 folders in files may not be read by you" in report.notes[0]
        item = catalogue.items([0])[0]
        assert (item.status, "may not be read" in item.reason) == (Status.MISSING, True)
        assert catalogue.scan(source.id).back == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_collection_that_nobody_may_write_is_read() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "collection"
        with Catalogue.open(folder, create=True) as catalogue, Thumbnails(folder) as thumbnails:
            catalogue.scan(catalogue.add_source(FolderSource(place)).id)
            thumbnails.put(0, np.zeros((4, 4, 3), np.uint8))
        folder.chmod(0o555)
        try:
            with as_nobody():
                with Catalogue.open(folder, readonly=True) as reader:
                    assert len(reader.sources) == 1
                with Thumbnails(folder, readonly=True) as thumbnails:
                    assert thumbnails.get([0])[0] is not None
                with pytest.raises(CollectionError, match="you may not write there"):
                    Catalogue.open(folder)
        finally:
            folder.chmod(0o755)


class TestStrangersCatalogue:
    """A catalogue that somebody made to harm."""

    @pytest.fixture
    def raw(self, catalogue: Catalogue, tmp_path: Path):
        self.folder = catalogue.folder
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "a.txt").touch()
        catalogue.scan(catalogue.add_source(FolderSource(str(tmp_path / "files"))).id)
        self.space: SpaceInfo = catalogue.add_space(
            model_id="m", label="m", width=2, weights_hash="w", preprocessing="p"
        )
        catalogue.close()
        with sqlite3.connect(self.folder / "catalogue.sqlite") as raw:
            yield raw
        raw.close()

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE spaces SET id = '../../outside'",
            "UPDATE spaces SET id = '/etc/passwd'",
            "UPDATE spaces SET width = 1000000000000",
            "UPDATE spaces SET count = -1",
            "UPDATE items SET row = 900000000000",
        ],
    )
    def test_facts_that_cannot_be(self, raw: sqlite3.Connection, sql: str) -> None:
        raw.execute(sql)
        raw.commit()
        with Catalogue.open(self.folder, readonly=True) as reader:
            look = reader.table if "row" in sql else reader.spaces
            with pytest.raises(CollectionError, match="damaged"):
                look()

    def test_a_count_beyond_the_file_is_cut(self, raw: sqlite3.Connection) -> None:
        raw.execute("UPDATE spaces SET count = 4000000000000")
        raw.commit()
        with Catalogue.open(self.folder, readonly=True) as reader:
            assert reader.vectors(self.space.id).matrix.shape == (0, 2)

    def test_sources_that_cannot_be_understood(self, raw: sqlite3.Connection) -> None:
        for spec in ("[]", '{"type": "evil"}', "{", "null", '{"type": "folder", "path": 5}'):
            raw.execute("UPDATE sources SET spec = ?", (spec,))
            raw.commit()
            with Catalogue.open(self.folder, readonly=True) as reader:
                assert len(reader.table()) == 1
                with pytest.raises(InputError, match="cannot be understood"):
                    _ = reader.sources

    def test_a_trigger_of_a_stranger_runs_no_function(self, raw: sqlite3.Connection) -> None:
        raw.execute(
            "CREATE TRIGGER evil AFTER INSERT ON sources BEGIN SELECT load_extension('/tmp/evil.so'); END"
        )
        raw.commit()
        with pytest.raises(CollectionError), Catalogue.open(self.folder) as catalogue:
            catalogue.add_source(FolderSource(str(self.folder)))


def test_readers_see_whole_commits_while_another_process_writes(tmp_path: Path) -> None:
    """Every state that a reader sees is one that was committed."""
    (tmp_path / "files").mkdir()
    for number in range(3000):
        (tmp_path / "files" / f"{number:05}.txt").touch()
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from pathlib import Path; "
        f"from crash_writer import write; place = Path({str(tmp_path)!r}); "
        "write(place / 'collection', place / 'files')"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    Catalogue.open(tmp_path / "collection", create=True).close()
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as writer:
        with Catalogue.open(tmp_path / "collection", readonly=True) as reader:
            counts = []
            while writer.poll() is None and len(set(counts)) < 12:
                for info in reader.spaces():
                    seen = reader.vectors(info.id)
                    assert len(seen.matrix) == seen.info.count
                    held = seen.rows()
                    assert len(np.unique(seen.index[held])) == seen.info.count
                    np.testing.assert_allclose(np.linalg.norm(seen.take(held[-3:]), axis=1), 1, atol=1e-2)
                    assert (reader.table().status[held] == Status.READY).all()
                    counts.append(seen.info.count)
        writer.kill()
    assert counts == sorted(counts)
    assert len(set(counts)) > 1
