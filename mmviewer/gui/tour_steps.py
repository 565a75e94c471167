"""What the guided tour shows, step by step: texts, targets, and how to tell that the user has done it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtWidgets import QWidget

from mmviewer.core.session.state import SessionState
from mmviewer.gui.panels.base import Panel
from mmviewer.gui.top_bar import TopBar
from mmviewer.gui.widgets.callout import Side

_BESIDE = (Side.RIGHT, Side.BELOW, Side.LEFT, Side.ABOVE)
_INWARD = (Side.LEFT, Side.BELOW, Side.ABOVE)

Panels = dict[str, Panel]


def _nothing(_state: SessionState) -> Any:
    return None


def _always(_state: SessionState) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to see.

    Parameters
    ----------
    key, title, text : str
    target : callable
        From the top bar and the panels to the control that is pointed at.
    signal : str
        Signal of the session that may mean that the user has done it; empty for a step that is only read.
    done : callable
        Whether it is done, given the session and what `before` found when the step began.
    before : callable
        What to remember when the step begins.
    panel : str
        Panel that is brought to the front.
    sides : tuple of Side
        Where the bubble may lie, best first.
    applies : callable
        Whether the step makes sense now; it is left out where not.
    """

    key: str
    title: str
    text: str
    target: Callable[[TopBar, Panels], QWidget | None]
    signal: str = ""
    done: Callable[[SessionState, Any], bool] = lambda _state, _before: False
    before: Callable[[SessionState], Any] = _nothing
    panel: str = ""
    sides: tuple[Side, ...] = _BESIDE
    applies: Callable[[SessionState], bool] = _always


def _part(panel: str, name: str) -> Callable[[TopBar, Panels], QWidget | None]:
    """The part `name` of a panel; the whole panel while that has something else to show."""

    def find(_bar: TopBar, panels: Panels) -> QWidget | None:
        part = getattr(panels.get(panel), name, None)
        return part if isinstance(part, QWidget) and part.isVisible() else panels.get(panel)

    return find


def _answers_questions(state: SessionState) -> bool:
    return state.model is not None and state.model.about.questions is not None


STEPS: tuple[Step, ...] = (
    Step(
        "tokens",
        "The caption, token by token",
        "The model wrote these words. The thin bar under each says how sure it was. Point at a word.",
        _part("tokens", "strip"),
        "hovered_token_changed",
        lambda state, _before: state.hovered_token is not None,
        panel="tokens",
    ),
    Step(
        "map",
        "Where it looked",
        "The map belongs to the word you point at, or to all words at once. The other way round: point at "
        "the picture, and the words that looked there light up below.",
        _part("viewer", "image"),
        "hovered_cell_changed",
        lambda state, _before: state.hovered_cell is not None,
    ),
    Step(
        "method",
        "What kind of map it is",
        "Attention is what a layer weighted, which is not yet what mattered. Choose another method, layer or "
        "head here; the card beside the picture always says which one you see.",
        _part("tokens", "chooser"),
        "spec_changed",
        lambda state, before: state.spec != before,
        before=lambda state: state.spec,
        panel="tokens",
    ),
    Step(
        "query",
        "Look for any words",
        "Type what to find, such as “a guitar”: the map shows where the picture is like these words.",
        lambda bar, _panels: bar.query,
        "sequence_changed",
        lambda state, _before: state.sequence is not None and state.sequence.kind == "query",
        sides=(Side.LEFT, Side.RIGHT, Side.BELOW),  # below lies the picture, where the map will be
    ),
    Step(
        "ask",
        "Ask a question",
        "Type a question and press Return, or take an example. It always answers, also when it is wrong: the "
        "probability and the map help to tell.",
        _part("caption", "ask"),
        "sequence_changed",
        lambda state, _before: state.sequence is not None and state.sequence.kind == "answer",
        panel="caption",
        sides=_INWARD,
        applies=_answers_questions,
    ),
    Step(
        "labels",
        "Choose among labels",
        "Type a few labels with commas between. The bars move while you type; All items makes a table of the "
        "whole library.",
        _part("labels", "editor"),
        "labels_changed",
        lambda state, before: len(state.labels) > 1 and state.labels != before,
        before=lambda state: state.labels,
        panel="labels",
        sides=_INWARD,
    ),
    Step(
        "space",
        "One space for everything",
        "Each picture, sound and text is a point; what is alike to the model lies near. Click a point to go "
        "there.",
        _part("space", "scatter"),
        "current_changed",
        lambda state, before: state.current is not None and state.current.id != before,
        before=lambda state: state.current.id if state.current else "",
        panel="space",
        sides=(Side.RIGHT, Side.ABOVE, Side.LEFT),
    ),
    Step(
        "export",
        "Take it home",
        "A figure carries everything needed to make it again: model, weights, layer, head, method and "
        "preprocessing. Now drop something of your own into the window.",
        lambda bar, _panels: bar.export_button,
        sides=(Side.BELOW, Side.LEFT),
    ),
)
