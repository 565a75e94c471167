"""What a sound should lie near: the vectors of texts under a frozen text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipe.coca import CONTEXT, load_folder
from recipe.concepts import with_article


class Targets:
    """Vectors of labels and captions of an exported starter.

    Attributes
    ----------
    model, tokens
        The starter and its tokenizer.
    names
        The label set, from `names` or the folder's labels.txt.
    labels
        float32 [L, D], unit vectors of the labels with their articles.
    scale
        The model's own factor on similarities.
    """

    def __init__(self, folder: Path, names: Path | None = None) -> None:
        self.model, _, self.tokens = load_folder(folder)
        self.names = (names or folder / "labels.txt").read_text(encoding="utf-8").splitlines()
        self.scale = float(self.model.logit_scale.detach().exp())
        self._kept: dict[str, torch.Tensor] = {}
        self.labels = self.texts([with_article(name) for name in self.names])

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, D]; each text is encoded once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if new:
            # The text tower alone: an Encoder would prepare the image tower too, each time.
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                vectors = self.model.encode_text(self.tokens(new, context_length=CONTEXT), normalize=True)
            self._kept.update(zip(new, vectors, strict=True))
        return torch.stack([self._kept[text] for text in texts])
