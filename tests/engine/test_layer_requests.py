"""Layers, patches and questions that need the model, on a small collection of the real samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmviewer import paths
from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT
from mmviewer.core.space.collection import Catalogue, FolderSource
from mmviewer.core.tasks.embed import embed
from mmviewer.core.types import MediaRef
from mmviewer.engine import handlers_layers as handle
from mmviewer.engine import handlers_spaces
from mmviewer.engine import protocol_layers as ask
from mmviewer.engine.protocol_space import QueryPart, SearchSpace
from mmviewer.engine.routes import ROUTES, Call
from mmviewer.engine.workspace import Workspace


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(str(paths.starter_model()))


@pytest.fixture(scope="module")
def call(model: LoadedModel) -> Call:
    workspace = Workspace()
    workspace.adopt(model)
    return Call(workspace, SILENT, lambda value: None)


@pytest.fixture(scope="module")
def made(model: LoadedModel, tmp_path_factory) -> tuple[Path, str, list[str]]:
    """The shipped pictures with their embeddings and a map; a file that is none of them; a text."""
    files = tmp_path_factory.mktemp("files")
    pictures = sorted(paths.samples().glob("*.png"))[:6]
    for picture in pictures:
        (files / picture.name).write_bytes(picture.read_bytes())
    (files / "zz broken.png").write_bytes(b"\x89PNG but no more")
    folder = tmp_path_factory.mktemp("collection")
    info = model.info
    with Catalogue.open(folder, create=True) as catalogue:
        catalogue.scan(catalogue.add_source(FolderSource(str(files))).id)
        items = catalogue.items(range(catalogue.count))
        good = [item for item in items if "broken" not in item.name]
        media = [open_media(item.path) for item in good]
        vectors = embed(model, media).vectors
        space = catalogue.add_space(
            model_id=info.id,
            label=info.label,
            width=vectors.shape[1],
            weights_hash=info.weights_hash,
            preprocessing=info.preprocessing,
        )
        hashes = [f"{item.row:064x}" for item in items]
        with catalogue.begin_batch() as batch:  # as if the broken one had been whole when it was indexed
            batch.set_content([item.row for item in items], hashes, [media[0].modality] * len(items))
            batch.append_vectors(space.id, [hashes[item.row] for item in good], vectors.astype(np.float16))
            batch.append_vectors(space.id, [hashes[-1]], vectors[:1].astype(np.float16))
        xy = np.full((len(items), 2), np.nan, np.float32)
        xy[[item.row for item in good]] = vectors[:, :2]
        catalogue.save_coordinates("map", space.id, "pca", {}, xy)
    return folder, space.id, [item.name for item in items]


def _width(folder: Path, space_id: str) -> int:
    with Catalogue.open(folder, readonly=True) as catalogue:
        return catalogue.vectors(space_id).info.width


def test_paths_end_where_the_items_lie(made, model, call) -> None:
    folder, space, names = made
    assert callable(ROUTES[ask.LayerPaths].handler())
    rows = (0, 2, len(names) - 1)
    found = handle.layer_paths(ask.LayerPaths(str(folder), space, model.info.id, rows, "map"), call)
    assert found.rows.tolist() == [0, 2]
    assert len(found.left_out) == 1
    assert "broken" in found.left_out[0]
    assert found.xy.shape == (2, model.tower().layers + 1, 2)
    np.testing.assert_allclose(found.cosines[:, -1], 1, atol=1e-5)
    assert (found.cosines[:, 0] < 0.9).all()  # before the first layer it is something else
    with Catalogue.open(folder, readonly=True) as catalogue:
        places = catalogue.coordinates("map").xy[[0, 2]]
    np.testing.assert_allclose(found.xy[:, -1], places, atol=0.01)
    with pytest.raises(InputError, match="Between 1 and"):
        handle.layer_paths(ask.LayerPaths(str(folder), space, model.info.id, (), "map"), call)


def test_the_region_of_an_indexed_image_finds_itself(made, model, call) -> None:
    folder, space, names = made
    request = ask.SearchPatches(str(folder), space, model.info.id, (0.0, 0.0, 64.0, 64.0), row=1)
    with pytest.raises(InputError, match="not indexed yet"):
        handle.search_patches(request, call)
    estimate = ask.EstimatePatches(str(folder), space, model.info.id)
    cost = handle.estimate_patches(estimate, call)
    state = handle.index_patches(ask.IndexPatches(str(folder), space, model.info.id), call)
    assert (cost.images, cost.indexed) == (len(names), 0)  # the broken one is found on the way
    assert cost.patches / cost.images == state.patches / state.images
    assert cost.bytes == cost.patches * _width(folder, space) * 2
    assert handle.estimate_patches(estimate, call).indexed == state.images
    prepared = model.prepare(open_media(paths.samples() / names[1]))
    rows, columns = prepared.geometry.grid
    assert state.images == len(names) - 1
    assert state.patches == state.images * rows * columns
    assert state.failed == 1
    box = prepared.geometry.cell_box(rows // 2, columns // 2)
    found = handle.search_patches(
        ask.SearchPatches(str(folder), space, model.info.id, box, row=1, count=3), call
    )
    assert found.rows[0] == 1
    assert found.cosines[0] == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(found.boxes[0], box, atol=0.5)
    picture = open_media(paths.samples() / names[1])
    ref = MediaRef(picture.id, picture.modality, picture.name, str(paths.samples() / names[1]))
    same = handle.search_patches(ask.SearchPatches(str(folder), space, model.info.id, box, ref), call)
    assert same.rows.tolist()[:3] == found.rows.tolist()
    top, left, bottom, right = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    drawn = ask.SearchPatches(str(folder), space, model.info.id, box, ref, outline=corners)
    np.testing.assert_allclose(handle.search_patches(drawn, call).cosines, same.cosines, atol=1e-5)
    half = ask.SearchPatches(str(folder), space, model.info.id, (0, 0, *picture.size), ref)
    triangle = ask.SearchPatches(
        str(folder), space, model.info.id, half.box, ref, outline=((0, 0), (picture.size[1], 0), (0, 99))
    )
    whole, part = (handle.search_patches(each, call).cosines for each in (half, triangle))
    assert np.abs(whole - part).max() > 1e-3


def test_questions_of_items_and_regions(made, model, call) -> None:
    folder, space, names = made
    path = paths.samples() / names[2]
    picture = open_media(path)
    ref = MediaRef(picture.id, picture.modality, picture.name, str(path))

    def ask_for(*parts: QueryPart, closed: bool = False):
        request = SearchSpace(str(folder), space, parts, model.info.id, 3, closed=closed)
        return handlers_spaces.search(request, call)

    by_media, by_row = ask_for(QueryPart(media=ref)), ask_for(QueryPart(row=2))
    assert by_media.rows.tolist() == by_row.rows.tolist()
    np.testing.assert_allclose(by_media.cosines, by_row.cosines, atol=2e-3)
    shut = ask_for(QueryPart(media=ref), closed=True)
    assert shut.rows[0] == 2
    assert shut.cosines[0] == pytest.approx(1, abs=5e-3)  # the same image is centred as its kind is
    height, width = picture.size
    whole = ask_for(QueryPart(media=ref, box=(0, 0, height, width)))
    part = ask_for(QueryPart(row=2, box=(0, 0, height / 2, width / 2)))
    assert whole.cosines[0] != pytest.approx(part.cosines[0], abs=1e-4)
    with pytest.raises(InputError, match="choose the image too"):
        ask_for(QueryPart(text="x", box=(0, 0, 1, 1)))
    with pytest.raises(InputError, match="saw nothing"):
        ask_for(QueryPart(row=2, box=(9e5, 9e5, 9e5 + 1, 9e5 + 1)))


def test_the_model_must_be_the_one_that_made_the_space(made, model, call) -> None:
    folder, space, _ = made
    width = _width(folder, space)
    with Catalogue.open(folder) as catalogue:
        other = catalogue.add_space(
            model_id="x", label="other model", width=8, weights_hash="w", preprocessing="p"
        )
        with catalogue.begin_batch() as batch:
            batch.append_vectors(other.id, [f"{0:064x}"], np.ones((1, 8), np.float16))
    with pytest.raises(ModelError, match="made by other model"):
        handle.index_patches(ask.IndexPatches(str(folder), other.id, model.info.id), call)
    with Catalogue.open(folder) as catalogue:
        alike = catalogue.add_space(
            model_id="y", label="a twin", width=width, weights_hash="w", preprocessing="p"
        )
    question = SearchSpace(str(folder), alike.id, (QueryPart(text="a cat"),), model.info.id)
    with pytest.raises(ModelError, match="made by a twin and not by"):
        handlers_spaces.search(question, call)
