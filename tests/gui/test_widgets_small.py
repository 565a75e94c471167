"""Small widgets: text that is never cut silently, and the line that says what is awaited."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mmviewer.gui.widgets.elided_label import ElidedLabel, plain_tooltip
from mmviewer.gui.widgets.inline_note import InlineNote


@pytest.mark.parametrize("lines", [1, 3])
def test_text_that_fits_has_no_tooltip_and_cut_text_has_the_whole(qtbot: QtBot, lines: int) -> None:
    text = "where the model looked, not what it relied on " * 4
    label = ElidedLabel(text, lines=lines, width=200)
    qtbot.addWidget(label)
    label.resize(3000, 40)
    label.show()
    assert label.toolTip() == ""
    label.resize(120, 40 * lines)
    assert "relied" in label.toolTip()
    assert label.accessibleName() == " ".join(text.split())
    label.grab()


def test_more_lines_are_asked_for_as_far_as_allowed(qtbot: QtBot) -> None:
    label = ElidedLabel("one two three four five six seven eight " * 3, lines=2, width=150)
    qtbot.addWidget(label)
    line = label.fontMetrics().lineSpacing()
    assert label.sizeHint().width() <= 150
    assert 2 * line <= label.sizeHint().height() < 3 * line
    label.set_shape(2000, 2)
    assert label.sizeHint().height() <= 2 * line + 2


def test_markup_in_tooltips_is_shown_and_not_read() -> None:
    assert plain_tooltip("<b>&\n") == "<qt>&lt;b&gt;&amp;<br></qt>"
    assert plain_tooltip("") == ""
    assert len(plain_tooltip("x" * 10_000)) < 2100


def test_a_note_waits_before_it_shows_and_says_failures_at_once(qtbot: QtBot) -> None:
    note = InlineNote()
    qtbot.addWidget(note)
    note.show_waiting("Computing maps…")
    assert note.isHidden()
    qtbot.waitUntil(note.isVisible, timeout=2000)
    with qtbot.waitSignal(note.cancelled):
        qtbot.mouseClick(note.cancel, Qt.MouseButton.LeftButton)
    note.show_failed("The GPU is out of memory; close other programs.", "trace")
    assert note.retry.isVisible()
    assert note.copy.isVisible()
    assert not note.cancel.isVisible()
    with qtbot.waitSignal(note.retried):
        qtbot.mouseClick(note.retry, Qt.MouseButton.LeftButton)
    note.show_failed("Another sentence.")
    assert not note.copy.isVisible()
    note.show_waiting("Computing maps…")
    note.clear()
    qtbot.wait(400)
    assert note.isHidden()
