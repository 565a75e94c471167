"""Phrases grounded in boxes: as the library reads them, carried to the original picture."""

from __future__ import annotations

import numpy as np
import pytest
from transformers.models.kosmos2.processing_kosmos2 import clean_text_and_extract_entities_with_bboxes

from mmviewer.core.grounding import to_original
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.vlm.signs import grounded
from mmviewer.core.types import Media, Modality

SAID = (
    "<grounding> An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object>"
    " and<phrase> two fires</phrase><object><patch_index_0005><patch_index_0911>"
    "</delimiter_of_multi_objects/><patch_index_0100><patch_index_0103></object>."
)


def pieces(text: str) -> list[str]:
    """Tags by themselves, words letter by letter."""
    found, place = [], 0
    while place < len(text):
        end = text.find(">", place) + 1 if text[place] == "<" else place + 1
        found.append(text[place:end])
        place = end
    return found


def test_boxes_are_those_of_the_library():
    _, entities = clean_text_and_extract_entities_with_bboxes(SAID)
    names = pieces(SAID)
    ours = list(grounded(names, 32))
    assert ["".join(names[place] for place in places).strip() for places, _ in ours] == [
        name for name, _, _ in entities
    ]
    for (_, boxes), (_, _, expected) in zip(ours, entities, strict=True):
        for (top, left, bottom, right), (x1, y1, x2, y2) in zip(boxes, expected, strict=True):
            assert (left, top, right, bottom) == pytest.approx((x1, y1, x2, y2))


@pytest.mark.parametrize(
    "text",
    [
        "<phrase>a</phrase>",
        "<phrase>a</phrase><object><patch_index_0001></object>",
        "<phrase>a</phrase><object><patch_index_0001><patch_index_9999></object>",
        "<phrase>a</phrase><object><patch_index_0001><patch_index_0002>",
        "<object><patch_index_0001><patch_index_0002></object>",
        "<phrase>a</phrase> b <object><patch_index_0001><patch_index_0002></object>",
        "<phrase>a</phrase><object><patch_index_0500><patch_index_0002></object>",
        "</object></phrase><object>",
    ],
)
def test_what_is_not_well_formed_is_left_out(text):
    assert list(grounded(pieces(text), 32)) == []


def test_a_phrase_of_the_model_lies_on_the_original_picture():
    model = FAMILIES.get("kosmos").tiny()
    pixels = np.zeros((60, 140, 3), np.uint8)
    prepared = model.prepare(Media("picture", Modality.IMAGE, "picture", pixels=pixels))
    said = [
        "<phrase>",
        *"cat",
        "</phrase>",
        "<object>",
        "<patch_index_0000>",
        "<patch_index_0003>",
        "</object>",
    ]
    ids = model._codec.tokenizer.convert_tokens_to_ids(said)
    text, tokens = model.token_text(ids)
    (phrase,) = model.phrases(text, tokens, prepared.geometry)
    assert (phrase.text, phrase.tokens) == ("cat", (1, 2, 3))
    # the middle half of a crop of 60 x 60 pixels from the middle of the picture
    assert phrase.boxes[0] == pytest.approx((15, 55, 45, 85), abs=1.5)
    assert to_original((0, 0, 1, 1), prepared.geometry) == pytest.approx((0, 40, 60, 100), abs=1.5)
