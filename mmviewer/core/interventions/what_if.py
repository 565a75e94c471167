"""Ask a model again under a recipe of interventions, and compare with what it said before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmviewer.core.errors import InputError, MMViewerError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.explain.forward import MapStore, encode, predicting_logits
from mmviewer.core.interventions.attention import switched_off
from mmviewer.core.interventions.inputs import changed_item
from mmviewer.core.interventions.outcome import TokenChange, Unit, WhatIf
from mmviewer.core.interventions.recipe import (
    ChangeWord,
    HideRegion,
    KeepRegion,
    Recipe,
    ScaleGate,
    Step,
    SwitchOff,
    checked,
    recipe_digest,
)
from mmviewer.core.interventions.wording import Reworded, changed_labels, changed_text, reworded, unchanged
from mmviewer.core.media.image import display_copy
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import TokenTarget, WordTarget
from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES, check_labels, zero_shot
from mmviewer.core.tasks.embed import NEEDED
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import (
    Capability,
    MapSpec,
    Media,
    Modality,
    Sampling,
    TokenMaps,
    TokenSequence,
)

OnPart = Callable[[WhatIf | TokenSequence], None]
_SHOWN_PIXELS = 500_000


def what_if(
    model: LoadedModel,
    media: Media,
    steps: Sequence[Step],
    *,
    about: TokenSequence | None = None,
    labels: Sequence[str] = (),
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    spec: MapSpec | None = None,
    prepared: Prepared | None = None,
    cache: FeatureCache | None = None,
    store: MapStore | None = None,
    on_part: OnPart | None = None,
    progress: Progress = SILENT,
) -> WhatIf:
    """Compare what a model makes of an item with what it makes of it under a recipe.

    Regions are hidden in the item's own pixels or samples before preprocessing. Heads are switched off while
    the model runs. Words are changed in the text so far: the model reads the changed text, and writes on
    from behind the last change. Without steps both sides come from the same computation and are equal bit by
    bit.

    Parameters
    ----------
    model : LoadedModel
    media : Media
        An image or a sound, as it was decoded.
    steps : sequence of steps
        In the order in which they are applied; see `mmviewer.core.interventions.recipe`.
    about : TokenSequence, optional
        What the model wrote about the item, or a query; a caption or transcript is made where there is none
        and the model can.
    labels, templates : sequence of str
        Zero-shot labels to score before and after.
    spec : MapSpec, optional
        Which maps to make before and after; None makes none.
    prepared : Prepared, optional
        The item as `model` takes it, if it is at hand.
    cache, store : optional
        Keep what is computed of the unchanged side.
    on_part : callable, optional
        Receives the result as it grows, and the new text after each token.
    progress : Progress

    Returns
    -------
    WhatIf

    Raises
    ------
    InputError
        A step does not fit the item, the text or the model.
    UnsupportedError
        The model cannot do what was asked.
    """
    recipe = checked(steps)
    asked = prepared if prepared is not None else model.prepare(media)
    run = _Run(model, media, asked, recipe, on_part, progress)
    run.take_item()
    sequence = about if about is not None else run.written()
    run.take_text(sequence)
    if labels:
        run.take_scores(labels, templates, cache)
    run.take_after()
    if spec is not None:
        run.take_maps(spec, store)
    return run.result


@dataclass(slots=True, eq=False)
class _Changed:
    """The other side: the item as it is prepared now, and its text."""

    prepared: Prepared
    text: Reworded | None = None


class _Run:
    """One comparison, part by part."""

    def __init__(
        self,
        model: LoadedModel,
        media: Media,
        prepared: Prepared,
        recipe: Recipe,
        on_part: OnPart | None,
        progress: Progress,
    ) -> None:
        self._model = model
        self._media = media
        self._prepared = prepared
        self._recipe = recipe
        self._on_part = on_part
        self._progress = progress
        self._heads = [step for step in recipe if isinstance(step, SwitchOff | ScaleGate)]
        self._changed = _Changed(prepared)
        self.result = WhatIf(recipe, media.id, model.info.id)

    # --- the parts, in order -----------------------------------------------------------------------
    def take_item(self) -> None:
        """Change the item; without a step for it, both sides share what was prepared."""
        regions = [step for step in self._recipe if isinstance(step, HideRegion | KeepRegion)]
        self._progress.report(0, None, "changing the input")
        with self._off():
            pass  # a head that is not there is refused before any work
        if not self._recipe:
            return
        # Another id: nothing that is kept of the item may be taken for what belongs to the changed one.
        other = f"{self._media.id}~{recipe_digest(self._recipe)}"
        if regions:
            changed = changed_item(self._media, regions)
            new = self._model.prepare(changed)
            if new.origin and "pixels" not in new.inputs:
                raise UnsupportedError(
                    f"The model reads {new.origin}, not the picture itself, so hiding parts of the picture "
                    "would change nothing; change words or switch heads off."
                )
            if self._prepared.shots:  # the examples before it stay as they are
                inputs = {**self._prepared.inputs, "pixels": new.inputs["pixels"]}
                new = replace(self._prepared, inputs=inputs, geometry=new.geometry)
            self._changed.prepared = replace(new, media_id=other)
            self._tell(media=display_copy(changed, _SHOWN_PIXELS))
        else:
            self._changed.prepared = replace(self._prepared, media_id=other)

    def written(self) -> TokenSequence | None:
        """What the model writes about the item as it is, if it writes."""
        needed = Capability.CAPTION if self._prepared.modality is Modality.IMAGE else Capability.TRANSCRIBE
        if not self._model.info.can(needed):
            return None
        return generate(self._model, self._prepared, progress=self._progress)

    def take_text(self, sequence: TokenSequence | None) -> None:
        """Score every token of the text, or word of the query, on both sides."""
        texts = self._words("text")
        queries = self._words("query")
        if sequence is None or sequence.kind == "query":
            _refuse(texts, "There is no text of the model here; caption or transcribe the item first.")
        if sequence is None or sequence.kind != "query":
            _refuse(queries, "Nothing is being looked for; type a description first, or change the text.")
        if sequence is None:
            return
        if sequence.media_id != self._media.id:
            raise InputError(f"The {sequence.kind} belongs to another item; make it again for this one.")
        self._progress.report(0, None, f"reading the {sequence.kind}")
        if sequence.kind == "query":
            self._take_query(sequence, queries)
        else:
            self._take_written(sequence, texts)

    def take_scores(
        self, labels: Sequence[str], templates: Sequence[str], cache: FeatureCache | None
    ) -> None:
        """Score the labels on both sides; skipped for a model that cannot."""
        steps = self._words("labels")
        info, modality = self._model.info, self._prepared.modality
        if not (info.can(Capability.EMBED_TEXT) and info.can(NEEDED[modality])):
            _refuse(steps, f"{info.label} compares no labels with this item.")
            return
        names = check_labels(labels)
        others = changed_labels(names, steps)
        kept = cache if cache is not None else FeatureCache()
        before = zero_shot(self._model, [self._prepared], names, templates, kept, self._progress)
        with self._off():
            # the text tower may be what is changed, so nothing that was kept may be used
            fresh = FeatureCache() if self._heads else kept
            after = zero_shot(self._model, [self._changed.prepared], others, templates, fresh, self._progress)
        self._tell(scores_before=before, scores_after=replace(after, items=before.items))

    def take_after(self) -> None:
        """Let the model write again, from behind the last changed word."""
        sequence, text = self.result.before, self._changed.text
        if sequence is None or text is None or sequence.kind == "query":
            return
        given = sum(token.given for token in text.sequence.tokens)
        prompt = tuple(token.id for token in text.sequence.tokens[: max(text.read_to, given)])
        if sequence.kind == "transcript" and prompt:
            self._note("This model cannot write on from a given text: the transcript was not written again.")
            return

        def labelled(written: TokenSequence) -> TokenSequence:
            return replace(written, kind=sequence.kind, question=sequence.question, media_id=self._media.id)

        report = self._on_part
        on_token = None if report is None else lambda written: report(labelled(written))
        sampling = sequence.sampling or Sampling()
        with self._off():
            written = generate(
                self._model, self._changed.prepared, sampling, on_token, self._progress, prompt
            )
        self._tell(after=labelled(written))

    def take_maps(self, spec: MapSpec, store: MapStore | None) -> None:
        """Make the maps of both sides; what a method cannot do is noted and fails nothing else."""
        sequence, text = self.result.before, self._changed.text
        if sequence is None or text is None:
            return
        try:
            before = explain(self._model, self._prepared, sequence, spec, self._progress, store)
            self._tell(maps_before=before)
            self._tell(maps_after=self._maps_after(text.sequence, _carried(before.spec, text)))
        except MMViewerError as error:
            self._note(f"No map to compare: {error.message}")

    # --- inside ------------------------------------------------------------------------------------
    def _maps_after(self, sequence: TokenSequence, spec: MapSpec) -> TokenMaps:
        other = replace(sequence, media_id=self._changed.prepared.media_id)
        with self._off():
            maps = explain(self._model, self._changed.prepared, other, spec, self._progress)
        return replace(maps, media_id=self._media.id)

    def _take_written(self, sequence: TokenSequence, steps: Sequence[ChangeWord]) -> None:
        text = reworded(self._model, sequence, steps)
        before = self._logprobs(self._prepared, sequence)
        with self._off():
            after = self._logprobs(self._changed.prepared, text.sequence)
        self._changed.text = text
        self._tell(before=sequence, changes=_changes(sequence, text, before, after))

    def _take_query(self, sequence: TokenSequence, steps: Sequence[ChangeWord]) -> None:
        other = sequence.text
        for step in steps:
            other = changed_text(other, step, "query")
        same = other == sequence.text
        after_words = sequence if same else query_sequence(self._model, sequence.media_id, other)
        text = unchanged(sequence) if same else _paired(sequence, after_words)
        before = self._similarities(self._prepared, sequence)
        with self._off():
            after = self._similarities(self._changed.prepared, after_words)
        self._changed.text = text
        self._tell(
            before=sequence,
            after=after_words,
            changes=_changes(sequence, text, before[1:], after[1:]),
            unit=_SIMILARITY,
            similarity=(float(before[0]), float(after[0])),
        )

    def _logprobs(self, prepared: Prepared, sequence: TokenSequence) -> Tensor:
        """Log-probability of each token, those before it given, [T]."""
        with torch.no_grad():
            logits = predicting_logits(self._model, [prepared], sequence)[0]  # [T, V]
            ids = torch.tensor([token.id for token in sequence.tokens], device=logits.device)
            return logits.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0].cpu()

    def _similarities(self, prepared: Prepared, sequence: TokenSequence) -> Tensor:
        """Cosine similarity of the item with the whole query and each of its words, [1 + T]."""
        texts = [sequence.text, *(token.text for token in sequence.tokens)]
        with torch.no_grad():
            item = encode(self._model.side(prepared.modality), [prepared])[0]  # [D]
            return (self._model.text_features(texts) @ item).cpu()

    def _words(self, place: str) -> list[ChangeWord]:
        return [step for step in self._recipe if isinstance(step, ChangeWord) and step.place == place]

    def _off(self) -> AbstractContextManager[None]:
        return switched_off(self._model, self._heads)

    def _note(self, sentence: str) -> None:
        self._tell(notes=(*self.result.notes, sentence))

    def _tell(self, **parts: Any) -> None:
        self.result = replace(self.result, **parts)
        if self._on_part is not None:
            self._on_part(self.result)


_SIMILARITY: Unit = "similarity"


def _changes(
    sequence: TokenSequence, text: Reworded, before: Tensor, after: Tensor
) -> tuple[TokenChange, ...]:
    """Pair tokens of both sides; a token that was given or changed has no number there."""
    found = []
    for token, place, kept in zip(sequence.tokens, text.places, text.kept, strict=True):
        known = not token.given
        found.append(
            TokenChange(
                token.index,
                token.text,
                float(before[token.index]) if known else None,
                float(after[place]) if known and kept and place is not None else None,
                place,
                token.special,
            )
        )
    return tuple(found)


def _carried(spec: MapSpec, text: Reworded) -> MapSpec:
    """Let a target that names a token mean the same one in the changed text."""
    target, contrast = spec.target, spec.contrast
    if isinstance(target, TokenTarget | WordTarget):
        target = replace(target, index=_place_now(target.index, text))
    if isinstance(contrast, TokenTarget | WordTarget):
        contrast = replace(contrast, index=_place_now(contrast.index, text))
    return replace(spec, target=target, contrast=contrast)


def _place_now(index: int, text: Reworded) -> int:
    place = text.places[index] if 0 <= index < len(text.places) else index
    if place is None:
        raise UnsupportedError("the word that the map explains was dropped; choose another one.")
    return place


def _paired(sequence: TokenSequence, other: TokenSequence) -> Reworded:
    """Pair the words of two queries, from both ends towards the change."""
    old, new = ([token.text for token in each.tokens] for each in (sequence, other))
    least = min(len(old), len(new))
    head = next((place for place in range(least) if old[place] != new[place]), least)
    tail = next((place for place in range(least - head) if old[-1 - place] != new[-1 - place]), least - head)
    grown = len(new) - len(old)
    middle = head if len(new) - head - tail > 0 else None
    places = tuple(
        place if place < head else place + grown if place >= len(old) - tail else middle
        for place in range(len(old))
    )
    kept = tuple(place < head or place >= len(old) - tail for place in range(len(old)))
    return Reworded(other, places, kept)


def _refuse(steps: Sequence[ChangeWord], sentence: str) -> None:
    if steps:
        raise InputError(sentence)
