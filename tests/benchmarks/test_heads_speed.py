"""Speed of the head grid: ``pytest tests/benchmarks/test_heads_speed.py --benchmark-only``.

All heads of a large model, 12 layers of 12 heads over 14 x 14 patches, from the captured values to painted
pixels. The yardstick paints the same maps one by one, as the viewer paints its single map.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter
from pytestqt.qtbot import QtBot

from mmviewer.core.session.state import ViewOptions
from mmviewer.gui.map_style import map_style
from mmviewer.gui.tiles import enlarge_all
from mmviewer.gui.view_model import dimmed_twin, enlarge
from mmviewer.gui.widgets.head_grid import HeadGrid
from mmviewer.gui.widgets.map_layer import GridMap
from mmviewer.gui.widgets.picture import Picture

LAYERS = HEADS = 12
PATCHES, SIDE = 14, 1024
BOX = (0.0, 0.0, float(SIDE), float(SIDE))
LIMIT_MS = 50.0
ROUNDS = 15


def times_ms(action: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - started))
    return times


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_twelve_by_twelve_heads(qtbot: QtBot, benchmark, interpolation: str) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    picture = Picture(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), (SIDE, SIDE), dimmed_twin)
    style = map_style(ViewOptions(interpolation=interpolation), signed=False)
    captures = [rng.random((LAYERS, HEADS, PATCHES, PATCHES), np.float32) for _ in range(3)]
    grid = HeadGrid()
    qtbot.addWidget(grid)
    grid.resize(1000, 900)
    grid.set_picture(picture)
    grid.set_style(style)
    grid.show()
    screen = QImage(grid.size(), QImage.Format.Format_ARGB32_Premultiplied)
    turn = iter(range(10_000))

    def paint() -> None:
        """Another capture arrives and is painted."""
        grid.set_maps(captures[next(turn) % 3], BOX, enlarge_all)
        grid.render(screen)

    def paint_one_by_one() -> None:
        values = captures[next(turn) % 3].reshape(-1, PATCHES, PATCHES)
        with QPainter(screen) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            for place, (index, each) in enumerate(zip(grid.cells, values, strict=True)):
                rect = QRectF(grid.cell_rect(index))
                assert rect.isValid(), place
                picture.draw(painter, rect, 1.0, 1.0)
                low, high = float(each.min()), float(each.max())
                painter.drawImage(rect, GridMap(each, BOX, low, high, enlarge).image(style))

    paint()
    blank = QImage(screen)
    blank.fill(0)
    assert screen != blank
    benchmark.pedantic(paint, rounds=ROUNDS, warmup_rounds=2)
    own = [1000 * each for each in benchmark.stats.stats.data]
    plain = times_ms(paint_one_by_one, 5)
    median, ratio = statistics.median(own), min(plain) / min(own)
    benchmark.extra_info.update(own_ms=round(median, 1), one_by_one_ms=round(statistics.median(plain), 1))
    print(f"\n12 x 12 heads, {interpolation}: {median:.1f} ms, one by one {ratio:.1f} times as long")
    # the fastest tenth, so that other work on the machine does not decide
    assert statistics.quantiles(own, n=10)[0] <= LIMIT_MS
    if interpolation != "nearest":  # which enlarges nothing, so that there is nothing to gain
        assert ratio > 1.2
