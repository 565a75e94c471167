"""Items, a model and a stand-in for the engine whose answers a test gives by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, Media, Modality, ModelInfo
from mmviewer.engine.protocol import Request


@dataclass(eq=False)
class Asked:
    """A request that waits for the test's answer."""

    request: Request
    done: Callable[[Any], None]
    failed: Callable[[Any], None]
    progress: Any
    partial: Any = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class HandJobs(QObject):
    """The job facade without a process behind it."""

    status_changed = Signal(object)
    job_started = Signal(object)
    job_ended = Signal(object)
    job_progressed = Signal(object, object)
    error = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def run(
        self,
        request: Request,
        *,
        done: Any,
        failed: Any,
        progress: Any = None,
        partial: Any = None,
        **_others: Any,
    ) -> Asked:
        self.asked.append(Asked(request, done, failed, progress, partial))
        return self.asked[-1]

    def last(self, kind: type[Request]) -> Asked:
        return next(asked for asked in reversed(self.asked) if isinstance(asked.request, kind))

    def count(self, kind: type[Request]) -> int:
        return sum(isinstance(asked.request, kind) for asked in self.asked)


def image(name: str, hue: int = 0) -> LibraryItem:
    """A picture of one colour."""
    pixels = np.full((48, 64, 3), (hue, 120, 255 - hue), np.uint8)
    return LibraryItem(
        Media(name, Modality.IMAGE, f"{name}.png", f"/pictures/{name}.png", pixels), f"{name}.png"
    )


def text(words: str) -> LibraryItem:
    """A typed text."""
    return LibraryItem(Media(words, Modality.TEXT, words, text=words), words)


def sound(name: str) -> LibraryItem:
    """A second of a tone."""
    samples = np.sin(np.arange(16_000, dtype=np.float32) / 20)
    return LibraryItem(
        Media(name, Modality.AUDIO, f"{name}.wav", f"/sounds/{name}.wav", samples=samples), name
    )


def model(*capabilities: Capability, labels: tuple[str, ...] = ("rabbit", "bicycle")) -> ModelInfo:
    """What a small CLIP-like model says of itself."""
    can = capabilities or (Capability.EMBED_IMAGE, Capability.EMBED_TEXT)
    return ModelInfo(
        id="clip",
        label="small-clip",
        family="open_clip",
        source="folder",
        revision="1",
        weights_hash="abc",
        parameters=10,
        memory_bytes=10,
        device="cpu",
        dtype="float32",
        capabilities=frozenset(can),
        points=(),
        preprocessing="crop 224",
        context_length=77,
        labels=labels,
    )
