"""The window with real events: panels, menus, keys, drops, themes, notices."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QDockWidget, QLineEdit
from pytestqt.qtbot import QtBot

from mmviewer.core.errors import MediaError
from mmviewer.core.types import ModelInfo
from mmviewer.engine.protocol import ErrorReport
from mmviewer.gui.actions import ACTIONS, MENUS
from mmviewer.gui.crash import CrashReporter, start_log
from mmviewer.gui.dialogs import AboutDialog, LogDialog, details_text
from mmviewer.gui.main_window import MainWindow
from mmviewer.gui.panels.base import PANELS
from mmviewer.gui.theme import DARK, LIGHT, Theme
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

PATIENCE = 60_000


@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    theme = Theme(qapp)
    theme.apply("light")
    yield theme
    theme.release()
    theme.deleteLater()


@pytest.fixture
def window(qtbot: QtBot, bench: Workbench, theme: Theme, user_folders: Path) -> Iterator[MainWindow]:
    bench.settings.generate_on_choose = False
    window = MainWindow(bench, theme, QSettings(str(user_folders / "window.ini"), QSettings.Format.IniFormat))
    window.resize(1280, 800)
    with qtbot.waitExposed(window):
        window.show()
    yield window
    window.close()
    window.deleteLater()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"picture-{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.new("RGB", (64, 48), (80 * number, 90, 120)).save(file)
    return files


def drop(window: MainWindow, mime: QMimeData) -> None:
    """Drag something over the window and let go."""
    where = QPointF(window.width() / 2, window.height() / 2)
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(where.toPoint(), Qt.DropAction.CopyAction, mime, buttons, keys)
    QCoreApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    QCoreApplication.sendEvent(window, QDropEvent(where, Qt.DropAction.CopyAction, mime, buttons, keys))


# --- panels --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", PANELS.keys())
def test_a_panel_opens_closes_and_leaks_nothing(key: str, qtbot: QtBot, bench: Workbench, theme: Theme):
    kind = PANELS.get(key)
    assert kind.key == key
    assert kind.title
    assert kind.help.endswith(".")
    panel = kind(bench)
    panel.resize(400, 300)
    with qtbot.waitExposed(panel):
        panel.show()
    panel.close()
    panel.release()
    gone = weakref.ref(panel)
    panel.deleteLater()
    del panel
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    bench.state.set_labels(("one",), ("a {}",))  # a signal to a panel that is gone must not raise
    bench.state.update_view(opacity=0.2)
    gc.collect()
    import shiboken6

    rest = gone()
    assert rest is None or not shiboken6.isValid(rest)


def test_every_panel_has_its_place_and_can_be_closed_and_brought_back(window: MainWindow, qtbot: QtBot):
    assert window.docks.centre is window.docks.panels["viewer"]
    for key, dock in window.docks.docks.items():
        dock.close()
        assert dock.isHidden()
        window.docks.bring(key)
        assert dock.isVisible()
    assert set(window.docks.panels) == set(PANELS.keys())


def test_layout_is_remembered_and_reset(
    window: MainWindow, qtbot: QtBot, bench: Workbench, theme: Theme, user_folders: Path
):
    docks = window.docks.docks
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, docks["space"])
    docks["labels"].close()
    window.close()
    again = MainWindow(bench, theme, QSettings(str(user_folders / "window.ini"), QSettings.Format.IniFormat))
    with qtbot.waitExposed(again):
        again.show()
    assert again.dockWidgetArea(again.docks.docks["space"]) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert again.docks.docks["labels"].isHidden()
    again.actions_by_key["reset-layout"].trigger()
    assert again.dockWidgetArea(again.docks.docks["space"]) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert again.docks.docks["labels"].isVisible()
    again.close()
    again.deleteLater()


@pytest.mark.qt_log_ignore("This plugin does not support")
def test_a_dock_among_tabs_has_no_second_title(window: MainWindow, qtbot: QtBot):
    dock = window.docks.docks["labels"]
    assert dock.titleBarWidget().sizeHint().height() == 0
    dock.setFloating(True)
    qtbot.waitUntil(lambda: dock.titleBarWidget().sizeHint().height() > 0)
    dock.setFloating(False)


def test_a_hostile_layout_file_gives_the_default_layout(
    qtbot: QtBot, bench: Workbench, theme: Theme, tmp_path: Path
):
    path = tmp_path / "window.ini"
    path.write_bytes(b"[window]\ndocks=@ByteArray(\\0\\0\\0\xff nonsense)\ngeometry=12\n")
    window = MainWindow(bench, theme, QSettings(str(path), QSettings.Format.IniFormat))
    with qtbot.waitExposed(window):
        window.show()
    assert all(isinstance(dock, QDockWidget) and not dock.isHidden() for dock in window.docks.docks.values())
    window.close()
    window.deleteLater()


# --- actions -------------------------------------------------------------------------------------------
def test_the_action_table_is_sound():
    keys = [info.key for info in ACTIONS]
    shortcuts = [info.shortcut for info in ACTIONS if info.shortcut]
    assert len(keys) == len(set(keys))
    assert len(shortcuts) == len(set(shortcuts))
    assert {info.menu for info in ACTIONS} == set(MENUS)


def test_actions_follow_the_state(window: MainWindow, qtbot: QtBot, bench: Workbench, pictures: list[Path]):
    actions = window.actions_by_key
    assert not actions["generate"].isEnabled()
    assert not actions["undo"].isEnabled()
    bench.open_paths(pictures)
    qtbot.waitUntil(lambda: len(bench.state.items) == 3, timeout=PATIENCE)
    qtbot.waitUntil(actions["generate"].isEnabled)
    assert actions["remove"].isEnabled()
    actions["remove"].trigger()
    qtbot.waitUntil(actions["undo"].isEnabled)
    assert "Remove picture-0.png" in actions["undo"].text()
    actions["undo"].trigger()
    assert len(bench.state.items) == 3


def test_everything_to_press_is_big_enough_and_has_a_name(window: MainWindow):
    for button in window.findChildren(QAbstractButton):
        if not button.isVisible() or button.objectName().startswith(("qt_", "Scroll", "_q_")):
            continue
        name = button.accessibleName() or button.text() or button.toolTip()
        assert name, f"{button} in {button.parent()} has no name"
        assert min(button.width(), button.height()) >= 20, f"{name} is too small: {button.size()}"


# --- drops, paste, query -----------------------------------------------------------------------------------
def test_files_are_dropped(window: MainWindow, qtbot: QtBot, bench: Workbench, pictures: list[Path]):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in pictures])
    drop(window, mime)
    qtbot.waitUntil(lambda: len(bench.state.items) == 3, timeout=PATIENCE)
    assert window.windowTitle() == "picture-0.png – mmviewer"


def test_a_folder_is_dropped(window: MainWindow, qtbot: QtBot, bench: Workbench, pictures: list[Path]):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(pictures[0].parent))])
    drop(window, mime)
    qtbot.waitUntil(lambda: len(bench.state.items) == 3, timeout=PATIENCE)


def test_text_is_pasted_by_key(window: MainWindow, qtbot: QtBot, bench: Workbench):
    QGuiApplication.clipboard().setText("a red bicycle")
    window.activateWindow()
    window.docks.panels["library"].setFocus()
    qtbot.keyClick(window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: len(bench.state.items) == 1, timeout=PATIENCE)
    assert bench.state.current.media.text == "a red bicycle"


def test_typing_a_description_shows_its_tokens(
    window: MainWindow, qtbot: QtBot, bench: Workbench, starter: ModelInfo, pictures: list[Path]
):
    bench.state.set_model(starter)
    bench.open_paths(pictures[:1])
    qtbot.waitUntil(lambda: bench.state.current is not None, timeout=PATIENCE)
    qtbot.keyClicks(window.top_bar.query, "a red square")
    qtbot.waitUntil(lambda: bench.state.sequence is not None, timeout=PATIENCE)
    assert bench.state.sequence.text == "a red square"
    qtbot.keyClick(window.top_bar.query, Qt.Key.Key_Escape)
    assert window.top_bar.query.text() == ""
    qtbot.waitUntil(
        lambda: bench.state.sequence is not None and bench.state.sequence.kind == "caption", timeout=PATIENCE
    )


# --- keyboard -------------------------------------------------------------------------------------------
class _GreedyField(QLineEdit):
    """Takes every key for itself, as line edits of some systems take Ctrl+E for the end of the line."""

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        return super().event(event)


def test_shortcuts_hold_in_text_fields_but_editing_keys_stay_theirs(
    window: MainWindow, qtbot: QtBot, bench: Workbench, pictures: list[Path]
):
    bench.open_paths(pictures[:1])
    qtbot.waitUntil(lambda: window.actions_by_key["export"].isEnabled(), timeout=PATIENCE)
    field = _GreedyField(window.top_bar)
    field.show()
    window.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    asked: list[bool] = []
    bench.export_requested.disconnect(window.open_export)
    bench.export_requested.connect(lambda: asked.append(True))
    qtbot.keyClick(field, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert asked == [True]
    QGuiApplication.clipboard().setText("teapot")
    qtbot.keyClick(field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert field.text() == "teapot"
    assert len(bench.state.items) == 1


def test_tab_goes_as_one_reads(window: MainWindow, qtbot: QtBot):
    window.activateWindow()
    panels = window.docks.panels
    holders = [window.top_bar, *(panels[key] for key in ("library", "viewer", "tokens", "space", "labels"))]
    window.top_bar.query.setFocus()
    visited: list[int] = []
    for _ in range(60):
        focused = QApplication.focusWidget()
        inside = [index for index, holder in enumerate(holders) if holder.isAncestorOf(focused)]
        visited.extend(index for index in inside if index not in visited)
        qtbot.keyClick(focused, Qt.Key.Key_Tab)
    assert visited == sorted(visited)
    assert {0, 1, 5} <= set(visited)


def test_what_the_space_panel_leaves_goes_to_the_picture(window: MainWindow, qtbot: QtBot):
    qtbot.wait(50)
    docks = window.docks.docks
    tokens, picture = docks["tokens"].height(), window.docks.centre.height()
    docks["space"].close()
    qtbot.waitUntil(lambda: window.docks.centre.height() > picture + 60)
    qtbot.waitUntil(lambda: docks["tokens"].height() < tokens + 40)


# --- themes ---------------------------------------------------------------------------------------------
def test_the_theme_is_switched_and_remembered(window: MainWindow, theme: Theme, bench: Workbench):
    window.actions_by_key["theme-dark"].trigger()
    assert theme.is_dark
    assert window.palette().color(QPalette.ColorRole.Window).name() == DARK.window
    assert bench.settings.theme == "dark"
    assert window.actions_by_key["theme-dark"].isChecked()
    assert not window.actions_by_key["theme-light"].isChecked()
    image = window.grab().toImage()
    assert image.pixelColor(QPoint(window.width() - 3, 60)).lightness() < 100


@pytest.mark.parametrize("colours", [DARK, LIGHT], ids=["dark", "light"])
def test_text_stands_out_from_every_ground(colours):
    for front, back in (
        (colours.text, colours.window),
        (colours.text, colours.base),
        (colours.text, colours.surface),
        (colours.text, colours.hover),
        (colours.faint, colours.window),
        (colours.faint, colours.base),
        (colours.on_accent, colours.accent),
        (colours.on_accent, colours.accent_hover),
        (colours.on_selection, colours.selection),
        (colours.bad, colours.surface),
    ):
        assert contrast(front, back) >= 4.5, (front, back, contrast(front, back))
    for back in (colours.window, colours.base, colours.surface):
        assert contrast(colours.bright, back) >= 3, (back, contrast(colours.bright, back))


def contrast(front: str, back: str) -> float:
    """WCAG 2 contrast ratio of two colours "#rrggbb"."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(front), luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# --- notices, dialogs, crashes ------------------------------------------------------------------------------
def test_errors_wait_their_turn_and_can_be_copied(window: MainWindow, bench: Workbench):
    bench.error.emit(ErrorReport("A", "The first thing failed.", "line 1"))
    bench.error.emit(ErrorReport("B", "The second thing failed."))
    bench.error.emit(ErrorReport("B", "The second thing failed."))
    bench.notice.emit("Something nice happened.", "info")
    notices = window.notices
    assert notices.text == "The first thing failed."
    assert notices.full_text() == "The first thing failed.\n\nline 1"
    notices.dismiss()
    assert notices.text == "The second thing failed."
    notices.dismiss()
    assert notices.text == ""
    bench.notice.emit("<b>Not rich</b> & plain", "info")
    assert notices.text == "<b>Not rich</b> & plain"
    notices.dismiss()


def test_a_longer_notice_gets_more_room_at_once(window: MainWindow, bench: Workbench):
    bench.notice.emit("Short.", "warning")
    before = window.notices.height()
    bench.notice.emit("A sentence of many words. " * 20, "warning")
    text = window.notices.findChild(WrappedLabel)
    assert window.notices.height() > before
    assert text.height() >= text.heightForWidth(text.width())


def test_about_and_log_are_not_modal(window: MainWindow, qtbot: QtBot, user_folders: Path):
    (user_folders / "log_dir" / "engine.log").write_text("hello from the engine\n")
    window.actions_by_key["about"].trigger()
    window.actions_by_key["show-log"].trigger()
    about, log = window.findChild(AboutDialog), window.findChild(LogDialog)
    assert not about.isModal()
    assert not log.isModal()
    assert "mmviewer" in about.details.toPlainText()
    assert "hello from the engine" in log.text.toPlainText()
    about.close()
    log.close()


def test_details_name_versions_and_models(bench: Workbench, starter: ModelInfo):
    bench.state.set_model(starter)
    details = details_text(bench)
    for word in ("mmviewer", "Python", "Qt", starter.label, starter.weights_hash[:12]):
        assert word in details


def test_an_unexpected_error_is_told_and_logged(qtbot: QtBot, tmp_path: Path):
    log = start_log(tmp_path)
    reporter = CrashReporter()
    told: list[ErrorReport] = []
    reporter.happened.connect(told.append)
    reporter._on_error(ValueError, ValueError("secret detail"), None)
    reporter._on_error(MediaError, MediaError("The file x.png is empty."), None)
    assert "please report" in told[0].message
    assert "secret detail" in told[0].details
    assert told[1].message == "The file x.png is empty."
    assert "secret detail" in log.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_a_thread_reaches_the_window(qtbot: QtBot):
    reporter = CrashReporter()
    told: list[ErrorReport] = []
    reporter.happened.connect(told.append)
    reporter.install()
    try:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        qtbot.waitUntil(lambda: bool(told))
    finally:
        reporter.uninstall()
    assert told[0].kind == "ZeroDivisionError"


def test_recent_files_open_and_clear(
    window: MainWindow, qtbot: QtBot, bench: Workbench, pictures: list[Path]
):
    bench.settings.remember_recent([str(pictures[0])])
    window._recent.aboutToShow.emit()
    actions = window._recent.actions()
    assert actions[0].text() == "picture-0.png"
    actions[0].trigger()
    qtbot.waitUntil(lambda: len(bench.state.items) == 1, timeout=PATIENCE)
    actions[-1].trigger()
    assert bench.settings.recent_files == []
