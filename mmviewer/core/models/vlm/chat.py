"""Putting questions to a model in the form that it was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.models.hf.text import TextCodec

History = Sequence[tuple[str, str]]
"""Earlier questions with their answers, oldest first."""

DESCRIBE = "Describe this image in one sentence."


class Chat:
    """Conversations about one picture, rendered by the chat template that came with the model.

    The ids of a conversation are those of its `lead` (all up to the picture, and the control tokens that
    close it) followed by those of `given` (the words and the signs that make the model answer).

    Parameters
    ----------
    tokenizer : object
        What ``AutoTokenizer`` gives.
    codec : TextCodec
    template : str
        A Jinja template.
    marker : str
        The token that stands for the picture in rendered text.
    """

    describe = DESCRIBE
    """What is asked for where nothing is."""
    remembers = True
    """Whether earlier turns have a place in what is fed."""

    def __init__(self, tokenizer: Any, codec: TextCodec, template: str, marker: str) -> None:
        self._tokenizer = tokenizer
        self._codec = codec
        self._template = template
        self.marker = marker
        self.marker_id = int(tokenizer.convert_tokens_to_ids(marker))

    def lead(self, placeholder: str) -> tuple[int, ...]:
        """Ids up to the picture, for which `placeholder` stands, and of the control tokens that close it."""
        before, after = self._around(self.render(self.describe, ()))
        return (*before, *self._codec.ids(placeholder), *after[: self._closing(after)])

    def places(self, lead: Sequence[int]) -> list[int]:
        """Where in a lead the picture's tokens are, in their order."""
        return [place for place, token in enumerate(lead) if token == self.marker_id]

    def given(self, question: str, history: History = ()) -> tuple[int, ...]:
        """Ids of what follows the picture: earlier turns, the question, and the signs for an answer.

        Raises `InputError` for texts that hold control tokens of the model.
        """
        for text in (question, *(part for turn in history for part in turn)):
            self._check(text)
        after = self._around(self.render(question, history))[1]
        return tuple(after[self._closing(after) :])

    def render(self, question: str, history: History) -> str:
        """The conversation as one text with the marker in it once."""
        turns = [
            (role, text) for turn in history for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        messages: list[dict[str, Any]] = [
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in (*turns, ("user", question))
        ]
        messages[0]["content"].insert(0, {"type": "image"})
        rendered: str = self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, add_generation_prompt=True, tokenize=False
        )
        return rendered

    def _around(self, text: str) -> tuple[list[int], list[int]]:
        """Ids before and after the marker."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=self._begins(text), verbose=False)[
            "input_ids"
        ]
        if ids.count(self.marker_id) != 1:
            raise ModelError(
                f"The model's chat template has no single place for a picture ({self.marker}); get the "
                "model's files again."
            )
        place = ids.index(self.marker_id)
        return ids[:place], self._without_end(ids[place + 1 :])

    def _begins(self, text: str) -> bool:
        """Whether the tokenizer is to put its own signs around a text, which a template may hold already."""
        begin = self._tokenizer.bos_token
        return not (begin and text.startswith(begin))

    def _without_end(self, ids: list[int]) -> list[int]:
        """Leave out the end token that some tokenizers put behind every text."""
        ends = self._tokenizer.eos_token_id
        return ids[:-1] if ids and ids[-1] == ends else ids

    def _closing(self, ids: Sequence[int]) -> int:
        """How many control tokens come first."""
        return next((place for place, token in enumerate(ids) if token not in self._codec.special), len(ids))

    def _check(self, text: str) -> None:
        found = next((name for name in self._control() if name in text), None)
        if found is not None:
            raise InputError(f"“{found}” is a control sign of this model; write the text without it.")

    def _control(self) -> list[str]:
        ids = sorted({*self._codec.special, self.marker_id})
        names: list[str] = self._tokenizer.convert_ids_to_tokens(ids)
        return [name for name in names if name]


class TaskPrompt(Chat):
    """A single line that names a task, as PaliGemma reads it; earlier turns have no place in it."""

    describe = "caption en"
    remembers = False
    _TASK = re.compile(r"(detect|segment) .+|ocr|(caption|describe|answer|cap) [a-z]{2}\b.*")

    def __init__(self, tokenizer: Any, codec: TextCodec, marker: str) -> None:
        super().__init__(tokenizer, codec, "", marker)

    def render(self, question: str, history: History) -> str:
        """A task as it is typed ("detect cat"); anything else as a question."""
        line = question if self._TASK.fullmatch(question) else f"answer en {question}"
        return f"{self.marker}{self._tokenizer.bos_token}{line}\n"

    def _begins(self, text: str) -> bool:
        return False
