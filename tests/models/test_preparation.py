"""What a model does to items in another process is what it does in its own, bit for bit."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image

from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.openclip import build, pixels
from mmviewer.core.types import Capability, Media, Modality

EMBEDS = {Modality.IMAGE: Capability.EMBED_IMAGE, Modality.AUDIO: Capability.EMBED_AUDIO}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiny_models():
    for family in FAMILIES:
        for variant in family.tiny_variants():
            yield pytest.param(family, variant, id=f"{family.key}-{variant}")


def items():
    yield Media("a", Modality.IMAGE, "landscape", pixels=noise(40, 90))
    yield Media("b", Modality.IMAGE, "portrait", pixels=noise(300, 61))
    rate = 16_000
    wave = np.sin(np.arange(rate) * 0.1).astype(np.float32)
    yield Media("c", Modality.AUDIO, "tone", samples=wave, sample_rate=rate)


@pytest.mark.parametrize(("family", "variant"), list(tiny_models()))
def test_what_another_process_prepares_is_what_the_model_prepares(family, variant):
    model = family.tiny(variant)
    preparation = model.preparation()
    if preparation is None:
        return  # the model prepares by itself, and the pipeline lets it
    preparation = pickle.loads(pickle.dumps(preparation))
    for kind, needed in EMBEDS.items():
        media = [item for item in items() if item.modality is kind] if model.info.can(needed) else []
        received = model.receive([preparation(item) for item in media]) if media else []
        for item, there in zip(media, received, strict=True):
            here = model.prepare(item)
            assert there.geometry == here.geometry
            assert (there.media_id, there.modality) == (here.media_id, here.modality)
            assert set(there.inputs) == set(here.inputs)
            for name, tensor in here.inputs.items():
                assert there.inputs[name].dtype == tensor.dtype
                assert torch.equal(there.inputs[name], tensor), name


@pytest.mark.parametrize("shape", [(40, 90), (300, 61), (32, 32), (7, 1001), (31, 33), (20, 20)])
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("words", "mode"), [("shortest", "crop"), ("squash", "squash")])
def test_pillow_alone_gives_the_bytes_of_open_clips_transform(shape, size, interpolation, words, mode):
    config = PreprocessCfg(size=size, interpolation=interpolation, resize_mode=words)
    ready = pixels.Resizing("a model", size, mode, interpolation, (4, 4), None)(
        Media("a", Modality.IMAGE, "noise", pixels=noise(*shape))
    )
    normal = build.transform(config)(Image.fromarray(noise(*shape)))
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (config.mean, config.std))
    expected = ((normal * deviation + mean) * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(ready.arrays["pixels"][0], expected)


def test_preparing_for_the_starter_imports_no_torch():
    words = (
        "import sys; import mmviewer.core.models.openclip.pixels, mmviewer.core.models.sound.features; "
        "sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
