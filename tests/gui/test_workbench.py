"""The controller over a real engine and a real model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.types import Modality, ModelInfo
from mmviewer.engine.protocol import ErrorReport, Explain, Generate
from mmviewer.gui.controllers.memory import MediaMemory, thinned
from mmviewer.gui.workbench import Workbench

PATIENCE = 60_000


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three files with different content."""
    files = []
    for number, colour in enumerate(((200, 30, 30), (30, 200, 30), (30, 30, 200))):
        files.append(tmp_path / f"picture-{number}.png")
        Image.new("RGB", (64, 48), colour).save(files[-1])
    return files


@pytest.fixture
def seeing(bench: Workbench, starter: ModelInfo) -> Workbench:
    """The workbench with a captioning model."""
    bench.state.set_model(starter)
    return bench


def open_all(bench: Workbench, qtbot: QtBot, files: list[Path]) -> None:
    bench.open_paths(files)
    qtbot.waitUntil(lambda: len(bench.state.items) == len(files), timeout=PATIENCE)


def requests(bench: Workbench, kind: type) -> list:
    """Collects the requests of a kind that go to the engine from now on."""
    found: list = []
    bench.jobs.job_started.connect(
        lambda job: found.append(job.request) if type(job.request) is kind else None
    )
    return found


# --- library ----------------------------------------------------------------------------------
def test_files_come_in_and_the_first_is_current(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(bench, qtbot, pictures)
    assert [item.name for item in bench.state.items] == [path.name for path in pictures]
    assert bench.state.current is not None
    assert bench.state.current.name == "picture-0.png"
    assert bench.settings.recent_files[0] == str(pictures[0])


def test_equal_content_is_one_item_and_is_chosen(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(bench, qtbot, pictures)
    copy = pictures[2].with_name("again.png")
    shutil.copy(pictures[2], copy)
    bench.open_paths([copy])
    qtbot.waitUntil(lambda: bench.state.current.name == "picture-2.png", timeout=PATIENCE)
    assert len(bench.state.items) == 3


def test_a_broken_file_is_reported_and_the_others_go_on(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    pictures[1].write_bytes(pictures[1].read_bytes()[:40])
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    bench.open_paths(pictures)
    qtbot.waitUntil(lambda: len(bench.state.items) == 2 and bool(errors), timeout=PATIENCE)
    assert len(errors) == 1
    assert "picture-1.png" in errors[0].message


def test_many_broken_files_are_one_notice(bench: Workbench, qtbot: QtBot, tmp_path: Path):
    for number in range(5):
        (tmp_path / f"bad-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    bench.open_paths(sorted(tmp_path.glob("bad-*.png")))
    qtbot.waitUntil(lambda: bool(errors), timeout=PATIENCE)
    assert len(errors) == 1
    assert errors[0].message.startswith("5 of 5 files")
    assert "bad-4.png" in errors[0].details


def test_remove_and_rename_can_be_undone(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(bench, qtbot, pictures)
    ids = [item.id for item in bench.state.items]
    bench.rename(ids[1], "  green \n field ")
    assert bench.state.item(ids[1]).name == "green field"
    bench.remove([ids[0], ids[1]])
    assert [item.id for item in bench.state.items] == [ids[2]]
    assert bench.state.current.id == ids[2]
    bench.undo_stack.undo()
    assert [item.id for item in bench.state.items] == ids
    bench.undo_stack.undo()
    assert bench.state.item(ids[1]).name == "picture-1.png"
    bench.undo_stack.redo()
    assert bench.state.item(ids[1]).name == "green field"
    bench.remove(ids)
    assert bench.state.items == ()
    assert bench.state.current is None


def test_paste_takes_files_images_and_text(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    files, image, words = QMimeData(), QMimeData(), QMimeData()
    files.setUrls([QUrl.fromLocalFile(str(pictures[0]))])
    drawn = QImage(20, 10, QImage.Format.Format_RGB32)
    drawn.fill(QColor("#405060"))
    image.setImageData(drawn)
    words.setText("a red bicycle")
    for count, mime in enumerate((files, image, words), start=1):
        bench.paste(mime)
        qtbot.waitUntil(lambda count=count: len(bench.state.items) == count, timeout=PATIENCE)
    assert [item.media.modality for item in bench.state.items] == [
        Modality.IMAGE,
        Modality.IMAGE,
        Modality.TEXT,
    ]
    pasted = bench.state.items[1].media
    assert pasted.size == (10, 20)
    assert tuple(pasted.pixels[0, 0]) == (0x40, 0x50, 0x60)
    assert Path(pasted.path).is_relative_to(paths.cache_dir())
    assert bench.state.current.media.text == "a red bicycle"


def test_pasting_nothing_says_so(bench: Workbench):
    notices: list[str] = []
    bench.notice.connect(lambda message, _level: notices.append(message))
    bench.paste(QMimeData())
    assert notices == ["There is no image, sound, text or file to paste."]


def test_media_beyond_the_budget_keep_a_thumbnail_and_come_back(
    bench: Workbench, qtbot: QtBot, tmp_path: Path
):
    files = []
    for number in range(4):
        files.append(tmp_path / f"big-{number}.png")
        Image.new("RGB", (600, 400), (number * 60, 0, 0)).save(files[-1])
    memory = MediaMemory(bench, budget=2 * 600 * 400 * 3)
    open_all(bench, qtbot, files)
    last = bench.state.items[-1]
    bench.choose(bench.state.items[0].id)
    qtbot.wait(10)
    reduced = [item for item in bench.state.items if item.media.pixels.shape[0] < 400]
    assert len(reduced) == 2
    assert all(item.media.size == (400, 600) for item in reduced)
    bench.choose(reduced[0].id)
    qtbot.waitUntil(lambda: bench.state.current.media.pixels.shape == (400, 600, 3), timeout=PATIENCE)
    assert bench.state.current.id == reduced[0].id
    assert last.id in {item.id for item in bench.state.items}
    memory.release()


def test_a_thinned_sound_keeps_its_duration(bench: Workbench, qtbot: QtBot):
    open_all(bench, qtbot, [paths.samples() / "please-open.wav"])
    media = bench.state.items[0].media
    small = thinned(media)
    assert len(small.samples) < len(media.samples) / 100
    assert small.duration == pytest.approx(media.duration, abs=0.02)


# --- tokens and maps --------------------------------------------------------------------------
def test_a_chosen_image_is_captioned_and_mapped(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures[:1])
    qtbot.waitUntil(lambda: seeing.state.maps is not None, timeout=PATIENCE)
    sequence, maps = seeing.state.sequence, seeing.state.maps
    assert sequence.kind == "caption"
    assert sequence.finished
    assert len(maps.values) == len(sequence.tokens)
    assert np.isfinite(maps.values).all()


def test_going_back_asks_the_engine_nothing(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures[:2])
    first, second = (item.id for item in seeing.state.items)
    kept = {}
    for item_id in (first, second):
        seeing.choose(item_id)
        qtbot.waitUntil(
            lambda i=item_id: seeing.state.maps is not None and seeing.state.maps.media_id == i,
            timeout=PATIENCE,
        )
        kept[item_id] = (seeing.state.sequence, seeing.state.maps)
    captions, explains = requests(seeing, Generate), requests(seeing, Explain)
    seeing.choose(first)
    assert seeing.state.sequence is kept[first][0]
    qtbot.waitUntil(lambda: seeing.state.maps is kept[first][1], timeout=PATIENCE)
    assert captions == explains == []


def test_a_query_takes_the_captions_place_and_gives_it_back(
    seeing: Workbench, qtbot: QtBot, pictures: list[Path]
):
    open_all(seeing, qtbot, pictures[:1])
    qtbot.waitUntil(lambda: seeing.state.maps is not None, timeout=PATIENCE)
    caption = seeing.state.sequence
    seeing.query("a red square")
    qtbot.waitUntil(lambda: seeing.state.sequence.kind == "query", timeout=PATIENCE)
    assert seeing.state.sequence.text == "a red square"
    qtbot.waitUntil(
        lambda: (
            seeing.state.maps is not None
            and len(seeing.state.maps.values) == len(seeing.state.sequence.tokens)
        ),
        timeout=PATIENCE,
    )
    seeing.query("")
    assert seeing.state.sequence == caption


def test_maps_of_another_item_never_stay(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures[:2])
    qtbot.waitUntil(lambda: seeing.state.maps is not None, timeout=PATIENCE)
    shown: list[tuple[str, str]] = []
    seeing.state.maps_changed.connect(
        lambda maps: shown.append((maps.media_id, seeing.state.current.id)) if maps is not None else None
    )
    for number in (1, 0, 1):
        seeing.choose(seeing.state.items[number].id)
    last = seeing.state.items[1].id
    qtbot.waitUntil(
        lambda: seeing.state.maps is not None and seeing.state.maps.media_id == last, timeout=PATIENCE
    )
    assert all(map_item == current for map_item, current in shown)


def test_another_layer_gives_other_maps_and_back_the_same(
    seeing: Workbench, qtbot: QtBot, pictures: list[Path]
):
    open_all(seeing, qtbot, pictures[:1])
    qtbot.waitUntil(lambda: seeing.state.maps is not None, timeout=PATIENCE)
    before, spec = seeing.state.maps, seeing.state.spec
    seeing.state.set_spec(type(spec)(method=spec.method, layer=0))
    qtbot.waitUntil(lambda: seeing.state.maps is not before, timeout=PATIENCE)
    assert seeing.state.maps.spec.layer == 0
    seeing.state.set_spec(spec)
    qtbot.waitUntil(lambda: seeing.state.maps is before, timeout=PATIENCE)


def test_heads_follow_the_chosen_tokens(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures[:1])
    qtbot.waitUntil(lambda: seeing.state.maps is not None, timeout=PATIENCE)
    seeing.state.set_tokens((1,))
    seeing.refresh_heads()
    qtbot.waitUntil(lambda: seeing.state.heads is not None, timeout=PATIENCE)
    assert seeing.state.heads.tokens == (1,)


def test_a_sound_is_transcribed_by_the_speech_model(bench: Workbench, qtbot: QtBot, speech: ModelInfo):
    bench.state.set_speech_model(speech)
    open_all(bench, qtbot, [paths.samples() / "please-open.wav"])
    qtbot.waitUntil(
        lambda: bench.state.sequence is not None and bench.state.sequence.finished, timeout=PATIENCE
    )
    assert bench.state.sequence.kind == "transcript"
    assert "kitchen light" in bench.state.sequence.text
    qtbot.waitUntil(lambda: bench.state.maps is not None, timeout=PATIENCE)
    assert bench.state.maps.values.ndim == 2


# --- labels and space -------------------------------------------------------------------------
def test_labels_are_scored_for_all_items(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures)
    seeing.state.set_labels(("cat", "dog"), ("a {}",))
    qtbot.waitUntil(lambda: seeing.state.scores is not None, timeout=PATIENCE)
    scores = seeing.state.scores
    assert set(scores.items) == {item.id for item in seeing.state.items}
    assert scores.probabilities.shape == (3, 2)
    assert scores.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    seeing.state.set_labels((), ("a {}",))
    qtbot.waitUntil(lambda: seeing.state.scores is None, timeout=PATIENCE)


def test_items_are_placed_in_the_plane(seeing: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(seeing, qtbot, pictures)
    seeing.project("pca")
    qtbot.waitUntil(lambda: seeing.state.projection is not None, timeout=PATIENCE)
    assert seeing.state.projection.coordinates.shape == (3, 2)


# --- models -----------------------------------------------------------------------------------
def test_a_model_that_is_not_there_is_a_sentence(bench: Workbench, qtbot: QtBot, tmp_path: Path):
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    bench.load_model(str(tmp_path / "nothing-here"))
    qtbot.waitUntil(lambda: bool(errors), timeout=PATIENCE)
    assert "nothing-here" in errors[0].message
    assert bench.state.model is None
    assert bench.activity("model").error == errors[0]


def test_without_a_model_captioning_says_what_to_do(bench: Workbench, qtbot: QtBot, pictures: list[Path]):
    open_all(bench, qtbot, pictures[:1])
    notices: list[str] = []
    bench.notice.connect(lambda message, _level: notices.append(message))
    bench.generate()
    assert "load one" in notices[0]
