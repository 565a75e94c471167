"""The figure of an intervention and where it comes from (NumPy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmviewer.core.errors import InputError
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import MapStyle, MatrixCell, MatrixItem, WhatIfFigure
from mmviewer.core.interventions.facts import what_if_facts
from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.recipe import recipe_words
from mmviewer.core.interventions.shown import label_rows, shown_pair, token_rows, total_words
from mmviewer.core.targets import score_of_shown
from mmviewer.core.types import FloatArray, Media, ModelInfo, Provenance

_PLAIN = MapStyle()


def what_if_figure(
    found: WhatIf, media: Media, tokens: Sequence[int] = (), style: MapStyle = _PLAIN
) -> WhatIfFigure:
    """Lay out what an intervention changed.

    Parameters
    ----------
    found : WhatIf
    media : Media
        The item as it was.
    tokens : sequence of int
        Whose maps are shown; by default that of the whole text.
    style : MapStyle

    Raises
    ------
    InputError
        Nothing was changed, or `media` is another item.
    """
    if not found.recipe:
        raise InputError("Nothing was changed; add a step to the recipe first.")
    if media.id != found.media_id:
        raise InputError(f"{media.name} is not the item that was changed; choose that one.")
    pair = shown_pair(found, tokens)
    changed = found.media or media
    items = (_side(media), _side(changed)) if pair is not None or found.media is not None else ()
    maps = found.maps_before
    cells: tuple[MatrixCell, ...] = ()
    notes: tuple[str, ...] = found.notes
    if pair is not None and maps is not None:
        names = [maps.tokens[index].text for index in tokens if index < len(maps.tokens)]
        score = score_of_shown(maps.score, names)
        unit = f"{maps.kind} of {score}" if score else str(maps.kind)

        def cell(place: int, values: FloatArray) -> MatrixCell:
            ends = (pair.low, pair.high) if pair.high > pair.low else (pair.low, pair.low + 1.0)
            return MatrixCell(place, values, pair.geometry, *ends, signed=pair.signed, unit=unit)

        cells = (cell(0, pair.before), cell(1, pair.after))
        notes = (f"maps: {maps.description}", maps.caveat, *notes)
    texts = tuple(each.text.strip() for each in (found.before, found.after) if each is not None)
    return WhatIfFigure(
        title=media.name,
        recipe=recipe_words(found.recipe),
        texts=texts,
        items=items,
        cells=cells,
        subject=pair.subject if pair is not None else "",
        tokens=token_rows(found),
        labels=label_rows(found),
        unit=found.unit,
        summary=total_words(found),
        notes=notes,
        style=style,
    )


def what_if_provenance(
    found: WhatIf, media: Media, info: ModelInfo | None, tokens: Sequence[int] = ()
) -> Provenance:
    """Say where the figure comes from: model, item, maps, and the recipe, which can be applied again."""
    maps = found.maps_before
    names = [maps.tokens[index].text for index in tokens if index < len(maps.tokens)] if maps else []
    extra: dict[str, Any] = {"what_if": what_if_facts(found)}
    text = found.before.text.strip() if found.before is not None else ""
    return build_provenance(info, media, maps, names, text, **extra)


def _side(media: Media) -> MatrixItem:
    return MatrixItem(media.name, media.pixels, media.samples, media.sample_rate)
