"""The tokens of the current item and their maps: captions, transcripts, queries, explanations.

Remembers the sequence and the maps of each item and model, so that going back is instant.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import (
    Capability,
    HeadMaps,
    MapSpec,
    Modality,
    ModelInfo,
    SequenceKind,
    TokenMaps,
    TokenSequence,
)
from mmviewer.engine.protocol import Explain, ExploreHeads, Generate, Tokenize

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_MAPS_KEPT_BYTES = 256 * 2**20
_DEFAULT_METHODS: dict[SequenceKind, str] = {"query": "gradient_attention"}
"""An image encoder never reads the query, so its raw attention is the same for every word."""

_NO_EYES = "No model that looks at images is loaded: open the Model panel and load one."

_Place = tuple[str, str]
"""Item id and model id."""
_MapKey = tuple[str, str, str, str, MapSpec]


class SequenceController(QObject):
    """Keeps `state.sequence`, `state.maps` and `state.heads` in step with what is chosen."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self._shown: dict[_Place, TokenSequence] = {}
        self._generated: dict[_Place, TokenSequence] = {}
        self._asked = ""  # the last description, empty when a caption or transcript was asked for since
        self._specs: dict[tuple[str, SequenceKind], MapSpec] = {}
        self._maps: OrderedDict[_MapKey, TokenMaps] = OrderedDict()
        self._soon = QTimer(self, singleShot=True, interval=0)  # one request for changes that come together
        self._soon.timeout.connect(self.refresh_maps)

        self._state.current_changed.connect(self._on_place_changed)
        self._state.model_changed.connect(self._on_place_changed)
        self._state.speech_model_changed.connect(self._on_place_changed)
        self._state.sequence_changed.connect(self._on_sequence_changed)
        self._state.spec_changed.connect(self._on_spec_changed)

    def release(self) -> None:
        """Stop watching the state."""
        self._soon.stop()
        self._state.current_changed.disconnect(self._on_place_changed)
        self._state.model_changed.disconnect(self._on_place_changed)
        self._state.speech_model_changed.disconnect(self._on_place_changed)
        self._state.sequence_changed.disconnect(self._on_sequence_changed)
        self._state.spec_changed.disconnect(self._on_spec_changed)

    # --- what a user asks --------------------------------------------------------------------------------
    def generate(self) -> None:
        """Caption the current image or transcribe the current sound, streaming."""
        item = self._state.current
        if item is None or item.media.modality is Modality.TEXT:
            self._workbench.notice.emit("Choose an image or a sound first.", "info")
            return
        model = self._workbench.model_for(item)
        if model is None:
            self._without_model(item)
            return
        if not _can_generate(model, item):
            what = "transcribe" if item.media.modality is Modality.AUDIO else "caption"
            self._workbench.notice.emit(
                f"{model.label} cannot {what}: it has no decoder. Type a description in the field at the top,"
                " or load a CoCa model in the Model panel.",
                "info",
            )
            return
        self._asked = ""
        verb = "Transcribing" if item.media.modality is Modality.AUDIO else "Captioning"
        self._activities.run(
            "sequence",
            f"{verb} {item.name}",
            Generate(model.id, item.ref, self._state.sampling),
            done=self._take_generated,
            partial=self._show_if_current,
        )

    def query(self, text: str) -> None:
        """Show the tokens and maps of a typed description; an empty one brings the caption back."""
        item, text = self._state.current, text.strip()
        model = self._workbench.model_for(item)
        if item is None or item.media.modality is not Modality.IMAGE or model is None:
            if text:
                self._cannot_look(item)
            return
        self._asked = text
        if not text:
            self._activities.cancel("sequence")
            self._activities.clear_error("sequence")
            self._show_generated(item, model)
            return
        self._activities.run(
            "sequence",
            "Reading the description",
            Tokenize(model.id, item.ref, text),
            done=self._take,
            visible=False,
        )

    def again(self) -> None:
        """Ask once more for what was asked last: the typed description, else the caption or transcript."""
        if self._asked:
            self.query(self._asked)
        else:
            self.generate()

    def refresh_maps(self) -> None:
        """Ask for the maps of the finished sequence, unless they are there."""
        item, sequence = self._state.current, self._state.sequence
        model = self._workbench.model_for(item)
        if item is None or model is None or sequence is None or not model.methods:
            self._activities.cancel("maps")
            self._activities.clear_error("maps")
            self._state.set_maps(None)
            return
        self._drop_foreign_maps(sequence)
        if not sequence.finished or not sequence.tokens:
            return
        spec = self._fitting_spec(model, sequence.kind)
        key = _map_key(sequence, spec)
        if key in self._maps:
            self._maps.move_to_end(key)
            self._activities.cancel("maps")
            self._activities.clear_error("maps")
            self._state.set_maps(self._maps[key])
            return
        self._activities.run(
            "maps",
            "Looking where it looked",
            Explain(model.id, item.ref, sequence, spec),
            done=lambda maps: self._take_maps(key, maps),
        )

    def refresh_heads(self) -> None:
        """Ask for all layers by all heads of the chosen tokens (of all words when none is chosen)."""
        item, sequence = self._state.current, self._state.sequence
        model = self._workbench.model_for(item)
        if item is None or model is None or sequence is None or not sequence.finished or not sequence.tokens:
            self._activities.cancel("heads")
            self._state.set_heads(None)
            return
        words = tuple(token.index for token in sequence.tokens if not token.special)
        tokens = self._state.tokens or words or (sequence.tokens[0].index,)
        point = self._fitting_spec(model, sequence.kind).point

        def done(heads: HeadMaps) -> None:
            if self._state.sequence is not None and _same_place(self._state.sequence, sequence):
                self._state.set_heads(heads)

        self._activities.run(
            "heads",
            "Looking at all heads",
            ExploreHeads(model.id, item.ref, sequence, tokens, point),
            done=done,
        )

    # --- answers -----------------------------------------------------------------------------------------
    def _take_generated(self, sequence: TokenSequence) -> None:
        self._generated[sequence.media_id, sequence.model_id] = sequence
        self._take(sequence)

    def _take(self, sequence: TokenSequence) -> None:
        self._shown[sequence.media_id, sequence.model_id] = sequence
        self._show_if_current(sequence)

    def _show_if_current(self, sequence: TokenSequence) -> None:
        item = self._state.current
        model = self._workbench.model_for(item)
        if item is not None and model is not None and _place(sequence) == (item.id, model.id):
            self._state.set_sequence(sequence)

    def _take_maps(self, key: _MapKey, maps: TokenMaps) -> None:
        self._maps[key] = maps
        size = sum(kept.values.nbytes for kept in self._maps.values())
        while size > _MAPS_KEPT_BYTES and len(self._maps) > 1:
            _, oldest = self._maps.popitem(last=False)
            size -= oldest.values.nbytes
        sequence = self._state.sequence
        if sequence is not None and key[:4] == _map_key(sequence, MapSpec())[:4]:
            self._state.set_maps(maps)

    # --- changes -----------------------------------------------------------------------------------------
    def _on_place_changed(self, _changed: object) -> None:
        """Another item or model: show what is remembered of it, else make it."""
        item = self._state.current
        model = self._workbench.model_for(item)
        if item is None or model is None:
            self._state.set_sequence(None)
            self._soon.start()
            return
        showing = self._state.sequence
        if showing is not None and _place(showing) == (item.id, model.id):
            return
        self._activities.clear_error("sequence")  # of the former item
        self._state.set_sequence(self._shown.get((item.id, model.id)))
        self._soon.start()
        wanted = self._workbench.settings.generate_on_choose and _can_generate(model, item)
        if self._state.sequence is None and wanted:
            self.generate()

    def _on_sequence_changed(self, _sequence: TokenSequence | None) -> None:
        self._state.set_heads(None)
        self._soon.start()

    def _on_spec_changed(self, spec: MapSpec) -> None:
        sequence = self._state.sequence
        if sequence is not None:
            self._specs[sequence.model_id, sequence.kind] = spec
        self._soon.start()

    def _show_generated(self, item: LibraryItem, model: ModelInfo) -> None:
        generated = self._generated.get((item.id, model.id))
        if generated is not None:
            self._take(generated)
        else:
            self._shown.pop((item.id, model.id), None)
            self._state.set_sequence(None)
            if _can_generate(model, item):
                self.generate()

    def _cannot_look(self, item: LibraryItem | None) -> None:
        """Say why a description is not looked for."""
        if item is not None and item.media.modality is Modality.IMAGE:
            self._without_model(item)
        else:
            self._workbench.notice.emit(
                "A description is looked for in an image: choose an image first.", "info"
            )

    def _without_model(self, item: LibraryItem) -> None:
        if item.media.modality is Modality.AUDIO:
            self._workbench.models.with_speech(self.generate)
        else:
            self._workbench.notice.emit(_NO_EYES, "info")

    def _fitting_spec(self, model: ModelInfo, kind: SequenceKind) -> MapSpec:
        """What was last wanted for such a sequence, as far as `model` has it; else defaults."""
        spec = self._specs.get((model.id, kind), MapSpec(_DEFAULT_METHODS.get(kind, MapSpec().method)))
        if spec.method not in model.methods:
            spec = MapSpec(method=model.methods[0]) if model.methods else MapSpec()
        if spec.point is not None and spec.point not in {point.name for point in model.points}:
            spec = replace(spec, point=None, layer=None, head="mean")
        self._specs[model.id, kind] = spec
        self._state.set_spec(spec)
        return spec

    def _drop_foreign_maps(self, sequence: TokenSequence) -> None:
        """Maps of another item or text would lie; those of the former keystroke of a query may stay."""
        maps = self._state.maps
        if maps is None:
            return
        foreign = (maps.media_id, maps.model_id) != _place(sequence)
        other_text = [token.text for token in maps.tokens] != [token.text for token in sequence.tokens]
        if foreign or (other_text and sequence.kind != "query"):
            self._state.set_maps(None)


def _place(sequence: TokenSequence) -> _Place:
    return sequence.media_id, sequence.model_id


def _same_place(one: TokenSequence, other: TokenSequence) -> bool:
    return _place(one) == _place(other) and one.text == other.text


def _map_key(sequence: TokenSequence, spec: MapSpec) -> _MapKey:
    ids = ",".join(str(token.id) for token in sequence.tokens)
    return sequence.media_id, sequence.model_id, sequence.kind, f"{sequence.text}\n{ids}", spec


def _can_generate(model: ModelInfo, item: LibraryItem) -> bool:
    modality = item.media.modality
    if modality is Modality.IMAGE:
        return model.can(Capability.CAPTION)
    return modality is Modality.AUDIO and model.can(Capability.TRANSCRIBE)
