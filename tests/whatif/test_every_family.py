"""Interventions on tiny models of every family; a new family is picked up by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import recording
from mmviewer.core.explain.forward import encode, free_logits
from mmviewer.core.interventions.attention import switched_off
from mmviewer.core.interventions.recipe import ChangeWord, HideRegion, Region, ScaleGate, SwitchOff
from mmviewer.core.interventions.what_if import what_if
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, Media, Modality, PointRole, Sampling, TokenSequence

EMBEDS = {Modality.IMAGE: Capability.EMBED_IMAGE, Modality.AUDIO: Capability.EMBED_AUDIO}
WRITES = {Modality.IMAGE: (Capability.CAPTION, Capability.ANSWER), Modality.AUDIO: (Capability.TRANSCRIBE,)}
TEXT = PointRole.TEXT_SELF


def sides() -> list[tuple[str, str, Modality]]:
    """Every variant of every family, once for each kind of input that it takes."""
    return [
        (family.key, variant, modality)
        for family in FAMILIES
        for variant in family.tiny_variants()
        for modality in EMBEDS
        if family.tiny(variant).info.capabilities & {EMBEDS[modality], *WRITES[modality]}
    ]


@pytest.fixture(params=sides(), ids=lambda side: "-".join(filter(None, side)))
def asked(request, tiny, picture: Media, sound: Media) -> tuple[LoadedModel, Media]:
    family, variant, modality = request.param
    return tiny(family, variant), picture if modality is Modality.IMAGE else sound


def text_for(model: LoadedModel, media: Media, prepared: Prepared) -> TokenSequence | None:
    """What the model writes, or words to look for; None for a model of neither kind."""
    if any(model.info.can(need) for need in WRITES[media.modality]):
        prompt = () if not model.info.can(Capability.ANSWER) else model.question_ids("what is red")
        return generate(model, prepared, Sampling(max_tokens=3), prompt=prompt)
    return query_sequence(model, media.id, "a red dog") if model.info.can(Capability.EMBED_TEXT) else None


def output(model: LoadedModel, prepared: Prepared, sequence: TokenSequence | None) -> Tensor:
    """What scores are read from, computed anew."""
    fresh = Prepared(prepared.media_id, prepared.modality, prepared.inputs, prepared.geometry)
    if sequence is not None and sequence.kind != "query":
        return free_logits(model, fresh, sequence)
    with torch.no_grad():
        return encode(model.side(prepared.modality), [fresh])


def projection_of(module: nn.Module) -> nn.Linear | None:
    """The output projection inside of an attention module, by the names that libraries give it.

    None where a norm before it mixes the heads (Kosmos): then no slice of it belongs to one head.
    """
    if any(isinstance(inner, nn.LayerNorm) for inner in module.children()):
        return None
    names = ("out_proj", "o_proj", "proj", "dense", "projection", "c_proj")
    found = (getattr(module, name, None) for name in names)
    return next((each for each in found if isinstance(each, nn.Linear)), None)


def test_a_head_off_is_its_slice_of_the_projection_at_zero_and_nothing_stays(asked):
    model, media = asked
    prepared = model.prepare(media)
    sequence = text_for(model, media, prepared)
    before = output(model, prepared, sequence)
    for point in model.side(media.modality).info.points:
        name, head = point.modules[-1], point.heads - 1
        with switched_off(model, [SwitchOff(point.name, point.layers - 1, (head,))]):
            changed = output(model, prepared, sequence)
        assert not changed.isnan().any()
        assert torch.equal(output(model, prepared, sequence), before), point.name
        projection = projection_of(model.module.get_submodule(name))
        if projection is None or point.role is TEXT:
            continue
        size = projection.weight.shape[1] // point.heads
        kept = projection.weight.detach().clone()
        with torch.no_grad():
            projection.weight[:, head * size :] = 0
            independent = output(model, prepared, sequence)
            projection.weight.copy_(kept)
        assert torch.allclose(changed, independent, atol=2e-5, rtol=1e-4), point.name
    assert not recording(model.module)


def test_a_recipe_is_carried_out_whole(asked):
    model, media = asked
    prepared = model.prepare(media)
    sequence = text_for(model, media, prepared)
    shape = ("box", ((10, 5), (70, 50))) if media.modality is Modality.IMAGE else ("span", ((0.2, 1.5),))
    side = model.side(media.modality)
    steps = [
        HideRegion(Region(*shape)),
        *(SwitchOff(point.name, 0, (0,), "uniform") for point in side.info.points),
    ]
    if sequence is not None and sequence.kind == "query":
        steps.append(ChangeWord("red", "blue", "query"))
    found = what_if(model, media, steps, about=sequence, labels=["dog", "cat"])
    if sequence is not None:
        assert len(found.changes) == len(sequence.tokens)
        assert any(change.difference for change in found.changes)
        assert found.after is not None
    if model.info.can(EMBEDS[media.modality]) and model.info.can(Capability.EMBED_TEXT):
        assert (found.scores_before.probabilities != found.scores_after.probabilities).any()


GATED = {"idefics": "alpha_cross_attn", "mllama": "cross_attn_attn_gate"}


@pytest.mark.parametrize("family", GATED)
def test_a_scaled_gate_is_the_gate_with_another_parameter(family: str, tiny, picture: Media):
    model = tiny(family, FAMILIES.get(family).tiny_variants()[0])
    prepared = model.prepare(picture)
    sequence = text_for(model, picture, prepared)
    point = next(point for point in model.info.points if point.gates)
    with switched_off(model, [ScaleGate(point.name, 1, 0.25)]):
        changed = output(model, prepared, sequence)
    parent = point.modules[1].rpartition(".")[0]
    gate = getattr(model.module.get_submodule(parent), GATED[family])
    kept = gate.detach().clone()
    with torch.no_grad():
        gate.copy_(torch.atanh(0.25 * kept.tanh()))
        independent = output(model, prepared, sequence)
        gate.copy_(kept)
    torch.testing.assert_close(changed, independent, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(changed, output(model, prepared, sequence), atol=1e-6)
