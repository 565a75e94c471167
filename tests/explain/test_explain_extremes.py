"""What no method was made for, through the public interface: models that cannot, scores that do not depend
on the input, infinities, masked rows, very long texts, sounds of nothing. A clear word each time.
"""

from __future__ import annotations

import copy
import time
import warnings
from threading import Event, Timer

import numpy as np
import open_clip
import pytest
import torch

import mmviewer as mv
from mmviewer.core.capture.mechanism import AttentionChange
from mmviewer.core.errors import Cancelled, MMViewerError, UnsupportedError
from mmviewer.core.explain.base import METHODS
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import build
from mmviewer.core.models.openclip import tiny as openclip_tiny
from mmviewer.core.models.openclip.model import OpenClipModel
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapKind, Media, Modality, TokenMaps, TokenSequence

METHOD_KEYS = METHODS.keys()
GRADIENTS = [key for key in METHOD_KEYS if METHODS.get(key).needs_gradient]


@pytest.fixture(autouse=True)
def _quiet():
    """Nothing of ours may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def copied(original: LoadedModel) -> LoadedModel:
    """A model whose weights can be spoiled."""
    model = copy.copy(original)
    model.module = model._model = copy.deepcopy(original.module)
    return model


def sound(samples: np.ndarray) -> Media:
    return Media("sound", Modality.AUDIO, "sound.wav", samples=samples.astype(np.float32))


def a_sentence(error: MMViewerError) -> str:
    assert error.message.endswith(".")
    assert len(error.message) > 30
    return error.message


def shown(model: LoadedModel, media: Media, about: str | TokenSequence, key: str) -> TokenMaps | str:
    """Maps that can be shown, or the sentence that says why there are none."""
    try:
        maps = mv.explain(model, media, about, method=key)
    except MMViewerError as error:
        return a_sentence(error)
    assert np.isfinite(maps.values).all()
    assert maps.values.any()
    assert maps.description
    return maps


@pytest.mark.parametrize("key", METHOD_KEYS)
@pytest.mark.parametrize(
    ("family", "variant"), [("whisper", ""), ("openclip", "clip"), ("openclip", "resnet")]
)
def test_a_method_that_the_model_cannot_serve(family, variant, key, picture):
    model = FAMILIES.get(family).tiny(variant or FAMILIES.get(family).tiny_variants()[0])
    hears = family == "whisper"
    media = sound(np.random.default_rng(0).normal(0, 0.1, 8000)) if hears else picture
    kind = "transcript" if hears else "query"
    if METHODS.get(key).offers(model, kind):
        pytest.skip("it can")
    text, spans = (
        model.token_text([50]) if hears else ("a dog", query_sequence(model, media.id, "a dog").tokens)
    )
    sequence = TokenSequence(kind, media.id, model.info.id, text, spans)
    with pytest.raises(UnsupportedError, match="choose another method or model") as said:
        mv.explain(model, media, sequence, method=key)
    assert METHODS.get(key).label in said.value.message
    assert model.info.label in said.value.message


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_a_score_that_does_not_depend_on_the_input(tiny, picture, key):
    """The embedding is made of nothing: attributions say so, attention is still what it was."""
    original = tiny("clip")
    if not METHODS.get(key).offers(original, "query"):
        pytest.skip("not offered")
    model = copied(original)
    with torch.no_grad():
        model.module.visual.proj.zero_()
    found = shown(model, picture, "a red dog", key)
    if METHODS.get(key).kind is MapKind.ATTENTION:
        assert isinstance(found, TokenMaps)
    else:
        assert isinstance(found, str)
        assert "found nothing" in found or "nothing would change" in found


@pytest.mark.parametrize("key", GRADIENTS)
def test_a_gate_that_is_shut(tiny, picture, caption_of, key):
    """Cross-attention whose output is multiplied by zero: there is no gradient through it."""
    model = copied(tiny("coca without pooler"))
    sequence = caption_of(model, model.prepare(picture))
    if not METHODS.get(key).offers(model, sequence.kind):
        pytest.skip("not offered")
    with torch.no_grad():
        for block in model.module.text_decoder.cross_attn:
            block.attn.out_proj.weight.zero_()
            block.attn.out_proj.bias.zero_()
            block.mlp[-1].weight.zero_()
    found = shown(model, picture, sequence, key)
    assert isinstance(found, str)
    assert "found nothing" in found


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_infinite_weights(tiny, picture, key):
    original = tiny("clip")
    if not METHODS.get(key).offers(original, "query"):
        pytest.skip("not offered")
    model = copied(original)
    with torch.no_grad():
        model.module.visual.transformer.resblocks[0].attn.in_proj_weight.fill_(float("inf"))
    found = shown(model, picture, "a red dog", key)
    assert isinstance(found, str)
    assert "not numbers" in found


@pytest.mark.parametrize("key", METHOD_KEYS)
@pytest.mark.parametrize("variant", ["clip", "coca"])
def test_rows_that_may_look_at_nothing(tiny, picture, caption_of, key, variant):
    """All heads of all layers masked: no weight, no map, and a word for it."""
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequence = caption_of(model, prepared) if variant == "coca" else query_sequence(model, "picture", "a dog")
    if not METHODS.get(key).offers(model, sequence.kind):
        pytest.skip("not offered")
    modules = dict(model.module.named_modules())
    names = [name for point in model.info.points for name in point.modules]
    sites = {name: modules[name] for name in names}
    with AttentionChange(sites, lambda _name, weights, _allowed: torch.zeros_like(weights)):
        found = shown(model, picture, sequence, key)
    assert isinstance(found, str) or np.isfinite(found.values).all()


LONG = 2000
PATIENCE = 2.0
"""Seconds after which the work is cancelled."""


@pytest.fixture(scope="module")
def long_winded() -> LoadedModel:
    """A tiny captioner that reads two thousand tokens, of few words."""
    changes = {"context_length": LONG + 2, "vocab_size": 50}
    config = copy.deepcopy(openclip_tiny.CONFIGS["coca without pooler"])
    for part in ("text_cfg", "multimodal_cfg"):
        config[part] = {**config[part], **changes, "layers": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build.construct(config)
        for parameter in module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)  # open_clip leaves some as the memory was
    module.eval().requires_grad_(False)
    build.attach_preprocessing(module, {})
    placement = Placement(torch.device("cpu"), torch.float32, "a test")
    tokenizer = open_clip.SimpleTokenizer(context_length=LONG + 2)
    return OpenClipModel(module, tokenizer, placement, Identity("long", "test", "test"))


@pytest.mark.parametrize("key", METHOD_KEYS)
def test_two_thousand_tokens(long_winded, picture, key):
    """All are explained, or the work can be stopped at any time: no method hangs over a very long text."""
    model = long_winded
    if not METHODS.get(key).offers(model, "caption"):
        pytest.skip("not offered")
    text, spans = model.token_text([index % 40 + 1 for index in range(LONG)])
    sequence = TokenSequence("caption", "picture", model.info.id, text, spans, prompt_ids=(0,))
    stop = Event()
    timer = Timer(PATIENCE, stop.set)
    timer.start()
    started = time.perf_counter()
    try:
        maps = mv.explain(model, picture, sequence, method=key, progress=Progress(cancelled=stop))
        assert maps.values.shape == (LONG, 4, 4)
        assert np.isfinite(maps.values).all()
    except Cancelled:
        assert time.perf_counter() - started < PATIENCE + 10
    finally:
        timer.cancel()
        timer.join()


@pytest.mark.parametrize("key", METHOD_KEYS)
@pytest.mark.parametrize("length", [0, 1, 400])
def test_sounds_of_next_to_nothing(key, length):
    model = FAMILIES.get("whisper").tiny(FAMILIES.get("whisper").tiny_variants()[0])
    if not METHODS.get(key).offers(model, "transcript"):
        pytest.skip("not offered")
    text, spans = model.token_text([50, 60])
    media = sound(np.zeros(length))
    prompt = ()
    try:
        prepared = model.prepare(media)
        prompt = model.decoder(prepared).prompt
    except MMViewerError as error:
        a_sentence(error)
        return
    sequence = TokenSequence("transcript", media.id, model.info.id, text, spans, prompt_ids=prompt)
    found = shown(model, media, sequence, key)
    if isinstance(found, TokenMaps):
        assert found.values.shape == (2, found.geometry.positions)


@pytest.mark.parametrize("key", GRADIENTS)
def test_scores_one_at_a_time_give_the_same_maps(tiny, picture, caption_of, key, monkeypatch):
    """Where memory is short, fewer scores are differentiated at once."""
    model = tiny("coca")
    kinds = {"caption": caption_of(model, model.prepare(picture)), "query": "a red dog"}
    for kind, about in kinds.items():
        if METHODS.get(key).offers(model, kind):
            whole = mv.explain(model, picture, about, method=key)
            monkeypatch.setattr("mmviewer.core.explain.gradients._BATCH_BYTES", 1)
            single = mv.explain(model, picture, about, method=key)
            monkeypatch.undo()
            scale = np.abs(whole.values).max()
            np.testing.assert_allclose(single.values, whole.values, rtol=1e-4, atol=1e-5 * scale)
