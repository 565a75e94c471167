"""Requests about one space of a collection: search, maps, measures. Imports torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmviewer.core.errors import CollectionError
from mmviewer.core.progress import Progress
from mmviewer.core.space.collection import Catalogue
from mmviewer.core.space.measures.agreement import neighbour_table
from mmviewer.core.space.measures.evenness import uniformity
from mmviewer.core.space.measures.gap import modality_gaps
from mmviewer.core.space.measures.hubness import hubness
from mmviewer.core.space.measures.trust import map_trust
from mmviewer.core.space.placing import fall_in, place_rows
from mmviewer.core.space.search.exact import EXACT_LIMIT
from mmviewer.core.types import FloatArray
from mmviewer.engine import protocol_space as ask
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.collections import COLLECTIONS
from mmviewer.engine.routes import Call
from mmviewer.engine.space_query import query_vector
from mmviewer.engine.spaces import SPACES, Space

_HUBS_OF = 5_000
_NEIGHBOURS = 10
_NEW = "; new items lie where their nearest are"


def search(request: ask.SearchSpace, call: Call) -> ask.SpaceAnswer:
    """Find what lies nearest to a sum of texts and items; by the index of a large space once it was made."""
    space = _open(request, call.progress)
    query = query_vector(request, space, call)
    rows, nearest, recall = space.find(query, request.count, request.kinds, call.progress)
    answer = ask.SpaceAnswer(rows, nearest, None, recall)
    if not request.whole:
        return answer
    if len(space.rows) > EXACT_LIMIT:
        call.partial(answer)  # before every vector is compared
    return replace(answer, similarity=space.to_items(_similarity(space, query, call.progress)))


def place(request: ask.PlaceSpace, call: Call) -> ask.PlacedSpace:
    """Lay a space into the plane: a sample is fitted if it is large, and the others are placed by it."""
    space = _open(request, call.progress)
    used = np.flatnonzero(space.used)
    placed = abandonable(
        lambda: place_rows(space.rows, request.method, call.progress, request.seed, among=used),
        call.progress,
    )
    return _kept(request, ask.PlacedSpace(request.method, space.to_items(placed.xy), placed.details))


def fall_into(request: ask.FallIntoMap, call: Call) -> ask.PlacedSpace:
    """Put new items on a map that is kept, and keep it so."""
    space = _open(request, call.progress)
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        kept = catalogue.coordinates(request.map)
    xy = space.to_vectors(kept.xy)
    new = np.flatnonzero(space.used & ~np.isfinite(xy).all(axis=1))
    xy[new] = fall_in(space.rows, xy, new, call.progress)
    details = str(kept.details.get("details", "")).partition(_NEW)[0] + _NEW
    placed = ask.PlacedSpace(kept.method, space.to_items(xy), details, kept.name)
    with COLLECTIONS.writing(request.folder) as catalogue:
        catalogue.save_coordinates(
            kept.name, request.space_id, kept.method, {**kept.details, "details": details}, placed.xy
        )
    return placed


def measure(request: ask.MeasureSpace, call: Call) -> ask.SpaceMeasures:
    """Measure a space."""
    space = _open(request, call.progress)
    rows = space.rows
    gaps = modality_gaps(rows, space.kinds, call.progress)
    judged = rows.sample(_HUBS_OF)
    occurrences = np.full(len(rows), np.nan, np.float32)
    skewness = orphans = even = None
    if len(judged) > _NEIGHBOURS:
        hubs = hubness(neighbour_table(rows.take(judged), _NEIGHBOURS, call.progress))
        occurrences[judged] = hubs.occurrences
        skewness, orphans = hubs.skewness, hubs.orphans
    if len(judged) >= 2:
        even = uniformity(rows, progress=call.progress)
    return ask.SpaceMeasures(
        count=int(rows.usable.sum()),
        gaps=tuple(ask.KindsGap(gap.first, gap.second, gap.distance, gap.separability) for gap in gaps),
        uniformity=even,
        skewness=skewness,
        orphans=orphans,
        judged=len(judged),
        occurrences=space.to_items(occurrences),
    )


def trust(request: ask.TrustMap, call: Call) -> tuple[FloatArray, float]:
    """Measure how far a map can be trusted, point by point."""
    space = _open(request, call.progress)
    xy = space.to_vectors(request.xy)
    found = map_trust(space.rows, xy, progress=call.progress)
    return space.to_items(found.values), found.overall


def _kept(request: ask.PlaceSpace, placed: ask.PlacedSpace) -> ask.PlacedSpace:
    """Keep a map in the collection; where another program writes to it, the map is shown all the same."""
    name = f"{request.method}:{request.space_id[:60]}{':closed' if request.closed else ''}"
    details = {"details": placed.details, "closed": request.closed}
    try:
        with COLLECTIONS.writing(request.folder) as catalogue:
            catalogue.save_coordinates(name, request.space_id, request.method, details, placed.xy)
    except CollectionError as error:
        return replace(placed, details=f"{placed.details} · not kept: {error}")
    return replace(placed, name=name)


# --- inside ----------------------------------------------------------------------------------------------
def _open(request: ask.SpaceRequest, progress: Progress) -> Space:
    return SPACES.get(request.folder, request.space_id, progress, closed_gap=request.closed)


def _similarity(space: Space, query: FloatArray, progress: Progress) -> FloatArray:
    """Cosine of every vector with the query [V], NaN for those without a direction."""
    scores = np.full(len(space.rows), np.nan, np.float32)
    for part, vectors in space.rows.blocks(None, progress, "Comparing all items"):
        scores[part] = vectors @ query
    scores[~space.rows.usable] = np.nan
    return scores
