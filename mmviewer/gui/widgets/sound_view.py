"""A sound as waveform and spectrogram, with a map along time over both and as a curve under them."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QIcon,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from mmviewer.gui.widgets.map_card import MapCard
from mmviewer.gui.widgets.painting import (
    FloatArray,
    MapStyle,
    accent,
    color_bar,
    colored_image,
    grey_style,
    number,
    packed_colors,
)
from mmviewer.gui.widgets.sink_marks import SINK_WORDS, paint_ring
from mmviewer.gui.widgets.sound_lanes import (
    Envelope,
    SpectrogramPicture,
    clock,
    paint_frequencies,
    paint_waveform,
    time_ticks,
)
from mmviewer.gui.widgets.span_layer import TimeStage, span_layer
from mmviewer.gui.widgets.time_map import TimeMap, paint_borders, paint_curve, paint_unheard

FOOT = 34
_AXIS = 20
_LEFT = 54  # room for the numbers of the axes
_GAP = 6
_ZOOM_STEP = 1.25
_SEEK_STEP = 0.1


class SoundView(QWidget):
    """Shows a sound and one map along it; plays nothing itself.

    A click or the arrow keys move the cursor, Space asks for play or pause, wheel or +/- zoom in time,
    0 fits. `regions` are drawn with R.
    """

    cell_hovered = Signal(object)
    """(position,) of the encoder under the pointer or cursor, or None."""
    seek_requested = Signal(float)
    """Seconds."""
    play_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._envelope: Envelope | None = None
        self._spectrogram: SpectrogramPicture | None = None
        self._map: TimeMap | None = None
        self._style = grey_style()
        self._ground: QPixmap | None = None
        self._start, self._end = 0.0, 1.0
        self._fitted = True
        self._position = 0.0
        self._pointer: QPointF | None = None
        self._cell: tuple[int] | None = None
        self._note = ""
        self._sinks: tuple[int, ...] = ()
        stage = TimeStage(self._time_area, self.x_of, self.seconds_at, self.update)
        self.regions = span_layer(self, stage, lambda: self._envelope.duration if self._envelope else 0.0)
        self.card = MapCard(self, banner=True)
        self.card.reserve_changed.connect(self._refresh)
        self._playing = False
        self._play = QToolButton(self)
        self._play.setProperty("flat-button", True)
        self._play.setFixedSize(28, 28)
        self._play.clicked.connect(self.play_requested)
        self.set_icons(QIcon(), QIcon())
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Sound with its map")

    # --- what is shown -------------------------------------------------------------------------------
    def set_sound(self, samples: FloatArray | None, rate: int = 16_000) -> None:
        """Show another sound; its spectrogram and map come later."""
        self._envelope = None if samples is None or not len(samples) else Envelope(samples, rate)
        self._spectrogram = self._map = self._cell = None
        self._note, self._position, self._pointer = "", 0.0, None
        self._play.setEnabled(self._envelope is not None)
        self.fit()

    def set_spectrogram(self, values: FloatArray, hop: float, centres: FloatArray) -> None:
        """Take the log-mel power [mels, frames] of the sound."""
        usable = values.ndim == 2 and min(values.shape) > 0
        self._spectrogram = SpectrogramPicture(values, hop, centres) if usable else None
        self._refresh()

    def set_map(self, along: TimeMap | None) -> None:
        """Lay another map along the sound, or none."""
        windowed = (self._map is None) != (along is None)
        self._map = along
        if windowed and self._fitted:
            self.fit()
        elif windowed:
            self._refresh()
            self.card.place()
        self.update()

    def set_style(self, style: MapStyle) -> None:
        """Paint maps in another way."""
        self._style = style
        self._refresh()

    def set_position(self, seconds: float) -> None:
        """Move the playback cursor."""
        self._position = seconds
        if self._start <= self._position > self._end and self._envelope is not None:
            width = self._end - self._start
            self._set_range(seconds, seconds + width)
        self.update()

    def set_icons(self, play: QIcon, pause: QIcon) -> None:
        """Give the play button its two faces."""
        self._icons = (play, pause)
        self.set_playing(self._playing)

    def set_playing(self, playing: bool) -> None:
        """Show whether the sound is playing."""
        self._playing = playing
        self._play.setIcon(self._icons[1 if playing else 0])
        self._play.setToolTip("Pause (Space)" if playing else "Play from the cursor (Space)")
        self._play.setAccessibleName("Pause" if playing else "Play")

    @property
    def note(self) -> str:
        """What is said in place."""
        return self._note

    def set_note(self, note: str) -> None:
        """Say something in place, such as why nothing can be heard."""
        self._note = note
        self.update()

    def set_sinks(self, positions: tuple[int, ...]) -> None:
        """Ring the positions that draw weight whatever is asked."""
        self._sinks = positions
        self.update()

    def mark(self, cell: tuple[int, ...] | None) -> None:
        """Mark a position chosen elsewhere; emits nothing."""
        self._cell = (cell[0],) if cell else None
        self.update()

    def fit(self) -> None:
        """Show the whole sound, and a little of the padding behind it where the model has some."""
        duration = self._envelope.duration if self._envelope else 1.0
        padded = self._map is not None and self._map.end > duration
        end = min(self._map.end, 1.08 * duration + 0.05) if self._map is not None and padded else duration
        self._fitted = True
        self._set_range(0.0, end, fitted=True)
        self.card.place()

    def zoom_by(self, factor: float, at: float | None = None) -> None:
        """Zoom in time, keeping the second `at` (the middle by default) where it is."""
        if self._envelope is None:
            return
        whole = max(self._envelope.duration, self._map.end if self._map else 0.0)
        at = (self._start + self._end) / 2 if at is None else at
        width = min(max((self._end - self._start) / factor, 0.02), whole)
        share = (at - self._start) / max(self._end - self._start, 1e-9)
        start = min(max(at - share * width, 0.0), whole - width)
        self._set_range(start, start + width)

    # --- coordinates -----------------------------------------------------------------------------------
    def x_of(self, seconds: float) -> float:
        """Where a time lies in the view."""
        area = self._time_area()
        return area.left() + (seconds - self._start) / (self._end - self._start) * area.width()

    def seconds_at(self, x: float) -> float:
        """The time at a place in the view."""
        area = self._time_area()
        return self._start + (x - area.left()) / max(1.0, area.width()) * (self._end - self._start)

    def lanes(self) -> tuple[QRectF, QRectF, QRectF]:
        """Waveform, spectrogram and curve, top to bottom."""
        area = self._time_area()
        shares = (0.2, 0.56, 0.24) if self._map is not None else (0.28, 0.72, 0.0)
        room = area.height() - 2 * _GAP
        rects, top = [], area.top()
        for share in shares:
            rects.append(QRectF(area.left(), top, area.width(), max(0.0, share * room)))
            top += share * room + _GAP
        return rects[0], rects[1], rects[2]

    def readout(self) -> str:
        """The line under the lanes: time, frequency, level, position and its value."""
        seconds = self._pointed()
        parts = [clock(seconds)]
        if self._pointer is not None and self._spectrogram is not None:
            lane = self.lanes()[1]
            level = self._spectrogram.level(seconds, (lane.bottom() - self._pointer.y()) / lane.height())
            if level is not None:
                parts += [f"{level[0]:,.0f} Hz", f"{number(round(level[1], 1))} dB"]
        if self._map is not None and self._cell is not None:
            index = self._cell[0]
            parts += [f"position {index}", number(float(self._map.values[index]))]
        if self._envelope is not None and seconds >= self._envelope.duration:
            parts.append("padding")
        elif self._map is not None and self._map.index_at(seconds) is None:
            parts.append("not heard by the model")
        return " · ".join(parts)

    # --- painting --------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        return QSize(640, 420)

    def minimumSizeHint(self) -> QSize:
        return QSize(220, 180)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        if self._envelope is None:
            return
        if self._ground is None:
            self._ground = self._painted_ground()
        painter.drawPixmap(0, 0, self._ground)
        if self._map is not None and self._style.show_map:
            self._paint_map(painter, self._map)
        paint_unheard(painter, self._time_area(), self._envelope.duration, self._map, self.x_of)
        self._paint_cursor(painter)
        self.regions.paint(painter)
        self._paint_foot(painter)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(accent(self.palette()), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def _painted_ground(self) -> QPixmap:
        """Everything that stays while tokens are hovered."""
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap(QSize(self.width(), self.height()) * ratio)
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setFont(self.font())
        wave, spectrogram, _ = self.lanes()
        self._paint_waveform(painter, wave)
        self._paint_spectrogram(painter, spectrogram)
        self._paint_axis(painter)
        painter.end()
        return pixmap

    def _paint_waveform(self, painter: QPainter, lane: QRectF) -> None:
        assert self._envelope is not None
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        paint_waveform(painter, lane, self._envelope, (self._start, self._end), ink)

    def _paint_spectrogram(self, painter: QPainter, lane: QRectF) -> None:
        palette = self.palette()
        muted = palette.color(QPalette.ColorRole.PlaceholderText)
        painter.setPen(muted)
        if self._spectrogram is None:
            painter.drawText(lane, Qt.AlignmentFlag.AlignCenter, "computing the spectrogram…")
            return
        ink, paper = palette.color(QPalette.ColorRole.Text), palette.color(QPalette.ColorRole.AlternateBase)
        first, last = self._spectrogram.span(self._start, self._end)
        target = QRectF(self.x_of(first), lane.top(), self.x_of(last) - self.x_of(first), lane.height())
        painter.save()
        painter.setClipRect(lane)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(target, self._spectrogram.image(self._start, self._end, paper, ink))
        painter.restore()
        paint_frequencies(painter, lane, self._spectrogram, _LEFT - 5)

    def _paint_axis(self, painter: QPainter) -> None:
        area = self._time_area()
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        for tick in time_ticks(self._start, self._end, area.width()):
            x = self.x_of(tick)
            painter.drawLine(QPointF(x, area.bottom() + 1), QPointF(x, area.bottom() + 4))
            text = f"{tick:g} s" if tick < 60 else f"{int(tick // 60)}:{int(tick % 60):02d}"
            rect = QRectF(x - 40, area.bottom() + 4, 80, _AXIS - 4)
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_map(self, painter: QPainter, along: TimeMap) -> None:
        wave, spectrogram, curve = self.lanes()
        count = max(2, int(wave.width()))
        seconds = np.linspace(self._start, self._end, count, dtype=np.float32)
        values = along.sampled(seconds, self._style.interpolation)  # [count]
        packed = packed_colors(self._style.colors)
        tint = colored_image(values[None], along.low, along.high, packed)
        painter.drawImage(wave, tint)
        painter.drawImage(spectrogram, tint)
        paint_curve(painter, curve, values, along, self._style, self.palette())
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        painter.drawText(QRectF(0, curve.top() - 2, _LEFT - 5, 16), _RIGHT, number(along.high, 2))
        painter.drawText(QRectF(0, curve.bottom() - 14, _LEFT - 5, 16), _RIGHT, number(along.low, 2))
        for index in self._sinks:
            left, right = (self.x_of(along.start + (index + i) * along.step) for i in (0, 1))
            if left >= curve.left() and right <= curve.right():
                paint_ring(painter, QRectF(left, curve.top(), right - left, 12))
        if self._style.show_grid:
            line = self.palette().color(QPalette.ColorRole.WindowText)
            paint_borders(painter, spectrogram, along, (self._start, self._end), self.x_of, line)

    def _paint_cursor(self, painter: QPainter) -> None:
        area = self._time_area()
        if self._cell is not None and self._map is not None:
            first = self.x_of(self._map.start + self._cell[0] * self._map.step)
            last = self.x_of(self._map.start + (self._cell[0] + 1) * self._map.step)
            band = accent(self.palette())
            band.setAlphaF(0.35)
            painter.fillRect(QRectF(first, area.top(), max(2.0, last - first), area.height()), band)
        if self._start <= self._position <= self._end:
            x = self.x_of(self._position)
            painter.setPen(QPen(accent(self.palette()), 2))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _paint_foot(self, painter: QPainter) -> None:
        foot = QRectF(0, self.height() - FOOT, self.width(), FOOT)
        width = 0.0
        if self._map is not None and self._style.show_map:
            width = min(240.0, 0.4 * self.width())
            area = QRectF(self.width() - width - 10, foot.top(), width, FOOT)
            color_bar(painter, area, self._style, self._map.low, self._map.high, self.palette())
        assert self._envelope is not None
        played = f"{clock(self._position)} of {clock(self._envelope.duration)}"
        if self.regions.tool:
            played = "Drag along the sound to mark a stretch · Esc leaves"
        elif self._sinks:
            played += f" · \N{WHITE CIRCLE} {SINK_WORDS}"
        text = self._note or (played if self._pointer is None and self._cell is None else self.readout())
        room = QRectF(44, foot.top(), self.width() - width - 64, FOOT)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)

    # --- events -----------------------------------------------------------------------------------------
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._play.move(8, self.height() - FOOT + (FOOT - self._play.height()) // 2)
        self.card.place()
        self._refresh()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._refresh()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point_at(event.position())
        if self.regions.move(event.position()):
            return
        self.setCursor(self.regions.cursor(event.position()) or Qt.CursorShape.ArrowCursor)
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._seek(self.seconds_at(event.position().x()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and event.position().y() < self.height() - FOOT:
            if self.regions.press(event.position()):
                return
            self._seek(self.seconds_at(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.regions.release()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.fit()

    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        delta = event.angleDelta()
        if delta.y():
            self.zoom_by(_ZOOM_STEP ** (delta.y() / 120), self.seconds_at(event.position().x()))
        elif delta.x():
            self._pan(-delta.x() / 120 * 0.1)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if self.regions.key(event, self._cell_rect):
            return
        if key == Qt.Key.Key_Space:
            self.play_requested.emit()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(_ZOOM_STEP, self._position)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(1 / _ZOOM_STEP, self._position)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            direction = 1 if key == Qt.Key.Key_Right else -1
            if shift:
                self._pan(0.1 * direction)
            else:
                self._walk(direction)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            self._seek(0.0 if key == Qt.Key.Key_Home else math.inf)
        elif key == Qt.Key.Key_Escape and self._cell is not None:
            self._set_cell(None)
        else:
            super().keyPressEvent(event)
        self.regions.follow(self._cell_rect)

    # --- inside -----------------------------------------------------------------------------------------
    @property
    def _cell_rect(self) -> QRectF | None:
        """The marked position as seconds; else what the cursor stands on."""
        if self._map is None or self._cell is None:
            return QRectF(self._position, 0, _SEEK_STEP, 1)
        return QRectF(self._map.start + self._cell[0] * self._map.step, 0, self._map.step, 1)

    def _time_area(self) -> QRectF:
        top = 8 + self.card.reserved
        return QRectF(
            _LEFT, top, max(1, self.width() - _LEFT - 10), max(1, self.height() - FOOT - _AXIS - 4 - top)
        )

    def _set_range(self, start: float, end: float, fitted: bool = False) -> None:
        self._start, self._end = start, max(end, start + 1e-3)
        self._fitted = fitted
        self._refresh()

    def _refresh(self) -> None:
        self._ground = None
        self.update()

    def _pan(self, share: float) -> None:
        if self._envelope is None:
            return
        width = self._end - self._start
        whole = max(self._envelope.duration, self._map.end if self._map else 0.0)
        start = min(max(self._start + share * width, 0.0), max(0.0, whole - width))
        self._set_range(start, start + width)

    def _walk(self, direction: int) -> None:
        """Move the cursor by one step and read the position under it."""
        self._pointer = None
        self._seek(self._position + direction * _SEEK_STEP)
        self._set_cell(self._cell_at(self._position))

    def _seek(self, seconds: float) -> None:
        if self._envelope is not None:
            self._position = min(max(seconds, 0.0), self._envelope.duration)
            self.seek_requested.emit(self._position)
            self.update()

    def _pointed(self) -> float:
        return self._position if self._pointer is None else self.seconds_at(self._pointer.x())

    def _point_at(self, position: QPointF | None) -> None:
        inside = position is not None and self._time_area().contains(position)
        self._pointer = position if inside else None
        cell = self._cell_at(self.seconds_at(position.x())) if position is not None and inside else None
        self._set_cell(cell)
        self.update()

    def _cell_at(self, seconds: float) -> tuple[int] | None:
        """Position at a time of the sound itself; padding has none."""
        if self._map is None or self._envelope is None or seconds >= self._envelope.duration:
            return None
        index = self._map.index_at(seconds)
        return None if index is None else (index,)

    def _set_cell(self, cell: tuple[int] | None) -> None:
        if cell != self._cell:
            self._cell = cell
            self.setAccessibleDescription(self.readout())
            self.cell_hovered.emit(cell)
            self.update()


_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
