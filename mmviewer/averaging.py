"""The average map of many items, for scripts and the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmviewer.core.average.figure import average_figure as lay_out
from mmviewer.core.average.figure import average_provenance
from mmviewer.core.average.frame import spread
from mmviewer.core.average.result import MOST, AverageMap
from mmviewer.core.average.run import average_maps, check_question, map_of_item, usual_method
from mmviewer.core.errors import MediaError
from mmviewer.core.media.files import display_name
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import HeadChoice, MapSpec, Media, Modality, TokenMaps

Given = Media | str | os.PathLike[str]


def average_map(
    model: LoadedModel,
    media: Sequence[Given],
    text: str,
    *,
    method: str = "",
    point: str | None = None,
    layer: int | None = None,
    head: HeadChoice = "mean",
    without_sinks: bool = False,
    most: int = MOST,
    progress: Progress = SILENT,
) -> AverageMap:
    """Average the maps of a text over many images, or many sounds.

    Each map is brought to the frame of its item: the whole image, or the whole length of the sound. What the
    model's crop did not see does not count there.

    Parameters
    ----------
    model : LoadedModel
        Must embed text.
    media : sequence of Media or paths
        Of one kind, that of the first that can be read; files are opened one at a time.
    text : str
        What the maps look for, as in ``explain(model, media, text)``.
    method : str
        By default gradient × attention, or Grad-CAM where the model has no attention.
    point, layer, head, without_sinks
        As in `mmviewer.explain`.
    most : int
        Of more items as many are taken, evenly from the first to the last.

    Returns
    -------
    AverageMap
        ``average`` holds mean, deviation and count [32, 32]; ``distances`` how far each item is from the mean
        (``ranking`` orders them), ``maps`` their own maps on the frame, ``left_out`` those without a map and
        why.

    Raises
    ------
    InputError
        The text has no words, or none of the items has a map.
    UnsupportedError
        The model or method cannot be asked so.
    """
    taken = [media[place] for place in spread(len(media), most)]
    modality = _modality(taken)
    method = method or usual_method(model, modality)
    spec = MapSpec(method, point, layer, head, without_sinks=without_sinks)
    check_question(model, modality, text, spec)

    def make(place: int) -> TokenMaps:
        return map_of_item(model, _opened(taken[place]), modality, text, spec, progress)

    items = [(place, _name(each)) for place, each in enumerate(taken)]
    return average_maps(items, make, text, asked=len(media), progress=progress)


def average_figure(
    average: AverageMap,
    path: str | os.PathLike[str],
    *,
    model: LoadedModel | None = None,
    dpi: int = 200,
    caption: bool = True,
) -> Path:
    """Draw mean and deviation, or write the arrays; the path's ending says how, as in `mmviewer.figure`."""
    # matplotlib is imported only where a figure is drawn
    from mmviewer.core.figures.render import render

    provenance = average_provenance(average, None if model is None else model.info)
    render(lay_out(average), provenance, Path(path), dpi=dpi, caption=caption)
    return Path(path)


def _opened(given: Given) -> Media:
    return given if isinstance(given, Media) else open_media(given)


def _name(given: Given) -> str:
    return given.name if isinstance(given, Media) else display_name(given)


def _modality(taken: Sequence[Given]) -> Modality:
    """Kind of the first item that has maps; pictures where none can be read, which is told later."""
    for given in taken:
        try:
            found = _opened(given).modality
        except MediaError:
            continue
        if found is not Modality.TEXT:
            return found
    return Modality.IMAGE
