"""Where attention is in an OpenCLIP model, and how its keys lead to patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmviewer.core.errors import UnsupportedError
from mmviewer.core.types import CapturePoint, PointRole

VISION, POOL, TEXT = "vision.self", "vision.pool", "text.self"
DECODER, CROSS = "decoder.self", "decoder.cross"

_LABELS = {
    VISION: (PointRole.ENCODER_SELF, "image encoder self-attention", "image patches", "image patches"),
    POOL: (PointRole.POOL, "attentional pooling", "pooling queries", "image patches"),
    TEXT: (PointRole.TEXT_SELF, "text encoder self-attention", "text tokens", "text tokens"),
    DECODER: (PointRole.DECODER_SELF, "decoder self-attention", "text tokens", "text tokens"),
    CROSS: (PointRole.CROSS, "decoder cross-attention", "text tokens", "image tokens"),
}


def find_points(model: nn.Module) -> tuple[CapturePoint, ...]:
    """All capture points of an open_clip model, found by looking at its modules."""
    places = {
        VISION: _vision_blocks(model),
        POOL: _poolers(model),
        TEXT: _blocks(model, "transformer.resblocks") or _blocks(model, "text.transformer.resblocks"),
        DECODER: _blocks(model, "text_decoder.resblocks"),
        CROSS: _blocks(model, "text_decoder.cross_attn"),
    }
    return tuple(_point(name, model, modules) for name, modules in places.items() if modules)


def patch_grid(visual: Any) -> tuple[int, int]:
    """Rows and columns of patches (or of the last feature map of a convolutional tower)."""
    if hasattr(visual, "grid_size"):
        return _pair(visual.grid_size)
    height, width = _pair(visual.image_size)
    if hasattr(visual, "attnpool"):
        return height // 32, width // 32
    trunk = visual.trunk
    embed = getattr(trunk, "patch_embed", None)
    if _has_plain_blocks(trunk) and embed is not None:
        return _pair(embed.grid_size)
    reduction = trunk.feature_info[-1]["reduction"] if getattr(trunk, "feature_info", None) else 32
    return max(height // reduction, 1), max(width // reduction, 1)


def prefix_tokens(visual: Any) -> int:
    """How many keys (class, register or mean tokens) precede the patches."""
    return int(getattr(visual.trunk, "num_prefix_tokens", 0)) if hasattr(visual, "trunk") else 1


def embedding_rows(visual: Any) -> slice:
    """Rows of the image tower's self-attention whose outputs become the embedding.

    That of the class token, or of all patches where their mean is taken; all rows where a pooler reads them.
    """
    tower = getattr(visual, "trunk", visual)
    if getattr(tower, "attn_pool", None) is not None or getattr(tower, "pool_include_prefix", False):
        return slice(None)
    pooling = getattr(tower, "global_pool", None) or getattr(tower, "pool_type", "tok")
    return slice(0, 1) if pooling in ("tok", "token") else slice(prefix_tokens(visual), None)


def pooler_queries(visual: Any) -> int:
    """Queries of the attentional pooler; 1 where the pooling has a single one."""
    if hasattr(visual, "attnpool"):
        return int(visual.attnpool.positional_embedding.shape[0])
    pooler = getattr(visual, "attn_pool", None)
    return 1 if pooler is None else int(pooler.query.shape[0])


def drop_prefix(weights: Tensor, positions: int) -> Tensor:
    """Leave out the keys before the patches (class and register tokens): [..., K] to [..., P]."""
    extra = weights.shape[-1] - positions
    if extra < 0:
        raise UnsupportedError("This attention does not reach single patches; choose another capture point.")
    return weights[..., extra:]


def through_pooler(cross: Tensor, pool: Tensor, positions: int) -> Tensor:
    """Carry attention to pooled image tokens on to patches.

    Parameters
    ----------
    cross : Tensor [L, H, Q, N]
        Attention of text tokens to the N pooled tokens.
    pool : Tensor [H_pool, N_queries, K]
        Attention of the pooler's queries to patches; the first ``N_queries - N`` feed no image token.

    Returns
    -------
    Tensor [L, H, Q, P]
        ``cross @ mean over pooler heads of pool``, without the class token's column.
    """
    queries = pool.mean(dim=0)[pool.shape[1] - cross.shape[-1] :]  # [N, K]
    return cross @ drop_prefix(queries, positions)


def stack_layers(captured: Mapping[str, Sequence[Tensor]], name: str) -> Tensor:
    """Weights [L, H, Q, K] of the first item of the batch."""
    return torch.stack([weights[0] for weights in captured[name]])


def _point(name: str, model: nn.Module, modules: Sequence[str]) -> CapturePoint:
    role, label, queries, keys = _LABELS[name]
    heads = int(model.get_submodule(modules[0]).num_heads)  # type: ignore[arg-type]
    return CapturePoint(name, role, label, len(modules), heads, queries, keys, tuple(modules))


def _blocks(model: nn.Module, path: str) -> list[str]:
    """Names of the attention modules of a list of blocks, empty where there is no such list."""
    try:
        blocks = model.get_submodule(path)
    except AttributeError:
        return []
    return [f"{path}.{name}.attn" for name, block in blocks.named_children() if hasattr(block, "attn")]


def _vision_blocks(model: nn.Module) -> list[str]:
    native = _blocks(model, "visual.transformer.resblocks")
    if native:
        return native
    trunk = getattr(model.visual, "trunk", None)
    return _blocks(model, "visual.trunk.blocks") if trunk is not None and _has_plain_blocks(trunk) else []


def _has_plain_blocks(trunk: Any) -> bool:
    """Whether a timm trunk is a plain ViT: all tokens attend to all, in one list of blocks."""
    blocks = getattr(trunk, "blocks", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or not len(blocks):
        return False
    grid = getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
    heads = [getattr(getattr(block, "attn", None), "num_heads", None) for block in blocks]
    return grid is not None and None not in heads


def _poolers(model: nn.Module) -> list[str]:
    """The pooler whose output is the image tokens of a decoder, or the image embedding."""
    visual = model.visual
    if getattr(visual, "attn_pool", None) is not None:
        return ["visual.attn_pool.attn"]
    if hasattr(visual, "attnpool"):
        return ["visual.attnpool"]
    trunk = getattr(visual, "trunk", None)
    if trunk is not None and _has_plain_blocks(trunk) and getattr(trunk, "attn_pool", None) is not None:
        return ["visual.trunk.attn_pool"]
    return []


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)
