"""Other ways a text could have gone: written on from another token, with the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.types import TokenSequence
from mmviewer.engine.protocol import Branch

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_Subject = tuple[str, str, str, str]
"""Item, model, kind of text and question: what texts are about that were branched from one another."""
_KEPT = 50
"""Steps back that are remembered of one text."""


class BranchController(QObject):
    """Remembers, of the text that is shown, those that it was branched from."""

    changed = Signal()
    """There is a way back now, or not any more."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._trails: dict[_Subject, list[TokenSequence]] = {}  # the original first
        self._state.sequence_changed.connect(self._on_sequence)

    def release(self) -> None:
        """Stop watching the state."""
        self._state.sequence_changed.disconnect(self._on_sequence)

    # --- what a user does --------------------------------------------------------------------------------
    def can_branch(self, index: int) -> bool:
        """Whether there are other tokens to write on from at a place of the text that is shown."""
        sequence = self._state.sequence
        if sequence is None or not sequence.finished or not 0 <= index < len(sequence.tokens):
            return False
        token = sequence.tokens[index]
        return bool(token.alternative_ids) and not token.given

    def branch(self, index: int, alternative: int) -> None:
        """Write the text that is shown again from token `index` on, with one of its alternatives there."""
        sequence, item = self._state.sequence, self._state.current
        if item is None or sequence is None or not self.can_branch(index):
            return
        token = sequence.tokens[index].alternative_ids[alternative]
        if token == sequence.tokens[index].id:
            return
        trail = [*self._trail(), sequence]
        del trail[1:-_KEPT]  # the original stays
        self._trails[_subject(sequence)] = trail
        request = Branch(sequence.model_id, item.ref, sequence, index, token, self._state.sampling)
        self._workbench.sequences.write(f"Writing on in {item.name}", request)
        self.changed.emit()

    def back(self) -> None:
        """Show the text that this one was branched from."""
        trail = self._trail()
        if trail:
            self._show(trail[-1], trail[:-1])

    def original(self) -> None:
        """Show the text as the model wrote it at first."""
        trail = self._trail()
        if trail:
            self._show(trail[0], [])

    @property
    def depth(self) -> int:
        """How many steps lead back from the text that is shown."""
        return len(self._trail())

    # --- inside ------------------------------------------------------------------------------------------
    def _trail(self) -> list[TokenSequence]:
        sequence = self._state.sequence
        if sequence is None or sequence.kind == "query":
            return []
        trail = self._trails.get(_subject(sequence), [])
        # a branch that failed or was stopped at once never left its text
        return trail[: trail.index(sequence)] if sequence in trail else trail

    def _show(self, sequence: TokenSequence, trail: list[TokenSequence]) -> None:
        self._trails[_subject(sequence)] = trail
        self._workbench.cancel("sequence")
        self._workbench.activities.clear_error("sequence")
        self._workbench.sequences.keep(sequence)
        self.changed.emit()

    def _on_sequence(self, sequence: TokenSequence | None) -> None:
        """A text in which nothing was chosen was written anew, or gone back to: no way leads on from it."""
        if sequence is not None and not any(token.chosen for token in sequence.tokens):
            self._trails.pop(_subject(sequence), None)
        self.changed.emit()


def _subject(sequence: TokenSequence) -> _Subject:
    return sequence.media_id, sequence.model_id, sequence.kind, sequence.question
