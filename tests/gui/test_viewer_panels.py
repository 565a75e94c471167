"""Viewer, tokens and heads panels linked through the session, with real events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, head_maps, image_maps, picture, sequence, time_maps, tone
from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from mmviewer.core.media.spectrogram import log_mel
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import MapSpec, Media, Modality
from mmviewer.engine.protocol import (
    ErrorReport,
    EstimateMaps,
    Explain,
    ExploreHeads,
    Generate,
    MapEstimate,
    Spectrogram,
    SpectrogramData,
)
from mmviewer.gui.panels.base import PANELS
from mmviewer.gui.panels.heads import HeadsPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.panels.viewer import ViewerPanel
from mmviewer.gui.view_model import Basis
from mmviewer.gui.workbench import Workbench


@dataclass
class Desk:
    """Three panels on one workbench."""

    bench: Workbench
    jobs: HandJobs
    viewer: ViewerPanel
    tokens: TokensPanel
    heads: HeadsPanel

    @property
    def state(self) -> SessionState:
        return self.bench.state

    def show(self, item: LibraryItem) -> None:
        """Open an item with its finished sequence and maps."""
        self.state.set_items((*self.state.items, item))
        self.bench.choose(item.id)
        self.state.set_sequence(sequence(item))
        is_image = item.media.modality is Modality.IMAGE
        self.state.set_maps(image_maps(item) if is_image else time_maps(item))
        QApplication.processEvents()  # let layouts settle, as between two of the user's actions


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[Desk]:
    jobs = HandJobs()
    bench = Workbench(jobs)  # type: ignore[arg-type]
    bench.state.set_model(MODEL)
    bench.state.set_speech_model(MODEL)
    panels = (ViewerPanel(bench), TokensPanel(bench), HeadsPanel(bench))
    window = QWidget()  # one window, as the pointer goes to the topmost one
    qtbot.addWidget(window)
    left = QVBoxLayout()
    left.addWidget(panels[0], 3)
    left.addWidget(panels[1], 1)
    row = QHBoxLayout(window)
    row.addLayout(left, 2)
    row.addWidget(panels[2], 1)
    window.resize(1000, 640)
    window.show()
    qtbot.waitExposed(window)
    yield Desk(bench, jobs, *panels)
    for panel in panels:
        panel.release()
    bench.release()


def visible_button(panel: ViewerPanel | TokensPanel | HeadsPanel, text: str) -> QPushButton:
    return next(b for b in panel.findChildren(QPushButton) if b.text() == text and b.isVisible())


def test_the_registry_finds_the_panels_by_scanning() -> None:
    assert {"viewer", "tokens", "heads"} <= set(PANELS.keys())


class TestEmpty:
    def test_the_viewer_says_what_to_do_and_offers_the_samples(self, desk: Desk, qtbot: QtBot) -> None:
        assert "Drop an image, a sound or a text" in desk.viewer.stack.message
        with qtbot.waitSignal(desk.bench.samples_requested):
            qtbot.mouseClick(visible_button(desk.viewer, "Open the samples"), Qt.MouseButton.LeftButton)

    def test_the_strip_offers_a_caption(self, desk: Desk, qtbot: QtBot) -> None:
        desk.bench.settings.generate_on_choose = False
        desk.state.set_items([picture()])
        desk.bench.choose("picture")
        qtbot.mouseClick(visible_button(desk.tokens, "Caption"), Qt.MouseButton.LeftButton)
        assert desk.jobs.count(Generate) == 1
        qtbot.waitUntil(lambda: "Captioning" in desk.tokens.stack.message)

    def test_without_a_model_the_strip_leads_to_the_models(self, desk: Desk, qtbot: QtBot) -> None:
        desk.state.set_model(None)
        desk.state.set_items([picture()])
        desk.bench.choose("picture")
        with qtbot.waitSignal(desk.bench.panel_requested) as asked:
            qtbot.mouseClick(visible_button(desk.tokens, "Choose a model"), Qt.MouseButton.LeftButton)
        assert asked.args == ["models"]

    def test_a_failed_caption_is_said_in_place(self, desk: Desk) -> None:
        desk.state.set_items([picture()])
        desk.bench.choose("picture")
        desk.bench.generate()
        report = ErrorReport("DeviceError", "The GPU is out of memory; close other programs.", "trace")
        desk.jobs.last(Generate).failed(report)
        assert desk.tokens.stack.message == report.message
        assert visible_button(desk.tokens, "Try again")


class TestImage:
    def test_hovering_a_chip_shows_its_map_at_once(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        before = desk.viewer.image.grab().toImage()
        place = desk.tokens.strip.chip_rect(2).center().toPoint()
        qtbot.mouseMove(desk.tokens.strip.viewport(), place)
        assert desk.state.hovered_token == 2
        assert desk.viewer.snapshot.grid.basis is Basis.HOVERED
        assert desk.viewer.image.card.content.title == "“bicycle” · attention"
        image = desk.viewer.image
        shot = image.grab().toImage()
        assert shot != before
        hot = shot.pixelColor(image.to_view(QRectF(60, 75, 0, 0)).topLeft().toPoint())  # patch (2, 1)
        cold = shot.pixelColor(image.to_view(QRectF(140, 110, 0, 0)).topLeft().toPoint())
        assert hot.red() > cold.red() + 80

    def test_hovering_the_picture_lights_the_chips_that_looked_there(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        dark = desk.tokens.strip.grab().toImage()
        image = desk.viewer.image
        qtbot.mouseMove(image, image.to_view(QRectF(60, 75, 0, 0)).topLeft().toPoint())
        assert desk.state.hovered_cell == (2, 1)
        lit = desk.tokens.strip.grab().toImage()
        changed = [
            any(
                dark.pixel(x, y) != lit.pixel(x, y)
                for rect in [desk.tokens.strip.chip_rect(index).toRect()]
                for x in range(rect.left(), rect.right())
                for y in range(rect.top(), rect.top() + 20)
            )
            for index in range(4)
        ]
        assert changed == [False, False, True, False]

    def test_clicking_chips_chooses_and_says_the_mean(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        strip = desk.tokens.strip
        for index, modifier in (
            (0, Qt.KeyboardModifier.NoModifier),
            (2, Qt.KeyboardModifier.ControlModifier),
        ):
            place = strip.chip_rect(index).center().toPoint()
            qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, modifier, place)
        assert desk.state.tokens == (0, 2)
        desk.state.set_hovered_token(None)
        assert desk.viewer.image.card.content.title == "mean of “a”, “bicycle” · attention"

    def test_choosing_elsewhere_is_shown_in_the_strip(self, desk: Desk) -> None:
        desk.show(picture())
        desk.state.set_tokens((1,))
        assert desk.tokens.strip.picked == (1,)

    def test_another_item_drops_the_map(self, desk: Desk) -> None:
        desk.show(picture())
        desk.state.set_items((*desk.state.items, picture(50, 50, "other")))
        desk.bench.choose("other")
        assert desk.viewer.snapshot.grid is None
        assert desk.viewer.image.card.content.title == ""

    def test_renaming_keeps_zoom_and_map(self, desk: Desk) -> None:
        desk.show(picture())
        desk.viewer.image.zoom_by(2)
        zoom = desk.viewer.image.zoom
        desk.bench.rename("picture", "Another name")
        assert desk.viewer.image.zoom == zoom
        assert desk.viewer.snapshot.grid is not None

    def test_controls_change_the_session_and_follow_it(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        shown = desk.viewer.image.grab().toImage()
        qtbot.mouseClick(desk.viewer.controls.show_map, Qt.MouseButton.LeftButton)
        assert not desk.state.view.show_map
        assert desk.viewer.image.grab().toImage() != shown
        desk.state.update_view(opacity=0.3)
        assert desk.viewer.controls.percent.text() == "30 %"

    def test_signed_maps_get_a_diverging_scale(self, desk: Desk) -> None:
        item = picture()
        desk.show(item)
        values = np.zeros((4, 4, 4), np.float32)
        values[:, 0, 0], values[:, 3, 3] = -1, 1
        desk.state.set_maps(replace(image_maps(item, values), signed=True))
        shot = desk.viewer.image.grab().toImage()
        image = desk.viewer.image
        against = shot.pixelColor(image.to_view(QRectF(10, 10, 0, 0)).topLeft().toPoint())
        speaking_for = shot.pixelColor(image.to_view(QRectF(150, 110, 0, 0)).topLeft().toPoint())
        assert against.blue() > against.red()
        assert speaking_for.red() > speaking_for.blue()

    def test_failed_maps_are_said_while_the_picture_stays(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        qtbot.waitUntil(lambda: desk.jobs.count(EstimateMaps) > 0)
        estimated = desk.jobs.last(EstimateMaps)
        estimated.done((MapEstimate(estimated.request.specs[0], 1, 0, 0.1),))
        assert desk.jobs.count(Explain) == 1
        report = ErrorReport("UnsupportedError", "Tiny CoCa has no rollout; choose raw attention.")
        desk.jobs.last(Explain).failed(report)
        assert desk.viewer.note.isVisible()
        assert report.message in desk.viewer.note.text.text()
        assert desk.viewer.image.isVisible()
        asked = desk.jobs.count(Explain)
        qtbot.mouseClick(desk.viewer.note.retry, Qt.MouseButton.LeftButton)
        assert desk.jobs.count(Explain) == asked + 1

    def test_choosers_offer_the_model_and_set_the_spec(self, desk: Desk) -> None:
        desk.show(picture())
        chooser = desk.tokens.chooser
        assert [chooser.method.itemData(i) for i in range(2)] == ["attention", "rollout"]
        assert chooser.layer.currentText() == "layer: auto (3)"
        chooser.layer.setCurrentIndex(1)
        chooser.layer.activated.emit(1)
        assert desk.state.spec == MapSpec("attention", None, 0, "mean")

    def test_a_caption_made_anew_can_be_cancelled_with_the_old_in_sight(
        self, desk: Desk, qtbot: QtBot
    ) -> None:
        desk.show(picture())
        desk.bench.generate()
        qtbot.waitUntil(desk.tokens.note.isVisible)
        assert desk.tokens.strip.isVisible()
        qtbot.mouseClick(desk.tokens.note.cancel, Qt.MouseButton.LeftButton)
        assert desk.jobs.last(Generate).cancelled
        assert not desk.tokens.note.isVisible()
        assert desk.tokens.chooser.isVisible()
        desk.bench.generate()
        desk.jobs.last(Generate).failed(ErrorReport("DeviceError", "The GPU is out of memory."))
        assert "out of memory" in desk.tokens.note.text.text()

    def test_streaming_shows_tokens_before_the_end(self, desk: Desk) -> None:
        item = picture()
        desk.show(item)
        desk.state.set_tokens((1,))
        longer = replace(sequence(item, ("a", "red", "bicycle", "<end>", "more")), finished=False)
        desk.state.set_sequence(longer)
        assert len(desk.tokens.strip.chips) == 5
        assert desk.tokens.strip.picked == (1,)


class TestSound:
    def test_spectrogram_map_and_positions(self, desk: Desk, qtbot: QtBot) -> None:
        item = tone()
        desk.show(item)
        spectrogram = log_mel(item.media.samples)
        data = SpectrogramData(spectrogram.values, spectrogram.hop, spectrogram.centres)
        desk.jobs.last(Spectrogram).done(data)
        sound = desk.viewer.sound
        assert sound.isVisible()
        assert desk.tokens.heading.text() == "Transcript"
        y = sound.lanes()[1].center().y()
        qtbot.mouseMove(sound, QPoint(round(sound.x_of(0.75)), round(y)))
        assert desk.state.hovered_cell == (7,)
        assert "dB" in sound.readout()

    def test_a_spectrogram_of_a_former_item_is_dropped(self, desk: Desk) -> None:
        desk.show(tone())
        stale = desk.jobs.last(Spectrogram)
        desk.show(picture())
        before = desk.viewer.sound.grab().toImage()
        stale.done(SpectrogramData(np.zeros((80, 200), np.float32), 0.01, np.linspace(50, 8000, 80)))
        assert desk.viewer.sound.grab().toImage() == before

    def test_a_missing_device_is_said_in_place(self, desk: Desk) -> None:
        desk.show(tone())
        desk.viewer.player.failed.emit("There is no audio device to play through.")
        assert "no audio device" in desk.viewer.sound.note

    def test_leaving_the_sound_stops_it(self, desk: Desk) -> None:
        desk.show(tone())
        desk.show(picture())
        assert not desk.viewer.player.playing
        assert desk.viewer.player.duration == 0


class TestHeads:
    def test_it_asks_while_seen_and_shows_what_comes(self, desk: Desk, qtbot: QtBot) -> None:
        item = picture()
        desk.show(item)
        qtbot.waitUntil(lambda: desk.jobs.count(ExploreHeads) == 1)
        desk.jobs.last(ExploreHeads).done(head_maps(item))
        assert len(desk.heads.grid.cells) == 12
        assert desk.heads.subject.text == "decoder cross-attention · “bicycle”"
        desk.heads.hide()
        desk.state.set_tokens((1,))
        qtbot.wait(150)
        assert desk.jobs.count(ExploreHeads) == 1
        desk.heads.show()
        qtbot.waitUntil(lambda: desk.jobs.count(ExploreHeads) == 2)

    def test_a_click_picks_layer_and_head_and_again_the_mean(self, desk: Desk, qtbot: QtBot) -> None:
        item = picture()
        desk.show(item)
        desk.state.set_heads(head_maps(item))
        grid = desk.heads.grid
        place = grid.cell_rect((1, 2)).center().toPoint()
        qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert desk.state.spec == MapSpec("attention", "decoder.cross", 1, 2)
        assert desk.tokens.chooser.head.currentText() == "head 3 of 3"
        qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert desk.state.spec.head == "mean"

    def test_failure_is_said_with_a_way_on(self, desk: Desk, qtbot: QtBot) -> None:
        desk.show(picture())
        qtbot.waitUntil(lambda: desk.jobs.count(ExploreHeads) == 1)
        report = ErrorReport("UnsupportedError", "Tiny CoCa has no heads to show.")
        desk.jobs.last(ExploreHeads).failed(report)
        assert desk.heads.stack.message == report.message


def test_a_text_is_shown_as_text(desk: Desk) -> None:
    media = Media("t", Modality.TEXT, "note.txt", text="<b>plain</b>")
    desk.state.set_items([LibraryItem(media, "note.txt")])
    desk.bench.choose("t")
    assert desk.viewer.text.isVisible()
    assert desk.viewer.text.toPlainText() == "<b>plain</b>"
    assert not desk.viewer.controls.isVisible()
    assert "This is a text" in desk.tokens.stack.message


def test_released_panels_let_the_session_go(qtbot: QtBot) -> None:
    bench = Workbench(HandJobs())  # type: ignore[arg-type]
    panel = ViewerPanel(bench)
    qtbot.addWidget(panel)
    panel.release()
    bench.state.set_items([picture()])
    bench.choose("picture")
    assert panel.snapshot.modality is None
    bench.release()
