"""What the generator says of a scene is true of its pixels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe import colours
from recipe.concepts import Concept, with_article
from recipe.confusable import may_be
from recipe.questions import Question, place_of
from recipe.scenes import KIND_SHARES, Scene, SceneGenerator, held_out, patch_mask
from recipe.sprites import SpriteSet
from recipe.wording import NUMBERS, Words

SIDE = 112
BLACK = (np.zeros((160, 160, 3), np.uint8), "black")
VISIBLE = 62


def make(concepts: list[Concept], sprites: dict[str, SpriteSet], **options) -> SceneGenerator:
    options = {"seed": 7, "backgrounds": [BLACK], "size": SIDE, "canonical": True} | options
    return SceneGenerator(concepts, sprites, range(len(concepts)), **options)


@pytest.fixture
def on_black(concepts: list[Concept], sprites: dict[str, SpriteSet]) -> SceneGenerator:
    return make(concepts, sprites)


def centre(scene: Scene, noun: int) -> tuple[float, float]:
    x0, y0, x1, y1 = scene.boxes[noun][0]
    return (x0 + x1) / 2, (y0 + y1) / 2


def text(words: Words) -> str:
    return " ".join(word for word, _ in words)


def test_a_seed_gives_the_same_scenes_and_another_seed_others(concepts, sprites):
    def scenes(seed: int) -> list[Scene]:
        generator = make(concepts, sprites, seed=seed, restyled=0.5, backgrounds=None, canonical=False)
        return [generator.scene() for _ in range(60)]

    first, again, other = scenes(3), scenes(3), scenes(4)
    for a, b in zip(first, again, strict=True):
        assert a.caption == b.caption
        assert a.boxes == b.boxes
        assert a.negatives == b.negatives
        assert a.questions == b.questions
        np.testing.assert_array_equal(a.image, b.image)
    assert [s.caption for s in first] != [s.caption for s in other]


def test_everything_drawn_lies_in_the_boxes_and_the_boxes_are_tight(on_black):
    for _ in range(300):
        scene = on_black.scene()
        drawn = scene.image.max(axis=2) > VISIBLE
        outside = drawn.copy()
        for x0, y0, x1, y1 in (box for boxes in scene.boxes for box in boxes):
            assert 0 <= x0 < x1 <= SIDE
            assert 0 <= y0 < y1 <= SIDE
            # One pixel more on each side: the faint rim of an antialiased edge is no part of the box.
            outside[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
            part = drawn[y0:y1, x0:x1]
            for edge in (part[:2], part[-2:], part[:, :2], part[:, -2:]):
                assert edge.any()
        assert not outside.any()


def test_the_caption_names_every_thing_once_and_its_words_know_which(on_black):
    for _ in range(300):
        scene = on_black.scene()
        assert len(scene.boxes) == len(scene.concepts)
        for noun, concept in enumerate(scene.concepts):
            said = " ".join(word.rstrip(",") for word, n in scene.words if n == noun)
            wanted = on_black.concepts[concept]
            assert said == (wanted.plural if len(scene.boxes[noun]) > 1 else wanted.name)


def test_every_arrangement_is_drawn(on_black):
    drawn = {on_black.scene().kind for _ in range(600)}
    assert drawn == {kind for kind, _ in KIND_SHARES}


def stands(upper, lower) -> bool:
    """Whether a box ends at the top of another, or a little below it where the top slants."""
    return -3 <= upper[3] - lower[1] <= (lower[3] - lower[1]) / 3 + 3 and upper[1] < lower[1]


def relation_holds(relation: str, first, second) -> bool:
    """Whether a relation's words are true of two boxes, by their coordinates alone."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = first, second
    overlap = min(ax1, bx1) > max(ax0, bx0) and min(ay1, by1) > max(ay0, by0)
    inside = bx0 <= ax0 and by0 <= ay0 and ax1 <= bx1 and ay1 <= by1
    return {
        "to the left of": ax1 < bx0,
        "to the right of": ax0 > bx1,
        "above": ay1 < by0,
        "below": ay0 > by1,
        "on": stands(first, second) and min(ax1, bx1) > max(ax0, bx0),
        "under": stands(second, first) and min(ax1, bx1) > max(ax0, bx0),
        "behind": overlap and not inside and (ay0 + ay1) < (by0 + by1),
        "in front of": overlap and not inside and (ay0 + ay1) > (by0 + by1),
        "inside": inside,
    }[relation]


@pytest.mark.parametrize("kind", ["beside", "over", "on", "behind", "inside"])
def test_a_relation_holds_between_the_boxes(concepts, sprites, kind):
    generator = make(concepts, {"squares": sprites["squares"]}, canonical=False)
    told = 0
    for _ in range(80):
        scene = generator.scene(kind)
        if scene.kind != kind:
            continue
        relation = " ".join(word for word, noun in scene.words if noun < 0 and word not in ("a", "an"))
        relation = (
            relation.split(" of ", 1)[-1] if relation.startswith(("a ", "picture", "image")) else relation
        )
        first = next(noun for _, noun in scene.words if noun >= 0)
        for phrase in ("to the left of", "to the right of", "above", "below", "on", "under", "behind",
                       "in front of", "inside"):  # fmt: skip
            if relation == phrase:
                assert relation_holds(phrase, scene.boxes[first][0], scene.boxes[1 - first][0]), scene.caption
                told += 1
    assert told > 30


def test_a_thing_behind_another_is_partly_hidden_and_one_inside_is_not(concepts, sprites):
    generator = make(concepts, {"squares": sprites["squares"]}, seed=3)
    for kind, hidden_least, hidden_most in (("behind", 0.1, 0.5), ("inside", 0.0, 0.03)):
        for _ in range(40):
            scene = generator.scene(kind)
            if scene.kind != kind:
                continue
            (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = scene.boxes[0][0], scene.boxes[1][0]
            front = scene.image[(by0 + by1) // 2, (bx0 + bx1) // 2]
            assert front.any()
            overlap = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
            share = overlap / ((ax1 - ax0) * (ay1 - ay0))
            if kind == "behind":
                assert share > hidden_least
            else:
                assert share == pytest.approx(1.0)
        assert hidden_least <= hidden_most


def test_several_things_are_told_in_reading_order(on_black):
    for _ in range(80):
        scene = on_black.scene("three")
        cells = [(centre(scene, i)[1] > SIDE / 2, centre(scene, i)[0] > SIDE / 2) for i in range(3)]
        assert cells == sorted(cells)
    for _ in range(80):
        scene = on_black.scene("many")
        rows = [round(3 * centre(scene, i)[1] / SIDE) for i in range(len(scene.boxes))]
        assert rows == sorted(rows)


def test_a_number_is_the_number_of_things(on_black):
    seen = set()
    for _ in range(120):
        scene = on_black.scene("count")
        number = scene.words[0][0]
        seen.add(number)
        assert len(scene.boxes[0]) == NUMBERS.index(number) + 2
    assert seen == set(NUMBERS)


def test_big_and_small_are_so(on_black):
    for _ in range(40):
        scene = on_black.scene("size")
        if scene.kind == "size":
            areas = [(x1 - x0) * (y1 - y0) for ((x0, y0, x1, y1),) in scene.boxes]
            assert areas[0] > 2.5 * areas[1]
            assert [word for word, noun in scene.words if noun < 0 and word in ("big", "small")] == [
                "big",
                "small",
            ]


def test_a_colour_that_is_said_is_the_colour_that_is_seen(on_black):
    checked = 0
    for _ in range(400):
        scene = on_black.scene("single", concept=0)
        said = [word for word, noun in scene.words if noun < 0 and word in colours.COLOUR_WORDS - {"black"}]
        if not said:
            continue
        x0, y0, x1, y1 = scene.boxes[0][0]
        middle = scene.image[(y0 + y1) // 2 - 4 : (y0 + y1) // 2 + 4, (x0 + x1) // 2 - 4 : (x0 + x1) // 2 + 4]
        seen = middle.reshape(-1, 3).mean(0)
        neighbours = {
            colours.hue_name(np.clip(colours.hue_rotation(turn) @ seen, 0, 255)) for turn in (-14, 0, 14)
        }
        assert said[0] in neighbours
        checked += 1
    assert checked > 50


def test_a_name_with_a_colour_is_never_recoloured(on_black):
    apple = 5
    for _ in range(100):
        scene = on_black.scene("single", concept=apple)
        x0, y0, x1, y1 = scene.boxes[0][0]
        red, green, blue = scene.image[(y0 + y1) // 2, (x0 + x1) // 2].tolist()
        assert red > green > blue


def test_restyled_sprites_stay_premultiplied(sprites):
    class Draws:
        def __init__(self) -> None:
            self.rng = np.random.default_rng(0)

        def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
            return float(self.rng.uniform(low, high))

    draws = Draws()
    noise = draws.rng.standard_normal((96, 96)).astype(np.float32)
    sprite = sprites["discs"].pixels[0]
    for _ in range(200):
        changed = colours.restyle(sprite, draws, noise)
        assert changed.shape == sprite.shape
        assert changed.dtype == np.uint8
        assert (changed[..., :3] <= changed[..., 3:]).all()
        assert changed.any()


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((255, 0, 0), "red"), ((0, 200, 0), "green"), ((20, 40, 250), "blue"), ((250, 240, 20), "yellow"),
     ((120, 60, 20), "brown"), ((128, 128, 130), None)],
)  # fmt: skip
def test_hue_names(rgb, name):
    assert colours.hue_name(np.array(rgb)) == name


def test_a_patch_mask_holds_the_patches_whose_centre_is_inside():
    mask = patch_mask([(0, 0, 28, 14), (100, 100, 112, 112)], 112, 8).reshape(8, 8)
    expected = np.zeros((8, 8), bool)
    expected[0, :2] = True
    expected[7, 7] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_negative_differs_in_one_word_and_is_false(concepts, sprites):
    generator = make(concepts, sprites, canonical=False)
    seen = set()
    for _ in range(600):
        scene = generator.scene()
        names = {concepts[c].name for c in scene.concepts}
        for kind, words in scene.negatives:
            seen.add(kind)
            before, after = scene.words, words
            while before and after and before[0] == after[0]:
                before, after = before[1:], after[1:]
            while before and after and before[-1] == after[-1]:
                before, after = before[:-1], after[:-1]
            assert before
            assert after
            if kind == "noun":
                assert {noun for _, noun in (*before, *after)} == {before[0][1]}
                said = " ".join(w.rstrip(",") for w, noun in words if noun == before[0][1])
                wrong = next(c.name for c in concepts if said in (c.name, c.plural))
                assert not any(may_be(name, wrong) for name in names)
            else:
                assert len(before) == len(after) == 1
                assert before[0][1] == after[0][1] == -1
            if kind == "colour":
                assert after[0][0] in colours.far_colours(before[0][0])
            if kind == "count":
                assert {before[0][0], after[0][0]} <= set(NUMBERS)
    assert seen == {"noun", "colour", "count", "relation"}


def answer_from_boxes(question: Question, scene: Scene, concepts: list[Concept]) -> str:
    """The answer worked out from the boxes and the concepts, without the scene's own facts."""
    asked = " ".join(question.words)
    things = list(zip(scene.concepts, scene.boxes, strict=True))
    if question.kind == "count":
        return ("zero", "one", *NUMBERS)[
            sum(len(boxes) for c, boxes in things if asked == f"how many {concepts[c].plural}")
        ]
    if question.kind == "exists":
        there = any(
            asked in f"are there {concepts[c].name} is there {with_article(concepts[c].name)}"
            for c, _ in things
        )
        return "yes" if there else "no"
    if question.kind == "where":
        (box,) = next(boxes for c, boxes in things if asked.endswith(f"the {concepts[c].name}"))
        x, y = (box[0] + box[2]) / 2 / SIDE - 0.5, (box[1] + box[3]) / 2 / SIDE - 0.5
        assert not any(0.07 <= abs(v) < 0.13 for v in (x, y))
        across, along = "left" if x < 0 else "right", "top" if y < 0 else "bottom"
        if abs(x) < 0.1 and abs(y) < 0.1:
            return "in the middle"
        if abs(y) < 0.1:
            return f"on the {across}"
        return f"at the {along}" if abs(x) < 0.1 else f"at the {along} {across}"
    assert question.kind == "what"
    if asked == "what is this":
        ((concept, _),) = things
        return concepts[concept].name
    relation = asked.removeprefix("what is ")
    other = next(i for i, (c, _) in enumerate(things) if relation.endswith(f"the {concepts[c].name}"))
    relation = relation.removesuffix(f" the {concepts[things[other][0]].name}")
    (box,), (other_box,) = things[1 - other][1], things[other][1]
    assert relation_holds(relation, box, other_box), asked
    return concepts[things[1 - other][0]].name


def test_every_answer_follows_from_the_boxes(concepts, sprites):
    generator = make(concepts, {"squares": sprites["squares"]})
    seen: dict[str, set[str]] = {}
    for _ in range(900):
        scene = generator.scene()
        for question in scene.questions:
            answer = " ".join(question.answer)
            seen.setdefault(question.kind, set()).add(answer)
            if question.kind == "colour":
                continue
            expected = answer_from_boxes(question, scene, concepts)
            assert answer.removeprefix("an ").removeprefix("a ") == expected
            if question.noun >= 0 and question.kind == "what":
                assert concepts[scene.concepts[question.noun]].name == expected
    assert seen["count"] == {"zero", "one", *NUMBERS}
    assert seen["exists"] == {"yes", "no"}
    assert len(seen["where"]) == 9
    assert len(seen["colour"]) >= 4


def test_an_answer_names_the_colour_that_is_seen(concepts, sprites):
    generator = make(concepts, {"squares": sprites["squares"]}, seed=5)
    for _ in range(80):
        scene, question = generator.question("colour", "single")
        x0, y0, x1, y1 = scene.boxes[0][0]
        seen = scene.image[(y0 + y1) // 2 - 4 : (y0 + y1) // 2 + 4, (x0 + x1) // 2 - 4 : (x0 + x1) // 2 + 4]
        turned = [colours.hue_rotation(d) @ seen.reshape(-1, 3).mean(0) for d in (-14, 0, 14)]
        assert question.answer[0] in {colours.hue_name(np.clip(c, 0, 255)) for c in turned}
        assert question.words[1] in ("colour", "color")


@pytest.mark.parametrize(
    ("box", "place"),
    [((0, 40, 20, 72), "on the left"), ((92, 40, 112, 72), "on the right"), ((40, 0, 72, 20), "at the top"),
     ((0, 92, 20, 112), "at the bottom left"), ((46, 46, 66, 66), "in the middle"), ((33, 46, 53, 66), "")],
)  # fmt: skip
def test_a_place_has_a_name_unless_it_is_on_a_border(box, place):
    assert (place_of(box, 112) or "") == place


def test_pairs_held_out_are_never_drawn_in_training_and_always_in_their_test(sprites, concepts):
    names = [f"thing {i}" for i in range(40)]
    many = [Concept(f"{i:X}", n, n, n + "s", "objects", ()) for i, n in enumerate(names)]
    pixels = sprites["discs"].pixels[np.zeros(40, int)]
    discs = {"discs": SpriteSet(pixels, np.arange(40))}
    train, test = make(many, discs), make(many, discs, holdout="test")
    for _ in range(150):
        for kind in ("beside", "three", "many", "groups", "behind"):
            drawn = train.scene(kind).concepts
            assert not any(held_out(names[a], names[b]) for i, a in enumerate(drawn) for b in drawn[i + 1 :])
        first, second = test.scene("over").concepts
        assert held_out(names[first], names[second])
        assert held_out(names[second], names[first])


def test_faults_and_clutter_leave_no_colour_that_is_not_seen(concepts, sprites):
    generator = make(concepts, sprites, restyled=0.2, seed=9)
    checked = 0
    for _ in range(500):
        scene = generator.scene("single")
        if np.ptp(scene.image.astype(int), axis=2).max() == 0:
            checked += 1
            assert scene.facts.things[0].colour in (None, "black", "white")
    assert checked > 5
