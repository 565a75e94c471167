"""LXMERT: equal to the library in both directions, and regions from a detector or from a file."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch

from mmviewer import paths
from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, MMViewerError, UnsupportedError
from mmviewer.core.explain.base import available_methods, explain
from mmviewer.core.interventions.recipe import HideRegion, Region
from mmviewer.core.interventions.what_if import what_if
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.hf.lxmert import BACK, CROSS, REGIONS, WORDS
from mmviewer.core.models.hf.regions import read_beside, shares_of_cells
from mmviewer.core.models.loader import load_model
from mmviewer.core.tasks.ask import ask
from mmviewer.core.types import MapSpec, Media, Modality

BOXES = np.array([[0, 0, 60, 40], [30, 20, 120, 80], [100, 50, 120, 80]], np.float32)


def picture(path: str | None = None, seed: int = 0) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    return Media(f"picture {seed}", Modality.IMAGE, "picture.png", path, pixels=pixels)


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("hf_lxmert").tiny()


@pytest.fixture(scope="module")
def prepared(model):
    return model.prepare(picture())


def library(model, prepared, ids):
    """What the library's own forward gives: class token, words, separator, under eager attention."""
    reader, boxes = model.module["reader"], prepared.inputs["boxes"]
    with torch.no_grad():
        return reader(
            input_ids=torch.tensor([[ids[-1], *ids[1:-1], ids[0]]]),
            visual_feats=model._features([prepared], boxes[None]),
            visual_pos=boxes[None],
            output_attentions=True,
        )


def test_answers_and_maps_equal_the_library(model, prepared):
    answer = ask(model, prepared, "What is it?")
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)][:-1]
    with capture(model, dict.fromkeys((CROSS, BACK, REGIONS, WORDS))) as captured:
        ours = model.sequence_logits(prepared, ids)[-1, model._words :]
    output = library(model, prepared, ids)
    torch.testing.assert_close(ours, output.question_answering_score[0], atol=1e-5, rtol=1e-5)
    best = int(output.question_answering_score.argmax())
    assert answer.tokens[-1].text == model._codec._labels[best]
    order = [len(ids) - 1, *range(1, len(ids) - 1), 0]  # our rows in their order
    for found, wanted in zip(captured[CROSS], output.cross_encoder_attentions, strict=True):
        torch.testing.assert_close(found[:, :, order], wanted, atol=1e-6, rtol=0)
    for found, wanted in zip(captured[REGIONS], output.vision_attentions, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    own = captured[WORDS][0][:, :, order][..., order]
    torch.testing.assert_close(own, output.language_attentions[-1], atol=1e-6, rtol=0)
    words, regions = len(ids), len(prepared.inputs["boxes"])
    assert all(weights.shape[2:] == (regions, words) for weights in captured[BACK])


def test_regions_over_words_equal_a_plain_computation(model, prepared):
    answer = ask(model, prepared, "What is it?")
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)][:-1]
    attention = model.module["reader"].lxmert.encoder.x_layers[0].visual_attention.att
    calls: list = []
    hook = attention.register_forward_pre_hook(lambda _, given: calls.append(given[:2]))
    with capture(model, {BACK: [0]}) as captured:
        model.sequence_logits(prepared, ids)
    hook.remove()
    regions, words = calls[1]
    query, key = attention.query(regions)[0], attention.key(words)[0]
    size = attention.attention_head_size
    for head in range(4):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / size**0.5
        expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
        torch.testing.assert_close(captured[BACK][0][0, head], expected, atol=1e-6, rtol=0)


def test_the_answers_map_is_the_row_of_the_class_token_over_boxes(model, prepared):
    answer = ask(model, prepared, "What is it?")
    ids = [*answer.prompt_ids, *(token.id for token in answer.tokens)][:-1]
    maps = explain(model, prepared, answer, MapSpec(layer=1))
    looked = library(model, prepared, ids).cross_encoder_attentions[1][0, :, 0].mean(0)  # [R]
    rows, columns = prepared.geometry.grid
    expected = np.zeros((rows, columns))
    for weight, (left, top, right, bottom) in zip(looked, prepared.inputs["boxes"].tolist(), strict=True):
        for row in range(rows):
            for column in range(columns):
                down = max(0.0, min(bottom, (row + 1) / rows) - max(top, row / rows))
                across = max(0.0, min(right, (column + 1) / columns) - max(left, column / columns))
                expected[row, column] += float(weight) * down * across / ((bottom - top) * (right - left))
    np.testing.assert_allclose(maps.values[-1], expected, atol=1e-5)
    assert maps.values[-1].sum() == pytest.approx(1, abs=1e-4)


def test_every_map_says_where_the_features_come_from(model, prepared):
    answer = ask(model, prepared, "What is it?")
    assert {"attention", "rollout", "gradient_attention", "occlusion"} <= set(available_methods(model))
    for method in ("attention", "rollout", "gradient_attention"):
        maps = explain(model, prepared, answer, MapSpec(method))
        assert "6 regions of a random detector" in maps.caveat
        assert "not those that the model was trained with" in maps.caveat


def test_features_follow_what_lies_in_the_box(model, prepared):
    boxes = torch.tensor([[0.0, 0.0, 0.25, 0.25], [0.6, 0.6, 1.0, 1.0]])
    pixels = prepared.inputs["pixels"]
    changed = pixels.clone()
    changed[..., -8:, -8:] += 3
    before, after = (model._detector.features(each, boxes[None]) for each in (pixels, changed))
    moved = (before - after).abs().amax(-1)[0]
    assert float(moved[1]) > 1e-4
    assert float(moved[0]) == pytest.approx(0, abs=1e-6)


def test_a_feature_is_the_mean_of_the_map_in_its_box(model, prepared):
    pixels = prepared.inputs["pixels"]
    with torch.no_grad():
        last = model.module["detector"].model.backbone(pixels, torch.ones(1, *pixels.shape[2:]))[-1][0]
        whole = model._detector.features(pixels, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]))
        flat = model._detector.features(torch.zeros_like(pixels), torch.tensor([[[0.2, 0.2, 0.9, 0.8]]]))
    assert whole.shape == (1, 1, last.shape[1])
    correlation = np.corrcoef(whole[0, 0], last[0].mean((1, 2)))[0, 1]
    assert correlation > 0.95  # bilinear samples of a coarse map
    assert torch.isfinite(flat).all()


def test_shares_add_up_and_lie_where_the_box_is():
    shares = shares_of_cells(torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.25, 0.5, 0.3, 0.55]]), (2, 4))
    torch.testing.assert_close(shares.sum(-1), torch.ones(2))
    torch.testing.assert_close(shares[0], torch.tensor([0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0]))
    assert int(shares[1].argmax()) == 5


def test_features_of_a_file_are_read_and_named(model, tmp_path):
    path = tmp_path / "picture.png"
    features = np.random.default_rng(1).normal(size=(3, 12)).astype(np.float32)
    np.savez(f"{path}.regions.npz", boxes=BOXES, features=features)
    prepared = model.prepare(picture(str(path)))
    torch.testing.assert_close(prepared.inputs["features"], torch.from_numpy(features))
    torch.testing.assert_close(prepared.inputs["boxes"][1], torch.tensor([0.25, 0.25, 1.0, 1.0]))
    answer = ask(model, prepared, "What is it?")
    maps = explain(model, prepared, answer)
    assert "3 regions with the features that picture.png.regions.npz holds" in maps.caveat
    with pytest.raises(UnsupportedError, match="hidden for this model"):
        explain(model, prepared, answer, MapSpec("occlusion"))
    hidden = HideRegion(Region("box", ((0.0, 0.0), (25.0, 25.0))))
    with pytest.raises(UnsupportedError, match="would change nothing"):
        what_if(model, picture(str(path)), (hidden,), about=answer, prepared=prepared)


def test_boxes_of_a_file_get_features_of_the_detector(model, tmp_path):
    path = tmp_path / "picture.png"
    np.savez(f"{path}.regions.npz", boxes=BOXES)
    prepared = model.prepare(picture(str(path)))
    assert prepared.inputs["boxes"].shape == (3, 4)
    assert "3 regions of picture.png.regions.npz, with features of the backbone" in prepared.origin
    assert ask(model, prepared, "What is it?").written


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"boxes": np.zeros((3, 5))},
        {"boxes": np.zeros((0, 4))},
        {"boxes": np.zeros((101, 4))},
        {"boxes": BOXES[:, ::-1]},
        {"boxes": BOXES * 10},
        {"boxes": np.full((1, 4), np.nan)},
        {"boxes": BOXES, "features": np.zeros((2, 12))},
        {"boxes": BOXES, "features": np.full((3, 12), np.inf)},
        {"boxes": np.array(["a"] * 4)},
        {"boxes": np.array([{"a": 1}], dtype=object)},
    ],
)
def test_files_that_hold_no_regions_are_refused(model, tmp_path, arrays):
    path = tmp_path / "picture.png"
    np.savez(f"{path}.regions.npz", **arrays)
    with pytest.raises(InputError, match="cannot be read as regions"):
        model.prepare(picture(str(path)))


def test_broken_and_huge_files_are_refused(tmp_path):
    path = tmp_path / "picture.png"
    beside = tmp_path / "picture.png.regions.npz"
    assert read_beside(picture(str(path))) is None
    beside.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read as regions"):
        read_beside(picture(str(path)))
    packed = io.BytesIO()
    np.save(packed, np.zeros((30_000_000,), np.float32))
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("boxes.npy", packed.getvalue())
    assert beside.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="too large"):
        read_beside(picture(str(path)))


def test_features_of_another_size_are_refused(model, tmp_path):
    path = tmp_path / "picture.png"
    np.savez(f"{path}.regions.npz", boxes=BOXES, features=np.zeros((3, 2048), np.float32))
    with pytest.raises(InputError, match="2,048 numbers each, but tiny LXMERT reads 12"):
        model.prepare(picture(str(path)))


def test_it_loads_with_a_detector_of_this_machine_or_without(model, tmp_path, monkeypatch):
    home = tmp_path / "models"
    monkeypatch.setattr(paths, "models_dir", lambda: home)
    home.mkdir()
    folder = tmp_path / "lxmert"
    model.module["reader"].save_pretrained(folder)
    model._codec.tokenizer.save_pretrained(folder)
    loaded = load_model(str(folder))
    with pytest.raises(UnsupportedError, match="download facebook/detr-resnet-50"):
        loaded.prepare(picture())
    assert loaded._codec._labels[0] == "answer 1 of 8"
    (folder / "trainval_label2ans.json").write_text('["a","b","c","d","e","f","g","h"]', "utf-8")
    model.module["detector"].save_pretrained(home / "detector")
    model._detector._processor.save_pretrained(home / "detector")
    again = load_model(str(folder))
    prepared = again.prepare(picture())
    assert "regions of detector" in prepared.origin
    assert ask(again, prepared, "What is it?").written in set("abcdefgh")
    broken = home / "detector" / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(MMViewerError, match="download facebook"):
        load_model(str(folder)).prepare(picture())


def test_damaged_files_are_refused_or_read(tmp_path):
    path, rng = tmp_path / "picture.png", np.random.default_rng(3)
    beside = tmp_path / "picture.png.regions.npz"
    np.savez_compressed(beside, boxes=BOXES, features=rng.normal(size=(3, 12)).astype(np.float32))
    whole = beside.read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(0, 256)
        beside.write_bytes(damaged)
        try:
            found = read_beside(picture(str(path)))
        except InputError:
            refused += 1
        else:
            assert found is not None
            assert 1 <= len(found.boxes) <= 100
    assert refused > 200
