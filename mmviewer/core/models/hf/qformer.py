"""BLIP-2 and InstructBLIP: a few queries read the image, and a language model reads the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.captions import VISION, Captioner
from mmviewer.core.models.hf.decoding import CachedDecoder
from mmviewer.core.models.hf.languages import DecoderLanguage, Language, T5Language
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point, not_at_input, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, PointRole

QUERIES = "qformer.cross"
_BOTH = frozenset((Capability.CAPTION, Capability.ANSWER))


class QFormerModel(Captioner):
    """``Blip2ForConditionalGeneration``.

    In front of the text of a sequence stands one id for every query, so that ids, logits and rows of the
    language model's attention have the same places. These ids are not read; the first of them tells how many
    tokens the instruction has, which a sequence does not say otherwise.
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
        config, text = module.config, module.config.text_config
        self._count = int(config.num_query_tokens)
        token = config.image_token_index
        self._query = int(text.pad_token_id or 0) if token is None else int(token)
        kind = DecoderLanguage if config.use_decoder_only_language_model else T5Language
        self._language: Language = kind(module.language_model, self._count)
        ends = module.generation_config.eos_token_id
        ends = text.eos_token_id if ends is None else ends
        self._ends = frozenset(ends if isinstance(ends, list | tuple) else (int(ends),))
        super().__init__(
            family,
            module,
            pixels,
            codec,
            placement,
            identity,
            points=(*_seeing_points(module), *self._language.points(module)),
            begin=self._query,
            end=min(self._ends),
            capabilities=_BOTH,
        )

    # --- what InstructBLIP does otherwise ------------------------------------------------------
    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder and the Q-Former."""
        return (self._model.vision_model, self._model.qformer)

    def encode(self, pixels: Tensor) -> Tensor:
        """The queries [N, Nq, W] as the language model reads them."""
        queries: Tensor = self._model.get_image_features(pixels).pooler_output
        return queries

    def queries(self, encoded: Tensor, instruction: Sequence[int]) -> Tensor:
        """The queries [N, Nq, W] from what is kept of images, and an instruction."""
        return encoded

    def caption_prompt(self) -> tuple[int, ...]:
        """The instruction where none is given."""
        return ()

    def question_text(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """The form in which the model was asked by its makers, after earlier questions with their answers."""
        turns = [f"Question: {asked} Answer: {answer}." for asked, answer in history]
        return " ".join((*turns, f"Question: {question} Answer:"))

    # --- texts -------------------------------------------------------------------------------------
    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """A typed beginning, or an instruction where the language model has an encoder."""
        return (*self._codec.ids(text), *self._language.after)

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """A question in the form of `question_text`."""
        return self.prompt_ids(self.question_text(question, history))

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption, or a text that goes on from `prompt`; the image is encoded once."""
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            encoded = self.encoded([prepared])
        given = tuple(prompt) or (*self.caption_prompt(), *self._language.after)
        instruction = len(given) - len(self._language.after)

        def step(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
            return self._read(ids.to(self.placement.device), encoded, instruction, cache, keep=True)

        leading = (instruction, *(self._query,) * (self._count - 1), *self._language.before)
        return CachedDecoder(step, (*leading, *given), self._ends, self._count + self._codec.context_length)

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward over a whole sequence."""
        return self._read(ids, encoded, int(ids[0, 0]), cache, keep=keep)

    def check_room(self, ids: Sequence[int]) -> None:
        """Raise `InputError` for a text that is longer than the language model reads."""
        super().check_room(ids[self._count :])

    def before_vocabulary(self) -> nn.Module | None:
        """What the language model has before its vocabulary."""
        return self._language.norm()

    # --- capture -----------------------------------------------------------------------------------
    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """The text reads the queries, and the queries the image."""
        pool = self.point(PointRole.POOL)
        return (point, pool) if point.name == self._language.point and pool is not None else (point,)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches: token to query to patch, composed.

        From query to patch stands the mean over the layers and heads of the Q-Former.
        """
        if point.role is PointRole.DECODER_SELF:
            raise not_at_input(point)
        if point.name != self._language.point:
            return super().position_weights(point, captured, prepared)
        reading = stacked(captured, point.name)[..., : self._count]  # [L, H, Q, Nq]
        seeing = stacked(captured, QUERIES)[..., : self._count, self.prefix :]  # [l, h, Nq, P]
        return reading @ seeing.mean((0, 1))

    def embedding_rows(self, point: CapturePoint) -> slice:
        """All queries: the language model reads each of them."""
        return slice(None) if point.role is PointRole.POOL else super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most; `tokens` counts the queries too."""
        rows, columns = self._pixels.grid
        if point.role is PointRole.POOL:
            return self._count, self.prefix + rows * columns
        if point.role is PointRole.ENCODER_SELF:
            return super().attention_size(point, tokens)
        return tokens, tokens

    # --- inside ----------------------------------------------------------------------------------------
    def _read(
        self, ids: Tensor, encoded: Tensor, instruction: int, cache: Any, *, keep: bool
    ) -> tuple[Tensor, Any]:
        queries = None
        if cache is None:
            first = self._count + len(self._language.before)
            queries = self.queries(encoded, ids[0, first : first + instruction].tolist())
        return self._language.read(ids, queries, instruction, cache, keep=keep)


class InstructModel(QFormerModel):
    """``InstructBlipForConditionalGeneration``: the Q-Former reads the instruction beside the image.

    `reader` is the Q-Former's own tokenizer.
    """

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
        reader: Any,
    ) -> None:
        self._reader = reader
        super().__init__(family, module, pixels, codec, placement, identity)

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder alone: the Q-Former runs anew for each instruction."""
        return (self._model.vision_model,)

    def encode(self, pixels: Tensor) -> Tensor:
        """Class token and patches [N, 1 + P, W]."""
        hidden: Tensor = self._model.vision_model(pixels).last_hidden_state
        return hidden

    def queries(self, encoded: Tensor, instruction: Sequence[int]) -> Tensor:
        """The queries [N, Nq, W] for an instruction."""
        text = self._codec.tokenizer.decode(list(instruction), skip_special_tokens=True)
        words = self._reader(text, return_tensors="pt", truncation=True)["input_ids"].to(encoded.device)
        words = words.expand(len(encoded), -1)
        output = self._model.qformer(
            input_ids=words,
            attention_mask=words.new_ones(len(encoded), self._count + words.shape[1]),
            query_embeds=self._model.query_tokens.expand(len(encoded), -1, -1),
            encoder_hidden_states=encoded,
        ).last_hidden_state
        projection = self._model.language_projection
        queries: Tensor = projection(output[:, : self._count].to(projection.weight.dtype))
        return queries

    def caption_prompt(self) -> tuple[int, ...]:
        """An instruction of its makers for captions."""
        return tuple(self._codec.ids("A short image description."))

    def question_text(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """The question itself is the instruction; earlier ones are not read."""
        return question


def _seeing_points(module: Any) -> tuple[CapturePoint, ...]:
    """Image encoder and Q-Former."""
    config = module.config
    return (
        capture_point(
            module,
            VISION,
            PointRole.ENCODER_SELF,
            r"vision_model\.encoder\.layers\.\d+\.self_attn",
            config.vision_config.num_attention_heads,
        ),
        capture_point(
            module,
            QUERIES,
            PointRole.POOL,
            r"qformer\.encoder\.layer\.\d+\.crossattention\.attention",
            config.qformer_config.num_attention_heads,
            label="Q-Former cross-attention",
            queries="queries",
        ),
    )
