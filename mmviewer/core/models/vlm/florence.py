"""Florence-2: an encoder reads the picture's features with a task, a decoder writes what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.captions import CROSS, DECODER, Captioner
from mmviewer.core.models.hf.decoding import CachedDecoder
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point, not_at_input, stacked
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import CapturePoint, PointRole

ENCODER = "encoder.self"
TASK = "Describe in detail what is shown in the image."
"""The words with which the model was taught to be asked for a detailed caption."""


class Florence(Captioner):
    """Captions; keys of the encoder are a mean of the picture, its positions, and the words of the task."""

    prefix = 1

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
            points=find_points(module),
            begin=int(text.decoder_start_token_id),
            end=int(text.eos_token_id),
        )
        task: list[int] = [int(text.bos_token_id), *codec.ids(TASK), int(text.eos_token_id)]
        self._task = torch.tensor([task], device=placement.device)
        forced = getattr(module.generation_config, "forced_bos_token_id", None)
        self._forced = () if forced is None else (int(forced),)

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder and the encoder that reads the task too."""
        return self._model.model.vision_tower, self._model.model.language_model.encoder

    def encode(self, pixels: Tensor) -> Tensor:
        """The encoder's output [N, 1 + P + T, W] over the picture and the task."""
        seen: Tensor = self._model.get_image_features(pixels).pooler_output  # [N, 1 + P, W]
        words = self._model.get_input_embeddings()(self._task).expand(len(seen), -1, -1)
        joined = torch.cat((seen.to(words.dtype), words), dim=1)
        hidden: Tensor = self._model.model.language_model.encoder(inputs_embeds=joined).last_hidden_state
        return hidden

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward of the decoder."""
        output = self._model.model.language_model.decoder(
            input_ids=ids, encoder_hidden_states=encoded, past_key_values=cache, use_cache=keep
        )
        return self._model.lm_head(output.last_hidden_state), output.past_key_values

    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption behind the token that the settings put first."""
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            encoded = self.encoded([prepared])

        def step(ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
            return self.read(ids.to(self.placement.device), encoded, cache, keep=True)

        start = (self._begin, *self._forced, *prompt)
        return CachedDecoder(step, start, frozenset((self._end,)), self._codec.context_length)

    # --- capture -----------------------------------------------------------------------------------
    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over the picture's positions, its mean and the task left out."""
        if point.role is PointRole.DECODER_SELF:
            raise not_at_input(point)
        rows, columns = self._pixels.grid
        return stacked(captured, point.name)[..., self.prefix : self.prefix + rows * columns]

    def embedding_rows(self, point: CapturePoint) -> slice:
        """All rows: none stands for the picture alone."""
        return slice(None)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most for a text of `tokens` tokens."""
        rows, columns = self._pixels.grid
        keys = self.prefix + rows * columns + self._task.shape[1]
        queries = keys if point.role is PointRole.ENCODER_SELF else tokens
        return queries, tokens if point.role is PointRole.DECODER_SELF else keys


def find_points(module: Any) -> tuple[CapturePoint, ...]:
    """Self-attention over picture and task, and both attentions of the decoder."""
    text = module.config.text_config
    heads, layers = text.decoder_attention_heads, r"model\.language_model\.decoder\.layers\.\d+"
    words = "image positions and words of the task"
    return (
        capture_point(
            module,
            ENCODER,
            PointRole.ENCODER_SELF,
            r"model\.language_model\.encoder\.layers\.\d+\.self_attn",
            text.encoder_attention_heads,
            label="encoder self-attention over image and task",
            queries=words,
            keys=words,
        ),
        capture_point(module, DECODER, PointRole.DECODER_SELF, rf"{layers}\.self_attn", heads),
        capture_point(module, CROSS, PointRole.CROSS, rf"{layers}\.encoder_attn", heads, keys=words),
    )
