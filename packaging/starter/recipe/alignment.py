"""Alignment of regions with words: the patches of a noun's boxes should be nearest to that noun's label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer

from recipe.coca import CONTEXT
from recipe.forward import cut, encode_texts

REFRESH_EVERY = 10


class LabelBank:
    """Unit vectors of all label prompts, computed anew every few steps and without gradient.

    Parameters
    ----------
    tokens
        The tokenizer.
    prompts
        The label prompts, in the order of the label set.
    """

    def __init__(self, tokens: SimpleTokenizer, prompts: Sequence[str]) -> None:
        self._rows = cut(tokens(list(prompts), context_length=CONTEXT))  # [L, T]
        self._vectors: torch.Tensor | None = None
        self._age = 0

    @torch.no_grad()
    def vectors(self, model: CoCa, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Unit vectors [L, D] of the label prompts, at most `REFRESH_EVERY` steps old."""
        if self._vectors is None or self._age >= REFRESH_EVERY:
            self._vectors = encode_texts(model, self._rows.to(device), dtype)[0]
            self._age = 0
        self._age += 1
        return self._vectors


def region_vectors(
    model: CoCa, patches: torch.Tensor, rows: torch.Tensor, inside: torch.Tensor
) -> torch.Tensor:
    """Unit vectors of regions in the space that pictures and texts share.

    Parameters
    ----------
    patches
        [B, P, W], the picture tower's tokens.
    rows
        int64 [N], the picture of each region.
    inside
        bool [N, P], the patches of each region.

    Returns
    -------
    Tensor
        [N, D], the mean of the region's patches, projected like the tower's own pooled token; 0 for a region
        without patches.
    """
    share = inside.float() / inside.sum(1, keepdim=True).clamp_min(1)
    mean = torch.einsum("np,npw->nw", share, patches[rows].float())
    return F.normalize(mean @ model.visual.proj.float(), dim=-1)


def alignment_loss(
    vectors: torch.Tensor, labels: torch.Tensor, bank: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of vectors [N, D] with their labels [N] over the whole bank [L, D]."""
    return F.cross_entropy(scale * vectors @ bank.T, labels)
