"""The photo model: its recipe on small made-up data, and the folder that ships."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from recipe.photo_directions import LENGTH, Compass
from recipe.photo_drawings import Drawings, placed
from recipe.photo_space import DIMENSIONS, LEVEL, Space, make_space, unit_words
from recipe.photo_text import (
    CONTEXT,
    VOCABULARY,
    Names,
    article,
    encode,
    new_tower,
    phrase,
    tokenizer,
    write_vocabulary,
)
from recipe.photo_tower import expected_features
from recipe.photo_wordnet import Nouns, imagenet_classes
from recipe.photo_words import Word
from torch import nn
from torch.nn import functional

from mmviewer.core.explain.base import explain
from mmviewer.core.models.loader import load_model
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality

CAT = "photo-cat.png"


class SmallClassifier(nn.Module):
    """What of a classifier the space needs: a norm before the pooling and a last layer."""

    def __init__(self, features: int = 640, classes: int = 40) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.bn2 = nn.BatchNorm2d(features)
        self.bn2.weight.data = torch.rand(features, generator=generator) + 0.5
        self.bn2.bias.data = torch.randn(features, generator=generator)
        self.classifier = nn.Linear(features, classes)
        self.classifier.weight.data = torch.randn(classes, features, generator=generator) / 8
        self.classifier.bias.data = torch.randn(classes, generator=generator)


@pytest.fixture(scope="module")
def classifier() -> SmallClassifier:
    return SmallClassifier().requires_grad_(False)


@pytest.fixture(scope="module")
def examples() -> torch.Tensor:
    return torch.randn(900, 640, generator=torch.Generator().manual_seed(1)).abs()


@pytest.fixture(scope="module")
def space(classifier, examples) -> Space:
    # forty classes span forty dimensions, so a rank of 510 loses nothing; the rest is filled with zeros
    wide = SmallClassifier(640, 640).requires_grad_(False)
    wide.classifier.weight.data[40:] = 0
    wide.classifier.bias.data[40:] = 0
    wide.classifier.weight.data[:40] = classifier.classifier.weight.data
    wide.classifier.bias.data[:40] = classifier.classifier.bias.data
    wide.bn2 = classifier.bn2
    return make_space(wide, examples)


def test_the_expected_feature_is_that_of_a_clipped_normal_distribution(classifier):
    norm = classifier.bn2
    draws = torch.randn(20_000, 640, generator=torch.Generator().manual_seed(2))
    sampled = (norm.bias + norm.weight * draws).clamp(0, 6).mean(0)
    torch.testing.assert_close(expected_features(classifier), sampled, atol=0.05, rtol=0)


def test_words_times_images_are_the_classifiers_logits(classifier, space, examples):
    logits = examples @ classifier.classifier.weight.T + classifier.classifier.bias
    ours = space.embed(examples) @ space.classes[:40].T
    difference = logits - ours
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=2e-3, rtol=0)


def test_every_word_is_padded_to_one_length_with_the_angles_kept():
    vectors = torch.randn(30, DIMENSIONS, generator=torch.Generator().manual_seed(3)) / 25
    vectors[:, -1] = 0
    units = unit_words(vectors, 2.0)
    torch.testing.assert_close(units.norm(dim=1), torch.ones(30))
    images = torch.randn(5, DIMENSIONS)
    images[:, -1] = 0
    torch.testing.assert_close(images @ units.T * 2.0, images @ vectors.T, atol=1e-5, rtol=1e-4)


def test_a_word_of_several_classes_has_their_mean_and_their_number_as_prior(space):
    drawings = Drawings(torch.rand(6, 640, generator=torch.Generator().manual_seed(4)), ("owl", "fox") * 3)
    compass = Compass(space, drawings)
    both = compass.vector(Word(frozenset((3, 5))))
    mean = space.classes[[3, 5]].mean(0)
    assert functional.cosine_similarity(both[:LEVEL], mean[:LEVEL], dim=0) == pytest.approx(1, abs=1e-5)
    assert float(both[LEVEL] - mean[LEVEL]) == pytest.approx(
        0.5 * math.log(2) / float(space.bias[LEVEL]), rel=1e-4
    )
    drawn = compass.vector(Word(drawn=frozenset(("owl",))))
    embedded = space.embed(drawings.features)
    direction = (embedded[::2].mean(0) - embedded.mean(0))[:LEVEL]
    assert functional.cosine_similarity(drawn[:LEVEL], direction, dim=0) == pytest.approx(1, abs=1e-5)
    assert float(drawn.norm()) == pytest.approx(0.85, rel=1e-4)
    assert not compass.vector(Word(strength=0.0)).any()
    assert LENGTH > 1


def test_phrases_hold_the_name_and_the_right_article():
    rng = np.random.default_rng(0)
    texts = {phrase("owl", rng) for _ in range(300)}
    assert {"an owl", "a photo of an owl", "owl", "two owls"} <= texts
    assert all("owl" in text for text in texts)
    assert not any("a owl" in text for text in texts)
    assert article("dog") == "a dog"


def test_the_tower_begins_as_a_bag_of_words(tmp_path):
    names = ("golden retriever", "owl", "fire engine", "banana")
    write_vocabulary(tmp_path / "bpe.txt.gz", dict.fromkeys(names, 3.0))
    again = tmp_path / "again.txt.gz"
    write_vocabulary(again, dict.fromkeys(names, 3.0))
    assert again.read_bytes() == (tmp_path / "bpe.txt.gz").read_bytes()
    tokens = tokenizer(tmp_path / "bpe.txt.gz")
    targets = functional.normalize(
        torch.randn(4, DIMENSIONS, generator=torch.Generator().manual_seed(5)), dim=1
    )
    tower = new_tower(tokens, Names(names, targets, torch.ones(4)), seed=0).eval()
    with torch.inference_mode():
        said = encode(tower, tokens, names)
        whole = functional.normalize(tower(tokens(list(names))), dim=1)
    torch.testing.assert_close(said, whole, atol=1e-5, rtol=0)  # cutting the padding changes nothing
    assert (said @ targets.T).argmax(1).tolist() == [0, 1, 2, 3]
    assert tokens(["owl"]).shape == (1, CONTEXT)
    assert int(tokens(["owl"]).max()) < VOCABULARY


def test_nouns_are_read_with_their_kinds(tmp_path):
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        "00000010 05 n 01 animal 0 000 | a living thing\n"
        "00000020 05 n 02 dog 0 domestic_dog 0 001 @ 00000010 n 0000 | it barks | twice\n"
        "00000030 05 n 01 beagle 0 001 @ 00000020 n 0000 | small\n"
        "00000040 18 n 01 dog 1 000 | a person\n",
        encoding="utf-8",
    )
    (tmp_path / "index.noun").write_text(
        "  1 licence\ndog n 2 1 @ 2 1 00000020 00000040\nbeagle n 1 1 @ 1 0 00000030\n", encoding="utf-8"
    )
    nouns = Nouns(tmp_path)
    assert nouns.senses == {"dog": (20, 40), "beagle": (30,)}
    assert nouns.usual == {"dog"}
    assert nouns.synsets[20].lemmas == ("dog", "domestic dog")
    assert list(nouns.ancestors(30)) == [(30, 0), (20, 1), (10, 2)]
    assert nouns.covered([30]) == {30: {0}, 20: {0}, 10: {0}}


def test_imagenets_classes_come_in_the_classifiers_order():
    classes = imagenet_classes()
    assert len(set(classes)) == 1000
    assert (classes[0], classes[-1]) == (1440764, 15075141)  # tench and toilet tissue


def test_drawings_are_placed_whole_on_a_background(sprites):
    rng = np.random.default_rng(0)
    sprite = sprites["squares"].pixels[0]
    for _ in range(20):
        picture = placed(sprite, rng)
        assert picture.shape == (224, 224, 3)
        red = (np.abs(picture.astype(int) - sprite[48, 48, :3]) < 3).all(-1)
        assert red.sum() > (0.5 * 224) ** 2


# --- what ships ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folder(resources: Path) -> Path:
    path = resources / "models" / "starter-photo"
    if not (path / "open_clip_model.safetensors").is_file():
        pytest.skip("the photo model is not in this checkout")
    return path


@pytest.fixture(scope="module")
def shipped(folder):
    return load_model("starter-photo", device="cpu")


def sample(resources: Path) -> Media:
    pixels = np.array(Image.open(resources / "samples" / CAT).convert("RGB"))
    return Media(CAT, Modality.IMAGE, CAT, pixels=pixels)


def test_open_clip_loads_the_folder_by_itself(folder, shipped, resources):
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / "bpe.txt.gz"))
    media = sample(resources)
    with torch.inference_mode():
        image = model.eval().encode_image(preprocess(Image.fromarray(media.pixels))[None], normalize=True)
        text = model.encode_text(tokens(["a cat"]), normalize=True)
        ours = shipped.image_features([shipped.prepare(media)])
        torch.testing.assert_close(image, ours, atol=1e-4, rtol=0)
        torch.testing.assert_close(text, shipped.text_features(["a cat"]), atol=1e-5, rtol=0)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20 * 2**20


def test_the_shipped_photograph_is_a_cat_and_an_animal(shipped, resources):
    prepared = shipped.prepare(sample(resources))
    for labels in (
        list(shipped.info.labels),
        ["dog", "cat", "car", "house"],
        ["animal", "vehicle", "food", "tool"],
    ):
        with torch.inference_mode():
            words = shipped.text_features([f"a photo of {article(label)}" for label in labels])
            best = labels[int((shipped.image_features([prepared]) @ words.T).argmax())]
        assert best in ("cat", "animal")


def test_the_shipped_model_offers_gradcam_and_says_what_it_is(shipped, resources):
    prepared = shipped.prepare(sample(resources))
    maps = explain(shipped, prepared, query_sequence(shipped, CAT, "cat"), MapSpec("gradcam"))
    assert maps.values.shape == (1, 7, 7)
    assert maps.values.any()
    assert [stage.grid[0] for stage in shipped.stages()] == [112, 56, 28, 14, 7, 7]
    about = shipped.info.about
    assert "ImageNet" in about.limits
    assert about.licence
    assert about.card
    assert len(about.figures) == 10
    assert not about.notes


def test_labels_of_the_shipped_model_are_told_apart(shipped):
    labels = list(shipped.info.labels)
    assert len(labels) > 400
    assert len(set(labels)) == len(labels)
    with torch.inference_mode():
        plain = shipped.text_features([article(label) for label in labels])
        photo = shipped.text_features([f"a photo of {article(label)}" for label in labels])
    own = (plain @ photo.T).argmax(1) == torch.arange(len(labels))
    assert float(own.float().mean()) > 0.97
