"""What `import mmviewer` offers to scripts and notebooks; the command line uses the same functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.explain.base import explain as explain_sequence
from mmviewer.core.explain.selection import ShownMap, show, text_of, tokens_of_word
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import ImageMapFigure, MapStyle, TimeMapFigure
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES, zero_shot
from mmviewer.core.tasks.embed import embed as embed_items
from mmviewer.core.tasks.features import FeatureCache
from mmviewer.core.tasks.generate import generate
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
        "auto" or a name, such as "cuda:0" and "bfloat16".
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
    model: LoadedModel, media: Media, sampling: Sampling = Sampling(), progress: Progress = SILENT
) -> TokenSequence:
    """Describe an image in words, with the log-probability of each token."""
    _require(model, media, Modality.IMAGE, Capability.CAPTION)
    return generate(model, model.prepare(media), sampling, progress=progress)


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
        "attention", "rollout" or "gradient_attention".
    point : str, optional
        Capture point; None for the model's own choice.
    layer : int, optional
        Counted from 0; None for all layers.
    head : int, "mean" or "max"
        Counted from 0.

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
    return explain_sequence(model, prepared, sequence, MapSpec(method, point, layer, head), progress)


def figure(
    maps: TokenMaps,
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
    maps : TokenMaps
        From `explain`.
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
    chosen = tokens_of_word(maps.tokens, word) if word is not None else tuple(tokens)
    shown = show(maps, chosen)
    info = None if model is None else model.info
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
        "score": maps.score,
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
