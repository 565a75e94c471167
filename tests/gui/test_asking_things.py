"""Files, regions and patches as questions: the real window's panels, engine and starter, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.models.loader import load_model
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.tasks.embed import embed
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.tasks.layers import patch_embeddings
from mmviewer.core.types import ModelInfo
from mmviewer.gui.panels.map import MapPanel
from mmviewer.gui.panels.regions import RegionsPanel
from mmviewer.gui.questions import Found
from mmviewer.gui.workbench import Workbench

LEFT, NO_KEYS = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
PATIENCE = 60_000
NEW = paths.samples() / "scene-owl-guitar.png"  # not in the collection


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(str(paths.starter_model()))


@pytest.fixture(scope="module")
def made(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A collection of four pictures and a sound; its vectors [5, D]."""
    files, folder = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("collection")
    pictures = [path for path in sorted(paths.samples().glob("scene-*.png")) if path != NEW][:4]
    for path in (*pictures, paths.samples() / "sound-guitar.wav"):
        (files / path.name).write_bytes(path.read_bytes())
    info = model.info
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        media = [open_media(item.path) for item in catalogue.items(range(catalogue.count))]
        vectors = embed(model, media).vectors
        space = catalogue.add_space(
            model_id=info.id,
            label=info.label,
            width=vectors.shape[1],
            weights_hash=info.weights_hash,
            preprocessing=info.preprocessing,
        )
        names = [f"{row:064x}" for row in range(len(media))]
        with catalogue.begin_batch() as batch:
            batch.set_content(range(len(media)), names, [each.modality for each in media])
            batch.append_vectors(space.id, names, vectors.astype(np.float16))
        catalogue.save_coordinates("pca:x", space.id, "pca", {}, vectors[:, :2].astype(np.float32))
    return folder, vectors


@pytest.fixture
def panel(
    qtbot: QtBot, bench: Workbench, starter: ModelInfo, made: tuple[Path, np.ndarray]
) -> Iterator[MapPanel]:
    bench.settings.generate_on_choose = False
    bench.state.set_model(starter)
    widget = MapPanel(bench)
    qtbot.addWidget(widget)
    widget.resize(1100, 800)
    widget.show()
    qtbot.waitExposed(widget)
    bench.collections.show()
    assert bench.collections.open(made[0])
    qtbot.waitUntil(lambda: widget.map.count == 5 and not widget.stack.message)
    yield widget
    widget.release()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def drop(widget: QWidget, path: Path) -> bool:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    enter = QDragEnterEvent(QPoint(9, 9), Qt.DropAction.CopyAction, mime, LEFT, NO_KEYS)
    QApplication.sendEvent(widget, enter)
    if enter.isAccepted():
        let_go = QDropEvent(QPointF(9, 9), enter.dropAction(), mime, LEFT, NO_KEYS, QEvent.Type.Drop)
        QApplication.sendEvent(widget, let_go)
    return enter.isAccepted()


def answer(qtbot: QtBot, bench: Workbench, before: Found | None) -> Found:
    asking = bench.collection_asking
    qtbot.waitUntil(lambda: asking.result not in (None, before), timeout=PATIENCE)
    assert asking.result is not None
    return asking.result


def is_ranked_by(found: Found, vectors: np.ndarray, query: np.ndarray) -> None:
    cosines = unit(vectors.astype(np.float32)) @ unit(query)
    assert found.rows.tolist() == np.argsort(-cosines, kind="stable").tolist()
    np.testing.assert_allclose(found.cosines, cosines[found.rows], atol=3e-3)  # float16 in the collection


def region_of(prepared: Prepared) -> Annotation:
    """Exactly four patches of a picture."""
    top, left, _, _ = prepared.geometry.cell_box(1, 2)
    _, _, bottom, right = prepared.geometry.cell_box(2, 3)
    return Annotation("four", "box", ((left, top), (right, bottom)))


def patch_mean(model: LoadedModel, prepared: Prepared) -> np.ndarray:
    rows, columns = prepared.geometry.grid
    patches = unit(patch_embeddings(model, prepared)).reshape(rows, columns, -1)
    return patches[1:3, 2:4].reshape(4, -1).mean(axis=0)


def test_a_dropped_file_is_asked_with_and_summed_with_words(
    panel: MapPanel, bench: Workbench, model: LoadedModel, made: tuple[Path, np.ndarray], qtbot: QtBot
) -> None:
    _, vectors = made
    file = embed(model, [open_media(NEW)]).vectors[0]
    assert drop(panel, NEW)
    alone = answer(qtbot, bench, None)
    is_ranked_by(alone, vectors, file)
    assert panel.question.thing.isVisible()
    assert panel.side.near.rows.tolist() == alone.rows.tolist()
    assert [row for row, _ in panel.map._pins[0].near] == alone.rows.tolist()
    assert bench.state.items == ()  # the question is no item of the library
    word = FeatureCache().of_texts(model, ["a guitar"])[0]
    qtbot.keyClicks(panel.ask, "a guitar - this")
    qtbot.keyClick(panel.ask, Qt.Key.Key_Return)
    difference = answer(qtbot, bench, alone)
    is_ranked_by(difference, vectors, unit(word) - unit(file))
    chips = panel.chips.chips
    assert [chip.text for chip in chips] == [f"a guitar − {NEW.name}", NEW.name]
    assert all(chip.picture is not None for chip in chips)
    qtbot.mouseClick(panel.question.thing.close_button, LEFT)
    assert not panel.question.thing.isVisible()
    qtbot.mouseClick(panel.chips.chip(chips[0].key), LEFT)
    again = answer(qtbot, bench, difference)
    assert again.rows.tolist() == difference.rows.tolist()
    assert panel.ask.text() == "a guitar - this"
    assert panel.question.thing.isVisible()


def test_a_sound_file_and_the_current_item_are_asked_with(
    panel: MapPanel, bench: Workbench, model: LoadedModel, made: tuple[Path, np.ndarray], qtbot: QtBot
) -> None:
    _, vectors = made
    sound = paths.samples() / "please-open.wav"
    assert drop(panel.question, sound)
    found = answer(qtbot, bench, None)
    is_ranked_by(found, vectors, embed(model, [open_media(sound)]).vectors[0])
    picture = open_media(NEW)
    item = LibraryItem(picture, "mine")
    bench.state.set_items([item])
    bench.state.set_current(item)
    qtbot.mouseClick(panel.question.item, LEFT)
    found = answer(qtbot, bench, found)
    is_ranked_by(found, vectors, embed(model, [picture]).vectors[0])
    assert found.query.text == "mine"


def test_a_region_is_found_as_a_whole_and_by_patches(
    panel: MapPanel, bench: Workbench, model: LoadedModel, made: tuple[Path, np.ndarray], qtbot: QtBot
) -> None:
    folder, vectors = made
    picture = open_media(NEW)
    prepared = model.prepare(picture)
    region = region_of(prepared)
    regions = RegionsPanel(bench)
    qtbot.addWidget(regions)
    regions.show()
    item = LibraryItem(picture, "owl and guitar")
    bench.state.set_items([item])
    bench.state.set_annotations(item.id, (region,))
    bench.state.set_current(item)
    assert not regions.seek.isEnabled()
    bench.annotations.choose(region.id)
    bench.collections.show(False)
    qtbot.mouseClick(regions.seek, LEFT)
    assert bench.collections.is_shown
    whole = answer(qtbot, bench, None)
    query = patch_mean(model, prepared)
    is_ranked_by(whole, vectors, query)
    assert whole.query.text == "“four” in owl and guitar"
    # by patches: what indexing takes is said first
    qtbot.mouseClick(panel.question.by_patches, LEFT)
    qtbot.waitUntil(panel.cost.isVisible, timeout=PATIENCE)
    rows, columns = prepared.geometry.grid
    assert f"4 images ({4 * rows * columns:,} vectors" in panel.cost.text.text()
    qtbot.mouseClick(panel.cost.button, LEFT)
    found = answer(qtbot, bench, whole)
    with Catalogue.open(folder, readonly=True) as catalogue:
        images = [item for item in catalogue.items(range(4)) if item.path is not None]
    shown = [model.prepare(open_media(item.path)) for item in images]
    cosines = np.array([unit(patch_embeddings(model, each)) @ unit(query) for each in shown])
    order = np.argsort(-cosines.max(axis=1))
    assert found.rows.tolist() == order.tolist()
    np.testing.assert_allclose(found.cosines, cosines.max(axis=1)[order], atol=2e-3)
    first = int(order[0])
    geometry = shown[first].geometry
    box = np.array(geometry.cell_box(*divmod(int(cosines[first].argmax()), columns)))
    np.testing.assert_allclose(found.boxes[first], box / np.tile(geometry.source, 2), atol=1e-4)
    assert panel.side.near._boxes == found.boxes
    assert panel.chips.chips[0].text == "“four” in owl and guitar · by patches"
    assert panel.question.by_patches.isChecked()
    panel.side.near.grab()  # the boxes are painted
    regions.release()


def test_another_model_is_refused_with_what_to_do(
    panel: MapPanel, bench: Workbench, made: tuple[Path, np.ndarray], qtbot: QtBot
) -> None:
    with Catalogue.open(made[0]) as catalogue:
        width = catalogue.spaces()[0].width
        other = catalogue.add_space(
            model_id="o", label="Other model", width=width, weights_hash="w", preprocessing="p"
        )
        with catalogue.begin_batch() as batch:
            batch.append_vectors(other.id, [f"{0:064x}"], np.ones((1, width), np.float16))
    bench.collections.look_again()
    bench.collections.choose_space(other.id)
    told: list[str] = []
    bench.error.connect(lambda report: told.append(report.message))
    bench.collection_asking.ask_file(str(NEW))
    qtbot.waitUntil(lambda: len(told) == 1, timeout=PATIENCE)
    item = LibraryItem(open_media(NEW), "owl")
    bench.collection_asking.ask_region(item, Annotation("all", "box", ((0, 0), (200, 200))))
    qtbot.waitUntil(lambda: len(told) == 2, timeout=PATIENCE)
    bench.collection_asking.set_by_patches(True)
    qtbot.waitUntil(lambda: len(told) == 3, timeout=PATIENCE)
    assert all("made by Other model" in words and "load the model that made it" in words for words in told)
    assert not panel.question.by_patches.isChecked()
