"""The tokens of the current item and their maps: captions, answers, transcripts, queries, explanations.

Remembers the sequence and the maps of each item and model, so that going back is instant.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from mmviewer.core.explain.selection import content
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
from mmviewer.engine.protocol import (
    EstimateMaps,
    Explain,
    ExploreHeads,
    Generate,
    MapEstimate,
    Request,
    Tokenize,
)
from mmviewer.gui.controllers.map_costs import MapCosts, cost_words
from mmviewer.gui.target_model import fitting
from mmviewer.gui.view_model import method_labels

if TYPE_CHECKING:
    from mmviewer.gui.controllers.beside import BesideBench
    from mmviewer.gui.workbench import Workbench

_MAPS_KEPT_BYTES = 256 * 2**20
DEFAULT_METHODS: dict[SequenceKind, tuple[str, ...]] = {"query": ("gradient_attention", "gradcam")}
"""An image encoder never reads the query, so its raw attention is the same for every word; a convolutional
one has none. The first that the model has is taken."""

_NO_EARS = (
    "The loaded model does not compare sounds with words: load one that does, such as the starter, in the "
    "Model panel."
)
_NO_EYES = "No model that looks at images is loaded: open the Model panel and load one."

_Place = tuple[str, str]
"""Item id and model id."""
_TURNS_KEPT = 8
_MapKey = tuple[str, str, str, str, MapSpec]


class SequenceController(QObject):
    """Keeps `state.sequence`, `state.maps` and `state.heads` in step with what is chosen."""

    def __init__(self, workbench: Workbench | BesideBench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self._shown: dict[_Place, TokenSequence] = {}
        self._generated: dict[_Place, TokenSequence] = {}
        self._turns: dict[_Place, tuple[TokenSequence, ...]] = {}  # answers of a conversation
        self._repeat: Callable[[], None] = self.generate  # what was asked for last
        self._specs: dict[tuple[str, SequenceKind], MapSpec] = {}
        self._text: tuple[str, str] | None = None
        self.costs = MapCosts(self)
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
        sound = item.media.modality is Modality.AUDIO
        model = self._state.speech_model if sound else self._workbench.model_for(item)
        if model is None:
            self._without_model(item)
            return
        if not _can_generate(model, item):
            what = "transcribe" if sound else "caption"
            self._workbench.notice.emit(
                f"{model.label} cannot {what}: it has no decoder. Type a description in the field at the top,"
                " or load a CoCa model in the Model panel.",
                "info",
            )
            return
        self._repeat = self.generate
        drafts = self._workbench.drafts
        prompt = "" if sound else drafts.prompt
        verb = "Transcribing" if sound else "Captioning"
        self._activities.run(
            "sequence",
            f"{verb} {item.name}",
            Generate(model.id, item.ref, self._state.sampling, shots=drafts.shots(model), prompt=prompt),
            done=self.keep,
            partial=self._show_if_current,
        )

    def query(self, text: str) -> None:
        """Show the tokens and maps of a typed description; an empty one brings the caption back."""
        item, text = self._state.current, text.strip()
        model = self._workbench.models.for_words(item)
        if item is None or item.media.modality is Modality.TEXT or model is None:
            if text:
                self._cannot_look(
                    item, "A description is looked for in an image or a sound: choose one of them first."
                )
            return
        if not text:
            self._back_to_generated(item, model)
            return
        self._repeat = partial(self.query, text)
        self._activities.run(
            "sequence",
            "Reading the description",
            Tokenize(model.id, item.ref, text),
            done=self._take,
            visible=False,
        )

    def ask(self, question: str) -> None:
        """Let the model answer a question about the current image; an empty one brings the caption back.

        A model that converses is told the earlier questions and its answers, until an empty one ends that.
        """
        item, question = self._state.current, question.strip()
        model = self._workbench.model_for(item)
        if item is None or item.media.modality is not Modality.IMAGE:
            if question:
                self._workbench.notice.emit("A question is about an image: choose an image first.", "info")
            return
        if model is None:
            if question:
                self._without_model(item)
            return
        place = item.id, model.id
        if not question:
            self._turns.pop(place, None)
            self._back_to_generated(item, model)
            return
        self._repeat = partial(self.ask, question)
        history = self.history(item, model, question)
        shots = self._workbench.drafts.shots(model)
        self._activities.run(
            "sequence",
            "Answering",
            Generate(model.id, item.ref, self._state.sampling, question, history, shots),
            done=self.keep,
            partial=self._show_if_current,
        )

    def write(self, label: str, request: Request) -> None:
        """Let the model write something else in place of what is shown, streaming."""
        self._repeat = partial(self.write, label, request)
        self._activities.run("sequence", label, request, done=self.keep, partial=self._show_if_current)

    # --- conversations -------------------------------------------------------------------------------------
    def turns(self) -> tuple[TokenSequence, ...]:
        """Answers that the model gave about the current item, oldest first."""
        item = self._state.current
        model = self._workbench.model_for(item)
        return () if item is None or model is None else self._turns.get((item.id, model.id), ())

    def history(self, item: LibraryItem, model: ModelInfo, question: str) -> tuple[tuple[str, str], ...]:
        """Questions with answers that a model which converses is told before `question`."""
        form = model.about.questions
        turns = self._turns.get((item.id, model.id), ())
        if turns and turns[-1].question == _plain(question):  # asked again
            turns = turns[:-1]
        told = form is not None and form.remembers
        return tuple((turn.question, turn.written) for turn in turns) if told else ()

    def show_turn(self, number: int) -> None:
        """Show an earlier answer again, with its maps."""
        turns = self.turns()
        if 0 <= number < len(turns):
            self._activities.cancel("sequence")
            self._activities.clear_error("sequence")
            self._repeat = partial(self.ask, turns[number].question)
            self._take(turns[number])

    def again(self) -> None:
        """Ask once more for what was asked last: an answer, a description, else the caption or transcript."""
        self._repeat()

    def refresh_maps(self) -> None:
        """Ask for the maps of the finished sequence, unless they are there."""
        item, sequence = self._state.current, self._state.sequence
        model = self._workbench.model_for(item)
        if item is None or model is None or sequence is None or not model.methods:
            self.costs.withdraw()
            self._activities.cancel("maps")
            self._activities.clear_error("maps")
            self._state.set_maps(None)
            return
        self.costs.withdraw()
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
        if self.costs.is_settled(key, model.id, spec.method, sequence.kind):
            self._make_maps(model, item, sequence, spec, key)
        else:
            self._estimate_maps(model, item, sequence, spec, key)

    def make_dear_maps(self) -> None:
        """Make the maps that are on offer (`costs.offer`), however long it takes."""
        self.costs.accept()
        self.refresh_maps()

    def _estimate_maps(
        self, model: ModelInfo, item: LibraryItem, sequence: TokenSequence, spec: MapSpec, key: _MapKey
    ) -> None:
        """Ask what maps will take, and make them unless that is long."""

        def done(found: tuple[MapEstimate, ...]) -> None:
            label = method_labels(model).get(spec.method, spec.method)
            count = len(sequence.tokens)
            if self.costs.weigh(key, model.id, sequence.kind, label, count, found[0]):
                words = "" if found[0].error is not None else cost_words(label, count, found[0])
                self._make_maps(model, item, sequence, spec, key, words)

        request = EstimateMaps(model.id, item.ref, sequence, (spec,))
        # what fails here is told when the maps are made
        self._activities.run(
            "maps",
            "Looking where it looked",
            request,
            done=done,
            failed=lambda _: self._make_maps(model, item, sequence, spec, key),
            visible=False,
        )

    def _make_maps(
        self,
        model: ModelInfo,
        item: LibraryItem,
        sequence: TokenSequence,
        spec: MapSpec,
        key: _MapKey,
        words: str = "",
    ) -> None:
        self._activities.run(
            "maps",
            f"Looking where it looked. {words}".strip(" ."),
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
        tokens = self._state.tokens or content(sequence.tokens) or (sequence.tokens[0].index,)
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

    # --- for what stands beside the viewer -----------------------------------------------------------------
    def written(self) -> tuple[TokenSequence, ...]:
        """What models wrote of items so far: captions and transcripts."""
        return tuple(self._generated.values())

    def show_map(self, item: LibraryItem, sequence: TokenSequence, spec: MapSpec, maps: TokenMaps) -> None:
        """Show a map that was made elsewhere, with its words, as if it had been asked for here."""
        self._shown[_place(sequence)] = sequence
        self._specs[sequence.model_id, sequence.kind] = spec
        self._workbench.choose(item.id)
        self._state.set_sequence(sequence)
        self._take_maps(_map_key(sequence, spec), maps)
        self._state.set_spec(spec)
        self._soon.start()

    # --- answers -----------------------------------------------------------------------------------------
    def keep(self, sequence: TokenSequence) -> None:
        """Take a text that the model wrote; it is shown again when its item or its question is."""
        place = _place(sequence)
        if sequence.kind == "answer":
            turns = self._turns.get(place, ())
            if turns and turns[-1].question == sequence.question:
                turns = turns[:-1]
            self._turns[place] = (*turns, sequence)[-_TURNS_KEPT:]
        else:
            self._generated[place] = sequence
        self._take(sequence)

    def show(self, sequence: TokenSequence) -> None:
        """Show a text of the current item that is nothing the model would be told of later."""
        self._activities.cancel("sequence")
        self._activities.clear_error("sequence")
        self._take(sequence)

    def _take(self, sequence: TokenSequence) -> None:
        self._shown[sequence.media_id, sequence.model_id] = sequence
        self._show_if_current(sequence)

    def _show_if_current(self, sequence: TokenSequence) -> None:
        item = self._state.current
        loaded = [info.id for info in (self._state.model, self._state.speech_model) if info is not None]
        if item is not None and sequence.media_id == item.id and sequence.model_id in loaded:
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

    def _on_sequence_changed(self, sequence: TokenSequence | None) -> None:
        self._state.set_heads(None)
        text = None if sequence is None else (sequence.media_id, sequence.text)
        if text != self._text:  # a target that names a token means another one now
            self._text = text
            self._specs = {key: fitting(spec) for key, spec in self._specs.items()}
            self._state.set_spec(fitting(self._state.spec))
        self._soon.start()

    def _on_spec_changed(self, spec: MapSpec) -> None:
        sequence = self._state.sequence
        if sequence is not None:
            self._specs[sequence.model_id, sequence.kind] = spec
        self._soon.start()

    def _back_to_generated(self, item: LibraryItem, model: ModelInfo) -> None:
        """A question or description was taken away: show what the model says by itself."""
        self._repeat = self.generate
        self._activities.cancel("sequence")
        self._activities.clear_error("sequence")
        self._show_generated(item, model)

    def _show_generated(self, item: LibraryItem, model: ModelInfo) -> None:
        if item.media.modality is Modality.AUDIO:
            model = self._state.speech_model or model
        generated = self._generated.get((item.id, model.id))
        if generated is not None:
            self._take(generated)
        else:
            self._shown.pop((item.id, model.id), None)
            self._state.set_sequence(None)
            if _can_generate(model, item):
                self.generate()

    def _cannot_look(self, item: LibraryItem | None, no_image: str) -> None:
        """Say why nothing is looked for."""
        if item is not None and item.media.modality is Modality.IMAGE:
            self._without_model(item)
        elif item is not None and item.media.modality is Modality.AUDIO:
            self._workbench.notice.emit(_NO_EARS, "info")
        else:
            self._workbench.notice.emit(no_image, "info")

    def _without_model(self, item: LibraryItem) -> None:
        if item.media.modality is Modality.AUDIO:
            self._workbench.models.with_speech(self.generate)
        else:
            self._workbench.notice.emit(_NO_EYES, "info")

    def _fitting_spec(self, model: ModelInfo, kind: SequenceKind) -> MapSpec:
        """What was last wanted for such a sequence, as far as `model` has it; else defaults."""
        wanted = DEFAULT_METHODS.get(kind, ())
        methods = model.methods_for(kind)
        default = next((method for method in wanted if method in methods), MapSpec().method)
        spec = self._specs.get((model.id, kind), MapSpec(default))
        if spec.method not in methods:
            spec = MapSpec(method=methods[0]) if methods else MapSpec()
        places = {point.name for point in (*model.points, *model.features)}
        if spec.point is not None and spec.point not in places:
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


def _plain(question: str) -> str:
    """A question as the model's answer carries it."""
    return " ".join(question.split())


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
