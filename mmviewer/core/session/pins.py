"""Maps that a user keeps in sight while tokens, layers and methods change."""

from __future__ import annotations

from dataclasses import dataclass

from mmviewer.core.types import FloatArray, Geometry, MapSpec


@dataclass(frozen=True, slots=True, eq=False)
class PinnedMap:
    """A map as it was when it was pinned.

    Parameters
    ----------
    media_id, model_id : str
    text : str
        The whole text that it belongs to.
    subject : str
        Whose map it is, in words: the tokens.
    place : str
        Where it was read, in short: "L3 H2", or the method.
    values : float32 array [R, C] or [P]
    geometry : ImageGeometry or TimeGeometry
    spec : MapSpec
        What makes it again.
    tokens : tuple of int
        Empty for the whole text.
    signed : bool
    """

    media_id: str
    model_id: str
    text: str
    subject: str
    place: str
    values: FloatArray
    geometry: Geometry
    spec: MapSpec
    tokens: tuple[int, ...]
    signed: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same map of the same item."""
        return self.media_id, self.model_id, self.text, self.spec, self.tokens
