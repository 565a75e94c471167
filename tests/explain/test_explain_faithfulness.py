"""Faithfulness against plain loops, brute force over pixels, SciPy's ranks, and maps known to be right."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import plain
import pytest
import torch
from scipy.stats import spearmanr

from mmviewer.core.capture.store import CaptureStore
from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.faithfulness import curves, randomised, randomised_check
from mmviewer.core.explain.measures import (
    Scale,
    Verdict,
    agreement,
    covered,
    in_region,
    mass_in,
    points_into,
)
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.progress import Progress
from mmviewer.core.targets import RunnerUp, SimilarityTarget
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, Modality, Sampling


@pytest.fixture
def case(tiny, picture):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_sequence(model, "picture", "a red dog")
    return model, prepared, sequence, explain(model, prepared, sequence, MapSpec("feature_ablation"))


def score(model, pixels: torch.Tensor, text: str) -> float:
    with torch.no_grad():
        return float(
            plain.text_vectors(model, [text])[0].float()
            @ model.module.encode_image(pixels, normalize=True)[0]
        )


@pytest.mark.parametrize(("token", "text"), [(None, "a red dog"), (2, "dog")])
def test_curves_equal_a_plain_loop(case, token, text):
    model, prepared, sequence, maps = case
    tokens = () if token is None else (token,)
    found = curves(model, prepared, sequence, maps, tokens, steps=8, random_maps=2)
    grid = maps.whole if token is None else maps.values[token]
    pixels = prepared.inputs["pixels"]
    fill = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    order = np.argsort(-grid.ravel(), kind="stable")
    deletion, insertion = [], []
    for count in range(0, 17, 2):
        keep = np.ones(16)
        keep[order[:count]] = 0
        deletion.append(score(model, plain.hidden_pixels(prepared, keep.reshape(4, 4), fill), text))
        insertion.append(score(model, plain.hidden_pixels(prepared, 1 - keep.reshape(4, 4), fill), text))
    np.testing.assert_allclose(found.deletion, deletion, atol=1e-5)
    np.testing.assert_allclose(found.insertion, insertion, atol=1e-5)
    np.testing.assert_allclose(found.shares, np.linspace(0, 1, 9), atol=1e-6)
    assert text in found.score
    for random in (found.random_deletion, found.random_insertion[::-1]):
        assert random[0] == pytest.approx(deletion[0], abs=1e-5)
        assert random[-1] == pytest.approx(deletion[-1], abs=1e-5)
    again = curves(model, prepared, sequence, maps, tokens, steps=8, random_maps=2)
    np.testing.assert_array_equal(found.random_deletion, again.random_deletion)


def test_a_map_of_what_counts_beats_chance_and_its_opposite_does_not(case):
    model, prepared, sequence, maps = case
    right = curves(model, prepared, sequence, maps, (2,))
    assert right.deletion_gain > 0
    assert right.insertion_gain > 0
    assert right.verdict is Verdict.BETTER
    wrong = curves(model, prepared, sequence, replace(maps, values=-maps.values), (2,))
    assert wrong.deletion_gain < 0
    assert wrong.insertion_gain < 0
    assert wrong.verdict is Verdict.CHANCE
    flat = np.full_like(right.deletion, 0.3)
    still = replace(right, deletion=flat, insertion=flat, random_deletion=flat)
    assert still.verdict is Verdict.SILENT


def test_areas_are_those_of_trapezoids(case):
    model, prepared, sequence, maps = case
    found = curves(model, prepared, sequence, maps, steps=5)
    below = np.interp(np.linspace(0, 1, 100_001), found.shares, found.deletion).mean()
    chance = np.interp(np.linspace(0, 1, 100_001), found.shares, found.random_deletion).mean()
    assert found.deletion_gain == pytest.approx(chance - below, abs=1e-5)


def test_captions_sounds_and_targets(tiny, picture):
    coca = tiny("coca")
    prepared = coca.prepare(picture)
    caption = generate(coca, prepared, Sampling(max_tokens=3))
    maps = explain(coca, prepared, caption, MapSpec("attention"))
    found = curves(coca, prepared, caption, maps, (1,), steps=4, random_maps=1)
    assert found.scale is Scale.PROBABILITY
    assert found.deletion[0] == pytest.approx(np.exp(caption.tokens[1].logprob), abs=1e-4)
    both = curves(coca, prepared, caption, maps, (0, 1), steps=4, random_maps=1)
    mean = (caption.tokens[0].logprob + caption.tokens[1].logprob) / 2
    assert both.deletion[0] == pytest.approx(np.exp(mean), abs=1e-4)
    whole = curves(coca, prepared, caption, maps, steps=2, random_maps=1)
    assert "whole caption" in whole.score
    assert "geometric mean" in whole.score
    apart = replace(maps, spec=replace(maps.spec, contrast=RunnerUp()))
    less = curves(coca, prepared, caption, apart, (1,), steps=2, random_maps=1)
    assert less.scale is Scale.DIFFERENCE
    similar = replace(maps, spec=replace(maps.spec, target=SimilarityTarget("dog")))
    assert "“dog”" in curves(coca, prepared, caption, similar, steps=2, random_maps=1).score

    whisper = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    heard = whisper.prepare(Media("noise", Modality.AUDIO, "noise", samples=samples))
    transcript = generate(whisper, heard, Sampling(max_tokens=3))
    maps = explain(whisper, heard, transcript, MapSpec("attention"))
    found = curves(whisper, heard, transcript, maps, (0,), steps=3, random_maps=1)
    assert found.insertion[-1] == pytest.approx(found.deletion[0], abs=1e-6)
    assert np.isfinite(found.deletion).all()


def test_random_orders_are_measured_once_for_all_maps_of_a_text(case):
    model, prepared, sequence, maps = case
    store = CaptureStore()
    first = curves(model, prepared, sequence, maps, (2,), steps=8, random_maps=3, store=store)
    asked = []
    progress = Progress(lambda done, total, _: asked.append(total))
    other = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    options = {"steps": 8, "random_maps": 3, "patience": 0.01}
    kept = curves(model, prepared, sequence, other, (1,), **options, store=store, progress=progress)
    assert max(asked) <= 2 * 7 + 2
    fresh = curves(model, prepared, sequence, other, (1,), **options)
    np.testing.assert_allclose(kept.random_areas, fresh.random_areas, atol=1e-6)
    np.testing.assert_allclose(kept.deletion, fresh.deletion, atol=1e-6)
    assert not np.allclose(first.random_areas, kept.random_areas)  # of another word


def test_random_baseline_equals_a_plain_loop(case):
    """Deletion in random orders, and insertion in the same orders backwards."""
    model, prepared, sequence, maps = case
    found = curves(model, prepared, sequence, maps, steps=16, random_maps=2)
    generator = torch.Generator().manual_seed(0)
    pixels = prepared.inputs["pixels"]
    fill = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    lost, given = np.zeros((2, 17)), np.zeros((2, 17))
    for row in range(2):
        order = torch.randperm(16, generator=generator).numpy()
        for count in range(17):
            keep = np.ones(16)
            keep[order[:count]] = 0
            lost[row, count] = score(
                model, plain.hidden_pixels(prepared, keep.reshape(4, 4), fill), sequence.text
            )
            keep = np.zeros(16)
            keep[order[::-1][:count]] = 1
            given[row, count] = score(
                model, plain.hidden_pixels(prepared, keep.reshape(4, 4), fill), sequence.text
            )
    np.testing.assert_allclose(found.random_deletion, lost.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.random_insertion, given.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.random_areas, np.trapezoid(lost, dx=1 / 16, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.random_areas, np.trapezoid(given, dx=1 / 16, axis=1), atol=1e-5)


def test_curves_refuse_what_does_not_fit(case, tiny):
    model, prepared, sequence, maps = case
    with pytest.raises(InputError, match="at least one step"):
        curves(model, prepared, sequence, maps, steps=0)
    with pytest.raises(InputError, match="token 7"):
        curves(model, prepared, sequence, maps, (7,))
    with pytest.raises(InputError, match="another item"):
        curves(model, prepared, sequence, replace(maps, media_id="other"))
    cancelled = Event()
    with pytest.raises(Cancelled):
        curves(model, prepared, sequence, maps, progress=Progress(lambda *_: cancelled.set(), cancelled))


GEOMETRY = ImageGeometry.for_resize((60, 90), (32, 32), "crop", (4, 4))
BOXES = [(10.0, 20.0, 33.0, 50.0), (25.0, 40.0, 55.5, 61.0)]


def test_boxes_by_brute_force_over_pixels():
    """On a grid of points far finer than a pixel."""
    points = 30
    share = np.zeros((4, 4))
    for row in range(4):
        for column in range(4):
            top, left, bottom, right = GEOMETRY.cell_box(row, column)
            y = top + (np.arange(points * 4) + 0.5) / (points * 4) * (bottom - top)
            x = left + (np.arange(points * 4) + 0.5) / (points * 4) * (right - left)
            inside = np.zeros((len(y), len(x)), bool)
            for box in BOXES:
                inside |= ((y >= box[0]) & (y < box[2]))[:, None] & ((x >= box[1]) & (x < box[3]))[None]
            share[row, column] = inside.mean()
    np.testing.assert_allclose(covered(GEOMETRY, BOXES), share, atol=0.02)
    grid = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    expected = (np.clip(grid, 0, None) * share).sum() / np.clip(grid, 0, None).sum()
    assert mass_in(grid, GEOMETRY, BOXES) == pytest.approx(expected, abs=0.02)


def test_pointing_and_mass_of_planted_maps():
    for row in range(4):
        for column in range(4):
            grid = np.zeros((4, 4), np.float32)
            grid[row, column] = 1
            top, left, bottom, right = GEOMETRY.cell_box(row, column)
            middle = ((top + bottom) / 2, (left + right) / 2)
            inside = any(box[0] <= middle[0] < box[2] and box[1] <= middle[1] < box[3] for box in BOXES)
            assert points_into(grid, GEOMETRY, BOXES) == inside
            assert mass_in(grid, GEOMETRY, [GEOMETRY.cell_box(row, column)]) == pytest.approx(1)
    assert mass_in(-np.ones((4, 4), np.float32), GEOMETRY, BOXES) == 0.0
    with pytest.raises(InputError, match="no box"):
        points_into(np.ones((4, 4), np.float32), GEOMETRY, [])


def test_mass_and_pointing_in_a_region():
    grid = np.array([[-1, 2], [6, 2]], np.float32)
    region = in_region(grid, np.array([[1, 0.5], [0.75, 0]], np.float32))
    assert region.mass == pytest.approx((0.5 * 2 + 0.75 * 6) / 10)
    assert region.chance == pytest.approx(2.25 / 4)
    assert region.hit
    assert not in_region(grid, np.array([[1, 1], [0.4, 1]], np.float32)).hit
    nothing = in_region(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32))
    assert (nothing.mass, nothing.hit) == (0, False)


def test_agreement_is_spearmans_with_ties():
    random = np.random.default_rng(0)
    grids = [random.normal(size=(5, 5)).round(1).astype(np.float32) for _ in range(4)]
    grids.append(-grids[0])
    expected = spearmanr(np.stack([grid.ravel() for grid in grids], 1)).statistic
    np.testing.assert_allclose(agreement(grids), expected, atol=1e-6)
    even = agreement([np.ones((2, 2), np.float32), grids[0][:2, :2]])
    assert even[0, 1] == 0


def test_randomised_weights_leave_the_model_alone(case):
    model, prepared, sequence, maps = case
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    other = randomised(model, 3)
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, before[name])
    changed = [
        name for name, value in other.module.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert any("attn" in name for name in changed)
    for name in changed:
        assert torch.equal(
            other.module.state_dict()[name].flatten().sort().values, before[name].flatten().sort().values
        )
    assert other.info.id != model.info.id

    found = randomised_check(model, prepared, sequence, maps, (2,), seeds=(0, 1))
    expected = []
    for seed in (0, 1):
        shuffled = explain(randomised(model, seed), replace(prepared), sequence, maps.spec)
        expected.append(spearmanr(maps.values[2].ravel(), shuffled.values[2].ravel()).statistic)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-5)


def test_a_map_that_ignores_the_weights_survives_randomising(case):
    """What the check is for: a map of the input alone looks the same whatever the weights are."""
    model, prepared, sequence, maps = case
    from mmviewer.core.explain import base

    class OfTheInput(type(base.METHODS.get("feature_ablation"))):
        def relevance(self, question):
            pixels = question.prepared.inputs["pixels"][0].sum(0)
            flat = pixels.unfold(0, 8, 8).unfold(1, 8, 8).sum((2, 3)).flatten()
            return base.Relevance(flat.expand(3, -1), question.spec, "of the input", "x", whole=flat)

    real = base.METHODS.get("feature_ablation")
    base.METHODS._plugins["feature_ablation"] = OfTheInput()
    try:
        blind = explain(model, prepared, sequence, MapSpec("feature_ablation"))
        assert randomised_check(model, prepared, sequence, blind).mean == pytest.approx(1)
    finally:
        base.METHODS._plugins["feature_ablation"] = real
    assert randomised_check(model, prepared, sequence, maps).mean < 0.8
