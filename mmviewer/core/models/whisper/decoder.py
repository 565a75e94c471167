"""Transcribing one token at a time, window after window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.models.base import Decoder


class WhisperDecoder(Decoder):
    """One running transcript, with keys and values kept.

    Parameters
    ----------
    network : WhisperForConditionalGeneration
    encode : callable
        Gives the encoder's output [1, P, D] of a window.
    windows : int
        How many windows the sound has.
    prompt : tuple of int
        Fed before the text of each window.
    """

    def __init__(
        self, network: Any, encode: Callable[[int], Tensor], windows: int, prompt: tuple[int, ...]
    ) -> None:
        self.prompt = prompt
        self.windows = windows
        self._network = network
        self._encode = encode
        self._settings = network.generation_config
        self._context = int(network.config.max_target_positions)
        self.stop = frozenset((int(self._settings.eos_token_id),))
        self.room = windows * (self._context - len(prompt) + 1)
        self._window = -1
        self._cache: Any = None
        self._heard: Tensor | None = None

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the token after `prompt + ids`."""
        window = min(sum(token in self.stop for token in ids), self.windows - 1)
        if window != self._window:
            self._window, self._cache = window, None
            self._heard = self._encode(window)
            fed = self.prompt
        else:
            fed = (ids[-1],)
        output = self._network.model.decoder(
            torch.tensor([fed], device=self._network.device),
            encoder_hidden_states=self._heard,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        logits: Tensor = self._network.proj_out(output.last_hidden_state[0, -1]).float()
        return logits

    def suppressed(self, ids: Sequence[int]) -> Sequence[int]:
        """Ids that the generation settings forbid; at the end of the context, all but the end token."""
        written = self._written(ids)
        if len(self.prompt) + written >= self._context:
            return [token for token in range(self._network.config.vocab_size) if token not in self.stop]
        always = getattr(self._settings, "suppress_tokens", None) or ()
        first = getattr(self._settings, "begin_suppress_tokens", None) or ()
        return (*always, *first) if written == 0 else tuple(always)

    def _written(self, ids: Sequence[int]) -> int:
        """Tokens of the present window."""
        return next((back for back, token in enumerate(reversed(ids)) if token in self.stop), len(ids))
