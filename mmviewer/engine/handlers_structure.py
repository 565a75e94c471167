"""Requests about the structure of a space: its index, groups, two models, matrices, duplicates, pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.clusters.density import clusters
from mmviewer.core.space.clusters.naming import names_by_labels, names_by_texts
from mmviewer.core.space.collection import Catalogue
from mmviewer.core.space.measures import similarity
from mmviewer.core.space.measures.agreement import agreement, procrustes
from mmviewer.core.space.measures.evenness import alignment, alignment_by_chance
from mmviewer.core.space.measures.pairs import kinds_paired, pairs_of
from mmviewer.core.space.measures.retrieval import retrieval
from mmviewer.core.space.search.approximate import Approximate
from mmviewer.core.space.search.duplicates import near_duplicates
from mmviewer.core.types import FloatArray
from mmviewer.engine import protocol_structure as ask
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.routes import Call
from mmviewer.engine.spaces import SPACES, Space

_TEXTS_READ = 5_000  # items of which names of groups are made

Codes = NDArray[np.int32]


def prepare(request: ask.PrepareSearch, call: Call) -> ask.SearchState:
    """Read or make an index."""
    space = _space(request, call.progress)
    searcher = space.prepare(call.progress)
    if not isinstance(searcher, Approximate):
        return ask.SearchState(True, len(space.rows))
    recall = searcher.recall
    return ask.SearchState(False, len(space.rows), recall.value, recall.count, recall.queries)


def cluster(request: ask.ClusterSpace, call: Call) -> ask.SpaceClusters:
    """Find groups and name them."""
    space = _space(request, call.progress)
    used = space.rows.sample(len(space.rows), among=np.flatnonzero(space.used))
    least = request.least or None
    found = abandonable(
        lambda: clusters(space.rows, least, fine=request.fine, among=used, progress=call.progress),
        call.progress,
    )
    groups = space.codes_to_items(found.groups)
    sizes = np.bincount(groups[groups >= 0], minlength=found.count)
    names = _names(request, groups, found.count)
    return ask.SpaceClusters(groups, names, tuple(sizes.tolist()), found.details)


def compare(request: ask.CompareSpaces, call: Call) -> ask.SpaceAgreement:
    """Compare two models' spaces."""
    one = _space(request, call.progress)
    other = SPACES.get(request.folder, request.other_id, call.progress, closed_gap=request.closed)
    count = min(len(one.index), len(other.index))
    both = np.flatnonzero((one.index[:count] >= 0) & (other.index[:count] >= 0))
    # items of equal content share a vector: each content once
    _, first = np.unique(one.index[both], return_index=True)
    rows = both[np.sort(first)]
    pairs = one.index[rows], other.index[rows]
    found, _ = agreement(one.rows, other.rows, pairs, request.neighbours, call.progress)
    values = np.full(len(one.rows), np.nan, np.float32)
    values[pairs[0][found.compared]] = found.overlap
    overlap = one.to_items(values)
    laid = None if request.maps is None else _laid_on(request.folder, request.maps)
    return ask.SpaceAgreement(
        overlap,
        found.mean_overlap,
        found.by_chance,
        found.disparity,
        found.neighbours,
        len(found.compared),
        laid,
    )


def compare_items(request: ask.CompareItems, call: Call) -> ask.Similarities:
    """Similarity matrix of items or categories."""
    space = _space(request, call.progress)
    if request.codes is None and not request.column:
        rows = _checked(request.rows, space)
        rows = rows[space.index[rows] >= 0]
        if not len(rows):
            raise InputError("None of these items has a vector in this space; index the collection first.")
        found = similarity.of_items(space.rows, space.index[rows])
        return ask.Similarities(found.values, found.order, found.merges, rows, ())
    codes, names = (
        (request.codes, request.names)
        if request.codes is not None
        else _categories(request.folder, request.column)
    )
    groups = _of_vectors(space, codes)
    groups[~space.rows.usable] = -1
    there = np.unique(groups[groups >= 0])
    if not len(there):
        raise InputError("None of these categories has an item with a vector; index the collection first.")
    numbered = np.where(groups >= 0, np.searchsorted(there, groups), -1).astype(np.int32)
    found = similarity.of_groups(space.rows, numbered, len(there), call.progress)
    left = tuple(names[code] for code in there)
    return ask.Similarities(found.values, found.order, found.merges, there.astype(np.int64), left)


def duplicates(request: ask.FindDuplicates, call: Call) -> ask.Duplicates:
    """Find near-duplicates."""
    if not -1 <= request.least <= 1:
        raise InputError("A cosine lies between -1 and 1; choose a threshold such as 0.97.")
    space = _space(request, call.progress)
    used = space.rows.sample(len(space.rows), among=np.flatnonzero(space.used))
    groups, cosines = near_duplicates(space.prepare(call.progress), request.least, used, call.progress)
    own = np.bincount(space.index[space.index >= 0], minlength=len(space.rows))
    alone = np.setdiff1d(np.flatnonzero(own > 1), np.concatenate([*groups, np.zeros(0, np.int64)]))
    found = [space.items_with(group) for group in (*groups, *alone[:, None])]
    values = np.concatenate([cosines, np.ones(len(alone), np.float32)])  # equal contents share a vector
    order = sorted(range(len(found)), key=lambda place: (-len(found[place]), int(found[place][0])))
    return ask.Duplicates(tuple(found[place] for place in order), values[order])


def measure_pairs(request: ask.MeasurePairs, call: Call) -> ask.PairMeasures:
    """R@k and alignment of items that belong together."""
    space = _space(request, call.progress)
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        kinds = catalogue.table().kinds[: len(space.index)]
    codes, _ = _categories(request.folder, request.column)
    codes = np.where(space.index >= 0, codes[: len(space.index)], -1)
    ways, measured = [], []
    for asked, wanted in kinds_paired(codes, kinds):
        one, other = pairs_of(codes, kinds, asked, wanted)
        firsts, seconds = space.index[one], space.index[other]
        found = retrieval(space.rows, firsts, seconds, request.counts, call.progress)
        ways.append(
            ask.PairRetrieval(
                asked,
                wanted,
                found.at,
                found.median_rank,
                found.by_chance,
                found.median_by_chance,
                len(found.queries),
                found.targets,
            )
        )
        once = one < other if asked == wanted else np.full(len(one), asked < wanted)
        measured.append((firsts[once], seconds[once]))  # the other direction has the same pairs
    if not ways:
        raise InputError(
            f"No two items of this space have the same “{request.column}”; choose a column that tells what"
            " belongs together."
        )
    firsts, seconds = (np.concatenate(side) for side in zip(*measured, strict=True))
    apart = alignment(space.rows, firsts, seconds)
    by_chance = alignment_by_chance(space.rows, firsts, seconds)
    return ask.PairMeasures(len(firsts), apart, by_chance, tuple(ways))


# --- inside ----------------------------------------------------------------------------------------------
def _space(request: ask.StructureRequest, progress: Progress) -> Space:
    return SPACES.get(request.folder, request.space_id, progress, closed_gap=request.closed)


def _checked(rows: ask.Rows, space: Space) -> ask.Rows:
    rows = np.asarray(rows, np.int64)
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(space.index)):
        raise InputError("One of these items is not in the collection; choose others.")
    return rows


def _categories(folder: str, column: str) -> tuple[Codes, tuple[str, ...]]:
    """Codes [N] and names of a column of words."""
    with Catalogue.open(folder, readonly=True) as catalogue:
        found = catalogue.column(column)
    if not isinstance(found, tuple):
        raise InputError(f"“{column}” is a column of numbers; choose one of words.")
    return found


def _of_vectors(space: Space, codes: Codes) -> Codes:
    """The code of each vector [V]; that of the first item that has one, where several share it."""
    whole = np.full(len(space.rows), -1, np.int32)
    count = min(len(codes), len(space.index))
    has = np.flatnonzero((space.index[:count] >= 0) & (codes[:count] >= 0))[::-1]
    whole[space.index[has]] = codes[has]
    return whole


def _names(request: ask.ClusterSpace, groups: Codes, count: int) -> tuple[str, ...]:
    if request.column:
        codes, labels = _categories(request.folder, request.column)
        names = names_by_labels(groups, count, codes[: len(groups)], labels)
        if all(names):
            return names
    else:
        names = ("",) * count
    rows = np.flatnonzero(groups >= 0)
    if len(rows) > _TEXTS_READ:
        rows = np.sort(np.random.default_rng(0).choice(rows, _TEXTS_READ, replace=False))
    with Catalogue.open(request.folder, readonly=True) as catalogue:
        texts = [item.text or item.name for item in catalogue.items(rows)]
    spoken = names_by_texts(groups, count, rows.tolist(), texts)
    return tuple(known or told for known, told in zip(names, spoken, strict=True))


def _laid_on(folder: str, maps: tuple[str, str]) -> FloatArray:
    """The second map turned, mirrored and scaled so that it lies on the first as well as can be."""
    with Catalogue.open(folder, readonly=True) as catalogue:
        goal, start = (catalogue.coordinates(name).xy for name in maps)
    there = np.isfinite(goal).all(axis=1) & np.isfinite(start).all(axis=1)
    laid: FloatArray = procrustes(start[there], goal[there]).apply(start)
    return laid
