"""How likely a model holds given answers to a question about the item, or given captions of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from mmviewer.core.answers import AnswerScores
from mmviewer.engine.protocol import ScoreAnswers

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

KEY = "answers"


class AnswerController(QObject):
    """Scores of the answers that were asked for last."""

    changed = Signal()
    """Other scores are there, or those that were do not belong to what is shown."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._scores: AnswerScores | None = None
        for signal in self._signals():
            signal.connect(self._on_place)

    def release(self) -> None:
        """Stop watching the state."""
        for signal in self._signals():
            signal.disconnect(self._on_place)

    def score(self, answers: tuple[str, ...], question: str) -> None:
        """Score answers to `question`, or without one as the caption of the current item."""
        bench, item = self._workbench, self._state.current
        model = bench.model_for(item)
        if item is None or model is None or not answers:
            return
        asks = bool(question.strip()) and model.about.questions is not None
        request = ScoreAnswers(
            model.id,
            item.ref,
            answers,
            question.strip() if asks else "",
            "" if asks else bench.drafts.prompt,
            bench.sequences.history(item, model, question) if asks else (),
            bench.drafts.shots(model),
        )
        count = "an answer" if len(answers) == 1 else f"{len(answers)} answers"
        bench.activities.run(KEY, f"Scoring {count}", request, done=self._take)

    def show(self, number: int) -> None:
        """Show the tokens and maps of an answer as if the model had written it."""
        scores = self.scores
        if scores is not None and 0 <= number < len(scores.sequences):
            self._workbench.sequences.show(scores.sequences[number])

    @property
    def scores(self) -> AnswerScores | None:
        """Scores for what is shown; None where there are none."""
        item = self._state.current
        model = self._workbench.model_for(item)
        scores = self._scores
        if scores is None or item is None or model is None:
            return None
        return scores if (scores.media_id, scores.model_id) == (item.id, model.id) else None

    def _take(self, scores: AnswerScores) -> None:
        self._scores = scores
        self.changed.emit()

    def _on_place(self, _changed: object) -> None:
        self._workbench.activities.clear_error(KEY)
        self.changed.emit()

    def _signals(self) -> tuple[Any, ...]:
        state = self._state
        return state.current_changed, state.model_changed, state.speech_model_changed
