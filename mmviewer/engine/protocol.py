"""What the GUI asks of the engine and what the engine answers: frozen values, no torch, no Qt.

A request travels in an `Envelope` with a job number. The engine answers every job with any number of
`ProgressEvent` and `PartialResult`, then exactly one of `Done`, `Failed` or `Stopped`. `StatusEvent` comes
unasked. The value of `Done` is what the request's docstring names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmviewer.core.interventions.recipe import Recipe
from mmviewer.core.targets import Removal
from mmviewer.core.types import (
    MapSpec,
    MediaRef,
    Projection,
    Provenance,
    Sampling,
    Shot,
    TokenMaps,
    TokenSequence,
)


# --- requests ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Request:
    """Root of all requests."""


@dataclass(frozen=True, slots=True)
class OpenMedia(Request):
    """Decode files and folders (folders are listed, not recursed endlessly).

    Each item comes as a partial `Media` (pixels reduced to at most `display_pixels`, samples whole) or as a
    partial `OpenFailure`; done: the number of items opened. What was left out of a folder is told by an
    `OpenFailure` whose error is of kind "Note".
    """

    paths: tuple[str, ...]
    display_pixels: int = 4_000_000


@dataclass(frozen=True, slots=True)
class OpenText(Request):
    """Make a text item. Done: `Media`."""

    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Spectrogram(Request):
    """Log-mel picture of a sound. Done: `SpectrogramData`."""

    media: MediaRef


@dataclass(frozen=True, slots=True)
class ListModels(Request):
    """Models that are present: shipped, remembered folders, hub cache. Done: tuple of `ModelListing`."""


@dataclass(frozen=True, slots=True)
class LoadModel(Request):
    """Load a model and make it the current one of its kind (vision-language or speech). Done: `ModelInfo`.

    Partial: a sentence, when memory is short and the model is loaded in a smaller way. `source` as in
    `ModelSource.spec`; `device` and `dtype` "auto" or a name ("cpu", "cuda:0", "bfloat16"). `keep` are ids of
    loaded models that stay beside it, though they are of its kind; others of its kind go.
    """

    source: str
    device: str = "auto"
    dtype: str = "auto"
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnloadModel(Request):
    """Forget a model and free its memory. Done: None."""

    model_id: str


@dataclass(frozen=True, slots=True)
class Generate(Request):
    """Caption an image, answer a question about it, or transcribe a sound, streaming.

    `history` are earlier questions with their answers, for models that take them into account; `shots` are
    examples, with pictures of their own, that stand before the item, for models with the capability
    "follow examples". `prompt` is the beginning of a caption, from which the model writes on.
    Partial: `TokenSequence` so far, after each token. Done: the finished `TokenSequence`.
    """

    model_id: str
    media: MediaRef
    sampling: Sampling = Sampling()
    question: str = ""
    history: tuple[tuple[str, str], ...] = ()
    shots: tuple[Shot, ...] = ()
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Branch(Request):
    """Write a text again from token `index` on, with the token of id `token` in its place, streaming.

    `sequence` is a caption, answer or transcript of the item; `token` one of the `alternative_ids` there.
    Partial and done: as of `Generate`, the tokens before `index` as they were.
    """

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    index: int
    token: int
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class ScoreAnswers(Request):
    """How likely each of given answers is as what follows. Done: `AnswerScores`.

    What they follow is a `question` (after `history`) or the beginning of a text, `prompt`, which may be
    empty; `shots` as in `Generate`.
    """

    model_id: str
    media: MediaRef
    answers: tuple[str, ...]
    question: str = ""
    prompt: str = ""
    history: tuple[tuple[str, str], ...] = ()
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True, slots=True)
class Tokenize(Request):
    """Split a query into the words whose maps can be asked for. Done: `TokenSequence` of kind "query"."""

    model_id: str
    media: MediaRef
    text: str


@dataclass(frozen=True, slots=True)
class Explain(Request):
    """Maps of every token of a sequence over the input. Done: `TokenMaps`.

    Answered from the engine's capture store when the same forward was already captured.
    """

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    spec: MapSpec = MapSpec()


@dataclass(frozen=True, slots=True)
class EstimateMaps(Request):
    """What the maps of `Explain` would take, one for each of `specs`. Done: tuple of `MapEstimate`."""

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    specs: tuple[MapSpec, ...]


@dataclass(frozen=True, slots=True)
class MeasureMap(Request):
    """How far the map of `tokens` (none: of the whole text) can be believed. Done: `Curves` of measures.

    Runs in the background: whatever else wants the model goes first. The scores of the random orders are
    kept for the other maps of the same text.
    """

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    maps: TokenMaps
    tokens: tuple[int, ...] = ()
    removal: Removal = "mean"
    steps: int = 16
    random_maps: int = 5


@dataclass(frozen=True, slots=True)
class CompareMethods(Request):
    """Rank correlation of a map with those of the other methods that the model offers for its text.

    Partial: a `MethodAgreement` for each, methods that take longer than `most_seconds` with the reason why
    they were left out. Done: how many could be compared.
    """

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    maps: TokenMaps
    tokens: tuple[int, ...] = ()
    most_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class CheckRandomised(Request):
    """The same map by copies of the model with shuffled weights. Done: `RandomisedCheck`."""

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    maps: TokenMaps
    tokens: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0, 1)


@dataclass(frozen=True, slots=True)
class ExploreHeads(Request):
    """All layers by all heads for the chosen tokens (mean over them). Done: `HeadMaps`."""

    model_id: str
    media: MediaRef
    sequence: TokenSequence
    tokens: tuple[int, ...]
    point: str | None = None


@dataclass(frozen=True, slots=True)
class Intervene(Request):
    """Ask about an item again under a recipe of interventions. Done: `core.interventions.outcome.WhatIf`.

    Partial: the `WhatIf` as far as it is, and the new text (`TokenSequence`) after each token. Without a
    `sequence` a caption or transcript is made first; `spec` None makes no maps.
    """

    model_id: str
    media: MediaRef
    steps: Recipe
    sequence: TokenSequence | None = None
    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ("a {}",)
    spec: MapSpec | None = None


@dataclass(frozen=True, slots=True)
class Classify(Request):
    """Score items against labels. Done: `Scores`. Features and label embeddings are cached."""

    model_id: str
    items: tuple[MediaRef, ...]
    labels: tuple[str, ...]
    templates: tuple[str, ...] = ("a {}",)


@dataclass(frozen=True, slots=True)
class Embed(Request):
    """Embed items and texts. Done: `Embeddings` (those that the model can embed, in order)."""

    model_id: str
    items: tuple[MediaRef, ...]


@dataclass(frozen=True, slots=True)
class Project(Request):
    """Embed items and place them in the plane. Done: (`Embeddings`, `Projection`)."""

    model_id: str
    items: tuple[MediaRef, ...]
    method: str = "pca"


@dataclass(frozen=True, slots=True)
class RenderFigure(Request):
    """Draw a figure (a spec of `mmviewer.core.figures.spec`).

    With `path`: written there, format by its ending (png, svg, pdf, npz, csv). Done: the path.
    Without: done with PNG bytes, for the clipboard. With `media`, the item that the figure shows, a file gets
    the picture at its own resolution instead of the window's reduced copy.
    """

    figure: Any
    provenance: Provenance
    path: str | None = None
    dpi: int = 200
    caption: bool = True
    media: MediaRef | None = None


@dataclass(frozen=True, slots=True)
class Ping(Request):
    """Is the engine there? Done: `EngineStatus`."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request with its job number."""

    job: int
    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a job between its steps."""

    job: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the engine process."""


# --- answers -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """How far a job is; `total` None while unknown."""

    job: int
    done: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class PartialResult:
    """One of several values of a job, in order."""

    job: int
    value: Any


@dataclass(frozen=True, slots=True)
class Done:
    """The job's value."""

    job: int
    value: Any


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error for people: one sentence, its kind, and the details to unfold and copy."""

    kind: str
    message: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ended in an error."""

    job: int
    error: ErrorReport


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job ended because it was cancelled."""

    job: int


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the machine is doing, for the status bar.

    `phase` is "starting", "warming up", "ready", "busy" or "gone"; `device` and `reason` say what runs where
    and why; memory in bytes, of the device when it has its own, else of the engine process and the machine;
    `network` names the hosts that are talked to now.
    """

    phase: str
    device: str = ""
    dtype: str = ""
    reason: str = ""
    memory_used: int = 0
    memory_total: int = 0
    models: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    pid: int = 0
    network: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """An unasked `EngineStatus`: at start, after warm-up, when a model comes or goes, every few seconds."""

    status: EngineStatus


# --- values of requests ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class OpenFailure:
    """A file that could not be opened; the others go on."""

    path: str
    error: ErrorReport


@dataclass(frozen=True, slots=True)
class MapEstimate:
    """What maps will take: passes through the model, peak memory, and seconds on this machine.

    `note` is what has to be left out to fit; with an `error` the maps cannot be made, and it says why.
    """

    spec: MapSpec
    forwards: int = 0
    bytes: int = 0
    seconds: float = 0.0
    note: str = ""
    error: ErrorReport | None = None


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model that can be loaded now, or is known: `source` is what `LoadModel` takes."""

    source: str
    label: str
    family: str
    size_bytes: int = 0
    present: bool = True
    notes: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SpectrogramData:
    """Log-mel power in dB.

    `values` float32 [mels, frames], one frame every `hop` seconds; `centres` of the mel bands in Hz.
    """

    values: Any
    hop: float
    centres: Any


PlaneResult = tuple[Any, Projection]
