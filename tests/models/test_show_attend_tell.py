"""Show, Attend and Tell: the network against the paper's formulas, and folders whole and broken."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmviewer import paths
from mmviewer.core.capture.collector import capture
from mmviewer.core.capture.mechanism import in_rows
from mmviewer.core.errors import ModelError
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES, ModelSource, Placement
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.sat.folder import write
from mmviewer.core.models.sat.model import SatModel
from mmviewer.core.models.sat.network import ShowAttendTell, doubly_stochastic
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, Sampling

GREEDY = Sampling(max_tokens=6)


def picture(height: int = 96, width: int = 160) -> Media:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "picture", pixels=pixels)


def tiny(variant: str = "") -> SatModel:
    model = FAMILIES.get("show_attend_tell").tiny(variant)
    assert isinstance(model, SatModel)
    return model


def plainly(network: ShowAttendTell, pixels: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Logits [T, K] and alpha [T, L] as the paper writes them: no module is called but the trunk."""
    w = {name: value.double() for name, value in network.state_dict().items()}

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def normed(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    found = [each.double()[0] for each in network.encoder.trunk(pixels)]
    fine = next(each for each in found if each.shape[1:] == network.sizes.grid).permute(1, 2, 0)
    coarse = found[-1].permute(1, 2, 0)
    what = affine("encoder.coarse.1", normed("encoder.coarse.0", coarse))  # [r, c, D]
    cells = torch.stack(
        [
            affine("encoder.fine.1", normed("encoder.fine.0", fine[row, column])) + between(what, row, column)
            for row in range(fine.shape[0])
            for column in range(fine.shape[1])
        ]
    ).clamp(min=0)  # [L, D]
    hidden = torch.tanh(affine("first_hidden", cells.mean(0)))
    memory = torch.tanh(affine("first_cell", cells.mean(0)))
    logits, alphas = [], []
    for token in ids:
        word = w["embedding.weight"][token]
        energy = torch.stack(
            [
                affine(
                    "attention.score",
                    torch.tanh(
                        affine("attention.of_cell", cell) + hidden @ w["attention.of_memory.weight"].T
                    ),
                )[0]
                for cell in cells
            ]
        )
        alpha = torch.exp(energy) / torch.exp(energy).sum()
        context = sum(a * cell for a, cell in zip(alpha, cells, strict=True))
        if network.gate is not None:
            context = torch.sigmoid(affine("gate", hidden)) * context
        gates = (
            torch.cat([word, context]) @ w["lstm.weight_ih"].T
            + w["lstm.bias_ih"]
            + hidden @ w["lstm.weight_hh"].T
            + w["lstm.bias_hh"]
        )
        i, f, g, o = gates.chunk(4)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(memory)
        mixed = word + affine("output.of_memory", hidden) + context @ w["output.of_context.weight"].T
        logits.append(affine("vocabulary", mixed))
        alphas.append(alpha)
    return torch.stack(logits).float(), torch.stack(alphas).float()


def between(coarse: Tensor, row: int, column: int) -> Tensor:
    """The coarse map [r, c, D] at the centre of a cell of a map twice as fine, bilinearly, edges held."""

    def neighbours(index: int, length: int) -> list[tuple[int, float]]:
        place = (index + 0.5) / 2 - 0.5
        low = int(np.floor(place))
        share = place - low
        return [(min(max(low, 0), length - 1), 1 - share), (min(max(low + 1, 0), length - 1), share)]

    return sum(
        y_share * x_share * coarse[y, x]
        for y, y_share in neighbours(row, coarse.shape[0])
        for x, x_share in neighbours(column, coarse.shape[1])
    )


@pytest.mark.parametrize("variant", ["", "ungated"])
def test_logits_and_alpha_are_those_of_the_formulas(variant):
    model = tiny(variant)
    prepared = model.prepare(picture())
    ids = [0, *(span.id for span in model.tokenize("a big red dog"))]
    with capture(model, {"decoder.cross": None}) as captured:
        ours = model.sequence_logits(prepared, ids)
    logits, alpha = plainly(model.module, prepared.inputs["pixels"], ids)
    torch.testing.assert_close(captured["decoder.cross"][0][0, 0], alpha, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, logits, atol=1e-5, rtol=1e-4)
    assert (
        float(alpha.amax(1).min()) > 1.5 / alpha.shape[1]
    )  # not even: a map that says nothing proves nothing


def test_nothing_changes_when_alpha_is_recorded_with_gradients():
    model = tiny()
    prepared = model.prepare(picture())
    ids = [0, *(span.id for span in model.tokenize("a big dog"))]
    with torch.no_grad():
        plain = model.sequence_logits(prepared, ids)
    with capture(model, {"decoder.cross": None}, grad=True) as captured:
        watched = model.sequence_logits(prepared, ids)
    assert torch.equal(watched.detach(), plain)
    assert captured["decoder.cross"][0].shape == (1, 1, len(ids), 16)


def test_the_gradient_of_alpha_is_that_of_finite_differences():
    """Of a word's logit with respect to the weights of this and of earlier steps, through the LSTM."""
    model = tiny()
    model.module.double()
    prepared = model.prepare(picture())
    prepared = type(prepared)(
        prepared.media_id,
        prepared.modality,
        {"pixels": prepared.inputs["pixels"].double()},
        prepared.geometry,
    )
    ids = [0, *(span.id for span in model.tokenize("a big dog"))]
    network: ShowAttendTell = model.module

    def logit(nudges: dict[tuple[int, int], float]) -> Tensor:
        """The last word's logit where alpha of a step and cell is nudged, computed by a loop of our own."""
        cells = network.encoder(prepared.inputs["pixels"])
        compared, memory = network.attention.of_cell(cells), network.begin(cells)
        for step, token in enumerate(ids):
            word = network.embedding(torch.tensor([token]))
            context, _ = network.attention(cells, compared, memory.hidden)
            for (at, cell), size in nudges.items():
                if at == step:
                    context = context + size * cells[:, cell]
            context = torch.sigmoid(network.gate(memory.hidden)) * context
            memory = type(memory)(*network.lstm(torch.cat([word, context], 1), tuple(memory)))
        return network.logits(word[:, None], memory.hidden[:, None], context[:, None])[0, 0, 5]

    with capture(model, {"decoder.cross": None}, grad=True) as captured, in_rows(len(ids)):
        logits, _ = network.read(network.encoder(prepared.inputs["pixels"]), torch.tensor([ids]))
    (gradient,) = torch.autograd.grad(logits[0, -1, 5], captured["decoder.cross"])
    with torch.no_grad():
        for place in ((len(ids) - 1, 3), (1, 7), (0, 12)):
            slope = (logit({place: 1e-5}) - logit({place: -1e-5})) / 2e-5
            torch.testing.assert_close(gradient[0, 0][place], slope, atol=1e-8, rtol=1e-5)


def test_the_regulariser_is_zero_where_every_cell_was_seen_once():
    assert doubly_stochastic(torch.ones(2, 5)).tolist() == [0, 0]
    assert doubly_stochastic(torch.tensor([[1.0, 0.5, 0.0]])).tolist() == [1.25]


@pytest.mark.parametrize("method", ["attention", "gradient_attention", "occlusion", "integrated_gradients"])
def test_every_word_has_a_map(method):
    model = tiny()
    prepared = model.prepare(picture())
    caption = generate(model, prepared, GREEDY)
    maps = explain(model, prepared, caption, MapSpec(method=method))
    assert maps.values.shape == (len(caption.tokens), 4, 4)
    assert np.isfinite(maps.values).all()
    assert np.abs(maps.values).max() > 0


def test_unknown_words_are_covered_and_said_to_be_unknown():
    model = tiny()
    spans = model.tokenize("A  purple dog, and")
    assert [span.text for span in spans] == ["A", "purple", "dog", ",", "and"]
    assert spans[1].id == 2
    assert model.token_text([span.id for span in spans])[0] == "a <unknown> dog, and"


# --- folders ---------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder of the tiny model, its matrices in float16 as they ship."""
    model = tiny()
    write(tmp_path / "tiny-sat", model.module, model._words, {"licence": "MIT"})
    return tmp_path / "tiny-sat"


def test_a_folder_gives_the_model_that_was_written(folder):
    model, written = load_model(str(folder), device="cpu"), tiny()
    assert (model.info.label, model.info.family) == ("tiny-sat", "show_attend_tell")
    assert model.info.about.licence == "MIT"
    ids = [0, *(span.id for span in model.tokenize("a big dog"))]
    torch.testing.assert_close(
        model.sequence_logits(model.prepare(picture()), ids),
        written.sequence_logits(written.prepare(picture()), ids),
        atol=2e-2,
        rtol=2e-2,
    )


def _config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


BROKEN = {
    "a width that is none": lambda f: _config(f, hidden=-3),
    "a width that fills the memory": lambda f: _config(f, hidden=10**12),
    "another width": lambda f: _config(f, hidden=21),
    "a trunk of another kind": lambda f: _config(f, trunk="../../evil"),
    "a large trunk": lambda f: _config(f, trunk="efficientnet_l2"),
    "cells that do not divide": lambda f: _config(f, strides=[16, 31]),
    "strides the trunk lacks": lambda f: _config(f, strides=[1, 2]),
    "no vocabulary": lambda f: (f / "vocabulary.json").unlink(),
    "a word twice": lambda f: (f / "vocabulary.json").write_text('{"words": ["a", "a"]}'),
    "words that are none": lambda f: (f / "vocabulary.json").write_text('{"words": [1, null]}'),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "weights cut off": lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:-50]
    ),
    "a weight is missing": lambda f: save_file(
        {k: v for k, v in load_file(f / "model.safetensors").items() if k != "gate.bias"},
        f / "model.safetensors",
    ),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_folder_is_refused_in_a_sentence(damage, folder):
    BROKEN[damage](folder)
    with pytest.raises(ModelError, match=r"again|choose the folder"):
        load_model(str(folder), device="cpu")


def test_only_folders_of_this_kind_are_recognised(folder):
    family = FAMILIES.get("show_attend_tell")
    assert family.recognises(ModelSource(str(folder)))
    _config(folder, model_type="blip")
    assert not family.recognises(ModelSource(str(folder)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_looks_where_float32_looks(dtype, folder):
    half = FAMILIES.get("show_attend_tell").load(
        ModelSource(str(folder)), Placement(torch.device("cpu"), dtype, "asked for")
    )
    model = tiny()
    ids = [0, *(span.id for span in model.tokenize("a big dog"))]
    found = []
    for each in (half, model):
        with capture(each, {"decoder.cross": None}) as captured:
            each.sequence_logits(each.prepare(picture()), ids)
        found.append(captured["decoder.cross"][0])
    assert found[0].dtype is torch.float32
    torch.testing.assert_close(found[0], found[1], atol=0.05, rtol=0)


def test_sizes_travel_through_the_configuration(folder):
    config = json.loads((folder / "config.json").read_text())
    sizes = asdict(tiny().module.sizes)
    del sizes["words"]
    assert {name: config[name] for name in sizes} == {**sizes, "strides": list(sizes["strides"])}


# --- the model that ships ------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_shipped_model_captions_by_the_formulas():
    model = load_model("starter-sat", device="cpu")
    assert isinstance(model, SatModel)
    assert model.info.label == "Show, Attend and Tell"
    with Image.open(paths.samples() / "scene-three-butterflies.png") as opened:
        media = Media("scene", Modality.IMAGE, "scene", pixels=np.asarray(opened.convert("RGB")))
    prepared = model.prepare(media)
    caption = generate(model, prepared, Sampling(max_tokens=12))
    assert "butterflies" in caption.text.split()
    ids = [0, *(token.id for token in caption.tokens[:3])]
    with capture(model, {"decoder.cross": None}) as captured:
        model.sequence_logits(prepared, ids)
    _, alpha = plainly(model.module, prepared.inputs["pixels"], ids)
    torch.testing.assert_close(captured["decoder.cross"][0][0, 0], alpha, atol=1e-5, rtol=0)
