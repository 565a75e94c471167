"""An encoder as a stack of layers, for methods that look between input and embedding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from mmviewer.core.models.base import Prepared


class Tower(ABC):
    """What turns an input into its embedding: `start`, each `layer` in turn, then `embed`.

    Hidden states are [B, N, W]: N positions of width W, class and register tokens first. Everything is
    differentiable, and recorders see the attention inside.

    Attributes
    ----------
    layers : int
    prefix : int
        Class and register tokens before the positions of the input.
    """

    layers: int
    prefix: int

    @abstractmethod
    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Return the hidden states [B, N, W] that enter the first layer."""

    @abstractmethod
    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """Return what a layer makes of hidden states [B, N, W]."""

    def layer_and_mean(self, index: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """As `layer`, cut off from the graph, and the mean of its positions [B, W], which stays on it."""
        output = self.layer(index, hidden)
        return output.detach(), output.mean(1)

    @abstractmethod
    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Return what a layer's attention adds to its input [B, N, W] for mixed values [B, H, N, D]."""

    @abstractmethod
    def embed(self, hidden: Tensor) -> Tensor:
        """Return the unit embeddings [B, E] of the last layer's hidden states: norm, pooling, projection."""

    @abstractmethod
    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Return unit embeddings [..., E] of single hidden vectors [..., W], as if each were all there is."""
