"""The average map of a selection: on its frame, as a strip of items, and with the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.figures import colormaps
from mmviewer.core.media.open import open_media
from mmviewer.core.space.collection import KINDS, Catalogue, FolderSource, Thumbnails
from mmviewer.core.types import Modality, ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.map_average import MapAverage
from mmviewer.gui.panels.map import MapPanel
from mmviewer.gui.widgets.frame_map import FrameMap
from mmviewer.gui.workbench import Workbench

_PATIENCE_MS = 120_000
LEFT = Qt.MouseButton.LeftButton
SCENES = ("scene-cat-dog", "scene-car-banana", "scene-owl-guitar", "scene-harbour", "scene-breakfast")


def test_cells_have_their_colours_and_tell_their_values(qtbot: QtBot) -> None:
    widget = FrameMap()
    qtbot.addWidget(widget)
    widget.resize(200, widget.heightForWidth(200))
    values = np.array([[0.0, 1.0], [np.nan, 0.5]], np.float32)
    table = colormaps.lut("viridis")
    widget.set_map(values, np.array([[3, 3], [0, 2]], np.int32), (0.0, 1.0), table)
    image = widget.grab().toImage()
    frame = widget.frame()
    assert frame.width() == frame.height()

    def colour(x: float, y: float) -> list[int]:
        at = QPoint(round(frame.left() + x * frame.width()), round(frame.top() + y * frame.height()))
        return list(image.pixelColor(at * image.devicePixelRatio()).getRgb()[:3])

    for (x, y), level in (((0.25, 0.25), 0), ((0.75, 0.25), 255), ((0.75, 0.75), 128)):
        np.testing.assert_allclose(colour(x, y), table[level], atol=2)
    hatched = {tuple(colour(x, 0.75)) for x in np.linspace(0.05, 0.45, 60)}
    assert len(hatched) > 1  # lines and their ground
    assert widget.words_at(frame.right() - 2, frame.top() + 2) == "1.00 · 3 maps have a value here"
    assert widget.words_at(frame.left() + 2, frame.bottom() - 2).startswith("no value · 0 maps")
    assert widget.words_at(-5, 5) == ""
    widget.set_map(values[:1], np.ones((1, 2), np.int32), (0.0, 1.0), table)
    assert widget.heightForWidth(200) < 100  # along time it is a strip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five scenes of different shapes, one broken file, one text, on a map; the cat's are labelled."""
    files = tmp_path / "files"
    files.mkdir()
    for number, name in enumerate(SCENES):
        with Image.open(paths.samples() / f"{name}.png") as whole:
            width, height = whole.size
            whole.convert("RGB").crop((0, 0, width, height * (10 - number) // 10)).save(files / f"{name}.png")
    (files / "x broken.png").write_bytes(b"\x89PNG but no more")
    (files / "y.txt").write_text("a cat", "utf-8")
    place = tmp_path / "things"
    with Catalogue.open(place, create=True) as catalogue, Thumbnails(place) as thumbnails:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        items = catalogue.items(range(catalogue.count))
        info = catalogue.add_space(model_id="m", label="model", width=4, weights_hash="w", preprocessing="p")
        hashes = [f"{item.row:064x}" for item in items]
        kinds = [Modality.TEXT if item.name == "y.txt" else Modality.IMAGE for item in items]
        with catalogue.begin_batch() as batch:
            batch.set_content(range(len(items)), hashes, kinds)
            batch.append_vectors(info.id, hashes, np.eye(len(items), 4) + 0.1)
        catalogue.set_labels([item.row for item in items if "cat-dog" in item.name], "cat")
        for item in items:
            if "scene" in item.name:
                pixels = open_media(item.path).pixels
                thumbnails.put(item.row, pixels[:: len(pixels) // 60, :: len(pixels) // 60])
        thumbnails.commit()
        xy = np.random.default_rng(0).normal(size=(len(items), 2)).astype(np.float32)
        catalogue.save_coordinates("pca:first", info.id, "pca", {}, xy)
    return place


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench, folder: Path) -> Iterator[MapPanel]:
    errors: list[ErrorReport] = []
    bench.error.connect(errors.append)
    widget = MapPanel(bench)
    qtbot.addWidget(widget)
    widget.resize(1200, 900)
    widget.show()
    qtbot.waitExposed(widget)
    bench.collections.show()
    assert bench.collections.open(folder)
    qtbot.waitUntil(lambda: widget.map.count == len(SCENES) + 2)
    yield widget
    assert errors == []
    widget.release()


def ask(page: MapAverage, bench: Workbench, qtbot: QtBot) -> None:
    """Press the button and wait for the whole average."""
    qtbot.mouseClick(page.run, LEFT)
    average = bench.collection_average
    qtbot.waitUntil(
        lambda: average.error is not None or (average.result is not None and len(average.result.maps) > 0),
        timeout=_PATIENCE_MS,
    )


@pytest.mark.slow
def test_a_selection_is_averaged_ranked_and_opened(
    panel: MapPanel, bench: Workbench, starter: ModelInfo, qtbot: QtBot, tmp_path: Path
) -> None:
    page, average, collections = panel.side.average, bench.collection_average, bench.collections
    panel.side.bring(page)
    qtbot.waitUntil(lambda: not page.run.isEnabled())
    assert "Load a model" in page.note.text()
    bench.state.set_model(starter)
    qtbot.waitUntil(page.run.isEnabled)
    keys = [page.method.itemData(place) for place in range(page.method.count())]
    assert tuple(keys) == starter.side(Modality.IMAGE).methods_for("query")
    assert page.method.currentData() == "gradient_attention"
    assert page.run.text() == "Average map of all 7 items"
    cat = collections.find("cat-dog")
    collections.select(cat)
    qtbot.waitUntil(lambda: page.word.text() == "cat")  # its label
    images = np.flatnonzero(collections.view.table.kinds == KINDS.index(Modality.IMAGE))
    collections.select(np.arange(len(SCENES) + 2))
    page.word.clear()
    QTest.keyClicks(page.word, "guitar")
    qtbot.waitUntil(lambda: page.run.text() == "Average map of the selection")
    ask(page, bench, qtbot)
    found = average.result
    assert found is not None
    assert sorted([*found.rows.tolist(), *(each.row for each in found.left_out)]) == images.tolist()
    assert "x broken.png" in page.left_out.text()
    assert "1 left out" in page.note.text()
    assert "Only images count: 1 of the chosen items is" in page.note.text()
    assert page.caption.text().startswith("mean of 5 maps · gradient x attention")
    assert "“guitar” · starter-coca" in page.caption.text()

    # the one that differs most comes first: reckoned again from the maps on the frame
    mean = found.maps.astype(float).mean(0)
    apart = [1 - np.corrcoef(each.ravel(), mean.ravel())[0, 1] for each in found.maps]
    assert page.strip.rows.tolist() == found.rows[np.argsort(apart)[::-1]].tolist()
    np.testing.assert_allclose(page.map.values, mean, rtol=1e-4, atol=1e-8)
    qtbot.mouseClick(page.deviation, LEFT)
    np.testing.assert_allclose(page.map.values, found.maps.astype(float).std(0, ddof=1), rtol=1e-3, atol=1e-8)
    assert page.caption.text().startswith("standard deviation of 5 maps")
    (bare,), (mapped,) = collections.pictures(found.rows[:1]), average.pictures(found.rows[:1])
    assert bare.shape == mapped.shape
    assert np.abs(bare.astype(int) - mapped).max() > 30

    # what had come so far stays after a stop: without the maps of single items, and it says so
    average.result = replace(found, maps=found.maps[:0], seconds_left=9.0, total=8)
    average.changed.emit()
    assert "6 of 8 made so far" in page.note.text()
    np.testing.assert_array_equal(average.pictures(found.rows[:1])[0], bare)
    average.result = found
    average.changed.emit()

    first = page.strip.rect_of(0).center()
    page.ensureWidgetVisible(page.strip)
    qtbot.mouseClick(page.strip.viewport(), LEFT, pos=first)
    assert collections.picked == page.strip.rows[0]
    opened: list[list[str]] = []
    bench.open_paths = lambda names: opened.append(list(names))  # type: ignore[method-assign]
    average.export(tmp_path / "average.svg")
    qtbot.waitUntil(lambda: (tmp_path / "average.svg").exists(), timeout=_PATIENCE_MS)
    assert "standard deviation" in (tmp_path / "average.svg").read_text("utf-8")
    qtbot.mouseDClick(page.strip.viewport(), LEFT, pos=first)
    assert opened == [[collections.item(int(page.strip.rows[0])).path]]


@pytest.mark.slow
def test_what_cannot_be_averaged_says_why_and_it_can_be_stopped(
    panel: MapPanel, bench: Workbench, starter: ModelInfo, qtbot: QtBot
) -> None:
    page, average, collections = panel.side.average, bench.collection_average, bench.collections
    panel.side.bring(page)
    bench.state.set_model(starter)
    collections.select(collections.find("y.txt"))
    qtbot.waitUntil(lambda: "Texts have no maps" in page.note.text())
    assert not page.run.isEnabled()
    collections.select(collections.find("broken"))
    qtbot.waitUntil(page.run.isEnabled)
    QTest.keyClicks(page.word, "dog")
    ask(page, bench, qtbot)
    assert average.result is None
    assert "None of the 1 items has a map" in page.note.text()

    collections.select(collections.find("scene"))
    page.method.setCurrentIndex(page.method.findData("occlusion"))
    page.most.setValue(4)
    qtbot.mouseClick(page.run, LEFT)
    qtbot.waitUntil(lambda: "Map 1 of 4" in page.note.text(), timeout=_PATIENCE_MS)
    assert page.stop.isVisible()
    assert not page.run.isVisible()
    qtbot.mouseClick(page.stop, LEFT)
    assert not page.stop.isVisible()
    assert page.run.isVisible()
    assert page.note.text() == ""
    with qtbot.waitSignal(bench.help_requested) as asked:
        qtbot.mouseClick(page.learn, LEFT)
    assert (paths.help_pages() / f"{asked.args[0]}.md").is_file()
    collections.close()
    assert average.result is None
    assert not page.map.isVisible()
