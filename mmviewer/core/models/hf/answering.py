"""Models that choose one of the answers they know: the answer is a single token behind the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder, LoadedModel, Prepared
from mmviewer.core.models.hf.text import TextCodec


class Choice(Decoder):
    """The one step of an answer."""

    stop: frozenset[int] = frozenset()
    room = 1

    def __init__(self, model: LoadedModel, prepared: Prepared, prompt: tuple[int, ...]) -> None:
        self._model, self._prepared, self.prompt = model, prepared, prompt

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the answer."""
        if ids:
            raise ValueError("an answer is one token")
        return self._model.sequence_logits(self._prepared, self.prompt)[-1]

    def finished(self, ids: Sequence[int]) -> bool:
        """An answer is one token."""
        return bool(ids)


class AnswerCodec(TextCodec):
    """A tokenizer whose vocabulary the labels of answers follow."""

    def __init__(self, tokenizer: Any, context_length: int, words: int, labels: Mapping[int, str]) -> None:
        super().__init__(tokenizer, context_length)
        self._words, self._labels = words, labels

    def label(self, answer: str) -> int:
        """Which of the known answers it is; raises `InputError` for another one."""
        wanted = " ".join(answer.lower().split())
        for index, known in self._labels.items():
            if known.lower() == wanted:
                return index
        some = ", ".join(list(self._labels.values())[:8])
        raise InputError(
            f"This model chooses among {len(self._labels):,} answers, and “{answer[:40]}” is none of them; "
            f"take one of these, such as {some}."
        )

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        said = [token for token in ids if token < self._words]
        answers = [f" {self._labels.get(token - self._words, '')}" for token in ids if token >= self._words]
        return [*super()._pieces(said), *answers]  # an answer comes last


def answer_logits(chosen: Tensor, length: int, words: int) -> Tensor:
    """Logits [B, T, words + labels] of a question of `length` tokens, whose last one chooses an answer.

    `chosen` [B, labels] are the logits of the answers; no word of the vocabulary can be said in their place.
    """
    within = chosen.new_zeros(len(chosen), length - 1, words + chosen.shape[1])
    unsaid = chosen.new_full((len(chosen), words), float("-inf"))
    last = torch.cat((unsaid, chosen), dim=1)[:, None]
    return torch.cat((within, last), dim=1)
