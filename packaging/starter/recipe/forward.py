"""The forward pass that training runs: open_clip's CoCa to the letter, with fewer copies of its activations.

The library's modules are made for any configuration; under autocast they move every activation between
float32 and bfloat16 several times a layer and compute rows of padding. Here the activations stay in one type
throughout, rows of words are packed for all but the attention itself, words reach the decoder's
cross-attention side by side for each picture, and only positions with a label are projected onto the
vocabulary. Parameters stay where they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from recipe.coca import normalise
from recipe.stem import stem_of, torch_features


class Packing(NamedTuple):
    """Rows of different lengths as one list of positions: `index` int64 [N] into [R * T], row by row."""

    index: Tensor
    rows: int
    length: int

    def pack(self, x: Tensor) -> Tensor:
        """[R, T, W] as [N, W]."""
        return x.flatten(0, 1).index_select(0, self.index)

    def unpack(self, x: Tensor) -> Tensor:
        """[N, W] as [R, T, W], 0 where there is nothing."""
        padded = x.new_zeros(self.rows * self.length, x.shape[-1]).index_copy(0, self.index, x)
        return padded.view(self.rows, self.length, -1)


class Decoded(NamedTuple):
    """The decoder's last states [N, W], their places, and one layer's map [R, H, T, P]."""

    states: Tensor
    packing: Packing
    attention: Tensor


def packing_of(valid: Tensor) -> Packing:
    """The places of what is valid, bool [R, T]."""
    return Packing(valid.flatten().nonzero()[:, 0], *valid.shape)


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, need_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention; on a CPU by its mathematics, as the fused kernel's backward pass is slow there.

    Parameters
    ----------
    query
        [B, H, Q, D]
    key, value
        [B, H, K, D]
    mask
        Added to the scores, broadcast to [B, H, Q, K].

    Returns
    -------
    tuple
        The values' means [B, H, Q, D], and the weights [B, H, Q, K] where they are needed.
    """
    if query.is_cuda and not need_weights:
        return F.scaled_dot_product_attention(query, key, value, mask), None
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, H, Q, K]
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1)
    return weights @ value, weights if need_weights else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def _norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def _heads(x: Tensor, count: int) -> Tensor:
    """[B, T, W] as [B, H, T, W / H]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def _mlp(x: Tensor, block: ResidualAttentionBlock) -> Tensor:
    inner = F.gelu(_linear(_norm(x, block.ln_2), block.mlp.c_fc.weight, block.mlp.c_fc.bias))
    return x + _linear(inner, block.mlp.c_proj.weight, block.mlp.c_proj.bias)


def _self_block(
    x: Tensor, block: ResidualAttentionBlock, mask: Tensor | None = None, packing: Packing | None = None
) -> Tensor:
    """One layer on [B, T, W], or on the packed positions [N, W] of such."""
    own = block.attn
    projected = _linear(_norm(x, block.ln_1), own.in_proj_weight, own.in_proj_bias)  # [B, T, 3 W] or [N, 3 W]
    padded = projected if packing is None else packing.unpack(projected)
    query, key, value = (_heads(part, own.num_heads) for part in padded.chunk(3, dim=-1))
    mean, _ = attention(query, key, value, mask)
    mean = mean.transpose(1, 2).flatten(2)  # [B, T, W]
    x = x + _linear(mean if packing is None else packing.pack(mean), own.out_proj.weight, own.out_proj.bias)
    return _mlp(x, block)


def _cross_block(
    x: Tensor, patches: Tensor, block: ResidualAttentionBlock, packing: Packing, *, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Packed words [N, W] look at patches [B, P, W]; each picture has as many neighbouring rows of words."""
    own, width, heads = block.attn, x.shape[-1], block.attn.num_heads
    weight, bias = own.in_proj_weight, own.in_proj_bias
    query = packing.unpack(_linear(_norm(x, block.ln_1), weight[:width], bias[:width]))  # [R, T, W]
    key, value = _linear(_norm(patches, block.ln_1_kv), weight[width:], bias[width:]).chunk(2, dim=-1)
    side_by_side = query.reshape(len(patches), -1, width)  # [B, R / B * T, W]
    mean, weights = attention(
        _heads(side_by_side, heads), _heads(key, heads), _heads(value, heads), need_weights=need_weights
    )
    mean = packing.pack(mean.transpose(1, 2).reshape(query.shape))
    x = x + _linear(mean, own.out_proj.weight, own.out_proj.bias)
    if weights is not None:
        by_row = weights.unflatten(2, (packing.rows // len(patches), -1))  # [B, H, R / B, T, P]
        weights = by_row.transpose(1, 2).flatten(0, 1)  # [R, H, T, P]
    return _mlp(x, block), weights


def patch_features(model: CoCa, pixels: Tensor) -> Tensor:
    """What the patch embedding reads of pixels uint8 [B, 3, H, W]: [B, P, F] in float32, without a gradient.

    The stem's features, or where there is no stem the normalised pixels of each patch.
    """
    stem = stem_of(model)
    if stem is not None:
        return torch_features(stem)(pixels)
    size = model.visual.patch_size[0]
    unfolded = normalise(pixels).unfold(2, size, size).unfold(3, size, size)  # [B, 3, G, G, S, S]
    return unfolded.permute(0, 2, 3, 1, 4, 5).reshape(len(pixels), -1, 3 * size * size)


def encode_images(model: CoCa, features: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unit vectors [B, D] and patch tokens [B, P, W] of what `patch_features` gives, in that one's type.

    `keep`, int64 [B, K], names the patches that are computed at all; P is then K.
    """
    tower = model.visual
    place = tower.positional_embedding.to(features.dtype)  # [1 + P, W], the pooling token's first
    at_patch = place[1:].expand(len(features), -1, -1)
    if keep is not None:
        features, at_patch = _gathered(features, keep), _gathered(at_patch, keep)
    x = _embedded(model, features) + at_patch
    pooling = (tower.class_embedding.to(x.dtype) + place[0]).expand(len(x), 1, -1)
    x = _norm(torch.cat([pooling, x], dim=1), tower.ln_pre)
    for block in tower.transformer.resblocks:
        x = _self_block(x, block)
    x = _norm(x, tower.ln_post)
    return F.normalize((x[:, 0] @ tower.proj.to(x.dtype)).float(), dim=-1), x[:, 1:]


def _embedded(model: CoCa, features: Tensor) -> Tensor:
    stem = stem_of(model)
    if stem is None:
        # A convolution whose stride is its size is a product with the patches.
        return _linear(features, model.visual.conv1.weight.flatten(1), None)
    fine, coarse = features.split([stem.middle_norm.weight.numel(), stem.deep_norm.weight.numel()], dim=-1)
    joined = torch.cat([_norm(fine, stem.middle_norm), _norm(coarse, stem.deep_norm)], dim=-1)
    return _linear(joined, stem.projection.weight, stem.projection.bias)


def _gathered(x: Tensor, keep: Tensor) -> Tensor:
    return x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))


def encode_texts(model: CoCa, tokens: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Unit vectors [R, D] and word tokens [R, T, W] of rows int64 [R, T], which may be cut (see `cut`).

    The word tokens are 0 behind the padding that a row sees (see `text_mask`).
    """
    tower = model.text
    length = tokens.shape[1]
    valid = F.pad(_seen_keys(tokens), (0, 1), value=True)  # [R, T + 1], the pooling token last
    packing = packing_of(valid)
    place = torch.cat([tower.positional_embedding[:length], tower.positional_embedding[-1:]])
    words = tower.token_embedding(F.pad(tokens, (0, 1)).flatten()[packing.index])  # [N, W]
    column = packing.index % (length + 1)
    pooling = (column == length)[:, None]
    x = (torch.where(pooling, tower.cls_emb, words) + place.index_select(0, column)).to(dtype)
    mask = text_mask(tokens, dtype)
    for block in tower.transformer.resblocks:
        x = _self_block(x, block, mask, packing)
    pooled = _norm(x[column == length], tower.ln_final) @ tower.text_projection.to(dtype)
    return F.normalize(pooled.float(), dim=-1), packing.unpack(x)[:, :-1]


def _seen_keys(tokens: Tensor) -> Tensor:
    """Positions bool [R, T] that count as keys: those behind a token, and the first."""
    return F.pad(tokens[:, :-1] != 0, (1, 0), value=True)


def text_mask(tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """Causal mask [R, 1, T + 1, T + 1] of rows with the pooling token behind them.

    Like open_clip's for the released CoCa weights: a key counts when the token *before* it is no padding, so
    that each row sees one token of padding, and the pooling token sees itself only in a row without any.
    """
    length = tokens.shape[1] + 1
    causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
    full = tokens[:, -1:] != 0
    seen = causal & torch.cat([_seen_keys(tokens), full], dim=1)[:, None, None]
    return torch.zeros(seen.shape, dtype=dtype, device=tokens.device).masked_fill(~seen, float("-inf"))


def cut(tokens: Tensor) -> Tensor:
    """Rows without the columns that are padding in all of them but for the first such column."""
    longest = int((tokens != 0).sum(1).max())
    return tokens[:, : longest + 1]


def decode(model: CoCa, patches: Tensor, words: Tensor, lengths: Tensor, layer: int) -> Decoded:
    """Run the decoder over words [B * n, T, W], n neighbouring rows for each picture's patches [B, P, W].

    Of each row only the first positions are computed, as many as `lengths`, int64 [B * n], says. `layer` is
    the layer whose cross-attention is handed back.
    """
    decoder = model.text_decoder
    length = words.shape[1]
    packing = packing_of(torch.arange(length, device=words.device) < lengths[:, None])
    x, found = packing.pack(words), None
    mask = decoder.attn_mask[:length, :length].to(x.dtype)
    for number, (own, cross) in enumerate(zip(decoder.resblocks, decoder.cross_attn, strict=True)):
        x = _self_block(x, own, mask, packing)
        x, weights = _cross_block(x, patches, cross, packing, need_weights=number == layer)
        found = weights if number == layer else found
    if found is None:
        raise ValueError(f"The decoder has no layer {layer}.")
    return Decoded(_norm(x, decoder.ln_final), packing, found)


def vocabulary_logits(model: CoCa, states: Tensor) -> Tensor:
    """Scores [N, V] in float32 of states [N, W] over the vocabulary."""
    return (states @ model.text_decoder.text_projection.to(states.dtype)).float()
