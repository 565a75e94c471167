"""A collection on the disk: what goes in comes out, for the writer and for readers beside it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled, CollectionError, InputError, MediaError
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import Catalogue, FolderSource, SpaceInfo, Status
from mmviewer.core.types import Modality

WIDTH = 8


def name(number: int) -> str:
    return f"{number:032x}"


def vectors(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, WIDTH))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def space(catalogue: Catalogue, weights: str = "w", width: int = WIDTH) -> SpaceInfo:
    return catalogue.add_space(
        model_id="m", label="Some model", width=width, weights_hash=weights, preprocessing="p"
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures by their names, five sounds in a folder below, and files of other kinds."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number in range(10):
        (folder / f"{number}.png").write_bytes(b"x" * (number + 1))
    for number in range(5):
        (folder / "below" / f"{number}.wav").write_bytes(b"y" * (number + 20))
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "model.safetensors").write_bytes(b"x")
    return folder


@pytest.fixture
def catalogue(tmp_path: Path, pictures: Path):
    with Catalogue.open(tmp_path / "collection", create=True) as made:
        made.scan(made.add_source(FolderSource(str(pictures))).id)
        yield made


def test_a_folder_becomes_rows_in_order(catalogue: Catalogue, pictures: Path) -> None:
    table = catalogue.table()
    assert catalogue.count == len(table) == 15
    assert table.kinds.tolist() == [0] * 10 + [1] * 5
    assert (table.status == Status.NEW).all()
    assert set(table.sources.tolist()) == {catalogue.sources[0].id}
    picture, sound = catalogue.items([3, 12])
    assert (picture.name, picture.kind, picture.size_bytes) == ("3.png", Modality.IMAGE, 4)
    assert Path(sound.path or "") == pictures / "below" / "2.wav"
    assert picture.modified == pytest.approx((pictures / "3.png").stat().st_mtime)
    assert [each.row for each in catalogue.items([5, 1, 5])] == [5, 1, 5]


def test_a_reader_sees_each_commit(catalogue: Catalogue) -> None:
    info = space(catalogue)
    with Catalogue.open(catalogue.folder, readonly=True) as reader:
        before = reader.change
        given = vectors(4)
        with catalogue.begin_batch() as batch:
            batch.set_content([0, 1, 2, 3], [name(each) for each in range(4)])
            batch.append_vectors(info.id, [name(each) for each in range(4)], given)
            batch.fail([4], ["4.png is broken; make it again."])
            assert reader.change == before
        assert reader.change > before
        seen = reader.vectors(info.id)
        assert seen.index.tolist() == [0, 1, 2, 3] + [-1] * 11
        assert seen.info.count == 4
        np.testing.assert_array_equal(seen.take(np.array([2, 0])), given[[2, 0]].astype(np.float32))
        assert reader.table().status.tolist() == [1, 1, 1, 1, 2] + [0] * 10
        assert [(each.row, each.reason) for each in reader.failures()] == [
            (4, "4.png is broken; make it again.")
        ]
        assert reader.pending(info.id).tolist() == list(range(5, 15))
        with pytest.raises(CollectionError, match="reading only"):
            reader.retry([4])


def test_equal_contents_share_a_vector_and_models_live_side_by_side(catalogue: Catalogue) -> None:
    first, second = space(catalogue), space(catalogue, "other weights")
    assert first.id != second.id
    assert space(catalogue).id == first.id
    with catalogue.begin_batch() as batch:
        batch.set_content([0, 7], [name(1), name(1)])
        batch.append_vectors(first.id, [name(1)], vectors(1))
    assert catalogue.vectors(first.id).index[[0, 7]].tolist() == [0, 0]
    with catalogue.begin_batch() as batch:  # known by now: nothing is written again
        batch.set_content([9], [name(1)])
        batch.append_vectors(first.id, [name(1)], vectors(1, seed=3))
        batch.append_vectors(second.id, [name(1)], vectors(1, seed=4))
    assert [each.count for each in catalogue.spaces()] == [1, 1]
    np.testing.assert_array_equal(catalogue.vectors(first.id).matrix, vectors(1))
    np.testing.assert_array_equal(catalogue.vectors(second.id).matrix, vectors(1, seed=4))
    assert catalogue.vectors(second.id).rows().tolist() == [0, 7, 9]
    assert catalogue.known(first.id, [name(1), name(2)]).tolist() == [True, False]


def test_content_that_was_seen_under_another_row_is_not_embedded_again(catalogue: Catalogue) -> None:
    info = space(catalogue)
    with catalogue.begin_batch() as batch:
        batch.append_vectors(info.id, [name(5)], vectors(1))
    assert not len(catalogue.vectors(info.id).rows())
    with catalogue.begin_batch() as batch:
        batch.set_content([11], [name(5)], [Modality.TEXT])
    assert catalogue.vectors(info.id).rows().tolist() == [11]
    assert catalogue.items([11])[0].kind is Modality.TEXT


def test_a_failed_batch_leaves_nothing(catalogue: Catalogue) -> None:
    info = space(catalogue)
    with pytest.raises(ZeroDivisionError), catalogue.begin_batch() as batch:  # noqa: PT012 - fails at its end
        batch.set_content([0], [name(1)])
        batch.append_vectors(info.id, [name(1)], vectors(1))
        _ = 1 / 0
    assert catalogue.table().status[0] == Status.NEW
    assert catalogue.vectors(info.id).info.count == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.ones((2, 5)), "have 8 numbers"),
        (np.ones((3, WIDTH)), "for 2 items"),
        (np.array([[np.nan] * WIDTH, [1.0] * WIDTH]), "1 of 2 vectors hold NaN"),
        (np.array([[1e9] * WIDTH, [1.0] * WIDTH]), "1 of 2 vectors hold NaN, infinity"),
        (np.zeros((2, WIDTH)), "2 of 2 .* only zeros"),
    ],
)
def test_vectors_without_a_direction_are_refused(catalogue: Catalogue, given: np.ndarray, says: str) -> None:
    info = space(catalogue)
    with pytest.raises(InputError, match=says), catalogue.begin_batch() as batch:
        batch.append_vectors(info.id, [name(1), name(2)], given)
    assert catalogue.spaces()[0].count == 0


def test_rows_hashes_and_spaces_that_cannot_be(catalogue: Catalogue) -> None:
    for rows in ([15], [-1]):
        with pytest.raises(InputError, match="15 items"):
            catalogue.items(rows)
    with pytest.raises(InputError, match="no content hash"), catalogue.begin_batch() as batch:
        batch.set_content([0], ["../../etc"])
    with pytest.raises(InputError, match="no vectors of nothing"):
        catalogue.vectors("nothing")
    with pytest.raises(InputError, match="cannot be kept"):
        space(catalogue, width=0)


def test_what_is_removed_while_it_is_read_stays_removed(catalogue: Catalogue) -> None:
    with catalogue.begin_batch() as batch:
        batch.set_content([0, 1], [name(0), name(1)])
        batch.fail([2], ["2.png is broken."])
        catalogue.remove_items([0, 2])
    assert catalogue.table().status[:3].tolist() == [Status.REMOVED, Status.READY, Status.REMOVED]


def test_a_scan_that_is_cancelled_leaves_whole_commits(catalogue: Catalogue, pictures: Path) -> None:
    (pictures / "new.png").write_bytes(b"new")
    stop = Event()
    told = []

    def report(done: float, total: float | None, message: str) -> None:
        told.append(message)
        stop.set()

    with pytest.raises(Cancelled):
        catalogue.scan(catalogue.sources[0].id, Progress(report, stop))
    assert told
    assert catalogue.count == 15
    assert catalogue.verify().sound
    assert catalogue.scan(catalogue.sources[0].id).added == 1


def test_labels_can_be_given_while_a_folder_is_walked(catalogue: Catalogue) -> None:
    """The walk holds the catalogue for a chunk only, not until its end."""
    done: list[bool] = []

    def report(*_: object) -> None:
        other = Thread(target=lambda: (catalogue.set_labels([0], "owl"), done.append(True)))
        other.start()
        other.join(20)

    catalogue.scan(catalogue.sources[0].id, Progress(report))
    assert done
    assert catalogue.labels()[1] == ("owl",)


def test_find_takes_signs_as_they_are(catalogue: Catalogue) -> None:
    assert catalogue.find("BELOW/").tolist() == [10, 11, 12, 13, 14]
    assert catalogue.find("3.").tolist() == [3, 13]
    assert not len(catalogue.find("%"))
    assert catalogue.find(".", limit=2).tolist() == [0, 1]


class TestScanAgain:
    """A second look finds what changed since the first."""

    @pytest.fixture(autouse=True)
    def _embedded(self, catalogue: Catalogue) -> None:
        self.info = space(catalogue)
        with catalogue.begin_batch() as batch:
            batch.set_content(range(15), [name(each) for each in range(15)])
            batch.append_vectors(self.info.id, [name(each) for each in range(15)], vectors(15))

    def scan(self, catalogue: Catalogue):
        return catalogue.scan(catalogue.sources[0].id)

    def test_nothing_new(self, catalogue: Catalogue) -> None:
        report = self.scan(catalogue)
        assert (report.added, report.changed, report.missing, report.back, report.renamed) == (0,) * 5
        assert not len(catalogue.pending(self.info.id))

    def test_new_changed_gone_and_back(self, catalogue: Catalogue, pictures: Path) -> None:
        (pictures / "new.png").write_bytes(b"new")
        (pictures / "1.png").write_bytes(b"changed")
        kept = (pictures / "2.png").stat()
        (pictures / "2.png").rename(pictures.parent / "elsewhere.png")
        report = self.scan(catalogue)
        assert (report.added, report.changed, report.missing, report.renamed) == (1, 1, 1, 0)
        assert catalogue.pending(self.info.id).tolist() == [1, 15]
        gone = catalogue.items([2])[0]
        assert gone.status is Status.MISSING
        assert gone.reason == "2.png does not exist (any more); check where it was moved to."
        (pictures.parent / "elsewhere.png").rename(pictures / "2.png")
        assert (pictures / "2.png").stat().st_mtime_ns == kept.st_mtime_ns
        report = self.scan(catalogue)
        assert (report.back, report.missing) == (1, 0)
        assert catalogue.items([2])[0].status is Status.READY
        assert catalogue.items([2])[0].reason == ""

    def test_a_renamed_file_keeps_its_row_and_vector(self, catalogue: Catalogue, pictures: Path) -> None:
        (pictures / "4.png").rename(pictures / "below" / "owl.png")
        report = self.scan(catalogue)
        assert (report.renamed, report.added, report.missing) == (1, 0, 0)
        item = catalogue.items([4])[0]
        assert (item.name, item.status) == ("owl.png", Status.READY)
        assert catalogue.vectors(self.info.id).index[4] == 4

    def test_a_moved_folder_is_told_and_can_be_found_again(
        self, catalogue: Catalogue, pictures: Path
    ) -> None:
        pictures.rename(pictures.with_name("moved"))
        with pytest.raises(MediaError, match="pictures does not exist"):
            self.scan(catalogue)
        assert (catalogue.table().status == Status.READY).all()
        catalogue.move_source(catalogue.sources[0].id, pictures.with_name("moved"))
        report = self.scan(catalogue)
        assert (report.added, report.missing, report.changed) == (0, 0, 0)
        assert Path(catalogue.items([0])[0].path or "").is_file()

    def test_removed_items_stay_away_and_a_removed_source_comes_back(self, catalogue: Catalogue) -> None:
        catalogue.remove_items([0])
        self.scan(catalogue)
        assert catalogue.table().status[0] == Status.REMOVED
        spec = catalogue.sources[0].spec
        catalogue.remove_source(catalogue.sources[0].id)
        assert catalogue.sources == ()
        assert (catalogue.table().status == Status.REMOVED).all()
        catalogue.add_source(spec)
        assert (catalogue.table().status == Status.READY).all()
        assert len(catalogue.vectors(self.info.id).rows()) == 15


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = "caf\udce9.png"  # Latin-1 bytes as the system gives them
    try:
        (folder / odd).write_bytes(b"x")
    except (OSError, UnicodeError):
        pytest.skip("this file system holds Unicode names only")
    with Catalogue.open(tmp_path / "collection", create=True) as catalogue:
        source = catalogue.add_source(FolderSource(str(folder)))
        assert catalogue.scan(source.id).added == 1
        assert catalogue.scan(source.id).added == 0
        item = catalogue.items([0])[0]
        assert Path(item.path or "").is_file()
        item.name.encode()


class TestOpening:
    """One writer, any number of readers; what is no collection is told in a sentence."""

    def test_a_second_writer_is_told(self, catalogue: Catalogue) -> None:
        with pytest.raises(CollectionError, match="being written by another mmviewer"):
            Catalogue.open(catalogue.folder)
        code = (
            f"from mmviewer.core.space.collection import Catalogue; Catalogue.open({str(catalogue.folder)!r})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "being written by another mmviewer" in done.stderr
        catalogue.close()
        Catalogue.open(catalogue.folder).close()

    def test_a_newer_version(self, catalogue: Catalogue) -> None:
        catalogue.close()
        with sqlite3.connect(catalogue.folder / "catalogue.sqlite") as raw:
            raw.execute("PRAGMA user_version = 7")
        for readonly in (True, False):
            with pytest.raises(CollectionError, match=r"newer mmviewer \(format 7, this one knows 1\)"):
                Catalogue.open(catalogue.folder, readonly=readonly)

    def test_no_collection(self, tmp_path: Path) -> None:
        with pytest.raises(CollectionError, match="is not a collection"):
            Catalogue.open(tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "photo.png").touch()
        with pytest.raises(CollectionError, match="holds other files"):
            Catalogue.open(tmp_path / "full", create=True)
        for content in (b"no database at all, but long enough to be one" * 50, b""):
            (tmp_path / "false").mkdir(exist_ok=True)
            (tmp_path / "false" / "catalogue.sqlite").write_bytes(content)
            with pytest.raises(CollectionError, match="is not a collection"):
                Catalogue.open(tmp_path / "false", readonly=True)
        with sqlite3.connect(tmp_path / "false" / "catalogue.sqlite") as raw:
            raw.execute("CREATE TABLE items (x)")
        with pytest.raises(CollectionError, match="is not a collection"):
            Catalogue.open(tmp_path / "false")

    def test_opening_needs_no_torch_and_no_qt(self, catalogue: Catalogue) -> None:
        code = (
            "import sys\nfrom mmviewer.core.space.collection import Catalogue\n"
            f"Catalogue.open({str(catalogue.folder)!r}, readonly=True).table()\n"
            "print(sorted({'torch', 'PySide6', 'pyarrow', 'sklearn', 'PIL'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "torch" not in done.stdout
        assert "PySide6" not in done.stdout
        assert "pyarrow" not in done.stdout
