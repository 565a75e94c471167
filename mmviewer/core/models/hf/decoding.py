"""Writing one token after the other with a model of transformers that keeps keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""Takes new ids [1, n] and the cache (None at first); gives logits [1, n, V] and the cache."""


class CachedDecoder(Decoder):
    """One running text: the prompt is read in one step, then token after token.

    Parameters
    ----------
    step : callable
        See `Step`.
    prompt : tuple of int
    stop : frozenset of int
    context : int
        Tokens that the model reads at most, the prompt included.

    Raises
    ------
    InputError
        The prompt leaves no room to write on.
    """

    def __init__(self, step: Step, prompt: tuple[int, ...], stop: frozenset[int], context: int) -> None:
        self.prompt = prompt
        self.stop = stop
        self.room = context - len(prompt) + 1  # the last token is written, but not read
        if self.room < 2:  # a word and the end
            raise InputError(
                f"The given text has {len(prompt)} tokens and leaves no room to write on: this model reads "
                f"and writes {context} in all; give a shorter one."
            )
        self._step = step
        self._read = 0
        self._cache: Any = None

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the token after `prompt + ids`."""
        sequence = [*self.prompt, *ids]
        if len(sequence) != max(self._read + 1, len(self.prompt)):
            raise ValueError("a decoder takes one more token at each step")
        new = torch.tensor([sequence[self._read :]])
        logits, self._cache = self._step(new, self._cache)
        self._read = len(sequence)
        last: Tensor = logits[0, -1].float()
        return last
