"""Requests that need the model that made a space: layers as paths, patches of images. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mmviewer.core.errors import InputError, MMViewerError, ModelError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.space.collection import KINDS, Catalogue
from mmviewer.core.space.patches import ImagePatches, PatchHits, PatchIndex
from mmviewer.core.space.placing import placer_of
from mmviewer.core.tasks.layers import CAVEAT, layer_embeddings, patch_embeddings
from mmviewer.core.types import Modality
from mmviewer.engine import protocol_layers as ask
from mmviewer.engine.routes import Call
from mmviewer.engine.space_query import asked, opened, region
from mmviewer.engine.spaces import SPACES, Space

MOST_PATHS = 200
_REASONS = 5  # told of those that failed


def layer_paths(request: ask.LayerPaths, call: Call) -> ask.LayerWays:
    """Follow items through the layers on a map."""
    if not 0 < len(request.rows) <= MOST_PATHS:
        raise InputError(f"Between 1 and {MOST_PATHS} items can be followed at once; choose fewer.")
    space = SPACES.get(request.folder, request.space_id, call.progress)
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        xy = catalogue.coordinates(request.map).xy
        items = catalogue.items(np.array(request.rows))
    placer = placer_of(space.rows, space.to_vectors(xy))
    rows, vectors, left_out = [], [], []
    for item in items:
        try:
            media = opened(item)
            with _using(request, space, call) as model:
                vectors.append(layer_embeddings(model, [model.prepare(media)], call.progress)[0])
        except MMViewerError as error:
            if isinstance(error, ModelError):
                raise
            left_out.append(f"{item.name}: {error.message}")
            continue
        rows.append(item.row)
    if not rows:
        raise InputError(f"None of these items can be followed through the layers. {left_out[0]}")
    paths = np.stack(vectors)  # [n, L + 1, D]
    places = placer.place_new(paths.reshape(-1, paths.shape[-1]), call.progress)
    cosines = np.einsum("nld,nd->nl", paths, paths[:, -1])
    return ask.LayerWays(
        np.array(rows, np.int64), places.reshape(*paths.shape[:2], 2), cosines, CAVEAT, tuple(left_out)
    )


def index_patches(request: ask.IndexPatches, call: Call) -> ask.PatchState:
    """Embed patches of images, giving way to whoever else wants the model."""
    space = SPACES.get(request.folder, request.space_id, call.progress)
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        kinds = catalogue.table().kinds[: len(space.index)]
        images = np.flatnonzero((kinds == KINDS.index(Modality.IMAGE)) & (space.index >= 0))
        if request.rows:
            images = np.intersect1d(images, np.array(request.rows))
        failed: list[str] = []
        found = PatchIndex.write(
            _path(request),
            space.info.id,
            _patches(request, space, catalogue, images, failed, call),
            len(images),
        )
    return ask.PatchState(len(found.rows), found.patches, len(failed), tuple(failed[:_REASONS]))


def search_patches(request: ask.SearchPatches, call: Call) -> PatchHits:
    """Find images with patches near to a region."""
    space = SPACES.get(request.folder, request.space_id, call.progress)
    index = PatchIndex.read(_path(request), space.info.id)
    if index is None:
        raise InputError("The patches of this space are not indexed yet; index them first.")
    media = asked(request.media, request.row, request.folder, call)
    with _using(request, space, call) as model:
        query = region(model, media, request.box)
    return index.search(query, request.count, call.progress)


# --- inside ----------------------------------------------------------------------------------------------
@contextmanager
def _using(
    request: ask.LayerRequest, space: Space, call: Call, *, background: bool = False
) -> Iterator[LoadedModel]:
    """The model that made the space; raises `ModelError` if the loaded one is another."""
    with call.workspace.using(request.model_id, call.progress, background=background) as model:
        made, info = space.info, model.info
        if (made.weights_hash, made.preprocessing) != (info.weights_hash, info.preprocessing):
            raise ModelError(
                f"This space was made by {made.label} and not by {info.label}; load the model that made it."
            )
        yield model


def _path(request: ask.LayerRequest) -> Path:
    return Path(request.folder) / "patches" / f"{request.space_id}.f16"


def _patches(
    request: ask.IndexPatches,
    space: Space,
    catalogue: Catalogue,
    images: ask.Rows,
    failed: list[str],
    call: Call,
) -> Iterator[ImagePatches]:
    for done, row in enumerate(images.tolist()):
        call.progress.report(done, len(images), "Embedding patches")
        item = catalogue.items([row])[0]
        try:
            media = opened(item)
            with _using(request, space, call, background=True) as model:
                prepared = model.prepare(media)
                vectors = patch_embeddings(model, prepared)
        except ModelError:
            raise
        except MMViewerError as error:
            failed.append(f"{item.name}: {error.message}")
            continue
        assert isinstance(prepared.geometry, ImageGeometry)
        yield ImagePatches(row, vectors, prepared.geometry)
