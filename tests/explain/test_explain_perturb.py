"""Methods that hide parts of the input, against plain loops that hide them one after the other."""

from __future__ import annotations

from itertools import product
from threading import Event

import numpy as np
import plain
import pytest
import torch

from mmviewer.core.errors import Cancelled, InputError, UnsupportedError
from mmviewer.core.explain import perturb
from mmviewer.core.explain.base import estimate, explain, method_infos
from mmviewer.core.explain.methods.second_order import fitted, random_masks, text_masks
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.progress import Progress
from mmviewer.core.targets import SimilarityTarget
from mmviewer.core.types import MapSpec, Media, Modality, TokenSequence

VARIANTS = ("clip", "siglip", "resnet", "coca", "coca without pooler")


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-4 of the largest value."""
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found.ravel(), expected.ravel(), atol=1e-4 * np.abs(expected).max())


def mean_fill(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.mean((2, 3), keepdim=True).expand_as(pixels)


class Plain:
    """Scores of single pictures, one forward each, with the library's module alone."""

    def __init__(self, model, prepared, sequence) -> None:
        self.module, self.prepared, self.sequence = model.module, prepared, sequence
        if sequence.kind == "query":
            texts = [sequence.text, *(word.text for word in sequence.tokens)]
            self.vectors = plain.text_vectors(model, texts).float()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scores [N], the whole query first."""
        if self.sequence.kind == "query":
            return self.vectors @ self.module.encode_image(pixels, normalize=True)[0]
        ids = [token.id for token in self.sequence.tokens]
        _, image_tokens = self.module._encode_image(pixels)
        _, tokens = self.module.text(torch.tensor([[*self.sequence.prompt_ids, *ids][:-1]]))
        logits = self.module.text_decoder(image_tokens, tokens)[0]
        return torch.stack([logits[step].log_softmax(-1)[token] for step, token in enumerate(ids)])

    def maps(self, maps) -> np.ndarray:
        """Ours in the same order."""
        rows = [maps.whole, *maps.values] if self.sequence.kind == "query" else maps.values
        return np.stack(rows)


def asked(tiny, picture, variant, query_of, caption_of):
    """Model, item and every kind of sequence that the model scores."""
    model = tiny(variant)
    prepared = model.prepare(picture)
    sequences = [query_of(model, prepared)]
    if variant.startswith("coca"):
        sequences.append(caption_of(model, prepared))
    return model, prepared, sequences


@pytest.mark.parametrize("variant", VARIANTS)
def test_ablation_is_the_loss_without_each_patch(tiny, picture, query_of, caption_of, variant):
    model, prepared, sequences = asked(tiny, picture, variant, query_of, caption_of)
    rows, columns = prepared.geometry.grid
    for sequence in sequences:
        maps = explain(model, prepared, sequence, MapSpec("feature_ablation"))
        score = Plain(model, prepared, sequence)
        fill = mean_fill(prepared.inputs["pixels"])
        expected = np.zeros((len(score.maps(maps)), rows, columns))
        with torch.no_grad():
            before = score(prepared.inputs["pixels"])
            for row, column in product(range(rows), range(columns)):
                keep = np.ones((rows, columns))
                keep[row, column] = 0
                after = score(plain.hidden_pixels(prepared, keep, fill))
                expected[:, row, column] = before - after
        assert_same(score.maps(maps), expected)
        assert maps.spec.point == "input"
        assert maps.signed


@pytest.mark.parametrize("variant", ["clip", "coca"])
def test_occlusion_averages_the_windows_over_a_place(tiny, picture, query_of, caption_of, variant):
    model, prepared, sequences = asked(tiny, picture, variant, query_of, caption_of)
    for sequence in sequences:
        maps = explain(model, prepared, sequence, MapSpec("occlusion"))
        score = Plain(model, prepared, sequence)
        fill = mean_fill(prepared.inputs["pixels"])
        total = np.zeros_like(score.maps(maps), dtype=np.float64)
        times = np.zeros((4, 4))
        with torch.no_grad():
            before = score(prepared.inputs["pixels"])
            for row, column in product(range(3), range(3)):  # a window of 2 x 2 patches
                keep = np.ones((4, 4))
                keep[row : row + 2, column : column + 2] = 0
                lost = (before - score(plain.hidden_pixels(prepared, keep, fill))).numpy()
                total[:, row : row + 2, column : column + 2] += lost[:, None, None]
                times[row : row + 2, column : column + 2] += 1
        assert_same(score.maps(maps), total / times)
        assert "window of 2 x 2" in maps.description


@pytest.mark.parametrize("variant", ["clip", "siglip", "coca", "resnet"])
def test_integrated_gradients_are_a_quadrature(tiny, picture, query_of, caption_of, variant):
    model, prepared, sequences = asked(tiny, picture, variant, query_of, caption_of)
    pixels = prepared.inputs["pixels"]
    fill = mean_fill(pixels)
    rows, columns = prepared.geometry.grid
    nodes, weights = np.polynomial.legendre.leggauss(32)
    for sequence in sequences:
        maps = explain(model, prepared, sequence, MapSpec("integrated_gradients"))
        score = Plain(model, prepared, sequence)
        found = score.maps(maps)
        last = len(found) - 1
        total = torch.zeros_like(pixels)
        for node, weight in zip(nodes, weights, strict=True):
            point = (fill + (node + 1) / 2 * (pixels - fill)).requires_grad_()
            (gradient,) = torch.autograd.grad(score(point)[last], point)
            total += weight / 2 * gradient
        by_pixel = (total * (pixels - fill))[0].sum(0).numpy()
        expected = by_pixel.reshape(rows, by_pixel.shape[0] // rows, columns, -1).sum((1, 3))
        assert_same(found[last], expected)
        with torch.no_grad():  # completeness
            gap = float(score(pixels)[last] - score(fill)[last])
        assert found[last].sum() == pytest.approx(gap, abs=0.03 * float(np.abs(found[last]).sum()))


def test_integrated_gradients_say_by_how_much_their_steps_miss(tiny, picture, query_of, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    for name in ("_STEPS", "_FEWEST"):
        monkeypatch.setattr(f"mmviewer.core.explain.methods.integrated_gradients.{name}", 1)
    maps = explain(model, prepared, sequence, MapSpec("integrated_gradients"))
    score, pixels = Plain(model, prepared, sequence), prepared.inputs["pixels"]
    with torch.no_grad():
        changes = (score(pixels) - score(mean_fill(pixels))).numpy()
    missed = np.abs(score.maps(maps).sum((1, 2)) - changes).sum() / np.abs(changes).sum()
    assert missed > 0.02
    assert f"add up to the score's change only within {100 * missed:.0f} % of it" in maps.caveat
    monkeypatch.undo()
    assert "add up" not in explain(model, prepared, sequence, MapSpec("integrated_gradients")).caveat


@pytest.mark.parametrize("removal", ["blur", "noise"])
def test_what_replaces_a_part_can_be_chosen(tiny, picture, query_of, removal):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    mean = explain(model, prepared, sequence, MapSpec("occlusion"))
    other = explain(model, prepared, sequence, MapSpec("occlusion", removal=removal))
    again = explain(model, prepared, sequence, MapSpec("occlusion", removal=removal))
    assert np.abs(other.values - mean.values).max() > 1e-4
    np.testing.assert_array_equal(other.values, again.values)
    assert removal in other.description
    fill = perturb.filling(perturb.canvas_of(prepared), removal)
    assert fill.shape == prepared.inputs["pixels"].shape
    deviation = float(fill.std() / prepared.inputs["pixels"].std())
    assert deviation < 0.5 if removal == "blur" else 0.9 < deviation < 1.1


def test_pairs_of_regions_and_words_solve_the_joint_least_squares(tiny, picture, query_of):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("second_order"))

    regions = random_masks(68, 16).numpy()  # 4 masks for each of 16 regions and the rest
    words = np.array(list(product((0, 1), repeat=3)))
    fill = mean_fill(prepared.inputs["pixels"])
    texts = [
        " ".join(word.text for word, on in zip(sequence.tokens, mask, strict=True) if on) for mask in words
    ]
    vectors = plain.text_vectors(model, texts).numpy()
    rows, values = [], []
    with torch.no_grad():
        for keep in regions:
            pixels = plain.hidden_pixels(prepared, keep.reshape(4, 4), fill)
            vector = model.module.encode_image(pixels, normalize=True)[0].double().numpy()
            for mask, text in zip(words, vectors, strict=True):
                rows.append(np.kron(np.r_[1, keep], np.r_[1, mask]))
                values.append(vector @ text)
    joint, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    table = joint.reshape(17, 4)
    assert_same(maps.values, table[1:, 1:].T)
    assert_same(maps.whole, table[1:].sum(1))
    assert_same(maps.extra["pairs"], table[1:, 1:])
    assert_same(maps.extra["words alone"], table[0, 1:])
    residual = np.array(rows) @ joint - values
    share = 1 - (residual**2).sum() / ((values - np.mean(values)) ** 2).sum()
    assert f"explain {100 * share:.0f} %" in maps.caveat


def test_planted_pairs_are_found():
    """Word 0 belongs to region 2, word 1 to region 5; region 3 always counts."""
    regions, words = random_masks(200, 9), text_masks(3)
    scores = 2 * regions[:, 2, None] * words[:, 0] - regions[:, 5, None] * words[:, 1] + regions[:, 3, None]
    fit = fitted(regions, words, scores)
    expected = np.zeros((10, 4))
    expected[3, 1], expected[6, 2], expected[4, 0] = 2, -1, 1
    np.testing.assert_allclose(fit.coefficients.numpy(), expected, atol=1e-9)
    assert fit.share == pytest.approx(1)


def test_pairs_of_all_masks_are_faithful_banzhaf_interactions():
    """The index that FIxLIP approximates, by another program on a random game (pip install shapiq)."""
    shapiq = pytest.importorskip("shapiq", reason="shapiq is not installed")
    regions, words = text_masks(4), text_masks(3)  # so few that these are all of them, counted in binary
    scores = torch.from_numpy(np.random.default_rng(3).normal(size=(16, 8)))

    def game(coalitions: np.ndarray) -> np.ndarray:
        bits = np.atleast_2d(coalitions).astype(int) * [1, 2, 4, 8, 1, 2, 4]
        return scores.numpy()[bits[:, :4].sum(1), bits[:, 4:].sum(1)]

    exact = shapiq.ExactComputer(game, n_players=7)("FBII", order=2)
    expected = [[exact[(region, 4 + word)] for word in range(3)] for region in range(4)]
    np.testing.assert_allclose(fitted(regions, words, scores).coefficients[1:, 1:], expected, atol=1e-9)


def test_masks_are_balanced_and_the_same_each_time():
    masks = random_masks(64, 20)
    assert masks.shape == (64, 20)
    assert masks[0].all()
    assert not masks[1].any()
    np.testing.assert_array_equal(masks.mean(0), 0.5)
    np.testing.assert_array_equal(masks, random_masks(64, 20))
    assert len(text_masks(4)) == 16
    many = text_masks(40)
    assert len(many) == 120
    np.testing.assert_array_equal(many[:40], 1 - np.eye(40))


def test_pairs_want_a_text(tiny, picture, query_of, caption_of):
    model = tiny("coca")
    prepared = model.prepare(picture)
    contrast = MapSpec("second_order", contrast=SimilarityTarget("cat"))
    with pytest.raises(InputError, match="no other target"):
        explain(model, prepared, query_of(model, prepared), contrast)
    with pytest.raises(UnsupportedError, match="cannot explain a caption"):
        explain(model, prepared, caption_of(model, prepared), MapSpec("second_order"))
    target = MapSpec("second_order", target=SimilarityTarget("a red dog"))
    of_caption = explain(model, prepared, caption_of(model, prepared), target)
    of_query = explain(model, prepared, query_of(model, prepared), MapSpec("second_order"))
    np.testing.assert_allclose(of_caption.whole, of_query.whole, atol=1e-6)
    np.testing.assert_allclose(of_caption.values[0], of_query.whole, atol=1e-6)


def test_sound_is_hidden_moment_by_moment():
    """Silence one stretch of the samples after the other and read the transcript's probabilities."""
    model = FAMILIES.get("whisper").tiny()
    samples = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    media = Media("noise", Modality.AUDIO, "noise", samples=samples)
    prepared = model.prepare(media)
    ids = model.decoder(prepared).prompt
    text, spans = model.token_text([5, 7])
    sequence = TokenSequence("transcript", "noise", model.info.id, text, spans, prompt_ids=ids)
    maps = explain(model, prepared, sequence, MapSpec("feature_ablation"))
    geometry = prepared.geometry
    fed = [*ids, 5, 7][:-1]

    def score(changed: np.ndarray) -> np.ndarray:
        item = model.prepare(Media("noise", Modality.AUDIO, "noise", samples=changed))
        rows = model.sequence_logits(item, fed)[len(ids) - 1 :].log_softmax(-1)
        return np.array([float(rows[0, 5]), float(rows[1, 7])])

    with torch.no_grad():
        before = score(samples)
        for position in (0, 3, geometry.valid - 1):
            times = (np.arange(len(samples)) + 0.5) * geometry.duration / len(samples)
            first, last = geometry.span(position)
            changed = np.where((times >= first) & (times < last), samples.mean(), samples)
            expected = before - score(changed.astype(np.float32))
            np.testing.assert_allclose(maps.values[:, position], expected, atol=2e-5)
    assert not maps.values[:, geometry.valid :].any()


def test_positions_are_hidden_in_blocks_where_single_ones_would_take_too_long():
    blocks = perturb.blocks_of(TimeGeometry(2.0, 0.02, 1500), 10)
    assert blocks.count == 10
    assert (blocks.of[:100] == torch.arange(10).repeat_interleave(10)).all()
    assert (blocks.of[100:] == -1).all()
    keep = blocks.keep(torch.zeros(1, 10))
    assert keep[0, :100].sum() == 0
    assert keep[0, 100:].all()


def test_cost_is_told_before_and_the_work_can_be_cancelled(tiny, picture, query_of, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    forwards = {
        method: estimate(model, prepared, sequence, MapSpec(method)).forwards
        for method in ("attention", "occlusion", "feature_ablation", "integrated_gradients", "second_order")
    }
    assert forwards == {
        "attention": 1,
        "occlusion": 10,
        "feature_ablation": 17,
        "integrated_gradients": 130,
        "second_order": 68,
    }
    seen: list[float] = []
    cancelled = Event()

    def report(done: float, total: float | None, message: str) -> None:
        seen.append(done)
        if done:
            cancelled.set()

    monkeypatch.setattr(perturb, "_LARGEST_BATCH", 4)
    with pytest.raises(Cancelled):
        explain(model, prepared, sequence, MapSpec("feature_ablation"), Progress(report, cancelled))
    assert max(seen) < 17


def test_a_large_model_is_asked_less_and_says_so(tiny, picture, query_of, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    for module in ("occlusion", "feature_ablation", "second_order", "integrated_gradients"):
        monkeypatch.setattr(f"mmviewer.core.explain.methods.{module}.affordable", lambda _: 36)
    steps = explain(model, prepared, sequence, MapSpec("integrated_gradients"))
    assert "8 steps" in steps.caveat
    pairs = explain(model, prepared, sequence, MapSpec("second_order"))
    assert "squares of 2 positions" in pairs.caveat
    monkeypatch.setattr("mmviewer.core.explain.methods.feature_ablation.affordable", lambda _: 4)
    coarse = explain(model, prepared, sequence, MapSpec("feature_ablation"))
    assert "2 neighbouring positions" in coarse.caveat
    assert (coarse.values[:, 0, 0] == coarse.values[:, 1, 1]).all()


def test_batches_shrink_when_memory_runs_out(tiny, picture, query_of, monkeypatch):
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    expected = explain(model, prepared, sequence, MapSpec("feature_ablation")).values
    encode = model.image_features

    def scarce(batch):
        if len(batch) > 2:
            raise MemoryError
        return encode(batch)

    monkeypatch.setattr(model, "image_features", scarce)
    np.testing.assert_allclose(
        explain(model, prepared, sequence, MapSpec("feature_ablation")).values, expected, atol=1e-6
    )


def test_a_choice_that_does_not_apply_is_dropped_and_said(tiny, picture, query_of):
    """The window keeps place, layer and heads while the method is changed."""
    model = tiny("clip")
    prepared = model.prepare(picture)
    sequence = query_of(model, prepared)
    maps = explain(model, prepared, sequence, MapSpec("occlusion", "vision.self", 1, 2))
    np.testing.assert_array_equal(
        maps.values, explain(model, prepared, sequence, MapSpec("occlusion")).values
    )
    assert maps.spec == MapSpec("occlusion", "input")
    assert "the choice of place and layer and heads does not apply" in maps.caveat
    with pytest.raises(InputError, match="no capture point called 'nowhere'"):
        explain(model, prepared, sequence, MapSpec("occlusion", "nowhere"))


def test_methods_describe_themselves_for_the_window(tiny):
    infos = {info.key: info for info in method_infos(tiny("coca"))}
    assert next(iter(infos)) == "attention"
    assert infos["attention"].points_for("caption")[0] == "decoder.cross"
    assert infos["legrad"].points_for("caption") == ()
    assert infos["legrad"].points_for("query") == ("vision.pool",)
    assert infos["occlusion"].points_for("answer") == ("input",)
    assert infos["occlusion"].signed
    assert not infos["occlusion"].picks_layer
    assert all(info.explanation.endswith(".") for info in infos.values())
