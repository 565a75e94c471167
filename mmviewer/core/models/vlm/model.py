"""Decoder-only vision-language models behind the common interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import recording
from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.points import capture_point, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.chat import Chat, History
from mmviewer.core.models.vlm.decoder import JointDecoder
from mmviewer.core.models.vlm.eyes import Eyes
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    Media,
    Modality,
    PointRole,
    QuestionForm,
    TokenSpan,
)

JOINT, VISION = "joint.self", "vision.self"
_EXAMPLES = ("What is in the picture?", "Where is it?", "How many people are there?")


def joint_point(module: nn.Module, pattern: str, text: Any) -> CapturePoint:
    """The decoder's self-attention, in which words look at words before them and at the picture."""
    words = "tokens of image and text"
    label = "self-attention over image and text"
    heads = text.num_attention_heads
    return capture_point(
        module, JOINT, PointRole.JOINT, pattern, heads, label=label, queries=words, keys=words
    )


def vision_point(module: nn.Module, vision: Any, chosen: int | Sequence[int] = -1) -> CapturePoint:
    """The image encoder's self-attention, without layers above that whose output is taken.

    `chosen` is its number among the hidden states, of which the first enters the first layer.
    """
    pattern = r"model\.vision_tower\.(?:vision_model\.)?encoder\.layers\.\d+\.self_attn"
    every = capture_point(module, VISION, PointRole.ENCODER_SELF, pattern, vision.num_attention_heads)
    listed = [chosen] if isinstance(chosen, int) else chosen
    last = max(layer if layer >= 0 else every.layers + 1 + layer for layer in listed)
    return replace(every, layers=last, modules=every.modules[:last])


class VisionLanguageModel(HfModel):
    """A model that reads a picture's embeddings and text as one sequence, and writes on.

    Parameters
    ----------
    family : str
        Key of the family.
    module : nn.Module
        A ``...ForConditionalGeneration`` of transformers, frozen, on its device.
    eyes : Eyes
    chat : Chat
    codec : TextCodec
    placement, identity
        As in `HfModel`.
    points : tuple of CapturePoint
        `JOINT` first; `VISION` where the eyes take a single look.
    prefix : int
        Keys of the image encoder before its patches.
    norm : str
        Name of the last norm before the vocabulary.
    """

    reads_picture_tokens = True
    keeps_pictures = True
    """Whether a picture's embeddings stand in the sequence, and are kept as long as the item lives."""

    def __init__(
        self,
        family: str,
        module: Any,
        eyes: Eyes,
        chat: Chat,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
        *,
        points: tuple[CapturePoint, ...],
        prefix: int = 0,
        norm: str = "model.language_model.norm",
    ) -> None:
        self._eyes = eyes
        self._chat = chat
        self._prefix = prefix
        self._norm: nn.Module = module.get_submodule(norm)
        self._language: nn.Module = module.get_submodule(norm.rpartition(".")[0])
        self._seen: WeakKeyDictionary[Prepared, Tensor] = WeakKeyDictionary()
        form = identity.about.questions or QuestionForm("{question}", _EXAMPLES, chat.remembers)
        super().__init__(
            family,
            module,
            codec,
            placement,
            replace(identity, about=replace(identity.about, questions=form)),
            capabilities={Capability.CAPTION, Capability.ANSWER},
            points=points,
            preprocessing=eyes.describe(),
        )
        self.stop = _ends(module, codec)
        self.unwritten: tuple[int, ...] = (chat.marker_id,)

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Preprocess a picture, and note the ids that stand for it."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        look = self._eyes.look(media, self.placement.device, self.placement.dtype)
        lead = self._chat.lead(look.placeholder)
        places = torch.tensor(self._chat.places(lead))  # [N], those of the picture's tokens
        inputs = {**look.inputs, "lead": torch.tensor(lead), "places": places}
        if look.spread is not None:
            inputs["spread"] = look.spread
        return Prepared(media.id, Modality.IMAGE, inputs, look.geometry)

    # --- text ------------------------------------------------------------------------------------
    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """The request for a caption, and the beginning of the answer."""
        return (*self._chat.given(self._chat.describe), *(token.id for token in self.tokenize(text)))

    def question_ids(self, question: str, history: History = ()) -> tuple[int, ...]:
        """A question after earlier ones, as the model's chat template puts it."""
        return self._chat.given(question, history)

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start an answer to what `prompt` asks, by default to the request for a caption."""
        given = tuple(prompt) or self._chat.given(self._chat.describe)
        with memory_errors(self.placement.device, "Looking at the picture"):
            return JointDecoder(self, prepared, (*prepared.inputs["lead"].tolist(), *given))

    def kept(self, output: Any) -> dict[str, Tensor]:
        """What of the output for a prompt `step` needs again."""
        return self._eyes.kept(output)

    def step(
        self,
        prepared: Prepared,
        sequence: Sequence[int],
        new: int,
        cache: Any,
        kept: Mapping[str, Tensor],
    ) -> Any:
        """Feed the last `new` ids of a sequence, those before being in `cache`; logits of the last row."""
        device = self.placement.device
        ids = torch.tensor([list(sequence[-new:])], device=device)
        options = {
            "attention_mask": torch.ones(1, len(sequence), dtype=torch.long, device=device),
            "past_key_values": cache,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        with memory_errors(device, "Writing"):
            if cache is None:
                return self._forward([prepared], ids, options)
            more = {**self._eyes.step_inputs(prepared, len(sequence)), **kept}
            return self._model(input_ids=ids, **options, **more)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One forward over a conversation, the picture's ids in it: logits [T, V]."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several pictures of one layout in one forward: logits [B, T, V]."""
        self._check_ids(batch[0], ids)
        tokens = torch.tensor([list(ids)], device=self.placement.device).expand(len(batch), -1)  # [B, T]
        with memory_errors(self.placement.device, "Reading the text"):
            options = {"attention_mask": torch.ones_like(tokens), "use_cache": False}
            logits: Tensor = self._forward(batch, tokens, options).logits
        return logits.float()

    def before_vocabulary(self) -> nn.Module | None:
        """The language model's last norm."""
        return self._norm

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of ids and what each covers of it."""
        return self._codec.join(ids)

    # --- capture -----------------------------------------------------------------------------------
    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns of `point` for a sequence of `tokens` ids, those of the picture counted."""
        if point.role is PointRole.JOINT:
            return tokens, tokens
        keys = self._prefix + self._eyes.patches
        return keys, keys

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P]: the columns of the picture's tokens, spread over its positions."""
        weights = stacked(captured, point.name)
        if point.role is PointRole.ENCODER_SELF:
            return weights[..., self._prefix :]
        if prepared is None:
            raise ValueError("where a picture's tokens lie differs from item to item: name the prepared item")
        looked = weights[..., prepared.inputs["places"].to(weights.device)]  # [L, H, Q, N]
        spread = prepared.inputs.get("spread")
        return looked if spread is None else looked @ spread.to(looked)

    def _forward(self, batch: Sequence[Prepared], ids: Tensor, options: Mapping[str, Any]) -> Any:
        """One forward over pictures and ids [B, T]; pictures that were seen before are not encoded again.

        Where the image encoder is recorded, changed or differentiated, it runs and nothing is kept.
        """
        watched = any(recording(self.module.get_submodule(name)) for name in self._encoder_modules())
        fresh = watched or any(prepared.inputs["pixels"].requires_grad for prepared in batch)
        places = batch[0].inputs["places"].to(ids.device)
        if self.keeps_pictures and not fresh and all(prepared in self._seen for prepared in batch):
            words = ids.index_fill(1, places, 0)  # a sign for pictures may lie outside of the embeddings
            embedded = self._model.get_input_embeddings()(words).clone()  # [B, T, W]
            embedded[:, places] = torch.stack([self._seen[prepared] for prepared in batch])
            return self._model(inputs_embeds=embedded, **options, **self._eyes.layout_inputs(batch, ids))

        def keep(_: nn.Module, __: Any, given: Mapping[str, Any]) -> None:
            for prepared, embedded in zip(batch, given["inputs_embeds"], strict=True):
                self._seen[prepared] = embedded[places].detach()

        hook = None
        if self.keeps_pictures and not fresh:
            hook = self._language.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            return self._model(input_ids=ids, **options, **self._eyes.model_inputs(batch, ids))
        finally:
            if hook is not None:
                hook.remove()

    def _encoder_modules(self) -> tuple[str, ...]:
        """Attention modules of the image encoder that can be recorded."""
        return tuple(name for point in self.info.points if point.name == VISION for name in point.modules)

    def _check_ids(self, prepared: Prepared, ids: Sequence[int]) -> None:
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The text has {len(ids)} tokens, those of the picture counted, but {self.info.label} takes "
                f"{self.info.context_length}; shorten it."
            )
        lead = prepared.inputs["lead"].tolist()
        if list(ids[: len(lead)]) != lead:
            raise InputError(
                "The text belongs to another picture or another model: it does not begin with the "
                f"{len(lead)} tokens that stand for this one; make it again."
            )


def _ends(module: Any, codec: TextCodec) -> frozenset[int]:
    """Ids that end an answer, by the model's own settings."""
    ends = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    if ends is None:
        ends = codec.tokenizer.eos_token_id
    listed = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(end) for end in listed if end is not None)
