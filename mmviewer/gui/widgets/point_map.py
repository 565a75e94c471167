"""The map of a collection, to be panned and zoomed, looked at, picked from, and encircled."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from mmviewer.gui.widgets.point_canvas import PointCanvas
from mmviewer.gui.widgets.point_drag import drag_pin
from mmviewer.gui.widgets.point_lasso import inside
from mmviewer.gui.widgets.point_map_paint import Pin

_CLICK = 4.0  # pixels that a click may move
_ZOOM_STEP = 1.3  # for one notch of the wheel


class Tool(StrEnum):
    """What a drag with the left button does."""

    MOVE = "move"
    LASSO = "lasso"
    RECTANGLE = "rectangle"


class PointMap(PointCanvas):
    """The map with its mouse and keys.

    A drag pans, or draws a line around points with the tools for that; so does Shift (adds) or Alt (takes
    away) while panning. The middle and right buttons always pan, the wheel zooms.

    Signals
    -------
    picked(object)
        The row that was clicked or stepped to; None for the ground.
    opened(int)
        The row that was clicked twice, or on which Return was pressed.
    hovered(object)
        The row under the pointer, or None.
    selection_changed(object)
        Rows, int64 [n], after the user selected others.
    tool_changed(object)
        The `Tool`.
    """

    picked = Signal(object)
    opened = Signal(int)
    hovered = Signal(object)
    selection_changed = Signal(object)
    tool_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tool = Tool.MOVE
        self._press: QPointF | None = None
        self._press_view = self._view
        self._pressed_pin: Pin | None = None
        self._drawing = Tool.MOVE
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Map of the collection")

    # --- selection and tool -----------------------------------------------------------------------------
    def invert_selection(self) -> None:
        """Select what is not selected, of what is shown."""
        self._select(~self._selected & self._on_map())

    def select_all(self) -> None:
        """Select all that is shown."""
        self._select(self._on_map())

    def clear_selection(self) -> None:
        """Select nothing."""
        self._select(np.zeros(self.count, np.bool_))

    @property
    def tool(self) -> Tool:
        """What a drag does."""
        return self._tool

    def set_tool(self, tool: Tool) -> None:
        """Let a drag do something else."""
        if tool is not self._tool:
            self._tool = tool
            self.setCursor(Qt.CursorShape.ArrowCursor if tool is Tool.MOVE else Qt.CursorShape.CrossCursor)
            self.tool_changed.emit(tool)

    # --- mouse ------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A drag pans, or draws a line around points."""
        event.accept()
        self._press, self._press_view = event.position(), self._view
        self._dragging = True
        left = event.button() == Qt.MouseButton.LeftButton
        self._pressed_pin = self._pin_at(event.position()) if left else None
        self._drawing = self._tool_for(event) if left else Tool.MOVE
        self._drawn = []
        self._set_hovered(None)

    def _tool_for(self, event: QMouseEvent) -> Tool:
        adding = event.modifiers() & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.AltModifier)
        return Tool.LASSO if self._tool is Tool.MOVE and adding else self._tool

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan, draw, or show what is under the pointer."""
        at = event.position()
        if self._press is None or not event.buttons():
            self._set_hovered(self.row_at(at))
            return
        moved = (at - self._press).manhattanLength() > _CLICK
        if self._pressed_pin is not None and moved:
            pin, self._pressed_pin, self._press = self._pressed_pin, None, None
            self._dragging = False
            drag_pin(self, pin)
        elif self._drawing is Tool.MOVE:
            self._fitted = self._fitted and not moved
            self._view = self._press_view.moved(at - self._press)
            self.update()
            self.moved.emit()
        elif moved or self._drawn:
            self._draw_to(at)

    def _draw_to(self, at: QPointF) -> None:
        assert self._press is not None
        if self._drawing is Tool.RECTANGLE:
            a, b = self._press, at
            self._drawn = [a, QPointF(b.x(), a.y()), b, QPointF(a.x(), b.y())]
        elif not self._drawn:
            self._drawn = [self._press, at]
        elif (at - self._drawn[-1]).manhattanLength() >= 2:
            self._drawn.append(at)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Pick what was clicked, or select what was encircled."""
        event.accept()
        press, drawn = self._press, self._drawn
        self._press, self._drawn, self._pressed_pin = None, [], None
        self._dragging = False
        if press is None:
            return
        moved = (event.position() - press).manhattanLength() > _CLICK
        if len(drawn) >= 3:
            self._select_within(drawn, event.modifiers())
        elif event.button() == Qt.MouseButton.LeftButton and not moved:
            self._click(event)
        self.update()

    def _click(self, event: QMouseEvent) -> None:
        row = self.row_at(event.position())
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and row is not None:
            selected = self._selected.copy()
            selected[row] = not selected[row]
            self._select(selected)
        elif row is not None or self._tool is Tool.MOVE:
            self.picked.emit(row)
        else:
            self.clear_selection()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open a point, or bring all points into view."""
        row = self.row_at(event.position())
        if row is None:
            self.fit()
        else:
            self.opened.emit(row)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer."""
        event.accept()
        self._zoom(_ZOOM_STEP ** (event.angleDelta().y() / 120), event.position())

    def leaveEvent(self, event: QEvent) -> None:
        """Put the card away."""
        super().leaveEvent(event)
        self._set_hovered(None)

    def _zoom(self, factor: float, about: QPointF) -> None:
        fitted = self._view.fitting_scale(*self.extent)
        self._view = self._view.zoomed(factor, about, fitted)
        self._fitted = False
        self.update()
        self.moved.emit()

    def _set_hovered(self, row: int | None) -> None:
        if row != self._hovered:
            self._hovered = row
            self.update()
            self.hovered.emit(row)

    def _pin_at(self, at: QPointF) -> Pin | None:
        return next((pin for rect, pin in self._pin_places if rect.contains(at)), None)

    def _select_within(self, line: list[QPointF], modifiers: Qt.KeyboardModifier) -> None:
        polygon = np.array([self._view.to_plane(at) for at in line])
        found = inside(polygon, self._xy[:, 0], self._xy[:, 1]) & self._mask
        if modifiers & Qt.KeyboardModifier.AltModifier:
            self._select(self._selected & ~found)
        elif modifiers & Qt.KeyboardModifier.ShiftModifier:
            self._select(self._selected | found)
        else:
            self._select(found)

    def _select(self, selected: NDArray[np.bool_]) -> None:
        if np.array_equal(selected, self._selected):
            return
        self._selected = selected
        self._recolour()
        self.selection_changed.emit(self.selection)

    # --- keys -----------------------------------------------------------------------------------
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step to the next point in a direction; zoom, fit, select all, invert, let go."""
        directions = {
            Qt.Key.Key_Left: (-1.0, 0.0),
            Qt.Key.Key_Right: (1.0, 0.0),
            Qt.Key.Key_Up: (0.0, -1.0),
            Qt.Key.Key_Down: (0.0, 1.0),
        }
        zooms = {Qt.Key.Key_Plus: 1.25, Qt.Key.Key_Equal: 1.25, Qt.Key.Key_Minus: 0.8}
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        key = Qt.Key(event.key())
        if key in directions:
            self._pick_next(*directions[key])
        elif key in zooms:
            self._zoom(zooms[key], QPointF(self.width() / 2, self.height() / 2))
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key == Qt.Key.Key_A and control:
            self.select_all()
        elif key == Qt.Key.Key_I:
            self.invert_selection()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._picked is not None:
            self.opened.emit(self._picked)
        elif key == Qt.Key.Key_Escape and self._selected.any():
            self.clear_selection()
        else:
            super().keyPressEvent(event)

    def _pick_next(self, right: float, down: float) -> None:
        row = self._next_towards(right, down)
        if row is not None:
            self.picked.emit(row)

    def _next_towards(self, right: float, down: float) -> int | None:
        """The nearest point in view within 60 degrees of a direction; the middle one when none is picked."""
        self._settle_ink()
        rows = self._raster.rows_in(self._view.window(1.0))
        middle = QPointF(self.width() / 2, self.height() / 2)
        start = self._placed(self._picked)
        if not len(rows):
            return None
        offset = self._view.pixels(self._xy[rows]) - np.array((start[1] if start else middle).toTuple())
        if start is None:
            return int(rows[np.hypot(*offset.T).argmin()])
        along, across = offset @ (right, down), np.abs(offset @ (down, right))
        ahead = (along > 0.5) & (across <= along * 1.73) & (rows != start[0])
        cost = np.where(ahead, along + 2 * across, np.inf)
        best = int(cost.argmin())
        return int(rows[best]) if np.isfinite(cost[best]) else None

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()
