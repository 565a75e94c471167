"""What a window needs to know of an attribution method, as plain values (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmviewer.core.types import MapKind, SequenceKind


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """An attribution method as one model offers it.

    Parameters
    ----------
    key, label, explanation : str
        Its name in a `MapSpec`, its name for people, and what it is in one sentence.
    kind : MapKind
        Only attribution has a score, and so a target and a contrast.
    signed : bool
        Whether values below zero mean "against".
    picks_layer, picks_heads : bool
        Whether a layer, or heads, can be chosen.
    points : tuple of (SequenceKind, tuple of str)
        For each kind of sequence that it explains, the capture points it can be read at, the default first;
        "input" stands for the model as a whole.
    """

    key: str
    label: str
    explanation: str
    kind: MapKind
    signed: bool
    picks_layer: bool
    picks_heads: bool
    points: tuple[tuple[SequenceKind, tuple[str, ...]], ...]

    def points_for(self, kind: SequenceKind) -> tuple[str, ...]:
        """Capture points for a kind of sequence; empty where the method cannot explain it."""
        return dict(self.points).get(kind, ())


def by_kind(methods: Sequence[MethodInfo]) -> tuple[tuple[SequenceKind, tuple[str, ...]], ...]:
    """Keys of the methods that explain each kind of sequence, as `ModelInfo.explains` holds them."""
    kinds = dict.fromkeys(kind for method in methods for kind, _ in method.points)
    return tuple((kind, tuple(method.key for method in methods if method.points_for(kind))) for kind in kinds)
