"""What every model family keeps; a new family is picked up by itself."""

from __future__ import annotations

import gc
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import Captured, capture
from mmviewer.core.errors import Cancelled, MMViewerError
from mmviewer.core.explain.forward import encode
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.models.base import FAMILIES, LoadedModel, ModelSource, Prepared
from mmviewer.core.progress import Progress
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, PointRole, Sampling

TAKES = {
    Modality.IMAGE: {Capability.EMBED_IMAGE, Capability.CAPTION, Capability.ANSWER},
    Modality.AUDIO: {Capability.EMBED_AUDIO, Capability.TRANSCRIBE},
}


def sides() -> list[tuple[str, str, Modality]]:
    """Every variant of every family, once for each kind of input that it takes."""
    variants = [(family, variant) for family in FAMILIES for variant in family.tiny_variants()]
    return [
        (family.key, variant, modality)
        for family, variant in variants
        for modality, any_of in TAKES.items()
        if family.tiny(variant).info.capabilities & any_of
    ]


TEXT = "a red apple and two boats"
TO_INPUT = {PointRole.ENCODER_SELF, PointRole.POOL, PointRole.CROSS, PointRole.JOINT}
WRITES = {Capability.CAPTION, Capability.TRANSCRIBE, Capability.ANSWER}
EMBEDS = {Capability.EMBED_IMAGE, Capability.EMBED_AUDIO}


SIDES = sides()


@pytest.fixture(params=SIDES, ids=lambda side: "-".join(filter(None, side)))
def model(request) -> LoadedModel:
    family, variant, modality = request.param
    return FAMILIES.get(family).tiny(variant).side(modality)


def image(height: int = 90, width: int = 140) -> Media:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media("image", Modality.IMAGE, "image", pixels=pixels)


def sound(seconds: float = 0.7) -> Media:
    samples = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
    return Media("sound", Modality.AUDIO, "sound", samples=samples)


def item_for(model: LoadedModel) -> Media:
    return sound() if model.info.capabilities & TAKES[Modality.AUDIO] else image()


def another(model: LoadedModel) -> Media:
    return sound(0.4) if item_for(model).modality is Modality.AUDIO else image(60, 60)


@pytest.fixture
def prepared(model) -> Prepared:
    return model.prepare(item_for(model))


def ids_for(model: LoadedModel, prepared: Prepared) -> list[int]:
    decoder = model.decoder(prepared)
    written = [span.id for span in model.tokenize("a cat")]
    return [*decoder.prompt, *written[: decoder.room - 1]]  # the last that is written is not read


def prompt_for(model: LoadedModel) -> tuple[int, ...]:
    """A question, for a model that answers and does nothing else."""
    if model.info.capabilities & (WRITES - {Capability.ANSWER}):
        return ()
    return model.question_ids("what is it?") or ()


def run_past(model: LoadedModel, point: CapturePoint, prepared: Prepared, grad: bool = False) -> Captured:
    """Record `point` and what it needs in the forward that passes it."""
    needed = {needed.name: None for needed in model.needed_points(point)}
    if point.role is PointRole.TEXT_SELF:
        with capture(model, {point.name: None}, grad=grad) as captured:
            model.text_features([TEXT])
    elif model.info.capabilities & WRITES:
        ids = ids_for(model, prepared)
        with capture(model, needed, grad=grad) as captured:
            model.sequence_logits(prepared, ids)
    else:
        with capture(model, needed, grad=grad) as captured:
            encode(model, [prepared])
    return captured


def positions(prepared: Prepared) -> int:
    geometry = prepared.geometry
    return geometry.grid[0] * geometry.grid[1] if isinstance(geometry, ImageGeometry) else geometry.positions


def hooks(model: LoadedModel) -> int:
    """Hooks of ours; transformers leaves its own, which record hidden states when asked to."""
    every = [
        hook
        for module in model.module.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    return sum(not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in every)


def test_info_describes_the_model(model):
    info = model.info
    assert info.id
    assert info.label
    assert info.weights_hash
    assert info.preprocessing
    assert FAMILIES.get(info.family)
    assert info.parameters == sum(parameter.numel() for parameter in model.module.parameters())
    assert info.memory_bytes >= info.parameters * 2
    assert info.capabilities
    assert info.context_length > 0
    assert (info.device, info.dtype) == ("cpu", "float32")


def test_model_is_frozen_and_evaluates(model):
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_geometry_refers_to_the_original(model, prepared):
    item = item_for(model)
    assert prepared.media_id == item.id
    assert prepared.modality is item.modality
    if isinstance(prepared.geometry, TimeGeometry):
        assert prepared.geometry.duration == pytest.approx(item.duration)
        assert prepared.geometry.positions * prepared.geometry.step >= item.duration
    else:
        assert prepared.geometry.source == item.pixels.shape[:2]
        assert prepared.geometry.cell_at(45, 70) is not None


def test_an_item_of_another_kind_is_refused_in_words(model):
    whole = FAMILIES.get(model.info.family)
    for item in (image(), sound(), Media("text", Modality.TEXT, "text", text="a dog")):
        if item.modality is Modality.TEXT or not any(
            whole.tiny(variant).info.capabilities & TAKES[item.modality] for variant in whole.tiny_variants()
        ):
            with pytest.raises(MMViewerError, match="choose"):
                model.prepare(item)


def test_tokens_cover_the_text_in_order(model):
    spans = model.tokenize(TEXT)
    assert spans
    assert [span.index for span in spans] == list(range(len(spans)))
    covered = "".join(TEXT[span.start : span.end] for span in spans)
    assert covered == TEXT.replace(" ", "")
    assert all(before.end <= after.start for before, after in pairwise(spans))


def test_embeddings_are_unit_vectors_of_one_space(model, prepared):
    if not model.info.capabilities & EMBEDS:
        with pytest.raises(MMViewerError, match="cannot embed image"):
            model.image_features([prepared])
        with pytest.raises(MMViewerError, match="cannot embed audio"):
            model.audio_features([prepared])
        return
    with torch.no_grad():
        images = encode(model, [prepared, model.prepare(another(model)), prepared])
        texts = model.text_features([TEXT, "another"])
        logits, activation = model.logits(images @ texts.T)
    assert images.shape[1] == texts.shape[1]
    for vectors in (images, texts):
        assert vectors.dtype is torch.float32
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[0], images[2])
    assert logits.shape == (3, 2)
    assert activation in ("softmax", "sigmoid")


def test_a_batch_gives_what_single_items_give(model, prepared):
    if not model.info.capabilities & EMBEDS:
        pytest.skip("embeds neither images nor sounds")
    other = model.prepare(another(model))
    with torch.no_grad():
        alone = torch.cat([encode(model, [model.prepare(item_for(model))]), encode(model, [other])])
        torch.testing.assert_close(encode(model, [prepared, other]), alone, atol=1e-5, rtol=0)


def test_points_name_attention_modules(model):
    assert model.info.points
    for point in model.info.points:
        assert len(point.modules) == point.layers
        for name in point.modules:
            assert model.module.get_submodule(name) is not None
    names = [point.name for point in model.info.points]
    assert len(set(names)) == len(names)


def test_every_point_gives_rows_that_sum_to_one(model, prepared):
    tokens = len(ids_for(model, prepared)) if model.info.capabilities & WRITES else 0
    for point in model.info.points:
        captured = run_past(model, point, prepared)
        rows, columns = model.attention_size(point, tokens)
        assert len(captured[point.name]) == point.layers
        for weights in captured[point.name]:
            assert weights.shape[:2] == (1, point.heads)
            assert weights.shape[2] <= rows
            assert weights.shape[3] <= columns
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]), atol=1e-4, rtol=0)
    assert hooks(model) == 0


def test_recording_changes_no_output(model, prepared):
    roles = {point.name: point.role for point in model.info.points}
    texts = [name for name, role in roles.items() if role is PointRole.TEXT_SELF]
    others = {name: None for name in roles if name not in texts}

    def whole() -> torch.Tensor:
        if model.info.capabilities & WRITES:
            return model.sequence_logits(model.prepare(item_for(model)), ids_for(model, prepared))
        return encode(model, [model.prepare(item_for(model))])

    with torch.no_grad():
        plain = whole()
    with capture(model, others) as captured:
        recorded = whole()
    assert all(captured[name] for name in others)
    torch.testing.assert_close(recorded, plain, atol=1e-5, rtol=0)
    for name in texts:
        with torch.no_grad():
            words = model.text_features([TEXT])
        with capture(model, {name: None}):
            torch.testing.assert_close(model.text_features([TEXT]), words, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("key", "variant", "modality"), SIDES)
def test_nothing_holds_a_model_that_was_used_and_unloaded(key, variant, modality):
    used = FAMILIES.get(key).tiny(variant).side(modality)
    seen = used.prepare(item_for(used))
    for point in used.info.points:
        run_past(used, point, seen)
    if used.info.capabilities & WRITES:
        generate(used, seen, Sampling(max_tokens=2), prompt=prompt_for(used))
    gone = weakref.ref(used.module)
    del used, seen, point
    gc.collect()
    assert gone() is None


def test_weights_lead_to_positions_of_the_input(model, prepared):
    for point in model.info.points:
        captured = run_past(model, point, prepared)
        if point.role not in TO_INPUT:
            with pytest.raises(MMViewerError, match="choose another point"):
                model.position_weights(point, captured, prepared)
            continue
        carried = model.position_weights(point, captured, prepared)
        queries = captured[point.name][0].shape[2]
        assert carried.shape == (point.layers, point.heads, queries, positions(prepared))
        assert bool((carried >= 0).all())
        assert bool((carried.sum(-1) <= 1 + 1e-4).all())


def test_positions_are_differentiable(model, prepared):
    for point in model.info.points:
        if point.role in TO_INPUT:
            captured = run_past(model, point, prepared, grad=True)
            carried = model.position_weights(point, captured, prepared)
            gradients = torch.autograd.grad(carried.sum(), captured[point.name])
            assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_hooks_are_gone_after_an_error(model, prepared):
    def fail() -> None:
        with capture(model, {point.name: None for point in model.info.points}):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert hooks(model) == 0


def test_steps_equal_one_forward(model, prepared):
    if not model.info.capabilities & WRITES:
        with pytest.raises(MMViewerError, match="load a model that can"):
            model.decoder(prepared)
        return
    ids = ids_for(model, prepared)
    decoder = model.decoder(prepared)
    fed = len(decoder.prompt)
    steps = torch.stack([decoder.next_logits(ids[fed : fed + count]) for count in range(len(ids) - fed + 1)])
    with torch.no_grad():
        whole = model.sequence_logits(prepared, ids)
    assert steps.dtype is torch.float32
    torch.testing.assert_close(steps, whole[fed - 1 :], atol=1e-4, rtol=1e-4)


def test_steps_record_what_one_forward_records(model, prepared):
    if not model.info.capabilities & WRITES:
        pytest.skip("writes no text")
    names = {
        point.name: None
        for point in model.info.points
        if point.role in (PointRole.CROSS, PointRole.DECODER_SELF, PointRole.JOINT)
    }
    ids = ids_for(model, prepared)
    with capture(model, names) as steps:
        decoder = model.decoder(prepared)
        fed = len(decoder.prompt)
        for count in range(len(ids) - fed + 1):
            decoder.next_logits(ids[fed : fed + count])
    with capture(model, names) as whole:
        model.sequence_logits(prepared, ids)
    for name in names:
        for stepped, expected in zip(steps[name], whole[name], strict=True):
            torch.testing.assert_close(stepped, expected, atol=1e-5, rtol=0)


def test_generation_reports_each_token_and_its_text(model, prepared):
    if not model.info.capabilities & WRITES:
        with pytest.raises(MMViewerError, match="load a model that can"):
            generate(model, prepared)
        return
    streamed: list[int] = []
    prompt = prompt_for(model)
    result = generate(
        model,
        prepared,
        Sampling(max_tokens=6),
        lambda part: streamed.append(len(part.tokens) - len(prompt)),
        prompt=prompt,
    )
    own = result.tokens[len(prompt) :]
    assert result.finished
    assert 1 <= len(own) <= 6
    assert streamed == list(range(1, len(streamed) + 1))
    for token in own:
        assert token.logprob <= 0
        assert len(token.alternatives) == 5
        assert 0 <= token.start <= token.end <= len(result.text)


def test_a_cancel_is_honoured_between_tokens(model, prepared):
    if not model.info.capabilities & WRITES:
        pytest.skip("writes no text")
    if model.decoder(prepared).room < 2:
        pytest.skip("writes a single token")
    stop = threading.Event()
    seen = []

    def on_token(partial) -> None:
        seen.append(sum(not token.given for token in partial.tokens))
        stop.set()

    sampling = Sampling(temperature=1, seed=1, max_tokens=8)
    with pytest.raises(Cancelled):
        generate(model, prepared, sampling, on_token, Progress(cancelled=stop), prompt_for(model))
    assert seen == [1]


def test_families_do_not_claim_what_is_not_theirs(model):
    family = FAMILIES.get(model.info.family)
    for spec in ("", "no such model", "/no/such/folder"):
        assert not family.recognises(ModelSource(spec))
