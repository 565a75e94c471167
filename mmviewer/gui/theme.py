"""Colours and shapes, light and dark: Fusion, a palette, and a small style sheet."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontInfo, QPalette
from PySide6.QtWidgets import QApplication

from mmviewer import paths

_BASE_PIXELS = 13


@dataclass(frozen=True, slots=True)
class Colours:
    """A colour scheme; text on its ground keeps a contrast of at least 4.5 : 1.

    `bright` is the accent for rings and bars, which stand out from every ground by 3 : 1.
    """

    window: str
    base: str
    surface: str
    hover: str
    border: str
    text: str
    faint: str
    disabled: str
    accent: str
    accent_hover: str
    bright: str
    on_accent: str
    selection: str
    on_selection: str
    good: str
    warning: str
    bad: str


DARK = Colours(
    window="#232428",
    base="#191a1d",
    surface="#303238",
    hover="#3a3d44",
    border="#3a3c42",
    text="#e8e9ec",
    faint="#a6a9b1",
    disabled="#73767e",
    accent="#3d6ddc",
    accent_hover="#3462cf",
    bright="#6795f5",
    on_accent="#ffffff",
    selection="#2f4270",
    on_selection="#f3f5fb",
    good="#6cc08b",
    warning="#e8b34a",
    bad="#f07a72",
)
LIGHT = Colours(
    window="#f5f6f8",
    base="#ffffff",
    surface="#e6e8ed",
    hover="#d9dce3",
    border="#d3d6dd",
    text="#1b1d22",
    faint="#585c66",
    disabled="#92969f",
    accent="#2b5fd0",
    accent_hover="#2353bd",
    bright="#2b5fd0",
    on_accent="#ffffff",
    selection="#d3e0fb",
    on_selection="#11203f",
    good="#1c7c43",
    warning="#8f6000",
    bad="#bb2f27",
)


class Theme(QObject):
    """Follows the setting "system", "light" or "dark", and the system's own changes.

    Widgets take colours from the palette; what a palette lacks (good, warning, bad) is in `colours`.
    """

    changed = Signal()

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self._mode = "system"
        self.colours = LIGHT
        app.setStyle("Fusion")
        app.setFont(base_font())
        app.styleHints().colorSchemeChanged.connect(self._follow)

    def apply(self, mode: str) -> None:
        """Use `mode` from now on."""
        self._mode = mode
        self._follow()

    def release(self) -> None:
        """Stop following the system."""
        self._app.styleHints().colorSchemeChanged.disconnect(self._follow)

    @property
    def is_dark(self) -> bool:
        """Whether the dark colours are shown."""
        return self.colours is DARK

    def _follow(self) -> None:
        dark = self._mode == "dark" or (
            self._mode == "system" and self._app.styleHints().colorScheme() is Qt.ColorScheme.Dark
        )
        self.colours = DARK if dark else LIGHT
        self._app.setPalette(palette(self.colours))
        self._app.setStyleSheet(style_sheet(self.colours))
        self.changed.emit()


def base_font() -> QFont:
    """Inter where it is installed, else the system's font, at the base size."""
    families = QFontDatabase.families()
    font = (
        QFont("Inter")
        if "Inter" in families
        else QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    )
    font.setPixelSize(max(_BASE_PIXELS, QFontInfo(font).pixelSize() if "Inter" not in families else 0))
    return font


def palette(colours: Colours) -> QPalette:
    """The palette of a scheme."""
    result = QPalette()
    role = QPalette.ColorRole
    active = {
        role.Window: colours.window,
        role.WindowText: colours.text,
        role.Base: colours.base,
        role.AlternateBase: colours.window,
        role.Text: colours.text,
        role.PlaceholderText: colours.faint,
        role.Button: colours.surface,
        role.ButtonText: colours.text,
        role.BrightText: colours.bad,
        role.Highlight: colours.selection,
        role.HighlightedText: colours.on_selection,
        role.Accent: colours.accent,
        role.Link: colours.accent,
        role.LinkVisited: colours.accent,
        role.ToolTipBase: colours.surface,
        role.ToolTipText: colours.text,
        role.Light: colours.hover,
        role.Midlight: colours.surface,
        role.Mid: colours.border,
        role.Dark: colours.border,
        role.Shadow: "#000000",
    }
    for name, value in active.items():
        result.setColor(name, QColor(value))
    for name in (role.Text, role.WindowText, role.ButtonText, role.HighlightedText):
        result.setColor(QPalette.ColorGroup.Disabled, name, QColor(colours.disabled))
    return result


def style_sheet(c: Colours) -> str:
    """What a palette cannot say: corners, padding, focus rings, flat docks, slim scroll bars."""
    chevron = (paths.resources() / "icons" / "chevron.svg").as_posix()
    clear = (paths.resources() / "icons" / "clear.svg").as_posix()
    return f"""
    QMainWindow::separator {{ background: {c.border}; width: 1px; height: 1px; }}
    QMainWindow::separator:hover {{ background: {c.accent}; }}
    QToolTip {{ color: {c.text}; background: {c.surface}; border: 1px solid {c.border}; padding: 4px 6px; }}

    QPushButton, QToolButton, QComboBox {{
        background: {c.surface}; border: 1px solid transparent; border-radius: 6px; padding: 3px 10px;
        min-height: 18px; color: {c.text};
    }}
    QToolButton {{ padding: 3px; min-width: 18px; }}
    QPushButton:hover, QToolButton:hover, QComboBox:hover {{ background: {c.hover}; }}
    QPushButton:pressed, QToolButton:pressed {{ background: {c.border}; }}
    QPushButton:checked, QToolButton:checked {{ background: {c.selection}; color: {c.on_selection}; }}
    QPushButton:disabled, QToolButton:disabled, QComboBox:disabled {{ color: {c.disabled}; }}
    QPushButton:focus, QToolButton:focus, QComboBox:focus {{ border-color: {c.bright}; }}
    QPushButton[primary="true"] {{ background: {c.accent}; color: {c.on_accent}; font-weight: 600; }}
    QPushButton[primary="true"]:hover {{ background: {c.accent_hover}; }}
    QPushButton[primary="true"]:focus {{ border-color: {c.text}; }}
    QPushButton[primary="true"]:disabled {{ background: {c.surface}; color: {c.disabled}; }}
    QPushButton[flat-button="true"], QToolButton[flat-button="true"] {{ background: transparent; }}
    QPushButton[flat-button="true"]:hover, QToolButton[flat-button="true"]:hover {{ background: {c.hover}; }}
    QPushButton[flat-button="true"]:checked, QToolButton[flat-button="true"]:checked {{
        background: {c.selection}; color: {c.on_selection};
    }}
    QToolButton::menu-indicator, QPushButton::menu-indicator {{ image: none; width: 0; }}
    QComboBox::drop-down {{ border: none; width: 20px; }}
    QComboBox::down-arrow {{ image: url("{chevron}"); width: 12px; height: 12px; }}

    QLineEdit, QPlainTextEdit, QTextEdit, QSpinBox, QDoubleSpinBox {{
        background: {c.base}; border: 1px solid {c.border}; border-radius: 6px; padding: 3px 8px;
        selection-background-color: {c.selection}; selection-color: {c.on_selection}; min-height: 18px;
    }}
    QLineEdit {{ lineedit-clear-button-icon: url("{clear}"); }}
    QLineEdit > QToolButton {{ padding: 0; margin: 0; border: none; background: transparent; }}
    QPlainTextEdit, QTextEdit {{ padding: 4px; }}
    QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus {{
        border-color: {c.bright};
    }}
    QAbstractSpinBox QLineEdit {{ border: none; padding: 0 6px; min-height: 0; background: transparent; }}
    QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ width: 0; border: none; }}
    QCheckBox::indicator:unchecked {{
        width: 13px; height: 13px; background: {c.base}; border: 1px solid {c.faint}; border-radius: 3px;
    }}
    QAbstractItemView {{ background: {c.window}; border: 1px solid transparent; outline: none; }}
    QAbstractItemView:focus {{ border-color: {c.bright}; }}
    QComboBox QAbstractItemView {{ border-color: {c.border}; }}
    QTreeView, QTableView {{ background: {c.base}; }}
    QHeaderView::section {{
        background: {c.window}; border: none; border-bottom: 1px solid {c.border}; padding: 4px 6px;
        color: {c.faint};
    }}

    QTabBar {{ background: {c.window}; qproperty-drawBase: 0; }}
    QTabBar::tab {{
        background: transparent; color: {c.faint}; padding: 7px 6px 6px 6px; border: none;
        border-bottom: 2px solid transparent;
    }}
    QTabBar::tab:hover {{ color: {c.text}; }}
    QTabBar::tab:selected {{ color: {c.text}; border-bottom: 2px solid {c.bright}; }}
    QTabBar::tab:selected:focus {{ background: {c.surface}; }}

    QMenuBar {{ background: {c.window}; padding: 1px 4px; border: none; }}
    QToolBar, QStatusBar {{ background: {c.window}; border: none; padding: 0; margin: 0; spacing: 0; }}
    QStatusBar::item {{ border: none; }}
    QMenuBar::item {{ padding: 4px 9px; border-radius: 5px; background: transparent; }}
    QMenuBar::item:selected {{ background: {c.surface}; }}
    QMenu {{ background: {c.window}; border: 1px solid {c.border}; padding: 4px; }}
    QMenu::item {{ padding: 5px 24px 5px 26px; border-radius: 5px; }}
    QMenu::item:selected {{ background: {c.selection}; color: {c.on_selection}; }}
    QMenu::item:disabled {{ color: {c.disabled}; background: transparent; }}
    QMenu::separator {{ height: 1px; background: {c.border}; margin: 4px 8px; }}
    QMenu::icon {{ padding-left: 6px; }}

    QProgressBar {{
        background: {c.surface}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px;
    }}
    QProgressBar::chunk {{ background: {c.bright}; border-radius: 3px; }}
    QScrollBar {{ background: transparent; border: none; margin: 0; }}
    QScrollBar:vertical {{ width: 10px; }}
    QScrollBar:horizontal {{ height: 10px; }}
    QScrollBar::handle {{ background: {c.hover}; border-radius: 4px; margin: 1px; }}
    QScrollBar::handle:vertical {{ min-height: 28px; }}
    QScrollBar::handle:horizontal {{ min-width: 28px; }}
    QScrollBar::handle:hover {{ background: {c.disabled}; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

    #top-bar, #status-bar, #dock-title {{ background: {c.window}; }}
    #top-bar {{ border-bottom: 1px solid {c.border}; }}
    #status-bar {{ border-top: 1px solid {c.border}; }}
    #dock-name, #heading {{ font-weight: 600; }}
    #faint, #state-text {{ color: {c.faint}; }}
    QToolButton#fold-heading, QToolButton#fold-heading:checked {{
        background: transparent; color: {c.text}; padding: 3px 6px 3px 0px;
    }}
    QToolButton#fold-heading:hover {{ background: {c.hover}; }}
    #state-title {{ font-size: 16px; font-weight: 600; }}
    #drop-veil {{
        background: {c.window}; color: {c.text}; border: 2px dashed {c.bright}; border-radius: 12px;
        font-size: 18px; font-weight: 600;
    }}
    #card {{ background: {c.base}; border: 1px solid {c.border}; border-radius: 8px; }}
    #notice {{ background: {c.surface}; border: 1px solid {c.border}; border-radius: 8px; }}
    """
