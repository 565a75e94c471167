"""Sounds with a model that embeds them: words in time, labels, the plane, with a speech model or without."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication
from pytestqt.qtbot import QtBot

from mmviewer import paths
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, Modality, ModelInfo
from mmviewer.gui.panels.tokens import _invitation
from mmviewer.gui.workbench import Workbench

PATIENCE = 60_000


@pytest.fixture
def hearing(bench: Workbench, starter: ModelInfo) -> Workbench:
    """The workbench with a model of images, texts and sounds."""
    if not starter.can(Capability.EMBED_AUDIO):
        pytest.skip("the starter of this checkout has no sound tower")
    bench.state.set_model(starter)
    return bench


def open_sound(bench: Workbench, qtbot: QtBot) -> LibraryItem:
    before = len(bench.state.items)
    bench.open_paths([paths.samples() / "please-open.wav"])
    qtbot.waitUntil(lambda: len(bench.state.items) > before, timeout=PATIENCE)
    item = next(item for item in bench.state.items if item.media.modality is Modality.AUDIO)
    bench.choose(item.id)
    return item


def ask(bench: Workbench, qtbot: QtBot, words: str) -> None:
    bench.query(words)
    qtbot.waitUntil(
        lambda: bench.state.maps is not None and [t.text for t in bench.state.maps.tokens] == words.split(),
        timeout=PATIENCE,
    )


def test_a_word_is_found_in_a_sound_without_a_speech_model(hearing: Workbench, qtbot: QtBot):
    item = open_sound(hearing, qtbot)
    ask(hearing, qtbot, "a kitchen")
    maps = hearing.state.maps
    assert hearing.state.sequence.kind == "query"
    assert maps.values.shape == (2, maps.geometry.positions)
    assert maps.spec.point == "sound.self"
    assert maps.geometry.duration == pytest.approx(item.media.duration, abs=1e-3)
    hearing.refresh_heads()
    qtbot.waitUntil(lambda: hearing.state.heads is not None, timeout=PATIENCE)
    assert hearing.state.heads.point.name == "sound.self"


def test_only_places_and_methods_for_sounds_are_offered(hearing: Workbench, qtbot: QtBot, starter: ModelInfo):
    item = open_sound(hearing, qtbot)
    model = hearing.model_for(item)
    assert {point.modality for point in model.points} <= {None, Modality.AUDIO}
    assert model.methods == starter.sound_methods
    assert not model.can(Capability.CAPTION)
    text, _, _ = _invitation(item, model)
    assert "Type a word" in text


def test_an_image_is_looked_at_as_before(hearing: Workbench, qtbot: QtBot, starter: ModelInfo):
    hearing.open_paths([paths.samples() / "scene-cat-dog.png"])
    qtbot.waitUntil(lambda: hearing.state.current is not None, timeout=PATIENCE)
    model = hearing.model_for(hearing.state.current)
    assert all(point.modality is not Modality.AUDIO for point in model.points)
    assert model.methods == starter.methods
    assert model.id == starter.id


def test_a_query_beside_a_transcript_and_back(hearing: Workbench, qtbot: QtBot, speech: ModelInfo):
    hearing.state.set_speech_model(speech)
    item = open_sound(hearing, qtbot)
    qtbot.waitUntil(
        lambda: hearing.state.sequence is not None and hearing.state.sequence.finished, timeout=PATIENCE
    )
    assert hearing.model_for(item).id == speech.id
    ask(hearing, qtbot, "kitchen")
    assert hearing.state.sequence.model_id == hearing.state.model.id
    assert hearing.model_for(item).id == hearing.state.model.id
    hearing.query("")
    qtbot.waitUntil(lambda: hearing.state.sequence.kind == "transcript", timeout=PATIENCE)
    assert hearing.model_for(item).id == speech.id
    qtbot.waitUntil(
        lambda: hearing.state.maps is not None and hearing.state.maps.model_id == speech.id, timeout=PATIENCE
    )


def test_sounds_get_labels_and_a_place_beside_images_and_texts(hearing: Workbench, qtbot: QtBot):
    hearing.state.set_labels(("dog", "light bulb", "owl"), ("a {}",))
    item = open_sound(hearing, qtbot)
    qtbot.waitUntil(
        lambda: hearing.state.scores is not None and item.id in hearing.state.scores.items, timeout=PATIENCE
    )
    hearing.open_paths([paths.samples() / "scene-cat-dog.png"])
    qtbot.waitUntil(lambda: len(hearing.state.items) == 2, timeout=PATIENCE)
    hearing.project("pca")
    qtbot.waitUntil(
        lambda: hearing.state.embeddings is not None and len(hearing.state.embeddings.items) == 2,
        timeout=PATIENCE,
    )
    assert set(hearing.state.embeddings.modalities) == {Modality.AUDIO, Modality.IMAGE}


def test_a_model_that_does_not_hear_says_so(
    bench: Workbench, qtbot: QtBot, tmp_path: Path, starter: ModelInfo
):
    deaf = starter.side(Modality.IMAGE)
    bench.state.set_model(deaf)
    open_sound(bench, qtbot)
    notices: list[str] = []
    bench.notice.connect(lambda text, _kind: notices.append(text))
    bench.query("kitchen")
    QCoreApplication.processEvents()
    assert any("does not compare sounds with words" in notice for notice in notices)
    assert bench.state.sequence is None
