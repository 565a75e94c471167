"""Another token in place of one that was written: clicked in the panel or in the strip, with the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, picture, sequence
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.types import ModelInfo, TokenSequence
from mmviewer.engine.protocol import Branch, ErrorReport, Generate
from mmviewer.gui.panels.caption import CaptionPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.widgets.chips import Chip
from mmviewer.gui.workbench import Workbench

LEFT = Qt.MouseButton.LeftButton
PATIENCE = 120_000


@dataclass
class Desk:
    """The panels that branching touches."""

    bench: Workbench
    jobs: HandJobs
    caption: CaptionPanel
    tokens: TokensPanel


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[Desk]:
    jobs = HandJobs()
    bench = Workbench(jobs)  # type: ignore[arg-type]
    bench.settings.generate_on_choose = False
    bench.state.set_model(MODEL)
    desk = Desk(bench, jobs, CaptionPanel(bench), TokensPanel(bench))
    for panel in (desk.caption, desk.tokens):
        qtbot.addWidget(panel)
        panel.resize(360, 640)
        panel.show()
        qtbot.waitExposed(panel)
    bench.state.set_items([picture()])
    bench.choose("picture")
    bench.generate()
    jobs.last(Generate).done(written())
    yield desk
    for panel in (desk.caption, desk.tokens):
        panel.release()
    bench.release()


def written() -> TokenSequence:
    """A caption whose third token could have been another."""
    made = sequence(picture())
    token = replace(
        made.tokens[2],
        alternatives=(("bicycle", -0.7), ("car", -1.2), ("boat", -3.0)),
        alternative_ids=(made.tokens[2].id, 77, 78),
    )
    return replace(made, tokens=(*made.tokens[:2], token, made.tokens[3]))


def branched(word: str, token: int) -> TokenSequence:
    """What the engine gives for a branch."""
    made = written()
    put = replace(made.tokens[2], id=token, text=word, chosen=True, logprob=-1.2)
    text = made.text.replace("bicycle", word)
    return replace(made, text=text, tokens=(*made.tokens[:2], put, made.tokens[3]))


def click_row(desk: Desk, qtbot: QtBot, row: int) -> None:
    bars = desk.caption.alternatives
    qtbot.mouseClick(bars.viewport(), LEFT, pos=bars.row_rect(row).center())


def test_a_click_on_an_alternative_writes_on_from_it_and_back_again(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.state.set_tokens((2,))
    assert [row.label for row in desk.caption.alternatives.rows()] == ["bicycle", "car", "boat"]
    assert "(click one)" in desk.caption.chosen.text
    assert not desk.caption.original.isVisible()
    click_row(desk, qtbot, 0)  # that is what was written
    assert desk.jobs.count(Branch) == 0
    click_row(desk, qtbot, 1)
    request = desk.jobs.last(Branch).request
    assert isinstance(request, Branch)
    assert (request.index, request.token, request.sequence) == (2, 77, written())
    assert desk.bench.activity("sequence").running
    desk.jobs.last(Branch).done(branched("car", 77))
    assert desk.caption.text.toPlainText() == "a red car <end>"
    assert desk.caption.branch_note.text == "Branched at “car”"
    assert not desk.caption.back.isVisible()  # one step: back is the original
    assert desk.bench.sequences.written() == (branched("car", 77),)
    assert desk.tokens.strip.chips[2].by_hand
    assert "chosen by you" in desk.tokens.strip.chips[2].explained()
    desk.bench.state.set_tokens((2,))
    click_row(desk, qtbot, 2)
    desk.jobs.last(Branch).done(branched("boat", 78))
    assert desk.bench.branches.depth == 2
    qtbot.mouseClick(desk.caption.back, LEFT)
    assert desk.bench.state.sequence == branched("car", 77)
    desk.bench.state.set_tokens((2,))
    click_row(desk, qtbot, 2)
    desk.jobs.last(Branch).done(branched("boat", 78))
    qtbot.mouseClick(desk.caption.original, LEFT)
    assert desk.bench.state.sequence == written()
    assert desk.bench.branches.depth == 0
    assert not desk.caption.original.isVisible()


def test_a_branch_that_is_under_way_can_be_taken_back(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.state.set_tokens((2,))
    click_row(desk, qtbot, 1)
    asked = desk.jobs.last(Branch)
    desk.bench.state.set_sequence(replace(branched("car", 77), finished=False))  # as it streams in
    assert desk.caption.original.isVisible()
    desk.bench.state.set_tokens((2,))
    click_row(desk, qtbot, 2)  # not before it is done
    assert desk.jobs.count(Branch) == 1
    qtbot.mouseClick(desk.caption.original, LEFT)
    assert asked.cancelled
    assert desk.bench.branches.depth == 0
    assert desk.bench.state.sequence == written()


def test_a_branch_that_fails_leaves_the_text_and_no_way_back(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.state.set_tokens((2,))
    click_row(desk, qtbot, 1)
    desk.jobs.last(Branch).failed(ErrorReport("InputError", "It cannot be written here."))
    assert desk.bench.state.sequence == written()
    assert desk.bench.branches.depth == 0
    assert not desk.caption.original.isVisible()
    assert "cannot be written here" in desk.caption.error.text()
    click_row(desk, qtbot, 1)  # once more
    desk.jobs.last(Branch).done(branched("car", 77))
    assert desk.bench.branches.depth == 1


def test_a_new_caption_has_no_way_back(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.branches.branch(2, 1)
    desk.jobs.last(Branch).done(branched("car", 77))
    assert desk.bench.branches.depth == 1
    desk.bench.query("a bell")
    desk.bench.state.set_sequence(replace(written(), kind="query", text="a bell"))
    assert desk.bench.branches.depth == 0  # what is looked for was never branched
    desk.bench.query("")
    assert desk.bench.state.sequence == branched("car", 77)
    assert desk.bench.branches.depth == 1
    qtbot.mouseClick(desk.caption.run, LEFT)
    desk.jobs.last(Generate).done(written())
    assert desk.bench.branches.depth == 0


@pytest.mark.qt_log_ignore("This plugin does not support", extend=True)  # of popups, without a screen
def test_a_right_click_on_a_chip_offers_the_same(desk: Desk, qtbot: QtBot) -> None:
    strip = desk.tokens.strip
    at = strip.chip_rect(2).center().toPoint()
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, strip.viewport().mapToGlobal(at))
    QApplication.sendEvent(strip.viewport(), event)
    menu = next(menu for menu in desk.tokens.findChildren(QMenu) if menu.isVisible())
    offered = [action for action in menu.actions() if "\t" in action.text()]
    assert [action.text().split("\t") for action in offered] == [
        ["bicycle", "0.497"],
        ["car", "0.301"],
        ["boat", "0.050"],
    ]
    assert [action.isEnabled() for action in offered] == [False, True, True]
    offered[2].trigger()
    menu.close()
    assert desk.jobs.last(Branch).request.token == 78  # type: ignore[attr-defined]


@pytest.mark.qt_log_ignore("This plugin does not support", extend=True)
def test_a_given_token_offers_nothing(desk: Desk) -> None:
    desk.bench.state.set_sequence(
        replace(written(), tokens=(replace(written().tokens[0], given=True), *written().tokens[1:]))
    )
    desk.tokens.strip.menu_wanted.emit(0, QPoint(0, 0))
    menu = next(menu for menu in desk.tokens.findChildren(QMenu) if menu.isVisible())
    assert [action.isEnabled() for action in menu.actions()] == [False]
    menu.close()


def test_the_keyboard_branches_too(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.state.set_tokens((2,))
    bars = desk.caption.alternatives
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(bars, key)
    assert desk.jobs.last(Branch).request.token == 77  # type: ignore[attr-defined]


def test_the_chip_of_a_chosen_token_is_marked(qtbot: QtBot, desk: Desk) -> None:
    strip = desk.tokens.strip
    plain = strip.grab().toImage()
    strip.set_chips([*strip.chips[:2], Chip("bicycle", 0.5, by_hand=True), strip.chips[3]])
    assert strip.grab().toImage() != plain


def test_with_the_real_engine_the_kept_tokens_stay_and_the_rest_follows(
    bench: Workbench, starter: ModelInfo, qtbot: QtBot
) -> None:
    bench.settings.generate_on_choose = False
    bench.state.set_model(starter)
    bench.open_paths([Path(paths.samples() / "scene-owl-guitar.png")])
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)
    bench.generate()
    qtbot.waitUntil(lambda: _finished(bench), timeout=PATIENCE)
    first = bench.state.sequence
    assert first is not None
    index = 1
    other = first.tokens[index].alternative_ids[1]
    bench.branches.branch(index, 1)
    qtbot.waitUntil(lambda: bench.state.sequence is not first and _finished(bench), timeout=PATIENCE)
    second = bench.state.sequence
    assert second is not None
    assert [token.id for token in second.tokens[: index + 1]] == [first.tokens[0].id, other]
    assert second.tokens[index].chosen
    expected = first.tokens[index].alternatives[1][1]
    np.testing.assert_allclose(second.tokens[index].logprob, expected, rtol=0, atol=1e-5)
    qtbot.waitUntil(
        lambda: bench.state.maps is not None and len(bench.state.maps.tokens) == len(second.tokens),
        timeout=PATIENCE,
    )
    bench.branches.original()
    assert bench.state.sequence == first


def _finished(bench: Workbench) -> bool:
    return bench.state.sequence is not None and bench.state.sequence.finished
