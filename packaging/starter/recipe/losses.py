"""What a batch is trained on: captions told apart and written, answers, nouns looked at and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from torch import Tensor

from recipe.alignment import LabelBank, alignment_loss, region_vectors
from recipe.batches import Batch
from recipe.forward import (
    Decoded,
    cut,
    decode,
    encode_images,
    encode_texts,
    patch_features,
    vocabulary_logits,
)

MIN_MASS = 1e-4
_NOUNS_FIRST = 0.35


class Weights(NamedTuple):
    """How much each part of the loss counts."""

    contrastive: float = 1.0
    captioning: float = 4.0
    answering: float = 2.0
    guidance: float = 0.3
    alignment: float = 1.0


class Losses(NamedTuple):
    """The parts of the loss before they are weighted, in the order of `Weights`."""

    contrastive: Tensor
    captioning: Tensor
    answering: Tensor
    guidance: Tensor
    alignment: Tensor

    def total(self, weights: Weights) -> Tensor:
        """The weighted sum."""
        return torch.stack([w * part for w, part in zip(weights, self, strict=True)]).sum()


def losses(
    model: CoCa,
    batch: Batch,
    bank: LabelBank,
    *,
    guide_layer: int,
    kept: float = 1.0,
    dtype: torch.dtype = torch.bfloat16,
    encode: Callable[[CoCa, Tensor, Tensor | None], tuple[Tensor, Tensor]] = encode_images,
) -> Losses:
    """The losses of one batch, which lies where the model does.

    Parameters
    ----------
    model, batch, bank
        What is trained, on what, and the labels' vectors.
    guide_layer
        Layer of the decoder whose cross-attention should lie on the nouns.
    kept
        Share of each picture's patches that is computed; the rest is left out at random, background first.
    dtype
        Type of the activations.
    encode
        `encode_images`, or what a compiler made of it.
    """
    pixels = batch.images.ndim == 4
    features = (patch_features(model, batch.images) if pixels else batch.images).to(dtype)
    keep = kept_patches(batch, kept) if kept < 1 else None
    inside = batch.noun_inside if keep is None else batch.noun_inside.gather(1, keep[batch.noun_row])
    pictures, patches = encode(model, features, keep)
    rows = cut(torch.cat([batch.captions, batch.questions, batch.negatives]))
    texts, words = encode_texts(model, rows, dtype)
    learnt = (batch.next_tokens != 0)[:, : rows.shape[1] - 1]
    # A row is computed up to its last label; one without any keeps a single position.
    lengths = (learnt * torch.arange(1, rows.shape[1], device=rows.device)).amax(1).clamp_min(1)
    of_slots = words[:, :-1].index_select(0, batch.slots)  # [B * SLOTS, T, W]
    decoded = decode(model, patches, of_slots, lengths, guide_layer)
    captioning, answering = _decoding(model, batch, decoded)
    prompts = bank.vectors(model, rows.device, dtype)
    return Losses(
        _contrastive(pictures, texts, model.logit_scale.exp(), batch),
        captioning,
        answering,
        _guidance(batch, decoded.attention, inside),
        _alignment(model, batch, pictures, patches, prompts, inside),
    )


def kept_patches(batch: Batch, share: float) -> Tensor:
    """Patches that are kept of each picture, int64 [B, K] in reading order: nouns first, else at random."""
    pictures, count = len(batch.images), batch.noun_inside.shape[1]
    on_noun = torch.zeros(pictures, count, device=batch.images.device)
    on_noun.index_add_(0, batch.noun_row, batch.noun_inside.float())
    score = torch.rand_like(on_noun) + _NOUNS_FIRST * (on_noun > 0)
    return score.topk(max(1, round(share * count)), dim=1).indices.sort(1).values


def _decoding(model: CoCa, batch: Batch, decoded: Decoded) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the captions' and of the answers' tokens, each a mean over its tokens."""
    packing = decoded.packing
    labels = batch.next_tokens[:, : packing.length].flatten()[packing.index]  # [N]
    learnt = labels != 0
    logits = vocabulary_logits(model, decoded.states[learnt])
    of_token = F.cross_entropy(logits, labels[learnt], reduction="none")
    answers = batch.answers[packing.index // packing.length][learnt]
    return _mean(of_token, ~answers), _mean(of_token, answers)


def _guidance(batch: Batch, attention: Tensor, inside: Tensor) -> Tensor:
    """Negative logarithm of the attention's mass on the noun's patches."""
    at = attention[batch.look_slot, :, batch.look_position].float().mean(1)  # [L, P], mean over heads
    wanted = inside[batch.look_noun]
    mass = (at * wanted).sum(-1)
    return _mean(-mass.clamp_min(MIN_MASS).log(), wanted.any(1))


def _alignment(
    model: CoCa, batch: Batch, pictures: Tensor, patches: Tensor, prompts: Tensor, inside: Tensor
) -> Tensor:
    """Regions with their labels, and whole pictures with theirs where they show one kind of thing."""
    scale = model.logit_scale.detach().exp()
    seen = inside.any(1)
    regions = region_vectors(model, patches, batch.noun_row[seen], inside[seen])
    of_regions = alignment_loss(regions, batch.noun_label[seen], prompts, scale)
    nouns_in_row = torch.bincount(batch.noun_row, minlength=len(pictures))
    alone = nouns_in_row[batch.noun_row] == 1
    if not alone.any():
        return of_regions
    of_pictures = alignment_loss(pictures[batch.noun_row[alone]], batch.noun_label[alone], prompts, scale)
    return (of_regions + of_pictures) / 2


def _contrastive(pictures: Tensor, texts: Tensor, scale: Tensor, batch: Batch) -> Tensor:
    """Symmetric cross-entropy over the batch, pictures also against false captions.

    Another row with the very same caption, and a false caption that is another picture's, is no negative.
    """
    count = len(batch.captions)
    others = torch.cat([batch.captions, batch.negatives])
    same = (batch.captions[:, None] == others[None]).all(-1)  # [B, B + N]
    same.fill_diagonal_(False)
    columns = torch.cat([texts[:count], texts[len(texts) - len(batch.negatives) :]])
    logits = (scale * pictures @ columns.T).masked_fill(same, float("-inf"))  # [B, B + N]
    target = torch.arange(count, device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :count].T, target)) / 2


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values, 0 when there are none."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
