"""What the window asks about the structure of a space of a collection: frozen values, light to import.

Rows are those of the collection; everything travels as arrays over them, or as arrays of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.types import FloatArray
from mmviewer.engine.protocol import Request

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StructureRequest(Request):
    """Root of these requests; with `closed` each kind of item is centred on its own mean first."""

    folder: str
    space_id: str
    closed: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class PrepareSearch(StructureRequest):
    """Read or make the index of a large space, in the background. Done: `SearchState`.

    Until it is done, and after a cancel, every vector is looked at.
    """


@dataclass(frozen=True, slots=True)
class ClusterSpace(StructureRequest):
    """Find groups by density. Done: `SpaceClusters`.

    `least` items make a group (0: a number that fits); with `fine`, many small ones are preferred. They are
    named by `column`, a column of categories or hand labels, else by their texts and file names.
    """

    least: int = 0
    fine: bool = False
    column: str = ""


@dataclass(frozen=True, slots=True)
class CompareSpaces(StructureRequest):
    """Compare with the space of another model in the same collection. Done: `SpaceAgreement`.

    With a `map` (a kept one's name) for both, the second is turned, mirrored and scaled to lie on the first.
    """

    other_id: str = ""
    neighbours: int = 15
    maps: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CompareItems(StructureRequest):
    """Cosines of some items with one another, in the order of a dendrogram. Done: `Similarities`.

    With a `column` instead of `rows`, the mean cosines of its categories; with `codes` [N] into `names`,
    those of any groups. What has no vector is left out.
    """

    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    column: str = ""
    codes: NDArray[np.int32] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FindDuplicates(StructureRequest):
    """Groups of items that are nearly or wholly the same. Done: `Duplicates`."""

    least: float = 0.97


@dataclass(frozen=True, slots=True)
class MeasurePairs(StructureRequest):
    """How well items that belong together are found. Done: `PairMeasures`.

    Those with equal values of `column` belong together, where they are of two different kinds (an image and
    its text), or all if they are of one.
    """

    column: str
    counts: tuple[int, ...] = (1, 5, 10)


# --- values ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SearchState:
    """How a space is searched: every vector (`exact`), or with a recall measured for `count` neighbours."""

    exact: bool
    vectors: int
    recall: float = 1.0
    count: int = 0
    queries: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SpaceClusters:
    """Groups: int32 [N] over rows, the largest group 0, -1 for none; a name and a size for each."""

    groups: NDArray[np.int32]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    details: str


@dataclass(frozen=True, slots=True, eq=False)
class SpaceAgreement:
    """Two spaces of the same items.

    Parameters
    ----------
    overlap : float32 array [N]
        Share of the nearest neighbours that both spaces give an item; NaN where it was not compared.
    mean, by_chance : float
        Mean of it, and what it would be if they had nothing to do with each other.
    disparity : float
        What a rotation of one on the other leaves: 0 if all fits, 1 if nothing does.
    neighbours, compared : int
    other_xy : float32 array [N, 2] or None
        The second map laid on the first.
    """

    overlap: FloatArray
    mean: float
    by_chance: float
    disparity: float
    neighbours: int
    compared: int
    other_xy: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Similarities:
    """Cosines float32 [M, M] of rows or categories, the order of the leaves [M], merges as scipy has them.

    `rows` [M] are the items, or with `names` [M] the codes of the categories.
    """

    values: FloatArray
    order: Rows
    merges: NDArray[np.float64]
    rows: Rows
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Groups of rows, and the cosine of the least similar pair that holds each together."""

    groups: tuple[Rows, ...]
    cosines: FloatArray


@dataclass(frozen=True, slots=True)
class PairRetrieval:
    """R@k of one kind (code) searched by another: ((k, share), ...), and the median rank of the partner.

    `by_chance` and `median_by_chance` are what a random order would reach.
    """

    asked: int
    found: int
    at: tuple[tuple[int, float], ...]
    median_rank: float
    by_chance: tuple[tuple[int, float], ...]
    median_by_chance: float
    queries: int
    targets: int


@dataclass(frozen=True, slots=True)
class PairMeasures:
    """Alignment of the pairs (mean squared distance), and retrieval in both directions.

    `alignment_by_chance` is that of the same items paired at random.
    """

    pairs: int
    alignment: float
    alignment_by_chance: float
    retrieval: tuple[PairRetrieval, ...]
