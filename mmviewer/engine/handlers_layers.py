"""Requests that need the model that made a space: layers as paths, patches of images. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mmviewer.core.errors import InputError, MMViewerError, ModelError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.space.collection import KINDS, Catalogue
from mmviewer.core.space.patches import ImagePatches, PatchHits, PatchIndex, patches_path
from mmviewer.core.space.placing import placer_of
from mmviewer.core.tasks.layers import CAVEAT, layer_embeddings, patch_embeddings
from mmviewer.core.types import Modality
from mmviewer.engine import protocol_layers as ask
from mmviewer.engine.routes import Call
from mmviewer.engine.space_query import asked, check_made, opened, region
from mmviewer.engine.spaces import SPACES, Space

MOST_PATHS = 200
_REASONS = 5  # told of those that failed
_TRIED = 20  # images among which an estimate looks for two that can be read


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
        images = _images(catalogue, space)
        if request.rows:
            images = np.intersect1d(images, np.array(request.rows))
        failed: list[str] = []
        found = PatchIndex.write(
            patches_path(request.folder, request.space_id),
            space.info.id,
            _patches(request, space, catalogue, images, failed, call),
            len(images),
        )
    return ask.PatchState(len(found.rows), found.patches, len(failed), tuple(failed[:_REASONS]))


def estimate_patches(request: ask.EstimatePatches, call: Call) -> ask.PatchCost:
    """Look at the first images that can be read: the first warms up, the second is timed."""
    space = SPACES.get(request.folder, request.space_id, call.progress)
    failed: list[str] = []
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        images = _images(catalogue, space)
        tried = _patches(request, space, catalogue, images[:_TRIED], failed, call)
        first = next(tried, None)
        start = time.perf_counter()
        second = next(tried, None)
    if first is None:
        why = f" {failed[0]}" if failed else ""
        raise InputError(f"There are no images whose patches could be indexed; add images first.{why}")
    taken = time.perf_counter() - start if second is not None else 0.0
    count, size = len(images), len(first.vectors)
    known = PatchIndex.read(patches_path(request.folder, request.space_id), space.info.id)
    indexed = 0 if known is None else len(np.intersect1d(known.rows, images))
    return ask.PatchCost(count, count * size, count * first.vectors.size * 2, count * taken, indexed)


def search_patches(request: ask.SearchPatches, call: Call) -> PatchHits:
    """Find images with patches near to a region."""
    space = SPACES.get(request.folder, request.space_id, call.progress)
    index = PatchIndex.read(patches_path(request.folder, request.space_id), space.info.id)
    if index is None:
        raise InputError("The patches of this space are not indexed yet; index them first.")
    media = asked(request.media, request.row, request.folder, call)
    with _using(request, space, call) as model:
        query = region(model, media, request.box, request.outline)
    return index.search(query, request.count, call.progress)


# --- inside ----------------------------------------------------------------------------------------------
@contextmanager
def _using(
    request: ask.LayerRequest, space: Space, call: Call, *, background: bool = False
) -> Iterator[LoadedModel]:
    """The model that made the space; raises `ModelError` if the loaded one is another."""
    with call.workspace.using(request.model_id, call.progress, background=background) as model:
        check_made(space.info, model)
        yield model


def _images(catalogue: Catalogue, space: Space) -> ask.Rows:
    """Items of a space that are images."""
    kinds = catalogue.table().kinds[: len(space.index)]
    return np.flatnonzero((kinds == KINDS.index(Modality.IMAGE)) & (space.index >= 0))


def _patches(
    request: ask.LayerRequest,
    space: Space,
    catalogue: Catalogue,
    images: ask.Rows,
    failed: list[str],
    call: Call,
) -> Iterator[ImagePatches]:
    for done, row in enumerate(images.tolist()):
        call.progress.report(done, len(images), f"Embedding patches of image {done + 1:,} of {len(images):,}")
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
