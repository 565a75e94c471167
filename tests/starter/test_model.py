"""The folder that is exported, and the maps that are trained and measured."""

from __future__ import annotations

import open_clip
import pytest
import torch
from PIL import Image

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe.alignment import REFRESH_EVERY, LabelBank, alignment_loss, region_vectors
from recipe.bpe import write_bpe
from recipe.coca import BPE_NAME, IMAGE, build, config, load_folder, normalise, save_folder, tokenizer
from recipe.crossattention import attention_weights, recorded
from recipe.scenes import Scene, SceneGenerator, label_prompt


@pytest.fixture(scope="module")
def tiny(concepts, tmp_path_factory):
    """A tiny random model with its vocabulary, exported."""
    folder = tmp_path_factory.mktemp("tiny")
    bpe = folder / BPE_NAME
    write_bpe(bpe, concepts)
    small = config(
        tokenizer(bpe).vocab_size, width=32, head_width=16, vision_layers=1, text_layers=1, decoder_layers=2
    )
    model = build(small, seed=5).eval()
    save_folder(folder, model.state_dict(), small, bpe)
    return folder, model


@pytest.fixture(scope="module")
def scenes(concepts, sprites) -> list[Scene]:
    generator = SceneGenerator(concepts, sprites, range(len(concepts)), seed=11)
    return [generator.scene(kind) for kind in ("single", "beside", "three", "count") for _ in range(3)]


def pictures(scenes: list[Scene]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(scene.image.copy()) for scene in scenes]).permute(0, 3, 1, 2)


def test_open_clip_loads_the_folder_and_computes_the_same(tiny):
    folder, model = tiny
    loaded, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
    loaded.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / BPE_NAME))
    image = torch.rand(2, 3, IMAGE, IMAGE) * 2 - 1
    text = tokens(["an owl", "two wolves"])
    assert text.shape == (2, 24)
    with torch.no_grad():
        wanted, found = model(image, text), loaded(image, text)
    for name in ("image_features", "text_features", "logits"):
        torch.testing.assert_close(found[name], wanted[name], atol=5e-3, rtol=2e-2)  # float16 weights
    white = preprocess(Image.new("RGB", (50, 20), "white"))
    torch.testing.assert_close(white, torch.ones(3, IMAGE, IMAGE))  # squashed, scaled to between -1 and 1


def test_the_recipe_loads_its_own_folder(tiny):
    folder, model = tiny
    loaded, _, _ = load_folder(folder)
    for name, value in loaded.state_dict().items():
        saved = model.state_dict()[name]
        torch.testing.assert_close(value, saved.half().float() if saved.ndim >= 2 else saved)


def test_recorded_maps_are_the_attention_weights_of_the_library(tiny, scenes):
    folder, model = tiny
    tokens = tokenizer(folder / BPE_NAME)
    image, text = normalise(pictures(scenes)), tokens([scene.caption for scene in scenes], context_length=24)
    block = model.text_decoder.cross_attn[1]
    seen: dict[str, torch.Tensor] = {}
    hook = block.attn.register_forward_pre_hook(lambda _, inputs: seen.update(query=inputs[0], key=inputs[1]))
    with torch.no_grad(), recorded(model) as maps:
        model(image, text)
        hook.remove()
        _, library = block.attn(
            seen["query"], seen["key"], seen["key"], need_weights=True, average_attn_weights=False
        )
    assert sorted(maps) == [0, 1]
    assert maps[1].shape == (len(scenes), 2, text.shape[1] - 1, 64)
    torch.testing.assert_close(maps[1], library, atol=1e-6, rtol=1e-5)
    assert not any(b.attn._forward_pre_hooks for b in model.text_decoder.cross_attn)


def test_weights_sum_to_one():
    attention = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    weights = attention_weights(attention, torch.randn(2, 3, 16), torch.randn(2, 5, 16))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 3))


def test_a_region_is_the_projected_mean_of_its_patches(tiny):
    _, model = tiny
    patches = torch.randn(2, 64, 32)
    inside = torch.zeros(3, 64, dtype=torch.bool)
    inside[0, 5], inside[1, [3, 4]], inside[2] = True, True, True
    with torch.no_grad():
        regions = region_vectors(model, patches, torch.tensor([0, 1, 1]), inside)
        by_hand = [patches[0, 5], (patches[1, 3] + patches[1, 4]) / 2, patches[1].mean(0)]
        wanted = torch.stack([v @ model.visual.proj for v in by_hand])
    torch.testing.assert_close(regions, wanted / wanted.norm(dim=1, keepdim=True))


def test_the_label_bank_is_renewed_and_gives_no_gradient(tiny, concepts):
    folder, model = tiny
    bank = LabelBank(tokenizer(folder / BPE_NAME), [label_prompt(c) for c in concepts])
    cpu = torch.device("cpu")
    vectors = [bank.vectors(model, cpu) for _ in range(REFRESH_EVERY + 1)]
    assert vectors[0] is vectors[REFRESH_EVERY - 1]
    assert vectors[0] is not vectors[REFRESH_EVERY]
    torch.testing.assert_close(vectors[0], vectors[REFRESH_EVERY])
    assert not vectors[0].requires_grad
    labels = torch.arange(len(concepts))
    assert float(alignment_loss(vectors[0], labels, vectors[0], torch.tensor(100.0))) < float(
        alignment_loss(vectors[0], labels.roll(1), vectors[0], torch.tensor(100.0))
    )
