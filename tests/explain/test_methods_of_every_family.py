"""Methods with every family that offers them, against their formulas in whole matrices and plain gradients.

The weights come from attention written out (`written_out`), the scores from the models' own forwards, which
the tests of the families compare with the libraries'. How a family carries weights to the places of the
input is compared with independent computations there too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from written_out import written_out

from mmviewer.core.explain.base import METHODS, explain
from mmviewer.core.explain.forward import encode
from mmviewer.core.models.base import FAMILIES, LoadedModel, Prepared
from mmviewer.core.models.stages import Stage
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    MapSpec,
    Media,
    Modality,
    PointRole,
    Sampling,
    TokenSequence,
)

TOLERANCE = 1e-4
DRAWN = Sampling(temperature=1, seed=3, max_tokens=3)
TAKES = {
    Modality.IMAGE: {Capability.EMBED_IMAGE, Capability.CAPTION, Capability.ANSWER},
    Modality.AUDIO: {Capability.EMBED_AUDIO, Capability.TRANSCRIBE},
}
# Their attention is no row of queries in one call: each is compared with formulas of its own in tests/models.
OTHERWISE = {"hf_lxmert", "show_attend_tell"}
VARIANTS = [
    (family.key, variant)
    for family in FAMILIES
    if family.key not in OTHERWISE
    for variant in family.tiny_variants()
]


def item(modality: Modality) -> Media:
    random = np.random.default_rng(5)
    if modality is Modality.AUDIO:
        return Media("item", modality, "noise.wav", samples=random.normal(0, 0.1, 24_000).astype(np.float32))
    pixels = random.integers(0, 256, (90, 140, 3), dtype=np.uint8)
    return Media("item", modality, "noise.png", pixels=pixels)


def texts(model: LoadedModel, prepared: Prepared) -> list[TokenSequence]:
    """A text of each kind that a model can be asked about."""
    found, can = [], model.info.can
    if can(Capability.TRANSCRIBE):
        found.append(generate(model, prepared, DRAWN))
    elif model.info.about.questions is not None:
        found.append(ask(model, prepared, "what is it?", DRAWN))
    elif can(Capability.CAPTION):
        found.append(generate(model, prepared, DRAWN))
    if can(Capability.EMBED_TEXT):
        found.append(query_sequence(model, prepared.media_id, "a red dog"))
    return found


def scores_of(model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> Tensor:
    """Similarities of the whole query and each word, or the log-probability of each token, [N]."""
    if sequence.kind == "query":
        with torch.no_grad():
            vectors = model.text_features([sequence.text, *(word.text for word in sequence.tokens)])
        return vectors @ encode(model, [prepared])[0]
    ids = [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]
    logits = model.sequence_logits(prepared, ids[:-1])[len(sequence.prompt_ids) - 1 :]
    rows = zip(logits, sequence.tokens, strict=True)
    return torch.stack([row.log_softmax(-1)[token.id] for row, token in rows])


def blocks_of(model: LoadedModel, point: CapturePoint | None) -> list[nn.Module]:
    """The residual blocks around the attention modules of a place: those that have numbers for names."""
    names = [] if point is None else [re.search(r".*\.\d+(?=\.)", name) for name in point.modules]
    return [model.module.get_submodule(name.group()) for name in names if name is not None]


@contextmanager
def outputs_of(blocks: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What blocks give while the body runs, in the order of their calls."""
    found: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, output: found.append(output)) for block in blocks]
    yield found
    for hook in hooks:
        hook.remove()


@contextmanager
def giving(block: nn.Module, hidden: Tensor) -> Iterator[None]:
    """Let the model go on from `hidden` in place of what a block gives while the body runs."""
    hook = block.register_forward_hook(lambda *_: hidden)
    yield
    hook.remove()


class Way:
    """The places between input and text, and a forward with its weights written out."""

    def __init__(self, model: LoadedModel, prepared: Prepared, sequence: TokenSequence) -> None:
        self.model, self.prepared, self.sequence = model, replace(prepared), sequence
        reads = sequence.kind != "query"
        self.cross = (model.point(PointRole.CROSS) or model.point(PointRole.JOINT)) if reads else None
        joint = self.cross is not None and self.cross.role is PointRole.JOINT
        self.encoder = None if joint else model.point(PointRole.ENCODER_SELF)
        self.own = model.point(PointRole.DECODER_SELF) if reads and not joint else None
        needed = [] if self.cross is None else model.needed_points(self.cross)
        pools = [point for point in needed if point.role is PointRole.POOL]
        self.pool = (pools[0] if pools else None) if reads else model.point(PointRole.POOL)
        points = [point for point in (self.encoder, self.pool, self.own, self.cross) if point is not None]
        self.blocks = blocks_of(model, self.encoder)
        with written_out(model, points) as self.written, outputs_of(self.blocks) as self.outputs:
            self.scores = scores_of(model, self.prepared, sequence)

    @property
    def place(self) -> CapturePoint:
        """The last place before the text."""
        found = self.cross or self.pool or self.encoder
        assert found is not None
        return found

    def layers(self, point: CapturePoint | None) -> list[Tensor]:
        """Weights [1, H, Q, K] of each layer of a place."""
        return [] if point is None else self.written.layers(point)

    def pushed(self, point: CapturePoint | None, index: int) -> list[Tensor]:
        """Mean over heads of (dA * A)+ of each layer [Q, K], for one score."""
        layers, score = self.layers(point), self.scores[index]
        if not layers or not score.requires_grad:  # what is given has no score
            return [torch.zeros_like(weights[0, 0]) for weights in layers]
        slopes = torch.autograd.grad(score, layers, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(weights[0, 0]) if slope is None else (slope * weights)[0].clamp(min=0).mean(0)
            for slope, weights in zip(slopes, layers, strict=True)
        ]

    def carried(self, read: Tensor, pooled: Tensor | None = None) -> Tensor:
        """Rows [R, K] at the last place to positions of the input, [R, P]."""
        given = {self.place.name: [read[None, None]]}
        if pooled is not None and self.pool is not None and self.pool is not self.place:
            given[self.pool.name] = [pooled[None, None]]
        return self.model.position_weights(self.place, given, self.prepared)[0, 0]

    def own_rows(self, rows: Tensor) -> Tensor:
        """Of rows at the last place, those that predict tokens; else the one that becomes the embedding."""
        if self.cross is not None:
            return rows[self.row(0) : self.row(len(self.sequence.tokens))]
        return rows[self.model.embedding_rows(self.place)].mean(0, keepdim=True)

    def row(self, index: int) -> int:
        """The row that predicts a token."""
        return len(self.sequence.prompt_ids) - 1 + index


def widened(weights: Tensor, size: int) -> Tensor:
    """Columns for the encoder's outputs that its reader leaves out, which come first."""
    return functional.pad(weights, (size - weights.shape[-1], 0))


# --- raw attention ------------------------------------------------------------------------------------
def raw_attention(way: Way) -> Tensor:
    """The mean over heads of the last layer, from the rows of the tokens or the embedding."""
    given = {point.name: way.layers(point) for point in way.model.needed_points(way.place)}
    return way.own_rows(way.model.position_weights(way.place, given, way.prepared)[-1].mean(0))


# --- rollout ------------------------------------------------------------------------------------------
def half(weights: Tensor) -> Tensor:
    """rownorm(A + I)."""
    mixed = weights + torch.eye(len(weights))
    return mixed / mixed.sum(-1, keepdim=True)


def rolled(way: Way, point: CapturePoint) -> Tensor:
    """The product over layers, the first one applied first."""
    product = None
    for weights in way.layers(point):
        step = half(weights[0].mean(0))
        product = step if product is None else step @ product
    assert product is not None
    return product


def rollout(way: Way) -> Tensor:
    """Products of rownorm(A + I) as whole matrices."""
    encoder = None if way.encoder is None else rolled(way, way.encoder)

    def down(weights: Tensor) -> Tensor:
        return weights if encoder is None else widened(weights, len(encoder)) @ encoder

    pooled = None if way.pool is None else down(way.layers(way.pool)[-1][0].mean(0))
    if way.cross is None:
        return way.own_rows(way.carried(encoder if pooled is None else pooled))
    if way.cross.role is PointRole.JOINT:
        return way.own_rows(way.carried(rolled(way, way.cross), pooled))
    received: Tensor | float = 0.0
    for own, cross in zip(way.layers(way.own), way.layers(way.cross), strict=True):
        read = cross[0].mean(0)
        mixed = torch.zeros_like(read) if isinstance(received, float) else half(own[0].mean(0)) @ received
        received = (mixed + read) / (1 + read.sum(-1, keepdim=True))
    return way.own_rows(way.carried(received if pooled is not None else down(received), pooled))


# --- gradient x attention -----------------------------------------------------------------------------
def followed(layers: Sequence[Tensor]) -> Tensor:
    """R <- R + Abar R, from R = I."""
    relevance = torch.eye(layers[0].shape[-1])
    for abar in layers:
        relevance = relevance + abar @ relevance
    return relevance


def row_normed(relevance: Tensor) -> Tensor:
    """Rhat = rownorm(R - I) + I."""
    identity = torch.eye(len(relevance))
    sums = (relevance - identity).sum(-1, keepdim=True)
    return (relevance - identity) / torch.where(sums > 0, sums, 1) + identity


def gradient_attention(way: Way) -> Tensor:
    """The bimodal rules of Chefer, Gur and Wolf (2021), for each score."""
    return torch.cat([bimodal(way, index) for index in range(len(way.scores))])


def bimodal(way: Way, index: int) -> Tensor:
    encoder = None if way.encoder is None else followed(way.pushed(way.encoder, index))

    def down(weights: Tensor) -> Tensor:
        return weights if encoder is None else widened(weights, len(encoder)) @ row_normed(encoder)

    pooled = None if way.pool is None else down(way.pushed(way.pool, index)[-1])
    if way.cross is None:
        whole = encoder - torch.eye(len(encoder)) if pooled is None else pooled
        return way.own_rows(way.carried(whole))
    row = slice(way.row(index), way.row(index) + 1)
    if way.cross.role is PointRole.JOINT:
        joint = followed(way.pushed(way.cross, index))
        return way.carried((joint - torch.eye(len(joint)))[row], pooled)
    read = image_relevance(way.pushed(way.own, index), way.pushed(way.cross, index))[row]
    return way.carried(read if pooled is not None else down(read), pooled)


def image_relevance(own: Sequence[Tensor], cross: Sequence[Tensor]) -> Tensor:
    """R_ti of a decoder: self-attention mixes what tokens have, cross-attention adds Rhat_tt^T Abar."""
    to_self, to_image = torch.eye(len(cross[0])), torch.zeros_like(cross[0])
    for layer, abar in enumerate(cross):
        if layer < len(own):
            to_image = to_image + own[layer] @ to_image
            to_self = to_self + own[layer] @ to_self
        to_image = to_image + row_normed(to_self).T @ abar
    return to_image


# --- Grad-ECLIP ---------------------------------------------------------------------------------------
def composed(way: Way) -> Tensor | None:
    """Attention of a pooler between the last place and the input, mean over its layers and heads."""
    if way.pool is None or way.pool is way.place:
        return None
    return torch.stack(way.layers(way.pool))[:, 0].mean((0, 1))


def grad_eclip(way: Way) -> Tensor | None:
    """ReLU(sum_c g_c v_kc minmax cos(q, k)); the sum is that of the weights' gradients over heads.

    Keys that lead to no position of the input, such as a class token, are not asked for minimum and maximum.
    For what a head mixes is sum_k A_hqk v_hk, so that d s / d A_hqk = g_hq . v_hk.
    """
    name = way.place.modules[-1]
    if name not in way.written.inputs:
        return None  # the model writes its attention out itself: its queries and keys are not seen
    query, key = (heads[0].transpose(0, 1).flatten(1) for heads in way.written.inputs[name])
    leads = way.carried(torch.eye(len(key)), composed(way)).sum(-1) > 0
    found = []
    for index, score in enumerate(way.scores):
        row = way.row(index) if way.cross is not None else 0
        slope = torch.zeros_like(way.written.weights[name])
        if score.requires_grad:
            (slope,) = torch.autograd.grad(score, way.written.weights[name], retain_graph=True)
        cosine = functional.cosine_similarity(query[row][None], key, dim=-1)
        seen = cosine[leads]
        loose = (cosine - seen.min()) / (seen.max() - seen.min())
        found.append(way.carried((slope[0, :, row].sum(0) * loose).clamp(min=0)[None], composed(way)))
    return torch.cat(found)


# --- LeGrad -------------------------------------------------------------------------------------------
def legrad(way: Way) -> Tensor:
    """The sum over layers of the mean over heads and queries of (d s_l / d A_l)+.

    For s_l the model's own forward goes on from the mean of what layer l gives, in place of every place of
    the last layer; a pooling head goes on from what layer l gives, and A is its own attention.
    """
    found = []
    for layer, output in enumerate(way.outputs):
        pools = [] if way.pool is None else [way.pool]
        given = output.detach() if pools else output.mean(1, keepdim=True).expand_as(output)
        with giving(way.blocks[-1], given), written_out(way.model, pools) as written:
            scores = scores_of(way.model, replace(way.prepared), way.sequence)
        weights = written.layers(way.pool)[-1] if way.pool else way.layers(way.encoder)[layer]
        rows = way.model.embedding_rows(way.pool) if way.pool else slice(None)
        slopes = [torch.autograd.grad(score, weights, retain_graph=True)[0] for score in scores]
        found.append(torch.stack([slope[0].clamp(min=0).mean(0)[rows].mean(0) for slope in slopes]))
    return way.carried(torch.stack(found).sum(0))


# --- Grad-CAM -----------------------------------------------------------------------------------------
def gradcam(way: Way) -> Tensor:
    """ReLU(sum_c F_pc mean_p(d s / d F_pc)) of the tokens F that enter the last layer, or the map pooled."""
    if way.model.stages():
        return gradcam_of_map(way, way.model.stages()[-1])
    entering = way.outputs[-2].detach().requires_grad_()
    with giving(way.blocks[-2], entering), written_out(way.model, []):
        scores = scores_of(way.model, replace(way.prepared), way.sequence)
    keys = way.layers(way.place)[-1].shape[-1]
    places = slice(-way.carried(torch.zeros(1, keys)).shape[-1], None)
    return activations(scores, entering, lambda tokens: tokens[0, places])


def gradcam_of_map(way: Way, stage: Stage) -> Tensor:
    """The same of what a stage of a convolutional tower gives or, where it pools, is given."""
    seen: list[Tensor] = []

    def cut(hidden: Tensor) -> Tensor:
        seen.append(hidden.detach().requires_grad_())
        return seen[-1]

    module = way.model.module.get_submodule(stage.module)
    if stage.entering:
        hook = module.register_forward_pre_hook(lambda _, given: (cut(given[0]), *given[1:]))
    else:
        hook = module.register_forward_hook(lambda _, __, output: cut(output))
    scores = scores_of(way.model, replace(way.prepared), way.sequence)
    hook.remove()
    last = stage.channels_last or seen[0].dim() == 3
    found = activations(
        scores, seen[0], lambda each: each[0].flatten(0, -2) if last else each[0].flatten(1).T
    )
    sound = way.prepared.modality is Modality.AUDIO
    return found @ way.model.stage_moments(stage, way.prepared) if sound else found


def activations(scores: Tensor, leaf: Tensor, places: Callable[[Tensor], Tensor]) -> Tensor:
    """Maps [N, P] of the scores, from a leaf that `places` brings to [P, C]."""
    found = []
    for score in scores:
        (slope,) = torch.autograd.grad(score, leaf, retain_graph=True)
        found.append((places(leaf) * places(slope).mean(0)).sum(-1).clamp(min=0))
    return torch.stack(found)


PLAIN = {
    "attention": raw_attention,
    "rollout": rollout,
    "gradient_attention": gradient_attention,
    "grad_eclip": grad_eclip,
    "legrad": legrad,
    "gradcam": gradcam,
}


@pytest.mark.parametrize(("family", "variant"), VARIANTS, ids=lambda part: part or "-")
def test_maps_equal_the_formulas(family, variant):
    whole = FAMILIES.get(family).tiny(variant)
    for modality, any_of in TAKES.items():
        model = whole.side(modality)
        if not model.info.capabilities & any_of:
            continue
        prepared = model.prepare(item(modality))
        for sequence in texts(model, prepared):
            offered = [key for key in PLAIN if METHODS.get(key).offers(model, sequence.kind)]
            if offered:
                compare(Way(model, prepared, sequence), offered)


def compare(way: Way, methods: Sequence[str]) -> None:
    """Maps of every method equal to 1e-4 of their length, and each value to 1e-3 of the largest."""
    for key in methods:
        expected = PLAIN[key](way)
        if expected is None:
            continue
        layer = way.place.layers - 1 if key == "attention" else None
        point = None if key == "gradcam" else way.place.name
        maps = explain(way.model, replace(way.prepared), way.sequence, MapSpec(key, point, layer=layer))
        scored = way.sequence.kind == "query" and len(expected) > 1  # the whole text comes first
        found = np.stack([maps.whole, *maps.values] if scored else list(maps.values))
        expected = expected.expand(len(found), -1).detach().numpy()
        error = found.reshape(len(found), -1) - expected
        told = f"{key} of a {way.sequence.kind}"
        assert np.abs(expected).max() > 0, told
        assert np.linalg.norm(error) <= TOLERANCE * np.linalg.norm(expected), told
        assert np.abs(error).max() <= 10 * TOLERANCE * np.abs(expected).max(), told
