"""What people drop, paste and type that cannot work: one clear sentence, and the window stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QSettings, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from mmviewer.core.types import Modality, ModelInfo
from mmviewer.engine import client
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.main_window import MainWindow, _words_for_drop
from mmviewer.gui.panels.viewer import ViewerPanel
from mmviewer.gui.theme import Theme
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

PATIENCE = 60_000


@pytest.fixture
def notices(bench: Workbench) -> list[str]:
    found: list[str] = []
    bench.notice.connect(lambda message, _level: found.append(message))
    bench.error.connect(lambda report: found.append(report.message))
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), (200, 60, 30)).save(path)
    return path


def settle(bench: Workbench, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not bench.activities.running(), timeout=PATIENCE)


# --- dropped and pasted -----------------------------------------------------------------------------
def test_an_address_on_the_network_is_no_item(bench: Workbench, qtbot: QtBot, notices: list[str]):
    mime = QMimeData()
    mime.setUrls([QUrl("https://example.org/cat.png")])
    mime.setText("https://example.org/cat.png")
    bench.paste(mime)
    settle(bench, qtbot)
    assert bench.state.items == ()
    assert len(notices) == 1
    assert "save the file" in notices[0]


def test_a_file_address_as_text_opens_the_file(bench: Workbench, qtbot: QtBot, picture: Path):
    mime = QMimeData()
    mime.setText(picture.as_uri())
    bench.paste(mime)
    qtbot.waitUntil(lambda: len(bench.state.items) == 1, timeout=PATIENCE)
    assert bench.state.items[0].media.modality is Modality.IMAGE


def test_a_text_beyond_the_limit_is_a_sentence(bench: Workbench, qtbot: QtBot, notices: list[str]):
    mime = QMimeData()
    mime.setText("word " * 400_000)
    bench.paste(mime)
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE)
    assert notices == ["The text is a text of more than 1 MB; cut out the part you want to look at."]
    assert bench.state.items == ()


def test_a_long_text_is_shown_in_part(bench: Workbench, qtbot: QtBot):
    panel = ViewerPanel(bench)
    qtbot.addWidget(panel)
    bench.open_text("word " * 100_000, choose=True)
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)
    shown = panel.text.toPlainText()
    assert shown.endswith("(449,999 more characters)")
    assert len(shown) < 51_000
    panel.release()


def test_a_drag_says_what_a_drop_would_do(tmp_path: Path):
    mime = QMimeData()
    mime.setUrls([QUrl("https://example.org/cat.png")])
    assert "save the file first" in _words_for_drop(mime)
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "cat.png"))])
    assert _words_for_drop(mime) == "Drop to open cat.png"
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / f"{n}.png")) for n in range(3)])
    assert _words_for_drop(mime) == "Drop to open 3 files"


# --- described ----------------------------------------------------------------------------------------
def test_giving_up_a_description_with_no_image_says_nothing(bench: Workbench, notices: list[str]):
    bench.query("")
    assert notices == []
    bench.query("a cat")
    assert notices == ["A description is looked for in an image or a sound: choose one of them first."]


def test_a_description_that_is_too_long_fails_in_place_and_can_be_given_up(
    bench: Workbench, qtbot: QtBot, starter: ModelInfo, picture: Path, notices: list[str]
):
    bench.state.set_model(starter)
    bench.open_paths([picture])
    qtbot.waitUntil(lambda: bench.state.maps is not None, timeout=PATIENCE)
    caption = bench.state.sequence
    bench.query("dog " * 500)
    qtbot.waitUntil(lambda: bench.activity("sequence").error is not None, timeout=PATIENCE)
    assert bench.state.sequence is caption
    assert notices == []
    bench.query("")
    assert bench.activity("sequence").error is None


def test_try_again_asks_for_the_description_and_not_for_a_caption(
    bench: Workbench, qtbot: QtBot, starter: ModelInfo, picture: Path
):
    bench.settings.generate_on_choose = False
    bench.state.set_model(starter)
    bench.open_paths([picture])
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)
    bench.query("a red square")
    qtbot.waitUntil(lambda: bench.state.sequence is not None, timeout=PATIENCE)
    bench.ask_again()
    settle(bench, qtbot)
    assert bench.state.sequence is not None
    assert bench.state.sequence.kind == "query"


# --- models ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["x" * 5000, "y" * 300])
def test_a_name_no_file_can_have_is_a_sentence(bench: Workbench, qtbot: QtBot, notices: list[str], name: str):
    bench.load_model(name)
    assert len(bench.activity("model").label) < 60
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE)
    assert "cannot be opened as a model" in notices[0]


# --- the window keeps its size --------------------------------------------------------------------------
@pytest.fixture
def window(qtbot: QtBot, bench: Workbench, qapp: QApplication, user_folders: Path):
    theme = Theme(qapp)
    window = MainWindow(bench, theme, QSettings(str(user_folders / "window.ini"), QSettings.Format.IniFormat))
    window.resize(1280, 800)
    with qtbot.waitExposed(window):
        window.show()
    yield window
    window.close()
    window.deleteLater()
    theme.release()
    theme.deleteLater()


def test_no_error_widens_the_window(window: MainWindow, bench: Workbench, qtbot: QtBot):
    bench.report(ErrorReport("ModelError", f"/{'x' * 5000}.bin is damaged; get it again."))
    bench.load_model("y" * 5000)
    qtbot.waitUntil(lambda: bench.activity("model").error is not None, timeout=PATIENCE)
    for key in window.docks.docks:
        window.docks.bring(key)
        qtbot.wait(20)
    assert window.width() == 1280
    assert window.minimumSizeHint().width() <= 1280


def test_the_window_fits_a_narrow_screen(
    window: MainWindow, bench: Workbench, qtbot: QtBot, starter: ModelInfo, picture: Path
):
    bench.state.set_model(starter)
    bench.open_paths([picture])
    qtbot.waitUntil(lambda: bench.state.maps is not None, timeout=PATIENCE)
    window.resize(700, 1000)
    qtbot.wait(50)
    assert window.width() < 780  # 700 with the narrower fonts of a desktop
    assert window.top_bar.model.text() == f"{starter.label} ▾"
    assert starter.label in window.top_bar.model.toolTip()
    assert "fp32" in window.top_bar.model.toolTip()


def test_names_have_room_in_a_window_of_the_usual_size(window: MainWindow, qtbot: QtBot):
    window.docks.reset()
    qtbot.waitUntil(lambda: window.docks.docks["library"].width() >= 205)


def test_a_long_word_breaks_and_copies_whole(qtbot: QtBot):
    word = "x" * 400
    label = WrappedLabel(f"{word} is missing")
    qtbot.addWidget(label)
    assert label.text() == f"{word} is missing"
    plain = QLabel(f"{word} is missing", wordWrap=True)
    qtbot.addWidget(plain)
    assert label.minimumSizeHint().width() < 200 < plain.minimumSizeHint().width()


def test_the_engines_last_words_are_one_line():
    error = RuntimeError("\n  An attempt was made\n  to start twice.\n")
    assert client._first_line(error) == "An attempt was made"
    assert client._first_line(RuntimeError()) == "RuntimeError"


def test_copying_a_notice_gives_the_text_without_breaks(window: MainWindow, bench: Workbench):
    message = f"/{'folder' * 20}/file.png is damaged."
    bench.report(ErrorReport("MediaError", message, "details"))
    window.notices._copy.click()
    assert QGuiApplication.clipboard().text() == f"{message}\n\ndetails"
