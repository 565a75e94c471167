"""What a model family is: the one interface through which everything above reaches a model.

A family is one file in this folder. It registers a `Family` in `FAMILIES`; the family says which sources it
recognises, loads a `LoadedModel`, and builds a tiny random one for the contract test. Methods and tasks ask
a `LoadedModel` for its capabilities and capture points, never for its class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.registry import Registry
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    Geometry,
    Media,
    Modality,
    ModelInfo,
    PointRole,
    TokenSpan,
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model runs, and why there: `reason` is shown in the status bar."""

    device: torch.device
    dtype: torch.dtype
    reason: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Prepared:
    """An item as the model takes it: batch of one, on the model's device and dtype, with its geometry.

    Keep it as long as the item is in use: a model may remember what it computed for it and forgets that with
    it.
    """

    media_id: str
    modality: Modality
    inputs: Mapping[str, Tensor]
    geometry: Geometry


class Decoder(ABC):
    """One running generation: feeds tokens, yields logits of the next one. Made by `LoadedModel.decoder`.

    Attributes
    ----------
    prompt : tuple of int
        Ids fed before the first generated token.
    stop : frozenset of int
        Ids that end a text (one window of a sound).
    room : int
        Tokens that may be generated, the one that ends the text included.
    windows : int
        Windows into which a long sound is cut; its tokens follow one another, each window ended by a stop id.
    """

    prompt: tuple[int, ...]
    stop: frozenset[int]
    room: int
    windows: int = 1

    @abstractmethod
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the token after `prompt + ids`; `ids` only ever grows by one."""

    def suppressed(self, ids: Sequence[int]) -> Sequence[int]:
        """Ids that the model's own settings forbid after `ids`."""
        return ()

    def finished(self, ids: Sequence[int]) -> bool:
        """Whether the text is complete with the last of `ids`."""
        return sum(token in self.stop for token in ids) >= self.windows


class LoadedModel(ABC):
    """A model on a device. Subclasses raise `UnsupportedError` for what they lack (the default here)."""

    info: ModelInfo
    module: nn.Module
    placement: Placement

    # --- input ---------------------------------------------------------------------------------
    @abstractmethod
    def prepare(self, media: Media) -> Prepared:
        """Preprocess an image or a sound exactly as the model was trained, keeping the geometry."""

    @abstractmethod
    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Split `text` into the model's tokens without special ones; character spans refer to `text`."""

    # --- embeddings: L2-normalised float32 on the model's device, differentiable when grad is on ------
    def image_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of images."""
        raise self._lacks(Capability.EMBED_IMAGE)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts."""
        raise self._lacks(Capability.EMBED_TEXT)

    def audio_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of sounds."""
        raise self._lacks(Capability.EMBED_AUDIO)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Turn cosine similarities [N, M] into logits; also name the activation, "softmax" or "sigmoid"."""
        raise self._lacks(Capability.EMBED_TEXT)

    # --- sequences -------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared) -> Decoder:
        """Start a generation for a prepared item (no gradients)."""
        raise self._lacks(Capability.CAPTION)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One teacher-forced forward: logits [T, V] where row j predicts the token after ``ids[j]``."""
        raise self._lacks(Capability.CAPTION)

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of generated ids, and a span for each id in that text, special ones marked."""
        raise self._lacks(Capability.CAPTION)

    # --- capture -----------------------------------------------------------------------------------
    def point(self, role: PointRole) -> CapturePoint | None:
        """The first capture point with `role`, or None."""
        return next((point for point in self.info.points if point.role is role), None)

    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """Points that `position_weights` must see to carry `point` to input positions (itself included)."""
        return (point,)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """Query rows of `point` whose outputs become the embedding of the input; all where none is special.

        The first of a pooler's queries; other poolings are the family's to say.
        """
        return slice(0, 1) if point.role is PointRole.POOL else slice(None)

    @abstractmethod
    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns (Q, K) that `point` has at most, for one item and a text of `tokens` tokens."""

    @abstractmethod
    def position_weights(self, point: CapturePoint, captured: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """Carry captured weights to input positions.

        Parameters
        ----------
        point : CapturePoint
            A point whose keys are, or lead to, patches or frames.
        captured : mapping
            Point name to weights of each captured layer, each [B, H, Q, K].

        Returns
        -------
        Tensor [L, H, Q, P]
            Weight of each of the P grid positions (class token dropped, pooler composed); differentiable.
        """

    def _lacks(self, capability: Capability) -> UnsupportedError:
        return UnsupportedError(f"{self.info.label} cannot {capability.value}; load a model that can.")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What the user named: a folder, a file, a hub id or a built-in name, resolved as far as is cheap.

    `spec` is as typed ("starter", "ViT-B-32/laion2b_s34b_b79k", "hf-hub:...", a path).
    """

    spec: str
    revision: str = ""


class Family(ABC):
    """A kind of models that load and behave alike."""

    key: str
    label: str

    @abstractmethod
    def recognises(self, source: ModelSource) -> bool:
        """Whether this family can load `source`; cheap, no network, opens no weights."""

    @abstractmethod
    def load(self, source: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Load weights and freeze them; raises `ModelError` or `DeviceError` with a remedy."""

    @abstractmethod
    def tiny(self, variant: str = "") -> LoadedModel:
        """A tiny randomly initialised model on the CPU, for tests; no download."""

    def tiny_variants(self) -> tuple[str, ...]:
        """Names that `tiny` accepts; the contract test runs each."""
        return ("",)


FAMILIES: Registry[Family] = Registry("model family", "mmviewer.core.models.families")
