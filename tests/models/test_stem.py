"""A convolutional stem in place of the linear patch embedding: what it computes, and what it refuses."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from open_clip import load_checkpoint
from safetensors.torch import save_file

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import ModelError
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.openclip import build, stem
from mmviewer.core.types import Capability

STEM = "tf_efficientnet_lite0"
CONFIG = {
    "embed_dim": 16,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 96, "patch_size": 32, "width": 16, "layers": 2, "head_width": 8, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2,
        "dim_head": 8, "n_queries": 9, "attn_pooler_heads": 2,
    },
}  # fmt: skip


def untrained():
    torch.manual_seed(0)
    return build.construct(CONFIG, STEM).eval()


def folder_with(path, **own):
    save_file(
        {k: v.contiguous().clone() for k, v in untrained().state_dict().items()},
        path / "open_clip_model.safetensors",
    )
    whole = {"model_cfg": CONFIG, "preprocess_cfg": {"resize_mode": "squash"}, "mmviewer": own}
    (path / "open_clip_config.json").write_text(json.dumps(whole), encoding="utf-8")
    return path


def test_features_are_those_of_timm():
    """timm's own feature extraction and its own forward give the same maps."""
    ours = stem.ConvolutionalStem(STEM, 8, 32).eval()
    theirs = timm.create_model(STEM, features_only=True, out_indices=(3,), pretrained=False).eval()
    theirs.load_state_dict(ours.trunk.state_dict(), strict=False)
    pixels = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        middle, deep = ours.features(pixels)
        torch.testing.assert_close(middle, theirs(pixels)[0])
        torch.testing.assert_close(deep, ours.trunk.forward_features(pixels))
    assert middle.shape == (2, 112, 4, 6)
    assert deep.shape == (2, 1280, 2, 3)


def test_the_four_middle_cells_of_a_patch_stay_together():
    ours = stem.ConvolutionalStem(STEM, 4, 32).eval()
    torch.nn.init.normal_(ours.projection.weight)
    middle, deep = torch.rand(1, 112, 4, 6), torch.zeros(1, 1280, 2, 3)
    with torch.no_grad():
        before = ours.embed(middle, deep)
        middle[0, :, 2:4, 4:6] += torch.rand(112, 2, 2)  # the cells of patch (1, 2)
        changed = (ours.embed(middle, deep) - before).abs().amax((0, -1)) > 1e-6
    assert changed.tolist() == [[False, False, False], [False, False, True]]


def test_a_folder_with_a_stem_loads_and_is_captured_like_any_other(tmp_path):
    model = load_model(str(folder_with(tmp_path, stem=STEM)), device="cpu")
    assert {Capability.EMBED_IMAGE, Capability.CAPTION} <= model.info.capabilities
    assert any(STEM in note for note in model.info.notes)
    plain = untrained()
    load_checkpoint(plain, str(tmp_path / "open_clip_model.safetensors"))
    pixels = torch.rand(1, 3, 96, 96)
    with torch.no_grad(), capture(model, {"vision.self": None}) as weights:
        theirs = plain.encode_image(pixels)
        torch.testing.assert_close(model.module.encode_image(pixels), theirs)
    assert [tuple(w.shape) for w in weights["vision.self"]] == [(1, 2, 10, 10)] * 2


def test_the_trunk_keeps_its_statistics_in_training():
    model = untrained().train()
    before = model.visual.conv1.trunk.bn1.running_mean.clone()
    model.encode_image(torch.rand(2, 3, 96, 96))
    assert torch.equal(model.visual.conv1.trunk.bn1.running_mean, before)


@pytest.mark.parametrize(
    "name", ["../evil", "resnet50", "tf_efficientnet_lite99", "hf-hub:someone/efficientnet"]
)
def test_an_unknown_stem_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match="stem"):
        load_model(str(folder_with(tmp_path, stem=name)), device="cpu")


def test_a_stem_whose_cells_are_no_patches_is_refused():
    with pytest.raises(ModelError, match="patches of 16"):
        stem.ConvolutionalStem(STEM, 8, 16)


def test_without_the_stem_its_weights_do_not_fit(tmp_path):
    with pytest.raises(ModelError, match="do not fit"):
        load_model(str(folder_with(tmp_path)), device="cpu")
