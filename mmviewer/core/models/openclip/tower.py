"""The image towers of OpenCLIP models that are plain vision transformers, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import Attention
from timm.models.vision_transformer import Block
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.models.base import Prepared
from mmviewer.core.models.tower import Tower


def find_tower(visual: Any) -> Tower | None:
    """Return the tower of an open_clip image encoder; None where it is no plain vision transformer."""
    if isinstance(visual, VisionTransformer):
        plain = all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        return NativeTower(visual) if plain and visual.proj is not None and _is_single(visual) else None
    trunk = getattr(visual, "trunk", None)
    if isinstance(trunk, TimmVisionTransformer):
        plain = all(type(block) is Block and _is_plain(block.attn) for block in trunk.blocks)
        placed = getattr(trunk.attn_pool, "pos_embed", None) is not None
        return TimmTower(visual) if plain and not placed else None
    return None


def _is_single(visual: Any) -> bool:
    """Whether one pooler, or none, makes the embedding."""
    return getattr(visual, "attn_pool_contrastive", None) is None and visual.pool_type != "none"


def _is_plain(attention: nn.Module) -> bool:
    return type(attention) is Attention and getattr(attention, "gate", None) is None


class NativeTower(Tower):
    """open_clip's own vision transformer."""

    prefix = 1

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self._blocks = visual.transformer.resblocks
        self.layers = len(self._blocks)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Patch embeddings with positions."""
        pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        hidden: Tensor = self._visual._embeds(pixels)
        return hidden

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        if self._visual.transformer.batch_first:
            output: Tensor = self._blocks[index](hidden)
            return output
        turned: Tensor = self._blocks[index](hidden.transpose(0, 1).contiguous())
        return turned.transpose(0, 1)

    def layer_and_mean(self, index: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One block, with the mean taken before the last projection: half the work of a backward."""
        if not self._visual.transformer.batch_first:
            return super().layer_and_mean(index, hidden)
        block = self._blocks[index]
        inside = hidden + block.ls_1(block.attention(q_x=block.ln_1(hidden)))
        wide = block.mlp.gelu(block.mlp.c_fc(block.ln_2(inside)))  # [B, N, 4 W]
        with torch.no_grad():
            output = inside + block.ls_2(block.mlp.c_proj(wide))
        return output, inside.mean(1) + block.ls_2(block.mlp.c_proj(wide.mean(1)))

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Output projection and layer scale."""
        block = self._blocks[index]
        joined = _joined(mixed).to(block.attn.out_proj.weight.dtype)
        projected = functional.linear(joined, block.attn.out_proj.weight, block.attn.out_proj.bias)
        output: Tensor = block.ls_1(projected)
        return output

    def embed(self, hidden: Tensor) -> Tensor:
        """Final norm and pooling in the model's order, then the projection."""
        return functional.normalize((self._visual._pool(hidden)[0] @ self._visual.proj).float(), dim=-1)

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Final norm and projection; through the pooler where there is one, as its only key."""
        visual = self._visual
        if visual.attn_pool is not None:
            flat = hidden.reshape(-1, 1, hidden.shape[-1])
            pooled = visual.ln_post(visual.attn_pool(flat))[:, 0].unflatten(0, hidden.shape[:-1])
        else:
            pooled = visual.ln_post(hidden)
        return functional.normalize((pooled @ visual.proj).float(), dim=-1)


class TimmTower(Tower):
    """A timm vision transformer inside open_clip."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self._trunk = visual.trunk
        self.layers = len(self._trunk.blocks)
        self.prefix = int(self._trunk.num_prefix_tokens)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Patch embeddings with positions."""
        trunk = self._trunk
        pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        hidden: Tensor = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels)))
        return hidden

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        output: Tensor = self._trunk.blocks[index](hidden)
        return output

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Norm, output projection and layer scale."""
        block = self._trunk.blocks[index]
        joined = _joined(mixed).to(block.attn.proj.weight.dtype)
        output: Tensor = block.ls1(block.attn.proj(block.attn.norm(joined)))
        return output

    def embed(self, hidden: Tensor) -> Tensor:
        """Final norm, pooling and projection."""
        features = self._visual.head(self._trunk.forward_head(self._trunk.norm(hidden)))
        return functional.normalize(features.float(), dim=-1)

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Final norm and projection; through the pooling head where there is one, as its only key."""
        trunk = self._trunk
        pooled = trunk.norm(hidden)
        if trunk.attn_pool is not None:
            flat = pooled.reshape(-1, 1, pooled.shape[-1])
            pooled = trunk.attn_pool(flat).unflatten(0, hidden.shape[:-1])
        features = self._visual.head(trunk.head(trunk.fc_norm(pooled)))
        return functional.normalize(features.float(), dim=-1)


def _joined(mixed: Tensor) -> Tensor:
    """Heads side by side: [B, H, N, D] to [B, N, H * D]."""
    return mixed.transpose(1, 2).flatten(2)
