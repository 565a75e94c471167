"""BLIP for retrieval: images and texts in one space, and a reader that judges whether a pair fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.models.base import Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.blip import vision_point
from mmviewer.core.models.hf.dual import EMBEDS, TEXT, DualEncoder, projected
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.tower import Tower
from mmviewer.core.types import Capability, CapturePoint, PointRole

_TEMPERATURE = 0.07
"""Of the training's beginning; the checkpoints do not keep the learned one."""


class BlipMatcher(DualEncoder):
    """``BlipForImageTextRetrieval``."""

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: Pixels,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        self._pixels = pixels
        HfModel.__init__(
            self,
            family,
            module,
            codec,
            placement,
            identity,
            capabilities=EMBEDS | {Capability.MATCH},
            points=self.find_points(module),
            preprocessing=pixels.describe(),
        )

    def find_points(self, module: Any) -> tuple[CapturePoint, ...]:
        """Self-attention of both towers."""
        heads = module.config.text_config.num_attention_heads
        pattern = r"text_encoder\.encoder\.layer\.\d+\.attention\.self"
        return (vision_point(module), capture_point(module, TEXT, PointRole.TEXT_SELF, pattern, heads))

    # --- embeddings ------------------------------------------------------------------------------
    def image_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of images."""
        with memory_errors(self.placement.device, f"Encoding {len(batch)} images"):
            hidden = self._model.vision_model(**self.image_inputs(batch)).last_hidden_state
            features: Tensor = self._model.vision_proj(hidden[:, 0])
        return functional.normalize(features.float(), dim=-1)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts; `InputError` for one over the context length."""
        inputs = {name: value.to(self.placement.device) for name, value in self._codec.batch(texts).items()}
        with memory_errors(self.placement.device, f"Encoding {len(texts)} texts"):
            hidden = self._model.text_encoder(**inputs).last_hidden_state
            features: Tensor = self._model.text_proj(hidden[:, 0])
        return functional.normalize(features.float(), dim=-1)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Divide by the temperature with which the training began."""
        return similarities / _TEMPERATURE, "softmax"

    # --- pairs -----------------------------------------------------------------------------------
    def match(self, prepared: Prepared, texts: Sequence[str]) -> Tensor:
        """Probability [M] that each text fits the image: the text is read over the patches."""
        inputs = {name: value.to(self.placement.device) for name, value in self._codec.batch(texts).items()}
        with memory_errors(self.placement.device, f"Matching {len(texts)} texts"):
            seen = self._model.vision_model(**self.image_inputs([prepared])).last_hidden_state
            seen = seen.expand(len(texts), -1, -1)
            hidden = self._model.text_encoder(**inputs, encoder_hidden_states=seen).last_hidden_state
            scores: Tensor = self._model.itm_head(hidden[:, 0]).float()
        return scores.softmax(-1)[:, 1]

    # --- capture ---------------------------------------------------------------------------------
    def tower(self) -> Tower | None:
        """The image tower, layer by layer."""
        return BlipTower(self._model)


class BlipTower(Tower):
    """BLIP's image tower."""

    prefix = 1

    def __init__(self, model: Any) -> None:
        self._vision = model.vision_model
        self._projection = model.vision_proj
        self.layers = len(self._vision.encoder.layers)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Class token and patch embeddings with positions."""
        hidden: Tensor = self._vision.embeddings(torch.cat([prepared.inputs["pixels"] for prepared in batch]))
        return hidden

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        output: Tensor = self._vision.encoder.layers[index](hidden)
        return output

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Output projection of the heads side by side."""
        return projected(self._vision.encoder.layers[index].self_attn.projection, mixed)

    def embed(self, hidden: Tensor) -> Tensor:
        """Norm and projection of the class token."""
        return self.embed_vectors(hidden[:, 0])

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Norm and projection of each vector."""
        features = self._projection(self._vision.post_layernorm(hidden))
        return functional.normalize(features.float(), dim=-1)
