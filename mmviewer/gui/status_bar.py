"""What is the machine doing: engine, device, memory, network, the work under way with its cancel."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QWidget

from mmviewer.engine.protocol import EngineStatus
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button
from mmviewer.gui.theme import Theme
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.words import bytes_in_words, device_in_words
from mmviewer.gui.workbench import Workbench

_STEPS = 1000
_PHASES = {
    "starting": "engine starting",
    "warming up": "engine warming up",
    "ready": "engine ready",
    "busy": "engine busy",
    "gone": "engine stopped",
}


class StatusBar(QWidget):
    """The line under everything."""

    def __init__(self, workbench: Workbench, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("status-bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._bench = workbench
        self._shown_key = ""
        self._dot = _Dot(theme)
        self.phase = QLabel()
        self.device = QLabel()
        self.memory = QLabel()
        self._memory_bar = QProgressBar()
        self._memory_bar.setTextVisible(False)
        self._memory_bar.setFixedWidth(56)
        self._memory_bar.setAccessibleName("Memory in use")
        self.network = QLabel()
        self.work = ElidedLabel()
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._progress.setFixedWidth(120)
        self._progress.setAccessibleName("How far the work is")
        self.cancel = flat_button("Cancel", "Stop this work between its steps.")
        self.cancel.setMinimumHeight(24)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 8, 0)
        row.setSpacing(8)
        row.addWidget(self._dot)
        row.addWidget(self.phase)
        for widget in (self.device, self.memory, self._memory_bar, self.network):
            row.addSpacing(8)
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(self.work)
        row.addWidget(self._progress)
        row.addWidget(self.cancel)
        self.setFixedHeight(28)
        self.cancel.clicked.connect(lambda: self._bench.cancel(self._shown_key))
        workbench.engine_status_changed.connect(self.show_status)
        workbench.activities.changed.connect(lambda _key, _activity: self._show_work())
        self.show_status(workbench.engine_status)
        workbench.network_changed.connect(self.show_network)
        self.show_network()
        self._show_work()

    def show_status(self, status: EngineStatus) -> None:
        """Show what the engine says of itself."""
        self._dot.set_phase(status.phase)
        self.phase.setText(_PHASES.get(status.phase, status.phase))
        versions = ", ".join(f"{name} {version}" for name, version in status.versions)
        self.phase.setToolTip(f"The process that computes (number {status.pid}). {versions}".strip())
        self.device.setText(device_in_words(status.device, status.dtype))
        self.device.setToolTip(status.reason or "Where models run, and with which number format.")
        self.device.setVisible(bool(status.device))
        self.show_network()
        known = status.memory_total > 0
        self.memory.setVisible(known)
        self._memory_bar.setVisible(known)
        if known:
            used, total = bytes_in_words(status.memory_used), bytes_in_words(status.memory_total)
            self.memory.setText(f"{used} / {total}")
            self.memory.setToolTip("Memory that the engine uses, of the device's or the machine's.")
            self._memory_bar.setRange(0, _STEPS)
            self._memory_bar.setValue(round(_STEPS * min(status.memory_used / status.memory_total, 1.0)))

    def show_network(self) -> None:
        """Show whether models may be fetched."""
        hosts = self._bench.engine_status.network
        if hosts:
            self.network.setText(f"⇅ {hosts[0]}")
            self.network.setToolTip(f"The network is in use: {', '.join(hosts)}.")
            return
        allowed = self._bench.settings.allow_network
        self.network.setText("downloads allowed" if allowed else "offline")
        self.network.setToolTip(
            "Models may be fetched from a hub when you load one by its name."
            if allowed
            else "Only models on this machine are used; the Model menu can allow downloads."
        )

    def _show_work(self) -> None:
        running = {key: a for key, a in self._bench.activities.running().items() if a.visible}
        key, activity = next(iter(running.items()), ("", Activity()))
        self._shown_key = key
        more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
        message = f" · {activity.message}" if activity.message else ""
        self.work.set_text(f"{activity.label}{message}{more}" if key else "")
        self._progress.setVisible(bool(key))
        self.cancel.setVisible(bool(key))
        self._progress.setRange(0, 0 if activity.fraction is None else _STEPS)
        if activity.fraction is not None:
            self._progress.setValue(round(activity.fraction * _STEPS))


class _Dot(QWidget):
    """The engine's phase as a sign: full when ready, a ring while it starts, a cross when gone."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._phase = ""
        theme.changed.connect(self.update)

    def set_phase(self, phase: str) -> None:
        """Show another phase."""
        self._phase = phase
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(12, 12)

    def paintEvent(self, _event: QPaintEvent) -> None:
        colours = self._theme.colours
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = 9.0
        box = QRectF((self.width() - side) / 2, (self.height() - side) / 2, side, side)
        if self._phase == "gone":
            pen = painter.pen()
            pen.setColor(QColor(colours.bad))
            pen.setWidthF(2)
            painter.setPen(pen)
            painter.drawLine(box.topLeft(), box.bottomRight())
            painter.drawLine(box.topRight(), box.bottomLeft())
        elif self._phase in {"ready", "busy"}:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.good))
            painter.drawEllipse(box)
        else:
            pen = painter.pen()
            pen.setColor(QColor(colours.warning))
            pen.setWidthF(2)
            painter.setPen(pen)
            painter.drawEllipse(box.adjusted(1, 1, -1, -1))
