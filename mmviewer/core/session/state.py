"""What the user is looking at: one evented object that every panel watches and the workbench changes.

No Qt: signals are psygnal's, called synchronously in the thread that sets a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from psygnal import Signal

from mmviewer.core.session.annotations import Annotation
from mmviewer.core.session.pins import PinnedMap
from mmviewer.core.types import (
    Embeddings,
    HeadMaps,
    MapSpec,
    Media,
    MediaRef,
    ModelInfo,
    Projection,
    Sampling,
    Scores,
    TokenMaps,
    TokenSequence,
)


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How a map is painted; changes no number.

    `opacity` 0..1 of the map over the picture; `interpolation` "bilinear", "bicubic" or "nearest" (patches
    as they are); `shared_scale`: one colour scale for all tokens of a sequence; `show_regions`: all regions
    of the item and not only the chosen one.
    """

    opacity: float = 0.65
    colormap: str = "inferno"
    interpolation: str = "bilinear"
    shared_scale: bool = False
    show_grid: bool = False
    show_map: bool = True
    show_regions: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LibraryItem:
    """An item in the library: the decoded media (display size) and the name the user gave it."""

    media: Media
    name: str

    @property
    def id(self) -> str:
        """Content id; unique in the library."""
        return self.media.id

    @property
    def ref(self) -> MediaRef:
        """What requests carry."""
        media = self.media
        return MediaRef(media.id, media.modality, self.name, media.path, media.text)


class SessionState:
    """The session: items, what is chosen, the current tokens and maps, models, options.

    Setting an attribute through its method emits the signal of the same subject once, only on change.
    Holds plain values; starts no work.
    """

    items_changed = Signal(tuple)  # tuple[LibraryItem, ...]
    current_changed = Signal(object)  # LibraryItem | None
    selection_changed = Signal(tuple)  # ids
    sequence_changed = Signal(object)  # TokenSequence | None
    tokens_changed = Signal(tuple)  # chosen token indices
    hovered_token_changed = Signal(object)  # int | None
    hovered_cell_changed = Signal(object)  # (row, column) | (position,) | None
    maps_changed = Signal(object)  # TokenMaps | None
    heads_changed = Signal(object)  # HeadMaps | None
    spec_changed = Signal(MapSpec)
    view_changed = Signal(ViewOptions)
    model_changed = Signal(object)  # ModelInfo | None: vision-language
    speech_model_changed = Signal(object)  # ModelInfo | None
    others_changed = Signal(tuple)  # tuple[ModelInfo, ...]: loaded beside the two above
    labels_changed = Signal(tuple, tuple)  # labels, templates
    scores_changed = Signal(object)  # Scores | None
    plane_changed = Signal(object, object)  # Embeddings | None, Projection | None
    sampling_changed = Signal(Sampling)
    annotations_changed = Signal(str)  # id of the item
    region_changed = Signal(object)  # Annotation | None
    pins_changed = Signal(tuple)  # tuple[PinnedMap, ...]

    def __init__(self) -> None:
        self.items: tuple[LibraryItem, ...] = ()
        self.current: LibraryItem | None = None
        self.selection: tuple[str, ...] = ()
        self.sequence: TokenSequence | None = None
        self.tokens: tuple[int, ...] = ()
        self.hovered_token: int | None = None
        self.hovered_cell: tuple[int, ...] | None = None
        self.maps: TokenMaps | None = None
        self.heads: HeadMaps | None = None
        self.spec = MapSpec()
        self.view = ViewOptions()
        self.model: ModelInfo | None = None
        self.speech_model: ModelInfo | None = None
        self.others: tuple[ModelInfo, ...] = ()
        self.labels: tuple[str, ...] = ()
        self.templates: tuple[str, ...] = ("a {}",)
        self.scores: Scores | None = None
        self.embeddings: Embeddings | None = None
        self.projection: Projection | None = None
        self.sampling = Sampling()
        self.annotations: dict[str, tuple[Annotation, ...]] = {}
        self.region: Annotation | None = None
        self.pins: tuple[PinnedMap, ...] = ()

    # --- library -----------------------------------------------------------------------------------
    def item(self, item_id: str) -> LibraryItem | None:
        """The item with `item_id`, or None."""
        return next((item for item in self.items if item.id == item_id), None)

    def set_items(self, items: Iterable[LibraryItem]) -> None:
        """Replace the library; the current item and the selection stay if still there."""
        self.items = tuple(items)
        self.items_changed.emit(self.items)
        ids = {item.id for item in self.items}
        self.set_selection(tuple(i for i in self.selection if i in ids))
        if self.current is not None:
            self.set_current(self.item(self.current.id))

    def set_current(self, item: LibraryItem | None) -> None:
        """Choose the item everything is about; a region of another item is let go."""
        former = self.current
        self._set("current", item, self.current_changed)
        if (former and former.id) != (item and item.id):
            self.set_region(None)

    def set_selection(self, ids: tuple[str, ...]) -> None:
        """Choose several items (compare, remove, embed)."""
        self._set("selection", ids, self.selection_changed)

    # --- tokens and maps --------------------------------------------------------------------------------
    def set_sequence(self, sequence: TokenSequence | None) -> None:
        """Show other tokens; the chosen and hovered ones are dropped when the text is another."""
        before = self.sequence
        same = before is not None and sequence is not None and _continues(before, sequence)
        self._set("sequence", sequence, self.sequence_changed)
        if not same:
            self.set_hovered_token(None)
            self.set_tokens(())

    def set_tokens(self, indices: tuple[int, ...]) -> None:
        """Choose tokens; their maps are combined."""
        self._set("tokens", tuple(sorted(set(indices))), self.tokens_changed)

    def set_hovered_token(self, index: int | None) -> None:
        """Show one token's map while the pointer is on it."""
        self._set("hovered_token", index, self.hovered_token_changed)

    def set_hovered_cell(self, cell: tuple[int, ...] | None) -> None:
        """The grid position under the pointer in the picture."""
        self._set("hovered_cell", cell, self.hovered_cell_changed)

    def set_maps(self, maps: TokenMaps | None) -> None:
        """Take the maps of the current sequence."""
        self._set("maps", maps, self.maps_changed)

    def set_heads(self, heads: HeadMaps | None) -> None:
        """Take the layer-by-head maps of the chosen tokens."""
        self._set("heads", heads, self.heads_changed)

    def set_spec(self, spec: MapSpec) -> None:
        """Choose method, point, layer and head."""
        self._set("spec", spec, self.spec_changed)

    def update_view(self, **changes: Any) -> None:
        """Change painting options by name."""
        self._set("view", replace(self.view, **changes), self.view_changed)

    # --- regions -----------------------------------------------------------------------------------------
    def annotations_of(self, item_id: str) -> tuple[Annotation, ...]:
        """Regions marked on an item, in the order in which they were drawn."""
        return self.annotations.get(item_id, ())

    def set_annotations(self, item_id: str, annotations: Iterable[Annotation]) -> None:
        """Replace the regions of an item; the chosen one follows its change, or is let go with it."""
        after = tuple(annotations)
        if self.annotations_of(item_id) == after:
            return
        self.annotations[item_id] = after
        self.annotations_changed.emit(item_id)
        if self.region is not None and self.current is not None and self.current.id == item_id:
            wanted = self.region.id
            self.set_region(next((each for each in after if each.id == wanted), None))

    def set_region(self, region: Annotation | None) -> None:
        """Choose the region of the current item that maps are measured against, or none."""
        self._set("region", region, self.region_changed)

    def pin(self, pinned: PinnedMap) -> None:
        """Keep a map in sight; the same one is kept once."""
        if all(each.key != pinned.key for each in self.pins):
            self._set("pins", (*self.pins, pinned), self.pins_changed)

    def unpin(self, pinned: PinnedMap) -> None:
        """Let a pinned map go."""
        self._set("pins", tuple(each for each in self.pins if each is not pinned), self.pins_changed)

    # --- models, labels, plane -----------------------------------------------------------------------------
    def set_model(self, info: ModelInfo | None) -> None:
        """The vision-language model in use."""
        self._set("model", info, self.model_changed)

    def set_speech_model(self, info: ModelInfo | None) -> None:
        """The speech model in use."""
        self._set("speech_model", info, self.speech_model_changed)

    def set_others(self, infos: Iterable[ModelInfo]) -> None:
        """The models that are loaded beside the two in use."""
        self._set("others", tuple(infos), self.others_changed)

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """All loaded models, those in use first."""
        in_use = (self.model, self.speech_model)
        return (*(info for info in in_use if info is not None), *self.others)

    def set_labels(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> None:
        """Zero-shot labels and templates as typed (cleaned of blanks and repeats by the panel)."""
        if (labels, templates) != (self.labels, self.templates):
            self.labels, self.templates = labels, templates
            self.labels_changed.emit(labels, templates)

    def set_scores(self, scores: Scores | None) -> None:
        """Take zero-shot scores."""
        self._set("scores", scores, self.scores_changed)

    def set_plane(self, embeddings: Embeddings | None, projection: Projection | None) -> None:
        """Take embeddings and where they lie in the plane."""
        self.embeddings, self.projection = embeddings, projection
        self.plane_changed.emit(embeddings, projection)

    def set_sampling(self, sampling: Sampling) -> None:
        """How captions are sampled."""
        self._set("sampling", sampling, self.sampling_changed)

    def _set(self, name: str, value: Any, signal: Any) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)
            signal.emit(value)


def _continues(before: TokenSequence, after: TokenSequence) -> bool:
    """Whether `after` is the same sequence, perhaps with more tokens streamed in."""
    return (
        before.kind == after.kind
        and before.media_id == after.media_id
        and before.model_id == after.model_id
        and after.text.startswith(before.text)
    )
