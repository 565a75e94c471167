"""Every kind of picture ends as upright 8-bit sRGB; every broken one in a sentence."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from media_samples import encode_png
from PIL import Image, ImageCms

from mmviewer.core.errors import MediaError
from mmviewer.core.media.image import MAX_PIXELS, display_copy, load_image
from mmviewer.core.types import Modality


def gradient(height: int = 30, width: int = 50) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 // height, x * 255 // width, (y + x) % 256], axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "GIF", "JPEG", "JPEG2000", "PCX", "ICO"]
)
def test_formats_keep_their_colours(tmp_path, kind):
    pixels = gradient(32, 48)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "ICO": {"sizes": [(48, 32)]}}.get(
        kind, {}
    )
    path = tmp_path / "picture.bin"
    path.write_bytes(encoded(Image.fromarray(pixels), kind, **options))
    media = load_image(path)
    assert media.modality is Modality.IMAGE
    assert media.size == media.pixels.shape[:2] == (32, 48)
    tolerance = 40 if kind in ("GIF", "JPEG") else 0
    assert np.abs(media.pixels.astype(int) - pixels).max() <= tolerance


def test_equal_content_has_an_equal_id_whatever_the_file():
    image = Image.fromarray(gradient())
    png, bmp = load_image(encoded(image, "PNG"), "a"), load_image(encoded(image, "BMP"), "b")
    other = load_image(encoded(image.transpose(Image.Transpose.TRANSPOSE), "PNG"))
    assert png.id == bmp.id != other.id


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation):
    upright = Image.fromarray(np.repeat(np.repeat(gradient(4, 6), 8, axis=0), 8, axis=1))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    media = load_image(encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(media.pixels, np.asarray(upright))


def test_alpha_is_composited_on_white():
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (200, 100, 0, 255)
    pixels[0, 1] = (200, 100, 0, 0)
    pixels[1, 0] = (200, 100, 0, 128)
    media = load_image(encoded(Image.fromarray(pixels), "PNG"))
    assert media.pixels[0, 0].tolist() == [200, 100, 0]
    assert media.pixels[0, 1].tolist() == [255, 255, 255]
    expected = np.rint(np.array([200, 100, 0]) * 128 / 255 + 255 * 127 / 255)
    assert np.abs(media.pixels[1, 0] - expected).max() <= 1
    assert any("white" in note for note in media.notes)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "YCbCr", "LAB"])
def test_other_colour_modes_keep_a_flat_colour(mode):
    colour = (255, 255, 255) if mode == "1" else (96, 96, 96) if mode in ("L", "LA") else (180, 90, 30)
    flat = Image.new("RGB", (8, 8), colour)
    if mode == "LAB":
        transform = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        image = ImageCms.applyTransform(flat, transform)
    else:
        image = flat.convert(mode, palette=Image.Palette.ADAPTIVE)
    media = load_image(encoded(image, "PNG" if mode in ("1", "L", "P", "LA") else "TIFF"))
    assert np.abs(media.pixels.astype(int) - colour).max() <= 4


def test_palette_with_transparency():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    media = load_image(encoded(image, "GIF", transparency=0))
    assert media.pixels[0, 0].tolist() == [255, 255, 255]
    assert media.pixels[2, 2].tolist() == [0, 0, 255]


def test_sixteen_bit_greys_use_their_full_range():
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    media = load_image(encoded(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(media.pixels[..., 0], np.rint(values / 257))
    twelve = load_image(encoded(Image.fromarray(values // 16), "TIFF"))
    assert twelve.pixels.max() == 255
    assert any("12-bit" in note for note in twelve.notes)


def test_floating_point_pictures_with_holes():
    values = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0], values[0, 1] = np.nan, np.inf
    media = load_image(encoded(Image.fromarray(values), "TIFF"))
    assert media.pixels[0, 0].tolist() == [0, 0, 0]
    assert media.pixels[0, 1].tolist() == media.pixels[-1, -1].tolist() == [255, 255, 255]
    assert any("stretched" in note for note in media.notes)


def test_an_embedded_profile_is_converted_and_a_broken_one_noted():
    image = Image.new("L", (4, 4), 128)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    misfit = load_image(encoded(image, "PNG", icc_profile=lab.tobytes()))
    assert any("ignored" in note for note in misfit.notes)
    broken = load_image(encoded(Image.fromarray(gradient()), "PNG", icc_profile=b"no profile"))
    assert any("ignored" in note for note in broken.notes)
    np.testing.assert_array_equal(broken.pixels, gradient())
    swapped = load_image(encoded(Image.fromarray(gradient()), "PNG", icc_profile=_swapped_srgb()))
    assert any("sRGB from" in note for note in swapped.notes)
    # red and green change places, as the profile says
    assert np.abs(swapped.pixels[..., 0].astype(int) - gradient()[..., 1]).mean() < 8


def _swapped_srgb() -> bytes:
    """An sRGB profile whose red and green primaries are exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12],
        data[red + 4 : red + 12],
    )
    return (
        bytes(data)
        .replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
        .replace(b"sRGB built", b"swap built")
    )


def test_animations_give_their_first_frame_and_say_so():
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        media = load_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert media.notes == ("first of 3 frames",)
        assert media.pixels[2, 2, 0] > 240


def half(kind: str) -> bytes:
    noise = np.random.default_rng(5).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    return data[: len(data) // 2]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (200_000, 900), (2_000_000_000, 2_000_000_000)]
)
def test_a_pixel_bomb_is_refused_before_it_is_decoded(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    tracemalloc.start()
    with pytest.raises(MediaError, match=r"bomb\.png .*reduce it"):
        load_image(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert width * height > MAX_PIXELS or width > 100_000


BROKEN = {
    "empty.png": b"",
    "random.jpg": bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
    "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
    "drawing.svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "paper.png": b"%PDF-1.7 ...",
    "figure.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "phone.heic": b"\0\0\0\x18ftypheic" + b"\0" * 100,
    "truncated.png": half("PNG"),
    "truncated.jpg": half("JPEG"),
    "truncated.webp": half("WEBP"),
    "truncated.tiff": half("TIFF"),
    "header.gif": b"GIF89a\xff\xff\xff\xff",
    "short.png": png_header(500, 500),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_one_sentence_that_names_them(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError) as caught:
            load_image(path)
    message = caught.value.message
    assert message.startswith(name)
    assert message.endswith(".")
    assert "\n" not in message
    assert any(word in message for word in ("again", "export", "convert", "download", "reduce"))


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "TGA", "ICO", "PCX", "JPEG2000", "AVIF"]
)
def test_damaged_bytes_never_raise_anything_else(kind):
    whole = encoded(Image.fromarray(gradient(24, 24)), kind)
    rng = np.random.default_rng(4)
    for _ in range(60):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 6):
            data[position] = rng.integers(256)
        try:
            media = load_image(bytes(data))
        except MediaError:
            continue
        assert media.pixels.dtype == np.uint8


def test_what_is_no_file(tmp_path):
    for path, words in (
        (tmp_path, "folder"),
        (tmp_path / "missing.png", "does not exist"),
        ("https://example.org/a.png", "not on this computer"),
        ("a\0b.png", "not a possible file name"),
    ):
        with pytest.raises(MediaError, match=words):
            load_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="pipe"):
        load_image(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encode_png(gradient()))
    path.chmod(0)
    with pytest.raises(MediaError, match="permissions"):
        load_image(path)


def test_file_urls_and_odd_names(tmp_path):
    path = tmp_path / "a b\nü%.png"
    path.write_bytes(encode_png(gradient()))
    media = load_image(path.as_uri())
    assert media.path == str(path)
    assert media.name == "a b\ufffdü%.png"
    np.testing.assert_array_equal(media.pixels, gradient())


def test_display_copies_keep_id_and_original_size():
    media = load_image(encode_png(gradient(300, 500)))
    copy = display_copy(media, 10_000)
    assert copy.id == media.id
    assert copy.size == (300, 500)
    assert copy.pixels.shape[0] * copy.pixels.shape[1] <= 10_000
    assert copy.pixels.shape[1] / copy.pixels.shape[0] == pytest.approx(5 / 3, rel=0.03)
    assert display_copy(media, 10**6) is media
    thin = load_image(encode_png(gradient(1, 5000)))
    assert display_copy(thin, 100).pixels.shape == (1, 100, 3)


def test_decoded_pixels_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        load_image(encode_png(gradient())).pixels[0, 0] = 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is of POSIX")
def test_a_large_legal_picture_needs_little_more_than_its_pixels(tmp_path):
    path = tmp_path / "large.png"
    Image.new("RGBA", (9_000, 6_000), (10, 200, 30, 128)).save(path, compress_level=1)
    # in a process of its own, whose peak of memory is that of this picture
    script = (
        "import resource, sys; from mmviewer.core.media.image import load_image; "
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "before = peak(); print(load_image(sys.argv[1]).size, peak() - before, sep='|')"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    ).stdout
    size, grown = output.split("|")
    assert size == "(6000, 9000)"
    unit = 1 if sys.platform == "darwin" else 1024
    # Pillow's own four bytes per pixel, our three, and strips
    assert int(grown) * unit < 54_000_000 * 9.5
