"""GIT: image and text are one sequence, in which the text reads the patches before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.hf.captions import CAPTIONS, VISION, Captioner
from mmviewer.core.models.hf.decoding import CachedDecoder
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, PointRole

JOINT = "decoder.joint"


class GitCaptioner(Captioner):
    """GIT.

    In front of its prompt stands a padding id for every position of the image, so that ids, logits and rows
    of the attention have the same places; they are no tokens that the model reads.
    """

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        rows, columns = pixels.grid
        self._image = (int(module.config.pad_token_id or 0),) * (1 + rows * columns)
        super().__init__(
            family,
            module,
            pixels,
            codec,
            placement,
            identity,
            points=find_points(module),
            begin=int(module.config.bos_token_id),
            end=int(module.config.eos_token_id),
            capabilities=CAPTIONS | {Capability.ANSWER} if identity.about.questions else CAPTIONS,
        )

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder alone."""
        return (self._model.git.image_encoder,)

    def encode(self, pixels: Tensor) -> Tensor:
        """The pixels: the model itself puts image and text together."""
        return pixels

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """A question is the beginning of a text that its answer ends."""
        return tuple(self._codec.ids(question))

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption, or one that goes on from `prompt`."""
        pixels = prepared.inputs["pixels"]

        def step(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
            return self.read(ids.to(self.placement.device), pixels, cache, keep=True)

        whole = (*self._image, self._begin, *prompt)
        context = len(self._image) + self._codec.context_length
        return CachedDecoder(step, whole, frozenset((self._end,)), context)

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward; the image is read with the first ids."""
        if cache is None:
            own = {"input_ids": ids[:, len(self._image) :], "pixel_values": encoded}
        else:  # the model itself would count the image among the places of words
            own = {
                "input_ids": ids,
                "position_ids": torch.tensor([[cache.get_seq_length() - len(self._image)]]),
            }
            own = {name: value.to(ids.device) for name, value in own.items()}
        output = self._model(**own, past_key_values=cache, use_cache=keep)
        return output.logits, output.past_key_values

    def check_room(self, ids: Sequence[int]) -> None:
        """Raise `InputError` for a text that is longer than the model reads."""
        super().check_room(ids[len(self._image) :])

    def before_vocabulary(self) -> nn.Module | None:
        """The last layer."""
        layer: nn.Module = self._model.git.encoder.layer[-1]
        return layer

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches, the class token's column and those of the text left out."""
        if point.name != JOINT:
            return super().position_weights(point, captured, prepared)
        return stacked(captured, point.name)[..., self.prefix : len(self._image)]

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most; `tokens` counts the positions of the image too."""
        return (tokens, tokens) if point.name == JOINT else super().attention_size(point, tokens)


def find_points(module: Any) -> tuple[CapturePoint, ...]:
    """Image encoder, and the attention over image and text together."""
    vision = module.config.vision_config.num_attention_heads
    return (
        capture_point(
            module,
            VISION,
            PointRole.ENCODER_SELF,
            r"git\.image_encoder\..*encoder\.layers\.\d+\.self_attn|"
            r"git\.image_encoder\.encoder\.layers\.\d+\.self_attn",
            vision,
        ),
        capture_point(
            module,
            JOINT,
            PointRole.JOINT,
            r"git\.encoder\.layer\.\d+\.attention\.self",
            module.config.num_attention_heads,
            label="joint self-attention",
            queries="image patches and text tokens",
            keys="image patches and text tokens",
        ),
    )
