"""What is measured of a model is what it says: known models get the scores that follow from them."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe import answers, pointing
from recipe.answers import score_answers
from recipe.batches import CaptionEncoder
from recipe.bpe import write_bpe
from recipe.captions import _complete_rows, greedy, recall, score_captions, swapped, text_nll
from recipe.card import write_card
from recipe.coca import BPE_NAME, build, config, normalise, tokenizer
from recipe.contrast import score_contrast
from recipe.encoded import Encoder, stacked
from recipe.figures import figures
from recipe.metrics import calibration, plain_singles, zero_shot
from recipe.pointing import score_pointing
from recipe.report import as_markdown
from recipe.retrieval import retrieval
from recipe.scenes import Scene, SceneGenerator


@pytest.fixture(scope="module")
def encoder(concepts, tmp_path_factory) -> Encoder:
    """A tiny random model."""
    bpe = tmp_path_factory.mktemp("tiny") / BPE_NAME
    write_bpe(bpe, concepts)
    tokens = tokenizer(bpe)
    small = config(
        tokens.vocab_size, width=32, head_width=16, vision_layers=1, text_layers=1, decoder_layers=2
    )
    return Encoder(build(small, seed=5).eval(), tokens)


@pytest.fixture(scope="module")
def generator(concepts, sprites) -> SceneGenerator:
    return SceneGenerator(concepts, sprites, range(len(concepts)), seed=11, canonical=True)


@pytest.fixture(scope="module")
def scenes(generator) -> list[Scene]:
    kinds = ("single", "beside", "three", "count", "behind")
    return [generator.scene(kind) for kind in kinds for _ in range(3)]


@pytest.fixture(scope="module")
def encoded(encoder, scenes):
    return encoder.images(stacked(scenes))


def test_pictures_and_texts_are_encoded_as_the_library_does(encoder, scenes):
    pictures = stacked(scenes[:2])
    with torch.no_grad():
        wanted, patches = encoder.model._encode_image(normalise(pictures))
        texts = encoder.model.encode_text(encoder.tokens(["an owl"], context_length=24), normalize=True)
    found = encoder.images(pictures)
    torch.testing.assert_close(found.vectors, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.patches, patches, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder.texts(["an owl"]), texts, atol=1e-5, rtol=1e-4)
    half = torch.nn.functional.interpolate(pictures.float(), scale_factor=0.5, mode="area").to(torch.uint8)
    assert float((encoder.images(half).vectors * found.vectors).sum(1).min()) > 0.9


def test_zero_shot_of_a_perfect_and_of_a_wrong_model(encoder, concepts, sprites):
    singles = plain_singles(sprites["discs"], range(len(concepts)))
    vectors = encoder.images(singles.images).vectors
    assert zero_shot(vectors, singles.targets, vectors).top1 == 1.0
    wrong = zero_shot(vectors, (singles.targets + 1) % 6, vectors)
    assert wrong.top1 == 0.0
    assert zero_shot(torch.eye(8), torch.arange(8), torch.eye(8).roll(1, 0)).ten_way == 0.0


def test_calibration_of_a_model_that_is_as_sure_as_it_is_right():
    torch.manual_seed(0)
    count, labels, scale = 4000, 5, 3.0
    cosines = torch.rand(count, labels) * 2 - 1
    targets = torch.multinomial((scale * cosines).softmax(1), 1)[:, 0]
    honest = calibration(cosines, targets, torch.eye(labels), scale)
    assert honest.ece < 0.03
    assert honest.best_scale == pytest.approx(scale, rel=0.2)
    assert honest.confidence == pytest.approx(honest.accuracy, abs=0.03)
    boastful = calibration(cosines, targets, torch.eye(labels), 10 * scale)
    assert boastful.ece > 0.2
    assert boastful.best_ece < boastful.ece


def test_retrieval_counts_what_belongs_together_and_tells_chance():
    vectors = torch.eye(10)
    perfect = retrieval(vectors, vectors, range(10), range(10))
    assert (perfect.r1, perfect.r5) == (1.0, 1.0)
    assert (perfect.r1_chance, perfect.r5_chance) == (pytest.approx(0.1), pytest.approx(0.5))
    twins = retrieval(vectors, vectors.roll(1, 0), ["a", "a"] * 5, ["a", "a"] * 5)
    assert twins.r1 == 1.0
    assert twins.r1_chance == pytest.approx(1.0)
    assert retrieval(vectors, vectors.roll(1, 0), range(10), range(10)).r1 == 0.0


def test_pointing_of_a_decoder_that_looks_where_it_is_told(encoder, scenes, encoded, concepts, monkeypatch):
    measured = score_pointing(encoder, scenes, encoded, concepts)
    assert measured["nouns"] == sum(len(scene.concepts) for scene in scenes)
    assert 0 < measured["chance"] < 1
    # Random weights look nearly everywhere alike.
    assert measured["layers"][0]["mass"] == pytest.approx(measured["chance"], abs=0.1)
    assert len(measured["heads"][0]) == 2

    perfect = torch.zeros(len(scenes), 1, 23, 64)
    words = CaptionEncoder(encoder.tokens)
    for row, scene in enumerate(scenes):
        for span, boxes in zip(words.encode(scene.words)[1], scene.boxes, strict=True):
            x0, y0, x1, y1 = boxes[0]
            perfect[row, 0, span.first - 1 : span.end, ((y0 + y1) // 64) * 8 + (x0 + x1) // 64] = 1.0

    class Told:
        def __enter__(self):
            return {0: perfect}

        def __exit__(self, *_):
            return False

    monkeypatch.setattr(pointing, "recorded", lambda _: Told())
    monkeypatch.setattr(pointing, "CHUNK", len(scenes))
    told = score_pointing(encoder, scenes, encoded, concepts)
    assert told["layers"][0]["span"] == told["layers"][0]["predicting"] == told["layers"][0]["naming"] == 1
    assert told["layers"][0]["mass"] == pytest.approx(1)
    assert told["heads"] == {0: [1.0]}


def test_greedy_captions_are_the_most_probable_tokens(encoder, encoded):
    few = encoded.of(range(3))
    assert len(greedy(encoder, few)) == 3
    start = torch.full((3, 1), encoder.tokens.sot_token_id)
    rows = _complete_rows(encoder, few.patches, start)
    best = encoder.logits(few.patches, rows).argmax(-1)
    for row, following in zip(rows.tolist(), best.tolist(), strict=True):
        end = row.index(encoder.tokens.eot_token_id) if encoder.tokens.eot_token_id in row else len(row) - 1
        assert row[1 : end + 1] == following[:end]


def test_the_likelihood_of_a_caption_is_the_sum_over_its_tokens(encoder, encoded):
    few, text = encoded.of([0]), "an owl above a wolf"
    row = encoder.tokens([text], context_length=24)
    length = int((row != 0).sum())
    chosen = encoder.logits(few.patches, row)[0].log_softmax(-1)
    by_hand = -sum(chosen[i, row[0, i + 1]] for i in range(length - 1))
    torch.testing.assert_close(text_nll(encoder, few.patches, [text])[0], by_hand, atol=1e-4, rtol=1e-4)


def test_recall_counts_whole_words():
    told = ["a cat to the left of a wolf", "an owl, a cat and a red apple"]
    assert recall(told, [["cat", "wol"], ["owl"]]) == 2 / 3


def test_a_pair_told_the_wrong_way_round(generator):
    scene = generator.scene("over")
    first, _, second = scene.caption.partition(" above ")
    assert swapped(scene) == f"{second} above {first}"


def test_captions_that_are_the_canonical_ones_are_all_right(encoder, scenes, encoded, concepts, monkeypatch):
    from recipe import captions

    monkeypatch.setattr(captions, "greedy", lambda *_: [scene.caption for scene in scenes])
    scores = score_captions(encoder, scenes, encoded, concepts)
    for kind in scores["kinds"].values():
        assert kind["nouns"] == kind["whole"] == kind["whole_without_colours"] == 1
    assert scores["relation"]["right"] == scores["number"]["right"] == 1
    assert 0 < scores["relation"]["chance"] < 1
    monkeypatch.setattr(captions, "greedy", lambda *_: ["a dog"] * len(scenes))
    wrong = score_captions(encoder, scenes, encoded, concepts)
    assert not any(kind["whole"] for kind in wrong["kinds"].values())


def test_questions_of_a_model_that_always_says_yes(encoder, generator, monkeypatch):
    monkeypatch.setattr(answers, "answers", lambda _, patches, questions: ["yes"] * len(questions))
    scores = score_answers(encoder, generator, 60)
    assert scores["count"]["right"] == scores["what"]["right"] == 0
    assert scores["exists"]["right"] == scores["exists"]["blind"]
    assert scores["exists"]["commonest"] >= max(scores["exists"]["right"], 0.5)
    assert scores["all"]["questions"] == 300


def test_a_random_model_cannot_tell_true_from_false(encoder, generator):
    scores = score_contrast(encoder, generator, 60)
    assert set(scores) == {"noun", "colour", "count", "relation", "all"}
    assert all(0.15 < scores[kind]["similarity"] < 0.85 for kind in scores)


def measured_by_hand() -> dict:
    pointing = {
        "nouns": 3, "chance": 0.2, "centre": 0.4, "mass_chance": 0.2, "similarity": 0.6,
        "layers": {str(i): {"span": 0.5 + i / 10, "mass": 0.3, "right_thing": None} for i in range(3)},
        "heads": {str(i): [0.1 * i, 0.2] for i in range(3)},
    }  # fmt: skip
    share = {"questions": 5, "right": 0.9, "commonest": 0.3, "blind": 0.4}
    scenes = {
        "captions": {
            "kinds": {"single": {"scenes": 2, "nouns": 0.5, "nouns_chance": 0.1, "whole": 0.25,
                                 "whole_without_colours": 0.5}},
            **{key: {"scenes": 2, "right": 0.75, "chance": 0.5} for key in ("relation", "number", "order")},
        },
        "pointing": {"one thing": pointing, "three things": pointing},
        "questions": {"all": share},
        "contrast": {"all": {"pairs": 7, "similarity": 0.8, "likelihood": 0.7}},
    }  # fmt: skip
    return {
        "labels": 20,
        "zero_shot": {"twemoji": {"images": 9, "top1": 0.625, "top5": 0.75, "ten_way": 0.875}},
        "earlier_labels": {},
        "calibration": {"twemoji": {"ece": 0.05, "confidence": 0.6, "accuracy": 0.625, "best_ece": 0.04}},
        "scenes": {"twemoji, never trained on": scenes},
    }  # fmt: skip


def test_the_report_puts_every_figure_beside_chance_and_beside_the_other_model():
    old = measured_by_hand()
    del old["scenes"]["twemoji, never trained on"]["questions"]
    text = as_markdown({"new": measured_by_hand(), "old": old}, 2)
    assert "| twemoji (9) | 5.0% / 25.0% / 10.0% | 62.5% / 75.0% / 87.5% | 62.5% / 75.0% / 87.5% |" in text
    assert "| all (5) | 40.0% | 90.0% | – |" in text
    assert "| layer 2, guided by boxes | 20.0% / 20.0% | 70.0% / 30.0% |" in text
    assert "| best head of any layer: layer 0, head 1 |" in text


def test_the_app_gets_figures_with_their_chance():
    listed = figures(measured_by_hand(), 2)
    assert json.loads(json.dumps(listed)) == listed
    by_name = {figure["name"]: figure for figure in listed}
    assert by_name["Right label of 20, Twemoji"]["value"] == 0.625
    assert by_name["Right label of 20, Twemoji"]["chance"] == 0.05
    assert by_name["Questions answered rightly"]["chance"] == 0.4
    assert by_name["Word points at it, three things"]["value"] == 0.7
    assert by_name["The same, unguided, three things"]["value"] == 0.6
    assert all(set(figure) == {"name", "value", "chance", "unit", "note"} for figure in listed)


def test_the_card_tells_how_the_model_was_made():
    facts = {
        "initialised_from_earlier_run": True, "earlier_scenes": 700_000, "note": "It was stopped once.",
        "scenes": 12_345, "hours": 1.5, "styles": ["a", "b"], "seed": 3, "processes": 2, "batch": 64,
        "rate": 0.001, "caption": 4.0, "answer": 2.0, "guide": 0.3, "guide_layer": 2, "align": 1.0,
        "restyled": 0.15, "fresh": 0.5,
    }  # fmt: skip
    card = write_card({"starter-coca": measured_by_hand()}, facts)
    assert "12,345 pictures (50% of each batch new" in card
    assert "openly licensed art of 2 styles" in card
    assert "700,000" in card
    assert "It was stopped once." in card
    assert "| layer 2, guided by boxes |" in card
    assert "sealed" in card
    assert "{" not in card
    assert "It hears" not in card
    assert "It hears" in write_card({"starter-coca": measured_by_hand() | {"sound": {}}}, facts)
