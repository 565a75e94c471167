"""The forward pass of the training is open_clip's own, and its losses are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 the name everyone knows

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe import losses as training
from recipe.alignment import LabelBank
from recipe.batches import Batch, CaptionEncoder, collate
from recipe.bpe import write_bpe
from recipe.coca import BPE_NAME, build, config, normalise, save_folder, tokenizer, warm_start
from recipe.forward import cut, decode, encode_images, encode_texts, patch_features, vocabulary_logits
from recipe.losses import Weights, kept_patches, losses
from recipe.questions import Question
from recipe.scenes import Scene, SceneGenerator, label_prompt
from recipe.stem import STEM, openvino_features, stem_of

TEXTS = ["an owl", "an owl to the left of two wolves", " ".join(["owl"] * 40)]


@pytest.fixture(scope="module")
def bpe(concepts, tmp_path_factory):
    path = tmp_path_factory.mktemp("bpe") / BPE_NAME
    write_bpe(path, concepts)
    return path


@pytest.fixture(scope="module", params=[None, STEM], ids=["plain", "stem"])
def model(request, bpe):
    """A tiny random model, with and without the stem."""
    small = config(
        tokenizer(bpe).vocab_size, width=32, head_width=16, vision_layers=1, text_layers=2, decoder_layers=2
    )
    return build(small, seed=3, stem=request.param).eval()


@pytest.fixture(scope="module")
def batch(bpe, concepts, sprites) -> Batch:
    scenes = SceneGenerator(concepts, sprites, range(len(concepts)), seed=4)
    drawn = [scenes.scene() for _ in range(6)]
    for scene in drawn[:4]:
        scene.questions = [Question(("how", "many", "owls"), ("two",), 0, "count")]
    return collate(drawn, CaptionEncoder(tokenizer(bpe)), 8, range(len(concepts)))


@pytest.fixture(scope="module")
def bank(bpe, concepts) -> LabelBank:
    return LabelBank(tokenizer(bpe), [label_prompt(c) for c in concepts])


@torch.no_grad()
def test_it_is_the_forward_pass_of_the_library(model, bpe):
    pixels = torch.randint(
        0, 256, (3, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    rows = tokenizer(bpe)(TEXTS, context_length=24)
    assert [int((row != 0).sum()) for row in rows] == [4, 10, 24]
    wanted = model(normalise(pixels), rows)
    pictures, patches = encode_images(model, patch_features(model, pixels))
    texts, words = encode_texts(model, rows, torch.float32)
    decoded = decode(model, patches, words[:, :-1], (rows != 0).sum(1) - 1, layer=1)
    torch.testing.assert_close(pictures, wanted["image_features"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(texts, wanted["text_features"], atol=1e-5, rtol=1e-4)
    logits = wanted["logits"].flatten(0, 1)[decoded.packing.index]
    torch.testing.assert_close(vocabulary_logits(model, decoded.states), logits, atol=1e-4, rtol=1e-4)
    assert len(decoded.states) == 3 + 9 + 23
    torch.testing.assert_close(decoded.attention.sum(-1), torch.ones(3, 2, 23))


@torch.no_grad()
def test_rows_that_are_cut_have_the_same_vectors(model, bpe):
    rows = tokenizer(bpe)(TEXTS[:2], context_length=24)
    assert cut(rows).shape == (2, 11)
    whole, short = (encode_texts(model, r, torch.float32)[0] for r in (rows, cut(rows)))
    torch.testing.assert_close(short, whole, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_two_rows_of_words_for_a_picture_do_not_see_each_other(model, bpe):
    pixels = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    _, patches = encode_images(model, patch_features(model, pixels))
    _, words = encode_texts(
        model, tokenizer(bpe)([*TEXTS[:2], *TEXTS[1::-1]], context_length=24), torch.float32
    )
    lengths = torch.tensor([3, 9, 9, 3])
    together = decode(model, patches, words, lengths, layer=0)
    alone = decode(model, patches.repeat_interleave(2, 0), words, lengths, layer=0)
    torch.testing.assert_close(together.states, alone.states, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.attention[:, :, :3], alone.attention[:, :, :3], atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_openvino_computes_the_stem():
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model = build(config(600, width=32, head_width=16, vision_layers=1), stem=STEM)
    stem = stem_of(model)
    assert stem is not None
    pixels = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    wanted = patch_features(model, pixels)
    found = openvino_features(stem, 256, precision="f32")(pixels)
    assert found.shape == (2, 64, 4 * 112 + 1280)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), wanted, atol=2e-3, rtol=2e-3)


def test_the_losses_are_finite_and_reach_every_part_but_the_trunk(model, batch, bank):
    parts = losses(model.train(), batch, bank, guide_layer=1, kept=0.6, dtype=torch.float32)
    assert all(math.isfinite(part.item()) and part.item() > 0 for part in parts)
    weights = Weights(captioning=3.0)
    torch.testing.assert_close(
        parts.total(weights), sum(w * part for w, part in zip(weights, parts, strict=True))
    )
    model.zero_grad()
    torch.autograd.backward(parts.total(weights))
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert all(".trunk." in name or name.endswith(".mlp.c_proj.bias") for name in without), without


@torch.no_grad()
def test_captioning_and_answering_are_the_librarys_cross_entropies(model, batch, bank):
    parts = losses(model, batch, bank, guide_layer=1, dtype=torch.float32)
    rows = torch.cat([batch.captions, batch.questions])[batch.slots]
    pixels = normalise(batch.images).repeat_interleave(2, 0)
    logits = model(pixels, rows)["logits"]
    for part, chosen in ((parts.captioning, ~batch.answers), (parts.answering, batch.answers)):
        wanted = F.cross_entropy(
            logits[chosen].flatten(0, 1), batch.next_tokens[chosen].flatten(), ignore_index=0
        )
        torch.testing.assert_close(part, wanted, atol=1e-4, rtol=1e-4)


def test_pictures_are_told_from_false_captions_and_not_from_their_own_twins(batch):
    texts = torch.eye(8)
    captions = torch.arange(1, 5)[:, None].expand(4, 24)
    four = batch._replace(captions=captions, negatives=captions[:0])
    scale = torch.tensor(10.0)
    alone = training._contrastive(texts[:4], texts[:4], scale, four)
    false = batch._replace(captions=captions, negatives=torch.full((4, 24), 9))
    with_false = training._contrastive(texts[:4], torch.cat([texts[:4], texts[:4]]), scale, false)
    twins = batch._replace(captions=captions, negatives=captions.flip(0))
    with_twins = training._contrastive(texts[:4], torch.cat([texts[:4], texts[:4].flip(0)]), scale, twins)
    assert float(with_false) == pytest.approx(float(alone) + math.log(2) / 2, abs=1e-3)
    assert float(with_twins) == pytest.approx(float(alone) + math.log(2) / 2 / 2, abs=0.2)
    same = batch._replace(captions=captions[:1].expand(4, 24), negatives=captions[:0])
    assert float(training._contrastive(texts[:4], texts[:4], scale, same)) == pytest.approx(0.0, abs=1e-5)


def test_patches_of_nouns_are_kept_first(batch):
    keep = kept_patches(batch, 0.5)
    assert keep.shape == (6, 32)
    assert (keep[:, 1:] > keep[:, :-1]).all()
    inside = torch.zeros(6, 64, dtype=torch.bool)
    for row, mask in zip(batch.noun_row.tolist(), batch.noun_inside, strict=True):
        inside[row] |= mask
    kept = inside.gather(1, keep).float().mean()
    assert kept > inside.float().mean()


@torch.no_grad()
def test_a_model_with_a_stem_starts_from_one_without(bpe, tmp_path):
    small = config(tokenizer(bpe).vocab_size, width=32, head_width=16, vision_layers=1)
    plain = build(small, seed=8)
    save_folder(tmp_path, plain.state_dict(), small, bpe)
    model = build(small, seed=9, stem=STEM)
    own = warm_start(model, tmp_path)
    assert own
    assert all(name.startswith("visual.conv1.") for name in own)
    torch.testing.assert_close(model.text.cls_emb, plain.text.cls_emb.half().float())


@torch.no_grad()
def test_a_scene_without_anything_to_decode_has_no_loss_for_it(model, bank, bpe):
    scene = Scene(np.zeros((256, 256, 3), np.uint8), [("owl", 0)], [[(0, 0, 99, 99)]], [2], decodable=False)
    batch = collate([scene, scene], CaptionEncoder(tokenizer(bpe)), 8, range(6))
    parts = losses(model, batch, bank, guide_layer=0, dtype=torch.float32)
    assert float(parts.captioning) == float(parts.answering) == float(parts.guidance) == 0.0
    assert float(parts.alignment) > 0
