"""Whether what the sample session says of a model is true of its weights.

A claim is a small table with one of these keys:

=============  ==================================================================================
``caption``    words that the caption holds; with ``lacks``: words that it does not hold
``map``        a word of the caption whose attention peaks ``on`` a thing of the sample; "" for its last word
``find``       a description whose map peaks ``on`` a thing; for a sound, in its seconds
``ask``        a question whose answer ``is`` these words, or is anything but what it ``should`` be
``label``      the likeliest label ``among`` these, or among the model's own without them
``nearer``     another sample whose embedding lies nearer ``than`` that of a third
=============  ==================================================================================

``model`` names another model that ships, of which the claim is made instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

import mmviewer as mv
from mmviewer.core.explain.selection import show, tokens_of_word
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.session.samples import Sample
from mmviewer.core.types import Media, TokenMaps, TokenSequence

_FIND_METHOD = "gradient_attention"
"""What the window shows for a description at first."""

Claim = Mapping[str, Any]


@dataclass(eq=False)
class Witness:
    """Answers claims about one sample."""

    model: LoadedModel
    sample: Sample
    folder: Path

    @cached_property
    def media(self) -> Media:
        """The decoded sample."""
        return mv.open(self.folder / self.sample.file)

    @cached_property
    def caption(self) -> TokenSequence:
        """What the model writes."""
        return mv.caption(self.model, self.media)

    def disproved(self, claim: Claim) -> str:
        """Why a claim is false, empty where it is true; `ValueError` for a claim of an unknown kind."""
        if "model" in claim:
            other = Witness(_loaded(claim["model"]), self.sample, self.folder)
            return other.disproved({key: value for key, value in claim.items() if key != "model"})
        for kind, check in _CHECKS.items():
            if kind in claim:
                return check(self, claim)
        raise ValueError(f"{self.sample.file} claims something unknown: {dict(claim)}")

    def _caption(self, claim: Claim) -> str:
        said = self.caption.text.split()
        missing = [word for word in claim["caption"] if word not in said]
        wrong = [word for word in claim.get("lacks", ()) if word in said]
        return f"the caption is “{self.caption.text.strip()}”" if missing or wrong else ""

    def _map(self, claim: Claim) -> str:
        said = self.caption.text.split()
        word = claim["map"] or said[-1]
        if word not in said:
            return f"“{word}” is not in the caption “{self.caption.text.strip()}”"
        maps = mv.explain(self.model, self.media, self.caption)
        return self._off(maps, show(maps, tokens_of_word(maps.tokens, word)).grid, claim["on"])

    def _find(self, claim: Claim) -> str:
        maps = mv.explain(self.model, self.media, claim["find"], method=_FIND_METHOD)
        word = claim.get("word")
        chosen = tokens_of_word(maps.tokens, word) if word else ()
        return self._off(maps, show(maps, chosen).grid, claim["on"])

    def _off(self, maps: TokenMaps, grid: np.ndarray, thing: str) -> str:
        """Where a map peaks, if that is not on `thing`."""
        box, place = self.sample.things[thing], np.unravel_index(int(np.nanargmax(grid)), grid.shape)
        if isinstance(maps.geometry, ImageGeometry):
            top, left, bottom, right = maps.geometry.cell_box(int(place[0]), int(place[1]))
            height, width = maps.geometry.source
            x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
            inside = box[0] <= x <= box[2] and box[1] <= y <= box[3]
            return "" if inside else f"the map peaks at ({x:.2f}, {y:.2f}), outside of the {thing} {box}"
        start, end = maps.geometry.span(int(place[0]))
        inside = box[0] <= (start + end) / 2 <= box[1]
        return "" if inside else f"the map peaks at {start:.2f} s, outside of the {thing} {box}"

    def _ask(self, claim: Claim) -> str:
        answer = mv.ask(self.model, self.media, claim["ask"])
        said = " ".join(token.text.strip() for token in answer.tokens if not (token.given or token.special))
        holds = said == claim["is"] if "is" in claim else said != claim["should"]
        return "" if holds else f"the answer to “{claim['ask']}” is “{said}”"

    def _label(self, claim: Claim) -> str:
        labels = claim.get("among") or self.model.info.labels
        scores = mv.classify(self.model, self.media, labels)
        best = labels[int(scores.probabilities[0].argmax())]
        return "" if best == claim["label"] else f"the likeliest label is “{best}”"

    def _nearer(self, claim: Claim) -> str:
        others = [mv.open(self.folder / claim[key]) for key in ("nearer", "than")]
        own, near, far = mv.embed(self.model, [self.media, *others]).vectors
        return "" if own @ near > own @ far else f"cosines {own @ near:.2f} and {own @ far:.2f}"


@cache
def _loaded(source: str) -> LoadedModel:
    return mv.load(source)


_CHECKS: dict[str, Callable[[Witness, Claim], str]] = {
    "caption": Witness._caption,
    "map": Witness._map,
    "find": Witness._find,
    "ask": Witness._ask,
    "label": Witness._label,
    "nearer": Witness._nearer,
}
