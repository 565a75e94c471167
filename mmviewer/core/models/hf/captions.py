"""Models of transformers that write: an image encoder, and a decoder that reads its output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import recording
from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.decoding import CachedDecoder
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import not_at_input, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, Media, PointRole, TokenSpan

VISION, DECODER, CROSS = "vision.self", "decoder.self", "decoder.cross"
CAPTIONS = frozenset((Capability.CAPTION,))


class Captioner(HfModel):
    """An encoder-decoder that captions images.

    Parameters
    ----------
    family, module, codec, placement, identity, capabilities, points
        As in `HfModel`.
    pixels : Pixels
    begin, end : int
        Ids of the tokens that begin and end a text.
    """

    prefix = 1
    """Keys of the image encoder before its patches."""

    def __init__(
        self,
        family: str,
        module: nn.Module,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
        *,
        points: tuple[CapturePoint, ...],
        begin: int,
        end: int,
        capabilities: Set[Capability] = CAPTIONS,
    ) -> None:
        super().__init__(
            family,
            module,
            codec,
            placement,
            identity,
            capabilities=capabilities,
            points=points,
            preprocessing=pixels.describe(),
        )
        self._pixels = pixels
        self._begin, self._end = begin, end
        self._kept: WeakKeyDictionary[Prepared, Tensor] = WeakKeyDictionary()

    # --- what a subclass gives -----------------------------------------------------------------
    @property
    @abstractmethod
    def encoders(self) -> tuple[nn.Module, ...]:
        """The modules whose output is kept for an item."""

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """What the decoder reads [N, K, W] of pixels [N, 3, H, W]."""

    @abstractmethod
    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """Logits [N, n, V] after each of ids [N, n], and the cache where it is to be kept."""

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and normalise an image as the model was trained."""
        return self.prepared_image(media, self._pixels)

    # --- captions --------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption, or one that goes on from `prompt`; the image is encoded once."""
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            encoded = self.encoded([prepared])

        def step(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
            return self.read(ids.to(self.placement.device), encoded, cache, keep=True)

        return CachedDecoder(
            step, (self._begin, *prompt), frozenset((self._end,)), self._codec.context_length
        )

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One forward over a whole caption: logits [T, V], row j predicts the token after ``ids[j]``."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several images in one forward: logits [B, T, V]."""
        self.check_room(ids)
        text = torch.tensor([list(ids)] * len(batch), device=self.placement.device)
        with memory_errors(self.placement.device, "Reading the caption"):
            return self.read(text, self.encoded(batch), keep=False)[0].float()

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Caption text of ids and what each covers of it."""
        return self._codec.join(ids)

    def check_room(self, ids: Sequence[int]) -> None:
        """Raise `InputError` for a text that is longer than the decoder reads."""
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The text has {len(ids)} tokens, but {self.info.label} takes {self.info.context_length}; "
                "shorten it."
            )

    def encoded(self, batch: Sequence[Prepared]) -> Tensor:
        """Output of the image encoder [N, K, W], kept as long as an item lives.

        Where the encoder is recorded or differentiated it runs again and nothing is kept.
        """
        watched = any(recording(module) for module in self.encoders)
        fresh = watched or any(item.inputs["pixels"].requires_grad for item in batch)
        missing = [item for item in batch if fresh or item not in self._kept]
        if missing:
            pixels = torch.cat([item.inputs["pixels"] for item in missing])
            with torch.set_grad_enabled(fresh and torch.is_grad_enabled()):
                encoded = self.encode(pixels)
            if fresh:
                return encoded
            for item, output in zip(missing, encoded, strict=True):
                self._kept[item] = output
        return torch.stack([self._kept[item] for item in batch])

    # --- capture -----------------------------------------------------------------------------------
    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches, the class token's column left out."""
        if point.role is PointRole.DECODER_SELF:
            raise not_at_input(point)
        return stacked(captured, point.name)[..., self.prefix :]

    def embedding_rows(self, point: CapturePoint) -> slice:
        """Rows of the class token in the image encoder."""
        if point.role is PointRole.ENCODER_SELF and self.prefix:
            return slice(0, 1)
        return super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most for a text of `tokens` tokens."""
        rows, columns = self._pixels.grid
        keys = self.prefix + rows * columns
        return {
            PointRole.ENCODER_SELF: (keys, keys),
            PointRole.DECODER_SELF: (tokens, tokens),
            PointRole.CROSS: (tokens, keys),
        }[point.role]
