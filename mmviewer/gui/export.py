"""Take a figure home: what, in which format, with or without its provenance, seen before it is written."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QStandardPaths, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QImage, QPalette, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from mmviewer.core.errors import MMViewerError
from mmviewer.core.types import MediaRef
from mmviewer.engine.protocol import ErrorReport, RenderFigure
from mmviewer.gui.buttons import push_button
from mmviewer.gui.figures import (
    Exported,
    FigureKind,
    comparison_figure,
    make_figure,
    twin_figure,
    what_if_result,
)
from mmviewer.gui.widgets.spin import SpinBox
from mmviewer.gui.workbench import Workbench

_KINDS = {
    FigureKind.VIEW: ("The view: item with its map", "What the viewer shows: the item under the map"),
    FigureKind.TOKENS: ("Maps of the chosen tokens", "One small map for each chosen token, or for all words"),
    FigureKind.SCORES: ("Scores of this item", "The chosen item's label scores as bars"),
    FigureKind.TABLE: ("Scores of all items", "All items against all labels"),
    FigureKind.SCATTER: ("The space", "All items and texts in the plane"),
    FigureKind.MATRIX: ("The comparison", "All maps that are compared, in one figure"),
    FigureKind.TWIN: (
        "Two models side by side",
        "Words in rows, both models of the split view in columns",
    ),
    FigureKind.WHAT_IF: ("What if: before and after", "What was tried last in the What if panel"),
}
_PICTURES = {
    "png": "PNG image",
    "svg": "SVG, vector text",
    "pdf": "PDF, vector text",
}
_NUMBERS = {"npz": "NPZ, the raw arrays", "csv": "CSV, the numbers as text"}
_PREVIEW_DPI = 72
_PREVIEW_SIZE = (420, 300)


def copy_view(workbench: Workbench) -> None:
    """Put what the viewer shows, or the maps that stand in its place, on the clipboard as an image."""
    try:
        made = _figure_of(_shown_kind(workbench), workbench)
    except MMViewerError as error:
        workbench.notice.emit(error.message, "info")
        return
    workbench.copy_figure(made.figure, made.provenance)


def _shown_kind(workbench: Workbench) -> FigureKind:
    if workbench.twin.is_open:
        return FigureKind.TWIN
    return FigureKind.MATRIX if workbench.compare.is_open else FigureKind.VIEW


def _figure_of(kind: FigureKind, workbench: Workbench) -> Exported:
    if kind is FigureKind.MATRIX:
        return comparison_figure(workbench)
    if kind is FigureKind.TWIN:
        return twin_figure(workbench)
    if kind is FigureKind.WHAT_IF:
        return what_if_result(workbench)
    return make_figure(kind, workbench.state)


class ExportDialog(QDialog):
    """Beside the window, not in its way: it follows what is chosen there."""

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export figure")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._workbench = workbench
        self._made: Exported | None = None
        self._image = QImage()
        self.kind = self._make_kind()
        self.format = self._make_format()
        self.dpi = SpinBox(minimum=50, maximum=1200, value=200, singleStep=50, suffix=" DPI")
        self.dpi.setToolTip("Dots per inch of the image: 200 for slides, 300 or more for print")
        self.caption = QCheckBox("Provenance below the figure")
        self.caption.setChecked(True)
        self.caption.setToolTip("Item, model, weights, method, version as a line; metadata always has them")
        self.preview = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self.preview.setWordWrap(True)
        self.preview.setTextFormat(Qt.TextFormat.PlainText)
        self.preview.setMinimumSize(*_PREVIEW_SIZE)
        self.preview.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.preview.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.preview.setAccessibleName("Preview")
        self.copy = push_button("Copy", "Put the figure on the clipboard as an image")
        self.save = push_button("Save…", "Choose where to write the figure", primary=True)
        self.save.setDefault(True)
        self._lay_out()

        self._soon = QTimer(self, singleShot=True, interval=120)
        self._soon.timeout.connect(self._draw_preview)
        self.kind.currentIndexChanged.connect(self._on_kind)
        self.format.currentIndexChanged.connect(self._on_format)
        self.caption.toggled.connect(self._soon.start)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)
        self._watch()
        self.kind.setCurrentIndex(self.kind.findData(_shown_kind(workbench)))
        self._on_format()
        self._refresh()

    # --- layout ---------------------------------------------------------------------------------------
    def _make_kind(self) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName("Figure")
        for kind, (label, tip) in _KINDS.items():
            box.addItem(label, kind)
            box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        return box

    def _make_format(self) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName("Format")
        for ending, label in (_PICTURES | _NUMBERS).items():
            box.addItem(label, ending)
        return box

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Figure", self.kind)
        form.addRow("Format", self.format)
        form.addRow("Resolution", self.dpi)
        form.addRow("", self.caption)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.save)
        column = QVBoxLayout(self)
        column.addWidget(self.preview, 1)
        column.addLayout(form)
        column.addLayout(buttons)

    # --- following the session ----------------------------------------------------------------------
    def _watch(self) -> None:
        state = self._workbench.state
        self._signals = (
            state.current_changed,
            state.tokens_changed,
            state.maps_changed,
            state.view_changed,
            state.scores_changed,
            state.plane_changed,
        )
        for signal in self._signals:
            signal.connect(self._refresh)
        self._workbench.compare.changed.connect(self._refresh)
        self._workbench.twin.changed.connect(self._refresh)

    def _refresh(self, *_values: object) -> None:
        self._soon.start()

    def closeEvent(self, event: QCloseEvent) -> None:
        for signal in self._signals:
            signal.disconnect(self._refresh, missing_ok=True)
        self._workbench.compare.changed.disconnect(self._refresh)
        self._workbench.twin.changed.disconnect(self._refresh)
        self._soon.stop()
        super().closeEvent(event)

    # --- choices --------------------------------------------------------------------------------------
    @property
    def chosen_kind(self) -> FigureKind:
        """Which figure."""
        return FigureKind(self.kind.currentData())

    @property
    def chosen_format(self) -> str:
        """The ending of the file."""
        return str(self.format.currentData())

    def _on_kind(self) -> None:
        self._say("")  # another figure: the last preview would mislead
        self._refresh()

    def _on_format(self) -> None:
        self.dpi.setEnabled(self.chosen_format == "png")
        self.caption.setEnabled(self.chosen_format in _PICTURES)

    # --- preview --------------------------------------------------------------------------------------
    def _draw_preview(self) -> None:
        """Ask the engine for a small picture; the last one stays until the new one is there."""
        made = self._make()
        if made is None:
            return
        if self._image.isNull():
            self.preview.setText("Drawing the preview …")
        request = RenderFigure(
            made.figure, made.provenance, None, _PREVIEW_DPI, self.caption.isChecked(), self._media()
        )
        self._workbench.jobs.run(
            request,
            done=self._show_preview,
            failed=self._show_failure,
            owner=self,
            key="export-preview",
            label="Drawing the preview",
        )

    def _make(self) -> Exported | None:
        """Make the figure of what is shown now; say in place why there is none."""
        try:
            self._made = _figure_of(self.chosen_kind, self._workbench)
        except MMViewerError as error:
            self._made = None
            self._say(error.message)
        self.save.setEnabled(self._made is not None)
        self.copy.setEnabled(self._made is not None)
        return self._made

    def _show_preview(self, png: bytes) -> None:
        self._image = QImage.fromData(png)
        self._fit_preview()

    def _show_failure(self, report: ErrorReport) -> None:
        self._say(report.message)

    def _say(self, sentence: str) -> None:
        self._image = QImage()
        self.preview.setText(sentence)

    def _fit_preview(self) -> None:
        if self._image.isNull():
            return
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap.fromImage(
            self._image.scaled(
                self.preview.size() * ratio,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        pixmap.setDevicePixelRatio(ratio)
        self.preview.setPixmap(pixmap)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_preview()

    # --- doing it -------------------------------------------------------------------------------------
    def _copy(self) -> None:
        made = self._make()
        if made is not None:
            self._workbench.copy_figure(
                made.figure, made.provenance, dpi=self.dpi.value(), caption=self.caption.isChecked()
            )

    def _save(self) -> None:
        made = self._make()
        if made is None:
            return
        ending = self.chosen_format
        proposed = str(self._folder() / f"{made.stem}.{ending}")
        name, _ = QFileDialog.getSaveFileName(
            self, "Export figure", proposed, f"{ending.upper()} (*.{ending})"
        )
        if name:
            self.write(Path(name))

    def write(self, path: Path) -> None:
        """Write the figure in the chosen format; a missing or other ending is completed."""
        made = self._make()
        if made is None:
            return
        if path.suffix.lower() != f".{self.chosen_format}":
            path = path.with_name(f"{path.name}.{self.chosen_format}")
        self._workbench.settings.export_folder = str(path.parent)
        self._workbench.save_settings()
        self._workbench.export_figure(
            made.figure, path, made.provenance, dpi=self.dpi.value(), caption=self.caption.isChecked()
        )

    def _folder(self) -> Path:
        """Where the last figure went, else the user's pictures."""
        last = self._workbench.settings.export_folder
        pictures = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
        return next((Path(name) for name in (last, pictures) if name and Path(name).is_dir()), Path.home())

    def _media(self) -> MediaRef | None:
        current = self._workbench.state.current
        return current.ref if current is not None else None
