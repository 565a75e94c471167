"""Writing one token after the other, with keys and values kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder, Prepared

if TYPE_CHECKING:
    from mmviewer.core.models.vlm.model import VisionLanguageModel


class JointDecoder(Decoder):
    """One running answer of a model that reads image and text as one sequence.

    Raises
    ------
    InputError
        The prompt leaves no room to write on.
    """

    def __init__(self, model: VisionLanguageModel, prepared: Prepared, prompt: tuple[int, ...]) -> None:
        self.prompt = prompt
        self.stop = model.stop
        self.room = model.info.context_length - len(prompt) + 1  # the last token is written, but not read
        if self.room < 2:
            raise InputError(
                f"Picture and text take {len(prompt)} tokens and leave no room for an answer: "
                f"{model.info.label} reads and writes {model.info.context_length} in all; shorten the text."
            )
        self._model = model
        self._prepared = prepared
        self._cache: Any = None
        self._kept: dict[str, Tensor] = {}
        self._fed = 0

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the token after `prompt + ids`."""
        sequence = [*self.prompt, *ids]
        new = sequence[self._fed :]
        if len(new) != (1 if self._fed else len(self.prompt)):
            raise ValueError("a decoder takes one more token at each step")
        output = self._model.step(self._prepared, sequence, len(new), self._cache, self._kept)
        if self._cache is None:
            self._kept = self._model.kept(output)
        self._cache = output.past_key_values
        self._fed = len(sequence)
        logits: Tensor = output.logits[0, -1].float()
        return logits

    def suppressed(self, ids: Sequence[int]) -> Sequence[int]:
        """Image tokens, which are only ever read."""
        return self._model.unwritten
