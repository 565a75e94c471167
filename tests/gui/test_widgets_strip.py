"""The token strip: real mouse and keys, thousands of tokens, scripts from the right, what is painted."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QImage, QPalette
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer.gui.widgets.chips import Chip, ChipFlow, reads_right_to_left
from mmviewer.gui.widgets.token_strip import TokenStrip

CHIPS = (
    Chip("a", 0.4),
    Chip("red", 0.9, alternatives=(("blue", 0.05),)),
    Chip("bicycle", 0.2),
    Chip("above", 1.0),
    Chip("<end>", 0.7, special=True),
)
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def strip(qtbot: QtBot) -> TokenStrip:
    widget = TokenStrip()
    qtbot.addWidget(widget)
    widget.resize(500, 100)
    widget.set_chips(CHIPS)
    widget.show()
    qtbot.waitExposed(widget)
    widget.setFocus()
    return widget


def centre(strip: TokenStrip, index: int) -> QPoint:
    return strip.chip_rect(index).center().toPoint()


def click(qtbot: QtBot, strip: TokenStrip, index: int, modifier: Qt.KeyboardModifier | None = None) -> None:
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(strip.viewport(), left, modifier or Qt.KeyboardModifier.NoModifier, centre(strip, index))


def test_hovering_tells_at_once_and_leaving_too(strip: TokenStrip, qtbot: QtBot) -> None:
    heard: list[object] = []
    strip.hovered.connect(heard.append)
    qtbot.mouseMove(strip.viewport(), centre(strip, 2))
    qtbot.mouseMove(strip.viewport(), centre(strip, 2) + QPoint(2, 0))
    qtbot.mouseMove(strip.viewport(), centre(strip, 0))
    QApplication.sendEvent(strip.viewport(), QEvent(QEvent.Type.Leave))
    assert heard == [2, 0, None]


def test_click_control_and_shift_choose(strip: TokenStrip, qtbot: QtBot) -> None:
    heard: list[tuple[int, ...]] = []
    strip.chosen.connect(heard.append)
    click(qtbot, strip, 1)
    click(qtbot, strip, 3, CONTROL)
    click(qtbot, strip, 1, CONTROL)
    click(qtbot, strip, 1, SHIFT)
    click(qtbot, strip, 2)
    click(qtbot, strip, 2)
    assert heard == [(1,), (1, 3), (3,), (1,), (2,), ()]
    click(qtbot, strip, 0)
    click(qtbot, strip, 3, SHIFT)
    assert strip.picked == (0, 1, 2, 3)


def test_keys_step_jump_extend_and_clear(strip: TokenStrip, qtbot: QtBot) -> None:
    def press(key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> tuple[int, ...]:
        qtbot.keyClick(strip, key, modifier)
        return strip.picked

    assert press(Qt.Key.Key_Right) == (0,)
    assert press(Qt.Key.Key_Right) == (1,)
    assert press(Qt.Key.Key_End) == (4,)
    assert press(Qt.Key.Key_Right) == (4,)
    assert press(Qt.Key.Key_Left) == (3,)
    assert press(Qt.Key.Key_Left, SHIFT) == (2, 3)
    assert press(Qt.Key.Key_Home, SHIFT) == (0, 1, 2, 3)
    assert press(Qt.Key.Key_Escape) == ()
    assert press(Qt.Key.Key_Home) == (0,)
    assert press(Qt.Key.Key_A, CONTROL) == (0, 1, 2, 3, 4)


def test_up_and_down_go_to_the_nearest_chip_of_the_next_row(strip: TokenStrip, qtbot: QtBot) -> None:
    strip.resize(150, 200)
    qtbot.keyClick(strip, Qt.Key.Key_Home)
    qtbot.keyClick(strip, Qt.Key.Key_Down)
    (below,) = strip.picked
    assert strip.chip_rect(below).top() > strip.chip_rect(0).bottom()
    qtbot.keyClick(strip, Qt.Key.Key_Up)
    assert strip.chip_rect(strip.picked[0]).top() == strip.chip_rect(0).top()


def test_being_told_emits_nothing_and_is_spoken(strip: TokenStrip, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(strip.chosen):
        strip.set_chosen((1, 99))
    assert strip.picked == (1,)
    assert "token 2 of 5: “red”" in strip.accessibleDescription()
    assert "0.900" in strip.accessibleDescription()


def test_tooltips_name_probability_and_alternatives() -> None:
    assert "probability 0.900" in CHIPS[1].explained()
    assert "blue 0.050" in CHIPS[1].explained()
    assert "control token" in CHIPS[4].explained()


def _ink(strip: TokenStrip, index: int, role: QPalette.ColorRole) -> int:
    """Pixels of a chip that have exactly a colour of the palette."""
    shot = strip.grab().toImage()
    rect = strip.chip_rect(index).toRect()
    color = strip.palette().color(role).rgb()
    return sum(
        shot.pixel(x, y) == color
        for x in range(rect.left(), rect.right())
        for y in range(rect.top(), rect.bottom())
    )


def test_the_chosen_chip_is_filled(strip: TokenStrip) -> None:
    assert _ink(strip, 1, QPalette.ColorRole.Accent) < 200
    strip.set_chosen((1,))
    assert _ink(strip, 1, QPalette.ColorRole.Accent) > 400


def test_the_bar_is_as_long_as_the_probability(strip: TokenStrip) -> None:
    shot = strip.grab().toImage()
    lengths = []
    for index in (0, 2, 3):
        rect = strip.chip_rect(index)
        y = int(rect.bottom() - 7.5)
        row = [shot.pixelColor(x, y) for x in range(int(rect.left()) + 9, int(rect.right()) - 9)]
        strong = max(row, key=lambda color: color.saturationF())
        same = [abs(c.red() - strong.red()) + abs(c.blue() - strong.blue()) < 24 for c in row]
        lengths.append(sum(same) / len(row))
    assert lengths == pytest.approx([0.4, 0.2, 1.0], abs=0.12)


def test_lighting_rings_the_tokens_that_looked_there(strip: TokenStrip) -> None:
    dark = strip.grab().toImage()
    strip.set_lit(np.array([0.0, 0.6, 0.1, 0.0, 0.0], np.float32))
    lit = strip.grab().toImage()
    changed = []
    for index in range(5):
        rect = strip.chip_rect(index).toRect()
        changed.append(
            sum(
                dark.pixel(x, y) != lit.pixel(x, y)
                for x in range(rect.left(), rect.right())
                for y in range(rect.top(), rect.top() + 20)
            )
        )
    assert changed[1] > 20
    assert changed[2] > 20
    assert changed[0] == changed[3] == 0
    strip.set_lit(np.zeros(3, np.float32))  # of another sequence
    assert strip.grab().toImage() == dark


def test_two_thousand_tokens_stay_fluid(strip: TokenStrip, qtbot: QtBot) -> None:
    rng = np.random.default_rng(0)
    chips = [Chip("x" * int(n), 0.5) for n in rng.integers(1, 12, 2000)]
    strip.resize(600, 200)
    strip.set_chips(chips[:100])
    few = _hovering(strip, qtbot, range(90, 100))
    strip.set_chips(chips)
    qtbot.keyClick(strip, Qt.Key.Key_End)
    assert strip.picked == (1999,)
    assert strip.viewport().rect().contains(centre(strip, 1999))
    assert _hovering(strip, qtbot, range(1990, 2000)) < 8 * few  # what is out of sight costs next to nothing


def _hovering(strip: TokenStrip, qtbot: QtBot, indices: range) -> float:
    """Seconds to point at tokens and paint after each, the least of three tries."""
    target = QImage(strip.size(), QImage.Format.Format_ARGB32_Premultiplied)
    qtbot.keyClick(strip, Qt.Key.Key_End)
    tries = []
    for _ in range(3):
        started = time.perf_counter()
        for index in indices:
            qtbot.mouseMove(strip.viewport(), centre(strip, index))
            strip.render(target)
        tries.append(time.perf_counter() - started)
    return min(tries)


def test_every_chip_is_found_under_its_own_centre() -> None:
    chips = [Chip("word" * (i % 7 + 1)) for i in range(300)]
    for rtl in (False, True):
        flow = ChipFlow(chips, 420, lambda text: 7.0 * len(text), rtl)
        for index in range(300):
            rect = flow.rect(index)
            assert flow.at(rect.center()) == index
            assert rect.left() >= 0
            assert rect.right() <= 420
        assert list(flow.between(0, flow.height)) == list(range(300))
        assert flow.at(flow.rect(299).center() * 3) is None


def test_script_from_the_right_begins_at_the_right(strip: TokenStrip, qtbot: QtBot) -> None:
    words = ["אופניים", "אדומים", "ליד"]
    assert reads_right_to_left(words)
    assert not reads_right_to_left(["12", "red", *words])
    strip.set_chips([Chip("<start>", special=True), *(Chip(word, 0.5) for word in words)])
    assert strip.chip_rect(1).left() > strip.chip_rect(2).left()
    qtbot.keyClick(strip, Qt.Key.Key_Home)
    qtbot.keyClick(strip, Qt.Key.Key_Left)
    assert strip.picked == (1,)


@pytest.mark.parametrize("text", ["", " ", "\n", "👩‍🚀", "e\u0301", "<b>&", "x" * 5000, "\u202eabc", "\0"])
def test_odd_tokens_are_shown(strip: TokenStrip, text: str) -> None:
    strip.set_chips([Chip(text, 0.5), Chip("a")])
    strip.grab()
    assert Chip(text).label
    assert 20 < strip.chip_rect(0).width() <= 240


def test_streaming_keeps_the_choice_and_follows_the_end(strip: TokenStrip) -> None:
    strip.resize(150, 60)
    strip.verticalScrollBar().setValue(strip.verticalScrollBar().maximum())
    strip.set_chosen((1,))
    strip.verticalScrollBar().setValue(strip.verticalScrollBar().maximum())
    strip.set_chips((*CHIPS, *(Chip(f"more{i}", 0.5) for i in range(20))))
    assert strip.picked == (1,)
    assert strip.verticalScrollBar().value() == strip.verticalScrollBar().maximum()


def test_no_tokens(strip: TokenStrip, qtbot: QtBot) -> None:
    strip.set_chips(())
    for key in (Qt.Key.Key_Right, Qt.Key.Key_End, Qt.Key.Key_Down, Qt.Key.Key_Escape):
        qtbot.keyClick(strip, key)
    qtbot.keyClick(strip, Qt.Key.Key_A, CONTROL)
    qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(10, 10))
    assert strip.picked == ()
