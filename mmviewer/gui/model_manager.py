"""The model manager: search, download, load, verify and delete models; a window of its own, not modal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QSplitter,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.hub.catalogue import TASKS
from mmviewer.core.words import bytes_in_words
from mmviewer.engine.protocol import ErrorReport
from mmviewer.engine.protocol_hub import DownloadPlan
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.controllers.hub import PLAN
from mmviewer.gui.manager_model import Row, Wish, memory_dtype, rows
from mmviewer.gui.model_details import ModelDetails
from mmviewer.gui.widgets.elided_label import ElidedLabel

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_COLUMNS = ("Model", "Size", "Memory", "State")
_TIPS = (
    "Its name; the hub's id is on the right.",
    "What is on the disk, or else the size of the published weights, computed from their number.",
    "What it needs to run in the number format of this machine, computed.",
    "Whether it is on this machine.",
)
_SIZE = (960, 620)
_ROW = 26


class ModelManager(QDialog):
    """Models of the catalogue, of the cache, and any other of the hub."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Manage models")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setAcceptDrops(True)
        self._bench = workbench
        self._hub = workbench.hub
        self._rows: list[Row] = []
        self._plan: DownloadPlan | None = None
        self._error = ""
        self.field = QLineEdit(placeholderText="Search, or paste a hub id, an address or a folder")
        self.field.setClearButtonEnabled(True)
        self.field.setAccessibleName("Search models")
        self.field.setToolTip(
            "Words to search for; an id as OWNER/NAME, a model's address, or a folder or file."
        )
        self.task = QComboBox()
        self.task.setAccessibleName("What it can do")
        self.task.setToolTip("Show only models that can do this.")
        self.task.addItem("Anything", "")
        for task, meaning in TASKS.items():
            self.task.addItem(task.capitalize(), task)
            self.task.setItemData(
                self.task.count() - 1, f"{meaning.capitalize()}.", Qt.ItemDataRole.ToolTipRole
            )
        self.fits = QCheckBox("Fits my device")
        self.fits.setToolTip("Hide models that need more memory than is free now.")
        self.here = QCheckBox("On this machine")
        self.here.setToolTip("Show only what has been downloaded, or begun.")
        self.list = self._make_list()
        self.details = ModelDetails()
        self.folder = ElidedLabel()
        self.network = QCheckBox("Downloads")
        self.network.setToolTip(
            "Whether mmviewer may use the network; nothing is ever fetched unless you ask."
        )
        self.token = flat_button("Token…", "Keep an access token for gated models in the system's keyring.")
        self.move_folder = flat_button("Move…", "Keep models in another folder, and move there what is here.")
        self.open_folder = flat_button("Open", "Show the folder of models in the file manager.")
        self._lay_out()
        self._connect()
        self.resize(*_SIZE)
        self._fill()
        self._hub.refresh()

    # --- building --------------------------------------------------------------------------------------
    def _make_list(self) -> QTreeWidget:
        view = QTreeWidget()
        view.setColumnCount(len(_COLUMNS))
        view.setHeaderLabels(_COLUMNS)
        for column, tip in enumerate(_TIPS):
            view.headerItem().setToolTip(column, tip)
        view.setRootIsDecorated(False)
        view.setUniformRowHeights(True)
        view.setAccessibleName("Models")
        view.setTextElideMode(Qt.TextElideMode.ElideRight)
        header = view.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, len(_COLUMNS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        return view

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.field, 1)
        for widget in (self.task, self.fits, self.here):
            top.addWidget(widget)
        split = QSplitter()
        split.setChildrenCollapsible(False)
        split.addWidget(self.list)
        split.addWidget(self.details)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setSizes([560, 380])
        bottom = QHBoxLayout()
        bottom.addWidget(self.folder, 1)
        for control in (self.open_folder, self.move_folder, self.token, self.network):
            bottom.addWidget(control)
        close = push_button("Close", "Close this window; downloads go on.")
        close.setAutoDefault(False)
        close.clicked.connect(self.close)
        bottom.addWidget(close)
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(split, 1)
        column.addLayout(bottom)
        for button in (*self.details.buttons.values(), self.token, self.move_folder, self.open_folder):
            button.setAutoDefault(False)  # Enter in the field searches; it presses nothing

    def _connect(self) -> None:
        self.field.textChanged.connect(lambda _text: self._fill())
        self.task.currentIndexChanged.connect(lambda _index: self._fill())
        self.fits.toggled.connect(lambda _on: self._fill())
        self.here.toggled.connect(lambda _on: self._fill())
        self.list.currentItemChanged.connect(lambda _now, _before: self._on_chosen())
        self.list.itemActivated.connect(lambda _item, _column: self._act_on_enter())
        self.details.wanted.connect(self._do)
        self.network.clicked.connect(self._switch_network)
        self.token.clicked.connect(self._ask_token)
        self.move_folder.clicked.connect(self._ask_folder)
        self.open_folder.clicked.connect(self._show_folder)
        self._hub.changed.connect(self._fill)
        self._hub.planned.connect(self._on_plan)
        self._hub.failed.connect(self._on_failed)
        self._bench.activities.changed.connect(self._on_activity)

    # --- following -------------------------------------------------------------------------------------
    @property
    def row(self) -> Row | None:
        """The chosen line."""
        item = self.list.currentItem()
        index = self.list.indexOfTopLevelItem(item) if item is not None else -1
        return self._rows[index] if 0 <= index < len(self._rows) else None

    def _fill(self) -> None:
        chosen = self.row
        state = self._hub.state
        wish = Wish(
            self.field.text(), self.task.currentData() or "", self.fits.isChecked(), self.here.isChecked()
        )
        self._rows = rows(state, wish)
        self.list.blockSignals(True)
        self.list.clear()
        for row in self._rows:
            self.list.addTopLevelItem(self._item(row))
        keys = [row.key for row in self._rows]
        if chosen is not None and chosen.key in keys:
            place = keys.index(chosen.key)
        else:
            place = 0 if self._rows and self._rows[0].typed else -1
        if (item := self.list.topLevelItem(place)) is not None:
            self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self.network.setChecked(self._bench.settings.allow_network)
        if state is not None:
            self.folder.set_text(f"Models are in {state.folder} · {bytes_in_words(state.free)} free")
            self.token.setText("Token ✓…" if state.has_token else "Token…")
        if (self.row.key if self.row else None) != (chosen.key if chosen else None):
            self._plan, self._error = None, ""
        self._show_details()

    def _item(self, row: Row) -> QTreeWidgetItem:
        dtype = memory_dtype(self._hub.state)
        size = bytes_in_words(row.entry.disk_bytes) if row.entry else ""
        if row.here is not None and row.is_whole:
            size = bytes_in_words(row.here.size)
        memory = bytes_in_words(row.entry.memory_bytes(dtype)) if row.entry else ""
        item = QTreeWidgetItem([row.label, size, memory, self._state_of(row)])
        item.setToolTip(0, row.key)
        item.setSizeHint(0, QSize(0, _ROW))
        for column in (1, 2):
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return item

    def _state_of(self, row: Row) -> str:
        activity = self._hub.downloading(row.repo)
        if row.repo and activity.running:
            return "…" if activity.fraction is None else f"{activity.fraction:.0%}"
        if row.typed:
            return "local" if not row.repo else "on the hub?"
        if row.here is None:
            return "gated" if row.entry is not None and row.entry.gated else ""
        return "here" if row.is_whole else "begun" if row.is_begun else "broken"

    def _on_chosen(self) -> None:
        self._plan, self._error = None, ""
        self._show_details()

    def _show_details(self) -> None:
        row = self.row
        activity = self._activity_of(row)
        self.details.show_row(row, self._hub.state, activity, self._plan, self._error)

    def _activity_of(self, row: Row | None) -> Activity | None:
        if row is None:
            return None
        planning = self._bench.activity(PLAN)
        if planning.running:
            return planning
        return self._hub.downloading(row.repo) if row.repo else None

    def _on_activity(self, key: str, _activity: Activity) -> None:
        if key == PLAN or key.startswith("download:"):
            for place, row in enumerate(self._rows):
                item = self.list.topLevelItem(place)
                if key == f"download:{row.repo}" and item is not None:
                    item.setText(3, self._state_of(row))
            self._show_details()

    def _on_plan(self, plan: DownloadPlan) -> None:
        if self.row is not None and self.row.repo == plan.repo:
            self._plan, self._error = plan, ""
            self._show_details()

    def _on_failed(self, error: ErrorReport) -> None:
        self._error = error.message
        self._show_details()

    # --- what the user wants -----------------------------------------------------------------------------
    def _do(self, wanted: str) -> None:
        row = self.row
        if row is None:
            return
        self._error = ""
        steps = {
            "load": lambda: self._bench.load_model(row.spec, *self._place()),
            "plan": lambda: self._hub.plan(row.spec),
            "download": lambda: self._hub.download(row.spec, row.repo),
            "pause": lambda: self._pause(row),
            "discard": lambda: self._hub.discard(row.repo),
            "verify": lambda: self._hub.verify(row.repo),
            "delete": lambda: self._confirm_delete(row),
            "allow": lambda: self._switch_network(True),
        }
        steps[wanted]()
        if wanted == "download":
            self._plan = None

    def _place(self) -> tuple[str, str]:
        return self._bench.settings.device, self._bench.settings.dtype

    def _pause(self, row: Row) -> None:
        if self._bench.activity(PLAN).running:
            self._bench.cancel(PLAN)
        self._hub.pause(row.repo)

    def _act_on_enter(self) -> None:
        row = self.row
        if row is None:
            return
        if row.is_whole:
            self._do("load")
        elif self._hub.state is not None and self._hub.state.online and self._plan is None:
            self._do("plan")

    def _confirm_delete(self, row: Row) -> None:
        size = bytes_in_words(row.here.size + row.here.partial) if row.here else ""
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle("Delete a model")
        box.setText(f"Delete {row.repo}?")
        box.setInformativeText(f"{size} are free again. Other programs that use the hub's cache lose it too.")
        delete = box.addButton(f"Delete {size}", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        delete.clicked.connect(lambda: self._hub.remove(row.repo))
        box.open()

    def _switch_network(self, allowed: bool) -> None:
        self._bench.set_network(allowed)

    def _ask_token(self) -> None:
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Access token")
        endpoint = self._hub.state.endpoint if self._hub.state else "the hub"
        dialog.setLabelText(
            f"A token of your account at {endpoint}, for models whose terms you accepted there\n"
            f"(make one at {endpoint}/settings/tokens). It is kept in the system's keyring;\n"
            "leave the field empty to forget it."
        )
        dialog.setTextEchoMode(QLineEdit.EchoMode.Password)
        dialog.textValueSelected.connect(self._hub.keep_token)
        dialog.open()

    def _ask_folder(self) -> None:
        dialog = QFileDialog(self, "Move models to an empty folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self._hub.move)
        dialog.open()

    def _show_folder(self) -> None:
        if self._hub.state is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._hub.state.folder))

    # --- drops and the end -------------------------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() or event.mimeData().hasText():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        urls = event.mimeData().urls()
        local = urls[0].toLocalFile() if urls and urls[0].isLocalFile() else ""
        self.field.setText(local or (urls[0].toString() if urls else event.mimeData().text().strip()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.field.hasFocus():
            self._act_on_enter()
            return
        super().keyPressEvent(event)

    def done(self, result: int) -> None:
        self._hub.changed.disconnect(self._fill)
        self._hub.planned.disconnect(self._on_plan)
        self._hub.failed.disconnect(self._on_failed)
        self._bench.activities.changed.disconnect(self._on_activity)
        super().done(result)
