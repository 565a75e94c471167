"""What commands write: JSON facts and NPZ files, as documented in each command's help."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mmviewer.core.cautions import applying
from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.explain.selection import ShownMap, text_of
from mmviewer.core.figures.arrays import arrays
from mmviewer.core.figures.provenance import build_provenance, provenance_json
from mmviewer.core.media.files import write_atomically
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.types import (
    Embeddings,
    FloatArray,
    Geometry,
    Media,
    ModelInfo,
    TokenMaps,
    TokenSequence,
    TokenSpan,
)


def model_facts(info: ModelInfo) -> dict[str, Any]:
    """What JSON says of a model."""
    names = ("label", "source", "revision", "weights_hash", "device", "dtype", "preprocessing")
    return {name: getattr(info, name) for name in names}


def token_facts(token: TokenSpan) -> dict[str, Any]:
    """What JSON says of a token."""
    names = ("index", "id", "text", "start", "end", "logprob", "special", "given")
    return {name: getattr(token, name) for name in names}


def ranking(
    labels: Sequence[str], probabilities: FloatArray, similarities: FloatArray
) -> list[dict[str, Any]]:
    """Labels with their scores for one item, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")
    return [
        {
            "label": labels[place],
            "probability": float(probabilities[place]),
            "similarity": float(similarities[place]),
        }
        for place in order
    ]


def explanation_facts(
    media: Media, sequence: TokenSequence, maps: TokenMaps, shown: ShownMap
) -> dict[str, Any]:
    """What ``mmviewer explain --json`` says of its maps."""
    spec = maps.spec
    return {
        "path": media.path,
        "notes": list(media.notes),
        "kind": maps.kind.value,
        "sequence": sequence.kind,
        "text": sequence.text,
        "method": spec.method,
        "point": spec.point,
        "layer": spec.layer,
        "head": spec.head,
        "description": maps.description,
        "score": maps.score,
        "caveat": maps.caveat,
        "cautions": [
            {"text": each.text, "page": each.page} for each in applying(maps.cautions, shown.tokens)
        ],
        "signed": maps.signed,
        "geometry": asdict(maps.geometry),
        "tokens": [token_facts(token) for token in sequence.tokens],
        "shown": {
            "label": shown.label,
            "tokens": list(shown.tokens),
            "grid": shown.grid.tolist(),
            "peak": peak(shown.grid, maps.geometry),
        },
    }


def peak(grid: FloatArray, geometry: Geometry) -> dict[str, float]:
    """Where a map is largest: the centre of its patch in pixels of the original, or its time in seconds."""
    if not isinstance(geometry, ImageGeometry):
        grid = grid[: max(geometry.valid, 1)]  # what is shown in the padding lies outside of the sound
    place = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
    value = float(grid[place])
    if isinstance(geometry, ImageGeometry):
        row, column = int(place[0]), int(place[1])
        top, left, bottom, right = geometry.cell_box(row, column)
        return {
            "value": value,
            "row": row,
            "column": column,
            "x": float(left + right) / 2,
            "y": float(top + bottom) / 2,
        }
    start, end = geometry.span(int(place[0]))
    return {"value": value, "position": int(place[0]), "seconds": (start + end) / 2}


def peak_words(found: dict[str, float]) -> str:
    """The same for people."""
    if "seconds" in found:
        return f"{found['seconds']:.2f} s ({found['value']:.4f})"
    place = f"row {found['row'] + 1}, column {found['column'] + 1}"
    return f"{place}, pixel ({found['x']:.0f}, {found['y']:.0f}) ({found['value']:.4f})"


def check_target(path: str | None, endings: Sequence[str]) -> None:
    """Refuse a file that could not be written before any work is done for it."""
    if path is None:
        return
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise InputError(f"{path} must end in {' or '.join(endings)}.")
    if not target.absolute().parent.is_dir():
        raise ExportError(f"{path} cannot be written: its folder does not exist; choose another one.")


def write_maps(path: str, info: ModelInfo, media: Media, maps: TokenMaps, shown: ShownMap) -> None:
    """Write the shown map and those of all tokens as an NPZ."""
    from mmviewer.api import map_figure  # imports PyTorch, which not every command needs

    chosen = [maps.tokens[index].text for index in shown.tokens]
    provenance = build_provenance(info, media, maps, chosen, text_of(maps.tokens))
    named: dict[str, Any] = {
        **arrays(map_figure(maps, media, shown)),
        "shown": np.array(shown.label),
        "tokens": np.array([token.text for token in maps.tokens]),
        "token_grids": maps.values,
        "provenance": np.array(provenance_json(provenance)),
    }
    _write_npz(path, named)


def write_embeddings(path: str, info: ModelInfo, items: Sequence[Media], embeddings: Embeddings) -> None:
    """Write unit vectors and what they belong to as an NPZ."""
    named = {
        "vectors": embeddings.vectors,
        "ids": np.array(embeddings.items),
        "names": np.array([item.name for item in items]),
        "modalities": np.array([item.modality.value for item in items]),
        "paths": np.array([item.path or "" for item in items]),
        "provenance": np.array(provenance_json(build_provenance(info))),
    }
    _write_npz(path, named)


def _write_npz(path: str, named: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    write_atomically(Path(path), buffer.getvalue(), ExportError)
