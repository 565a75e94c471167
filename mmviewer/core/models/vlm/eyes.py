"""How a picture enters a vision-language model: pixels, places in the text, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Prepared
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.types import Media


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture as a model takes it.

    Parameters
    ----------
    inputs : dict
        "pixels" is the canvas [1, 3, H, W] that everything the model sees of the picture is cut from; more
        where the family needs it.
    geometry : ImageGeometry
        Of the canvas and its grid of positions.
    placeholder : str
        What stands for the picture in the text, one image token for each of its N embeddings.
    spread : Tensor [N, P] or None
        Shares of an image token's weight that its positions get, rows summing to at most one; None where
        the tokens are the positions, row by row.
    """

    inputs: dict[str, Tensor]
    geometry: ImageGeometry
    placeholder: str
    spread: Tensor | None = None


class Eyes(ABC):
    """What differs between families in how they look at a picture."""

    patches = 0
    """Patches of the image encoder, where the picture goes through it once and as a whole."""

    @abstractmethod
    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Preprocess a picture exactly as the model was trained."""

    @abstractmethod
    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """What the image encoder takes of pictures of one layout; differentiable."""

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """What the language model takes beside the embeddings of the ids [B, T]."""
        return {}

    def model_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """What the model takes beside the ids [B, T]."""
        return {**self.pixel_inputs(batch), **self.layout_inputs(batch, ids)}

    @abstractmethod
    def describe(self) -> str:
        """One line for provenance."""

    def step_inputs(self, prepared: Prepared, length: int) -> dict[str, Tensor]:
        """What the model takes beside the token at place `length - 1`, when it is fed by itself."""
        return {}

    def kept(self, output: Any) -> dict[str, Tensor]:
        """What of the output for the prompt is given to the model again with every further token."""
        return {}


class OneLook(Eyes):
    """The whole picture at one fixed size.

    Parameters
    ----------
    pixels : Pixels
    token : str
        The image token.
    extra : int
        How many of them precede those of the positions (a class token).
    """

    def __init__(self, pixels: Pixels, token: str, extra: int = 0) -> None:
        self._pixels = pixels
        self._extra = extra
        rows, columns = pixels.grid
        self._positions = self.patches = rows * columns
        self._placeholder = token * (self._positions + extra)

    def look(self, media: Media, device: torch.device, dtype: torch.dtype) -> Look:
        """Resize and normalise; one token per patch."""
        values, geometry = self._pixels.prepare(media, device, dtype)
        spread = None
        if self._extra:
            spread = torch.eye(self._positions, device=device)
            spread = torch.cat((torch.zeros(self._extra, self._positions, device=device), spread))
        return Look({"pixels": values}, geometry, self._placeholder, spread)

    def pixel_inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pixels of all pictures [B, 3, H, W]."""
        return {"pixel_values": torch.cat([prepared.inputs["pixels"] for prepared in batch])}

    def describe(self) -> str:
        """Size, resizing and normalisation."""
        return self._pixels.describe()


class PrefixLook(OneLook):
    """One look in a model that reads picture and question in both directions, up to the question's newline.

    Parameters
    ----------
    pixels, token
        As in `OneLook`.
    newline : int
        Id of the token that ends the question.
    """

    def __init__(self, pixels: Pixels, token: str, newline: int) -> None:
        super().__init__(pixels, token)
        self._newline = newline

    def layout_inputs(self, batch: Sequence[Prepared], ids: Tensor) -> dict[str, Tensor]:
        """Which tokens are the answer (1), each of which sees only what is before it."""
        ends = (ids == self._newline).long()
        return {"token_type_ids": (ends.cumsum(-1) - ends).clamp(max=1)}  # [B, T]
