"""Kosmos-2: the picture read by a fixed number of latents, and phrases grounded by signs for boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.grounding import GroundedPhrase, to_original
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.vlm.chat import Chat, History
from mmviewer.core.models.vlm.eyes import OneLook
from mmviewer.core.models.vlm.model import VisionLanguageModel
from mmviewer.core.models.vlm.signs import grounded
from mmviewer.core.types import CapturePoint, Geometry, PointRole, TokenSpan

POOL = "latents.pool"
PATCH_SIGNS = 1024
TAGS = (
    "</doc>",
    "<image>",
    "</image>",
    "</chunk>",
    "</line>",
    "<phrase>",
    "</phrase>",
    "<object>",
    "</object>",
    "</delimiter_of_multi_objects/>",
    "<grounding>",
)


class TaggedCodec(TextCodec):
    """A codec to which tags and signs for patches are control tokens: chips, but no part of the text."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        super().__init__(tokenizer, context_length)
        tags = (*TAGS, *(f"<patch_index_{index:04d}>" for index in range(PATCH_SIGNS)))
        known = tokenizer.get_vocab()
        self._special = self._special | {known[tag] for tag in tags if tag in known}


class GroundedChat(Chat):
    """Plain prompts behind the sign that asks for grounded phrases; earlier turns have no place in them."""

    describe = "An image of"
    remembers = False

    def __init__(self, tokenizer: Any, codec: TextCodec, latents: int) -> None:
        super().__init__(tokenizer, codec, "", "<image>")
        self._latents = latents

    def lead(self, placeholder: str) -> tuple[int, ...]:
        """Begin, the open tag, an id for each latent, whose embeddings are replaced, and the close tag."""
        first = int(self._tokenizer.unk_token_id) + 1
        close = self._tokenizer.convert_tokens_to_ids("</image>")
        latents = range(first, first + self._latents)
        return (int(self._tokenizer.bos_token_id), self.marker_id, *latents, int(close))

    def places(self, lead: Sequence[int]) -> list[int]:
        """Where the latents are."""
        return list(range(2, 2 + self._latents))

    def given(self, question: str, history: History = ()) -> tuple[int, ...]:
        """The request for a caption or an answer, with grounded phrases."""
        self._check(question)
        asked = question if question == self.describe else f" Question: {question} Answer:"
        ids: list[int] = self._codec.ids(f"</image> <grounding>{asked}")
        return tuple(ids[1:])

    def _control(self) -> list[str]:
        names: list[str] = [self.marker, "</image>", *self._tokenizer.all_special_tokens]
        return names


class LatentLook(OneLook):
    """One look, after which latents read all patches.

    Parameters
    ----------
    pixels : Pixels
    latents, width : int
        How many latents there are, and the size of the language model's embeddings.
    """

    def __init__(self, pixels: Pixels, latents: int, width: int) -> None:
        super().__init__(pixels, "")
        self._shape = (1, latents, width)

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """Which places are the latents'."""
        mask = torch.zeros_like(ids)
        mask[:, batch[0].inputs["places"].to(ids.device)] = 1
        return {"image_embeds_position_mask": mask}

    def step_inputs(self, prepared: Prepared, length: int) -> dict[str, Tensor]:
        """Nothing of the picture: what stands for it is not read again, but must be there."""
        return {"image_embeds": torch.zeros(self._shape, device=prepared.inputs["pixels"].device)}


class LatentModel(VisionLanguageModel):
    """A model whose picture tokens are latents: their attention to patches is composed with the words'."""

    reads_picture_tokens = False  # they have no place on the picture
    keeps_pictures = False

    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """The words read the latents, and these the patches."""
        pool = self.point(PointRole.POOL)
        reads = point.role in (PointRole.JOINT, PointRole.CROSS)
        return (point, pool) if reads and pool is not None else (point,)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P]: the latents' mean over their layers and heads leads from words to patches."""
        if point.role is PointRole.ENCODER_SELF:
            return super().position_weights(point, captured, prepared)
        patches = slice(self._prefix, self._prefix + self._eyes.patches)  # behind them the latents themselves
        if point.role is PointRole.POOL:
            return stacked(captured, POOL)[..., patches]
        words = self.words(point, captured, prepared)  # [L, H, Q, N]
        if self.point(PointRole.POOL) is None:
            return words[..., patches]
        return words @ stacked(captured, POOL)[..., patches].mean((0, 1)).to(words.dtype)

    def words(
        self, point: CapturePoint, captured: Mapping[str, Sequence[Tensor]], prepared: Prepared | None
    ) -> Tensor:
        """Weights [L, H, Q, N] of words over what stands for the picture."""
        return super().position_weights(point, captured, prepared)

    def phrases(
        self, text: str, tokens: Sequence[TokenSpan], geometry: Geometry
    ) -> tuple[GroundedPhrase, ...]:
        """Phrases with boxes, as their tags and signs tell."""
        assert isinstance(geometry, ImageGeometry)
        names = self._codec.tokenizer.convert_ids_to_tokens([token.id for token in tokens])
        signs = sum(name.startswith("<patch_index_") for name in self._codec.tokenizer.get_vocab())
        found = []
        for places, boxes in grounded(names, math.isqrt(signs)):
            span = text[tokens[places[0]].start : tokens[places[-1]].end]
            original = tuple(to_original(box, geometry) for box in boxes)
            found.append(
                GroundedPhrase(span.strip(), tuple(tokens[place].index for place in places), original)
            )
        return tuple(found)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """All latents."""
        return slice(None) if point.role is PointRole.POOL else super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns of `point`."""
        if point.role is not PointRole.POOL:
            return super().attention_size(point, tokens)
        return self.latents, self._prefix + self._eyes.patches + self.latents

    @property
    def latents(self) -> int:
        """How many latents there are."""
        return int(self.module.config.latent_query_num)  # type: ignore[union-attr,arg-type]
