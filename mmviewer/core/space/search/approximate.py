"""An index of a million vectors: lists around centroids (Jégou et al. 2011), by faiss, checked against all.

Each vector lies in the list of its nearest centroid as 8-bit numbers; a query reads the lists nearest to it
until enough permitted candidates were seen, and the best of these are compared again by their full vectors.
How many candidates are enough is measured when the index is built: the recall it states is that of real
queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.search.exact import MOST_RESULTS, Exact, checked_queries
from mmviewer.core.space.unit_rows import Mask, Rows, UnitRows
from mmviewer.core.types import FloatArray

WANTED_RECALL = 0.97
_ROUNDS = 10  # of k-means
_POINTS_PER_LIST = 64  # that k-means learns from
_MOST_LISTS = 4096
_SAMPLED_QUERIES = 64
_AGAIN = 2  # candidates compared by full vectors, per result wanted
_AGAIN_AT_LEAST = 48
_GATHERED = 20_000  # so few permitted rows are all looked at instead


@dataclass(frozen=True, slots=True)
class Recall:
    """How much of the truth a search finds.

    Parameters
    ----------
    value : float
        Share of the true nearest neighbours that were found.
    count : int
        How many neighbours of each query were asked for.
    queries : int
        How many were tried; 0 if it is exact by construction.
    candidates : int
        Vectors looked at for each query.
    """

    value: float
    count: int
    queries: int
    candidates: int


class Approximate:
    """Search by cosine over lists; made by `build` or `restore`.

    Parameters
    ----------
    rows : UnitRows
    centroids : float32 array [L, D]
    lists : int32 array [N]
        List of each row, -1 for rows without a direction.
    ranges : float32 array [2 D]
        Least value of each dimension and its extent, for the 8-bit numbers.
    """

    def __init__(
        self, rows: UnitRows, centroids: FloatArray, lists: NDArray[np.int32], ranges: FloatArray
    ) -> None:
        self.rows = rows
        self.centroids = centroids
        self.lists = lists
        self.ranges = ranges
        self.recall = Recall(0.0, 0, 0, _first_budget(len(rows), len(centroids)))
        self._sizes = np.bincount(lists[lists >= 0], minlength=len(centroids))
        self._exact = Exact(rows)
        self._index = _empty_index(centroids, ranges)

    @classmethod
    def build(cls, rows: UnitRows, progress: Progress = SILENT, seed: int = 0) -> Approximate:
        """Make an index of all rows; a cancel is looked at between steps of about a second."""
        centroids, ranges = _trained(rows, progress, seed)
        index = cls(rows, centroids, _assigned(rows, 0, centroids, progress), ranges)
        index._fill(progress)
        index.recall = index.tune(progress=progress, seed=seed)
        return index

    # --- on the disk ---------------------------------------------------------------------------------
    def save(self, path: Path, key: str) -> None:
        """Write what cannot be computed quickly, whole or not at all; `key` names what it was built from.

        Raises
        ------
        OSError
            The disk refuses.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        unfinished = path.with_name(path.name + ".part")
        recall = self.recall
        meta = {"key": key, "recall": f"{recall.value} {recall.count} {recall.queries} {recall.candidates}"}
        arrays = {"centroids": self.centroids, "lists": self.lists, "ranges": self.ranges}
        try:
            save_file(arrays, unfinished, meta)
        except SafetensorError as error:
            raise OSError(f"{unfinished.name} cannot be written") from error
        unfinished.replace(path)

    @classmethod
    def restore(cls, path: Path, rows: UnitRows, key: str, progress: Progress = SILENT) -> Approximate | None:
        """Read an index written by `save`, with rows added since sorted into its lists.

        None if there is none, it is broken, was built from something else, or rows became so many more that
        a new one is due. The codes are made from the vectors again: nothing read here is trusted to be whole.
        """
        stored = _read(path, key)
        if stored is None:
            return None
        centroids, lists, ranges, recall = stored
        known = len(lists)
        fits = centroids.shape[1] == rows.width and len(ranges) == 2 * rows.width
        if not (fits and known <= len(rows) <= 2 * known and lists.max(initial=-1) < len(centroids)):
            return None
        lists = np.concatenate([lists, _assigned(rows, known, centroids, progress)])
        lists[~rows.usable] = -1
        index = cls(rows, centroids, lists, ranges)
        index._fill(progress)
        index.recall = recall
        return index

    # --- searching ---------------------------------------------------------------------------------------
    def search(
        self,
        queries: FloatArray,
        count: int,
        allowed: Mask | None = None,
        progress: Progress = SILENT,
        candidates: int | None = None,
    ) -> tuple[Rows, FloatArray]:
        """As `Exact.search`; looks at about `candidates` permitted vectors a query (as measured if None)."""
        queries = checked_queries(queries, self.rows.width)
        permitted = None if allowed is None else allowed & (self.lists >= 0)
        if permitted is not None and np.count_nonzero(permitted) <= _GATHERED:
            return self._exact.search(queries, count, permitted, progress)
        count = min(max(count, 0), MOST_RESULTS, len(self.rows))
        budget = max(self.recall.candidates if candidates is None else candidates, 4 * count)
        sizes = self._sizes if permitted is None else self._permitted_sizes(permitted)
        selector = None if permitted is None else _Selector(permitted)
        best = np.full((len(queries), count), -1, np.int64)
        cosines = np.full((len(queries), count), -np.inf, np.float32)
        again = max(_AGAIN * count, count + _AGAIN_AT_LEAST)
        near = queries @ self.centroids.T  # [Q, L]
        for place, query in enumerate(queries):
            progress.check()
            found = self._candidates(query, near[place], sizes, budget, again, selector)
            scores = self.rows.take(found) @ query
            order = np.lexsort((found, -scores))[:count]
            best[place, : len(order)], cosines[place, : len(order)] = found[order], scores[order]
        return best, cosines

    def tune(
        self,
        queries: FloatArray | None = None,
        count: int = 10,
        allowed: Mask | None = None,
        wanted: float = WANTED_RECALL,
        progress: Progress = SILENT,
        seed: int = 0,
    ) -> Recall:
        """Measure how many candidates the wanted recall needs.

        Parameters
        ----------
        queries : float32 array [Q, D], optional
            Drawn from the rows, each without itself among its neighbours, if not given.
        count : int
            Neighbours of each.
        allowed : bool array [N], optional
            Only these rows are searched, as texts that look for images.
        wanted : float
            Recall to reach; if it cannot be, the last measured is returned.
        progress : Progress
        seed : int
        """
        if queries is None:
            own = self.rows.sample(_SAMPLED_QUERIES, seed)
            queries = self.rows.take(own)
        else:
            own = np.full(len(queries), -1)
        progress.report(0, None, "Measuring the recall")
        truth, _ = self._exact.search(queries, count + 1, allowed, progress)
        budget, most = _first_budget(len(self.rows), len(self.centroids)), len(self.rows)
        while True:
            found, _ = self.search(queries, count + 1, allowed, progress, budget)
            value = _share_found(found, truth, own, count)
            if value >= wanted or budget >= most:
                return Recall(value, count, len(queries), budget)
            budget = min(2 * budget, most)

    # --- inside ----------------------------------------------------------------------------------------
    def _candidates(
        self,
        query: FloatArray,
        near: FloatArray,
        sizes: NDArray[np.int64],
        budget: int,
        count: int,
        selector: _Selector | None,
    ) -> Rows:
        """Rows of the nearest lists that look best by their 8-bit numbers."""
        order = np.argsort(-np.where(sizes > 0, near, -np.inf))
        probes = 1 + int(np.searchsorted(np.cumsum(sizes[order]), budget))
        chosen = order[: min(probes, np.count_nonzero(sizes))]
        found = np.empty(min(count, len(self.rows)), np.int64)
        values = np.empty(len(found), np.float32)
        _read_lists(self._index, query, chosen, near[chosen], selector, values, found)
        rows: Rows = found[found >= 0]
        return rows

    def _permitted_sizes(self, permitted: Mask) -> NDArray[np.int64]:
        return np.bincount(self.lists[permitted], minlength=len(self.centroids))

    def _fill(self, progress: Progress) -> None:
        """Put every row into its list."""
        import faiss

        for rows, vectors in self.rows.blocks(None, progress, "Filling the index"):
            lists = self.lists[rows]
            good = lists >= 0
            block, ids, places = vectors[good], rows[good], lists[good].astype(np.int64)
            self._index.add_core(
                len(block), faiss.swig_ptr(block), faiss.swig_ptr(ids), faiss.swig_ptr(places)
            )


class _Selector:
    """Permitted rows as faiss takes them; holds the bits that faiss only points to."""

    def __init__(self, permitted: Mask) -> None:
        import faiss

        self._bits = np.packbits(permitted, bitorder="little")
        self.of_faiss: Any = faiss.IDSelectorBitmap(len(permitted), faiss.swig_ptr(self._bits))


def _read_lists(
    index: Any,
    query: FloatArray,
    lists: Rows,
    near: FloatArray,
    selector: _Selector | None,
    values: FloatArray,
    found: Rows,
) -> None:
    """Fill `found` with the best rows of chosen lists, -1 where there are fewer.

    faiss's Python wrapper of this takes no parameters, and without them every thread would share one setting.
    """
    import faiss

    settings: Any = faiss.SearchParametersIVF  # the stubs do not know the names of its parameters
    parameters = settings(nprobe=len(lists), sel=selector and selector.of_faiss)
    kept = [np.ascontiguousarray(array) for array in (query, lists.astype(np.int64), near)]
    asked, read, near_ = (faiss.swig_ptr(array) for array in kept)
    out = faiss.swig_ptr(values), faiss.swig_ptr(found)
    index.search_preassigned_c(1, asked, len(found), read, near_, *out, False, parameters)


def _empty_index(centroids: FloatArray, ranges: FloatArray) -> Any:
    """An index without vectors, trained already."""
    import faiss

    count, width = centroids.shape
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(centroids)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, width, count, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    faiss.copy_array_to_vector(ranges, index.sq.trained)
    index.is_trained = True
    return index


def _trained(rows: UnitRows, progress: Progress, seed: int) -> tuple[FloatArray, FloatArray]:
    """Centroids [L, D] and ranges [2 D] learnt from a sample."""
    import faiss

    lists = _list_count(int(np.count_nonzero(rows.usable)))
    vectors = rows.take(rows.sample(lists * _POINTS_PER_LIST, seed))
    kmeans = faiss.Kmeans(
        rows.width,
        lists,
        niter=1,
        spherical=True,
        seed=seed + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS_PER_LIST + 1,
    )
    centroids: FloatArray | None = None
    for done in range(_ROUNDS):
        progress.report(done, _ROUNDS, "Learning the lists of the index")
        kmeans.train(vectors, init_centroids=centroids)
        centroids = np.array(kmeans.centroids)
    assert centroids is not None
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    return centroids, np.concatenate([low, np.maximum(high - low, 1e-6)]).astype(np.float32)


def _assigned(rows: UnitRows, first: int, centroids: FloatArray, progress: Progress) -> NDArray[np.int32]:
    """The list of each row from `first` on; -1 where a row has no direction."""
    lists = np.full(len(rows) - first, -1, np.int32)
    rest = np.arange(first, len(rows))
    for part, vectors in rows.blocks(rest if first else None, progress, "Sorting vectors into lists"):
        lists[part - first] = (vectors @ centroids.T).argmax(axis=1)
    lists[~rows.usable[first:]] = -1
    return lists


def _list_count(count: int) -> int:
    """The power of two near the root of how many rows there are."""
    return min(_MOST_LISTS, 1 << max(0, round(float(np.log2(max(count, 1))) / 2)))


def _first_budget(rows: int, lists: int) -> int:
    """Candidates of about four lists."""
    return min(rows, 4 * max(1, rows // max(lists, 1)))


def _share_found(found: Rows, truth: Rows, own: Rows, count: int) -> float:
    """Mean share of the `count` true neighbours, the query itself left out, among those found."""
    shares = []
    for mine, true, self_row in zip(found, truth, own, strict=True):
        wanted = true[(true != self_row) & (true >= 0)][:count]
        got = mine[mine != self_row][:count]
        shares.append(np.isin(wanted, got).mean() if len(wanted) else 1.0)
    return float(np.mean(shares)) if shares else 1.0


_Stored = tuple[FloatArray, NDArray[np.int32], FloatArray, Recall]


def _read(path: Path, key: str) -> _Stored | None:
    """What `save` wrote, if it is there, whole and of `key`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            if meta.get("key") != key:
                return None
            centroids, lists, ranges = (file.get_tensor(name) for name in ("centroids", "lists", "ranges"))
            words = meta["recall"].split()
        recall = Recall(float(words[0]), *(int(word) for word in words[1:4]))
    except (OSError, SafetensorError, KeyError, ValueError, IndexError, TypeError):
        return None
    kinds = ((centroids, np.float32, 2), (lists, np.int32, 1), (ranges, np.float32, 1))
    if any(array.dtype != dtype or array.ndim != dims for array, dtype, dims in kinds) or not len(centroids):
        return None
    finite = np.isfinite(centroids).all() and np.isfinite(ranges).all()
    return (centroids, lists, ranges, recall) if finite and lists.min(initial=0) >= -1 else None
