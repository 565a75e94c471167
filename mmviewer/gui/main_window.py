"""The window: docks from the panel registry, top bar, status bar, menus from the action table, drops."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QMimeData, QSettings, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDesktopServices,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QGuiApplication,
    QKeySequence,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QAbstractButton,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMenu,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from mmviewer import paths
from mmviewer.gui.actions import ACTIONS, MENUS, ActionInfo
from mmviewer.gui.dialogs import AboutDialog, LogDialog, details_text
from mmviewer.gui.docks import Docks
from mmviewer.gui.icons import app_icon, icon
from mmviewer.gui.middle import Middle
from mmviewer.gui.notice_bar import NoticeBar
from mmviewer.gui.shortcuts import WindowShortcuts
from mmviewer.gui.status_bar import StatusBar
from mmviewer.gui.theme import Theme
from mmviewer.gui.top_bar import TopBar
from mmviewer.gui.workbench import Workbench

if TYPE_CHECKING:
    from mmviewer.gui.controllers.tour import Tour

_FIRST_SIZE = (1440, 900)


class MainWindow(QMainWindow):
    """Everything one sees.

    Parameters
    ----------
    bench : Workbench
    theme : Theme
    memory : QSettings
        Where geometry and docks are remembered.
    """

    closed = Signal()
    bench: Workbench
    docks: Docks

    def __init__(self, bench: Workbench, theme: Theme, memory: QSettings) -> None:
        super().__init__()
        self.bench = bench
        self.theme = theme
        self._memory = memory
        self.setWindowTitle("mmviewer")
        self.setWindowIcon(app_icon())
        self.setAcceptDrops(True)
        self._resize_at_first()

        self.actions_by_key = {info.key: self._make_action(info) for info in ACTIONS}
        self.top_bar = TopBar(bench, self.actions_by_key, theme)
        self.top_bar.setParent(self)  # first in the order of Tab
        self.docks = Docks(self, bench)
        centre = QWidget(self)
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.docks.middle)
        self.setCentralWidget(centre)
        self.notices = NoticeBar(self, theme)
        self.tour: Tour | None = None
        self._veil = _DropVeil(self)
        self.status = StatusBar(bench, theme)
        self._recent = QMenu("Open recent", self)
        self._build_menus()
        self._place_bars()
        self._watch()
        self._shortcuts = WindowShortcuts(
            self, [self.actions_by_key[info.key] for info in ACTIONS if info.menu != "Edit"]
        )
        self.docks.reset()
        self.docks.restore(memory)
        self._refresh_actions()

    # --- what actions call -----------------------------------------------------------------------------
    def choose_files(self) -> None:
        """Open a file dialog for items."""
        self._file_dialog(QFileDialog.FileMode.ExistingFiles, "Open images, sounds or texts")

    def choose_folder(self) -> None:
        """Open a file dialog for a folder."""
        self._file_dialog(QFileDialog.FileMode.Directory, "Open all files of a folder")

    def open_samples(self) -> None:
        """Open the files of the sample session."""
        self.bench.samples.open()

    def start_tour(self) -> None:
        """Lead through the window, step by step."""
        from mmviewer.gui.controllers.tour import Tour  # on demand: not needed for the first paint

        if self.tour is None:
            self.tour = Tour(self)
            self.tour.finished.connect(self._on_tour_finished)
            self.notices.dismiss()
            self.tour.start()

    def open_help(self, key: str = "") -> None:
        """Show a page of the help, by default the one on the panel in use, in the window that is open."""
        from mmviewer.gui.help_dialog import HelpDialog  # on demand: not needed for the first paint

        panel = self.docks.in_use()
        key = key or (panel.help_page if panel is not None else "")
        opened = (each for each in self.findChildren(HelpDialog) if each.isVisible())
        dialog = next(opened, None) or HelpDialog(self)
        dialog.open_page(key)
        dialog.show()
        dialog.activateWindow()

    def toggle_compare(self) -> None:
        """Lay maps out side by side in place of the viewer, or go back to it."""
        compare = self.bench.compare
        if compare.is_open:
            compare.close()
        else:
            compare.open()

    def toggle_twin(self) -> None:
        """Show the item under two models side by side in place of the viewer, or go back to it."""
        twin = self.bench.twin
        if twin.is_open:
            twin.close()
        else:
            twin.open()

    def toggle_map(self) -> None:
        """Show the map of a collection in place of the viewer, or go back to it."""
        self.bench.collections.show(not self.bench.collections.is_shown)

    def offer_tour(self) -> None:
        """Offer the tour, once and for all."""
        if not self.bench.settings.tour_offered:
            self.bench.settings.tour_offered = True
            self.bench.save_settings()
            words = "New here? A short tour shows what there is to see; Help has it at any time."
            self.notices.show_offer(words, "Take the tour", self.start_tour)

    def toggle_sample_notes(self) -> None:
        """Say what to see in each sample, or not."""
        self.bench.samples.show_notes(not self.bench.settings.sample_notes)

    def paste(self) -> None:
        """Open what is on the clipboard."""
        self.bench.paste(QGuiApplication.clipboard().mimeData())

    def copy_figure(self) -> None:
        """Copy what is shown as an image."""
        from mmviewer.gui.export import copy_view  # drawn on demand: not needed for the first paint

        copy_view(self.bench)

    def open_export(self) -> None:
        """Show the export dialog."""
        from mmviewer.gui.export import ExportDialog  # opened on demand: not needed for the first paint

        ExportDialog(self.bench, self).show()

    def copy_sequence(self) -> None:
        """Copy the text of the token strip."""
        if self.bench.state.sequence is not None:
            QGuiApplication.clipboard().setText(self.bench.state.sequence.text.strip())

    def rename_current(self) -> None:
        """Let the library edit the name of the current item."""
        self.docks.bring("library")
        library = self.docks.panels.get("library")
        if library is not None:
            library.rename_current()  # type: ignore[attr-defined]

    def remove_selected(self) -> None:
        """Take the selected items out of the library."""
        ids = self.bench.state.selection
        self.bench.remove(ids)
        if ids:
            what = "1 item" if len(ids) == 1 else f"{len(ids)} items"
            self.bench.notice.emit(f"Removed {what} from the library; Ctrl+Z brings it back.", "info")

    def reveal_current(self) -> None:
        """Show the folder of the current item's file."""
        current = self.bench.state.current
        if current is not None and current.media.path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(current.media.path).parent)))

    def reset_layout(self) -> None:
        """Put all docks back."""
        self.docks.reset()

    def set_theme(self, mode: str) -> None:
        """Use "system", "light" or "dark" colours from now on."""
        self.bench.settings.theme = mode  # type: ignore[assignment]
        self.bench.save_settings()
        self.theme.apply(mode)
        self._refresh_actions()

    def focus_query(self) -> None:
        """Go to the description field."""
        self.top_bar.query.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.top_bar.query.selectAll()

    def ask_question(self) -> None:
        """Go to the line for questions."""
        self.docks.bring("caption")
        caption = self.docks.panels.get("caption")
        if caption is not None:
            caption.ask_something()  # type: ignore[attr-defined]

    def toggle_full_screen(self) -> None:
        """Fill the screen, or not."""
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def toggle_generate_on_choose(self) -> None:
        """Caption items when they are chosen, or not."""
        self.bench.settings.generate_on_choose = not self.bench.settings.generate_on_choose
        self.bench.save_settings()
        self._refresh_actions()

    def toggle_network(self) -> None:
        """Allow downloads of models, or not."""
        self.bench.set_network(not self.bench.settings.allow_network)

    def manage_models(self) -> None:
        """Show the model manager, once."""
        from mmviewer.gui.model_manager import ModelManager  # on demand: not needed for the first paint

        manager = self.findChild(ModelManager) or ModelManager(self.bench, self)
        manager.show()
        manager.raise_()
        manager.activateWindow()

    def cancel_all(self) -> None:
        """Stop all work."""
        for key in list(self.bench.activities.running()):
            self.bench.cancel(key)

    def show_log(self) -> None:
        """Show the log files."""
        LogDialog(paths.log_dir(), self).show()

    def copy_details(self) -> None:
        """Copy versions, device and models."""
        QGuiApplication.clipboard().setText(details_text(self.bench))
        self.bench.notice.emit("Copied versions, device and models.", "info")

    def show_about(self) -> None:
        """Show what this is."""
        AboutDialog(self.bench, self).show()

    # --- drops -------------------------------------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        mime = event.mimeData()
        if mime.hasUrls() or mime.hasImage() or mime.hasText():
            event.acceptProposedAction()
            self._veil.cover(_words_for_drop(mime))

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._veil.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self._veil.hide()
        event.acceptProposedAction()
        self.bench.paste(event.mimeData())

    # --- the end -------------------------------------------------------------------------------------------
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not event.spontaneous():
            QTimer.singleShot(0, self, self._settle)  # when the window has the size the screen gives it

    def closeEvent(self, event: QCloseEvent) -> None:
        self._middle.clear()  # docks that made room for it are remembered where they were
        self.docks.save(self._memory)
        self._release()
        event.accept()
        self.closed.emit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._repaint_icons()

    def _settle(self) -> None:
        self.docks.settle()
        self.docks.bring("library")

    def _release(self) -> None:
        state = self.bench.state
        for signal in (
            state.items_changed,
            state.current_changed,
            state.selection_changed,
            state.sequence_changed,
        ):
            signal.disconnect(self._refresh_soon, missing_ok=True)
        state.current_changed.disconnect(self._on_current, missing_ok=True)
        if self.tour is not None:
            self.tour.leave()
        self._refresh_timer.stop()
        self._shortcuts.release()
        self.docks.release()
        self.top_bar.release()

    # --- building --------------------------------------------------------------------------------------
    def _resize_at_first(self) -> None:
        room = self.screen().availableSize()
        self.resize(min(_FIRST_SIZE[0], room.width()), min(_FIRST_SIZE[1], room.height()))

    def _make_action(self, info: ActionInfo) -> QAction:
        action = QAction(info.text, self)
        action.setObjectName(f"action-{info.key}")
        if info.shortcut:
            action.setShortcut(QKeySequence(info.shortcut))
        if info.icon:
            action.setIcon(icon(info.icon))
        if info.tip:
            action.setToolTip(info.tip)
            action.setStatusTip("")
        action.setCheckable(info.checked is not None)
        action.triggered.connect(lambda _checked=False: info.run(self))
        self.addAction(action)
        return action

    def _build_menus(self) -> None:
        menus = {name: self.menuBar().addMenu(f"&{name}") for name in MENUS}
        for menu in menus.values():
            menu.setToolTipsVisible(True)
        for dock in self.docks.docks.values():
            menus["View"].addAction(dock.toggleViewAction())
        for info in ACTIONS:
            if info.separated:
                menus[info.menu].addSeparator()
            menus[info.menu].addAction(self.actions_by_key[info.key])
        menus["File"].insertMenu(self.actions_by_key["samples"], self._recent)
        self._recent.aboutToShow.connect(self._fill_recent)

    def _fill_recent(self) -> None:
        self._recent.clear()
        for name in self.bench.settings.recent_files:
            action = self._recent.addAction(Path(name).name)
            action.setToolTip(name)
            action.triggered.connect(partial(self._open_recent, name))
        self._recent.addSeparator()
        clear = self._recent.addAction("Clear")
        clear.setEnabled(bool(self.bench.settings.recent_files))
        clear.triggered.connect(self.bench.clear_recent)

    def _open_recent(self, name: str, _checked: bool = False) -> None:
        self.bench.open_paths([name])

    def _place_bars(self) -> None:
        bar = QToolBar("Main", self)
        bar.setObjectName("main-tool-bar")
        bar.setMovable(False)
        bar.toggleViewAction().setEnabled(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        bar.addWidget(self.top_bar)
        self.addToolBar(bar)
        for layout in (bar.layout(), self.statusBar().layout()):
            if layout is not None:
                layout.setContentsMargins(0, 0, 0, 0)
                layout.setSpacing(0)
        status = self.statusBar()
        status.setSizeGripEnabled(False)
        status.setContentsMargins(0, 0, 0, 0)
        status.addPermanentWidget(self.status, 1)

    def _watch(self) -> None:
        self._refresh_timer = QTimer(self, singleShot=True, interval=0)
        self._refresh_timer.timeout.connect(self._refresh_actions)
        state, bench = self.bench.state, self.bench
        for signal in (
            state.items_changed,
            state.current_changed,
            state.selection_changed,
            state.sequence_changed,
        ):
            signal.connect(self._refresh_soon)
        state.current_changed.connect(self._on_current)
        bench.activities.changed.connect(self._refresh_soon)
        bench.undo_stack.indexChanged.connect(self._refresh_soon)
        bench.network_changed.connect(self._refresh_soon)
        bench.manager_requested.connect(self.manage_models)
        bench.notice.connect(self.notices.show_notice)
        bench.error.connect(self.notices.show_error)
        bench.export_requested.connect(self.open_export)
        bench.panel_requested.connect(self.docks.bring)
        self._middle = Middle(bench, self.docks, self._refresh_actions)
        bench.samples_requested.connect(self.open_samples)
        bench.tour_requested.connect(self.start_tour)
        bench.help_requested.connect(self.open_help)
        bench.samples.changed.connect(self._refresh_soon)
        bench.open_requested.connect(self.choose_files)

    def _on_tour_finished(self) -> None:
        self.tour = None

    # --- following the state -----------------------------------------------------------------------------
    def _refresh_soon(self, *_changed: object) -> None:
        self._refresh_timer.start()

    def _refresh_actions(self) -> None:
        for info in ACTIONS:
            action = self.actions_by_key[info.key]
            if info.enabled is not None:
                action.setEnabled(info.enabled(self.bench))
            if info.checked is not None:
                action.setChecked(info.checked(self.bench))
        stack = self.bench.undo_stack
        self.actions_by_key["undo"].setText(f"Undo {stack.undoText()}".strip())
        self.actions_by_key["redo"].setText(f"Redo {stack.redoText()}".strip())

    def _on_current(self, item: object) -> None:
        name = getattr(item, "name", "")
        self.setWindowTitle(f"{name} – mmviewer" if name else "mmviewer")

    def _repaint_icons(self) -> None:
        for info in ACTIONS:
            if info.icon:
                self.actions_by_key[info.key].setIcon(icon(info.icon))
        for button in self.findChildren(QAbstractButton):
            name = button.property("icon-name")
            if name:
                button.setIcon(icon(name))

    def _file_dialog(self, mode: QFileDialog.FileMode, title: str) -> None:
        dialog = QFileDialog(self, title)
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        recent = self.bench.settings.recent_files
        if recent:  # a folder that is gone is ignored by Qt
            dialog.setDirectory(str(Path(recent[0]).parent))
        dialog.filesSelected.connect(self.bench.open_paths)
        dialog.open()


class _DropVeil(QLabel):
    """Covers the window while something is dragged over it, and says what a drop would do."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("drop-veil")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def cover(self, words: str) -> None:
        """Show over the whole window."""
        self.setText(words)
        self.setGeometry(self._window.rect().adjusted(8, 8, -8, -8))
        self.show()
        self.raise_()


def _words_for_drop(mime: QMimeData) -> str:
    files = [url for url in mime.urls() if url.isLocalFile()]
    if files:
        return (
            f"Drop to open {files[0].fileName()}" if len(files) == 1 else f"Drop to open {len(files)} files"
        )
    if mime.hasUrls() and not mime.hasImage():
        return "An address on the network: save the file first, then drop it"
    return "Drop to open the image" if mime.hasImage() else "Drop to add the text"
