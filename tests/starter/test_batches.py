"""Scenes as rows of text: what the decoder learns from which row, and where it should look."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe.batches import SLOTS, CaptionEncoder, _Pool, collate, stacked
from recipe.bpe import write_bpe
from recipe.coca import tokenizer
from recipe.questions import Question
from recipe.scenes import Scene, SceneGenerator

HOW_MANY = Question(("how", "many", "owls"), ("two",), 0, "count")
WHAT = Question(("what", "is", "above", "the", "wolf"), ("ice", "cream"), 1, "what")


@pytest.fixture(scope="module")
def encoder(concepts, tmp_path_factory) -> CaptionEncoder:
    path = tmp_path_factory.mktemp("bpe") / "bpe.txt.gz"
    write_bpe(path, concepts)
    return CaptionEncoder(tokenizer(path))


def scene(words: str, *, decodable: bool = True, questions: tuple[Question, ...] = ()) -> Scene:
    """A blank scene with an owl (noun 0) and a wolf (noun 1), named in its words or not."""
    nouns = {"owl": 0, "owls": 0, "wolf": 1}
    return Scene(
        np.zeros((256, 256, 3), np.uint8),
        words=[(word, nouns.get(word, -1)) for word in words.split()],
        boxes=[[(0, 0, 64, 64)], [(128, 128, 256, 256)]],
        concepts=[2, 3],
        decodable=decodable,
        negatives=[("noun", [("an", -1), ("apple", -1)])],
        questions=list(questions),
    )


def text(encoder: CaptionEncoder, row: torch.Tensor) -> str:
    tokens = encoder._tokens
    special = {0, tokens.sot_token_id, tokens.eot_token_id}
    return tokens.decode([t for t in row.tolist() if t not in special]).strip()


def test_each_position_is_asked_for_the_next_token(encoder):
    drawn = [
        scene("an owl and a wolf", questions=(HOW_MANY,)),
        scene("owl wolf", decodable=False, questions=(WHAT, HOW_MANY)),
    ]
    batch = collate(drawn, encoder, grid=8, labels=range(6))
    rows = torch.cat([batch.captions, batch.questions])[batch.slots]
    assert [text(encoder, row) for row in rows] == [
        "an owl and a wolf",
        "how many owls ? two",
        "what is above the wolf ? ice cream",
        "how many owls ? two",
    ]
    learnt = batch.next_tokens != 0
    assert torch.equal(batch.next_tokens[learnt], rows[:, 1:][learnt])
    assert [text(encoder, row) for row in batch.next_tokens] == [
        "an owl and a wolf",
        "two",
        "ice cream",
        "two",
    ]
    assert (batch.next_tokens == encoder._tokens.eot_token_id).sum(1).tolist() == [1, 1, 1, 1]
    assert batch.answers.tolist() == [False, True, True, True]


def test_the_nouns_and_the_answers_are_looked_for_where_they_are_predicted(encoder):
    batch = collate([scene("an owl and a wolf", questions=(WHAT,))], encoder, grid=8, labels=range(6))
    looks = list(
        zip(batch.look_slot.tolist(), batch.look_position.tolist(), batch.look_noun.tolist(), strict=True)
    )
    assert looks == [(0, 1, 0), (0, 2, 0), (0, 4, 1), (0, 5, 1), (1, 6, 1), (1, 7, 1)]
    predicted = [batch.next_tokens[slot, position] for slot, position, _ in looks[-2:]]
    assert encoder._tokens.decode([int(t) for t in predicted]).strip() == "ice cream"


def test_a_picture_without_enough_rows_has_one_without_labels(encoder):
    batch = collate([scene("owl", decodable=False)], encoder, grid=8, labels=range(6))
    assert len(batch.slots) == SLOTS
    assert not batch.next_tokens.any()
    assert len(batch.look_slot) == 0
    assert len(batch.noun_row) == 2  # its things are aligned all the same
    assert text(encoder, batch.negatives[0]) == "an apple"


def test_a_question_that_is_too_long_is_left_out(encoder):
    endless = Question(("owl",) * 30, ("two",), 0, "count")
    batch = collate([scene("an owl and a wolf", questions=(endless,))], encoder, grid=8, labels=range(6))
    assert len(batch.questions) == 0
    assert batch.answers.tolist() == [False, False]


def test_a_caption_that_forgets_a_noun_is_not_decoded(encoder):
    with pytest.raises(ValueError, match="does not name each of its nouns"):
        collate([scene("an owl")], encoder, grid=8, labels=range(6))


def test_scenes_of_the_generator_become_a_batch(encoder, concepts, sprites):
    scenes = SceneGenerator(concepts, sprites, range(len(concepts)), seed=2)
    drawn = [scenes.scene() for _ in range(16)]
    labels = list(range(len(concepts)))[::-1]
    batch = collate(drawn, encoder, 8, labels, np.random.default_rng(0))
    assert batch.images.shape == (16, 3, drawn[0].image.shape[0], drawn[0].image.shape[0])
    assert batch.images.dtype == torch.uint8
    assert batch.noun_inside.shape == (len(batch.noun_row), 64)
    assert batch.noun_inside.any(1).all()
    assert [labels[i] for i in batch.noun_label] == [c for s in drawn for c in s.concepts]
    assert batch.noun_row.tolist() == [i for i, s in enumerate(drawn) for _ in s.concepts]
    assert len(batch.slots) == len(batch.next_tokens) == 16 * SLOTS
    assert (batch.look_noun < len(batch.noun_row)).all()
    rows_of_looks = batch.look_slot // SLOTS
    assert torch.equal(batch.noun_row[batch.look_noun], rows_of_looks)


def test_the_pool_keeps_scenes_with_their_own_features():
    random = np.random.default_rng(0)
    pool = _Pool(5)
    made = [scene("owl") for _ in range(9)]
    for start in (0, 3, 6):
        values = torch.arange(start, start + 3).float().view(3, 1, 1).expand(3, 4, 2)
        for number, one in enumerate(made[start : start + 3]):
            one.concepts = [start + number]
        pool.add(made[start : start + 3], values, random)
    chosen, features = pool.choose(4, random)
    assert pool.count == 5
    assert len({id(one) for one in chosen}) == 4
    assert [one.concepts[0] for one in chosen] == features[:, 0, 0].tolist()
    assert all(one.image.shape == (256, 256, 3) for one in chosen)


def test_pictures_are_stacked_by_channel():
    made = [scene("owl"), scene("wolf")]
    made[1].image[3, 4] = (1, 2, 3)
    assert stacked(made)[1, :, 3, 4].tolist() == [1, 2, 3]
