"""``import mmviewer as mv``: the lines of the README, as a script would run them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mmviewer as mv
from mmviewer.core.errors import ExportError, InputError, MediaError, UnsupportedError


@pytest.fixture(scope="module")
def model(starter):
    return mv.load(starter)


def test_the_six_lines(model, scene, tmp_path):
    image = mv.open(scene)
    caption = mv.caption(model, image)
    word = next(token.text for token in caption.tokens if len(token.text) > 3)
    maps = mv.explain(model, image, caption, method="gradient_attention")
    for ending in ("svg", "pdf", "png", "npz"):
        path = mv.figure(maps, image, tmp_path / f"word.{ending}", word=word, model=model)
        assert path.stat().st_size > 500
    scores = mv.classify(model, image, ["dog", "cat"])
    assert scores.probabilities.sum() == pytest.approx(1, abs=1e-5)
    vectors = mv.embed(model, [image, image]).vectors
    assert vectors.shape == (2, 192)
    with np.load(tmp_path / "word.npz") as saved:
        assert saved["map"].shape == Image.open(scene).size[::-1]
        assert saved["tokens"].tolist() == [word]


def test_explain_about_a_text_or_its_own_caption(model, scene):
    image = mv.open(scene)
    asked = mv.explain(model, image, "a red teapot", method="gradient_attention")
    assert [token.text for token in asked.tokens] == ["a", "red", "teapot"]
    assert asked.whole is not None
    told = mv.explain(model, image)
    assert told.spec.point == "decoder.cross"


def test_mistakes_are_named(model, scene, tmp_path):
    image = mv.open(scene)
    maps = mv.explain(model, image, "a red teapot")
    with pytest.raises(InputError, match="no word “zebra”"):
        mv.figure(maps, image, tmp_path / "x.svg", word="zebra")
    with pytest.raises(InputError, match="token 9 does not exist"):
        mv.figure(maps, image, tmp_path / "x.svg", tokens=[9])
    with pytest.raises(ExportError):
        mv.figure(maps, image, tmp_path / "x.docx")
    with pytest.raises(InputError, match="a list of texts"):
        mv.classify(model, image, "dog,cat")
    with pytest.raises(InputError, match="needs a sound"):
        mv.transcribe(model, image)
    with pytest.raises(MediaError):
        mv.open(tmp_path / "none.png")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mv.nothing  # noqa: B018 - looking it up is the test


def test_capability_is_asked_for(model, tmp_path):
    from mmviewer.core.models.base import FAMILIES

    clip = FAMILIES.get("openclip").tiny("clip")
    picture = tmp_path / "x.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(picture)
    with pytest.raises(UnsupportedError, match="cannot caption"):
        mv.caption(clip, mv.open(picture))


def test_import_is_light():
    script = "import sys, mmviewer; print([n for n in ('torch', 'numpy', 'PySide6') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
