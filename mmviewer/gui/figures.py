"""From what is shown to a figure and its provenance: pure functions of the session state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.compare.figure import Matrix, matrix_figure, matrix_provenance
from mmviewer.core.errors import InputError
from mmviewer.core.figures.colormaps import suited
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import (
    AnyFigure,
    ImageMapFigure,
    MapStyle,
    ScatterFigure,
    ScoreFigure,
    TimeMapFigure,
    TokenStripFigure,
)
from mmviewer.core.interventions.figure import what_if_figure, what_if_provenance
from mmviewer.core.media.geometry import ImageGeometry, Interpolation, TimeGeometry
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.space.neighbours import nearest
from mmviewer.core.space.projection.base import PROJECTIONS
from mmviewer.core.targets import score_of_shown
from mmviewer.core.types import Media, Provenance, Scores, TokenMaps, TokenSequence
from mmviewer.gui.thumbnails import short_name
from mmviewer.gui.view_model import Basis, ShownGrid, resolve

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_STRIP_TOKENS = 24
_NEIGHBOURS = 5
_THUMBNAIL_PIXELS = 96
_THUMBNAILS_UP_TO = 200


class FigureKind(StrEnum):
    """What can be exported."""

    VIEW = "view"
    TOKENS = "tokens"
    SCORES = "scores"
    TABLE = "table"
    SCATTER = "scatter"
    MATRIX = "matrix"
    TWIN = "two models"
    WHAT_IF = "what if"


@dataclass(frozen=True, slots=True)
class Exported:
    """A figure, where it comes from, and a stem for its file's name."""

    figure: AnyFigure
    provenance: Provenance
    stem: str


def make_figure(kind: FigureKind, state: SessionState) -> Exported:
    """Make the figure of a kind from what is shown now.

    Raises
    ------
    InputError
        There is nothing of that kind to show yet; says what to do.
    """
    return _MAKERS[kind](state)


def comparison_figure(workbench: Workbench) -> Exported:
    """Make the figure of the comparison that is open; `InputError` where there is none."""
    matrix, shared = workbench.compare.matrix(), workbench.compare.choice.shared
    return _of_matrix(matrix, workbench.state, shared=shared)


def twin_figure(workbench: Workbench) -> Exported:
    """Make the figure of two models side by side; `InputError` where they are not.

    Numbers of two models seldom compare, so each map has a colour scale of its own.
    """
    return _of_matrix(workbench.twin.matrix(), workbench.state, shared=False)


def _of_matrix(matrix: Matrix, state: SessionState, *, shared: bool) -> Exported:
    style = MapStyle(
        colormap=state.view.colormap,
        opacity=state.view.opacity,
        interpolation=cast(Interpolation, state.view.interpolation),
    )
    return Exported(
        matrix_figure(matrix, shared_scale=shared, style=style),
        matrix_provenance(matrix, shared_scale=shared),
        _stem("-by-".join(entries[0].kind.value for entries in (matrix.rows, matrix.columns))),
    )


def what_if_result(workbench: Workbench) -> Exported:
    """Make the figure of what was tried last; `InputError` where there is nothing."""
    found, state = workbench.what_if.result, workbench.state
    item = state.item(found.media_id) if found is not None else None
    if found is None or item is None:
        raise InputError("Nothing was tried yet: hide a part or change a word in the What if panel.")
    tokens = state.tokens if workbench.what_if.fits else ()
    signed = found.maps_before.signed if found.maps_before is not None else False
    style = MapStyle(
        colormap=suited(state.view.colormap, signed),
        opacity=state.view.opacity,
        interpolation=cast(Interpolation, state.view.interpolation),
        signed=signed,
    )
    info = next((model for model in state.models if model.id == found.model_id), None)
    media = _named(item)
    return Exported(
        what_if_figure(found, media, tokens, style),
        what_if_provenance(found, media, info, tokens),
        _stem(item.name, "what-if"),
    )


# --- maps --------------------------------------------------------------------------------------------
def _view(state: SessionState) -> Exported:
    item, sequence, maps, grid, title = _shown_map(state)
    tokens = [maps.tokens[index].text for index in grid.tokens]
    common: dict[str, Any] = {
        "token": _subject(sequence, maps, grid, title),
        "description": maps.description,
        "kind": maps.kind,
        "title": item.name,
        "score": score_of_shown(maps.score, tokens),
        "caveat": maps.caveat,
        "style": replace(_style(state, maps), vmin=grid.low, vmax=grid.high),
    }
    media = item.media
    figure: AnyFigure
    if isinstance(grid.geometry, ImageGeometry) and media.pixels is not None:
        figure = ImageMapFigure(
            media.pixels,
            grid.values,
            grid.geometry,
            show_patches=state.view.show_grid,
            show_map=state.view.show_map,
            **common,
        )
    elif isinstance(grid.geometry, TimeGeometry) and media.samples is not None:
        figure = TimeMapFigure(media.samples, media.sample_rate, grid.values, grid.geometry, **common)
    else:
        raise InputError(f"The map does not belong to {item.name}; wait until the new one is there.")
    provenance = _provenance_of_maps(state, item, sequence, maps, tokens)
    return Exported(figure, provenance, _stem(item.name, *tokens[:3]))


def _tokens(state: SessionState) -> Exported:
    item, sequence, maps, _, _ = _shown_map(state)
    chosen = [index for index in state.tokens if index < len(maps.tokens)]
    if not chosen:
        chosen = [index for index, token in enumerate(maps.tokens) if not token.special]
    chosen = chosen[:_STRIP_TOKENS]
    if not chosen:
        raise InputError("There is no token to show; choose some in the token strip.")
    spans = [maps.tokens[index] for index in chosen]
    figure = TokenStripFigure(
        values=maps.values[chosen],
        tokens=tuple(span.text for span in spans),
        geometry=maps.geometry,
        pixels=item.media.pixels,
        samples=item.media.samples,
        sample_rate=item.media.sample_rate,
        probabilities=tuple(None if span.logprob is None else float(np.exp(span.logprob)) for span in spans),
        text=sequence.text.strip(),
        description=maps.description,
        kind=maps.kind,
        title=item.name,
        score=score_of_shown(maps.score, [span.text for span in spans]),
        caveat=maps.caveat,
        style=_style(state, maps),
        shared_scale=state.view.shared_scale,
    )
    provenance = _provenance_of_maps(state, item, sequence, maps, list(figure.tokens))
    return Exported(figure, provenance, _stem(item.name, "tokens"))


def _shown_map(state: SessionState) -> tuple[LibraryItem, TokenSequence, TokenMaps, ShownGrid, str]:
    """What the viewer shows while no token is hovered, and its title."""
    if state.current is None:
        raise InputError("Choose an item first.")
    snapshot = resolve(state.current, state.sequence, state.maps, state.tokens, None, state.view)
    if state.sequence is None or state.maps is None or snapshot.grid is None:
        raise InputError(
            f"{state.current.name} has no map yet: caption or transcribe it, or describe what to look for."
        )
    return state.current, state.sequence, state.maps, snapshot.grid, snapshot.title


def _subject(sequence: TokenSequence, maps: TokenMaps, grid: ShownGrid, title: str) -> str:
    """What the map is of; a figure stands alone, so it quotes the text that the window shows beside it."""
    if grid.basis is Basis.WHOLE:
        return f"whole text “{sequence.text.strip()}”"
    if grid.basis is Basis.MEAN:
        return f"mean over “{sequence.text.strip()}”"
    return (
        maps.tokens[grid.tokens[0]].text if len(grid.tokens) == 1 else title.removesuffix(f" · {maps.kind}")
    )


def _style(state: SessionState, maps: TokenMaps) -> MapStyle:
    view = state.view
    return MapStyle(
        colormap=suited(view.colormap, maps.signed),
        opacity=view.opacity,
        interpolation=cast(Interpolation, view.interpolation),
        signed=maps.signed,
    )


def _provenance_of_maps(
    state: SessionState, item: LibraryItem, sequence: TokenSequence, maps: TokenMaps, tokens: list[str]
) -> Provenance:
    info = next((model for model in state.models if model.id == maps.model_id), None)
    style = {name: getattr(state.view, name) for name in ("colormap", "interpolation", "opacity")}
    return build_provenance(info, _named(item), maps, tokens, sequence.text.strip(), style=style)


# --- scores ------------------------------------------------------------------------------------------
def _scores(state: SessionState) -> Exported:
    scores = _have_scores(state)
    item = state.current
    if item is None or item.id not in scores.items:
        raise InputError("The chosen item has no scores: choose an image.")
    row = scores.items.index(item.id)
    figure = _score_figure(scores, [row], (item.name,), item.name, item.media)
    return Exported(figure, _provenance_of_scores(state, scores, item), _stem(item.name, "scores"))


def _table(state: SessionState) -> Exported:
    scores = _have_scores(state)
    names_by_id = {item.id: item.name for item in state.items}
    rows = [row for row, item_id in enumerate(scores.items) if item_id in names_by_id]
    names = tuple(names_by_id[scores.items[row]] for row in rows)
    figure = _score_figure(scores, rows, names, "Zero-shot scores", None)
    return Exported(figure, _provenance_of_scores(state, scores, None), "scores-of-all-items")


def _have_scores(state: SessionState) -> Scores:
    if state.scores is None or not state.scores.labels:
        raise InputError("There are no scores yet: type a few labels in the Labels panel.")
    return state.scores


def _score_figure(
    scores: Scores, rows: list[int], names: tuple[str, ...], title: str, media: Media | None
) -> ScoreFigure:
    return ScoreFigure(
        labels=scores.labels,
        probabilities=scores.probabilities[rows],
        similarities=scores.similarities[rows],
        items=names,
        activation=scores.activation,
        templates=scores.templates,
        title=title,
        pixels=media.pixels if media is not None else None,
    )


def _provenance_of_scores(state: SessionState, scores: Scores, item: LibraryItem | None) -> Provenance:
    media = _named(item) if item is not None else None
    asked: dict[str, Any] = {"labels": list(scores.labels), "templates": list(scores.templates)}
    made = build_provenance(state.model, media, **asked)
    return replace(made, method=f"zero-shot, {scores.activation} over {len(scores.labels)} labels")


# --- the plane ---------------------------------------------------------------------------------------
def _scatter(state: SessionState) -> Exported:
    projection, embeddings = state.projection, state.embeddings
    if projection is None or embeddings is None:
        raise InputError("Nothing is placed yet: open the Space panel and add items.")
    by_id = {item.id: item for item in state.items}
    kept = [row for row, item_id in enumerate(projection.items) if item_id in by_id]
    items = [by_id[projection.items[row]] for row in kept]
    places = {item.id: place for place, item in enumerate(items)}
    chosen = places.get(state.current.id) if state.current is not None else None
    near: list[tuple[int, float]] = []
    if chosen is not None and items[chosen].id in embeddings.items:
        index = embeddings.items.index(items[chosen].id)
        rows, cosines = nearest(embeddings.vectors, index, _NEIGHBOURS)
        pairs = zip((embeddings.items[row] for row in rows), cosines, strict=True)
        near = [(places[item_id], float(cosine)) for item_id, cosine in pairs if item_id in places]
    with_pictures = len(items) <= _THUMBNAILS_UP_TO
    label = PROJECTIONS.get(projection.method).label
    figure = ScatterFigure(
        coordinates=projection.coordinates[kept],
        names=tuple(short_name(item) for item in items),
        modalities=tuple(item.media.modality for item in items),
        method=label,
        details=projection.details,
        title="Embedding space" if state.model is None else f"Embedding space of {state.model.label}",
        thumbnails=tuple(_thumbnail(item.media) for item in items) if with_pictures else (),
        chosen=chosen,
        neighbours=tuple(near),
    )
    made = build_provenance(state.model, items=[item.id for item in items], details=projection.details)
    return Exported(figure, replace(made, method=f"{label} of embeddings"), f"space-{projection.method}")


def _thumbnail(media: Media) -> NDArray[np.uint8] | None:
    if media.pixels is None:
        return None
    step = max(1, -(-max(media.pixels.shape[:2]) // _THUMBNAIL_PIXELS))
    return media.pixels[::step, ::step]


# --- names -------------------------------------------------------------------------------------------
def _named(item: LibraryItem) -> Media:
    """The media under the name that the user gave it."""
    return replace(item.media, name=item.name)


def _stem(*parts: str) -> str:
    """A file name that every system takes."""
    first, *rest = parts
    joined = "-".join([first.rsplit(".", 1)[0], *rest])
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in joined)
    return "-".join(part for part in kept.split("-") if part)[:80] or "figure"


_MAKERS: dict[FigureKind, Callable[[SessionState], Exported]] = {
    FigureKind.VIEW: _view,
    FigureKind.TOKENS: _tokens,
    FigureKind.SCORES: _scores,
    FigureKind.TABLE: _table,
    FigureKind.SCATTER: _scatter,
}
