"""Rows, columns, words, units and scales of a matrix of maps, and what comes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import mmviewer as mv
from mmviewer import paths
from mmviewer.cli import main
from mmviewer.core.compare.figure import matrix_figure, matrix_provenance
from mmviewer.core.compare.plan import (
    AxisKind,
    CellMap,
    CellQuestion,
    Entry,
    question_at,
    scale_words,
    scales,
    tokens_of,
    unit_of,
    words_of,
)
from mmviewer.core.errors import InputError
from mmviewer.core.explain.selection import ShownMap
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import MapKind, MapSpec, TokenMaps, TokenSequence, TokenSpan

SCENE = paths.samples() / "scene-owl-guitar.png"
DOG = paths.samples() / "spoken-dog.wav"


def sequence(text: str, pieces: tuple[str, ...]) -> TokenSequence:
    tokens, at = [], 0
    for index, piece in enumerate(pieces):
        start = text.index(piece.strip(), at)
        at = start + len(piece.strip())
        tokens.append(TokenSpan(index, index, piece, start, at))
    return TokenSequence("caption", "item", "model", text, tuple(tokens))


def cell(values: list[float], *, method: str = "attention", score: str = "", signed: bool = False) -> CellMap:
    grid = np.array(values, np.float32).reshape(1, -1)
    maps = TokenMaps(
        grid[None],
        (TokenSpan(0, 0, "owl", 0, 3),),
        ImageGeometry.for_resize((8, 8 * grid.size), (8, 8 * grid.size), "squash", grid.shape),
        MapKind.ATTRIBUTION if score else MapKind.ATTENTION,
        MapSpec(method),
        f"{method} · layer 1 of 2",
        score,
        signed=signed,
        media_id="item",
        model_id="model",
    )
    return CellMap(maps, ShownMap(grid, (0,), "owl"))


def test_words_are_put_together_from_tokens_and_repeated_ones_keep_apart():
    said = sequence(
        "a bicycle above a Bicycle's bell", ("a", "bi", "cycle", "above", "a", "Bicycle's", "bell")
    )
    words = words_of(said)
    found = [(word.key, *word.tokens) for word in words]
    assert found[:4] == [("a", 0), ("bicycle", 1, 2), ("above", 3), ("a (2)", 4)]
    assert [word.key for word in words if word.content] == ["bicycle", "bicycle's", "bell"]
    assert tokens_of(said, "a (2)") == (4,)
    assert tokens_of(said, "") == ()
    with pytest.raises(InputError, match="has no word “owl”"):
        tokens_of(said, "owl")


def test_rows_and_columns_change_only_what_they_are_about():
    rest = CellQuestion("item", "model", "text", "owl", MapSpec("attention", "decoder.cross", 2, 1))
    method, layer = Entry(AxisKind.METHODS, "legrad", ""), Entry(AxisKind.LAYERS, "0", "")
    by_word = question_at(Entry(AxisKind.WORDS, "bell", ""), method, rest)
    # place, layer and head of attention would mean nothing to LeGrad
    assert by_word == replace(rest, word="bell", spec=MapSpec("legrad"))
    assert question_at(layer, Entry(AxisKind.ITEMS, "other", ""), rest) == replace(
        rest, item_id="other", spec=replace(rest.spec, layer=0)
    )


def test_maps_of_different_units_never_share_a_scale():
    cells = {
        (0, 0): cell([0, 0.2]),
        (1, 0): cell([0, 0.4]),
        (0, 1): cell([0, 9], method="legrad", score="cosine similarity"),
        (1, 1): cell([-3, 1], method="occlusion", score="cosine similarity", signed=True),
    }
    shared = scales(cells, shared=True)
    assert shared[0, 0] == shared[1, 0] == (0, pytest.approx(0.4))
    assert shared[0, 1] == (0, 9)
    assert shared[1, 1] == (-3, 3)  # zero in the middle
    assert scales(cells, shared=False)[0, 0] == (0, pytest.approx(0.2))
    assert "3 colour scales" in scale_words(cells, shared=True)
    assert "own colour scale" in scale_words(cells, shared=False)
    other = replace(cells[0, 1].maps, model_id="another")
    assert unit_of(other) != unit_of(cells[0, 1].maps)
    assert unit_of(replace(cells[0, 0].maps, model_id="another")) == unit_of(cells[0, 0].maps)


def test_every_cell_equals_the_map_asked_for_alone_and_is_written_with_its_provenance(starter, tmp_path):
    picture = mv.open(SCENE)
    made = mv.compare(starter, picture, words=("owl", "guitar", "lion"), methods=("attention", "rollout"))
    assert made.rows == ("owl", "guitar", "lion")
    caption = mv.caption(starter, picture)
    for method, column in zip(("attention", "rollout"), made.columns, strict=True):
        alone = mv.explain(starter, picture, caption, method=method)
        for word in ("owl", "guitar"):
            index = next(token.index for token in caption.tokens if token.text == word)
            np.testing.assert_allclose(made.grid(word, column), alone.values[index], atol=1e-6)
        assert "no word “lion”" in made.failures["lion", column]
    with pytest.raises(InputError, match="has no map under"):
        made.grid("lion", made.columns[0])

    written = made.figure(tmp_path / "matrix.npz")
    with np.load(written, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["grid_1_0"], made.grid("guitar", made.columns[0]))
        assert "grid_2_0" not in arrays
        assert arrays["ranges"].shape == (3, 2, 2)
        provenance = json.loads(str(arrays["provenance"]))
    cells = provenance["extra"]["cells"]
    assert len(cells) == 6
    assert cells[0]["spec"]["layer"] == made.maps("owl", made.columns[0]).spec.layer
    assert cells[0]["word"] == "owl"
    assert cells[0]["weights_hash"] == starter.info.weights_hash
    assert "no word" in cells[4]["failure"]

    svg = made.figure(tmp_path / "matrix.svg", shared_scale=False).read_text("utf-8")
    assert all(f">{word}<" in svg for word in ("owl", "guitar"))
    assert "layer 3 of 4" in svg
    assert made.figure(tmp_path / "matrix.pdf").read_bytes().startswith(b"%PDF")


def test_layers_differ_and_items_of_every_kind_stand_side_by_side(starter, tmp_path):
    picture, sound = mv.open(SCENE), mv.open(DOG)
    layered = mv.compare(starter, picture, rows="words", columns="layers", words=("owl",))
    assert layered.columns == ("layer 1", "layer 2", "layer 3", "layer 4")
    assert [layered.maps("owl", name).spec.layer for name in layered.columns] == [0, 1, 2, 3]
    assert np.abs(layered.grid("owl", "layer 1") - layered.grid("owl", "layer 3")).max() > 0.01
    mixed = mv.compare(
        starter, [picture, sound], "a dog", rows="items", columns="words", method="gradient_attention"
    )
    assert mixed.grid(picture.name, "dog").ndim == 2
    assert mixed.grid(sound.name, "dog").ndim == 1
    figure = matrix_figure(mixed.matrix)
    assert [item.name for item in figure.items] == [picture.name, sound.name]
    assert matrix_provenance(mixed.matrix).item == ""  # two items: each cell names its own
    with Image.open(mixed.figure(tmp_path / "mixed.png", dpi=80)) as page:
        assert np.asarray(page.convert("L")).std() > 10


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (("words", "words"), "choose two different ones"),
        (("methods", "layers"), "compare layers of one method"),
        (("colours", "words"), "choose two of"),
    ],
)
def test_axes_that_make_no_matrix_are_refused(starter, axes, words):
    with pytest.raises(InputError, match=words):
        mv.compare(starter, mv.open(SCENE), rows=axes[0], columns=axes[1])


def test_the_command_line_writes_the_figure_and_says_what_failed(tmp_path, capsys, monkeypatch, starter):
    monkeypatch.setattr("mmviewer.api.load", lambda *_args: starter)
    target = tmp_path / "out.svg"
    words = ["compare", str(SCENE), "--words", "owl,lion", "--methods", "attention,legrad"]
    assert main([*words, "--figure", str(target), "--json"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["rows"] == ["owl", "lion"]
    assert found["cells"][0]["peak"]["value"] > 0.1
    assert "cannot explain a caption" in found["cells"][1]["failure"]
    assert len(said.err.splitlines()) == 2
    assert "<text" in target.read_text("utf-8")
    assert main(["compare", str(SCENE), "--rows", "layers", "--columns", "words", "--layers", "x"]) == 2
