"""The help in a window of its own: pages to search, to walk through and to come back to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QDesktopServices,
    QFont,
    QImage,
    QKeySequence,
    QResizeEvent,
    QShortcut,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
)
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from mmviewer import paths
from mmviewer.core.help_pages import Page, load_pages, page_of, search
from mmviewer.gui.buttons import push_button
from mmviewer.gui.widgets.painting import accent

_FEATURES = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML
_KEY = Qt.ItemDataRole.UserRole
_LEAST_PICTURE = 160
_HIGHEST = 400
_PIXELS_PER_POINT = 1.5  # of the pictures, so that they are sharp on fine screens too
_MARGIN = 18
_LETTERS = 14
_BETWEEN = 10
_LINE = 118  # per cent
_PICTURE = "\N{OBJECT REPLACEMENT CHARACTER}"
_ROW = 24


class HelpDialog(QDialog):
    """A list of pages beside the page that is read; not modal, so that one can read and try."""

    def __init__(self, parent: QWidget | None = None, pages: Sequence[Page] | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Help pages")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._pages = tuple(load_pages() if pages is None else pages)
        self._page: Page | None = None
        self._former: list[str] = []
        self.field = QLineEdit(placeholderText="Search the help")
        self.field.setClearButtonEnabled(True)
        self.field.setToolTip("Show only pages with these words (Ctrl+F); Enter opens the first.")
        self.field.setAccessibleName("Search the help")
        self.list = QListWidget()
        self.list.setAccessibleName("Pages")
        self.nothing = QLabel("No page has these words. Try fewer, or others.")
        self.nothing.setObjectName("faint")
        self.nothing.setWordWrap(True)
        self.text = _PageView(paths.help_pages())
        self.back = push_button("Back", "Go back to the page read before (Alt+Left).")
        self._lay_out()
        self._connect()
        self._fill()
        self.resize(940, 720)

    @property
    def page(self) -> Page | None:
        """The page that is read."""
        return self._page

    def open_page(self, key: str) -> None:
        """Read the page with a key, else the first one."""
        page = page_of(self._pages, key)
        if page is None or page is self._page:
            return
        if self._page is not None:
            self._former.append(self._page.key)
        self._show(page)

    def go_back(self) -> None:
        """Read the page before."""
        if self._former:
            page = page_of(self._pages, self._former.pop())
            if page is not None:
                self._show(page)

    # --- building --------------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.field)
        column.addWidget(self.nothing)
        column.addWidget(self.list, 1)
        split = QSplitter()
        split.setChildrenCollapsible(False)
        split.addWidget(side)
        split.addWidget(self.text)
        split.setStretchFactor(1, 1)
        split.setSizes([250, 690])
        close = push_button("Close", "Close the help (Esc).", primary=True)
        close.clicked.connect(self.close)
        for button in (self.back, close):
            button.setAutoDefault(False)  # Enter in the search field opens a page
        row = QHBoxLayout()
        row.addWidget(self.back)
        row.addStretch(1)
        row.addWidget(close)
        whole = QVBoxLayout(self)
        whole.addWidget(split, 1)
        whole.addLayout(row)

    def _connect(self) -> None:
        self.field.textChanged.connect(self._fill)
        self.field.returnPressed.connect(self._open_first)
        self.list.currentItemChanged.connect(self._on_chosen)
        self.text.linked.connect(self.open_page)
        self.back.clicked.connect(self.go_back)
        for keys, act in (("Ctrl+F", self._focus_search), ("Alt+Left", self.go_back)):
            QShortcut(QKeySequence(keys), self, act)

    # --- what happens ------------------------------------------------------------------------------------
    def _focus_search(self) -> None:
        self.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.field.selectAll()

    def _fill(self) -> None:
        """List the pages that hold what is searched for, under the names of their groups."""
        found = search(self._pages, self.field.text())
        self.list.blockSignals(True)
        self.list.clear()
        for group in dict.fromkeys(page.group for page in self._pages):
            pages = [page for page in found if page.group == group]
            if pages and group:
                self.list.addItem(_heading(group))
            for page in pages:
                entry = QListWidgetItem(page.title)
                entry.setData(_KEY, page.key)
                entry.setSizeHint(QSize(0, _ROW))
                entry.setToolTip(page.title)
                self.list.addItem(entry)
        self.list.blockSignals(False)
        self.nothing.setVisible(not found)
        self._mark()

    def _open_first(self) -> None:
        found = search(self._pages, self.field.text())
        if found:
            self.open_page(found[0].key)
            self.text.find_words(self.field.text())

    def _on_chosen(self, entry: QListWidgetItem | None) -> None:
        if entry is not None and entry.data(_KEY):
            self.open_page(entry.data(_KEY))
            self.text.find_words(self.field.text())

    def _show(self, page: Page) -> None:
        self._page = page
        self.text.show_page(page.markdown)
        self.setWindowTitle(f"{page.title} · Help pages")
        self.back.setEnabled(bool(self._former))
        self._mark()

    def _mark(self) -> None:
        """Mark the page that is read in the list, without opening it again."""
        key = self._page.key if self._page is not None else ""
        rows = (row for row in range(self.list.count()) if self.list.item(row).data(_KEY) == key)
        self.list.blockSignals(True)
        self.list.setCurrentRow(next(rows, -1) if key else -1)
        self.list.blockSignals(False)
        self.back.setEnabled(bool(self._former))


class _PageView(QTextBrowser):
    """One page: pictures from the help's own folder fit the width; links lead to pages and to the web."""

    linked = Signal(str)
    """Key of a page."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._markdown = ""
        self.setOpenLinks(False)
        self.setAccessibleName("Help page")
        self.setMinimumWidth(260)
        font = QFont(self.font())
        font.setPixelSize(_LETTERS)
        self.setFont(font)
        self.document().setDocumentMargin(_MARGIN)
        self.anchorClicked.connect(self._follow)

    def show_page(self, markdown: str) -> None:
        """Show another page from its top."""
        self._markdown = markdown
        self._set()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def find_words(self, words: str) -> None:
        """Select the first place where what was searched for stands."""
        self.moveCursor(QTextCursor.MoveOperation.Start)
        if words.strip() and not self.find(words.strip()):
            self.find(words.split()[0])

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        """Pictures come from the folder of the help alone, as wide as there is room."""
        if kind != QTextDocument.ResourceType.ImageResource.value:
            return None
        image = QImage(str(self._folder / QUrl(name).fileName()))
        if image.isNull():
            return None
        ratio = self.devicePixelRatioF()
        room = max(_LEAST_PICTURE, self.viewport().width() - 2 * _MARGIN - 4)
        width = min(image.width() / _PIXELS_PER_POINT, room, _HIGHEST * image.width() / image.height())
        image = image.scaledToWidth(round(width * ratio), Qt.TransformationMode.SmoothTransformation)
        image.setDevicePixelRatio(ratio)
        return image

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._markdown and event.size().width() != event.oldSize().width():
            place = self.verticalScrollBar().value()
            self._set()
            self.verticalScrollBar().setValue(place)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._markdown:
            self._set()

    def _set(self) -> None:
        self.document().clear()  # forgets pictures of another width
        self.document().setMarkdown(self._markdown, _FEATURES)
        block = self.document().begin()
        while block.isValid():
            self._space(block)
            self._colour_links(block)
            block = block.next()

    def _space(self, block: QTextBlock) -> None:
        """Give paragraphs room, which Markdown has no word for."""
        shape = block.blockFormat()
        shape.setBottomMargin(_BETWEEN)
        if _PICTURE not in block.text():
            shape.setLineHeight(_LINE, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        QTextCursor(block).setBlockFormat(shape)

    def _colour_links(self, block: QTextBlock) -> None:
        """Paint links in the accent that can be read on this ground."""
        look = QTextCharFormat()
        look.setForeground(accent(self.palette()))
        pieces = [each.fragment() for each in block]  # type: ignore[attr-defined]  # the stubs lack it
        for piece in pieces:
            if piece.charFormat().isAnchor():
                cursor = QTextCursor(self.document())
                cursor.setPosition(piece.position())
                cursor.setPosition(piece.position() + piece.length(), QTextCursor.MoveMode.KeepAnchor)
                cursor.mergeCharFormat(look)

    def _follow(self, url: QUrl) -> None:
        if url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)
        elif url.isRelative() and url.path().endswith(".md"):
            self.linked.emit(url.fileName().removesuffix(".md"))


def _heading(text: str) -> QListWidgetItem:
    entry = QListWidgetItem(text)
    entry.setFlags(Qt.ItemFlag.NoItemFlags)
    font = QFont(entry.font())
    font.setBold(True)
    entry.setFont(font)
    entry.setSizeHint(QSize(0, 30))
    return entry
