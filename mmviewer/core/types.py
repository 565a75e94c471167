"""Plain frozen values that travel between the rooms of the house: NumPy arrays and builtins, never tensors.

Everything here can be pickled over the engine's pipe, saved, compared and tested alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.card import ModelAbout as ModelAbout
from mmviewer.core.card import ModelFigure as ModelFigure
from mmviewer.core.card import QuestionForm as QuestionForm
from mmviewer.core.cautions import Caution
from mmviewer.core.grounding import GroundedPhrase
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.provenance import Provenance as Provenance
from mmviewer.core.targets import Contrast, Removal, Target

FloatArray = NDArray[np.float32]
Geometry = ImageGeometry | TimeGeometry


class Modality(StrEnum):
    """What an item is."""

    IMAGE = "image"
    AUDIO = "audio"
    TEXT = "text"


class Capability(StrEnum):
    """What a model family can do; everything above asks for these, never for a class name."""

    EMBED_IMAGE = "embed image"
    EMBED_TEXT = "embed text"
    EMBED_AUDIO = "embed audio"
    CAPTION = "caption"
    ANSWER = "answer questions"
    MATCH = "match image and text"
    TRANSCRIBE = "transcribe"
    EXAMPLES = "follow examples"


_NOT_OF_IMAGES = (Capability.EMBED_TEXT, Capability.EMBED_AUDIO, Capability.TRANSCRIBE)
_OF_IMAGES = frozenset(each for each in Capability if each not in _NOT_OF_IMAGES)


class MapKind(StrEnum):
    """Attention is what the model weighted; attribution is what a score depended on."""

    ATTENTION = "attention"
    ATTRIBUTION = "attribution"


class PointRole(StrEnum):
    """What a capture point does in a model, so that methods need no class names."""

    ENCODER_SELF = "encoder self-attention"
    POOL = "attentional pooling"
    TEXT_SELF = "text self-attention"
    DECODER_SELF = "decoder self-attention"
    CROSS = "cross-attention"
    TO_WORDS = "attention to words"
    JOINT = "joint self-attention"
    INPUT = "input"
    FEATURES = "feature maps"


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """A decoded item.

    Parameters
    ----------
    id : str
        Hash of the decoded content: equal content, equal id.
    modality : Modality
    name : str
        What the user calls it; the file name at first.
    path : str or None
        Where it came from; None for typed text.
    pixels : uint8 array [H, W, 3] or None
        sRGB, upright (EXIF applied), alpha composited on white.
    samples : float32 array [N] or None
        Mono sound in [-1, 1] at `sample_rate`.
    sample_rate : int
        Samples per second of `samples`.
    text : str or None
    notes : tuple of str
        What was done to it that the user should know ("first of 12 frames").
    size : tuple of int
        Height and width of the original image, which every `ImageGeometry` refers to. `pixels` may be a
        reduced copy for display; taken from `pixels` when not given. (0, 0) for other modalities.
    """

    id: str
    modality: Modality
    name: str
    path: str | None = None
    pixels: NDArray[np.uint8] | None = None
    samples: FloatArray | None = None
    sample_rate: int = 16_000
    text: str | None = None
    notes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.pixels is not None and self.size == (0, 0):
            object.__setattr__(self, "size", (self.pixels.shape[0], self.pixels.shape[1]))

    @property
    def duration(self) -> float:
        """Seconds of sound; 0 for other modalities."""
        return 0.0 if self.samples is None else len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class MediaRef:
    """Enough to find an item again in the engine, or to decode it anew after the engine was reborn."""

    id: str
    modality: Modality
    name: str
    path: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class CapturePoint:
    """A named place in a model where attention can be recorded.

    Parameters
    ----------
    name : str
        Stable name such as "decoder.cross".
    role : PointRole
    label : str
        For people: "decoder cross-attention".
    layers, heads : int
        Size of the place.
    queries, keys : str
        What rows and columns are: "text tokens", "image patches".
    modules : tuple of str
        Name of the attention module of each layer, in order.
    best_layer : int or None
        The layer known to point best, because the model was taught to there or its makers name it.
    guided_layer : int or None
        The layer whose attention was trained with boxes to lie on what a word names; said beside its maps.
    modality : Modality or None
        The kind of input on whose way it lies, in a model with several encoders.
    gates : tuple of float
        What the output of each layer is multiplied with before it is added, where the model has gates.
    call : int or None
        Which of the calls of its modules in one forward it is, where they run more than once.
    """

    name: str
    role: PointRole
    label: str
    layers: int
    heads: int
    queries: str
    keys: str
    modules: tuple[str, ...] = ()
    best_layer: int | None = None
    guided_layer: int | None = None
    modality: Modality | None = None
    gates: tuple[float, ...] = ()
    call: int | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is loaded, in values that a figure's provenance can quote.

    `context_length` is in tokens; `memory_bytes` counts weights on the device; `methods` are those for images
    where `sound_methods` are there for sounds. `features` are places that hold feature maps, not attention.
    `explains` and `sound_explains` say which of the methods work for which kind of sequence, and `scored`
    which explain a score, and so take a target.
    """

    id: str
    label: str
    family: str
    source: str
    revision: str
    weights_hash: str
    parameters: int
    memory_bytes: int
    device: str
    dtype: str
    capabilities: frozenset[Capability]
    points: tuple[CapturePoint, ...]
    preprocessing: str
    context_length: int
    methods: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    about: ModelAbout = field(default_factory=ModelAbout)
    sound_methods: tuple[str, ...] = ()
    features: tuple[CapturePoint, ...] = ()
    explains: tuple[tuple[SequenceKind, tuple[str, ...]], ...] = ()
    sound_explains: tuple[tuple[SequenceKind, tuple[str, ...]], ...] = ()
    scored: tuple[str, ...] = ()

    def side(self, modality: Modality) -> ModelInfo:
        """What of the model concerns inputs of one kind; all of it where it has no encoder for each."""
        if all(point.modality is None for point in self.points):
            return self
        points = tuple(point for point in self.points if point.modality in (None, modality))
        hears = modality is Modality.AUDIO
        lacks = _OF_IMAGES if hears else frozenset((Capability.EMBED_AUDIO,))
        can, methods = self.capabilities - lacks, self.sound_methods if hears else self.methods
        features = () if hears else self.features
        explains = self.sound_explains if hears else self.explains
        return replace(
            self, points=points, features=features, capabilities=can, methods=methods, explains=explains
        )

    def methods_for(self, kind: SequenceKind | None) -> tuple[str, ...]:
        """Methods that explain sequences of `kind`; all of them where no kind is meant, or none is known."""
        return dict(self.explains).get(kind, ()) if self.explains and kind is not None else self.methods

    def can(self, capability: Capability) -> bool:
        """Whether the model has `capability`."""
        return capability in self.capabilities


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One token of a caption, transcript or query.

    Parameters
    ----------
    index : int
        Position among the tokens of its sequence; rows of `TokenMaps.values` follow it.
    id : int
        Vocabulary id; -1 for a word made of several tokens.
    text : str
        As shown on its chip.
    start, end : int
        Characters of the sequence's text that it covers; equal for special tokens.
    logprob : float or None
        Natural logarithm of its probability when it was predicted.
    special : bool
        Begin, end and control tokens.
    alternatives : tuple of (str, float)
        Most likely tokens at this step with their log-probabilities.
    given : bool
        Fed as the beginning of the text and not chosen by the model: a question, a prompt.
    alternative_ids : tuple of int
        Vocabulary ids of `alternatives`, in their order.
    chosen : bool
        Put here by the user in place of what the model had written.
    """

    index: int
    id: int
    text: str
    start: int = 0
    end: int = 0
    logprob: float | None = None
    special: bool = False
    alternatives: tuple[tuple[str, float], ...] = ()
    given: bool = False
    alternative_ids: tuple[int, ...] = ()
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Greedy at temperature 0, else drawn from the top-k / top-p part of the distribution. At most `max_tokens`
    are written (for each window of a long sound); a caption ends sooner, with the model's own context.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 448
    seed: int = 0


SequenceKind = Literal["caption", "answer", "transcript", "query"]


@dataclass(frozen=True, slots=True)
class Shot:
    """An example that stands before a question: what a user asks of `media`, and the answer it should get.

    `media` None makes it an example of text alone; an empty `question` stands for the request for a caption.
    """

    media: MediaRef | None
    answer: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Tokens that belong to one item under one model: what the token strip shows.

    `prompt_ids` are the ids fed before the first of `tokens`; `finished` is False while streaming and when
    cancelled. An answer begins with the tokens of its question as they were fed, marked as given; `question`
    is what was asked, as typed. `phrases` are those that the model tied to places, where it does. `shots` are
    the examples that stood before the item; their ids are among `prompt_ids`.
    """

    kind: SequenceKind
    media_id: str
    model_id: str
    text: str
    tokens: tuple[TokenSpan, ...]
    prompt_ids: tuple[int, ...] = ()
    sampling: Sampling | None = None
    finished: bool = True
    question: str = ""
    phrases: tuple[GroundedPhrase, ...] = ()
    shots: tuple[Shot, ...] = ()

    @property
    def written(self) -> str:
        """The part of the text that the model wrote itself: all of a caption, the answer to a question."""
        given = max((token.end for token in self.tokens if token.given), default=0)
        return self.text[given:].strip()


HeadChoice = int | Literal["mean", "max"] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapSpec:
    """Which map is wanted.

    Parameters
    ----------
    method : str
        Key of an attribution method ("attention", "rollout", "gradient_attention").
    point : str or None
        Capture point; None lets the method choose the model's default.
    layer : int or None
        Counted from 0; None lets the method choose and say so.
    head : int, "mean", "max" or tuple of int
        Several heads stand for their mean.
    target : Target, optional
        What an attribution explains; None explains each token or word by itself.
    contrast : Contrast, optional
        Whose score is subtracted: "cat, not dog", or a token against its runner-up.
    removal : {"mean", "blur", "noise"}
        What methods that hide parts of the input put in their place.
    without_sinks : bool
        Leave out positions that draw weight whatever is asked.
    """

    method: str = "attention"
    point: str | None = None
    layer: int | None = None
    head: HeadChoice = "mean"
    target: Target | None = None
    contrast: Contrast | None = None
    removal: Removal = "mean"
    without_sinks: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TokenMaps:
    """One map over the input for every token of a sequence; travels once, so hovering costs no engine call.

    Parameters
    ----------
    values : float32 array [T, R, C] for images, [T, P] for sound
        T follows the tokens of the sequence.
    geometry : ImageGeometry or TimeGeometry
        Carries grid positions to original pixels or seconds.
    kind : MapKind
    spec : MapSpec
        What was asked, with every None replaced by what was used.
    description : str
        One line, e.g. "attention · decoder cross-attention · layer 3 of 4 · mean of 4 heads".
    score : str
        Of what the attribution is; empty for attention.
    caveat : str
        What to keep in mind when reading it; may be empty.
    signed : bool
        Whether values below zero mean "against".
    whole : float32 array [R, C] or [P], or None
        The map of the whole text at once, where the method has one.
    sinks : tuple of int
        Positions, counted row by row, that draw weight whatever is asked; zero in `values` if left out.
    extra : mapping of str to array
        What else the method found, such as a table of regions and words.
    cautions : tuple of Caution
        Short warnings that hold for these very maps, the most important first.
    """

    values: FloatArray
    tokens: tuple[TokenSpan, ...]
    geometry: Geometry
    kind: MapKind
    spec: MapSpec
    description: str
    score: str = ""
    caveat: str = ""
    signed: bool = False
    whole: FloatArray | None = None
    media_id: str = ""
    model_id: str = ""
    sinks: tuple[int, ...] = ()
    extra: Mapping[str, FloatArray] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HeadMaps:
    """All layers by all heads of one capture point for the chosen tokens.

    `values` is float32 [L, H, R, C] for images, [L, H, P] for sound.
    """

    values: FloatArray
    point: CapturePoint
    tokens: tuple[int, ...]
    geometry: Geometry
    media_id: str = ""
    model_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Zero-shot scores of items against labels.

    Parameters
    ----------
    items : tuple of str
        Media ids, N of them.
    labels : tuple of str
        M labels as typed.
    probabilities : float32 array [N, M]
        Softmax over labels, or sigmoid per label: see `activation`.
    similarities : float32 array [N, M]
        Cosine similarity of item and label.
    activation : str
        "softmax" or "sigmoid".
    templates : tuple of str
        Each with "{}" where the label goes; embeddings are averaged over them.
    notes : tuple of str
        What the reader should know of how they came about (smaller batches for lack of memory).
    scale, bias : float
        The model's own calibration: logits are ``similarities * scale + bias``.
    """

    items: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: FloatArray
    similarities: FloatArray
    activation: str
    templates: tuple[str, ...]
    model_id: str = ""
    notes: tuple[str, ...] = ()
    scale: float = 1.0
    bias: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Unit vectors of items: vectors [N, D] float32; `notes` as in `Scores`."""

    items: tuple[str, ...]
    modalities: tuple[Modality, ...]
    vectors: FloatArray
    model_id: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Embeddings placed in the plane: coordinates [N, 2] float32.

    `details` says what a reader must know, e.g. explained variance of PCA or the neighbours of UMAP.
    """

    items: tuple[str, ...]
    coordinates: FloatArray
    method: str
    details: str = ""
