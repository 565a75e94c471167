"""Pictures so thin that resizing before cropping would take gigabytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image

from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.openclip import build, pixels
from mmviewer.core.types import Media, Modality


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (3, 1000), (7, 1001), (900, 4), (400, 300)])
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_one_step_gives_what_open_clips_two_steps_give(shape, size, interpolation, monkeypatch):
    config = PreprocessCfg(size=size, interpolation=interpolation, resize_mode="shortest")
    geometry = ImageGeometry.for_resize(shape, size, "crop", (4, 4))
    image, transform = Image.fromarray(noise(*shape)), build.transform(config)
    assert (
        pixels.without_detour(image, geometry, config.interpolation) is image
    )  # small enough for the library's own way
    monkeypatch.setattr(pixels, "_LARGEST_RESIZED", 0)
    direct = pixels.without_detour(image, geometry, config.interpolation)
    assert direct.size == (size[1], size[0])
    levels = (transform(image) - transform(direct)).abs() * torch.tensor(config.std)[:, None, None] * 255
    assert float(levels.max()) < 1.5  # one grey level: the resized picture was rounded once less


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (2, 1_000_000)])
def test_a_thin_picture_needs_no_memory_to_speak_of(shape, monkeypatch):
    model = FAMILIES.get("openclip").tiny("clip")
    sizes = []
    resize = Image.Image.resize

    def watched(image, *args, **kwargs):
        resized = resize(image, *args, **kwargs)
        sizes.append(resized.width * resized.height)
        return resized

    monkeypatch.setattr(Image.Image, "resize", watched)
    prepared = model.prepare(Media("thin", Modality.IMAGE, "thin.png", pixels=noise(*shape)))
    assert prepared.inputs["pixels"].shape == (1, 3, 32, 32)
    assert max(sizes) <= 16_000_000
    assert bool(torch.isfinite(model.image_features([prepared])).all())
