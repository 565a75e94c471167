"""From an item of a collection to what a model takes, in any process. No torch unless the model needs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError, MMViewerError
from mmviewer.core.media.open import open_media
from mmviewer.core.media.text import text_media
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.space.collection.thumbnails import picture_of
from mmviewer.core.types import Media, Modality


@dataclass(frozen=True, slots=True)
class Job:
    """An item to decode; `text` is that of an item that came as text, else it lies at `path`."""

    row: int
    name: str
    path: str | None
    text: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded item.

    Parameters
    ----------
    row : int
    content_hash : str
        Of the decoded content, as `Media.id`.
    kind : Modality
    item : Ready, Media or None
        What the model takes: prepared, or as it was decoded where only the model can prepare it; texts always
        as they are. None where the model takes no such items.
    thumbnail : uint8 array [h, w, 3] or None
        Of pictures, and the waveform of sounds.
    refusal : str
        Why this model does not take it, though others may; else empty.
    """

    row: int
    content_hash: str
    kind: Modality
    item: Ready | Media | None
    thumbnail: NDArray[np.uint8] | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that cannot be read, and why, in a sentence."""

    row: int
    reason: str


Outcome = Decoded | Refused


@dataclass(frozen=True, slots=True)
class Decoding:
    """How items are decoded for one model; travels to worker processes.

    Parameters
    ----------
    kinds : frozenset of Modality
        What the model takes; of others only hash and thumbnail are made.
    preparation : Preparation, optional
        The model's, where another process can do it.
    """

    kinds: frozenset[Modality]
    preparation: Preparation | None = None

    def __call__(self, job: Job) -> Outcome:
        """Decode an item; whatever is wrong with it ends as a sentence."""
        try:
            return self._decoded(job)
        except MMViewerError as error:
            return Refused(job.row, error.message)
        except MemoryError:
            return Refused(job.row, f"{job.name} needs more memory than is free; reduce it, or add memory.")
        except Exception as error:  # noqa: BLE001 - hostile files break decoders in any way; the run goes on
            kind = type(error).__name__
            return Refused(job.row, f"{job.name} cannot be decoded ({kind}); export it again.")

    def _decoded(self, job: Job) -> Decoded:
        if job.text is not None:
            media = text_media(job.text, job.name)
        elif job.path is not None:
            media = open_media(job.path, job.name)
        else:
            raise InputError(f"{job.name} has neither a file nor a text: only its vector is known.")
        item, refusal = self._prepared(media)
        return Decoded(job.row, media.id, media.modality, item, picture_of(media), refusal)

    def _prepared(self, media: Media) -> tuple[Ready | Media | None, str]:
        if media.modality not in self.kinds:
            return None, ""
        if media.modality is Modality.TEXT or self.preparation is None:
            return media, ""
        try:
            return self.preparation(media), ""
        except MMViewerError as error:
            return None, error.message
