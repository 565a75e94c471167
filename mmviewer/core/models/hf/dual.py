"""Dual encoders of transformers: an image tower and a text tower that share a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.models.base import Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf import build
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.parts import load_codec, load_pixels
from mmviewer.core.models.hf.pixels import Pixels, Processing
from mmviewer.core.models.hf.points import capture_point, not_at_input, stacked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.preparation import Preparation
from mmviewer.core.models.tower import Tower
from mmviewer.core.progress import Progress
from mmviewer.core.types import Capability, CapturePoint, Media, PointRole

EMBEDS = frozenset((Capability.EMBED_IMAGE, Capability.EMBED_TEXT))
VISION, POOL, TEXT = "vision.self", "vision.pool", "text.self"


class DualEncoder(HfModel):
    """CLIP, or another whose image tower is a transformer behind a class token.

    Subclasses change what differs: the points, the pooling, the rule of the logits.
    """

    prefix = 1
    """Keys of the image tower before its patches."""

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
        super().__init__(
            family,
            module,
            codec,
            placement,
            identity,
            capabilities=EMBEDS,
            points=self.find_points(module),
            preprocessing=pixels.describe(),
        )

    def find_points(self, module: Any) -> tuple[CapturePoint, ...]:
        """Self-attention of both towers."""
        vision, text = module.config.vision_config, module.config.text_config
        return (
            capture_point(
                module,
                VISION,
                PointRole.ENCODER_SELF,
                r"vision_model\.encoder\.layers\.\d+\.self_attn",
                vision.num_attention_heads,
            ),
            capture_point(
                module,
                TEXT,
                PointRole.TEXT_SELF,
                r"text_model\.encoder\.layers\.\d+\.self_attn",
                text.num_attention_heads,
            ),
        )

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and normalise an image as the model was trained."""
        return self.prepared_image(media, self._pixels)

    def preparation(self) -> Preparation | None:
        """The image processor, which needs no weights."""
        return Processing(self._pixels, self.info.label)

    # --- embeddings ------------------------------------------------------------------------------
    def image_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of images."""
        with memory_errors(self.placement.device, f"Encoding {len(batch)} images"):
            features: Tensor = self._model.get_image_features(**self.image_inputs(batch)).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def image_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """What the image tower takes."""
        return {"pixel_values": torch.cat([prepared.inputs["pixels"] for prepared in batch])}

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts; `InputError` for one over the context length."""
        inputs = {name: value.to(self.placement.device) for name, value in self.text_inputs(texts).items()}
        with memory_errors(self.placement.device, f"Encoding {len(texts)} texts"):
            features: Tensor = self._model.get_text_features(**inputs).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What the text tower takes."""
        return self._codec.batch(texts)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Scale similarities as trained."""
        return similarities * self._model.logit_scale.exp(), "softmax"

    # --- capture -----------------------------------------------------------------------------------
    def tower(self) -> Tower | None:
        """The image tower, layer by layer."""
        return ClipTower(self._model)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """Rows of the class token."""
        return slice(0, 1) if point.name == VISION else super().embedding_rows(point)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches, the class token's column left out."""
        if point.role is PointRole.TEXT_SELF:
            raise not_at_input(point)
        return stacked(captured, point.name)[..., self.prefix :]

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most."""
        if point.role is PointRole.TEXT_SELF:
            return self._codec.context_length, self._codec.context_length
        keys = self.prefix + self.positions()
        return (1 if point.role is PointRole.POOL else keys), keys

    def positions(self) -> int:
        """Patches of an image, at most."""
        rows, columns = self._pixels.grid
        return rows * columns


class ClipTower(Tower):
    """CLIP's image tower."""

    prefix = 1

    def __init__(self, model: Any) -> None:
        self._vision = model.vision_model
        self._projection = model.visual_projection
        self.layers = len(self._vision.encoder.layers)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Patch embeddings with positions behind the class token, normed."""
        pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        hidden: Tensor = self._vision.pre_layrnorm(self._vision.embeddings(pixels))
        return hidden

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        output: Tensor = self._vision.encoder.layers[index](hidden, None)
        return output

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Output projection of the heads side by side."""
        return projected(self._vision.encoder.layers[index].self_attn.out_proj, mixed)

    def embed(self, hidden: Tensor) -> Tensor:
        """Norm and projection of the class token."""
        return self.embed_vectors(hidden[:, 0])

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Norm and projection of each vector."""
        features = self._projection(self._vision.post_layernorm(hidden))
        return functional.normalize(features.float(), dim=-1)


def load(
    kind: type[DualEncoder],
    family: str,
    class_name: str,
    found: Found,
    placement: Placement,
    progress: Progress,
) -> DualEncoder:
    """Load a dual encoder of `class_name` with its image processor and tokenizer."""
    module = build.load_module(class_name, found, placement, exact_scalars=True)
    vision, text = module.config.vision_config, module.config.text_config
    pixels = load_pixels(found, vision.patch_size, vision.image_size)
    codec = load_codec(found, text.max_position_embeddings, text.vocab_size)
    with build.broken_files(found):
        return kind(family, module, pixels, codec, placement, build.identity_of(found, progress))


def projected(projection: Any, mixed: Tensor) -> Tensor:
    """Project heads [B, H, N, D] side by side to [B, N, W]."""
    output: Tensor = projection(mixed.transpose(1, 2).flatten(2).to(projection.weight.dtype))
    return output
