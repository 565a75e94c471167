"""IDEFICS, the open Flamingo: words look at the picture through gated cross-attention between the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.models.base import Prepared
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import not_at_input, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.vlm.chat import Chat, History
from mmviewer.core.models.vlm.eyes import OneLook
from mmviewer.core.models.vlm.latents import POOL, LatentModel
from mmviewer.core.types import CapturePoint, PointRole, Shot

CROSS, DECODER = "decoder.cross", "decoder.self"
AROUND = "<fake_token_around_image>"
END_OF_TURN = "<end_of_utterance>"


class TurnChat(Chat):
    """Turns of a user and an assistant as IDEFICS was instructed, plain lines where it was not."""

    def __init__(self, tokenizer: Any, codec: TextCodec) -> None:
        super().__init__(tokenizer, codec, "", "<image>")
        self._end = END_OF_TURN if END_OF_TURN in tokenizer.get_vocab() else ""

    def render(self, question: str, history: History) -> str:
        """The picture, then the questions and answers."""
        lines = [part for turn in history for part in (turn[0], f"\nAssistant: {turn[1]}")]
        spoken = [*lines, question]
        turns = "".join(
            f"{'' if place == 0 or place % 2 else chr(10) + 'User: '}{text}{self._end}"
            for place, text in enumerate(spoken)
        )
        return f"{self._tokenizer.bos_token}User:{self._picture}{turns}\nAssistant:"

    def lead_after(self, shots: Sequence[Shot]) -> tuple[int, ...]:
        """Ids of examples, of the picture behind them, and of the control tokens that close it."""
        for text in (part for shot in shots for part in (shot.question, shot.answer)):
            self._check(text)
        told = "".join(
            f"User:{'' if shot.media is None else self._picture}{shot.question.strip() or self.describe}"
            f"{self._end}\nAssistant: {shot.answer.strip()}{self._end}\n"
            for shot in shots
        )
        text = self.render(self.describe, ()).replace(self._tokenizer.bos_token, "", 1)
        ids = self._tokenizer(
            f"{self._tokenizer.bos_token}{told}{text}", add_special_tokens=False, verbose=False
        )["input_ids"]
        behind = len(ids) - ids[::-1].index(self.marker_id)
        return tuple(ids[: behind + self._closing(ids[behind:])])

    @property
    def _picture(self) -> str:
        return f"{AROUND}{self.marker}{AROUND}"


class GatedLook(OneLook):
    """One look at the picture, which every word behind it may attend to."""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__(pixels, "")
        self._placeholder = "<image>"

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pixels [B, N, 3, H, W], those of examples first."""
        every = [[*_before(prepared), prepared.inputs["pixels"]] for prepared in batch]
        return {"pixel_values": torch.stack([torch.cat(pixels) for pixels in every])}

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """Which picture words come behind [B, T, N]: each reads the last one before it, and no other."""
        shown = batch[0].inputs.get("shown", batch[0].inputs["places"]).to(ids.device)  # [N]
        words = torch.arange(ids.shape[1], device=ids.device)[:, None]
        behind = (words >= shown).long()  # [T, N]
        latest = behind - torch.nn.functional.pad(behind[:, 1:], (0, 1))
        return {"image_attention_mask": latest[None].expand(len(batch), -1, -1)}

    def step_inputs(self, prepared: Prepared, length: int) -> dict[str, Tensor]:
        """Every further word comes behind the last picture."""
        shown = prepared.inputs.get("shown", prepared.inputs["places"])
        mask = torch.zeros(1, 1, len(shown), dtype=torch.long, device=prepared.inputs["pixels"].device)
        mask[..., -1] = 1
        return {"image_attention_mask": mask}


class GatedModel(LatentModel):
    """A language model with gated cross-attention to pictures before some of its layers.

    Examples may stand before the picture. Each word looks at the last picture before it, so what the answer
    takes from the examples' pictures comes to it through their words.
    """

    _chat: TurnChat

    def step(
        self,
        prepared: Prepared,
        sequence: Sequence[int],
        new: int,
        cache: Any,
        kept: Mapping[str, Tensor],
    ) -> Any:
        """Feed the last `new` ids of a sequence, and note at the first what stands for the pictures."""
        if cache is not None:
            return super().step(prepared, sequence, new, cache, kept)
        network: Any = self._model.model
        resampled = self.point(PointRole.POOL) is not None
        read: list[Any] = []
        reader = network.perceiver_resampler if resampled else network.vision_model
        hook = reader.register_forward_hook(lambda _, __, given: read.append(given))
        try:
            output = super().step(prepared, sequence, new, cache, kept)
        finally:
            hook.remove()
        output.kept = (
            {"perceiver_embeddings": read[0]}
            if resampled
            else {"image_encoder_embeddings": read[0].last_hidden_state}
        )
        return output

    def kept(self, output: Any) -> dict[str, Tensor]:
        """What stands for the pictures: latents, or patches where there are none."""
        found: dict[str, Tensor] = output.kept
        return found

    def with_examples(
        self, prepared: Prepared, shots: Sequence[Shot], pictures: Sequence[Prepared | None]
    ) -> Prepared:
        """The same picture with examples before it."""
        lead = torch.tensor(self._chat.lead_after(shots))
        shown = (lead == self._chat.marker_id).nonzero()[:, 0]  # [N], where the pictures stand
        before = [picture.inputs["pixels"] for picture in pictures if picture is not None]
        inputs = {**prepared.inputs, "lead": lead, "places": shown[-1:], "shown": shown}
        if before:
            inputs["before"] = torch.cat(before)  # [N - 1, 3, H, W]
        return replace(prepared, inputs=inputs, shots=tuple(shots))

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """As of any model with latents, for the last picture: those of examples have maps of their own."""
        count = 1 if prepared is None else len(prepared.inputs.get("shown", (0,)))
        if count > 1:
            captured = {name: [_last(each, name, count) for each in captured[name]] for name in captured}
        return super().position_weights(point, captured, prepared)

    def words(
        self, point: CapturePoint, captured: Mapping[str, Sequence[Tensor]], prepared: Prepared | None
    ) -> Tensor:
        """Cross-attention of words."""
        if point.role is PointRole.DECODER_SELF:
            raise not_at_input(point)
        return stacked(captured, point.name)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns of `point`."""
        if point.role is PointRole.DECODER_SELF:
            return tokens, tokens
        if point.role is PointRole.CROSS:
            resampled = self.point(PointRole.POOL) is not None
            return tokens, self.latents if resampled else self._prefix + self._eyes.patches
        return super().attention_size(point, tokens)

    @property
    def latents(self) -> int:
        """How many latents the resampler has."""
        config: Any = self.module.config
        return int(config.perceiver_config.resampler_n_latents)


def _before(prepared: Prepared) -> list[Tensor]:
    """Pixels of the examples' pictures."""
    return [prepared.inputs["before"]] if "before" in prepared.inputs else []


def _last(weights: Tensor, name: str, count: int) -> Tensor:
    """Of weights that concern `count` pictures those of the last: columns for words, rows for latents."""
    if name == CROSS:
        return weights[..., -(weights.shape[-1] // count) :]
    return weights[-1:] if name == POOL else weights


def gates(module: Any) -> tuple[float, ...]:
    """Hyperbolic tangent of each layer's gate; of a gate for each channel the mean magnitude."""
    found = []
    for layer in module.model.gated_cross_attn_layers:
        gate = layer.alpha_cross_attn.detach().float().tanh()
        found.append(float(gate) if gate.numel() == 1 else float(gate.abs().mean()))
    return tuple(found)
