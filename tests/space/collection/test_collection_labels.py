"""Columns, hand labels with their journal, kept maps and small pictures."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.space.collection import Catalogue, FolderSource, Thumbnails
from mmviewer.core.space.collection.thumbnails import LARGEST, picture_of, waveform
from mmviewer.core.types import Media, Modality

COUNT = 1500


@pytest.fixture
def catalogue(tmp_path: Path):
    """A collection of 1,500 texts, more than one block."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:04}.txt").touch()
    with Catalogue.open(tmp_path / "collection", create=True) as made:
        made.scan(made.add_source(FolderSource(str(folder))).id)
        yield made


def labelled(catalogue: Catalogue, name: str = "label") -> dict[str, list[int]]:
    codes, names = catalogue.labels(name)
    return {each: np.flatnonzero(codes == place).tolist() for place, each in enumerate(names)}


def test_labels_are_undone_and_done_again_after_a_restart(catalogue: Catalogue) -> None:
    assert catalogue.labels()[1] == ()
    catalogue.set_labels([1, 2, 1400], "owl")
    catalogue.set_labels([2, 3], "dog")
    assert labelled(catalogue) == {"owl": [1, 1400], "dog": [2, 3]}
    assert catalogue.items([2])[0].extra == {"label": "dog"}
    assert catalogue.steps() == (2, 0)
    folder = catalogue.folder
    catalogue.close()
    with Catalogue.open(folder) as again:
        assert again.undo().tolist() == [2, 3]
        assert labelled(again) == {"owl": [1, 2, 1400], "dog": []}
        assert again.undo().tolist() == [1, 2, 1400]
        assert labelled(again)["owl"] == []
        assert not len(again.undo())
        assert again.steps() == (0, 2)
        again.redo()
        again.redo()
        assert labelled(again) == {"owl": [1, 1400], "dog": [2, 3]}
        assert not len(again.redo())
        again.undo()
        again.set_labels([9], None)  # what was undone cannot come back after another step
        assert again.steps() == (2, 0)
        assert not len(again.redo())


def test_sets_of_labels_are_separate(catalogue: Catalogue) -> None:
    catalogue.set_labels([0], "good", name="quality")
    catalogue.set_labels([0], "owl", name="animal")
    assert catalogue.items([0])[0].extra == {"quality": "good", "animal": "owl"}
    assert [(each.name, each.kind, each.by_hand) for each in catalogue.columns()] == [
        ("quality", "category", True),
        ("animal", "category", True),
    ]
    catalogue.set_labels([0], None, name="animal")
    assert catalogue.items([0])[0].extra == {"quality": "good"}


def test_labels_that_cannot_be(catalogue: Catalogue) -> None:
    for label in ("", "  ", "x" * 5000):
        with pytest.raises(InputError, match="A label has"):
            catalogue.set_labels([0], label)
    with pytest.raises(InputError, match="1,500 items"):
        catalogue.set_labels([COUNT], "owl")
    with pytest.raises(InputError, match="no column"):
        catalogue.column("nothing")
    with pytest.raises(InputError, match="no name"):
        catalogue.set_labels([0], "owl", name="\n")
    assert catalogue.columns() == ()


def test_labelling_a_million_at_once_is_one_small_step(catalogue: Catalogue) -> None:
    catalogue.set_labels(np.arange(COUNT), "all")
    assert len(labelled(catalogue)["all"]) == COUNT
    assert catalogue.undo().tolist() == list(range(COUNT))
    assert labelled(catalogue)["all"] == []


def test_maps_are_kept_and_later_items_are_not_on_them(catalogue: Catalogue, tmp_path: Path) -> None:
    xy = np.random.default_rng(0).normal(size=(COUNT, 2)).astype(np.float32)
    xy[7] = np.nan
    xy[8] = np.inf
    catalogue.save_coordinates("first", "space", "umap", {"neighbours": 15}, xy)
    (tmp_path / "texts" / "new.txt").touch()
    catalogue.scan(catalogue.sources[0].id)
    with Catalogue.open(catalogue.folder, readonly=True) as reader:
        assert reader.maps() == ("first",)
        kept = reader.coordinates("first")
    assert (kept.space_id, kept.method, kept.details) == ("space", "umap", {"neighbours": 15})
    assert kept.xy.shape == (COUNT + 1, 2)
    assert np.isnan(kept.xy[[7, 8, COUNT]]).all()
    np.testing.assert_array_equal(kept.xy[:7], xy[:7])
    with pytest.raises(InputError, match="two coordinates"):
        catalogue.save_coordinates("wide", None, "own", {}, np.zeros((COUNT, 3)))
    catalogue.remove_coordinates("first")
    with pytest.raises(InputError, match="no map"):
        catalogue.coordinates("first")


def test_a_stranger_s_blocks_that_do_not_fit_are_refused(catalogue: Catalogue) -> None:
    catalogue.set_labels([0], "owl")
    catalogue.close()
    with sqlite3.connect(catalogue.folder / "catalogue.sqlite") as raw:
        raw.execute("UPDATE blocks SET data = x'00' WHERE series LIKE 'column:%'")
    with Catalogue.open(catalogue.folder, readonly=True) as reader:
        assert len(reader.table()) == COUNT
        with pytest.raises(CollectionError, match="damaged"):
            reader.labels()


class TestThumbnails:
    """Small pictures, bounded, readable beside the writer."""

    def test_pictures_come_back_small_and_alike(self, tmp_path: Path) -> None:
        wide = np.zeros((100, 400, 3), np.uint8)
        wide[:, 200:] = (200, 40, 90)
        with Thumbnails(tmp_path) as writer, Thumbnails(tmp_path, readonly=True) as reader:
            writer.put(5, wide)
            writer.put(2, wide[:10, :10])
            assert reader.get([5]) == [None]
            writer.commit()
            first, none, second = reader.get([5, 6, 2])
            assert none is None
            assert first is not None
            assert second is not None
            assert first.shape == (16, LARGEST, 3)
            assert second.shape == (10, 10, 3)
            np.testing.assert_allclose(first[8, 56], (200, 40, 90), atol=12)
            assert writer.missing(np.array([1, 2, 5, 9])).tolist() == [1, 9]
            with pytest.raises(CollectionError, match="reading only"):
                reader.put(1, wide)
            with pytest.raises(InputError, match="uint8"):
                writer.put(1, np.zeros((5, 5, 3), np.float32))  # type: ignore[arg-type]

    def test_a_reader_before_the_first_picture(self, tmp_path: Path) -> None:
        with Thumbnails(tmp_path, readonly=True) as reader:
            assert reader.get([0]) == [None]
            with Thumbnails(tmp_path) as writer:
                writer.put(0, np.zeros((4, 4, 3), np.uint8))
            assert reader.get([0])[0] is not None

    def test_broken_and_large_ones_are_none(self, tmp_path: Path) -> None:
        from io import BytesIO

        from PIL import Image

        buffer = BytesIO()
        Image.new("RGB", (5000, 10)).save(buffer, "JPEG")
        with Thumbnails(tmp_path) as writer:
            writer.put(0, np.zeros((4, 4, 3), np.uint8))
        with sqlite3.connect(tmp_path / "thumbnails.sqlite") as raw:
            for row, blob in enumerate((b"no picture", buffer.getvalue(), b"x" * 100_000, None), start=1):
                raw.execute("INSERT INTO thumbnails VALUES (?, ?)", (row, blob))
        with Thumbnails(tmp_path, readonly=True) as reader:
            found = reader.get(range(5))
        assert found[0] is not None
        assert found[1:] == [None] * 4

    def test_a_sound_is_drawn_as_loud_as_it_is(self) -> None:
        samples = np.zeros(64_000, np.float32)
        samples[32_000:] = np.sin(np.arange(32_000))
        picture = waveform(samples)
        bars = (picture == picture[20, 63]).all(axis=2).sum(axis=0)
        assert (bars[:32] <= 2).all()
        assert (bars[32:] >= 38).all()
        media = Media("id", Modality.AUDIO, "a", samples=samples)
        np.testing.assert_array_equal(picture_of(media), picture)
        assert picture_of(Media("id", Modality.TEXT, "t", text="t")) is None
        for odd in (np.zeros(0, np.float32), np.zeros(3, np.float32), np.full(70, np.nan, np.float32)):
            assert waveform(odd).shape == picture.shape
