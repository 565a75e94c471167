"""What every family of transformers keeps beyond the common contract: numbers, places, memory, methods."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.explain.base import METHODS, available_methods, explain
from mmviewer.core.explain.forward import encode
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapSpec, Media, Modality, PointRole, Sampling, TokenSequence

VARIANTS = [
    (family.key, variant)
    for family in FAMILIES
    if isinstance(family, HfFamily)
    for variant in family.tiny_variants()
]
SLOW_METHODS = frozenset(("second_order", "integrated_gradients"))


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda found: "-".join(filter(None, found)))
def model(request) -> LoadedModel:
    key, variant = request.param
    return FAMILIES.get(key).tiny(variant)


def picture(height: int = 96, width: int = 160, seed: int = 0) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media(f"picture {seed}", Modality.IMAGE, "picture", pixels=pixels)


def sound(seconds: float = 2.0) -> Media:
    samples = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
    return Media("sound", Modality.AUDIO, "sound", samples=samples)


@pytest.fixture
def prepared(model) -> Prepared:
    return model.prepare(sound() if model.info.can(Capability.EMBED_AUDIO) else picture())


def sequence_of(model: LoadedModel, prepared: Prepared) -> TokenSequence:
    if model.info.about.questions is not None:
        return ask(model, prepared, "what is it?", Sampling(temperature=1, seed=3, max_tokens=4))
    if model.info.can(Capability.CAPTION):
        return generate(model, prepared, Sampling(temperature=1, seed=3, max_tokens=4))
    return query_sequence(model, prepared.media_id, "a dog")


def run(model: LoadedModel, prepared: Prepared) -> torch.Tensor:
    if model.info.capabilities & {Capability.CAPTION, Capability.ANSWER}:
        decoder = model.decoder(prepared)
        written = [span.id for span in model.tokenize("a cat")]
        return model.sequence_logits(prepared, [*decoder.prompt, *written[: decoder.room - 1]])
    return encode(model, [prepared])


def test_recording_changes_no_output(model):
    item = sound() if model.info.can(Capability.EMBED_AUDIO) else picture()
    with torch.no_grad():
        expected = run(model, model.prepare(item))
    points = {point.name: None for point in model.info.points}
    for grad in (False, True):
        with capture(model, points, grad=grad):
            recorded = run(model, model.prepare(item))
        torch.testing.assert_close(recorded.detach(), expected, atol=1e-5, rtol=1e-5)


def test_every_method_gives_finite_maps_that_are_not_all_alike(model, prepared):
    sequence = sequence_of(model, prepared)
    offered = [key for key in available_methods(model) if key not in SLOW_METHODS]
    usable = [key for key in offered if METHODS.get(key).offers(model, sequence.kind)]
    assert usable
    for key in usable:
        maps = explain(model, prepared, sequence, MapSpec(method=key))
        assert np.isfinite(maps.values).all(), key
        assert np.abs(maps.values).max() > 0, key


def test_a_patch_of_the_picture_changes_its_own_key_only(model):
    point = model.point(PointRole.ENCODER_SELF)
    if point is None or point.keys != "image patches":
        pytest.skip("no encoder that attends over patches alone")
    item = picture()
    assert item.pixels is not None
    plain = model.prepare(item)
    geometry = plain.geometry
    assert isinstance(geometry, ImageGeometry)
    rows, columns = geometry.grid
    row, column = rows - 2, columns - 2
    top, left, bottom, right = (round(edge) for edge in geometry.cell_box(row, column))
    height, width = bottom - top, right - left
    changed = item.pixels.copy()
    middle = (
        slice(top + height // 3, bottom - height // 3),
        slice(left + width // 3, right - width // 3),
    )
    changed[middle] = 255 - changed[middle]
    other = model.prepare(Media("changed", Modality.IMAGE, "changed", pixels=changed))
    keys = []
    for each in (plain, other):
        with capture(model, {point.name: (0,)}, inside=True) as captured:
            run(model, each)
        keys.append(captured.inside(point.name)[0].key[0])  # [H, K, D]
    moved = (keys[0] - keys[1]).abs().amax((0, 2))
    prefix = len(moved) - rows * columns
    assert moved.argmax() == prefix + row * columns + column
    others = moved.clone()
    others[prefix + row * columns + column] = 0
    assert others.max() < 0.2 * moved.max()  # the edges of the resampling reach a little further


def test_unloading_frees_the_module(model):
    key, variant = model.info.family, next(v for k, v in VARIANTS if k == model.info.family)
    loaded = FAMILIES.get(key).tiny(variant)
    gone = weakref.ref(loaded.module)
    item = sound() if loaded.info.can(Capability.EMBED_AUDIO) else picture()
    with torch.no_grad():
        run(loaded, loaded.prepare(item))
    del loaded
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_half_precision_runs(model, dtype):
    from dataclasses import replace

    loaded = FAMILIES.get(model.info.family).tiny(next(v for k, v in VARIANTS if k == model.info.family))
    loaded.module.to(dtype)
    loaded.placement = replace(loaded.placement, dtype=dtype)
    item = sound() if loaded.info.can(Capability.EMBED_AUDIO) else picture()
    with torch.no_grad():
        assert not torch.isnan(run(loaded, loaded.prepare(item))).any()  # what cannot be said is -inf
