"""The model and the samples that are shipped: they load as they lie there, and fit each other."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows
from PIL import Image

from mmviewer.core.models.openclip.build import build, preprocessing, transform
from mmviewer.core.models.openclip.source import resolve
from mmviewer.core.progress import SILENT

SHOWN = {
    "scene-cat-dog": ("cat", "dog"),
    "scene-owl-guitar": ("owl", "guitar"),
    "scene-three-butterflies": ("butterfly",),
    "scene-breakfast": ("croissant", "strawberry", "teapot"),
    "scene-unseen-style": ("penguin", "sunflower"),
}
CAPTIONS = {
    "scene-cat-dog": "a cat to the left of a dog",
    "scene-owl-guitar": "an owl above a guitar",
    "scene-three-butterflies": "three butterflies",
    "scene-breakfast": "a croissant, a strawberry and a teapot",
    "scene-unseen-style": "a penguin to the left of a sunflower",
}

ANSWERS = (
    ("scene-cat-dog", "is there a dog", "yes"),
    ("scene-cat-dog", "is there a rocket", "no"),
    ("scene-cat-dog", "what is to the left of the dog", "a cat"),
    ("scene-owl-guitar", "what is above the guitar", "an owl"),
    ("scene-three-butterflies", "how many butterflies", "three"),
    ("scene-unseen-style", "where is the penguin", "on the left"),
    ("scene-unseen-style", "how many owls", "zero"),
)


@pytest.fixture(scope="module")
def folder(resources: Path) -> Path:
    return resources / "models" / "starter-coca"


@pytest.fixture(scope="module")
def shipped(folder):
    """Model and preprocessing as the app loads them, tokenizer and label set."""
    model = build(resolve(str(folder)), SILENT)
    preprocess = transform(preprocessing(model))
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / "bpe.txt.gz"))
    labels = (folder / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return model.eval(), preprocess, tokens, labels


@pytest.fixture(scope="module")
def pictures(shipped, resources) -> torch.Tensor:
    preprocess = shipped[1]
    images = [Image.open(resources / "samples" / f"{name}.png").convert("RGB") for name in SHOWN]
    return torch.stack([preprocess(image) for image in images])


def prompt(label: str) -> str:
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def test_the_folder_is_whole_and_small(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 40_000_000
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("# starter-coca")
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["starter-coca"]["labels"] == len((folder / "labels.txt").read_text().splitlines())


def test_labels_are_distinct_and_name_what_the_samples_show(shipped):
    labels = shipped[3]
    assert len(labels) == len(set(labels)) > 250
    assert {name for names in SHOWN.values() for name in names} <= set(labels)


def test_what_a_sample_shows_ranks_high_among_all_labels(shipped, pictures):
    model, _, tokens, labels = shipped
    with torch.no_grad():
        images = model.encode_image(pictures, normalize=True)
        texts = model.encode_text(tokens([prompt(label) for label in labels]), normalize=True)
    order = (images @ texts.T).argsort(dim=1, descending=True)
    ranks = [
        order[row].tolist().index(labels.index(name))
        for row, names in enumerate(SHOWN.values())
        for name in names
    ]
    assert sorted(ranks)[len(ranks) // 2] < len(labels) // 20  # by chance the median would be the middle
    assert sum(rank < 10 for rank in ranks) >= len(ranks) // 2


def test_each_sample_finds_its_own_caption(shipped, pictures):
    model, _, tokens, _ = shipped
    with torch.no_grad():
        images = model.encode_image(pictures, normalize=True)
        texts = model.encode_text(tokens(list(CAPTIONS.values())), normalize=True)
    own = (images @ texts.T).argmax(1) == torch.arange(len(CAPTIONS))
    assert int(own.sum()) >= 4  # by chance one of five


def test_the_decoder_prefers_the_true_caption(shipped, pictures):
    model, _, tokens, _ = shipped
    rows = tokens(list(CAPTIONS.values()))
    own = 0
    for number, picture in enumerate(pictures):
        with torch.no_grad():
            out = model(picture.expand(len(rows), -1, -1, -1), rows)
        loss = F.cross_entropy(out["logits"].transpose(1, 2), out["labels"], ignore_index=0, reduction="none")
        per_token = loss.sum(1) / (out["labels"] != 0).sum(1)  # [captions]
        own += int(per_token.argmin()) == number
    assert own >= 4


def test_the_decoder_answers_questions(shipped, pictures):
    model, _, tokens, _ = shipped
    right = 0
    for name, question, answer in ANSWERS:
        picture = pictures[list(SHOWN).index(name)][None]
        row = [tokens.sot_token_id, *tokens.encode(f"{question} ?")]
        start = len(row)
        while row[-1] != tokens.eot_token_id and len(row) < 24:
            with torch.no_grad():
                logits = model(picture, torch.tensor([row]), output_labels=False)["logits"]  # [1, T, V]
            row.append(int(logits[0, -1].argmax()))
        said = tokens.decode([token for token in row[start:] if token != tokens.eot_token_id]).strip()
        right += said == answer
    assert right >= 5


def test_samples_are_what_the_app_expects(resources):
    samples = resources / "samples"
    for path in sorted(samples.glob("scene-*.png")):
        with Image.open(path) as image:
            assert image.size == (448, 448)
            assert image.mode == "RGB"
            assert "Source" in image.info
    assert len(list(samples.glob("scene-*.png"))) == 9
    with wave.open(str(samples / "please-open.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) == (1, 16000, 2)
        assert 2 < sound.getnframes() / 16000 < 6
    assert (samples / "a-dog.txt").read_text(encoding="utf-8") == "a dog\n"


def test_every_sample_has_its_licence(resources):
    licences = (resources / "LICENSES.md").read_text(encoding="utf-8")
    for path in (resources / "samples").iterdir():
        assert path.name == "README.md" or path.name in licences
