"""What the generator says of a scene is true of its pixels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe import colours
from recipe.concepts import Concept
from recipe.scenes import Scene, SceneGenerator, patch_mask
from recipe.sprites import SpriteSet

BLACK = (np.zeros((160, 160, 3), np.uint8), "black")
VISIBLE = 40


@pytest.fixture
def on_black(concepts: list[Concept], sprites: dict[str, SpriteSet]) -> SceneGenerator:
    return SceneGenerator(concepts, sprites, range(len(concepts)), seed=7, backgrounds=[BLACK])


def centre(scene: Scene, noun: int) -> tuple[float, float]:
    x0, y0, x1, y1 = scene.boxes[noun][0]
    return (x0 + x1) / 2, (y0 + y1) / 2


def test_a_seed_gives_the_same_scenes_and_another_seed_others(concepts, sprites):
    def scenes(seed: int) -> list[Scene]:
        generator = SceneGenerator(concepts, sprites, range(len(concepts)), seed=seed, restyled=0.5)
        return [generator.scene() for _ in range(40)]

    first, again, other = scenes(3), scenes(3), scenes(4)
    for a, b in zip(first, again, strict=True):
        assert a.caption == b.caption
        assert a.boxes == b.boxes
        np.testing.assert_array_equal(a.image, b.image)
    assert [s.caption for s in first] != [s.caption for s in other]


def test_everything_drawn_lies_in_the_boxes_and_the_boxes_are_tight(on_black):
    for _ in range(200):
        scene = on_black.scene()
        drawn = scene.image.max(axis=2) > VISIBLE
        outside = drawn.copy()
        for x0, y0, x1, y1 in (box for boxes in scene.boxes for box in boxes):
            assert 0 <= x0 < x1 <= 112
            assert 0 <= y0 < y1 <= 112
            # One pixel more on each side: the faint rim of an antialiased edge is no part of the box.
            outside[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
            part = drawn[y0:y1, x0:x1]
            for edge in (part[:2], part[-2:], part[:, :2], part[:, -2:]):
                assert edge.any()
        assert not outside.any()


def test_the_caption_names_every_thing_once_and_its_words_know_which(on_black):
    for _ in range(200):
        scene = on_black.scene()
        assert len(scene.boxes) == len(scene.concepts)
        for noun, concept in enumerate(scene.concepts):
            said = " ".join(word.rstrip(",") for word, n in scene.words if n == noun)
            wanted = on_black.concepts[concept]
            assert said == (wanted.plural if scene.kind == "count" else wanted.name)


@pytest.mark.parametrize("kind", ["beside", "over", "diagonal"])
def test_a_relation_holds_between_the_boxes(on_black, kind):
    for _ in range(60):
        scene = on_black.scene(kind)
        (ax, ay), (bx, by) = centre(scene, 0), centre(scene, 1)
        if "to the left of" in scene.caption:
            assert ax < bx
            assert abs(ax - bx) > abs(ay - by)
        elif "to the right of" in scene.caption:
            assert ax > bx
        elif "above" in scene.caption:
            assert ay < by
            assert abs(ay - by) > abs(ax - bx)
        elif "below" in scene.caption:
            assert ay > by
        else:
            assert " and " in scene.caption
            assert ay < by


def test_three_things_are_told_in_reading_order(on_black):
    for _ in range(60):
        scene = on_black.scene("three")
        cells = [(centre(scene, i)[1] > 56, centre(scene, i)[0] > 56) for i in range(3)]
        assert cells == sorted(cells)


def test_a_number_is_the_number_of_things(on_black):
    words = {"two": 2, "three": 3, "four": 4}
    seen = set()
    for _ in range(60):
        scene = on_black.scene("count")
        number = scene.words[0][0]
        seen.add(number)
        assert len(scene.boxes[0]) == words[number]
    assert seen == set(words)


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
