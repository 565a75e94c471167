"""What every attribution method keeps, with every family it works for: a new file is picked up by itself."""

from __future__ import annotations

from functools import cache
from threading import Event

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled, UnsupportedError
from mmviewer.core.explain.base import METHODS, available_methods, explain
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapSpec, Media, Modality, TokenSequence

MODELS = [(family.key, variant) for family in FAMILIES for variant in family.tiny_variants()]
CASES = [
    (family, variant, method) for family, variant in MODELS for method in sorted(each.key for each in METHODS)
]


@cache
def tiny(family: str, variant: str) -> LoadedModel:
    return FAMILIES.get(family).tiny(variant)


def item(model: LoadedModel) -> Media:
    random = np.random.default_rng(3)
    if model.info.can(Capability.TRANSCRIBE) or model.info.can(Capability.EMBED_AUDIO):
        samples = random.normal(0, 0.1, 12_000).astype(np.float32)
        return Media("item", Modality.AUDIO, "noise.wav", samples=samples)
    return Media(
        "item", Modality.IMAGE, "noise.png", pixels=random.integers(0, 255, (50, 70, 3), dtype=np.uint8)
    )


def sequences(model: LoadedModel, prepared: Prepared) -> list[TokenSequence]:
    found = []
    if model.info.can(Capability.CAPTION) or model.info.can(Capability.TRANSCRIBE):
        found.append(generate(model, prepared))
    if model.info.can(Capability.EMBED_TEXT):
        found.append(query_sequence(model, prepared.media_id, "a red dog"))
    return found


@pytest.mark.parametrize(("family", "variant", "key"), CASES)
def test_maps_fit_the_input_and_say_what_they_are(family, variant, key):
    model, method = tiny(family, variant), METHODS.get(key)
    prepared = model.prepare(item(model))
    shape = getattr(prepared.geometry, "grid", None) or (prepared.geometry.positions,)
    for sequence in sequences(model, prepared):
        if not method.offers(model, sequence.kind):
            with pytest.raises(UnsupportedError):
                explain(model, prepared, sequence, MapSpec(key))
            continue
        assert key in available_methods(model)
        for point in method.points(model, sequence.kind):
            maps = explain(model, prepared, sequence, MapSpec(key, point.name))
            assert maps.values.shape == (len(sequence.tokens), *shape)
            assert maps.values.dtype == np.float32
            assert np.isfinite(maps.values).all()
            assert method.signed or (maps.values >= 0).all()
            assert maps.values.any()
            assert maps.kind is method.kind
            assert maps.spec.point == point.name
            assert maps.description
            assert maps.caveat
            assert bool(maps.score) == (maps.kind == "attribution")
            again = explain(model, prepared, sequence, MapSpec(key, point.name))
            np.testing.assert_allclose(maps.values, again.values, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("family", "variant", "key"), CASES)
def test_nothing_is_left_in_the_model(family, variant, key):
    model, method = tiny(family, variant), METHODS.get(key)
    prepared = model.prepare(item(model))
    for sequence in sequences(model, prepared):
        if method.offers(model, sequence.kind):
            explain(model, prepared, sequence, MapSpec(key))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    assert not any(each.requires_grad or each.grad is not None for each in model.module.parameters())


@pytest.mark.parametrize(("family", "variant", "key"), CASES)
def test_cancel_is_honoured(family, variant, key):
    model, method = tiny(family, variant), METHODS.get(key)
    prepared = model.prepare(item(model))
    cancelled = Event()
    progress = Progress(lambda *_: cancelled.set(), cancelled)
    for sequence in sequences(model, prepared):
        if method.offers(model, sequence.kind):
            cancelled.clear()
            with pytest.raises(Cancelled):
                explain(model, prepared, sequence, MapSpec(key), progress)


@pytest.mark.parametrize("key", METHODS.keys())
def test_method_describes_itself(key):
    method = METHODS.get(key)
    assert method.key == key
    assert method.label
    assert method.explanation.endswith(".")
