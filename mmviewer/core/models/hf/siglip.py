"""SigLIP and SigLIP 2 of transformers: a pooling head in place of a class token, a score for each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.hf.dual import POOL, DualEncoder, projected
from mmviewer.core.models.hf.pixels import Pixels, Size
from mmviewer.core.models.hf.points import capture_point
from mmviewer.core.models.tower import Tower
from mmviewer.core.types import CapturePoint, Media, PointRole


class SiglipEncoder(DualEncoder):
    """SigLIP with images of one size."""

    prefix = 0

    def find_points(self, module: Any) -> tuple[CapturePoint, ...]:
        """Self-attention of both towers, and the pooling head, which no library output shows."""
        heads = module.config.vision_config.num_attention_heads
        pattern = r"vision_model\.head\.attention"
        return (*super().find_points(module), capture_point(module, POOL, PointRole.POOL, pattern, heads))

    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts fill the context with padding that is read, as in the training."""
        return {"input_ids": self._codec.batch(texts, padding="max_length")["input_ids"]}

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Scale and shift similarities; each label is scored by itself."""
        return similarities * self._model.logit_scale.exp() + self._model.logit_bias, "sigmoid"

    def tower(self) -> Tower | None:
        """The image tower, layer by layer."""
        return SiglipTower(self._model)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """All rows: the pooling head reads every patch."""
        return slice(0, 1) if point.role is PointRole.POOL else slice(None)


class NaflexEncoder(SiglipEncoder):
    """SigLIP 2 whose images keep their shape: each has a grid of its own, of at most so many patches."""

    def image_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Patches of all images, padded to the largest of them."""
        return naflex_inputs(batch, self._model.config.vision_config.patch_size)

    def positions(self) -> int:
        """Patches of an image, at most."""
        most: int = self._pixels.most_patches  # type: ignore[attr-defined]
        return most

    def tower(self) -> Tower | None:
        """The image tower, layer by layer."""
        return NaflexTower(self._model)


class SiglipTower(Tower):
    """SigLIP's image tower."""

    prefix = 0

    def __init__(self, model: Any) -> None:
        self._vision = model.vision_model
        self.layers = len(self._vision.encoder.layers)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Patch embeddings with positions."""
        hidden: Tensor = self._vision.embeddings(torch.cat([prepared.inputs["pixels"] for prepared in batch]))
        return hidden

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        output: Tensor = self._vision.encoder.layers[index](hidden, None)
        return output

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Output projection of the heads side by side."""
        return projected(self._vision.encoder.layers[index].self_attn.out_proj, mixed)

    def embed(self, hidden: Tensor) -> Tensor:
        """Norm and pooling head."""
        features = self._vision.head(self._vision.post_layernorm(hidden))
        return functional.normalize(features.float(), dim=-1)

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Norm and pooling head, each vector its only key."""
        alone = self.embed(hidden.reshape(-1, 1, hidden.shape[-1]))
        return alone.reshape(*hidden.shape[:-1], -1)


class NaflexTower(SiglipTower):
    """The same with a grid for each image; images that go together must have the same one."""

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Patch embeddings with positions interpolated to the grid."""
        inputs = naflex_inputs(batch, self._vision.config.patch_size)
        hidden: Tensor = self._vision.embeddings(inputs["pixel_values"], inputs["spatial_shapes"])
        return hidden


class NaflexPixels(Pixels):
    """The image processor of SigLIP 2 NaFlex; its patches are put together to pictures again.

    As pictures, parts of them can be hidden like those of any other model.
    """

    def __init__(self, processor: Any) -> None:
        super().__init__(processor, int(processor.patch_size))
        self.most_patches = int(processor.max_num_patches)

    def prepare(self, media: Media, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ImageGeometry]:
        """Pixels [1, 3, R p, C p] of a grid of R x C patches of side p, and their geometry."""
        assert media.pixels is not None
        image = torch.from_numpy(media.pixels).permute(2, 0, 1)
        found = self._processor(images=image, return_tensors="pt", input_data_format="channels_first")
        rows, columns = found["spatial_shapes"][0].tolist()
        side = self._patch
        patches = found["pixel_values"][0, : rows * columns].reshape(rows, columns, side, side, -1)
        pixels = patches.permute(4, 0, 2, 1, 3).reshape(1, -1, rows * side, columns * side)
        size = (rows * side, columns * side)
        geometry = ImageGeometry.for_resize(media.size, size, "squash", (rows, columns), (side, side))
        return pixels.to(device, dtype), geometry

    def describe(self) -> str:
        """One line for provenance."""
        return f"shape kept, at most {self.most_patches} patches of {self._patch} px"

    @property
    def input(self) -> Size:
        """Height and width of a square picture at most."""
        side = int(self.most_patches**0.5) * self._patch
        return side, side


def naflex_inputs(batch: Sequence[Prepared], side: int) -> dict[str, Tensor]:
    """Patches [N, P, 3 p p] of pictures with grids of their own, and a mask where some are padded."""
    patches, shapes = [], []
    for prepared in batch:
        pixels = prepared.inputs["pixels"][0]  # [3, H, W]
        rows, columns = pixels.shape[1] // side, pixels.shape[2] // side
        cells = pixels.reshape(-1, rows, side, columns, side).permute(1, 3, 2, 4, 0)
        patches.append(cells.reshape(rows * columns, -1))
        shapes.append((rows, columns))
    counts = torch.tensor([len(each) for each in patches], device=patches[0].device)
    found = torch.nn.utils.rnn.pad_sequence(patches, batch_first=True)
    mask = torch.arange(found.shape[1], device=found.device) < counts[:, None]
    return {
        "pixel_values": found,
        "pixel_attention_mask": mask.int(),
        "spatial_shapes": torch.tensor(shapes, device=found.device),
    }
