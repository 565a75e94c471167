"""Examples with pictures before a question: against the library's own masks, and kept apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.models.idefics.processing_idefics import (
    image_attention_mask_for_packed_input_ids,
    incremental_to_binary_attention_mask,
)

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.interventions.recipe import HideRegion, Region
from mmviewer.core.interventions.what_if import what_if
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.vlm.latents import POOL
from mmviewer.core.progress import SILENT
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.examples import Example, among
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, MediaRef, Modality, PointRole, Sampling, Shot
from mmviewer.engine.handlers_explain import explain as explain_request
from mmviewer.engine.handlers_model import generate as generate_request
from mmviewer.engine.protocol import Explain, Generate
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace

SAMPLED = Sampling(temperature=1, seed=4, max_tokens=4)


def picture(seed: int) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    return Media(f"picture {seed}", Modality.IMAGE, f"picture {seed}", pixels=pixels)


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("idefics").tiny()


@pytest.fixture(scope="module")
def examples():
    return (
        Example(picture(1), "two cats", "what is it?"),
        Example(None, "a word alone", "and without a picture?"),
        Example(picture(2), "a dog in the snow"),
    )


@pytest.fixture(scope="module")
def prepared(model, examples):
    return among(model, model.prepare(picture(3)), examples)


def library_logits(model, pictures, ids):
    """What the library's module gives for pictures and ids under the library's own masks."""
    tokens = torch.tensor([ids])
    counted, _ = image_attention_mask_for_packed_input_ids(tokens, model._codec.tokenizer, "pt")
    mask = incremental_to_binary_attention_mask(counted, return_tensors="pt", num_classes=len(pictures))
    pixels = torch.cat([model.prepare(each).inputs["pixels"] for each in pictures])[None]
    with torch.no_grad():
        return model.module(input_ids=tokens, pixel_values=pixels, image_attention_mask=mask).logits[0]


def test_examples_are_read_as_the_library_reads_them(model, prepared):
    text = ask(model, prepared, "what is it?", SAMPLED)
    ids = [*text.prompt_ids, *(token.id for token in text.tokens)]
    expected = library_logits(model, [picture(1), picture(2), picture(3)], ids)
    with torch.no_grad():
        ours = model.sequence_logits(prepared, ids)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    logprobs = expected.log_softmax(-1)
    for place, token in enumerate(text.tokens, len(text.prompt_ids)):
        if not token.given:
            assert token.logprob == pytest.approx(float(logprobs[place - 1, token.id]), abs=1e-4)


def test_an_example_stands_in_the_prompt_and_in_the_text(model, prepared, examples):
    text = generate(model, prepared, SAMPLED)
    shown = model._codec.tokenizer.decode(list(text.prompt_ids))
    assert shown.count("<image>") == 3
    for example in examples:
        assert example.answer in shown
        assert (example.question or "Describe this image") in shown
    assert [shot.answer for shot in text.shots] == [example.answer for example in examples]
    assert text.shots[0].media == MediaRef("picture 1", Modality.IMAGE, "picture 1")


def test_pictures_of_examples_matter(model, prepared, examples):
    text = generate(model, prepared, SAMPLED)
    ids = [*text.prompt_ids, *(token.id for token in text.tokens)]
    other = (replace(examples[0], media=picture(9)), *examples[1:])
    with torch.no_grad():
        before = model.sequence_logits(prepared, ids)
        after = model.sequence_logits(among(model, model.prepare(picture(3)), other), ids)
    assert float((before - after).abs()[-1].max()) > 1e-4


def test_maps_are_those_of_the_picture_that_is_asked_about(model, prepared):
    text = generate(model, prepared, SAMPLED)
    ids = [*text.prompt_ids, *(token.id for token in text.tokens)]
    cross, pool = model.point(PointRole.CROSS), model.point(PointRole.POOL)
    with capture(model, {cross.name: None, POOL: None}) as captured:
        model.sequence_logits(prepared, ids[:-1])
    latents = model.latents
    assert captured[cross.name][0].shape[-1] == 3 * latents
    assert captured[pool.name][0].shape[0] == 3
    read = torch.stack([layer[2, :, :, 1:17] for layer in captured[POOL]]).mean((0, 1))
    expected = torch.stack([layer[0, :, :, 2 * latents :] for layer in captured[cross.name]]) @ read
    carried = model.position_weights(cross, captured, prepared)
    torch.testing.assert_close(carried, expected, atol=1e-6, rtol=0)
    answers = carried[:, :, -len(text.tokens) :]  # each word looks at the last picture alone
    seen = expected[:, :, -len(text.tokens) :].sum(-1)
    torch.testing.assert_close(answers.sum(-1), seen, atol=1e-6, rtol=0)
    assert bool((answers.sum(-1) > 0.5).all())


@pytest.mark.parametrize("method", ["attention", "gradient_attention", "occlusion"])
def test_methods_explain_a_text_after_examples(model, prepared, method):
    text = generate(model, prepared, SAMPLED)
    maps = explain(model, prepared, text, MapSpec(method))
    alone = explain(model, model.prepare(picture(3)), generate(model, model.prepare(picture(3)), SAMPLED))
    assert maps.values.shape == (len(text.tokens), *alone.values.shape[1:])
    assert np.isfinite(maps.values).all()


def test_what_if_keeps_the_examples(model, prepared):
    text = generate(model, prepared, SAMPLED)
    hidden = HideRegion(Region("box", ((0.0, 0.0), (25.0, 25.0))), "blur")
    outcome = what_if(model, picture(3), (hidden,), about=text, prepared=prepared)
    assert outcome.before is not None
    assert len(outcome.before.tokens) == len(text.tokens)


def test_the_engine_keeps_sets_of_examples_apart(model, examples):
    workspace = Workspace()
    workspace.adopt(model)
    for each in (picture(1), picture(2), picture(3), picture(9)):
        workspace.remember(each)
    refs = [MediaRef(each.id, each.modality, each.name) for each in (picture(1), picture(3), picture(9))]
    shots = (Shot(refs[0], "two cats", "what is it?"),)
    call = Call(workspace, SILENT, lambda part: None)
    request = Generate(model.info.id, refs[1], SAMPLED, "what is it?", shots=shots)
    text = generate_request(request, call)
    assert text.shots == shots
    last = MapSpec(layer=1)  # the first layer looks before words have heard of other pictures
    maps = explain_request(Explain(model.info.id, refs[1], text, last), call)
    other = replace(text, shots=(replace(shots[0], media=refs[2]),))
    changed = explain_request(Explain(model.info.id, refs[1], other, last), call)
    assert maps.values.shape == changed.values.shape
    assert np.abs(maps.values - changed.values).max() > 1e-6


def test_examples_that_cannot_be_read_are_refused(model):
    alone = model.prepare(picture(3))
    sound = Media("sound", Modality.AUDIO, "a sound", samples=np.zeros(16_000, np.float32))
    for example, words in (
        (Example(picture(1), " "), "Example 1 has no answer"),
        (Example(sound, "a bell"), "is no image"),
        (Example(None, "<image>"), "control sign"),
    ):
        with pytest.raises(InputError, match=words):
            among(model, alone, [example])
    with pytest.raises(InputError, match="at most 32"):
        among(model, alone, [Example(None, "word")] * 33)
    other = FAMILIES.get("llava").tiny()
    with pytest.raises(UnsupportedError, match="one picture at a time"):
        among(other, other.prepare(picture(3)), [Example(None, "a word")])
