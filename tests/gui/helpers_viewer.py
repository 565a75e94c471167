"""Items, sequences and maps for the viewer's tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmviewer.core.media.geometry import ImageGeometry, ResizeMode, TimeGeometry
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    FloatArray,
    HeadMaps,
    MapKind,
    MapSpec,
    Media,
    Modality,
    ModelInfo,
    PointRole,
    TokenMaps,
    TokenSequence,
    TokenSpan,
)

CROSS = CapturePoint(
    "decoder.cross", PointRole.CROSS, "decoder cross-attention", 4, 3, "text tokens", "image patches"
)
MODEL = ModelInfo(
    id="m",
    label="Tiny CoCa",
    family="openclip",
    source="tiny",
    revision="",
    weights_hash="",
    parameters=1,
    memory_bytes=1,
    device="cpu",
    dtype="float32",
    capabilities=frozenset({Capability.CAPTION, Capability.TRANSCRIBE}),
    points=(CROSS,),
    preprocessing="squash",
    context_length=16,
    methods=("attention", "rollout"),
)
WORDS = ("a", "red", "bicycle", "<end>")


def picture(height: int = 120, width: int = 160, item_id: str = "picture") -> LibraryItem:
    """An image of one grey."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    return LibraryItem(Media(item_id, Modality.IMAGE, "grey.png", pixels=pixels), "grey.png")


def tone(seconds: float = 2.0, item_id: str = "tone") -> LibraryItem:
    """A sound that begins silent and ends with 440 Hz."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    samples = (0.5 * np.sin(2 * np.pi * 440 * time) * (time > seconds / 2)).astype(np.float32)
    return LibraryItem(Media(item_id, Modality.AUDIO, "tone.wav", samples=samples), "tone.wav")


def sequence(item: LibraryItem, words: tuple[str, ...] = WORDS) -> TokenSequence:
    """A caption or transcript of `words`; words in angle brackets are special."""
    tokens = tuple(
        TokenSpan(i, i, word, logprob=float(np.log(0.5)), special=word.startswith("<"))
        for i, word in enumerate(words)
    )
    kind = "transcript" if item.media.modality is Modality.AUDIO else "caption"
    return TokenSequence(kind, item.id, MODEL.id, " ".join(words), tokens)


def image_maps(
    item: LibraryItem,
    values: FloatArray | None = None,
    mode: ResizeMode = "squash",
    words: tuple[str, ...] = WORDS,
) -> TokenMaps:
    """Maps [T, 4, 4]; by default token t has all its weight at patch (t, 1)."""
    if values is None:
        values = np.zeros((len(words), 4, 4), np.float32)
        values[np.arange(len(words)), np.arange(len(words)) % 4, 1] = 1
    geometry = ImageGeometry.for_resize(item.media.size, (32, 32), mode, (4, 4))
    return TokenMaps(
        values=values,
        tokens=sequence(item, words).tokens,
        geometry=geometry,
        kind=MapKind.ATTENTION,
        spec=MapSpec(point=CROSS.name, layer=2),
        description="attention · decoder cross-attention · layer 3 of 4 · mean of 3 heads",
        caveat="It is attention, not attribution.",
        media_id=item.id,
        model_id=MODEL.id,
    )


def time_maps(item: LibraryItem, positions: int = 40, step: float = 0.1) -> TokenMaps:
    """Maps [T, P]; token t has all its weight at position 3 t + 1."""
    values = np.zeros((len(WORDS), positions), np.float32)
    values[np.arange(len(WORDS)), 3 * np.arange(len(WORDS)) + 1] = 1
    geometry = TimeGeometry(item.media.duration, step, positions)
    return replace(image_maps(picture()), values=values, geometry=geometry, media_id=item.id)


def head_maps(item: LibraryItem, token: int = 2) -> HeadMaps:
    """Maps of 4 layers by 3 heads; layer 1 head 2 looks at one patch only, the others everywhere."""
    values = np.full((4, 3, 4, 4), 1 / 16, np.float32)
    values[1, 2] = 0
    values[1, 2, 0, 3] = 1
    geometry = ImageGeometry.for_resize(item.media.size, (32, 32), "squash", (4, 4))
    return HeadMaps(values, CROSS, (token,), geometry, item.id, MODEL.id)
