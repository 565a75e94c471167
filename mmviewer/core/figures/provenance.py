"""Where a figure comes from: collected once, written as metadata and as a caption (NumPy only)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import mmviewer
from mmviewer.core.explain.selection import question_of
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.targets import score_of_shown
from mmviewer.core.types import Geometry, HeadChoice, Media, ModelInfo, Provenance, TokenMaps

_HASH_SHOWN = 12
_PART_SHOWN = 110


def build_provenance(
    info: ModelInfo | None = None,
    media: Media | None = None,
    maps: TokenMaps | None = None,
    tokens: Sequence[str] = (),
    text: str = "",
    **extra: Any,
) -> Provenance:
    """Collect what is needed to make a figure again.

    Parameters
    ----------
    info : ModelInfo, optional
    media : Media, optional
        The item shown.
    maps : TokenMaps, optional
        Where the map comes from.
    tokens : sequence of str
        The tokens shown, as on their chips.
    text : str
        The caption, transcript or query they belong to.
    **extra
        Anything else that JSON can hold.
    """
    model = {} if info is None else _of_model(info)
    item = {} if media is None else {"item": media.name, "item_id": media.id}
    source = {} if maps is None else _of_maps(maps, tokens)
    if media is not None and media.notes:
        extra = {"item_notes": list(media.notes), **extra}
    if maps is not None:
        # as the command line and the Python interface take it: layers and heads counted from 0
        asked = question_of(maps.tokens)
        question = {"question": asked} if asked else {}
        cautions = {"cautions": [each.text for each in maps.cautions]} if maps.cautions else {}
        extra = {
            "spec": asdict(maps.spec),
            "geometry": _geometry_values(maps.geometry),
            **question,
            **cautions,
            **extra,
        }
    return Provenance(
        version=mmviewer.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tokens=" ".join(tokens),
        text=text,
        extra=extra,
        **model,
        **item,
        **source,
    )


def provenance_json(provenance: Provenance) -> str:
    """One line of JSON in ASCII, as every file format's metadata can hold it."""
    return json.dumps(asdict(provenance), ensure_ascii=True, default=str)


def provenance_from_json(text: str) -> Provenance:
    """Read what `provenance_json` wrote; keys of later versions are dropped."""
    known = Provenance.__dataclass_fields__
    return Provenance(**{key: value for key, value in json.loads(text).items() if key in known})


def caption_line(provenance: Provenance) -> str:
    """The figure's caption: item, model, method, preprocessing, program."""
    weights = provenance.weights_hash[:_HASH_SHOWN]
    revision = provenance.revision[:_HASH_SHOWN]
    # the hash says more than the revision; a revision alone is better than nothing
    state = f"weights {weights}" if weights else f"revision {revision}" if revision else ""
    model = f"{provenance.model} ({state})" if state else provenance.model
    place = ", ".join(
        part
        for part in (
            provenance.method,
            f"layer {provenance.layer}" if provenance.layer else "",
            f"head {provenance.head}" if provenance.head else "",
        )
        if part
    )
    question = provenance.extra.get("question")
    asked = f"asked “{question}”" if question else ""
    parts = (provenance.item, asked, model, place, provenance.preprocessing, f"mmviewer {provenance.version}")
    return " · ".join(_shortened(part) for part in (*parts, provenance.created[:10]) if part)


def _shortened(part: str) -> str:
    """Keep both ends of a very long name, so that what follows it has room."""
    line = " ".join(part.split())
    return line if len(line) <= _PART_SHOWN else f"{line[: _PART_SHOWN - 30]}…{line[-29:]}"


def _of_model(info: ModelInfo) -> dict[str, str]:
    return {
        "model": info.label,
        "model_source": info.source,
        "revision": info.revision,
        "weights_hash": info.weights_hash,
        "device": info.device,
        "dtype": info.dtype,
        "preprocessing": info.preprocessing,
    }


def _of_maps(maps: TokenMaps, tokens: Sequence[str]) -> dict[str, str]:
    score = score_of_shown(maps.score, tokens)
    layer = maps.spec.layer
    return {
        "method": maps.spec.method,
        "kind": f"{maps.kind} of {score}" if score else str(maps.kind),
        # people count layers and heads from 1
        "layer": "" if layer is None else str(layer + 1),
        "head": _head_words(maps.spec.head),
    }


def _head_words(head: HeadChoice) -> str:
    if isinstance(head, tuple):
        return ", ".join(str(each + 1) for each in head)
    return str(head + 1) if isinstance(head, int) else head


def _geometry_values(geometry: Geometry) -> dict[str, Any]:
    kind = "image" if isinstance(geometry, ImageGeometry) else "time"
    return {"of": kind, **asdict(geometry)}
