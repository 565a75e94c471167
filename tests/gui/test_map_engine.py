"""The Map panel with the real engine: pairs, matrices, two models' maps, watched folders."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.types import Modality, ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.controllers import collection_watch
from mmviewer.gui.panels.map import MapPanel
from mmviewer.gui.workbench import Workbench

_PATIENCE_MS = 120_000
LEFT = Qt.MouseButton.LeftButton
THINGS, PER_THING, WIDTH = ("apple", "boat", "clock"), 8, 12


@dataclass(frozen=True)
class Made:
    """A collection with two models' vectors, the second nearly the first turned; its items as arrays."""

    folder: Path
    spaces: tuple[str, str]
    names: tuple[str, ...]
    is_text: np.ndarray
    vectors: tuple[np.ndarray, np.ndarray]  # of length 1, as they are kept


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Pictures of three things and a text for each; the files are no real pictures: nothing decodes them."""
    files = tmp_path_factory.mktemp("files")
    for thing in THINGS:
        for number in range(PER_THING):
            (files / f"{thing} {number}.png").write_bytes(b"x")
            (files / f"{thing} {number}.txt").write_text(f"one {thing}")
    folder = tmp_path_factory.mktemp("collection")
    random = np.random.default_rng(0)
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        items = catalogue.items(range(catalogue.count))
        names = [item.name.rpartition(".")[0] for item in items]
        is_text = np.array([item.name.endswith(".txt") for item in items])
        centres = dict(zip(THINGS, random.normal(size=(3, WIDTH)), strict=True))
        own = {name: 0.4 * random.normal(size=WIDTH) for name in names}
        vectors = np.stack([centres[name.split()[0]] + own[name] for name in names])
        vectors += 0.3 * random.normal(size=vectors.shape)
        vectors[:, 0] += np.where(is_text, 1, -1)
        turn = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
        hashes = [f"{place:064x}" for place in range(len(items))]
        spaces, kept = [], []
        for name, each in (("a", vectors), ("b", vectors @ turn + 0.3 * random.normal(size=vectors.shape))):
            each = (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float16)
            info = catalogue.add_space(
                model_id=name, label=f"model {name}", width=WIDTH, weights_hash=name, preprocessing="p"
            )
            with catalogue.begin_batch() as batch:
                kinds = [Modality.TEXT if text else Modality.IMAGE for text in is_text]
                batch.set_content(range(len(items)), hashes, kinds)
                batch.append_vectors(info.id, hashes, each)
            spaces.append(info.id)
            kept.append(each / np.linalg.norm(each.astype(np.float64), axis=1, keepdims=True))
        for thing in THINGS:
            catalogue.set_labels(
                [row for row, name in enumerate(names) if name.startswith(thing)], thing, "thing"
            )
        for name in sorted(set(names)):
            catalogue.set_labels([row for row, other in enumerate(names) if other == name], name, "pair")
    return Made(folder, (spaces[0], spaces[1]), tuple(names), is_text, (kept[0], kept[1]))


@pytest.fixture
def opened(panel: MapPanel, bench: Workbench, made: Made, qtbot: QtBot) -> MapPanel:
    """The panel with that collection, the first model's vectors, and its map by PCA."""
    assert bench.collections.open(made.folder)
    bench.collections.choose_space(made.spaces[0])
    if bench.collections.coordinates is None:
        bench.collection_work.place("pca")
    until(qtbot, lambda: panel.map.count == len(made.names) and not bench.activities.running())
    return panel


@pytest.fixture
def errors(bench: Workbench) -> list[ErrorReport]:
    found: list[ErrorReport] = []
    bench.error.connect(found.append)
    return found


@pytest.fixture
def panel(qtbot: QtBot, bench: Workbench, errors: list[ErrorReport]) -> Iterator[MapPanel]:
    widget = MapPanel(bench)
    qtbot.addWidget(widget)
    widget.resize(1200, 800)
    widget.show()
    qtbot.waitExposed(widget)
    bench.collections.show()
    yield widget
    assert errors == []
    widget.release()


def until(qtbot: QtBot, condition) -> None:
    qtbot.waitUntil(condition, timeout=_PATIENCE_MS)


def menu_action(panel: MapPanel, text: str) -> QAction:
    return next(action for action in panel.bar.menu.actions() if action.text() == text)


def shown_measures(widget: QWidget) -> list[tuple[str, str, str]]:
    """Name, value and chance of each row, as a screen reader has them."""
    rows = [row for row in widget.findChildren(QWidget) if row.accessibleName().count(": ") == 1]
    return [(*row.accessibleName().split(": "), row.accessibleDescription().split(";")[0]) for row in rows]


@pytest.mark.slow
def test_pairs_are_measured_with_chance_beside_them(
    opened: MapPanel, bench: Workbench, made: Made, qtbot: QtBot
) -> None:
    box = opened.measuring.pairs
    assert [box.column.itemData(number) for number in range(box.column.count())] == ["pair", "thing"]
    opened.side.bring(opened.side.measures)
    qtbot.mouseClick(box.measure, LEFT)
    until(qtbot, lambda: bench.collection_measures.pairs is not None)
    images, texts = np.flatnonzero(~made.is_text), np.flatnonzero(made.is_text)
    partner = np.array([[made.names[i] == made.names[t] for t in texts] for i in images])
    cosines = made.vectors[0][images] @ made.vectors[0][texts].T
    wanted = [("Alignment", (2 - 2 * cosines[partner]).mean(), (2 - 2 * cosines).mean())]
    for scores, pairs in ((cosines, partner), (cosines.T, partner.T)):
        ranks = 1 + (scores > scores[pairs][:, None]).sum(axis=1)
        wanted += [(f"R@{k}", (ranks <= k).mean(), k / len(ranks)) for k in (1, 5, 10)]
        wanted += [("Median rank", np.median(ranks), len(ranks) / 2)]
    shown = shown_measures(box)
    assert [name for name, _, _ in shown] == [name for name, _, _ in wanted]
    for (name, value, chance), (_, share, by_chance) in zip(shown, wanted, strict=True):
        scale, words = (
            (100, "%") if name.startswith("R@") else (1, "")
        )  # three digits, or one after the point
        assert float(value.removesuffix(words)) == pytest.approx(
            scale * share, rel=5e-3, abs=0.051 if words else 0
        )
        assert float(chance.removeprefix("chance ").removesuffix(words)) == pytest.approx(
            scale * by_chance, rel=5e-3, abs=0.051 if words else 0
        )
    assert "24 pairs by “pair”" in box.note.text()
    apart = bench.collection_measures.pairs.measures.alignment
    opened.side.measures.gap.click()  # what was measured follows
    until(qtbot, lambda: bench.collection_measures.pairs.closed and not bench.activities.running())
    assert bench.collection_measures.pairs.measures.alignment < apart
    opened.side.measures.gap.click()
    until(qtbot, lambda: not bench.collection_measures.pairs.closed and not bench.activities.running())


@pytest.mark.slow
def test_a_matrix_follows_the_selection_picks_items_selects_categories_and_is_written(
    opened: MapPanel, bench: Workbench, made: Made, qtbot: QtBot, tmp_path: Path
) -> None:
    dialog, asking = opened.measuring.matrix, bench.collection_matrix
    opened.measuring.open_matrix.click()
    until(qtbot, lambda: asking.matrix is not None)  # nothing is selected: the first categories
    found = asking.matrix
    assert (found.source, set(found.names)) == ("column:thing", set(THINGS))
    of = [np.array([name.startswith(thing) for name in made.names]) for thing in found.names]
    wanted = [[made.vectors[0][one].mean(0) @ made.vectors[0][other].mean(0) for other in of] for one in of]
    np.testing.assert_allclose(found.found.values, wanted, atol=2e-3)
    line = found.names.index("boat")
    qtbot.mouseClick(dialog.matrix, LEFT, pos=dialog.matrix.cell_rect(line, line).center().toPoint())
    np.testing.assert_array_equal(bench.collections.selection, np.flatnonzero(of[line]))

    bench.collections.select(np.zeros(0, np.int64))
    dialog.source.setCurrentIndex(dialog.source.findData("selection"))
    dialog.source.activated.emit(dialog.source.currentIndex())
    qtbot.waitUntil(lambda: "at least two" in dialog.stack.message)
    rows = np.array([3, 11, 20, 40])
    bench.collections.select(rows)
    until(qtbot, lambda: asking.matrix is not None and len(asking.matrix.names) == 4)
    values = made.vectors[0][rows] @ made.vectors[0][rows].T
    np.testing.assert_allclose(asking.matrix.found.values, values, atol=2e-3)
    qtbot.mouseClick(dialog.matrix, LEFT, pos=dialog.matrix.cell_rect(2, 0).center().toPoint())
    assert bench.collections.picked == 20
    assert f"{asking.matrix.names[2]}  ·  {asking.matrix.names[0]}: " in dialog.matrix.words()

    asking.write(str(tmp_path / "matrix.csv"))
    order = leaves_list(linkage(1 - values[np.triu_indices(4, 1)], "average", optimal_ordering=True))
    with (tmp_path / "matrix.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    shown = [asking.matrix.names[leaf] for leaf in order]
    assert lines[0] in (["", *shown], ["", *shown[::-1]])  # a tree has no left and right
    written = {line[0]: dict(zip(lines[0][1:], map(float, line[1:]), strict=True)) for line in lines[1:]}
    for one, other in ((0, 1), (3, 2)):
        cosine = written[asking.matrix.names[one]][asking.matrix.names[other]]
        assert cosine == pytest.approx(values[one, other], abs=2e-3)
    dialog.write_picture(str(tmp_path / "matrix.png"))
    assert QImage(str(tmp_path / "matrix.png")).width() == 2 * dialog.matrix.width()
    bench.collections.show(False)
    assert dialog.isHidden()


@pytest.mark.slow
def test_two_models_maps_stand_side_by_side_and_follow_each_other(
    opened: MapPanel, bench: Workbench, made: Made, qtbot: QtBot
) -> None:
    beside, structure, first = opened.beside, bench.collection_structure, opened.map
    assert bench.collections.kept_map(made.spaces[1]) == ""  # it is placed on the way
    compare = next(action for action in opened.bar.find_menu.actions() if action.menu() is not None)
    opened.bar.find_menu.aboutToShow.emit()
    (other,) = compare.menu().actions()
    assert other.text() == "model b"
    other.trigger()
    until(qtbot, lambda: beside.isVisible())
    cosines = [vectors @ vectors.T - 9 * np.eye(len(vectors)) for vectors in made.vectors]
    near = [np.argsort(-each, axis=1)[:, :15] for each in cosines]
    shared = np.array([len(np.intersect1d(*lines)) / 15 for lines in zip(*near, strict=True)])
    np.testing.assert_allclose(structure.agreement.overlap, shared, atol=1 / 15 + 1e-6)  # float16 ties
    _, _, left = procrustes(*made.vectors)
    shown = f"shared neighbours {structure.agreement.mean:.2f} (chance {15 / 47:.3f})"
    assert beside.line.text == f"{shown} · disparity {left:.2f}"
    assert structure.agreement.mean == pytest.approx(shared.mean(), abs=0.01)
    assert opened.colouring.key == "overlap"

    maps = [np.asarray(plane(vectors)) for vectors in made.vectors]
    turned = laid_on(maps[1], maps[0])
    sign = np.sign((turned * beside.map._xy).sum(axis=0))  # axes of PCA have no sign
    own = np.sign((maps[0] * first._xy).sum(axis=0))
    np.testing.assert_allclose(first._xy, maps[0] * own, atol=2e-3)
    np.testing.assert_allclose(beside.map._xy, turned * sign, atol=5e-3)

    qtbot.mouseClick(beside.map, LEFT, pos=beside.map.place_of(7).toPoint())
    row = bench.collections.picked
    assert row is not None
    assert (first.picked_row, beside.map.picked_row) == (row, row)
    bench.collections.select(np.array([1, 5]))
    assert beside.map.selection.tolist() == [1, 5]
    beside.map.select_all()
    assert len(bench.collections.selection) == len(made.names) == len(first.selection)
    first.hovered.emit(9)
    assert beside.map._hovered == 9
    assert beside.map.colour_of(4) == first.colour_of(4)
    qtbot.wait(1)
    first._zoom(2.0, QPointF(50, 60))
    assert (beside.map._view.x, beside.map._view.scale) == (first._view.x, first._view.scale)
    beside.map.fit()
    assert (beside.map._view.y, beside.map._view.scale) == (first._view.y, first._view.scale)
    beside.link.setChecked(False)
    before = first._view
    beside.map._zoom(2.0, QPointF(50, 60))
    assert first._view == before

    opened.side.measures.gap.click()  # another map is shown: the second is laid on it anew
    until(qtbot, lambda: bench.collections.closed and not bench.activities.running())
    assert beside.isVisible()
    assert structure.agreement.by_chance == pytest.approx(15 / 47)
    assert not np.allclose(beside.map._xy, turned * sign, atol=5e-3)
    opened.side.measures.gap.click()
    until(qtbot, lambda: not bench.collections.closed and not bench.activities.running())
    np.testing.assert_allclose(np.abs(beside.map._xy), np.abs(turned), atol=5e-3)
    assert bench.collections.kept_map(made.spaces[1], "pca") == structure.other_map
    assert bench.collections.kept_map(made.spaces[1], "umap") == structure.other_map  # the newest there is
    qtbot.mouseClick(beside.close_button, LEFT)
    assert beside.isHidden()
    assert structure.agreement is None
    assert opened.colouring.key == "kind"


def plane(vectors: np.ndarray) -> np.ndarray:
    """Places [N, 2] on the two widest axes."""
    centred = vectors - vectors.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def laid_on(points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Points turned, mirrored and scaled onto others, both about zero."""
    turn, scale = orthogonal_procrustes(points, goal)
    return points @ turn * scale / (points**2).sum()


@pytest.mark.slow
def test_a_watched_folder_is_indexed_and_placed_as_files_come(
    panel: MapPanel,
    bench: Workbench,
    starter: ModelInfo,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collection_watch, "PERIOD", 0.1)
    bench.state.set_model(starter)
    for words in ("a cat", "a dog", "a guitar", "an owl"):
        (tmp_path / f"{words}.txt").write_text(words, "utf-8")
    bench.collection_work.create(tmp_path)
    until(qtbot, lambda: panel.map.count == 4 and not bench.activities.running())
    assert "watching" not in panel.note.text
    watch = menu_action(panel, "Watch for changes")
    assert watch.isEnabled()
    assert not watch.isChecked()
    watch.trigger()
    until(qtbot, lambda: "watching for changes" in panel.note.text)
    before = bench.collections.coordinates.xy.copy()
    bench.collections.select(np.array([1, 2]))
    bench.collections.pick(2)
    (tmp_path / "a fox.txt").write_text("a fox", "utf-8")
    until(qtbot, lambda: panel.map.count == 5 and np.isfinite(panel.map._xy).all())
    np.testing.assert_array_equal(panel.map._xy[:4], before)  # the others stay where they were
    assert bench.collections.names(np.array([4])) == ["a fox.txt"]
    assert "5 items" in panel.note.text
    assert (panel.map.selection.tolist(), panel.map.picked_row) == ([1, 2], 2)

    until(qtbot, lambda: menu_action(panel, "Watch for changes").isChecked())
    folder = bench.collections.view.folder
    bench.collections.close()
    assert not bench.collection_watch.watching
    bench.collections.open(folder)  # the wish is kept with the collection
    assert bench.collection_watch.watching
    until(qtbot, lambda: menu_action(panel, "Watch for changes").isChecked())
    menu_action(panel, "Watch for changes").trigger()
    until(qtbot, lambda: not bench.collection_watch.watching)
    until(qtbot, lambda: "watching" not in panel.note.text)
