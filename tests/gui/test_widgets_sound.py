"""Sound view and playback: lanes, numbers, seeking, padding, a device that is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mmviewer.core.media.spectrogram import log_mel
from mmviewer.gui.playback import Player
from mmviewer.gui.widgets.map_card import CardText
from mmviewer.gui.widgets.painting import MapStyle
from mmviewer.gui.widgets.sound_lanes import Envelope, clock, time_ticks
from mmviewer.gui.widgets.sound_view import SoundView
from mmviewer.gui.widgets.time_map import TimeMap

RATE = 16_000
TIME = np.arange(2 * RATE) / RATE
SAMPLES = (0.5 * np.sin(2 * np.pi * 1000 * TIME) * (TIME > 1)).astype(np.float32)
RED = np.zeros((256, 4), np.uint8)
RED[:, 0] = 255
RED[:, 3] = np.arange(256)


def one_position(index: int, positions: int = 40, step: float = 0.1) -> TimeMap:
    values = np.zeros(positions, np.float32)
    values[index] = 0.5
    return TimeMap(values, 0.0, step, 0.0, 0.5)


@pytest.fixture
def view(qtbot: QtBot) -> SoundView:
    widget = SoundView()
    qtbot.addWidget(widget)
    widget.resize(600, 360)
    widget.set_style(MapStyle(RED, 0.0, "nearest"))
    widget.set_sound(SAMPLES, RATE)
    spectrogram = log_mel(SAMPLES)
    widget.set_spectrogram(spectrogram.values, spectrogram.hop, spectrogram.centres)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def at(view: SoundView, seconds: float, height: float = 0.5) -> QPoint:
    lane = view.lanes()[1]
    return QPoint(round(view.x_of(seconds)), round(lane.bottom() - height * lane.height()))


def test_the_map_tints_its_seconds_and_no_others(view: SoundView) -> None:
    before = view.grab().toImage()
    view.set_map(one_position(5))
    view.fit()
    shot = view.grab().toImage()
    inside = shot.pixelColor(at(view, 0.55))
    assert (inside.red(), inside.green(), inside.blue()) == (255, 0, 0)
    for seconds in (0.45, 0.65, 1.5):
        color = shot.pixelColor(at(view, seconds))
        assert color.red() - min(color.green(), color.blue()) < 12  # no tint, whatever the theme
    assert before != shot


def test_padding_behind_the_sound_is_hatched(view: SoundView) -> None:
    view.set_map(one_position(5))  # 4 s of window, 2 s of sound
    lane = view.lanes()[1]
    shot = view.grab().toImage()
    x = round((view.x_of(2.0) + lane.right()) / 2)
    colors = {shot.pixelColor(x, y).name() for y in range(int(lane.top()) + 2, int(lane.bottom()) - 2)}
    assert len(colors) > 3


def test_the_part_behind_the_window_is_hatched_and_said(view: SoundView, qtbot: QtBot) -> None:
    view.set_map(one_position(5, positions=10))  # hears 1 s of 2 s
    qtbot.mouseMove(view, at(view, 1.5))
    assert "not heard by the model" in view.readout()
    qtbot.mouseMove(view, at(view, 0.5))
    assert "not heard" not in view.readout()


def test_numbers_under_the_pointer_are_true(view: SoundView, qtbot: QtBot) -> None:
    view.set_map(one_position(15))
    spectrogram = log_mel(SAMPLES)
    band = int(np.argmin(np.abs(spectrogram.centres - 1000)))
    height = (band + 0.5) / len(spectrogram.centres)
    cells: list[object] = []
    view.cell_hovered.connect(cells.append)
    qtbot.mouseMove(view, at(view, 1.55, height))
    assert cells == [(15,)]
    text = view.readout()
    assert text.startswith("1.5")
    hertz = float(text.split(" · ")[1].removesuffix(" Hz").replace(",", ""))
    assert hertz == pytest.approx(1000, rel=0.12)
    loud = float(text.split(" · ")[2].removesuffix(" dB").replace("\N{MINUS SIGN}", "-"))
    assert loud > float(spectrogram.values.max()) - 6
    assert "position 15 · 0.500" in text
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    assert cells[-1] is None


def test_a_click_seeks_and_space_asks_to_play(view: SoundView, qtbot: QtBot) -> None:
    with qtbot.waitSignal(view.seek_requested) as sought:
        qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at(view, 1.25))
    assert sought.args[0] == pytest.approx(1.25, abs=0.01)
    with qtbot.waitSignal(view.play_requested):
        qtbot.keyClick(view, Qt.Key.Key_Space)
    with qtbot.waitSignal(view.seek_requested) as sought:
        qtbot.keyClick(view, Qt.Key.Key_End)
    assert sought.args[0] == 2.0


def test_arrow_keys_walk_and_read_positions(view: SoundView, qtbot: QtBot) -> None:
    view.set_map(one_position(1))
    with qtbot.waitSignal(view.cell_hovered) as heard:
        qtbot.keyClick(view, Qt.Key.Key_Right)
    assert heard.args == [(1,)]
    assert "position 1 · 0.500" in view.accessibleDescription()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.readout() == "0.10 s"


def test_zoom_keeps_the_second_under_the_pointer(view: SoundView) -> None:
    x = view.x_of(0.5)
    view.zoom_by(4, 0.5)
    assert view.x_of(0.5) == pytest.approx(x)
    assert view.seconds_at(view.x_of(0.5)) == pytest.approx(0.5)
    view.grab()
    view.fit()
    assert view.seconds_at(view.x_of(0.0)) == pytest.approx(0.0)


def test_the_banner_keeps_clear_of_the_lanes_until_it_is_moved(view: SoundView, qtbot: QtBot) -> None:
    view.set_map(one_position(5))
    bare = view.lanes()[0].top()
    view.card.show_text(CardText("“open” · attention", ("decoder cross-attention", "layer 3 of 4"), "caveat"))
    assert view.lanes()[0].top() > view.card.geometry().bottom()
    view.card.toggle()
    folded = view.lanes()[0].top()
    assert bare < folded
    assert folded > view.card.geometry().bottom()
    qtbot.keyClick(view.card, Qt.Key.Key_Down)
    assert view.lanes()[0].top() == bare
    qtbot.keyClick(view.card, Qt.Key.Key_Home)
    assert view.lanes()[0].top() == folded
    view.card.show_text(CardText())
    assert view.lanes()[0].top() == bare


def test_nothing_and_odd_sounds(view: SoundView, qtbot: QtBot) -> None:
    for samples in (
        None,
        np.zeros(0, np.float32),
        np.zeros(1, np.float32),
        np.full(300, np.nan, np.float32),
        np.zeros(RATE, np.float32),
    ):
        view.set_sound(samples, RATE)
        view.set_map(one_position(0))
        view.zoom_by(3)
        qtbot.mouseMove(view, QPoint(200, 150))
        qtbot.keyClick(view, Qt.Key.Key_Right)
        view.grab()
    view.set_spectrogram(np.zeros((80, 0), np.float32), 0.01, np.zeros(80, np.float32))
    view.set_map(TimeMap(np.full(40, np.nan, np.float32), 0.0, 0.1, 0.0, 1.0))
    view.grab()


def test_the_envelope_holds_every_peak() -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(40 * RATE)).astype(np.float32)
    samples[123_456] = 0.99
    low, high = Envelope(samples, RATE).columns(0, 40, 500)
    assert high.max() == np.float32(0.99)
    assert low.min() == samples.min()
    low, high = Envelope(samples, RATE).columns(7.7, 7.72, 40)
    assert high[int((123_456 / RATE - 7.7) / 0.02 * 40)] == np.float32(0.99)


def test_ticks_are_round_and_not_crowded() -> None:
    assert time_ticks(0, 3.4, 560) == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3])
    for end in (0.02, 1.0, 45.0, 3000.0, 7200.0):
        assert 2 <= len(time_ticks(0, end, 600)) <= 9
    assert clock(1.239) == "1.24 s"
    assert clock(185.2) == "3:05.2"


class HandStream:
    """PortAudio's stream with the callback in the test's hand."""

    def __init__(self, callback: Callable[..., None], **settings: Any) -> None:
        self.callback, self.settings = callback, settings
        self.open = False

    def start(self) -> None:
        self.open = True

    def close(self) -> None:
        self.open = False

    def pull(self, frames: int) -> np.ndarray:
        out = np.full((frames, 1), 9, np.float32)
        self.callback(out, frames, None, None)
        return out[:, 0]


class TestPlayer:
    @pytest.fixture
    def streams(self) -> list[HandStream]:
        return []

    @pytest.fixture
    def player(self, streams: list[HandStream], qtbot: QtBot) -> Player:
        def open_stream(**settings: Any) -> HandStream:
            streams.append(HandStream(**settings))
            return streams[-1]

        player = Player(open_stream=open_stream)
        player.set_sound(SAMPLES, RATE)
        return player

    def test_it_hands_out_the_samples_in_order(self, player: Player, streams: list[HandStream]) -> None:
        player.seek(1.5)
        player.play()
        assert streams[0].settings["samplerate"] == RATE
        first = int(1.5 * RATE)
        np.testing.assert_array_equal(streams[0].pull(512), SAMPLES[first : first + 512])
        np.testing.assert_array_equal(streams[0].pull(512), SAMPLES[first + 512 : first + 1024])
        assert player.position == pytest.approx(1.5 + 1024 / RATE)
        player.pause()
        assert not streams[0].open

    def test_it_ends_by_itself_and_begins_anew(
        self, player: Player, streams: list[HandStream], qtbot: QtBot
    ) -> None:
        player.play()
        streams[0].pull(2 * RATE - 10)
        tail = streams[0].pull(100)
        assert (tail[10:] == 0).all()
        with qtbot.waitSignal(player.playing_changed, timeout=1000) as ended:
            pass
        assert ended.args == [False]
        assert player.position == player.duration
        player.toggle()
        assert player.position == 0.0
        assert player.playing
        player.release()

    def test_a_device_with_another_rate_hears_the_same_sound(self, qtbot: QtBot) -> None:
        streams: list[HandStream] = []

        def only_48_kilohertz(**settings: Any) -> HandStream:
            if settings["samplerate"] != 48_000:
                raise ValueError("Invalid sample rate")
            streams.append(HandStream(**settings))
            return streams[-1]

        player = Player(open_stream=only_48_kilohertz)
        player.set_sound(SAMPLES, RATE)
        player.seek(1.5)
        player.play()
        heard = np.concatenate([streams[0].pull(480) for _ in range(10)])
        expected = np.interp(1.5 * RATE + np.arange(4800) / 3, np.arange(len(SAMPLES)), SAMPLES)
        np.testing.assert_allclose(heard, expected, atol=1e-5)
        assert player.position == pytest.approx(1.6)
        player.release()

    def test_no_device_is_one_sentence(self, qtbot: QtBot) -> None:
        def no_device(**_settings: Any) -> Any:
            raise RuntimeError("Error querying device -1")

        player = Player(open_stream=no_device)
        player.set_sound(SAMPLES, RATE)
        with qtbot.waitSignal(player.failed) as failed:
            player.toggle()
        assert "no audio device that plays" in failed.args[0]
        assert "\n" not in failed.args[0]
        assert not player.playing

    def test_real_library_answers_with_sound_or_a_sentence(self, qtbot: QtBot) -> None:
        player = Player()
        player.set_sound(np.zeros(RATE // 10, np.float32), RATE)
        heard: list[str] = []
        player.failed.connect(heard.append)
        player.play()
        assert player.playing or (heard and heard[0][0].isupper())
        player.release()
        assert not player.playing

    def test_nothing_to_play(self, qtbot: QtBot) -> None:
        player = Player()
        player.play()
        player.seek(5.0)
        assert (player.playing, player.position) == (False, 0.0)
