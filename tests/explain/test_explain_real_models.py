"""Maps of models that have learnt something: the starter on a scene, Whisper on a spoken sentence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmviewer import paths
from mmviewer.core.explain.base import explain
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.loader import load_model
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, PointRole, TokenSequence


@pytest.fixture(scope="module")
def starter(request):
    """The shipped starter, or in a checkout without it the prototype."""
    if list(paths.starter_model().glob("*.safetensors")):
        return load_model("starter")
    return load_model(str(request.getfixturevalue("shared_models") / "starter-prototype"))


def forced(model, prepared, caption: str) -> TokenSequence:
    """A caption the model did not choose, as if it had."""
    text, spans = model.token_text([token.id for token in model.tokenize(caption)])
    prompt = model.decoder(prepared).prompt
    return TokenSequence("caption", prepared.media_id, model.info.id, text, spans, prompt_ids=prompt)


@pytest.mark.parametrize(
    "spec", [MapSpec("attention", layer=2), MapSpec("gradient_attention"), MapSpec("occlusion")]
)
def test_each_noun_points_to_its_own_half(starter, spec):
    """The scene shows an owl above a guitar."""
    prepared = starter.prepare(open_media(paths.samples() / "scene-owl-guitar.png"))
    maps = explain(starter, prepared, forced(starter, prepared, "an owl above a guitar"), spec)
    words = {token.text: maps.values[token.index].clip(0) for token in maps.tokens}
    rows = words["owl"].shape[0] // 2
    assert words["owl"][:rows].sum() > 0.6 * words["owl"].sum()
    assert words["guitar"][rows:].sum() > 0.6 * words["guitar"].sum()


def test_tiny_whisper_equals_transformers_eager_attention():
    model = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    prepared = model.prepare(Media("noise", Modality.AUDIO, "noise", samples=samples))
    sequence = generate(model, prepared)
    eager = copy.deepcopy(model.module)
    eager.set_attn_implementation("eager")
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)][:-1]
    with torch.no_grad():
        output = eager(
            input_features=model._features(prepared, 0),
            decoder_input_ids=torch.tensor([ids]),
            output_attentions=True,
        )
    start = len(sequence.prompt_ids) - 1
    for layer, expected in enumerate(output.cross_attentions):
        for head in range(expected.shape[1]):
            maps = explain(model, prepared, sequence, MapSpec("attention", layer=layer, head=head))
            np.testing.assert_allclose(maps.values, expected[0, head, start:].numpy(), atol=1e-5)
    encoder = torch.stack(output.encoder_attentions)[:, 0].mean(1)  # [L, P, P], mean over heads
    maps = explain(model, prepared, sequence, MapSpec("attention", "encoder.self", 1))
    np.testing.assert_allclose(maps.values[0], encoder[1].mean(0).numpy(), atol=1e-5)


def test_tiny_whisper_gradients_equal_the_librarys_own():
    """(dA * A)+ of a layer and head from transformers' eager attention, for the last token."""
    model = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    prepared = model.prepare(Media("noise", Modality.AUDIO, "noise", samples=samples))
    sequence = generate(model, prepared)
    eager = copy.deepcopy(model.module).requires_grad_(True)
    eager.set_attn_implementation("eager")
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    output = eager(
        input_features=model._features(prepared, 0),
        decoder_input_ids=torch.tensor([ids[:-1]]),
        output_attentions=True,
    )
    weights = output.cross_attentions[0]
    (gradient,) = torch.autograd.grad(output.logits[0, -1].log_softmax(-1)[ids[-1]], weights)
    expected = (gradient * weights).clamp(min=0)[0, :, -1].detach().numpy()  # [H, P]
    for head, row in enumerate(expected):
        maps = explain(model, prepared, sequence, MapSpec("gradient_attention", layer=0, head=head))
        np.testing.assert_allclose(maps.values[-1], row, rtol=1e-3, atol=1e-3 * expected.max())


@pytest.mark.slow
def test_spoken_words_rise_in_time(shared_models):
    """Where each word's map is centred, in the sound in which they are spoken one after the other."""
    model = load_model(str(shared_models / "whisper-tiny.en"))
    prepared = model.prepare(open_media(paths.samples() / "please-open.wav"))
    sequence = generate(model, prepared)
    assert sequence.text == "Please open the window and turn on the kitchen light."
    assert model.point(PointRole.CROSS).best_layer == 3
    for method in ("attention", "gradient_attention"):
        maps = explain(model, prepared, sequence, MapSpec(method))
        words = [token.index for token in sequence.tokens if token.text.isalpha()]
        heard = maps.values[words][:, : prepared.geometry.valid]
        seconds = prepared.geometry.step * np.arange(heard.shape[1])  # a position's centre
        centres = (heard * seconds).sum(1) / heard.sum(1)
        assert (np.diff(centres) > -0.1).all(), centres
        assert centres[0] < 1.0
        assert centres[-1] > 2.0
        assert np.corrcoef(centres, np.arange(len(words)))[0, 1] > 0.97
    assert "too large to be followed" in maps.caveat


def test_a_layer_trained_with_boxes_says_so():
    """The starter's third layer was guided; its maps say it, those of the other layers do not."""
    model = load_model("starter")
    prepared = model.prepare(open_media(paths.samples() / "scene-owl-guitar.png"))
    sequence = generate(model, prepared)
    default = explain(model, prepared, sequence, MapSpec("attention"))
    assert default.spec.layer == model.point(PointRole.CROSS).guided_layer == 2
    assert "trained with boxes" in default.caveat
    other = explain(model, prepared, sequence, MapSpec("attention", layer=1))
    assert "trained with boxes" not in other.caveat
