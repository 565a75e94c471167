"""Shortcuts of the window that hold while a text field has the focus."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QWidget


class WindowShortcuts(QObject):
    """Keeps fields from taking keys of the window: on Unix a line edit uses Ctrl+E for the end of the line.

    Watches only the widget with the focus, so that no other event passes through Python.

    Parameters
    ----------
    window : QWidget
    actions : iterable of QAction
        Those whose shortcuts win over a field's own; keys of editing (undo, paste) do not belong to them.
    """

    def __init__(self, window: QWidget, actions: Iterable[QAction]) -> None:
        super().__init__(window)
        self._window = window
        self._sequences = {action.shortcut() for action in actions if not action.shortcut().isEmpty()}
        self._watched: QWidget | None = None
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._on_focus)
        self._app = app

    def release(self) -> None:
        """Stop watching."""
        self._app.focusChanged.disconnect(self._on_focus)
        self._watch(None)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        taken = QKeySequence(event.keyCombination()) in self._sequences
        if taken:
            event.ignore()  # then the shortcut is looked for
        return taken

    def _on_focus(self, _old: QWidget | None, new: QWidget | None) -> None:
        self._watch(new if new is not None and new.window() is self._window else None)

    def _watch(self, widget: QWidget | None) -> None:
        if self._watched is not None:
            self._watched.removeEventFilter(self)
            self._watched.destroyed.disconnect(self._forget)
        self._watched = widget
        if widget is not None:
            widget.installEventFilter(self)
            widget.destroyed.connect(self._forget)

    def _forget(self) -> None:
        self._watched = None
