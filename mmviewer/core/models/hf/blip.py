"""BLIP: captions, answers to questions, and whether a text fits an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.captions import CROSS, DECODER, VISION, Captioner
from mmviewer.core.models.hf.decoding import CachedDecoder
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, PointRole

QUESTION = "question.cross"


class BlipCaptioner(Captioner):
    """``BlipForConditionalGeneration``."""

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        text = module.config.text_config
        super().__init__(
            family,
            module,
            pixels,
            codec,
            placement,
            identity,
            points=caption_points(module),
            begin=int(text.bos_token_id),
            end=int(text.sep_token_id),
        )

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder alone."""
        return (self._model.vision_model,)

    def encode(self, pixels: Tensor) -> Tensor:
        """Class token and patches [N, 1 + P, W]."""
        hidden: Tensor = self._model.vision_model(pixels).last_hidden_state
        return hidden

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward of the text decoder."""
        output = self._model.text_decoder(
            ids, encoder_hidden_states=encoded, past_key_values=cache, use_cache=keep
        )
        return output.logits, output.past_key_values

    def before_vocabulary(self) -> nn.Module | None:
        """The norm before the vocabulary."""
        norm: nn.Module = self._model.text_decoder.cls.predictions.transform.LayerNorm
        return norm


def vision_point(module: Any) -> CapturePoint:
    """Self-attention of BLIP's image encoder."""
    heads = module.config.vision_config.num_attention_heads
    pattern = r"vision_model\.encoder\.layers\.\d+\.self_attn"
    return capture_point(module, VISION, PointRole.ENCODER_SELF, pattern, heads)


def caption_points(module: Any) -> tuple[CapturePoint, ...]:
    """Image encoder, and both attentions of the text decoder."""
    heads = module.config.text_config.num_attention_heads
    layer = r"text_decoder\.bert\.encoder\.layer\.\d+"
    return (
        vision_point(module),
        capture_point(module, DECODER, PointRole.DECODER_SELF, rf"{layer}\.attention\.self", heads),
        capture_point(module, CROSS, PointRole.CROSS, rf"{layer}\.crossattention\.self", heads),
    )


class BlipAnswerer(Captioner):
    """``BlipForQuestionAnswering``: an encoder reads the question over the image, a decoder its output.

    The ids of a sequence are the question between its own special tokens, then the answer behind the
    decoder's first token. The decoder is fed all of them, with those of the question hidden from the answer,
    so that ids, logits and rows of its attention have the same places; the question's rows are its own.
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
        text = module.config.text_config
        super().__init__(
            family,
            module,
            pixels,
            codec,
            placement,
            identity,
            points=answer_points(module),
            begin=int(codec.tokenizer.cls_token_id),
            end=int(text.sep_token_id),
            capabilities=frozenset((Capability.ANSWER,)),
        )
        self._answers = int(text.bos_token_id)

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder alone."""
        return (self._model.vision_model,)

    def encode(self, pixels: Tensor) -> Tensor:
        """Class token and patches [N, 1 + P, W]."""
        hidden: Tensor = self._model.vision_model(pixels).last_hidden_state
        return hidden

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """The question, its end, and the token with which an answer begins; earlier ones are not read."""
        return (*self._codec.ids(question), self._end, self._answers)

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start the answer to a question in the form of `question_ids`; without one, to an empty question."""
        with torch.no_grad(), memory_errors(self.placement.device, "Answering"):
            encoded = self.encoded([prepared])
        whole = (self._begin, *(prompt or (self._end, self._answers)))
        count = self._question_length(whole)
        read: list[Tensor] = []

        def step(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
            ids = ids.to(self.placement.device)
            if not read:
                read.append(self._question(ids[:, :count], encoded))
            return self._answer(ids, read[0], count, cache, keep=True)

        context = count + self._codec.context_length
        return CachedDecoder(step, whole, frozenset((self._end,)), context)

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward over a question and its answer."""
        count = self._question_length(ids[0].tolist())
        question = self._question(ids[:, :count], encoded)
        return self._answer(ids, question, count, cache, keep=keep)

    def check_room(self, ids: Sequence[int]) -> None:
        """Raise `InputError` for a question or an answer that is too long."""
        count = self._question_length(ids)
        super().check_room(ids[:count])
        super().check_room(ids[count:])

    def before_vocabulary(self) -> nn.Module | None:
        """The norm before the vocabulary."""
        norm: nn.Module = self._model.text_decoder.cls.predictions.transform.LayerNorm
        return norm

    # --- capture -----------------------------------------------------------------------------------
    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """The answer reads the question, and the question the image."""
        pool = self.point(PointRole.POOL)
        return (point, pool) if point.role is PointRole.CROSS and pool is not None else (point,)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches: answer to question to patch, composed.

        From question to patch stands the mean over layers and heads. The rows of the question itself are its
        own, layer by layer.
        """
        if point.role is not PointRole.CROSS:
            return super().position_weights(point, captured, prepared)
        own = stacked(captured, QUESTION)[..., self.prefix :]  # [L, H, Tq, P]
        read = stacked(captured, point.name)  # [L, H, T, Tq]
        composed = read @ own.mean((0, 1))
        count = own.shape[2]
        if read.shape[2] <= count or own.shape[:2] != read.shape[:2]:  # rows that a method has put together
            return composed
        return torch.cat((own, composed[:, :, count:]), dim=2)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """All rows of the question."""
        return slice(None) if point.role is PointRole.POOL else super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most."""
        length = self._codec.context_length
        rows, columns = self._pixels.grid
        if point.role is PointRole.POOL:
            return length, self.prefix + rows * columns
        return (tokens, length) if point.role is PointRole.CROSS else super().attention_size(point, tokens)

    # --- inside ----------------------------------------------------------------------------------------
    def _question_length(self, ids: Sequence[int]) -> int:
        """Tokens of the question with its special ones."""
        found = list(ids)
        if self._end not in found[:-1]:
            raise InputError("An answer follows a question; ask one about the image.")
        return found.index(self._end) + 1

    def _question(self, ids: Tensor, encoded: Tensor) -> Tensor:
        """What the decoder reads [N, Tq, W]."""
        if ids.shape[1] > self._codec.context_length:
            raise InputError(
                f"The question has {ids.shape[1]} tokens, but {self.info.label} reads "
                f"{self._codec.context_length}; shorten it."
            )
        hidden: Tensor = self._model.text_encoder(ids, encoder_hidden_states=encoded).last_hidden_state
        return hidden

    def _answer(
        self, ids: Tensor, question: Tensor, count: int, cache: Any, *, keep: bool
    ) -> tuple[Tensor, Any]:
        """Logits after each of `ids`; zero within the question, which nothing predicts."""
        start = 0 if cache is None else int(cache.get_seq_length())
        keys = torch.arange(start + ids.shape[1], device=ids.device)
        rows = keys[start:, None]
        seen = (keys <= rows) & ((keys >= count) == (rows >= count))  # [n, K]
        hidden = torch.zeros(seen.shape, dtype=question.dtype, device=ids.device)
        hidden = hidden.masked_fill(~seen, torch.finfo(question.dtype).min)
        output = self._model.text_decoder(
            ids,
            attention_mask=hidden.expand(len(ids), 1, -1, -1),
            position_ids=(keys[start:] - count).clamp(min=0).expand(len(ids), -1),
            encoder_hidden_states=question,
            past_key_values=cache,
            use_cache=keep,
        )
        predicted = (rows >= count)[None]
        return output.logits * predicted, output.past_key_values


def answer_points(module: Any) -> tuple[CapturePoint, ...]:
    """Image encoder, question over image, and both attentions of the decoder."""
    heads = module.config.text_config.num_attention_heads
    read = r"text_encoder\.encoder\.layer\.\d+\.crossattention\.self"
    seeing, own, cross = caption_points(module)
    return (
        seeing,
        capture_point(
            module,
            QUESTION,
            PointRole.POOL,
            read,
            heads,
            label="question cross-attention",
            queries="question tokens",
        ),
        own,
        replace(cross, keys="question tokens"),
    )
