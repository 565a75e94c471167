"""Attention sinks: positions of the input that draw weight whatever is asked, and register-like tokens.

Large vision transformers keep global notes in a few patches of the background, whose hidden states then
have an outlying norm and collect attention from everywhere (Darcet et al. 2024). What lies there says nothing
about the place. Both signs are looked for in the encoder, where the queries are all places of the input: the
map of a word cannot tell a sink from the one thing that every word is about.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmviewer.core.capture.collector import capture
from mmviewer.core.explain.forward import MapStore, record
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import CapturePoint, Geometry, PointRole, TokenSequence

_DEVIATIONS = 6.0
"""Robust standard deviations above the median from which a position is an outlier."""
_TIMES_EVEN = 4.0
"""Times the even share that a position must draw besides."""
_TIMES_NORM = 1.5
"""Times the median norm that a hidden state must have besides."""
_LARGEST = 40_000_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sinks:
    """Positions, counted row by row, that draw weight from every place or have an outlying norm.

    `drawing` and `high_norm` may overlap.
    """

    drawing: tuple[int, ...] = ()
    high_norm: tuple[int, ...] = ()

    @property
    def positions(self) -> tuple[int, ...]:
        """All of them in order."""
        return tuple(sorted({*self.drawing, *self.high_norm}))

    @property
    def words(self) -> str:
        """What a description adds when they were left out."""
        count = len(self.positions)
        return f" · {count} sink{'' if count == 1 else 's'} left out" if count else " · no sinks found"

    def sentence(self, geometry: Geometry, *, left_out: bool) -> str:
        """Name them for people; empty where there are none."""
        if not self.positions:
            return ""
        named = ", ".join(_place(each, geometry) for each in self.positions[:_NAMED])
        more = len(self.positions) - _NAMED
        where = named + (f" and {more} more" if more > 0 else "")
        kinds = [
            *(["draws attention from everywhere"] if self.drawing else []),
            *(["has an outlying norm in the encoder"] if self.high_norm else []),
        ]
        state = "left out here" if left_out else "shown, though it may mean nothing there"
        return f"Attention sink at {where} ({' and '.join(kinds)}): {state}."


def find_sinks(
    model: LoadedModel, prepared: Prepared, sequence: TokenSequence, store: MapStore | None = None
) -> Sinks:
    """Find the sinks of an input in the encoder; none where the model has no encoder that shows them.

    Costs one recorded forward, unless `store` knows the answer.
    """
    point = _place_to_look(model)
    if point is None:
        return Sinks()
    info = model.info
    key: Hashable = (info.id, info.weights_hash, info.dtype, "sinks", point.name, prepared.media_id)
    kept = store.get(key) if store is not None else None
    if kept is not None:
        return Sinks(*(tuple(int(index) for index in np.flatnonzero(flags)) for flags in kept))
    tower = model.tower() if point.role is PointRole.ENCODER_SELF else None
    high = torch.zeros(0, dtype=torch.bool)
    if tower is None:
        weights: Mapping[str, Sequence[Tensor]] = record(model, prepared, sequence, [point]).weights
    else:
        with capture(model, {point.name: None}) as weights:
            hidden = tower.start([prepared])  # [1, N, W]
            for index in range(tower.layers):
                hidden = tower.layer(index, hidden)
        high = outlying(hidden[0, tower.prefix :].float().norm(dim=-1))
    rows = model.position_weights(point, weights, prepared).float().mean((0, 1))  # [Q, P]
    drawing = drawn_from_everywhere(rows)
    if store is not None:
        store.put(key, [drawing.float().cpu().numpy(), high.float().cpu().numpy()])
    return Sinks(_indices(drawing), _indices(high))


def drawn_from_everywhere(rows: Tensor) -> Tensor:
    """Flag the positions [P] that most of the query rows [Q, P] give outlying weight.

    The lower quartile over queries must lie `_DEVIATIONS` robust deviations above the median position, and be
    several times an even share.
    """
    if len(rows) < 4 or rows.shape[-1] < 4:
        return torch.zeros(rows.shape[-1], dtype=torch.bool)
    shares = rows / rows.sum(-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    from_most = shares.quantile(0.25, dim=0)  # [P]
    return _above(shares.median(0).values, from_most) & (from_most > _TIMES_EVEN / rows.shape[-1])


def outlying(norms: Tensor) -> Tensor:
    """Flag hidden states whose norm [P] is far above the others'."""
    if len(norms) < 4:
        return torch.zeros_like(norms, dtype=torch.bool)
    return _above(norms, norms) & (norms > _TIMES_NORM * norms.median())


def leave_out(values: Tensor, sinks: Sinks) -> Tensor:
    """Set the sinks of maps [..., P] to zero."""
    if not sinks.positions:
        return values
    kept = values.clone()
    kept[..., list(sinks.positions)] = 0
    return kept


def _above(population: Tensor, values: Tensor) -> Tensor:
    """Which values lie far above the median of a population, by its median absolute deviation."""
    median = population.median()
    deviation = 1.4826 * (population - median).abs().median()
    return values > median + _DEVIATIONS * deviation


def _place_to_look(model: LoadedModel) -> CapturePoint | None:
    """Where all places of the input are queries, and which is small enough to be recorded as a whole."""
    for role in (PointRole.ENCODER_SELF, PointRole.POOL):
        point = model.point(role)
        if point is None:
            continue
        queries, keys = model.attention_size(point, 1)
        if queries > 1 and point.layers * point.heads * queries * keys <= _LARGEST:
            return point
    return None


def _indices(flags: Tensor) -> tuple[int, ...]:
    return tuple(int(index) for index in flags.nonzero()[:, 0])


def _place(position: int, geometry: Geometry) -> str:
    if isinstance(geometry, ImageGeometry):
        row, column = divmod(position, geometry.grid[1])
        return f"row {row + 1}, column {column + 1}"
    first, last = geometry.span(position)
    return f"{max(first, 0):.2f} to {last:.2f} s"
