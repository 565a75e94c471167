"""Pictures and texts encoded once, for everything that is measured of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipe.coca import CONTEXT, normalise
from recipe.forward import encode_images
from recipe.scenes import Scene
from recipe.stem import Features, openvino_features, stem_of, torch_features

CHUNK = 64


class Encoded(NamedTuple):
    """Pictures as the model sees them: unit vectors [N, D] and patch tokens [N, P, W]."""

    vectors: torch.Tensor
    patches: torch.Tensor

    def of(self, chosen: Sequence[int]) -> Encoded:
        """Some of the pictures."""
        rows = torch.tensor(list(chosen), dtype=torch.int64)
        return Encoded(self.vectors[rows], self.patches[rows])


class Encoder:
    """A model with its tokenizer; pictures of any size are brought to the model's own.

    Parameters
    ----------
    model, tokens
        The model in evaluation mode, and its tokenizer.
    """

    def __init__(self, model: CoCa, tokens: SimpleTokenizer) -> None:
        self.model, self.tokens = model.eval(), tokens
        size = model.visual.image_size
        self.size = int(size[0] if isinstance(size, tuple) else size)
        self.grid = self.size // int(model.visual.patch_size[0])
        self._stem = self._fast_stem()

    def _fast_stem(self) -> Features | None:
        stem = stem_of(self.model)
        if stem is None:
            return None
        try:
            return openvino_features(stem, self.size, precision="f32")
        except ImportError:
            return torch_features(stem)

    @torch.no_grad()
    def images(self, pictures: torch.Tensor) -> Encoded:
        """Encode pictures uint8 [N, 3, H, W]."""
        vectors, patches = [], []
        for part in torch.split(pictures, CHUNK):
            if part.shape[-1] != self.size:
                resized = torch.nn.functional.interpolate(
                    part.float(), size=(self.size, self.size), mode="bicubic", antialias=True
                )
                part = resized.round().clamp(0, 255).to(torch.uint8)
            if self._stem is not None:
                found = encode_images(self.model, self._stem(part).float())
            else:
                with sdpa_kernel(SDPBackend.MATH):
                    found = self.model._encode_image(normalise(part))
            vectors.append(found[0])
            patches.append(found[1])
        return Encoded(torch.cat(vectors), torch.cat(patches))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, D] of texts."""
        rows = self.tokens(list(texts), context_length=CONTEXT)
        with sdpa_kernel(SDPBackend.MATH):
            parts = [self.model.encode_text(part, normalize=True) for part in torch.split(rows, CHUNK)]
        return torch.cat(parts)

    @torch.no_grad()
    def logits(self, patches: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores [N, T, V] of the next token at each position of rows int64 [N, T]."""
        with sdpa_kernel(SDPBackend.MATH):
            _, embedded = self.model._encode_text(rows)
            return torch.as_tensor(self.model.text_decoder(patches, embedded))


def stacked(scenes: Sequence[Scene]) -> torch.Tensor:
    """The pictures of scenes, uint8 [N, 3, H, W]."""
    return torch.from_numpy(np.stack([s.image for s in scenes]).transpose(0, 3, 1, 2).copy())
