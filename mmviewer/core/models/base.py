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
from mmviewer.core.grounding import GroundedPhrase
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.models.stages import Stage
from mmviewer.core.models.tower import Tower
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
    Shot,
    TokenSpan,
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model runs, and why there: `reason` is shown in the status bar.

    `room` is how many bytes of weights the device may hold, None for all: the other layers wait in the
    machine's memory (those of a CPU on the disk) and come when they are run. Only families whose `spreads`
    is true can do it. `bits` is 8 or 4 where the weights of a language model are kept in so few, and come to
    `dtype` when they are used; 0 where they are kept in `dtype`. Only families whose `quantises` is true can.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str
    room: int | None = None
    bits: int = 0

    @property
    def format(self) -> str:
        """Number format of the weights, as it is chosen by name."""
        return f"int{self.bits}" if self.bits else str(self.dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Prepared:
    """An item as the model takes it: batch of one, on the model's device and dtype, with its geometry.

    Keep it as long as the item is in use: a model may remember what it computed for it and forgets that with
    it. `shots` are the examples that stand before it, see `LoadedModel.with_examples`; `origin` says where
    what the model reads comes from, where that is not simply the item, and is told with every map.
    """

    media_id: str
    modality: Modality
    inputs: Mapping[str, Tensor]
    geometry: Geometry
    shots: tuple[Shot, ...] = ()
    origin: str = ""


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
    reads_picture_tokens: bool = False
    """Whether `sequence_logits` has a row for every token of the picture too."""
    text_first: bool = False
    """Whether in the attention over picture and text the rows of the text come before the picture's."""
    recurrent: bool = False
    """Whether a recurrent network writes the text: words meet in its memory and not by attention, and its
    attention to the input is no product of queries and keys."""

    # --- input ---------------------------------------------------------------------------------
    @abstractmethod
    def prepare(self, media: Media) -> Prepared:
        """Preprocess an image or a sound exactly as the model was trained, keeping the geometry."""

    def with_examples(
        self, prepared: Prepared, shots: Sequence[Shot], pictures: Sequence[Prepared | None]
    ) -> Prepared:
        """The same item with examples before it; `pictures` are those of `shots`, None for text alone."""
        raise self._lacks(Capability.EXAMPLES)

    def preparation(self) -> Preparation | None:
        """`prepare` in a form that travels to another process; None where only the model itself can do it."""
        return None

    def receive(self, batch: Sequence[Ready]) -> list[Prepared]:
        """Complete items that a `preparation` has prepared: what `prepare` would have given."""
        device, dtype = self.placement.device, self.placement.dtype
        return [
            Prepared(
                ready.media_id,
                ready.modality,
                {name: torch.from_numpy(array).to(device, dtype) for name, array in ready.arrays.items()},
                ready.geometry,
            )
            for ready in batch
        ]

    @abstractmethod
    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Split `text` into the model's tokens without special ones; character spans refer to `text`."""

    def side(self, modality: Modality) -> LoadedModel:
        """The model as it stands to inputs of one kind: with the capture points on their way only.

        A model with an encoder for each kind returns a view of itself; the default is the model itself.
        """
        return self

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

    def match(self, prepared: Prepared, texts: Sequence[str]) -> Tensor:
        """Probability [M] that each text fits the image, judged pair by pair."""
        raise self._lacks(Capability.MATCH)

    # --- sequences -------------------------------------------------------------------------------
    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """Ids from which `decoder` makes the model write on from a typed beginning."""
        return tuple(token.id for token in self.tokenize(text))

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """Ids by which `decoder` puts a question, after earlier questions with their answers.

        None where it is put in the form of ``info.about.questions``, which has no place for a history.
        """
        return None

    def answer_forms(self, answer: str) -> tuple[tuple[int, ...], ...]:
        """Ids by which the decoder may write `answer`: with and without a blank before it, where they differ.

        Raises `InputError` where the model never writes it.
        """
        forms = (tuple(token.id for token in self.tokenize(text)) for text in (answer, f" {answer}"))
        return tuple(dict.fromkeys(form for form in forms if form))

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a generation for a prepared item (no gradients), which goes on from the ids of `prompt`.

        `InputError` where the prompt leaves no room; `UnsupportedError` where the model takes none.
        """
        raise self._lacks(Capability.CAPTION)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One teacher-forced forward: logits [T, V] where row j predicts the token after ``ids[j]``."""
        raise self._lacks(Capability.CAPTION)

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """`sequence_logits` [B, T, V] of the same ids for several inputs; families may do them at once."""
        return torch.stack([self.sequence_logits(prepared, ids) for prepared in batch])

    def before_vocabulary(self) -> nn.Module | None:
        """The module whose output [B, T, W] the logits are made of, row by row; None where there is none.

        What follows it treats every token by itself, so that gradients of many tokens can share it.
        """
        return None

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of generated ids, and a span for each id in that text, special ones marked."""
        raise self._lacks(Capability.CAPTION)

    def phrases(
        self, text: str, tokens: Sequence[TokenSpan], geometry: Geometry
    ) -> tuple[GroundedPhrase, ...]:
        """Phrases of a generated text that the model itself ties to places; none for most models."""
        return ()

    # --- capture -----------------------------------------------------------------------------------
    def stages(self) -> tuple[Stage, ...]:
        """Feature maps of a convolutional encoder, fine to coarse; empty for others.

        They are the layers of the place in ``info.features``.
        """
        return ()

    def stage_moments(self, stage: Stage, prepared: Prepared) -> Tensor:
        """How much each cell of a stage tells of each moment of a sound [cells, P]; columns sum to one."""
        raise UnsupportedError(f"The stages of {self.info.label} do not lie in time; choose another method.")

    def tower(self) -> Tower | None:
        """The encoder layer by layer, for methods that look inside; None where it is no stack of layers."""
        return None

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
    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Carry captured weights to input positions.

        Parameters
        ----------
        point : CapturePoint
            A point whose keys are, or lead to, patches or frames.
        captured : mapping
            Point name to weights of each captured layer, each [B, H, Q, K].
        prepared : Prepared, optional
            The item they were captured with; needed where the layout of positions differs from item to item.

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
    special: bool = False
    """Knows a special kind of what another family also recognises, so it is asked first."""
    spreads: bool = False
    """Can keep some layers off the device; see `Placement.room`."""
    quantises: bool = False
    """Can keep weights in 8 or 4 bits; see `Placement.bits`."""

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
