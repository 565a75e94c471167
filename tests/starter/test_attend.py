"""Show, Attend and Tell trained from nothing, stopped, resumed, exported, measured and loaded by the app."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")
pytest.importorskip("openvino", reason="the extra 'starter' is not installed")

import attend
from recipe.attend_measures import alphas
from recipe.attend_scenes import STYLES, Batch, caption_words, encode
from recipe.attend_training import losses
from recipe.scenes import SceneGenerator

from mmviewer.core.capture.collector import capture
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.sat.words import Words
from mmviewer.core.types import Media, Modality


def tiny():
    return FAMILIES.get("show_attend_tell").tiny()


def test_every_canonical_caption_is_made_of_known_words(concepts, sprites):
    words = Words(caption_words(concepts, range(len(concepts))))
    scenes = SceneGenerator(concepts, sprites, range(len(concepts)), size=64, seed=3, canonical=True)
    for _ in range(60):
        scene = scenes.scene()
        ids, spans = encode(scene, words)
        assert words.unknown not in ids
        assert words.join(ids)[0] == scene.caption
        for concept, span in zip(scene.concepts, spans, strict=True):
            said = " ".join(words.words[index] for index in ids[span.first : span.end])
            assert said in (concepts[concept].name, concepts[concept].plural)


def test_the_loss_of_a_batch_is_that_of_each_caption_alone():
    """Captions of different lengths, of which a step computes only those that go on, against whole passes."""
    model = tiny()
    network = model.module
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        maps = network.encoder.maps(torch.randn(3, 3, 64, 64, generator=generator))
        lengths = torch.tensor([5, 3, 2])
        ids = torch.full((3, 6), 2)
        for row, length in enumerate(lengths.tolist()):
            middle = torch.randint(3, 12, (length - 1,), generator=generator)
            ids[row, : length + 1] = torch.tensor([0, *middle.tolist(), 1])
        found = losses(network, Batch(*maps, ids, lengths), everywhere=0.5)
        summed, spread = 0.0, 0.0
        cells = network.encoder.annotate(*maps)
        for row, length in enumerate(lengths.tolist()):
            fed = ids[row : row + 1, :length]
            logits, _ = network.read(cells[row : row + 1], fed)
            chances = logits[0].log_softmax(-1)
            summed -= float(chances[range(length), ids[row, 1 : length + 1]].sum())
            alpha = alphas(network, cells[row : row + 1], fed[0].tolist())
            spread += float(((1 - alpha.sum(0)) ** 2).sum())
    assert float(found.words) == pytest.approx(summed / 10, rel=1e-5)
    assert float(found.everywhere) == pytest.approx(spread / 3, rel=1e-5)
    assert float(found.total) == pytest.approx(summed / 10 + 0.5 * spread / 10, rel=1e-5)


def test_what_is_measured_is_what_the_app_records():
    model = tiny()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    prepared = model.prepare(Media("x", Modality.IMAGE, "x", pixels=pixels))
    ids = [0, *(span.id for span in model.tokenize("a red dog"))]
    with capture(model, {"decoder.cross": None}) as captured:
        model.sequence_logits(prepared, ids)
    with torch.no_grad():
        found = alphas(model.module, model.module.encoder(prepared.inputs["pixels"]), ids)
    torch.testing.assert_close(captured["decoder.cross"][0][0, 0], found, atol=1e-6, rtol=0)


@pytest.fixture
def work(tmp_path, concepts, sprites) -> Path:
    """A work folder: sprites, and a package of the trunk with random weights."""
    import timm
    from recipe.photo_tower import ARCHITECTURE, WEIGHTS

    cache = tmp_path / "cache"
    cache.mkdir()
    for i, style in enumerate((*STYLES, "twemoji")):
        drawn = sprites["discs" if i % 2 else "squares"]
        np.savez(cache / f"{style}.npz", pixels=drawn.pixels, concept_of_row=drawn.concept_of_row)
    index = {"concepts": [asdict(c) for c in concepts], "labels": list(range(len(concepts)))}
    (cache / "index.json").write_text(json.dumps(index), encoding="utf-8")
    weights = tmp_path / "photos" / "tower" / WEIGHTS
    weights.parent.mkdir(parents=True)
    torch.save(timm.create_model(ARCHITECTURE, pretrained=False).state_dict(), weights)
    return tmp_path


def call(*arguments: str | Path) -> None:
    assert attend.main([str(argument) for argument in arguments]) == 0


@pytest.mark.slow
def test_train_resume_export_evaluate_load(work, capsys):
    from mmviewer.core.models.loader import load_model
    from mmviewer.core.tasks.generate import generate

    run, out = work / "run", work / "sat"
    call("train", "--work", work, "--out", run, "--seconds", "5")
    first = torch.load(run / "attend.pt", weights_only=True)
    assert first["step"] >= 1
    longer = first["spent"] + 4
    call("train", "--work", work, "--out", run, "--seconds", str(longer))
    second = torch.load(run / "attend.pt", weights_only=True)
    assert second["step"] > first["step"]
    assert second["spent"] >= longer

    call("export", run, "--work", work, "--out", out)
    facts = json.loads((out / "training.json").read_text())
    assert facts["steps"] == second["step"]
    capsys.readouterr()
    call("evaluate", out, "--work", work, "--scenes", "4")
    printed = capsys.readouterr().out
    measured = json.loads((out / "evaluation.json").read_text())
    pointing = measured["twemoji, never trained on"]["two things"]["pointing"]
    assert pointing["nouns"] == 8
    assert 0 < pointing["chance"] < 1
    assert printed.strip() == (out / "README.md").read_text().strip()
    model = load_model(str(out), device="cpu")
    assert model.info.about.figures
    assert model.info.about.limits
    pixels = np.full((80, 90, 3), 200, np.uint8)
    caption = generate(model, model.prepare(Media("x", Modality.IMAGE, "x", pixels=pixels)))
    assert caption.finished
