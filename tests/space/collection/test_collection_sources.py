"""Lists, tables and own embeddings as sources, and maps that were made elsewhere."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from mmviewer.core.errors import InputError, MediaError
from mmviewer.core.space.collection import (
    Catalogue,
    EmbeddingsSource,
    FolderSource,
    ListSource,
    ScanReport,
    SourceSpec,
    Status,
    TableSource,
)
from mmviewer.core.types import Modality

WIDTH = 6


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue.open(tmp_path / "collection", create=True) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(b"x" * (number + 1))
    return folder


def scan(catalogue: Catalogue, spec: SourceSpec) -> ScanReport:
    return catalogue.scan(catalogue.add_source(spec).id)


def write_csv(path: Path, *rows: tuple[object, ...], sign: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=sign).writerows(rows)
    return path


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)) * 7


class TestLists:
    """A path in each line."""

    def test_paths_that_are_there_and_that_are_not(
        self, catalogue: Catalogue, files: Path, tmp_path: Path
    ) -> None:
        (files / "empty.png").touch()
        listed = tmp_path / "list.txt"
        lines = [
            "files/1.png",
            str(files / "2.png"),
            "",
            "gone.png",
            "files",
            "http://host/x.png",
            "files/./1.png",
        ]
        listed.write_text("\n".join([*lines, "files/empty.png"]))
        report = scan(catalogue, ListSource(str(listed)))
        assert (report.added, report.failed) == (6, 4)
        items = catalogue.items(range(6))
        assert [each.status for each in items] == [0, 0, Status.MISSING, 2, 2, 2]
        assert items[0].path == str(files / "1.png")
        assert "does not exist" in items[2].reason
        assert "is a folder" in items[3].reason
        assert "not on this computer" in items[4].reason
        assert "0 bytes" in items[5].reason
        assert report.notes == (
            "1 entries repeat one that came before (1.png is the first); only the first of each was taken.",
        )

    def test_what_leads_out_of_the_root_is_refused(
        self, catalogue: Catalogue, files: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.png").write_bytes(b"x")
        (files / "link.png").symlink_to(tmp_path / "secret.png")
        listed = tmp_path / "list.txt"
        listed.write_text("1.png\n../secret.png\nlink.png\n/etc/passwd\n")
        scan(catalogue, ListSource(str(listed), root=str(files)))
        items = catalogue.items(range(4))
        assert [each.status for each in items] == [0, 2, 2, 2]
        assert all("outside of files, which is not allowed" in each.reason for each in items[1:])

    def test_no_list(self, catalogue: Catalogue, tmp_path: Path) -> None:
        with pytest.raises(MediaError, match="does not exist"):
            scan(catalogue, ListSource(str(tmp_path / "nothing.txt")))
        with (tmp_path / "zeros.txt").open("wb") as file:
            file.truncate(30_000_000)
        with pytest.raises(InputError, match="more than 4,000,000 letters"):
            scan(catalogue, ListSource(str(tmp_path / "zeros.txt")))
        assert catalogue.count == 0


class TestTables:
    """CSV, TSV and Parquet with columns."""

    def test_paths_with_columns(self, catalogue: Catalogue, files: Path) -> None:
        table = write_csv(
            files / "table.csv",
            ("Path", "class", "score", "note"),
            ("0.png", "owl", "0.5", ""),
            ("1.png", "dog", "", "seen"),
            ("2.png", "owl", "1e3", ""),
            ("2.png", "fox", "7", "a repeat"),
            ("", "cat", "1", ""),
            ("9.png", "owl", "2", ""),
        )
        report = scan(catalogue, TableSource(str(table)))
        assert report.added == 5
        assert [each.status for each in catalogue.items(range(5))] == [0, 0, 0, 2, 3]
        score = catalogue.column("score")
        np.testing.assert_array_equal(score, [0.5, np.nan, 1000, 1, 2])
        codes, names = catalogue.column("class")
        assert [names[code] for code in codes] == ["owl", "dog", "owl", "cat", "owl"]
        assert catalogue.items([1])[0].extra == {"class": "dog", "note": "seen"}
        infos = {each.name: (each.kind, each.distinct) for each in catalogue.columns()}
        assert infos == {"class": ("category", 3), "score": ("number", 4), "note": ("category", 1)}
        assert scan(catalogue, TableSource(str(table))).added == 0

    @pytest.mark.parametrize("sign", [";", "\t", "|"])
    def test_other_signs_between_columns(self, catalogue: Catalogue, tmp_path: Path, sign: str) -> None:
        table = write_csv(tmp_path / "t.csv", ("id", "text"), ("a", "an owl, a dog"), ("b", "x"), sign=sign)
        assert scan(catalogue, TableSource(str(table))).added == 2
        item = catalogue.items([0])[0]
        assert (item.text, item.kind, item.name) == ("an owl, a dog", Modality.TEXT, "an owl, a dog")

    def test_pictures_and_captions_are_pairs(self, catalogue: Catalogue, files: Path) -> None:
        table = write_csv(
            files / "t.csv",
            ("image", "caption", "split"),
            ("0.png", "an owl", "train"),
            ("0.png", "a bird", "test"),
            ("1.png", "a dog", "train"),
        )
        assert scan(catalogue, TableSource(str(table))).added == 5
        items = catalogue.items(range(5))
        assert [each.text for each in items] == [None, "an owl", "a bird", None, "a dog"]
        assert catalogue.pairs().tolist() == [[0, 1], [0, 2], [3, 4]]
        assert [each.extra["split"] for each in items] == ["train", "train", "test", "train", "train"]
        scan(catalogue, TableSource(str(table)))
        assert len(catalogue.pairs()) == 3

    def test_a_changed_text_is_embedded_anew(self, catalogue: Catalogue, tmp_path: Path) -> None:
        table = write_csv(tmp_path / "t.csv", ("text",), ("an owl",), ("a dog",))
        scan(catalogue, TableSource(str(table)))
        info = catalogue.add_space(model_id="m", label="m", width=2, weights_hash="w", preprocessing="p")
        with catalogue.begin_batch() as batch:
            batch.set_content([0, 1], ["00" * 16, "01" * 16])
            batch.append_vectors(info.id, ["00" * 16, "01" * 16], np.eye(2))
        write_csv(table, ("text",), ("an owl",), ("a red fox",), ("new",))
        report = scan(catalogue, TableSource(str(table)))
        assert (report.added, report.changed) == (1, 1)
        assert catalogue.pending(info.id).tolist() == [1, 2]
        assert catalogue.items([1])[0].text == "a red fox"

    def test_a_column_of_the_same_name_and_another_kind(self, catalogue: Catalogue, tmp_path: Path) -> None:
        scan(catalogue, TableSource(str(write_csv(tmp_path / "a.csv", ("text", "mark"), ("x", "1")))))
        scan(catalogue, TableSource(str(write_csv(tmp_path / "b.csv", ("text", "mark"), ("y", "good")))))
        assert catalogue.items([0])[0].extra == {"mark": 1.0}
        assert catalogue.items([1])[0].extra == {"mark (words)": "good"}

    def test_parquet(self, catalogue: Catalogue, files: Path) -> None:
        table = pa.table(
            {
                "path": ["0.png", "1.png", None],
                "count": pa.array([3, None, 5], pa.int64()),
                "good": [True, False, None],
                "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
                "boxes": [[1, 2], [], None],
            }
        )
        parquet.write_table(table, files / "t.parquet")
        scan(catalogue, TableSource(str(files / "t.parquet")))
        assert catalogue.items([0])[0].extra == {"count": 3.0, "good": "true", "kind": "a"}
        np.testing.assert_array_equal(catalogue.column("count"), [3, np.nan, 5])

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"a,b\n1,2\n", "Say which column of t.csv holds paths or texts; it has a, b"),
            (b"\n\n", "no header line"),
            (b'text\n"' + b"x" * 300_000, "broken near line"),
            (b"text" + b",x" * 500 + b"\n", "501 columns; at most 250"),
            (b"\xff\xfe\x00\x00" * 50, "Say which column"),
            (b"x" * 5_000_000, "more than 4,000,000 letters"),
        ],
    )
    def test_tables_that_are_none(
        self, catalogue: Catalogue, tmp_path: Path, content: bytes, says: str
    ) -> None:
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(InputError, match=says):
            scan(catalogue, TableSource(str(tmp_path / "t.csv")))
        assert catalogue.count == 0

    def test_odd_lines_and_texts(self, catalogue: Catalogue, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(
            b'\xef\xbb\xbftext,n\nowl\nfox,1,2,3\n\n"two\nlines",4\nnul\0,5\n\xe9t\xe9,6\n'
            + b"y" * 20_001
            + b",7\n"
        )
        report = scan(catalogue, TableSource(str(tmp_path / "t.csv")))
        items = catalogue.items(range(6))
        assert [each.text for each in items] == [
            "owl",
            "fox",
            "two\nlines",
            "nul\ufffd",
            "\ufffdt\ufffd",
            None,
        ]
        assert "more than 20,000 letters" in items[5].reason
        assert "2 lines of t.csv have more or fewer values than its header." in report.notes
        assert items[2].name == "two lines"

    def test_a_column_that_is_not_there(self, catalogue: Catalogue, tmp_path: Path) -> None:
        table = write_csv(tmp_path / "t.csv", ("text", "b"), ("x", "y"))
        with pytest.raises(InputError, match="no column “c”; it has text, b"):
            scan(catalogue, TableSource(str(table), text_column="c"))


def save(kind: str, folder: Path, vectors: np.ndarray, ids: list[str]) -> EmbeddingsSource:
    """The same embeddings in each format."""
    folder.mkdir(exist_ok=True)
    path = folder / f"own.{kind}"
    listed = folder / "ids.txt"
    listed.write_text("\n".join(ids), encoding="utf-8")
    if kind == "npy":
        np.save(path, vectors)
    elif kind == "npz":
        np.savez_compressed(path, embeddings=vectors, ids=np.array(ids), score=np.arange(len(ids)))
        return EmbeddingsSource(str(path))
    elif kind == "safetensors":
        save_file({"emb": vectors.astype(np.float32)}, path)
    elif kind == "parquet":
        parquet.write_table(pa.table({"id": ids, "vector": list(vectors)}), path)
        return EmbeddingsSource(str(path))
    elif kind == "shards":
        path.mkdir(exist_ok=True)
        for place in (0, 2):
            part = pa.table({"id": ids[place : place + 2], "vector": list(vectors[place : place + 2])})
            parquet.write_table(part, path / f"part-{place}.parquet")
        return EmbeddingsSource(str(path))
    return EmbeddingsSource(str(path), ids=str(listed))


KINDS = ("npy", "npz", "safetensors", "parquet", "shards")


class TestEmbeddings:
    """Own vectors with ids."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_vectors_come_in_with_their_ids(self, catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
        given = drawn(4)
        spec = save(kind, tmp_path / "own", given, ["owl", "dog", "fox", "éclair"])
        report = scan(catalogue, spec)
        assert (report.added, report.failed) == (4, 0)
        assert [each.name for each in catalogue.items(range(4))] == ["owl", "dog", "fox", "éclair"]
        table = catalogue.table()
        assert (table.kinds == 255).all()
        assert (table.status == Status.READY).all()
        space = catalogue.spaces()[0]
        assert (space.own, space.width, space.label) == (True, WIDTH, "own")
        np.testing.assert_allclose(catalogue.vectors(space.id).take(np.arange(4)), unit(given), atol=1e-3)
        assert catalogue.verify().sound
        other = catalogue.add_space(model_id="m", label="m", width=2, weights_hash="w", preprocessing="p")
        assert not len(catalogue.pending(other.id))  # nothing to embed: there is no file
        scan(catalogue, spec)
        assert catalogue.spaces()[0].count == 4
        if kind == "npz":
            np.testing.assert_array_equal(catalogue.column("score"), np.arange(4))

    def test_files_that_are_there_get_their_vectors(self, catalogue: Catalogue, files: Path) -> None:
        scan(catalogue, FolderSource(str(files)))
        given = drawn(4)
        ids = ["2.png", str(files / "0.png"), "unknown.png", "5.png"]
        scan(catalogue, save("npz", files.parent / "own", given, ids))
        assert catalogue.count == 7
        vectors = catalogue.vectors(catalogue.spaces()[0].id)
        assert vectors.rows().tolist() == [0, 2, 5, 6]
        np.testing.assert_allclose(vectors.take(np.array([2, 0, 6, 5])), unit(given), atol=1e-3)
        assert catalogue.verify().sound

    def test_a_column_of_paths_makes_files(self, catalogue: Catalogue, files: Path) -> None:
        np.savez(files / "own.npz", vectors=drawn(2), paths=np.array(["1.png", ""]), ids=np.array(["a", "b"]))
        scan(catalogue, EmbeddingsSource(str(files / "own.npz")))
        first, second = catalogue.items([0, 1])
        assert (first.path, first.kind) == (str(files / "1.png"), Modality.IMAGE)
        assert (second.path, second.name) == (None, "b")
        assert len(catalogue.vectors(catalogue.spaces()[0].id).rows()) == 2

    def test_files_texts_and_vectors_alone_in_one_table(self, catalogue: Catalogue, files: Path) -> None:
        table = pa.table(
            {
                "path": ["0.png", None, None, "1.png"],
                "text": [None, "an owl", "", "a caption beside"],
                "name": ["0.png", "same", "same", "1.png"],
                "content_hash": ["a", "b", "c", "d"],
                "vector": list(drawn(4)),
            }
        )
        parquet.write_table(table, files / "shard.parquet")
        scan(catalogue, EmbeddingsSource(str(files / "shard.parquet")))
        items = catalogue.items(range(catalogue.count))
        assert [each.kind for each in items] == [Modality.IMAGE, Modality.TEXT, None, Modality.IMAGE]
        assert [each.text for each in items] == [None, "an owl", None, None]
        assert items[3].extra["text"] == "a caption beside"
        vectors = catalogue.vectors(catalogue.spaces()[0].id)
        np.testing.assert_allclose(vectors.take(np.arange(4)), unit(drawn(4)), atol=1e-3)
        assert not len(catalogue.pairs())

    @pytest.mark.parametrize("kind", KINDS)
    def test_nan_zero_huge_and_repeated(self, catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
        given = drawn(4)
        given[0, 2] = np.nan
        given[1] = 0
        given[2] *= 1e30
        report = scan(catalogue, save(kind, tmp_path / "own", given, ["a", "b", "c", "c"]))
        assert (report.added, report.failed) == (3, 2)
        items = catalogue.items(range(3))
        assert (
            items[0].reason == "Entry 1 cannot be placed: its vector holds NaN or infinity; compute it again."
        )
        assert "only zeros" in items[1].reason
        vectors = catalogue.vectors(catalogue.spaces()[0].id)
        assert vectors.rows().tolist() == [2]
        np.testing.assert_allclose(vectors.take(np.array([2])), unit(given[2:3]), atol=1e-3)
        assert any("repeat one that came before" in each for each in report.notes)
        assert any("2 vectors of own" in each for each in report.notes)
        assert [each.row for each in catalogue.failures()] == [0, 1]

    def test_vectors_of_another_width_in_a_table(self, catalogue: Catalogue, tmp_path: Path) -> None:
        table = pa.table({"id": ["a", "b", "c"], "embedding": [[1.0, 2.0], [1.0, 2.0, 3.0], None]})
        parquet.write_table(table, tmp_path / "own.parquet")
        scan(catalogue, EmbeddingsSource(str(tmp_path / "own.parquet")))
        reasons = [each.reason for each in catalogue.items(range(3))]
        assert reasons[0] == ""
        assert "its vector has 3 numbers, not 2" in reasons[1]
        assert "it has no vector" in reasons[2]

    def test_changed_vectors_are_taken_and_equal_ones_are_not_written_again(
        self, catalogue: Catalogue, tmp_path: Path
    ) -> None:
        given = drawn(4)
        spec = save("npz", tmp_path / "own", given, list("abcd"))
        scan(catalogue, spec)
        given[1] = -given[1]
        given[2] = np.nan
        save("npz", tmp_path / "own", given, list("abcd"))
        scan(catalogue, spec)
        space = catalogue.spaces()[0]
        vectors = catalogue.vectors(space.id)
        assert space.count == 5
        assert vectors.rows().tolist() == [0, 1, 3]
        np.testing.assert_allclose(vectors.take(np.array([0, 1, 3])), unit(given[[0, 1, 3]]), atol=1e-3)
        assert catalogue.verify().sound

    def test_brain_floats(self, catalogue: Catalogue, tmp_path: Path) -> None:
        bits = drawn(3).astype("<f4").view("<u4") >> 16  # a brain float is the upper half of a float
        head = b'{"emb":{"dtype":"BF16","shape":[3,%d],"data_offsets":[0,%d]}}' % (WIDTH, 6 * WIDTH)
        content = len(head).to_bytes(8, "little") + head + bits.astype("<u2").tobytes()
        (tmp_path / "own.safetensors").write_bytes(content)
        scan(catalogue, EmbeddingsSource(str(tmp_path / "own.safetensors")))
        assert catalogue.items([2])[0].name == "line 3"
        kept = catalogue.vectors(catalogue.spaces()[0].id).take(np.arange(3))
        np.testing.assert_allclose(kept, unit((bits << 16).view("<f4")), atol=1e-3)

    def test_coordinates_beside_them(self, catalogue: Catalogue, tmp_path: Path) -> None:
        np.savez(tmp_path / "own.npz", vectors=drawn(3), x=np.arange(3.0), y=-np.arange(3.0))
        scan(catalogue, EmbeddingsSource(str(tmp_path / "own.npz")))
        kept = catalogue.coordinates(catalogue.maps()[0])
        np.testing.assert_array_equal(kept.xy, [[0, 0], [1, -1], [2, -2]])
        assert (kept.method, kept.space_id) == ("own", None)


class TestOwnMaps:
    """Two coordinates for each item, from elsewhere."""

    def test_by_id_and_by_row(self, catalogue: Catalogue, files: Path, tmp_path: Path) -> None:
        scan(catalogue, FolderSource(str(files)))
        table = write_csv(tmp_path / "m.csv", ("id", "x", "y"), ("3.png", 1, 2), ("none.png", 5, 5))
        assert catalogue.import_coordinates(table, "mine") == 1
        xy = catalogue.coordinates("mine").xy
        np.testing.assert_array_equal(xy[3], [1, 2])
        assert np.isnan(np.delete(xy, 3, axis=0)).all()
        np.save(tmp_path / "m.npy", np.arange(12).reshape(6, 2))
        assert catalogue.import_coordinates(tmp_path / "m.npy", "all") == 6
        np.testing.assert_array_equal(catalogue.coordinates("all").xy, np.arange(12).reshape(6, 2))

    def test_no_maps(self, catalogue: Catalogue, files: Path, tmp_path: Path) -> None:
        scan(catalogue, FolderSource(str(files)))
        np.save(tmp_path / "m.npy", np.zeros((6, 3)))
        with pytest.raises(InputError, match="a map has two"):
            catalogue.import_coordinates(tmp_path / "m.npy", "m")
        table = write_csv(tmp_path / "m.csv", ("id", "x", "y"), ("none.png", 5, 5))
        with pytest.raises(InputError, match="names no item"):
            catalogue.import_coordinates(table, "m")
        table = write_csv(tmp_path / "m.csv", ("id", "a", "b"), ("3.png", 5, 5))
        with pytest.raises(InputError):
            catalogue.import_coordinates(table, "m")
        assert catalogue.maps() == ()
