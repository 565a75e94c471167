"""Asking in the window: the line, its examples, what is asked of the engine, how the answer is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers_space import HandJobs
from helpers_viewer import MODEL, picture, sequence, tone
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from mmviewer.core.answers import AnswerScores
from mmviewer.core.grounding import GroundedPhrase
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Capability, ModelAbout, QuestionForm, Shot, TokenSequence, TokenSpan
from mmviewer.engine.protocol import ErrorReport, ExploreHeads, Generate, ScoreAnswers
from mmviewer.gui.panels.caption import CaptionPanel
from mmviewer.gui.panels.tokens import TokensPanel
from mmviewer.gui.workbench import Workbench

EXAMPLES = ("what color is the dog", "how many dogs")
ASKABLE = replace(MODEL, about=ModelAbout(questions=QuestionForm("{question} ?", EXAMPLES)))
RETURN = Qt.Key.Key_Return


@dataclass
class Desk:
    """The panels that asking touches."""

    bench: Workbench
    jobs: HandJobs
    caption: CaptionPanel
    tokens: TokensPanel


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[Desk]:
    jobs = HandJobs()
    bench = Workbench(jobs)  # type: ignore[arg-type]
    bench.settings.generate_on_choose = False
    bench.state.set_model(ASKABLE)
    desk = Desk(bench, jobs, CaptionPanel(bench), TokensPanel(bench))
    for panel in (desk.caption, desk.tokens):
        qtbot.addWidget(panel)
        panel.resize(360, 640)
        panel.show()
        qtbot.waitExposed(panel)
    bench.state.set_items([picture(), tone()])
    bench.choose("picture")
    yield desk
    for panel in (desk.caption, desk.tokens):
        panel.release()
    bench.release()


def answer(item: LibraryItem, question: str = "How many dogs?") -> TokenSequence:
    """What the engine gives: the question as fed, then the answer."""
    fed = tuple(TokenSpan(i, i, word, given=True) for i, word in enumerate(("how", "many", "dogs", "?")))
    spans, text = [], ""
    for span in (*fed, TokenSpan(4, 4, "two", logprob=float(np.log(0.75)), alternatives=(("three", -2.0),))):
        spans.append(replace(span, start=len(text), end=len(text) + len(span.text)))
        text += f"{span.text} "
    return TokenSequence("answer", item.id, MODEL.id, text, tuple(spans), (9,), question=question)


def test_return_asks_what_was_typed(desk: Desk, qtbot: QtBot) -> None:
    qtbot.keyClicks(desk.caption.ask.field, "How many dogs?")
    qtbot.keyClick(desk.caption.ask.field, RETURN)
    request = desk.jobs.last(Generate).request
    assert isinstance(request, Generate)
    assert request.question == "How many dogs?"
    assert desk.bench.activity("sequence").label == "Answering"


def test_an_example_asks_at_once(desk: Desk) -> None:
    actions = desk.caption.ask.examples.menu().actions()
    assert [action.text() for action in actions] == list(EXAMPLES)
    actions[1].trigger()
    assert desk.jobs.last(Generate).request.question == EXAMPLES[1]  # type: ignore[attr-defined]
    assert desk.caption.ask.field.text() == EXAMPLES[1]


def test_the_answer_stands_under_its_question_with_its_probability(desk: Desk) -> None:
    desk.bench.ask("How many dogs?")
    desk.jobs.last(Generate).done(answer(picture()))
    assert desk.caption.text.toPlainText() == "How many dogs?\ntwo"
    assert desk.caption.sureness.text().startswith("1 token ")
    assert "0.75" in desk.caption.sureness.text()
    assert desk.tokens.heading.text() == "Answer"


def test_given_tokens_are_marked_and_the_heads_are_those_of_the_answer(desk: Desk, qtbot: QtBot) -> None:
    desk.bench.ask("How many dogs?")
    desk.jobs.last(Generate).done(answer(picture()))
    chips = desk.tokens.strip._chips
    assert [chip.given for chip in chips] == [True] * 4 + [False]
    assert "given, not predicted" in chips[0].explained()
    assert "probability 0.750" in chips[4].explained()
    desk.bench.refresh_heads()
    assert desk.jobs.last(ExploreHeads).request.tokens == (4,)  # type: ignore[attr-defined]
    desk.bench.state.set_tokens((1,))
    assert desk.caption.chosen.text == "Given with the question, not predicted"
    desk.bench.state.set_tokens((4,))
    assert "two" in desk.caption.chosen.text


def test_try_again_asks_the_same_question(desk: Desk) -> None:
    desk.bench.ask("How many dogs?")
    desk.jobs.last(Generate).failed(ErrorReport("InputError", "Too long."))
    desk.bench.ask_again()
    assert desk.jobs.last(Generate).request.question == "How many dogs?"  # type: ignore[attr-defined]
    assert desk.jobs.count(Generate) == 2


def test_an_empty_question_brings_the_caption_back(desk: Desk, qtbot: QtBot) -> None:
    item = desk.bench.state.current
    assert item is not None
    desk.bench.generate()
    desk.jobs.last(Generate).done(sequence(item))
    desk.bench.ask("How many dogs?")
    desk.jobs.last(Generate).done(answer(item))
    assert desk.caption.ask.field.text() == "How many dogs?"
    desk.caption.ask.field.clear()
    qtbot.keyClick(desk.caption.ask.field, RETURN)
    assert desk.bench.state.sequence == sequence(item)
    assert desk.caption.ask.field.text() == ""


def test_a_model_that_answers_no_questions_says_so(desk: Desk) -> None:
    desk.bench.state.set_model(MODEL)
    field = desk.caption.ask.field
    assert not field.isEnabled()
    assert "answers no questions" in field.placeholderText()
    assert "not trained on questions" in field.toolTip()
    desk.bench.state.set_model(None)
    assert "No model" in field.placeholderText()


def test_a_sound_is_not_asked_about(desk: Desk) -> None:
    desk.bench.choose("tone")
    assert not desk.caption.ask.field.isEnabled()
    said: list[str] = []
    desk.bench.notice.connect(lambda words, _level: said.append(words))
    desk.bench.ask("what is this")
    assert said == ["A question is about an image: choose an image first."]
    assert desk.jobs.count(Generate) == 0


def test_a_model_that_converses_is_told_the_earlier_turns(desk: Desk) -> None:
    form = QuestionForm("{question}", EXAMPLES, remembers=True)
    desk.bench.state.set_model(replace(ASKABLE, about=ModelAbout(questions=form)))
    item = desk.bench.state.current
    assert item is not None
    assert "begins anew" in desk.caption.ask.field.toolTip()
    for question, history in (
        ("How many dogs?", ()),
        ("Where?", (("How many dogs?", "two"),)),
        ("Where?", (("How many dogs?", "two"),)),  # again: its own answer is not told
        ("", None),
        ("And cats?", ()),
    ):
        desk.bench.sequences.ask(question)
        if history is None:
            continue
        job = desk.jobs.last(Generate)
        assert job.request.history == history  # type: ignore[attr-defined]
        job.done(answer(item, question))


def test_boxes_of_grounded_phrases_become_regions(desk: Desk) -> None:
    item = desk.bench.state.current
    assert item is not None
    assert not desk.caption.mark.isVisible()
    phrase = GroundedPhrase("two dogs", (0, 1), ((1.0, 2.0, 9.0, 8.0), (0.0, 0.0, 4.0, 4.0)))
    desk.bench.state.set_sequence(replace(answer(item), phrases=(phrase,)))
    assert desk.caption.mark.isVisible()
    for _ in range(2):  # the second adds nothing
        desk.caption.mark.click()
        marked = desk.bench.state.annotations_of(item.id)
        assert [each.name for each in marked] == ["two dogs", "two dogs"]
    assert marked[0].points == ((2.0, 1.0), (8.0, 9.0))


def two_turns(desk: Desk) -> LibraryItem:
    item = desk.bench.state.current
    assert item is not None
    for question in ("How many dogs?", "Where?"):
        desk.bench.ask(question)
        desk.jobs.last(Generate).done(answer(item, question))
    return item


def test_earlier_turns_are_listed_and_one_click_shows_them_again(desk: Desk, qtbot: QtBot) -> None:
    assert not desk.caption.turns.isVisible()
    item = two_turns(desk)
    turns = desk.caption.turns
    assert turns.isVisible()
    assert [turns.list.item(row).text() for row in range(2)] == ["How many dogs?\ntwo", "Where?\ntwo"]
    assert turns.list.currentRow() == 1
    assert "by itself" in turns.heading.text  # this model is not told of them
    first = turns.list.visualItemRect(turns.list.item(0)).center()
    qtbot.mouseClick(turns.list.viewport(), Qt.MouseButton.LeftButton, pos=first)
    assert desk.bench.state.sequence == answer(item, "How many dogs?")
    assert desk.caption.text.toPlainText() == "How many dogs?\ntwo"
    desk.bench.choose("tone")
    assert not turns.isVisible()
    desk.bench.choose("picture")
    assert turns.list.count() == 2
    qtbot.mouseClick(turns.end, Qt.MouseButton.LeftButton)
    assert not turns.isVisible()


def scores(item: LibraryItem, question: str = "How many dogs?") -> AnswerScores:
    """What the engine gives for “two, three of them”."""
    texts = tuple(answer(item, question) for _ in range(2))
    logprobs = np.log(np.array([0.6, 0.2], np.float32))
    return AnswerScores(
        item.id, MODEL.id, question, "", ("two", "three of them"), logprobs, np.array([1, 3]),
        np.log(np.array([0.5, 0.25], np.float32)), texts,
    )  # fmt: skip


def test_given_answers_are_scored_as_bars_of_their_log_probability(desk: Desk, qtbot: QtBot) -> None:
    item = desk.bench.state.current
    assert item is not None
    desk.caption.scoring.set_open(True)
    desk.caption.ask.field.setText("How many dogs?")
    line = desk.caption.answers
    qtbot.keyClicks(line.field, " two,three of  them, two,, ")
    qtbot.keyClick(line.field, RETURN)
    request = desk.jobs.last(ScoreAnswers).request
    assert isinstance(request, ScoreAnswers)
    assert request.answers == ("two", "three of them")
    assert (request.question, request.prompt) == ("How many dogs?", "")
    assert "Scoring 2 answers" in line.subject.text()
    desk.jobs.last(ScoreAnswers).done(scores(item))
    rows = line.bars.rows()
    assert [row.number for row in rows] == ["\N{MINUS SIGN}0.51", "\N{MINUS SIGN}1.61"]
    assert [row.value for row in rows] == pytest.approx([0.75, 0.25])
    assert "3 tokens" in rows[1].note
    assert "probability 0.250" in rows[1].note
    qtbot.mouseClick(line.per_token, Qt.MouseButton.LeftButton, pos=QPoint(8, line.per_token.height() // 2))
    assert line.bars.rows()[1].number == "\N{MINUS SIGN}0.54"  # -1.61 over three tokens
    at = line.bars.row_rect(1).center()
    qtbot.mouseDClick(line.bars.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert desk.bench.state.sequence == scores(item).sequences[1]
    desk.bench.choose("tone")
    assert not line.bars.isVisible()  # they belong to the picture


def test_scoring_that_fails_says_why(desk: Desk, qtbot: QtBot) -> None:
    desk.caption.scoring.set_open(True)
    desk.bench.answers.score(("two",), "How many dogs?")
    desk.jobs.last(ScoreAnswers).failed(ErrorReport("InputError", "The answer is too long."))
    assert "too long" in desk.caption.answers.subject.text()
    assert desk.caption.answers.bars.rows() == []


def test_examples_are_offered_only_to_models_that_follow_them(desk: Desk, qtbot: QtBot) -> None:
    assert not desk.caption.examples.isVisible()
    follows = replace(ASKABLE, capabilities=ASKABLE.capabilities | {Capability.EXAMPLES})
    desk.bench.state.set_model(follows)
    assert desk.caption.examples.isVisible()
    desk.caption.examples.set_open(True)
    one, two = picture(item_id="one"), picture(item_id="two")
    desk.bench.state.set_items([*desk.bench.state.items, one, two])
    said: list[str] = []
    desk.bench.notice.connect(lambda words, _level: said.append(words))
    qtbot.mouseClick(desk.caption.shots.add_pictures, Qt.MouseButton.LeftButton)
    assert "Select other pictures" in said[0]  # the current one is what is asked about
    desk.bench.state.set_selection(("picture", "one", "two", "tone"))
    qtbot.mouseClick(desk.caption.shots.add_pictures, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(desk.caption.shots.add_text, Qt.MouseButton.LeftButton)
    cards = desk.caption.shots.cards
    assert len(cards) == 3
    qtbot.keyClicks(cards[0].question, "What is it?")
    qtbot.keyClicks(cards[0].answer, "a dog")
    qtbot.keyClicks(cards[1].answer, "a cat")
    assert desk.caption.shots.cards == cards  # typing rebuilds nothing
    assert "2 of 3 with an answer" in desk.caption.examples.heading.text()
    desk.bench.ask("How many dogs?")
    request = desk.jobs.last(Generate).request
    expected = (Shot(one.ref, "a dog", "What is it?"), Shot(two.ref, "a cat"))
    assert request.shots == expected  # type: ignore[attr-defined]
    up = next(button for button in cards[1].findChildren(QToolButton) if "up" in button.accessibleName())
    qtbot.mouseClick(up, Qt.MouseButton.LeftButton)
    desk.bench.generate()
    assert desk.jobs.last(Generate).request.shots == expected[::-1]  # type: ignore[attr-defined]
    away = next(
        button
        for button in desk.caption.shots.cards[0].findChildren(QToolButton)
        if "Remove" in button.accessibleName()
    )
    qtbot.mouseClick(away, Qt.MouseButton.LeftButton)
    desk.bench.generate()
    assert desk.jobs.last(Generate).request.shots == expected[:1]  # type: ignore[attr-defined]
    desk.bench.state.set_model(ASKABLE)
    desk.bench.generate()
    assert desk.jobs.last(Generate).request.shots == ()  # type: ignore[attr-defined]


def test_a_caption_is_written_on_from_a_beginning(desk: Desk, qtbot: QtBot) -> None:
    desk.caption.options.set_open(True)
    qtbot.keyClicks(desk.caption.beginning, "a photo of")
    qtbot.keyClick(desk.caption.beginning, RETURN)
    assert desk.jobs.last(Generate).request.prompt == "a photo of"  # type: ignore[attr-defined]
    desk.bench.answers.score(("a dog",), "")
    request = desk.jobs.last(ScoreAnswers).request
    assert (request.question, request.prompt) == ("", "a photo of")  # type: ignore[attr-defined]
    desk.bench.choose("tone")
    desk.bench.state.set_speech_model(replace(MODEL, id="ears"))
    desk.bench.generate()
    assert desk.jobs.last(Generate).request.prompt == ""  # type: ignore[attr-defined]
