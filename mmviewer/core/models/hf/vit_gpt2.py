"""VisionEncoderDecoderModel: a ViT whose patches a GPT-2 with cross-attention writes about."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmviewer.core.models.base import Placement
from mmviewer.core.models.hf.captions import CROSS, DECODER, VISION, Captioner
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import CapturePoint, PointRole


class VitGpt2(Captioner):
    """ViT and GPT-2."""

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        settings, text = module.generation_config, module.config.decoder
        begin, end = settings.decoder_start_token_id, settings.eos_token_id
        super().__init__(
            family,
            module,
            pixels,
            codec,
            placement,
            identity,
            points=find_points(module),
            begin=int(text.bos_token_id if begin is None else begin),
            end=int(text.eos_token_id if end is None else end),
        )

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The image encoder alone."""
        return (self._model.encoder,)

    def encode(self, pixels: Tensor) -> Tensor:
        """Class token and patches [N, 1 + P, W], as wide as the decoder reads them."""
        hidden: Tensor = self._model.encoder(pixels).last_hidden_state
        if hasattr(self._model, "enc_to_dec_proj"):
            hidden = self._model.enc_to_dec_proj(hidden)
        return hidden

    def read(self, ids: Tensor, encoded: Tensor, cache: Any = None, *, keep: bool) -> tuple[Tensor, Any]:
        """One forward of the decoder."""
        output = self._model.decoder(
            ids, encoder_hidden_states=encoded, past_key_values=cache, use_cache=keep
        )
        return output.logits, output.past_key_values

    def before_vocabulary(self) -> nn.Module | None:
        """The decoder's last norm."""
        norm: nn.Module = self._model.decoder.transformer.ln_f
        return norm


def find_points(module: Any) -> tuple[CapturePoint, ...]:
    """Image encoder, and both attentions of the decoder."""
    vision, text = module.config.encoder, module.config.decoder
    layer = r"decoder\.transformer\.h\.\d+"
    encoder = r"encoder\.layers\.\d+\.attention"
    return (
        capture_point(module, VISION, PointRole.ENCODER_SELF, encoder, vision.num_attention_heads),
        capture_point(module, DECODER, PointRole.DECODER_SELF, rf"{layer}\.attn", text.n_head),
        capture_point(module, CROSS, PointRole.CROSS, rf"{layer}\.crossattention", text.n_head),
    )
