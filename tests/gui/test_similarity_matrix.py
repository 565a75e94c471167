"""The similarity matrix with real mouse and key events; its dendrogram against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage

from mmviewer.core.figures.colormaps import lut
from mmviewer.gui.widgets.similarity_matrix import SimilarityMatrix, dendrogram_lines

LEFT = Qt.MouseButton.LeftButton


def cosines(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix, its leaves and its merges."""
    vectors = np.random.default_rng(3).normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = (vectors @ vectors.T).astype(np.float32)
    merges = linkage(
        1 - values[np.triu_indices(count, 1)].astype(np.float64), "average", optimal_ordering=True
    )
    return values, leaves_list(merges).astype(np.int64), merges


@pytest.fixture
def view(qtbot: QtBot) -> SimilarityMatrix:
    widget = SimilarityMatrix()
    qtbot.addWidget(widget)
    widget.resize(500, 560)
    values, order, merges = cosines(9)
    widget.set_matrix(values, order, merges, [f"item {n}" for n in range(9)], lut("inferno"))
    widget.show()
    qtbot.waitExposed(widget)
    return widget


@pytest.mark.parametrize("count", [2, 30])
def test_brackets_stand_where_scipy_draws_them(count: int) -> None:
    _, order, merges = cosines(count)
    drawn = dendrogram(merges, no_plot=True)
    assert drawn["leaves"] == order.tolist()
    wanted = {
        tuple(np.round([*(np.array(x) / 10), *y], 9))
        for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True)
    }
    lines = dendrogram_lines(merges, order)
    assert {tuple(np.round([*line[:, 0], *line[:, 1]], 9)) for line in lines} == wanted


def test_cells_have_the_colour_of_their_cosine_in_the_order_of_the_leaves(view: SimilarityMatrix) -> None:
    values, order, _ = cosines(9)
    picture = view.grab().toImage()
    low, high = values.min(), values.max()
    for line, column in ((0, 0), (2, 7), (7, 2), (5, 1)):
        rect = view.cell_rect(line, column)
        colour = picture.pixelColor((rect.center() * picture.devicePixelRatio()).toPoint())
        wanted = lut("inferno")[round(float(255 * (values[line, column] - low) / (high - low)))]
        assert np.abs(np.array(colour.getRgb()[:3], int) - wanted).max() <= 3
    rects = [view.cell_rect(int(leaf), 0).top() for leaf in order]
    assert rects == sorted(rects)


def test_pointing_tells_both_names_and_the_cosine_and_a_click_chooses_the_line(
    view: SimilarityMatrix, qtbot: QtBot
) -> None:
    values, order, _ = cosines(9)
    assert "point at" in view.words()
    with qtbot.waitSignal(view.pointed) as pointed:
        qtbot.mouseMove(view, view.cell_rect(4, 6).center().toPoint())
    assert pointed.args == [(4, 6)]
    assert view.words() == f"item 4  ·  item 6: {values[4, 6]:.3f}".replace("-", "\N{MINUS SIGN}")
    with qtbot.waitSignal(view.chosen) as chosen:
        qtbot.mouseClick(view, LEFT, pos=view.cell_rect(3, 8).center().toPoint())
    assert chosen.args == [3]
    name = view.cell_rect(5, 0).center().toPoint()
    with qtbot.waitSignal(view.chosen) as chosen:  # the name beside its line
        qtbot.mouseClick(view, LEFT, pos=QPoint(round(view.square().left()) - 20, name.y()))
    assert chosen.args == [5]
    qtbot.keyClick(view, Qt.Key.Key_Right)
    here = order.tolist().index(5)
    assert view.cell == (5, int(order[min(here + 1, 8)]))
    with qtbot.waitSignal(view.chosen) as chosen:
        qtbot.keyClick(view, Qt.Key.Key_Return)
    assert chosen.args == [5]


def test_two_hundred_lines_and_a_single_one_are_shown(view: SimilarityMatrix, qtbot: QtBot) -> None:
    values, order, merges = cosines(200)
    view.set_matrix(values, order, merges, ["a long name " * 9] * 200, lut("viridis"))
    assert view.picture().width() == 1000
    assert view.square().width() > 200
    view.set_matrix(
        np.ones((1, 1), np.float32), np.zeros(1, np.int64), np.zeros((0, 4)), ["one"], lut("viridis")
    )
    qtbot.mouseMove(view, view.cell_rect(0, 0).center().toPoint())
    assert view.words() == "one: 1.000"
    view.set_matrix(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros((0, 4)), [], lut("viridis"))
    assert view.words() == ""
    view.grab()
