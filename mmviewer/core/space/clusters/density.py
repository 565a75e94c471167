"""Groups by density: HDBSCAN (Campello, Moulavi and Sander 2013), by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.principal import principal_axes
from mmviewer.core.space.unit_rows import Rows, UnitRows
from mmviewer.core.types import FloatArray

NOISE = -1
MOST_CLUSTERED = 8_000
_WIDTH = 15  # directions in which density can still be told from few items
_LEAST_ITEMS = 5
_LEAST_SHARE = 0.004  # of the items, that a group has at least


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of items.

    Parameters
    ----------
    groups : int32 array [N]
        Group of each row, the largest first; -1 for items that lie between groups or have no direction.
    count : int
    fitted : int64 array [M]
        Rows among which groups were found; others belong to that of the nearest of these, or to none if they
        lie twice as far from it as its members from one another.
    details : str
        What a reader must know of them.
    """

    groups: NDArray[np.int32]
    count: int
    fitted: Rows
    details: str


def clusters(
    rows: UnitRows,
    least: int | None = None,
    *,
    fine: bool = False,
    among: Rows | None = None,
    progress: Progress = SILENT,
    most: int = MOST_CLUSTERED,
    seed: int = 0,
) -> Clusters:
    """Find groups by density in the directions in which the rows differ most.

    Parameters
    ----------
    rows : UnitRows
    least : int, optional
        Fewest items of a group, counted among those it is fitted on; 0.4 % of them, and 5, if not given.
    fine : bool
        Prefer many small groups to few large ones.
    among : int64 array, optional
        Only these rows; the others belong to no group.
    progress : Progress
        The library cannot be interrupted: a cancel is looked at before and after it.
    most : int
        Rows that groups are found among; drawn at random if there are more.
    seed : int

    Raises
    ------
    InputError
        There are too few items, or groups shall have fewer than two.
    """
    from sklearn.cluster import HDBSCAN

    fitted = rows.sample(most, seed, among)
    least = max(_LEAST_ITEMS, round(_LEAST_SHARE * len(fitted))) if least is None else least
    if not 2 <= least <= len(fitted):
        raise InputError(
            f"Groups of at least {least} items cannot be found among {len(fitted)}; choose a number between 2"
            " and that."
        )
    progress.report(0, None, "Finding groups")
    vectors = rows.take(fitted)
    mean = vectors.mean(axis=0)
    axes = principal_axes(vectors - mean.astype(np.float64))[0][:_WIDTH].astype(np.float32)
    narrow = (vectors - mean) @ axes.T
    finder = HDBSCAN(
        min_cluster_size=least,
        min_samples=min(least, _LEAST_ITEMS),
        cluster_selection_method="leaf" if fine else "eom",
        copy=True,
    )
    found = _by_size(finder.fit_predict(narrow))
    progress.check()
    groups = np.full(len(rows), NOISE, np.int32)
    groups[fitted] = found
    rest = np.setdiff1d(rows.sample(len(rows), among=among), fitted)
    _assign_rest(rows, fitted, rest, groups, (mean, axes), narrow, progress)
    count = int(found.max(initial=NOISE)) + 1
    details = f"HDBSCAN in {narrow.shape[1]} principal directions, groups of at least {least} items"
    if len(rest):
        details += f", found among {len(fitted):,} items and the others assigned to the nearest"
    return Clusters(groups, count, fitted, details)


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number groups by falling size."""
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    number = np.full(int(labels.max(initial=-1)) + 2, NOISE, np.int32)  # the last is that of -1
    number[names[np.argsort(-sizes, kind="stable")]] = np.arange(len(names))
    return number[labels]


def _assign_rest(
    rows: UnitRows,
    fitted: Rows,
    rest: Rows,
    groups: NDArray[np.int32],
    frame: tuple[FloatArray, FloatArray],
    narrow: FloatArray,
    progress: Progress,
) -> None:
    """Give rows that were not fitted the group of the nearest member, if that is near enough."""
    from scipy.spatial import KDTree

    member = groups[fitted] >= 0
    if not len(rest) or not member.any():
        return
    members, own = narrow[member], groups[fitted][member]
    tree = KDTree(members)
    reach = _reach(tree, members, own)
    mean, axes = frame
    for part, vectors in rows.blocks(rest, progress, "Assigning the other items to groups"):
        distance, nearest = tree.query((vectors - mean) @ axes.T)
        group = own[nearest]
        groups[part] = np.where(distance <= reach[group], group, NOISE)


def _reach(tree: object, members: FloatArray, own: NDArray[np.int32]) -> NDArray[np.float64]:
    """How far from a member of each group others still belong to it: twice what its members are apart.

    The median counts: one stray among the members must not open the group to all others.
    """
    distances, _ = tree.query(members, 2)  # type: ignore[attr-defined]
    groups = range(int(own.max()) + 1)
    return np.array([2 * np.median(distances[own == group, 1]) for group in groups])
