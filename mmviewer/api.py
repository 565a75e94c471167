"""What `import mmviewer` offers to scripts and notebooks; the command line uses the same functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmviewer.averaging import average_figure as average_figure
from mmviewer.averaging import average_map as average_map
from mmviewer.collecting import classify_collection as classify_collection
from mmviewer.collecting import index as index
from mmviewer.collecting import open_collection as open_collection
from mmviewer.collecting import project as project
from mmviewer.collecting import search as search
from mmviewer.comparing import Comparison as Comparison
from mmviewer.comparing import compare as compare
from mmviewer.core.answers import AnswerScores
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain as explain_sequence
from mmviewer.core.explain.selection import ShownMap, check_tokens, show, text_of, tokens_of_word
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import ImageMapFigure, MapStyle, TimeMapFigure
from mmviewer.core.interventions.figure import what_if_figure, what_if_provenance
from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.recipe import Step
from mmviewer.core.interventions.what_if import what_if as ask_what_if
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.targets import Contrast, Removal, SimilarityTarget, Target, score_of_shown
from mmviewer.core.tasks.ask import ask as ask_question
from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES, zero_shot
from mmviewer.core.tasks.embed import embed as embed_items
from mmviewer.core.tasks.examples import Example as Example
from mmviewer.core.tasks.examples import among
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.tasks.generate import branch as branch_off
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.likelihood import likelihood
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import (
    Capability,
    Embeddings,
    HeadChoice,
    MapSpec,
    Media,
    Modality,
    Sampling,
    Scores,
    TokenMaps,
    TokenSequence,
)

KIND_WORDS = {Modality.IMAGE: "an image", Modality.AUDIO: "a sound", Modality.TEXT: "a text"}


def load(
    source: str = "starter", device: str = "auto", dtype: str = "auto", progress: Progress = SILENT
) -> LoadedModel:
    """Load a model.

    Parameters
    ----------
    source : str
        "starter", "ARCHITECTURE/TAG" of open_clip, "hf-hub:ORGANISATION/NAME", or a folder or file.
    device, dtype : str
        "auto" or a name, such as "cuda:0" and "bfloat16"; "int8" and "int4" keep large models in few bits.
    progress : Progress

    Raises
    ------
    ModelError, DeviceError
        With what to do about it.
    """
    return load_model(source, device, dtype, progress)


def open_item(path: str | os.PathLike[str]) -> Media:
    """Decode an image, a sound or a text file; raises `MediaError` with what to do about it."""
    return open_media(path)


def caption(
    model: LoadedModel,
    media: Media,
    sampling: Sampling = Sampling(),
    progress: Progress = SILENT,
    prompt: str = "",
    examples: Sequence[Example] = (),
) -> TokenSequence:
    """Describe an image in words, with the log-probability of each token; write on from a `prompt`.

    `examples` stand before the image, for models that follow them.
    """
    _require(model, media, Modality.IMAGE, Capability.CAPTION)
    prepared = among(model, model.prepare(media), examples)
    return generate(model, prepared, sampling, progress=progress, prompt=prompt)


def ask(
    model: LoadedModel,
    media: Media,
    question: str,
    sampling: Sampling = Sampling(),
    progress: Progress = SILENT,
    examples: Sequence[Example] = (),
) -> TokenSequence:
    """Answer a question about an image; ``written`` of the result is the answer.

    `examples` stand before the image, for models that follow them.

    Raises
    ------
    InputError
        The item is no image, or the question is empty or too long.
    UnsupportedError
        The model was not trained on questions. Its decoder can still write on from any text:
        ``caption(model, media, prompt=...)``.
    """
    able = Capability.ANSWER if model.info.can(Capability.ANSWER) else Capability.CAPTION
    _require(model, media, Modality.IMAGE, able)
    prepared = among(model, model.prepare(media), examples)
    return ask_question(model, prepared, question, sampling, progress=progress)


def score_answers(
    model: LoadedModel,
    media: Media,
    answers: Sequence[str],
    *,
    question: str = "",
    prompt: str = "",
    examples: Sequence[Example] = (),
    progress: Progress = SILENT,
) -> AnswerScores:
    """Say how likely a model holds given answers to a `question`, or continuations of a `prompt`.

    Works with every model that writes; ``shares`` of the result adds up to one, ``logprobs`` are each
    answer's own. Raises as `ask`, and `InputError` for an answer that is empty, repeated or too long.
    """
    if isinstance(answers, str):
        raise InputError("Answers are a list of texts, such as: ['yes', 'no'].")
    prepared = among(model, model.prepare(media), examples)
    return likelihood(model, prepared, answers, question=question, prompt=prompt, progress=progress)


def branch(
    model: LoadedModel,
    media: Media,
    text: TokenSequence,
    index: int,
    token: int,
    sampling: Sampling = Sampling(),
    *,
    examples: Sequence[Example] = (),
    progress: Progress = SILENT,
) -> TokenSequence:
    """Write a caption, answer or transcript again from token `index` on, with another token in its place.

    `token` is an id, such as one of ``text.tokens[index].alternative_ids``; the tokens before stay.
    Raises `InputError` where there is no such token or the model cannot write it.
    """
    prepared = among(model, model.prepare(media), examples)
    return branch_off(model, prepared, text, index, token, sampling, progress=progress)


def transcribe(
    model: LoadedModel, media: Media, sampling: Sampling = Sampling(), progress: Progress = SILENT
) -> TokenSequence:
    """Write down what is said in a sound, with the log-probability of each token."""
    _require(model, media, Modality.AUDIO, Capability.TRANSCRIBE)
    return generate(model, model.prepare(media), sampling, progress=progress)


def classify(
    model: LoadedModel,
    media: Media | Sequence[Media],
    labels: Sequence[str],
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    cache: FeatureCache | None = None,
    progress: Progress = SILENT,
) -> Scores:
    """Score one or more items against labels, zero-shot; with a `cache`, nothing is encoded twice."""
    if isinstance(labels, str):
        raise InputError("Labels are a list of texts, such as: ['cat', 'dog'].")
    return zero_shot(model, _several(media), labels, templates, cache, progress)


def embed(
    model: LoadedModel,
    media: Media | Sequence[Media],
    cache: FeatureCache | None = None,
    progress: Progress = SILENT,
) -> Embeddings:
    """Embed images, sounds and texts into the model's space: unit vectors [N, D]."""
    return embed_items(model, _several(media), cache, progress)


def explain(
    model: LoadedModel,
    media: Media,
    about: TokenSequence | str | None = None,
    *,
    method: str = "attention",
    point: str | None = None,
    layer: int | None = None,
    head: HeadChoice = "mean",
    target: Target | str | None = None,
    contrast: Contrast | str | None = None,
    removal: Removal = "mean",
    without_sinks: bool = False,
    progress: Progress = SILENT,
) -> TokenMaps:
    """Map each token of a text to the part of an image or sound that it looked at or depended on.

    Parameters
    ----------
    model : LoadedModel
    media : Media
    about : TokenSequence, str or None
        A caption or transcript; a text to look for; or None for a caption or transcript made now.
    method : str
        "attention", "gradient_attention", "occlusion" ...; `method_infos` in `mmviewer.core.explain.base`
        describes those that a model offers.
    point : str, optional
        Capture point; None for the model's own choice.
    layer : int, optional
        Counted from 0; None for all layers.
    head : int, "mean", "max" or tuple of int
        Counted from 0; several stand for their mean.
    target, contrast : Target or str, optional
        What to explain, and what to subtract; see `mmviewer.core.targets`. A text stands for the similarity
        with it: ``target="cat", contrast="dog"``.
    removal : {"mean", "blur", "noise"}
        What stands in for parts that a method hides.
    without_sinks : bool
        Leave out positions that draw weight whatever is asked.

    Returns
    -------
    TokenMaps
        ``values`` [T, R, C] for an image, [T, P] for a sound.
    """
    prepared = model.prepare(media)
    if about is None:
        # with the same prepared item, which is then encoded once for the text and its maps
        sequence = generate(model, prepared, progress=progress)
    elif isinstance(about, str):
        sequence = query_sequence(model, media.id, about)
    else:
        sequence = about
    aim = SimilarityTarget(target) if isinstance(target, str) else target
    other = SimilarityTarget(contrast) if isinstance(contrast, str) else contrast
    spec = MapSpec(method, point, layer, head, aim, other, removal, without_sinks)
    return explain_sequence(model, prepared, sequence, spec, progress)


def what_if(
    model: LoadedModel,
    media: Media,
    steps: Sequence[Step],
    about: TokenSequence | str | None = None,
    *,
    labels: Sequence[str] = (),
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    spec: MapSpec | None = None,
    progress: Progress = SILENT,
) -> WhatIf:
    """Compare what a model makes of an item with what it makes of it when something is changed.

    Parameters
    ----------
    model : LoadedModel
    media : Media
        An image or a sound.
    steps : sequence of steps
        What is changed, in order: `HideRegion`, `KeepRegion`, `ChangeWord`, `SwitchOff` of
        `mmviewer.core.interventions.recipe`, or what its `read_recipe` reads from JSON.
    about : TokenSequence, str or None
        A caption, answer or transcript; a text to look for; or None for a caption or transcript made now.
    labels, templates : sequence of str
        Zero-shot labels to score before and after.
    spec : MapSpec, optional
        Which maps to make before and after; by default none.
    progress : Progress

    Returns
    -------
    WhatIf
        Texts, the change of each token's log-probability, scores and maps, before and after.

    Raises
    ------
    InputError
        A step does not fit the item, the text or the model; the sentence says which.
    """
    sequence = query_sequence(model, media.id, about) if isinstance(about, str) else about
    return ask_what_if(
        model,
        media,
        steps,
        about=sequence,
        labels=labels,
        templates=templates,
        spec=spec,
        progress=progress,
    )


def figure(
    maps: TokenMaps | WhatIf,
    media: Media,
    path: str | os.PathLike[str],
    *,
    word: str | None = None,
    tokens: Sequence[int] = (),
    model: LoadedModel | None = None,
    dpi: int = 200,
    caption: bool = True,
) -> Path:
    """Draw a map over its image or sound, or write its arrays; the path's ending says how.

    Parameters
    ----------
    maps : TokenMaps or WhatIf
        From `explain`, or from `what_if`, both sides of which are drawn.
    media : Media
        The item that was explained.
    path : path
        Ending in .png, .svg, .pdf, or .npz for the arrays.
    word : str, optional
        Show the map of this word; by default the map of the whole text.
    tokens : sequence of int
        Or the mean map of these tokens.
    model : LoadedModel, optional
        Named in the caption and in the metadata.
    dpi : int
        Dots per inch of a PNG.
    caption : bool
        Whether a line under the figure says where it comes from.

    Raises
    ------
    InputError
        The word or token does not exist.
    ExportError
        The file cannot be written, or its ending is unknown.
    """
    info = None if model is None else model.info
    if isinstance(maps, WhatIf):
        spans = maps.before.tokens if maps.before is not None else ()
        chosen = tokens_of_word(spans, word) if word is not None else tuple(tokens)
        from mmviewer.core.figures.render import render

        drawn = what_if_figure(maps, media, check_tokens(spans, chosen))
        render(drawn, what_if_provenance(maps, media, info, chosen), Path(path), dpi=dpi, caption=caption)
        return Path(path)
    chosen = tokens_of_word(maps.tokens, word) if word is not None else tuple(tokens)
    shown = show(maps, chosen)
    words = [maps.tokens[index].text for index in shown.tokens]
    provenance = build_provenance(info, media, maps, words, text_of(maps.tokens))
    # matplotlib is imported only where a figure is drawn
    from mmviewer.core.figures.render import render

    render(map_figure(maps, media, shown), provenance, Path(path), dpi=dpi, caption=caption)
    return Path(path)


def map_figure(maps: TokenMaps, media: Media, shown: ShownMap) -> ImageMapFigure | TimeMapFigure:
    """What `figure` draws, as a plain value."""
    words: dict[str, Any] = {
        "token": shown.label,
        "description": maps.description,
        "kind": maps.kind,
        "title": media.name,
        "score": score_of_shown(maps.score, [maps.tokens[index].text for index in shown.tokens]),
        "caveat": maps.caveat,
        "style": MapStyle(signed=maps.signed),
    }
    if isinstance(maps.geometry, ImageGeometry):
        if media.pixels is None:
            raise InputError(
                f"{media.name} is no image, but the maps are of one; give the item they belong to."
            )
        return ImageMapFigure(media.pixels, shown.grid, maps.geometry, **words)
    if media.samples is None:
        raise InputError(f"{media.name} is no sound, but the maps are of one; give the item they belong to.")
    return TimeMapFigure(media.samples, media.sample_rate, shown.grid, maps.geometry, **words)


def _several(media: Media | Sequence[Media]) -> Sequence[Media]:
    return [media] if isinstance(media, Media) else media


def _require(model: LoadedModel, media: Media, modality: Modality, capability: Capability) -> None:
    if media.modality is not modality:
        raise InputError(
            f"{media.name} is {KIND_WORDS[media.modality]}, but this needs {KIND_WORDS[modality]}; "
            "choose another file."
        )
    if not model.info.can(capability):
        raise UnsupportedError(f"{model.info.label} cannot {capability.value}; load a model that can.")
