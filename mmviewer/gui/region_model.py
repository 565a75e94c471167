"""What regions, heads and pinned maps show, worked out from the session: pure functions, NumPy only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mmviewer.core.explain.measures import agreement
from mmviewer.core.explain.selection import show
from mmviewer.core.session.annotations import Annotation, RegionShares, region_shares
from mmviewer.core.session.pins import PinnedMap
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import FloatArray, Geometry, HeadMaps, MapSpec, Modality, TokenMaps
from mmviewer.gui.view_model import Basis, method_label, resolve, token_words
from mmviewer.gui.widgets.region_tools import Region


def listed_regions(state: SessionState) -> tuple[Region, ...]:
    """Regions of the current item as the widgets take them."""
    item = state.current
    if item is None:
        return ()
    fits = ("span",) if item.media.modality is Modality.AUDIO else ("box", "polygon")
    return tuple(
        Region(each.id, each.label, each.colour, each.kind, each.points)
        for each in state.annotations_of(item.id)
        if each.kind in fits
    )


def shown_regions(state: SessionState) -> tuple[Region, ...]:
    """Regions to draw over the current item: all of them, or only the chosen one."""
    listed = listed_regions(state)
    if state.view.show_regions:
        return listed
    return tuple(each for each in listed if state.region is not None and each.id == state.region.id)


def token_shares(state: SessionState) -> RegionShares | None:
    """How much of each token's map lies in the chosen region, [T].

    None without map or region, and where a target gives all tokens the same map.
    """
    maps, region = state.maps, state.region
    if maps is None or region is None or maps.spec.target is not None or not _maps_fit(state):
        return None
    return _token_shares(maps, region)


def head_shares(state: SessionState) -> RegionShares | None:
    """How much of each head's map lies in the chosen region, [L, H]; None without heads or region."""
    heads, region = state.heads, state.region
    if heads is None or region is None or state.current is None or heads.media_id != state.current.id:
        return None
    return _head_shares(heads, region)


def shown_share(state: SessionState) -> RegionShares | None:
    """How much of the map of the chosen tokens (of the whole text without any) lies in the region, []."""
    maps, region = state.maps, state.region
    if maps is None or region is None or not _maps_fit(state):
        return None
    chosen = tuple(index for index in state.tokens if index < len(maps.values))
    return region_shares(show(maps, chosen).grid, _mask(region, maps.geometry), maps.geometry)


def agreements(heads: HeadMaps | None, reference: TokenMaps | None) -> FloatArray | None:
    """Spearman's rank correlation of each head [L, H] with the reference's map of the same tokens.

    None where the two are of different items or grids.
    """
    if heads is None or reference is None or heads.media_id != reference.media_id:
        return None
    if heads.values.shape[2:] != reference.values.shape[1:]:
        return None
    return _agreements(heads, reference)


def sink_cells(maps: TokenMaps | None, item: LibraryItem | None) -> tuple[tuple[int, ...], ...]:
    """Rows and columns, or positions, that draw weight whatever is asked, in the maps of `item`."""
    if maps is None or item is None or maps.media_id != item.id or not len(maps.values):
        return ()
    shape = maps.values.shape[1:]
    size = int(np.prod(shape))
    places = [np.unravel_index(position, shape) for position in maps.sinks if 0 <= position < size]
    return tuple(tuple(int(each) for each in place) for place in places)


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _maps_fit(state: SessionState) -> bool:
    """Whether the maps belong to the item and text that are shown."""
    maps, sequence, item = state.maps, state.sequence, state.current
    if maps is None or sequence is None or item is None or maps.media_id != item.id:
        return False
    return len(maps.tokens) == len(sequence.tokens) == len(maps.values)


@lru_cache(maxsize=16)
def _mask(region: Annotation, geometry: Geometry) -> FloatArray:
    return region.mask(geometry)


@lru_cache(maxsize=4)
def _token_shares(maps: TokenMaps, region: Annotation) -> RegionShares:
    return region_shares(maps.values, _mask(region, maps.geometry), maps.geometry)


@lru_cache(maxsize=4)
def _head_shares(heads: HeadMaps, region: Annotation) -> RegionShares:
    return region_shares(heads.values, _mask(region, heads.geometry), heads.geometry)


@lru_cache(maxsize=4)
def _agreements(heads: HeadMaps, reference: TokenMaps) -> FloatArray:
    valid = max(1, getattr(heads.geometry, "valid", 1))
    cut = slice(None) if heads.values.ndim == 4 else slice(0, valid)
    chosen = tuple(index for index in heads.tokens if index < len(reference.values))
    grid = np.nan_to_num(show(reference, chosen).grid[cut])
    layers, count = heads.values.shape[:2]
    each = np.nan_to_num(heads.values[..., cut].reshape(layers * count, *grid.shape))
    return agreement([grid, *each])[0, 1:].reshape(layers, count)


def pin_of_view(state: SessionState) -> PinnedMap | None:
    """The map in the viewer, to be pinned; None while there is none."""
    snapshot = resolve(state.current, state.sequence, state.maps, state.tokens, None, state.view)
    maps, grid = state.maps, snapshot.grid
    if maps is None or grid is None or state.sequence is None:
        return None
    tokens = () if grid.basis in (Basis.WHOLE, Basis.MEAN) else grid.tokens
    return PinnedMap(
        media_id=maps.media_id,
        model_id=maps.model_id,
        text=state.sequence.text,
        subject=snapshot.title.rsplit(" · ", 1)[0],
        place=_place_words(maps.spec),
        values=grid.values,
        geometry=grid.geometry,
        spec=maps.spec,
        tokens=tokens,
        signed=maps.signed,
    )


def pin_of_head(state: SessionState, layer: int, head: int) -> PinnedMap | None:
    """The map of one head in the grid, to be pinned; None while there is none."""
    heads, sequence = state.heads, state.sequence
    if heads is None or sequence is None:
        return None
    spec = MapSpec("attention", heads.point.name, layer, head)
    return PinnedMap(
        media_id=heads.media_id,
        model_id=heads.model_id,
        text=sequence.text,
        subject=token_words(sequence, heads.tokens) if state.tokens else "all words",
        place=_place_words(spec),
        values=heads.values[layer, head],
        geometry=heads.geometry,
        spec=spec,
        tokens=state.tokens,
    )


def pins_here(state: SessionState) -> tuple[PinnedMap, ...]:
    """Pinned maps of the current item."""
    item = state.current
    return tuple(pin for pin in state.pins if item is not None and pin.media_id == item.id)


def is_head_choice(spec: MapSpec) -> bool:
    """Whether a map is the raw attention of certain heads, such as a click on the head grid asks for."""
    return spec.method == "attention" and isinstance(spec.head, int | tuple)


def _place_words(spec: MapSpec) -> str:
    """Where a map was read, short enough to stand under a small one."""
    parts = [] if spec.method == "attention" else [method_label(spec.method)]
    if spec.layer is not None:
        parts.append(f"L{spec.layer + 1}")
    if isinstance(spec.head, int):
        parts.append(f"H{spec.head + 1}")
    elif isinstance(spec.head, tuple):
        parts.append("H" + "+".join(str(each + 1) for each in spec.head))
    elif spec.layer is not None and spec.method == "attention":
        parts.append(spec.head)
    return " ".join(parts) or method_label(spec.method)
