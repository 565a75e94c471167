"""The recipe's sounds: what is said, how it is heard, and that the tower learns from it."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from mmviewer.core.models.sound.features import RATE, spectrogram
from mmviewer.core.models.sound.tower import SoundConfig, SoundTower

pytest.importorskip("cv2")
from recipe import sound_clips, sound_effects, sound_rooms, sound_texts
from recipe.sound_batches import SoundBatch, SoundStream
from recipe.sound_clips import Clip, Clips
from recipe.sound_ears import take_over
from recipe.sound_metrics import _sentence
from recipe.sound_replay import Replay, listen
from recipe.sound_sources import SOUND_SOURCES
from recipe.sound_tower import load_tower, save_tower
from recipe.voices import VOICES, resampled, trimmed, voices

LABELS = ("dog", "cat", "scissors", "owl")


def tone(pitch: float, seconds: float = 0.4) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return sound_clips.as_int16((0.5 * np.sin(2 * np.pi * pitch * times)).astype(np.float32))


@pytest.fixture
def clips() -> Clips:
    """Each label is a tone of its own; one sentence names two."""
    said = [Clip(label, (label,), "kokoro:x", "train") for label in LABELS]
    samples = [tone(300 * (place + 1)) for place in range(len(LABELS))]
    said.append(Clip("a dog and a cat", ("dog", "cat"), "flite:y", "train"))
    return Clips(tuple(said), (*samples, tone(200, 1.1)))


@pytest.fixture
def tower() -> SoundTower:
    torch.manual_seed(0)
    return SoundTower(SoundConfig(16, 32, 1, 4, width=32, layers=1, heads=4, reach=5)).eval()


# --- what is said -------------------------------------------------------------------------------------
def test_sentences_name_what_they_say():
    generator = np.random.default_rng(0)
    for _ in range(200):
        for said in (
            sound_texts.name("owl", generator),
            sound_texts.phrase("scissors", generator),
            sound_texts.phrase("dog", generator),
            sound_texts.any_pair(LABELS, generator),
        ):
            places = [said.text.find(noun[:-1]) for noun in said.nouns]
            assert -1 not in places
            assert places == sorted(places)
    assert "a scissors" not in {sound_texts.phrase("scissors", generator).text for _ in range(100)}


def test_voices_that_are_measured_on_are_not_trained_on():
    trained = {voice.key for voice in VOICES if voice.use == "train"}
    measured = {voice.key for voice in VOICES if voice.use == "test"}
    assert not trained & measured
    assert not voices("piper", "train")
    variants = {voice.name.split("+")[1] for voice in voices("espeak", "test")}
    assert not variants & {voice.name.split("+")[1] for voice in voices("espeak", "train")}


def test_share_alike_and_gpl_sounds_are_only_measured_on():
    for source in SOUND_SOURCES:
        content = source.name not in ("espeak",)  # the licence of a program, not of what it says
        if content and ("GPL" in source.licence or "SA" in source.licence):
            assert source.use == "test"


def test_ends_are_cut_and_rates_are_changed():
    samples = np.concatenate([np.zeros(4000), tone(440) / 32768, np.zeros(9000)]).astype(np.float32)
    assert len(trimmed(samples)) == pytest.approx(len(tone(440)) + 800, abs=50)
    assert np.abs(trimmed(samples)).max() == pytest.approx(0.7, abs=1e-4)
    assert len(trimmed(np.zeros(100, np.float32))) == 0
    times = np.arange(24_000) / 24_000
    at_16k = resampled(np.sin(2 * np.pi * 500 * times).astype(np.float32), 24_000)
    assert len(at_16k) == pytest.approx(16_000, abs=40)
    spectrum = np.abs(np.fft.rfft(at_16k[:16_000]))
    assert int(spectrum.argmax()) == pytest.approx(500, abs=2)


def test_midi_phrases_stay_in_their_slots():
    events = sound_effects._phrases("trumpet", 20, np.random.default_rng(0))
    slot = sound_effects._SLOT * sound_effects._TICKS
    started = [moment // slot for moment, message in events if message[0] & 0xF0 == 0x90]
    ended = [moment // slot for moment, message in events if message[0] & 0xF0 == 0x80]
    assert sorted(started) == sorted(ended)
    assert set(started) == set(range(20))
    midi = sound_effects._midi(events)
    assert midi[:4] == b"MThd"
    assert int.from_bytes(midi[18:22], "big") == len(midi) - 22
    assert sound_effects._varying(0x3FFF) == b"\xff\x7f"
    assert sound_effects._varying(0x80) == b"\x81\x00"


def test_recordings_are_found_by_name(tmp_path):
    folder = tmp_path / "game" / "sfx"
    folder.mkdir(parents=True)
    with wave.open(str(folder / "moo.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(tone(200).tobytes())
    found = sound_effects.recordings("pekka", tmp_path, "train", ["cow", "dog"])
    assert [clip.nouns for clip in found.clips] == [("cow",)]
    assert not sound_effects.recordings("pekka", tmp_path, "train", ["dog"]).clips


def test_clips_come_back_as_they_were_written(tmp_path, clips):
    sound_clips.write(tmp_path / "batch.npz", clips)
    again = sound_clips.read(tmp_path, "train")
    assert again.clips == clips.clips
    for one, other in zip(again.samples, clips.samples, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [clip.voice for clip in sound_clips.read(tmp_path, "train", ["flite:"]).clips] == ["flite:y"]
    assert not sound_clips.read(tmp_path, "test").clips


# --- how it is heard ----------------------------------------------------------------------------------
def test_training_hears_what_the_app_hears():
    samples = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    mine = sound_rooms.log_mel(torch.from_numpy(samples)[None], 80)[0].numpy()
    np.testing.assert_allclose(mine, spectrogram(samples, SoundConfig()), atol=1e-5)


def test_other_throats_move_the_bands():
    samples = torch.from_numpy(tone(1500).astype(np.float32) / 32768)[None].expand(2, -1)
    low, high = sound_rooms.log_mel(samples, 80, [0, 8]).mean(-1).argmax(-1).tolist()
    assert low != high


def test_batches_say_what_is_heard_when(clips):
    stream = SoundStream(clips, LABELS, 80, 16, seed=3)
    seen = [next(stream) for _ in range(12)]
    for batch in seen:
        assert isinstance(batch, SoundBatch)
        positions = batch.mel.shape[-1] // 4
        assert batch.part_inside.shape == (len(batch.part_row), positions)
        assert bool(batch.part_inside.any(1).all())
        assert bool(torch.isfinite(batch.mel).all())
        for row, label in zip(batch.part_row.tolist(), batch.part_label.tolist(), strict=True):
            assert LABELS[label].rstrip("s") in batch.captions[row]
            if int(batch.label[row]) >= 0:
                assert int(batch.label[row]) == label
    assert len({batch.mel.shape[-1] for batch in seen}) > 1
    again = SoundStream(clips, LABELS, 80, 16, seed=3)
    assert all(torch.equal(next(again).mel, batch.mel) for batch in seen)


def test_a_named_moment_is_louder_than_the_rest(clips):
    stream = SoundStream(clips.chosen(range(4)), LABELS, 80, 16, seed=1)
    louder = []
    for _ in range(8):
        batch = next(stream)
        level = batch.mel.mean(1).reshape(len(batch.mel), -1, 4).mean(-1)  # [B, P]
        for row, inside in zip(batch.part_row.tolist(), batch.part_inside, strict=True):
            louder.append(float(level[row][inside].mean()) > float(level[row].mean()))
    assert np.mean(louder) > 0.9


def test_the_lower_part_is_whispers_own(tmp_path, tower):
    torch.manual_seed(1)
    config = WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=128,
        decoder_attention_heads=4, vocab_size=60, max_source_positions=500, num_mel_bins=80,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    whisper = WhisperModel(config).eval()
    whisper.save_pretrained(tmp_path)
    take_over(tower, tmp_path)
    mel = torch.rand(2, 80, 120) * 2 - 1
    with torch.no_grad():
        encoder = whisper.encoder
        x = torch.nn.functional.gelu(encoder.conv2(torch.nn.functional.gelu(encoder.conv1(mel))))
        x = x.transpose(1, 2) + encoder.embed_positions.weight[:60]
        out = encoder.layers[0](x, None)
        expected = out[0] if isinstance(out, tuple) else out
        torch.testing.assert_close(tower.hear(mel), expected, atol=1e-5, rtol=1e-4)


def test_what_was_heard_is_kept_and_drawn(tmp_path, clips, tower):
    stream, replay = SoundStream(clips, LABELS, 80, 8, seed=2), Replay(5, seed=0)
    for _ in range(9):
        replay.add(listen(tower, next(stream)))
    assert len(replay) == 5
    for _ in range(20):
        drawn = replay.draw(2)
        assert len(drawn.heard) == len(drawn.label) == len(drawn.captions)
        assert int(drawn.part_row.max()) < len(drawn.heard)
        assert drawn.part_inside.shape[1] == drawn.heard.shape[1] // 2
    replay.save(tmp_path / "heard.pt")
    again = Replay(5, seed=0)
    again.load(tmp_path / "heard.pt")
    assert len(again) == 5


def test_a_tower_comes_back_from_its_folder(tmp_path, tower):
    save_tower(tmp_path, tower)
    again = load_tower(tmp_path)
    assert again.config == tower.config
    assert json.loads((tmp_path / "sound_config.json").read_text())["sound_cfg"]["width"] == 32
    mel = torch.rand(1, 80, 100)
    torch.testing.assert_close(again(mel), tower(mel), atol=2e-3, rtol=0)


def test_sentences_are_put_together_with_their_times(clips):
    samples, spans = _sentence(clips, 0, 1)
    for start, stop in spans:
        inside = samples[int(start * RATE) : int(stop * RATE)]
        assert len(inside) == len(clips.samples[0])
        assert np.abs(inside).max() > 0.4
    assert np.abs(samples[: int(spans[0][0] * RATE)]).max() == 0


def test_the_upper_part_learns_and_the_lower_stays(tmp_path, clips, monkeypatch):
    """A few steps on tones, each a word: the loss falls, the frozen part is untouched."""
    import train_sound

    class Texts:
        names = LABELS
        scale = 10.0
        labels = torch.nn.functional.normalize(torch.eye(4, 16), dim=-1)

        def __init__(self, *_: object) -> None: ...

        def texts(self, texts: list[str]) -> torch.Tensor:
            rows = torch.randn(len(texts), 16, generator=torch.Generator().manual_seed(0))
            return torch.nn.functional.normalize(rows, dim=-1)

    def small(_options: object, embed_dim: int) -> SoundTower:
        torch.manual_seed(0)
        tower = SoundTower(SoundConfig(embed_dim, 32, 1, 4, width=32, layers=1, heads=4, reach=5))
        for name, parameter in tower.named_parameters():
            parameter.requires_grad_(not name.startswith(train_sound.FROZEN))
        return tower

    monkeypatch.setattr(train_sound, "Targets", Texts)
    monkeypatch.setattr(train_sound, "_tower", small)
    monkeypatch.setattr(train_sound, "LOG_EVERY", 5)
    sound_clips.write(tmp_path / "clips" / "tones.npz", clips.chosen(range(4)))
    run = train_sound.Run(
        train_sound.Options(tmp_path, tmp_path, tmp_path / "out", seconds=4, batch=16, warmup=5, rate=1e-2)
    )
    before = run.tower.conv2.weight.clone()
    run.train()
    assert run.history[-1]["parts"] < run.history[0]["parts"]
    assert torch.equal(run.tower.conv2.weight, before)
    assert (tmp_path / "out" / "sound_model.safetensors").is_file()
    assert Path(tmp_path / "out" / train_sound.REPLAY).is_file()
