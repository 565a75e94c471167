"""Which words looked there? The regions of the current item, and the share of each map in the chosen one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from mmviewer.core.session.annotations import COLOURS, RegionShares
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Modality
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.panels.base import PANELS, Area, Panel
from mmviewer.gui.region_model import listed_regions, percent, shown_share, token_shares
from mmviewer.gui.target_model import aim_words
from mmviewer.gui.view_model import token_words
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.region_list import RegionList
from mmviewer.gui.widgets.share_table import ShareRow, ShareTable
from mmviewer.gui.widgets.state_stack import StateStack
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.workbench import Workbench

_FILES = "COCO instances (*.json)"
_FIND = (
    "Ask the open collection with the chosen region. Its vector is the mean of the patch embeddings in it, "
    "each patch counted by the part of it that the region covers."
)
_NO_STRETCH = "Only a region of a picture can be asked for; a stretch of a sound has no patches."


@PANELS.add("regions")
class RegionsPanel(Panel):
    """The list of regions, and the table of tokens for the chosen one."""

    key: ClassVar[str] = "regions"
    title: ClassVar[str] = "Regions"
    area: ClassVar[Area] = Area.RIGHT
    order: ClassVar[int] = 25
    icon: ClassVar[str] = "box"
    help: ClassVar[str] = "Regions that you marked, and which words looked into the chosen one."
    help_page: ClassVar[str] = "regions"

    def __init__(self, workbench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(workbench, parent)
        self.regions = RegionList(COLOURS)
        self.load = flat_button(
            "Import…", "Add regions from a COCO instance file to the items they belong to."
        )
        self.save = flat_button("Export…", "Write the regions of all items as a COCO instance file.")
        self.seek = push_button("Find in collection", _FIND, icon_name="search")
        self.summary = WrappedLabel()
        self.scope = ElidedLabel(role=QPalette.ColorRole.PlaceholderText)
        self.table = ShareTable()
        self._content = QWidget()
        self.stack = StateStack(self._content)
        self._lay_out()
        self._connect()
        self._refresh()

    # --- construction ----------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        column = QVBoxLayout(self._content)
        column.setContentsMargins(12, 8, 8, 6)
        column.setSpacing(6)
        column.addWidget(self.regions)
        column.addWidget(self.seek, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.summary)
        column.addWidget(self.scope)
        column.addWidget(self.table, 1)
        files = QHBoxLayout()
        files.setContentsMargins(8, 0, 8, 6)
        files.addStretch(1)
        files.addWidget(self.load)
        files.addWidget(self.save)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.stack, 1)
        whole.addLayout(files)

    def _connect(self) -> None:
        state, act = self.state, self.workbench.annotations
        for signal in (
            state.current_changed,
            state.annotations_changed,
            state.region_changed,
            state.maps_changed,
            state.sequence_changed,
            state.tokens_changed,
        ):
            self.watch(signal, lambda _value: self._refresh())
        self.regions.picked.connect(act.choose)
        self.regions.renamed.connect(act.rename)
        self.regions.recoloured.connect(act.recolour)
        self.regions.removed.connect(act.remove)
        self.regions.sought.connect(self._find)
        self.seek.clicked.connect(lambda: self._find(self.state.region.id if self.state.region else ""))
        self.table.chosen.connect(state.set_tokens)
        self.load.clicked.connect(self._choose_import)
        self.save.clicked.connect(self._choose_export)

    # --- from the state --------------------------------------------------------------------------------
    def _refresh(self) -> None:
        item, region = self.state.current, self.state.region
        listed = listed_regions(self.state)
        self.save.setEnabled(any(self.state.annotations.values()))
        if not listed:
            self.stack.show_empty("", _invitation(item))
            return
        self.stack.show_content()
        self.regions.show_regions(listed, region.id if region is not None else "")
        self.regions.setFixedHeight(self.regions.sizeHint().height())
        is_sound = item is not None and item.media.modality is Modality.AUDIO
        self.seek.setEnabled(region is not None and not is_sound)
        self.seek.setToolTip(_NO_STRETCH if is_sound else _FIND)
        shares = token_shares(self.state)
        shown = shown_share(self.state)
        self.summary.setText(self._words(shown))
        self.table.setVisible(shares is not None)
        self.scope.setVisible(shown is not None)
        maps = self.state.maps
        if shown is not None and maps is not None:
            self.scope.set_text(maps.description)
        if shares is not None:
            self.table.show_rows(self._rows(shares))
            self.table.show_chosen(self.state.tokens)

    def _find(self, region_id: str) -> None:
        """Ask the collection with a region of the current item."""
        item = self.state.current
        listed = self.state.annotations_of(item.id) if item is not None else ()
        region = next((each for each in listed if each.id == region_id), None)
        if item is not None and region is not None:
            self.workbench.collection_asking.ask_region(item, region)

    def _words(self, shown: RegionShares | None) -> str:
        region, maps, item = self.state.region, self.state.maps, self.state.current
        if region is None:
            return "Choose a region to see which words looked into it."
        if shown is None or maps is None or item is None:
            return "Caption or describe it: then each word says how much of its map lies in the region."
        tokens = self.state.tokens
        rest = "all words" if maps.whole is None else "the whole text"
        aim, other = aim_words(maps.spec, maps.tokens)
        whose = aim or (token_words(self.state.sequence, tokens) if tokens else rest)
        whose = f"{whose}, {other}," if other else whose
        what = "sound" if item.media.modality is Modality.AUDIO else "picture"
        covers = f"“{region.label}” covers {percent(shown.chance)} of the {what} that the model got."
        return f"{percent(float(shown.shares))} of the map of {whose} lies in it. {covers}"

    def _rows(self, shares: RegionShares) -> list[ShareRow]:
        maps = self.state.maps
        tokens = maps.tokens if maps is not None else ()
        return [
            ShareRow(
                index,
                token.text.strip() or repr(token.text),
                float(share),
                percent(float(share)),
                float(share) / shares.chance if shares.chance > 0 else 0.0,
            )
            for index, (token, share) in enumerate(zip(tokens, shares.shares, strict=True))
        ]

    # --- files -----------------------------------------------------------------------------------------
    def _choose_import(self) -> None:
        dialog = QFileDialog(self, "Add regions from a file", "", _FILES)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda name: self.workbench.annotations.import_file(Path(name)))
        _open(dialog)

    def _choose_export(self) -> None:
        dialog = QFileDialog(self, "Write the regions of all items", "regions.json", _FILES)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("json")
        dialog.fileSelected.connect(
            lambda name: self.workbench.annotations.export_file(Path(name), all_items=True)
        )
        _open(dialog)


def _open(dialog: QFileDialog) -> None:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.open()


def _invitation(item: LibraryItem | None) -> str:
    if item is None:
        return "Choose an image or a sound, then mark a region on it."
    if item.media.modality is Modality.AUDIO:
        return (
            "Press R and drag along the sound to mark a stretch: each word then says how much it heard there."
        )
    if item.media.modality is Modality.TEXT:
        return "A text has no regions; choose an image or a sound."
    return (
        "Press R and drag a rectangle over the picture, or L to draw around something: each word then says "
        "how much of its map lies in it."
    )
