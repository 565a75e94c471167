"""Panels as docks: built from the registry, moved, torn off, reset, remembered."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSettings, QSize, Qt, QTimer
from PySide6.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QMainWindow,
    QStackedWidget,
    QTabBar,
    QTabWidget,
    QWidget,
)

from mmviewer.gui.buttons import icon_button
from mmviewer.gui.panels.base import Area, Panel, panels_in_order
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.workbench import Workbench

LAYOUT_VERSION = 1
"""Counted up when the default layout changes so much that a remembered one would be worse."""

_DOCK_AREAS = {
    Area.LEFT: Qt.DockWidgetArea.LeftDockWidgetArea,
    Area.RIGHT: Qt.DockWidgetArea.RightDockWidgetArea,
    Area.BELOW: Qt.DockWidgetArea.BottomDockWidgetArea,
    Area.BOTTOM: Qt.DockWidgetArea.BottomDockWidgetArea,
}
# Tab goes through the panels in the order in which they are made: as one reads
_READING = (Area.LEFT, Area.CENTRE, Area.BELOW, Area.BOTTOM, Area.RIGHT)
_ROOMY = 1100
_LEAST = {Area.LEFT: 212, Area.RIGHT: 314}
"""Widths that spare names and labels from being elided, in a window that is at least `_ROOMY`."""
_LEFT_SHARE, _RIGHT_SHARE, _BELOW_SHARE, _BOTTOM_SHARE = 0.15, 0.245, 0.165, 0.25


class Docks:
    """The docks of a window, by panel key.

    Parameters
    ----------
    window : QMainWindow
        Gets the docks; the panels of `Area.CENTRE` lie in `middle` for the window to place, the first of
        them, which is shown at first, is `centre`.
    """

    def __init__(self, window: QMainWindow, workbench: Workbench) -> None:
        self._window = window
        self._at_first = True
        self.panels: dict[str, Panel] = {}
        self.docks: dict[str, QDockWidget] = {}
        self.centre: Panel | None = None
        self.middle = _Middle(window)
        self._put_away: tuple[str, ...] = ()
        window.setDockNestingEnabled(True)
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        for corner, area in (
            (Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea),
            (Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea),
        ):
            window.setCorner(corner, area)
        for kind in sorted(panels_in_order(), key=lambda kind: _READING.index(kind.area)):
            self._add(kind, workbench)
        self.reset()

    def reset(self) -> None:
        """Put every dock back to where it belongs at first."""
        self._put_away = ()
        for dock in self.docks.values():
            dock.setFloating(False)
            self._window.removeDockWidget(dock)
        first: dict[Area, QDockWidget] = {}
        for key, dock in self.docks.items():
            area = self.panels[key].area
            if area in first and area is Area.RIGHT:
                self._window.tabifyDockWidget(first[area], dock)
            elif area is Area.BOTTOM and Area.BELOW in first:
                self._window.splitDockWidget(first[Area.BELOW], dock, Qt.Orientation.Vertical)
            else:
                self._window.addDockWidget(_DOCK_AREAS[area], dock)
            first.setdefault(area, dock)
            dock.show()
        self._resize()
        self._raise_first_tab()
        self._settle_titles()

    def settle(self) -> None:
        """Give the docks their shares once the window has its real size; a remembered layout has them."""
        if self._at_first:
            self._at_first = False
            self._resize()
            self._raise_first_tab()

    def bring(self, key: str) -> None:
        """Show a panel, in front of those it shares a place with, and focus it."""
        if key in self.docks:
            self._put_away = tuple(name for name in self._put_away if name != key)
            self.docks[key].show()
            self.docks[key].raise_()
        if key in self.panels:
            self.panels[key].setFocus()

    def show_centre(self, key: str) -> None:
        """Show a panel of the middle; one that is not the first gets the room of the docks around it."""
        panel = self.panels[key]
        self.middle.setCurrentWidget(panel)
        if panel is self.centre:
            for name in self._put_away:
                self.docks[name].show()
            self._put_away = ()
        elif not self._put_away:
            areas = (Area.BELOW, Area.BOTTOM, Area.RIGHT)
            around = {key: dock for key, dock in self.docks.items() if self.panels[key].area in areas}
            self._put_away = tuple(
                key for key, dock in around.items() if not dock.isHidden() and not dock.isFloating()
            )
            for name in self._put_away:
                self.docks[name].hide()

    def in_use(self) -> Panel | None:
        """The panel that has the keyboard."""
        at: QWidget | None = self._window.focusWidget()
        while at is not None and not isinstance(at, Panel):
            at = at.parentWidget()
        return at

    def save(self, memory: QSettings) -> None:
        """Remember where the docks are."""
        memory.setValue("window/geometry", self._window.saveGeometry())
        memory.setValue("window/docks", self._window.saveState(LAYOUT_VERSION))
        memory.sync()

    def restore(self, memory: QSettings) -> None:
        """Put the docks where they were; what cannot be read leaves the default layout."""
        geometry, docks = memory.value("window/geometry"), memory.value("window/docks")
        if isinstance(geometry, QByteArray):  # a damaged file gives other types
            self._window.restoreGeometry(geometry)
        known = isinstance(docks, QByteArray) and self._window.restoreState(docks, LAYOUT_VERSION)
        self._at_first = not known
        if not known:
            self.reset()
        self._settle_titles()

    def release(self) -> None:
        """Let all panels go of what they watch."""
        for dock in self.docks.values():  # closing tells of every dock, when the window is half gone
            dock.topLevelChanged.disconnect()
            dock.dockLocationChanged.disconnect()
            dock.visibilityChanged.disconnect()
        for panel in self.panels.values():
            panel.release()

    def _add(self, kind: type[Panel], workbench: Workbench) -> None:
        panel = kind(workbench)
        self.panels[kind.key] = panel
        if kind.area is Area.CENTRE:
            self.centre = self.centre or panel
            self.middle.addWidget(panel)
            return
        dock = QDockWidget(kind.title, self._window)
        dock.setObjectName(f"dock-{kind.key}")
        dock.setWidget(panel)
        dock.setTitleBarWidget(_TitleBar(dock, panel))
        dock.topLevelChanged.connect(lambda _floating: self._settle_titles())
        dock.dockLocationChanged.connect(lambda _area: self._settle_titles())
        dock.visibilityChanged.connect(lambda _visible: self._settle_titles())
        if kind.area is Area.BOTTOM:
            dock.topLevelChanged.connect(self._give_room)
            dock.visibilityChanged.connect(self._give_room)
        self.docks[kind.key] = dock

    def _give_room(self, _changed: bool) -> None:
        """What the lowest dock leaves goes to the picture, not to the tokens."""
        if self._window.isVisible():  # else a remembered layout is being restored
            QTimer.singleShot(0, self._window, self._shrink_below)

    def _shrink_below(self) -> None:
        lowest = [dock for key, dock in self.docks.items() if self.panels[key].area is Area.BOTTOM]
        below = [dock for key, dock in self.docks.items() if self.panels[key].area is Area.BELOW]
        if all(dock.isFloating() or dock.isHidden() for dock in lowest):
            height = round(_BELOW_SHARE * self._window.height())
            self._window.resizeDocks(below, [height] * len(below), Qt.Orientation.Vertical)

    def _raise_first_tab(self) -> None:
        right = [dock for key, dock in self.docks.items() if self.panels[key].area is Area.RIGHT]
        if right:
            right[0].raise_()

    def _resize(self) -> None:
        first: dict[Area, QDockWidget] = {}
        for key, dock in self.docks.items():
            first.setdefault(self.panels[key].area, dock)
        width, height = self._window.width(), self._window.height()
        wide = {Area.LEFT: _LEFT_SHARE, Area.RIGHT: _RIGHT_SHARE}
        high = {Area.BELOW: _BELOW_SHARE, Area.BOTTOM: _BOTTOM_SHARE}
        for shares, extent, way in (
            (wide, width, Qt.Orientation.Horizontal),
            (high, height, Qt.Orientation.Vertical),
        ):
            docks = [first[area] for area in shares if area in first]
            least = _LEAST if width >= _ROOMY else {}
            sizes = [
                max(round(shares[area] * extent), least.get(area, 0)) for area in shares if area in first
            ]
            self._window.resizeDocks(docks, sizes, way)

    def _settle_titles(self) -> None:
        """A dock among tabs is named by its tab; its title bar would say it twice."""
        for dock in self.docks.values():
            bar = dock.titleBarWidget()
            if isinstance(bar, _TitleBar):
                tabbed = bool(self._window.tabifiedDockWidgets(dock)) and not dock.isFloating()
                bar.set_folded(tabbed)
        for tabs in self._window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
            tabs.setElideMode(Qt.TextElideMode.ElideNone)  # names of two letters would say nothing
            tabs.setUsesScrollButtons(True)


class _Middle(QStackedWidget):
    """Panels that share the middle; it needs the room of the one that is shown, not of the largest."""

    def minimumSizeHint(self) -> QSize:
        shown = self.currentWidget()
        return super().minimumSizeHint() if shown is None else shown.minimumSizeHint()


class _TitleBar(QWidget):
    """Name of the panel with buttons to tear off and close; drags the dock."""

    def __init__(self, dock: QDockWidget, panel: Panel) -> None:
        super().__init__(dock)
        self.setObjectName("dock-title")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._folded = False
        self._name = panel.title_row or ElidedLabel(panel.title, bold=True)
        self.setToolTip(panel.help)
        self._float = icon_button(
            "float", f"Tear off {panel.title}", "Tear the panel off, or put it back.", size=24
        )
        self._close = icon_button(
            "close", f"Close {panel.title}", "Close the panel; View brings it back.", size=24
        )
        self._float.clicked.connect(lambda: dock.setFloating(not dock.isFloating()))
        self._close.clicked.connect(dock.close)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 4, 3)
        row.setSpacing(2)
        row.addWidget(self._name, 1)
        row.addWidget(self._float)
        row.addWidget(self._close)

    def set_folded(self, folded: bool) -> None:
        """Take no space, or the usual."""
        if folded != self._folded:
            self._folded = folded
            for widget in (self._name, self._float, self._close):
                widget.setVisible(not folded)
            self.updateGeometry()

    def sizeHint(self) -> QSize:
        return QSize(0, 0) if self._folded else super().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 0) if self._folded else super().minimumSizeHint()
