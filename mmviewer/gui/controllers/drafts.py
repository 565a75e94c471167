"""What the user puts before a text that a model is to write: examples, and how it begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, Modality, ModelInfo, Shot

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

MOST = 32
"""Examples that can stand before one item."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """An example while it is typed: its picture, or None for text alone, what is asked, what is answered."""

    item: LibraryItem | None
    question: str = ""
    answer: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether a model can read it."""
        return bool(self.answer.strip())


class DraftController(QObject):
    """Examples of the session, and the beginning of captions."""

    changed = Signal()
    """The examples are others."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self.examples: tuple[Draft, ...] = ()
        self.prompt = ""

    def add_selected(self) -> None:
        """Make the selected pictures of the library examples, but not the one that is asked about."""
        state = self._workbench.state
        known = {draft.item.id for draft in self.examples if draft.item is not None}
        chosen = [
            item
            for item in state.items
            if item.id in state.selection
            and item.media.modality is Modality.IMAGE
            and item.id not in known
            and item is not state.current
        ]
        if not chosen:
            self._workbench.notice.emit(
                "Select other pictures in the library first (Ctrl+click); the current one is what the model "
                "is asked about.",
                "info",
            )
            return
        self.set_examples((*self.examples, *(Draft(item) for item in chosen)))

    def set_examples(self, examples: tuple[Draft, ...]) -> None:
        """Take other examples; more than `MOST` are not read by any model."""
        if len(examples) > MOST:
            self._workbench.notice.emit(f"At most {MOST} examples can stand before a picture.", "info")
        self.examples = examples[:MOST]
        self.changed.emit()

    def edit(self, number: int, question: str, answer: str) -> None:
        """Change the texts of an example."""
        changed = replace(self.examples[number], question=question, answer=answer)
        self.examples = (*self.examples[:number], changed, *self.examples[number + 1 :])
        self.changed.emit()

    def shots(self, model: ModelInfo) -> tuple[Shot, ...]:
        """What a model is given before an item: whole examples, if it can follow any."""
        if not model.can(Capability.EXAMPLES):
            return ()
        return tuple(
            Shot(
                draft.item.ref if draft.item is not None else None,
                draft.answer.strip(),
                draft.question.strip(),
            )
            for draft in self.examples
            if draft.is_whole
        )
