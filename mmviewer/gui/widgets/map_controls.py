"""Choosers of a map (method, place, layer, heads) and of how it is painted; each explains its term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

from mmviewer.gui.widgets.flow_layout import FlowLayout
from mmviewer.gui.widgets.painting import ByteArray

_HEIGHT = 26
_LEAST_PLACE = 170
_NARROWEST, _WIDEST = 120, 260
"""Widths of a chooser."""

_TIPS = {
    "method": "Attention is what the model weighted; attribution is what a score depended on.",
    "point": "Which attention of the model is read: where in it a token looks at the input.",
    "layer": "Layers follow one another, each with its own attention; auto lets the method choose.",
    "head": "Each layer has several heads that look independently; mean and max combine them.",
    "opacity": "How strongly the map covers the picture.",
    "colormap": "The colours from the lowest to the highest value; all but the diverging ones rise evenly in "
    "lightness.",
    "interpolation": "How the map is drawn between its patches. Smooth (the default) mixes neighbours in a "
    "straight line, smoother along a curve; both draw more detail than the model has. Per patch shows the "
    "values as they are. Exported figures are drawn in the same way.",
    "map": "Show the map, or the bare picture.",
    "grid": "Show the borders of the patches, the pieces into which the model cuts its input.",
    "scale": "One colour scale for all tokens, so that their maps can be compared by colour.",
}
INTERPOLATIONS = {"bilinear": "smooth", "bicubic": "smoother", "nearest": "per patch"}
_INTERPOLATION_TIPS = {
    "bilinear": "Smooth (bilinear), the default: mixed in a straight line between the middles of patches.",
    "bicubic": "Smoother (bicubic): mixed along a curve, cut at the smallest and largest value.",
    "nearest": "Per patch (nearest): each patch in one colour, which is all that the model tells apart.",
}


@dataclass(frozen=True, slots=True)
class PointChoice:
    """A capture point one can choose: its stable `name`, its `label`, its size, and what it `explains`."""

    name: str
    label: str
    layers: int
    heads: int
    explains: str = ""


class MapChooser(QWidget):
    """Four choosers in a row; holds no truth of its own: `show_spec` says what is chosen."""

    chosen = Signal(str, object, object, object)
    """Method, point or None, layer from 0 or None, head from 0 or "mean" or "max"."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points: tuple[PointChoice, ...] = ()
        self._used: tuple[str | None, int | None] = (None, None)
        self.method = _combo("Method", _TIPS["method"])
        self.point = _combo("Capture point", _TIPS["point"])
        self.layer = _combo("Layer", _TIPS["layer"])
        self.head = _combo("Heads", _TIPS["head"])
        row = FlowLayout(self)
        for combo in (self.method, self.point, self.layer, self.head):
            row.addWidget(combo)
            combo.activated.connect(self._emit)

    def add(self, widget: QWidget) -> None:
        """Put another chooser behind the last one."""
        layout = self.layout()
        if layout is not None:
            layout.addWidget(widget)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Keep to one row if the place can be elided a little for it, else to two in a row where narrow."""
        layout = self.layout()
        if layout is None or not self.isVisible():
            return
        combos = (self.method, self.point, self.layer, self.head)
        for combo in combos:
            combo.setMaximumWidth(_WIDEST)
        parts = [
            item.sizeHint().width() for i in range(layout.count()) if (item := layout.itemAt(i)) is not None
        ]
        excess = sum(parts) + layout.spacing() * (len(parts) - 1) - self.width()
        left = self.point.sizeHint().width() - excess
        self.point.setToolTip(f"{_TIPS['point']}\nNow: {self.point.currentText()}.")
        if excess > 0 and left >= _LEAST_PLACE:
            self.point.setMaximumWidth(left)
        elif excess > 0:
            for combo in combos:
                combo.setMaximumWidth(max(_NARROWEST, min(_WIDEST, (self.width() - layout.spacing()) // 2)))

    def set_choices(self, methods: Mapping[str, str], points: Sequence[PointChoice]) -> None:
        """Offer `methods` (key to label) and `points`."""
        if list(methods.items()) == _entries(self.method) and tuple(points) == self._points:
            return
        self._points = tuple(points)
        _fill(self.method, [(label, key) for key, label in methods.items()])
        self.method.setEnabled(len(methods) > 1)
        self.setEnabled(bool(methods))

    def show_spec(
        self,
        method: str,
        point: str | None,
        layer: int | None,
        head: int | str | tuple[int, ...],
        used: tuple[str | None, int | None],
    ) -> None:
        """Show what is chosen; `used` are the point and layer that "auto" came to."""
        self._used = used
        _select(self.method, method)
        self._offer_points(point)
        place = self._place(point)
        self._offer_layers(place, layer)
        self._offer_heads(place, head)

    def _offer_points(self, point: str | None) -> None:
        labels = {choice.name: choice.label for choice in self._points}
        used = labels.get(self._used[0] or "", "")
        auto = f"auto: {used}" if used and point is None else "auto"
        _fill(self.point, [(auto, None), *((choice.label, choice.name) for choice in self._points)])
        for index, choice in enumerate(self._points, start=1):
            self.point.setItemData(index, choice.explains or choice.label, Qt.ItemDataRole.ToolTipRole)
        _select(self.point, point)

    def _offer_layers(self, place: PointChoice | None, layer: int | None) -> None:
        count = place.layers if place else 0
        used = self._used[1]
        auto = f"layer: auto ({used + 1})" if used is not None and layer is None else "layer: auto"
        _fill(self.layer, [(auto, None), *((f"layer {i + 1} of {count}", i) for i in range(count))])
        self.layer.setEnabled(count > 0)
        _select(self.layer, layer)

    def _offer_heads(self, place: PointChoice | None, head: int | str | tuple[int, ...]) -> None:
        count = place.heads if place else 0
        choices: list[tuple[str, Any]] = [("heads: mean", "mean"), ("heads: max", "max")]
        choices += [(f"head {i + 1} of {count}", i) for i in range(count)]
        if isinstance(head, tuple):
            choices.append((f"heads: mean of {', '.join(str(i + 1) for i in head)}", head))
        _fill(self.head, choices)
        self.head.setEnabled(count > 1)
        _select(self.head, head)

    def _place(self, point: str | None) -> PointChoice | None:
        name = point or self._used[0]
        return next((choice for choice in self._points if choice.name == name), None)

    def _emit(self) -> None:
        point = self.point.currentData()
        layer, head = self.layer.currentData(), self.head.currentData()
        if self.sender() is self.point:
            layer, head = None, "mean"  # another place has other layers and heads
        self.chosen.emit(self.method.currentData(), point, layer, head)


class ViewControls(QWidget):
    """How the map is painted: on or off, opacity, colours, interpolation, patch borders, common scale."""

    changed = Signal(str, object)
    """Name of an option of `show_options`, and its new value."""

    def __init__(self, colormaps: Mapping[str, ByteArray], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.show_map = self._toggle("map", "show_map", "Map")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setPageStep(10)
        self.opacity.setFixedSize(72, _HEIGHT)
        self.opacity.setToolTip(_TIPS["opacity"])
        self.opacity.setAccessibleName("Opacity of the map")
        self.opacity.valueChanged.connect(lambda value: self.changed.emit("opacity", value / 100))
        self.percent = QLabel()
        self.percent.setMinimumWidth(self.percent.fontMetrics().horizontalAdvance("100 % "))
        self.percent.setFixedHeight(_HEIGHT)
        self.colormap = _combo("Colour map", _TIPS["colormap"])
        self.colormap.setIconSize(QSize(48, 10))
        for name, colors in colormaps.items():
            self.colormap.addItem(_swatch(colors), name, name)
        self.colormap.activated.connect(lambda: self.changed.emit("colormap", self.colormap.currentData()))
        self.interpolation = _combo("Interpolation", _TIPS["interpolation"])
        for key, label in INTERPOLATIONS.items():
            self.interpolation.addItem(label, key)
            tip = _INTERPOLATION_TIPS[key]
            self.interpolation.setItemData(self.interpolation.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.interpolation.activated.connect(
            lambda: self.changed.emit("interpolation", self.interpolation.currentData())
        )
        self.show_grid = self._toggle("grid", "show_grid", "Patch grid")
        self.shared_scale = self._toggle("scale", "shared_scale", "One scale")
        row = FlowLayout(self)
        for widget in (self.show_map, self.opacity, self.percent, self.colormap, self.interpolation):
            row.addWidget(widget)
        row.addWidget(self.show_grid)
        row.addWidget(self.shared_scale)

    def add(self, widget: QWidget) -> None:
        """Put another control behind the last one."""
        layout = self.layout()
        if layout is not None:
            layout.addWidget(widget)

    def show_options(self, options: Any) -> None:
        """Show what is chosen; `options` has the attributes that `changed` names."""
        for name in ("show_map", "show_grid", "shared_scale"):
            box: QPushButton = getattr(self, name)
            box.blockSignals(True)
            box.setChecked(getattr(options, name))
            box.blockSignals(False)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(100 * options.opacity))
        self.opacity.blockSignals(False)
        self.percent.setText(f"{round(100 * options.opacity)} %")
        _select(self.colormap, options.colormap)
        _select(self.interpolation, options.interpolation)

    def _toggle(self, tip: str, option: str, text: str) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setToolTip(_TIPS[tip])
        button.setFixedHeight(_HEIGHT)
        button.toggled.connect(lambda on: self.changed.emit(option, on))
        return button


class ElidingCombo(QComboBox):
    """Ends a text that has no room in dots; the style would cut it."""

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(control, option, field, self).width()
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + 4
        if self.width() >= self.sizeHint().width():
            room = self.width()  # it has what it asked for
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, max(0, room)
        )
        painter = QStylePainter(self)
        painter.drawComplexControl(control, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()


def _combo(name: str, tip: str) -> QComboBox:
    combo = ElidingCombo()
    combo.setAccessibleName(name)
    combo.setToolTip(tip)
    combo.setMinimumHeight(_HEIGHT)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    combo.setMaximumWidth(_WIDEST)
    combo.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return combo


def _entries(combo: QComboBox) -> list[tuple[Any, str]]:
    return [(combo.itemData(i), combo.itemText(i)) for i in range(combo.count())]


def _fill(combo: QComboBox, entries: Sequence[tuple[str, object]]) -> None:
    """Offer other entries; nothing happens while they are the same, so that an open list stays open."""
    if _entries(combo) == [(data, text) for text, data in entries]:
        return
    combo.clear()
    for text, data in entries:
        combo.addItem(text, data)
    combo.updateGeometry()


def _select(combo: QComboBox, data: object) -> None:
    index = next((i for i in range(combo.count()) if combo.itemData(i) == data), -1)
    if index != combo.currentIndex():
        combo.setCurrentIndex(index)


def _swatch(colors: ByteArray) -> QIcon:
    """A strip of a colour map's colours [256, 3 or 4]."""
    row = np.ascontiguousarray(np.broadcast_to(colors[None, :, :3], (10, len(colors), 3)))
    image = QImage(row.data, len(colors), 10, 3 * len(colors), QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image))
