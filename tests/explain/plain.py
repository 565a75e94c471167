"""Methods written a second time, as plainly as their formulas, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from independent import EagerCopy
from torch import Tensor
from torch.nn import functional

from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import PointRole


def text_vectors(model: LoadedModel, texts: Sequence[str]) -> Tensor:
    """Unit embeddings [N, D]."""
    with torch.no_grad():
        return model.text_features(list(texts)).double()


class Blocks:
    """Inputs and outputs of every block of an image tower, and of what its attention is fed."""

    def __init__(self, blocks: Sequence[torch.nn.Module]) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        for block in blocks:
            block.register_forward_hook(self._keep)

    def _keep(self, _: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self.inputs.append(args[0])
        self.outputs.append(output)


def pool_of_timm(pool: torch.nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """timm's latent attention pooling by hand: weights [B, H, 1, K] on the graph, and the output [B, C]."""
    batch, count, width = tokens.shape
    query = pool.q(pool.latent.expand(batch, -1, -1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    both = pool.kv(tokens).reshape(batch, count, 2, pool.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = query @ both[0].transpose(-1, -2) / query.shape[-1] ** 0.5
    weights = scores.softmax(-1)
    if not weights.requires_grad:
        weights.requires_grad_()
    mixed = pool.proj((weights @ both[1]).transpose(1, 2).reshape(batch, 1, width))
    return weights, (mixed + pool.mlp(pool.norm(mixed)))[:, 0]


def legrad_of_clip(model: LoadedModel, prepared: Prepared, vector: Tensor) -> np.ndarray:
    """LeGrad of a CLIP vision transformer over patches, [L, P]."""
    eager = EagerCopy(model, prepared)
    visual = eager.module.visual
    blocks = Blocks(visual.transformer.resblocks)
    eager.image_embedding()
    maps = []
    for output, attention in zip(
        blocks.outputs, eager.attentions(model.point(PointRole.ENCODER_SELF)), strict=True
    ):
        feature = functional.normalize(visual.ln_post(output.mean(1)) @ visual.proj, dim=-1)
        (gradient,) = torch.autograd.grad(feature[0] @ vector, attention.weights, retain_graph=True)
        maps.append(gradient[0].clamp(min=0).mean(0).mean(0)[1:])
    return torch.stack(maps).detach().numpy()


def legrad_of_coca(model: LoadedModel, prepared: Prepared, vector: Tensor) -> np.ndarray:
    """LeGrad of a CoCa: gradients of the pooler's attention, applied to each layer's output, [L, P]."""
    eager = EagerCopy(model, prepared)
    visual = eager.module.visual
    blocks = Blocks(visual.transformer.resblocks)
    eager.image_embedding()
    maps = []
    for output in [each.detach() for each in blocks.outputs]:
        feature = functional.normalize(visual.ln_post(visual.attn_pool(output))[:, 0] @ visual.proj, dim=-1)
        weights = visual.attn_pool.attn.weights
        (gradient,) = torch.autograd.grad(feature[0] @ vector, weights)
        maps.append(gradient[0].clamp(min=0).mean(0)[0, 1:])
    return torch.stack(maps).detach().numpy()


def legrad_of_siglip(model: LoadedModel, prepared: Prepared, vector: Tensor) -> np.ndarray:
    """LeGrad of a SigLIP: gradients of its pooling head's attention, applied to each layer's output."""
    eager = EagerCopy(model, prepared)
    trunk = eager.module.visual.trunk
    blocks = Blocks(trunk.blocks)
    eager.image_embedding()
    maps = []
    for output in [each.detach() for each in blocks.outputs]:
        tokens = trunk.norm(output)
        kept = tokens if trunk.pool_include_prefix else tokens[:, trunk.num_prefix_tokens :]
        weights, pooled = pool_of_timm(trunk.attn_pool, kept)
        (gradient,) = torch.autograd.grad(functional.normalize(pooled, dim=-1)[0] @ vector, weights)
        maps.append(gradient[0].clamp(min=0).mean(0)[0, -100:])
    return torch.stack(maps).detach().numpy()


def value_path(model: LoadedModel, prepared: Prepared, start: int) -> Tensor:
    """Unit embeddings [1 + P, D] of a CLIP tower's tokens along value-value attention from a block on."""
    eager = EagerCopy(model, prepared)
    visual = eager.module.visual
    blocks = Blocks(visual.transformer.resblocks)
    eager.image_embedding()
    beside = blocks.inputs[start]
    for block, hidden in list(zip(visual.transformer.resblocks, blocks.inputs, strict=True))[start:]:
        attention = block.attn
        values = (block.ln_1(hidden) @ attention.projections[2].T + attention.biases[2])[0]  # [N, W]
        joined = []
        for head in values.chunk(attention.heads, dim=-1):
            likeness = torch.softmax(head @ head.T / head.shape[-1] ** 0.5, dim=-1)
            joined.append(likeness @ head)
        beside = beside + block.ls_1(attention.out(torch.cat(joined, -1)))[None]
    if visual.attn_pool is not None:
        single = visual.ln_post(visual.attn_pool(beside[0][:, None]))[:, 0]
    else:
        single = visual.ln_post(beside[0])
    return functional.normalize(single @ visual.proj, dim=-1).detach()


def grad_eclip(
    attention: torch.nn.Module, score: Tensor, inputs: tuple[Tensor, Tensor], row: int, first: int = 0
) -> np.ndarray:
    """Grad-ECLIP over the keys [K] of one attention module, whose query and key inputs are given.

    Keys before the `first` place of the input, such as a class token, do not take part.
    Sums over channels come from the gradient of the weights: d s / d A[h, q, k] = g[h, q] . v[h, k].
    """
    query, key = (
        part[0] @ weight.T + bias
        for part, weight, bias in zip(inputs, attention.projections, attention.biases, strict=False)
    )
    (slopes,) = torch.autograd.grad(score, attention.weights, retain_graph=True)  # [1, H, Q, K]
    pushed = slopes[0, :, row, first:].sum(0)  # [K]
    cosine = functional.cosine_similarity(query[row][None], key[first:], dim=-1)
    low, high = cosine.min(), cosine.max()
    patches = (pushed * (cosine - low) / (high - low)).clamp(min=0)
    return patches.detach().numpy()


def hidden_pixels(prepared: Prepared, keep: np.ndarray, fill: Tensor) -> Tensor:
    """Pixels [1, 3, H, W] in which the patches with keep [R, C] = 0 are replaced by `fill`, one by one."""
    pixels = prepared.inputs["pixels"].clone()
    rows, columns = keep.shape
    height, width = pixels.shape[2] // rows, pixels.shape[3] // columns
    for row in range(rows):
        for column in range(columns):
            if not keep[row, column]:
                place = (
                    slice(None),
                    slice(None),
                    slice(row * height, (row + 1) * height),
                    slice(column * width, (column + 1) * width),
                )
                pixels[place] = fill[place]
    return pixels
