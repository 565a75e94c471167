"""What a figure shows, as plain frozen values: made in the window or a script, drawn elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.media.geometry import ImageGeometry, Interpolation, TimeGeometry
from mmviewer.core.types import MapKind, Modality

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MapStyle:
    """How maps of a figure are painted; changes no number.

    `vmin` and `vmax` None: from zero to the largest value, or symmetric about zero for signed maps.
    """

    colormap: str = "inferno"
    opacity: float = 0.65
    interpolation: Interpolation = "bilinear"
    vmin: float | None = None
    vmax: float | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImageMapFigure:
    """A picture with the map of one token (or several, combined) over it.

    Parameters
    ----------
    pixels : uint8 array [h, w, 3]
        The picture; may be a reduced copy, since axes and map follow `geometry`.
    grid : float32 array [R, C]
        The map over patches.
    geometry : ImageGeometry
    token : str
        What the map is of, as on its chip.
    description : str
        One line: method, place, layer, head, as in `TokenMaps.description`.
    kind : MapKind
    title : str
        Name of the item.
    score : str
        Of what an attribution is.
    caveat : str
        What to keep in mind when reading it.
    style : MapStyle
    show_patches : bool
        Whether to draw the borders of patches.
    show_map : bool
        False draws the bare picture.
    """

    pixels: Pixels
    grid: FloatArray
    geometry: ImageGeometry
    token: str
    description: str = ""
    kind: MapKind = MapKind.ATTENTION
    title: str = ""
    score: str = ""
    caveat: str = ""
    style: MapStyle = MapStyle()
    show_patches: bool = False
    show_map: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class TimeMapFigure:
    """Waveform, spectrogram and the map of one token along time.

    Parameters
    ----------
    samples : float32 array [N]
        The whole sound, mono.
    sample_rate : int
    values : float32 array [P]
        The map over positions.
    geometry : TimeGeometry
    """

    samples: FloatArray
    sample_rate: int
    values: FloatArray
    geometry: TimeGeometry
    token: str
    description: str = ""
    kind: MapKind = MapKind.ATTENTION
    title: str = ""
    score: str = ""
    caveat: str = ""
    style: MapStyle = MapStyle()


@dataclass(frozen=True, slots=True, eq=False)
class TokenStripFigure:
    """Small multiples: the maps of the chosen tokens of a caption, transcript or query.

    Parameters
    ----------
    values : float32 array [T, R, C] or [T, P]
        One map per token, in order.
    tokens : tuple of str
        T of them, as on their chips.
    geometry : ImageGeometry or TimeGeometry
    pixels : uint8 array [h, w, 3] or None
        The picture, for maps over patches.
    samples : float32 array [N] or None
        The sound at `sample_rate`, for maps along time.
    probabilities : tuple of float or None
        Of each token; empty when there are none.
    text : str
        The whole caption, transcript or query.
    shared_scale : bool
        One colour scale for all tokens instead of one for each.
    """

    values: FloatArray
    tokens: tuple[str, ...]
    geometry: ImageGeometry | TimeGeometry
    pixels: Pixels | None = None
    samples: FloatArray | None = None
    sample_rate: int = 16_000
    probabilities: tuple[float | None, ...] = ()
    text: str = ""
    description: str = ""
    kind: MapKind = MapKind.ATTENTION
    title: str = ""
    score: str = ""
    caveat: str = ""
    style: MapStyle = MapStyle()
    shared_scale: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ScoreFigure:
    """Zero-shot scores: bars for one item, a table for several.

    Parameters
    ----------
    labels : tuple of str
        M labels.
    probabilities : float32 array [N, M]
    similarities : float32 array [N, M]
        Cosine similarities.
    items : tuple of str
        Names of N items.
    activation : str
        "softmax" or "sigmoid".
    templates : tuple of str
    pixels : uint8 array [h, w, 3] or None
        The item, drawn small beside its bars.
    sort : bool
        Whether the bars stand in order of their probability.
    """

    labels: tuple[str, ...]
    probabilities: FloatArray
    similarities: FloatArray
    items: tuple[str, ...]
    activation: str = "softmax"
    templates: tuple[str, ...] = ()
    title: str = ""
    pixels: Pixels | None = None
    sort: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class ScatterFigure:
    """Items and texts as points of the plane.

    Parameters
    ----------
    coordinates : float32 array [N, 2]
    names : tuple of str
    modalities : tuple of Modality
    method : str
        "PCA", "UMAP" ...
    details : str
        What a reader must know of the projection.
    thumbnails : tuple of uint8 array [h, w, 3] or None
        One per point, or empty.
    chosen : int or None
        The point whose neighbours are drawn.
    neighbours : tuple of (int, float)
        Points with their cosine similarity to the chosen one.
    """

    coordinates: FloatArray
    names: tuple[str, ...]
    modalities: tuple[Modality, ...]
    method: str = "PCA"
    details: str = ""
    title: str = ""
    thumbnails: tuple[Pixels | None, ...] = ()
    chosen: int | None = None
    neighbours: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MatrixItem:
    """An item of a matrix: its picture, or its sound at `sample_rate`."""

    name: str
    pixels: Pixels | None = None
    samples: FloatArray | None = None
    sample_rate: int = 16_000


@dataclass(frozen=True, slots=True, eq=False)
class MatrixCell:
    """One map of a matrix, or why there is none.

    Parameters
    ----------
    item : int
        Which of the matrix's items it lies over.
    values : float32 array [R, C] or [P], or None
    geometry : ImageGeometry, TimeGeometry or None
    low, high : float
        Ends of its colour scale, as the caller shares them out.
    unit : str
        What its numbers are; cells of one unit with the same ends are drawn beside one colour bar.
    place : str
        Layer and heads in a few words, drawn under the map.
    failure : str
        Why there is no map.
    facts : mapping
        What is needed to make this cell again; stands in the file's provenance.
    """

    item: int
    values: FloatArray | None = None
    geometry: ImageGeometry | TimeGeometry | None = None
    low: float = 0.0
    high: float = 1.0
    signed: bool = False
    unit: str = ""
    place: str = ""
    failure: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class MatrixFigure:
    """Maps side by side: small multiples with named rows and columns.

    Parameters
    ----------
    rows, columns : tuple of str
        Names of R rows and C columns.
    cells : tuple of tuple of MatrixCell
        R by C.
    items : tuple of MatrixItem
    title, subject : str
        What is compared, and over what.
    notes : tuple of str
        What all maps have in common, how their scales relate, what to keep in mind.
    shared_scale : bool
        Whether cells of one unit share a colour bar; else each has its own numbers.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[MatrixCell, ...], ...]
    items: tuple[MatrixItem, ...]
    title: str = ""
    subject: str = ""
    notes: tuple[str, ...] = ()
    style: MapStyle = MapStyle()
    shared_scale: bool = True


@dataclass(frozen=True, slots=True)
class ChangeBar:
    """How something changed.

    `value` is the change, NaN where there is none to know; `numbers` says it in words, `note` at length.
    """

    label: str
    value: float = math.nan
    numbers: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class WhatIfFigure:
    """An item before and after an intervention: texts, maps, changes of tokens and of labels.

    Parameters
    ----------
    title : str
        Name of the item.
    recipe : str
        What was changed, in words.
    texts : tuple of str
        What the model writes before and after; one where it was not written again, none for none.
    items : tuple of MatrixItem
        The item before and after, for its maps; empty where there is nothing to see.
    cells : tuple of MatrixCell
        The maps before and after, on one scale; empty for none.
    subject : str
        What the maps are of.
    tokens, labels : tuple of ChangeBar
    unit : str
        What the changes of tokens are of: "log-probability" or "similarity".
    summary : str
        What became of the whole text.
    notes : tuple of str
        What the maps are, and what to keep in mind.
    """

    title: str
    recipe: str
    texts: tuple[str, ...] = ()
    items: tuple[MatrixItem, ...] = ()
    cells: tuple[MatrixCell, ...] = ()
    subject: str = ""
    tokens: tuple[ChangeBar, ...] = ()
    labels: tuple[ChangeBar, ...] = ()
    unit: str = "log-probability"
    summary: str = ""
    notes: tuple[str, ...] = ()
    style: MapStyle = MapStyle()


@dataclass(frozen=True, slots=True, eq=False)
class AverageFigure:
    """The average map of many items beside how far they deviate from it.

    Parameters
    ----------
    mean, deviation : float32 array [R, C]
        On the common frame of the items, [1, C] along time; NaN where there is nothing.
    count : int32 array [R, C]
        How many maps have a value there.
    text : str
        What the maps look for.
    title : str
        How many maps there are.
    frame : str
        What they were registered to, in words.
    description, score : str
        As in `ImageMapFigure`.
    names : tuple of str
        Of the items.
    distances : float32 array [n]
        How far each is from the mean; NaN where that is undefined.
    maps : float32 array [n, R, C]
        Their maps on the frame.
    left_out : tuple of str
        Items without a map.
    notes : tuple of str
        What to keep in mind.
    """

    mean: FloatArray
    deviation: FloatArray
    count: NDArray[np.int32]
    text: str
    title: str
    frame: str
    description: str = ""
    kind: MapKind = MapKind.ATTENTION
    score: str = ""
    names: tuple[str, ...] = ()
    distances: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    maps: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    style: MapStyle = MapStyle()


AnyFigure = (
    ImageMapFigure
    | TimeMapFigure
    | TokenStripFigure
    | ScoreFigure
    | ScatterFigure
    | MatrixFigure
    | WhatIfFigure
    | AverageFigure
)
MapFigure = ImageMapFigure | TimeMapFigure | TokenStripFigure
