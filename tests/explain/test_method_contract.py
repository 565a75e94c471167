"""What every attribution method keeps, with every family it works for: a new file is picked up by itself."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from threading import Event

import numpy as np
import pytest

from mmviewer.core.errors import Cancelled, UnsupportedError
from mmviewer.core.explain.base import METHODS, available_methods, explain
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.progress import Progress
from mmviewer.core.registry import Registry
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapSpec, Media, Modality, Sampling, TokenMaps, TokenSequence

MODELS = [(family.key, variant) for family in FAMILIES for variant in family.tiny_variants()]
CASES = [
    (family, variant, method) for family, variant in MODELS for method in sorted(each.key for each in METHODS)
]


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    """What is kept here holds for any number of steps; exactness is proven in the tests of the method."""
    for name in ("_STEPS", "_FEWEST"):
        monkeypatch.setattr(f"mmviewer.core.explain.methods.integrated_gradients.{name}", 3)


@cache
def tiny(family: str, variant: str) -> LoadedModel:
    model = FAMILIES.get(family).tiny(variant)
    hears = model.info.can(Capability.EMBED_AUDIO)  # as for images it is an open_clip model like the others
    return model.side(Modality.AUDIO) if hears else model


def item(model: LoadedModel) -> Media:
    random = np.random.default_rng(3)
    if model.info.can(Capability.TRANSCRIBE) or model.info.can(Capability.EMBED_AUDIO):
        samples = random.normal(0, 0.1, 12_000).astype(np.float32)
        return Media("item", Modality.AUDIO, "noise.wav", samples=samples)
    return Media(
        "item", Modality.IMAGE, "noise.png", pixels=random.integers(0, 255, (50, 70, 3), dtype=np.uint8)
    )


def explained(model: LoadedModel, prepared: Prepared, sequence: TokenSequence, spec: MapSpec) -> TokenMaps:
    """The maps; a method that keeps only what is for a score may find nothing in random weights."""
    try:
        return explain(model, prepared, sequence, spec)
    except UnsupportedError as error:
        if "found nothing" in error.message and not METHODS.get(spec.method).signed:
            pytest.skip(f"in these random weights nothing speaks for any token: {error.message}")
        raise


def sequences(model: LoadedModel, prepared: Prepared) -> list[TokenSequence]:
    found = []
    if model.info.can(Capability.CAPTION) or model.info.can(Capability.TRANSCRIBE):
        found.append(generate(model, prepared, Sampling(max_tokens=3)))
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
            maps = explained(model, prepared, sequence, MapSpec(key, point.name))
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
        again = explain(model, prepared, sequence, maps.spec)
        np.testing.assert_allclose(maps.values, again.values, rtol=1e-5, atol=1e-9)


def hooks(model: LoadedModel) -> list:
    """Every forward hook; transformers leaves its own, which record hidden states when asked to."""
    parts = list(model.module.modules())
    return [
        hook for part in parts for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    ]


@pytest.mark.parametrize(("family", "variant", "key"), CASES)
def test_nothing_is_left_in_the_model(family, variant, key):
    model, method = tiny(family, variant), METHODS.get(key)
    prepared = model.prepare(item(model))
    for sequence in sequences(model, prepared):
        if method.offers(model, sequence.kind):
            with suppress(UnsupportedError):
                explain(model, prepared, sequence, MapSpec(key))
    assert not [hook for hook in hooks(model) if not hook.__module__.startswith("transformers.")]
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


THROW_AWAY = '''
"""Every position alike: a method that lives as long as this test."""

import torch

from mmviewer.core.explain.base import METHODS, Method, Relevance
from mmviewer.core.types import MapKind


class Even(Method):
    key = "even"
    label = "Even"
    explanation = "The same everywhere."
    kind = MapKind.ATTENTION

    def points(self, model, kind):
        return model.info.points[:1]

    def relevance(self, question):
        rows, columns = question.prepared.geometry.grid
        values = torch.ones(len(question.sequence.tokens), rows * columns)
        return Relevance(values, question.spec, "even", caveat="It knows nothing.")


METHODS.add("even")(Even())
'''


def test_a_new_file_is_a_new_method(tmp_path, monkeypatch):
    """A file in the folder of methods is found by scanning it: no list names it."""
    from mmviewer.core.explain import methods

    (tmp_path / "even.py").write_text(THROW_AWAY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    fresh = Registry("attribution method", METHODS._package)
    prefix = f"{METHODS._package}."
    loaded = {name: each for name, each in sys.modules.items() if name.startswith(prefix)}
    monkeypatch.setattr("mmviewer.core.explain.base.METHODS", fresh)
    try:
        for name, each in loaded.items():  # so that each registers itself again, in the fresh registry
            monkeypatch.setattr(methods, name.removeprefix(prefix), each)  # so that the former comes back
            monkeypatch.delitem(sys.modules, name)
        model = tiny("openclip", "clip")
        assert "even" in available_methods(model)
        assert set(available_methods(model)) > {"attention", "legrad", "occlusion"}
        prepared = model.prepare(item(model))
        maps = explain(model, prepared, sequences(model, prepared)[0], MapSpec("even"))
        assert (maps.values == 1).all()
    finally:
        sys.modules.pop(f"{METHODS._package}.even", None)
    assert "even" not in [method.key for method in METHODS]
