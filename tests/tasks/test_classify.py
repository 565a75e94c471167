"""Zero-shot scores against a computation with the bare library, and the care taken of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmviewer.core.errors import InputError
from mmviewer.core.tasks.classify import zero_shot
from mmviewer.core.tasks.features import FeatureCache

LABELS = ("cat", "red dog", "bicycle")


@pytest.mark.parametrize("variant", ["clip", "siglip", "coca", "resnet"])
def test_scores_equal_the_library_with_averaged_templates(tiny_model, pictures, variant):
    model = tiny_model(variant)
    templates = ("a {}", "the {} here")
    scores = zero_shot(model, pictures, LABELS, templates)

    with torch.no_grad():
        ids = [model._codec.batch([template.format(label) for template in templates]) for label in LABELS]
        text = torch.stack([model.module.encode_text(each, normalize=True).mean(0) for each in ids])
        text = text / text.norm(dim=-1, keepdim=True)
        pixels = torch.cat([model.prepare(picture).inputs["pixels"] for picture in pictures])
        image = model.module.encode_image(pixels, normalize=True)
        cosine = image @ text.T
        logits = cosine * model.module.logit_scale.exp()
        if model.module.logit_bias is not None:
            expected = (logits + model.module.logit_bias).sigmoid()
        else:
            expected = logits.softmax(-1)
    np.testing.assert_allclose(scores.similarities, cosine.numpy(), atol=1e-5)
    np.testing.assert_allclose(scores.probabilities, expected.numpy(), atol=1e-5)
    assert scores.activation == ("sigmoid" if variant == "siglip" else "softmax")
    assert scores.scale == pytest.approx(float(model.module.logit_scale.exp()), rel=1e-4)
    bias = getattr(model.module, "logit_bias", None)
    assert scores.bias == pytest.approx(0.0 if bias is None else float(bias), rel=1e-4)
    assert scores.labels == LABELS
    assert scores.items == ("p0", "p1", "p2")


def test_label_typed_costs_its_own_encoding_only(tiny_model, pictures):
    model = tiny_model("clip")
    cache = FeatureCache()
    zero_shot(model, pictures, LABELS[:2], cache=cache)
    encoded: list[int] = []
    images: list[int] = []
    text = model.module.transformer.register_forward_hook(lambda *_: encoded.append(1))
    image = model.module.visual.transformer.register_forward_hook(lambda *_: images.append(1))
    scores = zero_shot(model, pictures, LABELS, cache=cache)
    text.remove()
    image.remove()
    assert (len(encoded), len(images)) == (1, 0)
    assert cache.texts.misses == 3
    assert cache.items.misses == 3
    assert cache.items.hits == 3
    np.testing.assert_allclose(
        scores.probabilities, zero_shot(model, pictures, LABELS).probabilities, atol=1e-6
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((), "no labels"),
        (("cat", "  "), "Label 2 is empty"),
        (("cat", "dog", " cat "), "“cat” is there more than once"),
        (("cat", "dog " * 40), "shorten"),
        (("x" * 1_000_000,), "shorten"),
    ],
)
def test_label_that_cannot_be_used_is_named(tiny_model, pictures, labels, words):
    with pytest.raises(InputError, match=words):
        zero_shot(tiny_model("clip"), pictures, labels)


def test_template_needs_a_place_for_the_label(tiny_model, pictures):
    with pytest.raises(InputError, match=r"“a photo” has no \{\}"):
        zero_shot(tiny_model("clip"), pictures, LABELS, ("a photo",))
    with pytest.raises(InputError, match="no template"):
        zero_shot(tiny_model("clip"), pictures, LABELS, ())


def test_braces_in_labels_and_templates_are_only_text(tiny_model, pictures):
    labels = ("{0.__class__}", "{}", "100 %s")
    scores = zero_shot(tiny_model("clip"), pictures, labels, ("{} {x}",))
    assert scores.labels == labels
    assert np.isfinite(scores.probabilities).all()


def test_nothing_to_classify(tiny_model):
    with pytest.raises(InputError, match="nothing to classify"):
        zero_shot(tiny_model("clip"), [], LABELS)
