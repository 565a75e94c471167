"""Speed of attribution as ratios within one run: ``pytest tests/benchmarks --benchmark-only``.

The published formulations are written here as plainly as their authors give them: the image once for each
text, one gradient for each layer, relevance as full matrices. Ours must give the same values, sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import open_clip
import pytest
import torch
from test_core_speed import ratio_in_turns, report
from torch import Tensor, nn
from torch.nn import functional

from mmviewer import paths
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.faithfulness import curves
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel, Placement, Prepared
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import build
from mmviewer.core.models.openclip.model import OpenClipModel
from mmviewer.core.targets import TokenTarget
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, TokenSequence

QUERY = "a red dog beside the old blue house"


def random_model(config: dict[str, object], name: str) -> LoadedModel:
    """A model with random weights, which do not matter for speed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build.construct(config)
        if hasattr(module, "text_decoder"):
            nn.init.normal_(module.text_decoder.text_projection, std=0.02)
    build.attach_preprocessing(module, {})
    placement = Placement(torch.device("cpu"), torch.float32, "a benchmark")
    length = config["text_cfg"]["context_length"]  # type: ignore[index]
    tokenizer = open_clip.SimpleTokenizer(context_length=length)
    identity = Identity(name, "random", name)
    return OpenClipModel(module.eval().requires_grad_(False), tokenizer, placement, identity)


@pytest.fixture(scope="module")
def clip() -> LoadedModel:
    """CLIP ViT-B/32."""
    return random_model(open_clip.get_model_config("ViT-B-32"), "ViT-B-32")


@pytest.fixture(scope="module")
def coca() -> LoadedModel:
    """A CoCa of the starter's size that can write 32 tokens."""
    text = {"context_length": 40, "vocab_size": 49408, "width": 192, "heads": 4, "layers": 4}
    config = {
        "embed_dim": 192,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 112,
            "layers": 6,
            "width": 192,
            "head_width": 48,
            "patch_size": 14,
            "output_tokens": True,
        },
        "text_cfg": {**text, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": text,
    }
    return random_model(config, "coca of the starter's size")


def prepared_scene(model: LoadedModel) -> Prepared:
    return model.prepare(open_media(paths.samples() / "scene-breakfast.png"))


class PlainAttention(nn.Module):
    """Attention written out, with its weights left on the graph."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.original = original
        self.weights: Tensor | None = None

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **_: object) -> tuple[Tensor, None]:
        """Of [B, N, W], batch first."""
        part = self.original
        projected = functional.linear(query, part.in_proj_weight, part.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (part.num_heads, -1)).transpose(1, 2) for each in projected)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        self.weights = scores.softmax(-1).requires_grad_()
        mixed = (self.weights @ v).transpose(1, 2).flatten(2)
        return part.out_proj(mixed), None


@contextmanager
def plain_attention(blocks: Sequence[nn.Module]):
    """Blocks with written-out attention while the body runs."""
    with ExitStack() as stack:
        for block in blocks:
            original = block.attn
            block.attn = PlainAttention(original)
            stack.callback(setattr, block, "attn", original)
        yield


def plain_chefer(model: LoadedModel, prepared: Prepared, vectors: Tensor) -> np.ndarray:
    """Relevance of the class token for each text as published for CLIP, [N, P].

    The image is repeated for each text; block by block the gradient of its attention is asked for, and R is
    multiplied as a matrix.
    """
    visual = model.module.visual
    blocks = visual.transformer.resblocks
    with plain_attention(blocks):
        features = functional.normalize(
            visual(prepared.inputs["pixels"].repeat(len(vectors), 1, 1, 1)), dim=-1
        )
        score = (features * vectors).sum()
        size = blocks[0].attn.weights.shape[-1]
        relevance = torch.eye(size).expand(len(vectors), -1, -1)
        for block in blocks:
            weights = block.attn.weights
            (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
            relevance = relevance + (gradient * weights.detach()).clamp(min=0).mean(1) @ relevance
    return relevance[:, 0, 1:].numpy()


def plain_legrad(model: LoadedModel, prepared: Prepared, vectors: Tensor) -> np.ndarray:
    """LeGrad of each text as published: the image repeated for each, one gradient per layer, [N, P]."""
    visual = model.module.visual
    blocks = visual.transformer.resblocks
    outputs: list[Tensor] = []
    with plain_attention(blocks), ExitStack() as stack:
        for block in blocks:
            hook = block.register_forward_hook(lambda _, __, output: outputs.append(output))
            stack.callback(hook.remove)
        visual(prepared.inputs["pixels"].repeat(len(vectors), 1, 1, 1))
        total = torch.zeros(len(vectors), outputs[0].shape[1] - 1)
        for block, output in zip(blocks, outputs, strict=True):
            feature = functional.normalize(visual.ln_post(output.mean(1)) @ visual.proj, dim=-1)  # [N, D]
            score = (feature * vectors).sum()
            # with create_graph, as the authors' program asks for it
            (gradient,) = torch.autograd.grad(score, block.attn.weights, retain_graph=True, create_graph=True)
            total = total + gradient.clamp(min=0).mean((1, 2))[:, 1:]
    return total.detach().numpy()


@pytest.mark.parametrize(
    ("method", "published"), [("gradient_attention", plain_chefer), ("legrad", plain_legrad)]
)
def test_words_of_a_query(
    benchmark, clip, method: str, published: Callable[[LoadedModel, Prepared, Tensor], np.ndarray]
):
    """A query of eight words and the whole of it, against the published form: at least twice as fast."""
    prepared = prepared_scene(clip)
    sequence = query_sequence(clip, prepared.media_id, QUERY)
    texts = [QUERY, *(word.text for word in sequence.tokens)]

    with torch.no_grad():
        vectors = clip.text_features(texts)  # ours keeps them too: the text tower is not what is compared

    def plainly() -> np.ndarray:
        return published(clip, prepared, vectors)

    def ours() -> np.ndarray:
        maps = explain(clip, prepared, sequence, MapSpec(method))
        return np.stack([maps.whole, *maps.values]).reshape(len(texts), -1)

    expected = plainly()
    np.testing.assert_allclose(ours(), expected, atol=1e-4 * expected.max())
    seconds, base, ratio = ratio_in_turns(ours, plainly, rounds=4)
    report(benchmark, f"{method} of 8 words / published form (ViT-B/32)", seconds, base, ratio, 0.5)
    benchmark.pedantic(ours, rounds=2)
    assert ratio <= 0.5


def test_all_tokens_of_a_caption(benchmark, coca):
    """All 32 tokens of a caption, against a single one."""
    prepared = prepared_scene(coca)
    ids = list(range(1000, 1032))
    text, spans = coca.token_text(ids)
    prompt = coca.decoder(prepared).prompt
    sequence = TokenSequence("caption", prepared.media_id, coca.info.id, text, spans, prompt_ids=prompt)

    def every() -> np.ndarray:
        return explain(coca, prepared, sequence, MapSpec("gradient_attention")).values

    def single() -> np.ndarray:
        spec = MapSpec("gradient_attention", target=TokenTarget(20))
        return explain(coca, prepared, sequence, spec).values

    np.testing.assert_allclose(every()[20], single()[0], rtol=1e-3, atol=1e-6)
    seconds, base, ratio = ratio_in_turns(every, single, rounds=4)
    report(benchmark, "gradient x attention of 32 tokens / of one", seconds, base, ratio, 6.0)
    benchmark.pedantic(every, rounds=2)
    assert ratio <= 6.0


def test_deletion_and_insertion(benchmark, coca):
    """Fifty steps of deletion and insertion in batches, against one masked picture after the other.

    On one CPU thread a batch only saves what each call costs besides its arithmetic; on a GPU it saves far
    more. Of the starter nearly all the time goes into its stem, which gains little from a batch.
    """
    model = coca
    prepared = prepared_scene(model)
    sequence = query_sequence(model, prepared.media_id, "a croissant")
    maps = explain(model, prepared, sequence, MapSpec("gradient_attention"))
    pixels = prepared.inputs["pixels"]
    fill = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    grid = torch.tensor(maps.whole)
    order = grid.flatten().argsort(descending=True, stable=True)
    counts = torch.linspace(0, grid.numel(), 51).round().long()
    with torch.no_grad():
        vector = model.text_features([sequence.text])[0]

    def one_by_one() -> np.ndarray:
        scores = []
        with torch.no_grad():
            for flip in (False, True):
                for count in counts:
                    keep = torch.ones(grid.numel())
                    keep[order[:count]] = 0
                    keep = (1 - keep if flip else keep).reshape(1, 1, *grid.shape)
                    mask = functional.interpolate(keep, pixels.shape[2:])  # nearest: patches as they are
                    feature = model.module.encode_image(pixels * mask + fill * (1 - mask), normalize=True)
                    scores.append(float(feature[0] @ vector))
        return np.array(scores)

    def batched() -> np.ndarray:
        found = curves(model, prepared, sequence, maps, steps=50, random_maps=1)
        return np.concatenate([found.deletion, found.insertion])

    np.testing.assert_allclose(batched(), one_by_one(), atol=1e-4)
    seconds, base, ratio = ratio_in_turns(batched, one_by_one, rounds=4)
    ratio /= 2  # ours takes a random order along: twice the masks
    report(benchmark, "deletion and insertion, 50 steps / one by one (per mask)", seconds, base, ratio, 0.6)
    benchmark.pedantic(batched, rounds=2)
    assert ratio <= 0.6
