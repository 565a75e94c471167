"""Florence-2: logits, attention and text are the library's; positions are where the picture changed."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES, ModelSource
from mmviewer.core.models.hf.captions import CROSS, DECODER
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.vlm.florence import ENCODER
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import Media, Modality, Sampling


@pytest.fixture(scope="module")
def model():
    return FAMILIES.get("florence").tiny()


@pytest.fixture(scope="module")
def media():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 140, 3), dtype=np.uint8)
    return Media("picture", Modality.IMAGE, "picture", pixels=pixels)


def library_inputs(model, prepared) -> dict[str, torch.Tensor]:
    """What the library's processor gives: image tokens, then the task between its special tokens."""
    image = torch.full((1, 17), model.module.config.image_token_id)
    return {
        "input_ids": torch.cat((image, model._task), dim=1),
        "pixel_values": prepared.inputs["pixels"],
    }


def test_logits_and_attention_are_the_librarys(model, media):
    prepared = model.prepare(media)
    ids = [*model.decoder(prepared).prompt, *(token.id for token in model.tokenize("a cat"))]
    with capture(model, {CROSS: None, DECODER: None, ENCODER: None}) as captured:
        ours = model.sequence_logits(prepared, ids)
    eager = copy.deepcopy(model.module)
    eager.set_attn_implementation("eager")
    inputs = library_inputs(model, prepared)
    output = eager(**inputs, decoder_input_ids=torch.tensor([ids]), output_attentions=True)
    torch.testing.assert_close(ours, output.logits[0], atol=1e-5, rtol=0)
    theirs = (output.cross_attentions, output.decoder_attentions, output.encoder_attentions)
    for name, expected in zip((CROSS, DECODER, ENCODER), theirs, strict=True):
        for own, other in zip(captured[name], expected, strict=True):
            torch.testing.assert_close(own, other, atol=1e-5, rtol=0)


def test_text_is_the_librarys(model, media):
    prepared = model.prepare(media)
    ours = generate(model, prepared, Sampling(max_tokens=5))
    written = model.module.generate(**library_inputs(model, prepared), max_new_tokens=5, do_sample=False)
    ids = [*ours.prompt_ids, *(token.id for token in ours.tokens)]
    assert ids[:-1] == written[0, :-1].tolist()  # the library forces an end at the last place


def test_a_changed_part_changes_its_own_neighbourhood_most(model, media):
    def seen(pixels):
        prepared = model.prepare(Media("picture", Modality.IMAGE, "picture", pixels=pixels))
        with torch.no_grad():
            features = model.module.get_image_features(prepared.inputs["pixels"]).pooler_output
        return features[0, 1:], prepared.geometry

    even = np.full_like(media.pixels, 128)
    before, geometry = seen(even)
    for cell in ((0, 0), (0, 3), (1, 2), (2, 1), (3, 0), (3, 3)):
        top, left, bottom, right = (round(edge) for edge in geometry.cell_box(*cell))
        pixels = even.copy()
        pixels[top:bottom, left:right] = 255
        moved = (seen(pixels)[0] - before).norm(dim=-1)
        row, column = divmod(int(moved.argmax()), 4)
        # overlapping convolutions of random weights may carry most of it one position further
        assert abs(row - cell[0]) <= 1
        assert abs(column - cell[1]) <= 1


def test_a_saved_folder_is_the_same_model(model, media, tmp_path):
    model.module.save_pretrained(tmp_path)
    model._codec.tokenizer.save_pretrained(tmp_path)
    model._pixels._processor.save_pretrained(tmp_path)
    assert FAMILIES.get("florence").recognises(ModelSource(str(tmp_path)))
    loaded = load_model(str(tmp_path), device="cpu")
    prepared = loaded.prepare(media)
    ids = loaded.decoder(prepared).prompt
    expected = model.sequence_logits(model.prepare(media), ids)
    torch.testing.assert_close(loaded.sequence_logits(prepared, ids), expected)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "auto_map": {"AutoConfig": "x.Y"}}))
    with pytest.raises(ModelError, match="code of its own"):
        load_model(str(tmp_path), device="cpu")
