"""Safe decoding of images to upright 8-bit sRGB, whatever the file holds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mmviewer.core.errors import MediaError
from mmviewer.core.media.files import Source, check_file, content_id, display_name, read_head, to_path
from mmviewer.core.types import Media, Modality

Pixels = NDArray[np.uint8]

MAX_PIXELS = 178_000_000
"""Largest picture that is decoded: just under the size at which Pillow itself refuses."""

_STRIP_PIXELS = 4_000_000
_COUNT_FRAMES_BELOW = 64_000_000
# Ghostscript would run to draw an EPS: a program in a hostile file
_REFUSED_FORMATS = frozenset({"EPS", "WMF"})
_HIGH_DEPTH = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def load_image(source: Source, name: str | None = None) -> Media:
    """Decode an image.

    Parameters
    ----------
    source : path, file:// URL or bytes
    name : str, optional
        What to call it; by default the file's name.

    Returns
    -------
    Media
        8-bit sRGB pixels, upright, alpha composited on white; the notes say what was changed.

    Raises
    ------
    MediaError
        For anything that is not a readable picture of at most `MAX_PIXELS` pixels.
    """
    path: Path | None = None
    file: Path | BytesIO
    if isinstance(source, bytes):
        name, file = name or "pasted picture", BytesIO(source)
        if not source:
            raise MediaError(f"{name} is empty (0 bytes); copy it again.")
    else:
        path = file = to_path(source)
        name = name or display_name(path)
        check_file(path, name)
    notes: list[str] = []
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and large pictures; what matters becomes an error or a note here
        warnings.simplefilter("ignore")
        with _identify(file, name) as image:
            pixels = _decode(image, name, notes)
    return _media(pixels, name, path, notes)


def is_image(path: Path) -> bool:
    """Whether the content looks like a picture that can be decoded; reads only the header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _identify(path, path.name):
                return True
        except MediaError as error:
            # a picture that is refused for its size is a picture
            return isinstance(error, _RefusedPictureError)


def display_copy(media: Media, max_pixels: int) -> Media:
    """Reduce a picture for display; `id` and `size` stay those of the original, so geometry still holds.

    Returns `media` itself when it has at most `max_pixels` pixels or is no picture.
    """
    if media.pixels is None or media.pixels.shape[0] * media.pixels.shape[1] <= max_pixels:
        return media
    height, width = media.pixels.shape[:2]
    ratio = (max_pixels / (height * width)) ** 0.5
    size = (min(max(1, int(width * ratio)), max_pixels), min(max(1, int(height * ratio)), max_pixels))
    reduced = Image.fromarray(media.pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Media(
        id=media.id,
        modality=media.modality,
        name=media.name,
        path=media.path,
        pixels=_read_only(np.array(reduced)),
        notes=media.notes,
        size=media.size,
    )


class _RefusedPictureError(MediaError):
    """A picture indeed, but one that is not decoded."""


def _identify(file: Path | BytesIO, name: str) -> Image.Image:
    """Read the header only: format and size are judged before a pixel is decoded."""
    formats = [key for key in _all_formats() if key not in _REFUSED_FORMATS]
    try:
        image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UnidentifiedImageError as error:
        raise MediaError(_not_a_picture(file, name)) from error
    except MemoryError as error:
        raise _too_large(name) from error
    except Exception as error:  # a hostile header can break a decoder in any way
        raise MediaError(
            f"{name} starts like a picture but its header is damaged; copy or download it again."
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise _too_large(name, f"{width} × {height} pixels")
    if width < 1 or height < 1:
        image.close()
        raise MediaError(f"{name} has no pixels ({width} × {height}); export it again.")
    return image


def _all_formats() -> list[str]:
    Image.init()
    return list(Image.ID)


def _too_large(name: str, size: str = "") -> _RefusedPictureError:
    detail = f" ({size})" if size else ""
    return _RefusedPictureError(
        f"{name} is larger than {MAX_PIXELS // 1_000_000} megapixels{detail}; reduce it in an image editor."
    )


def _not_a_picture(file: Path | BytesIO, name: str) -> str:
    remedy = "open it in the program that made it and export it as PNG or JPEG"
    head = file.getvalue()[:512] if isinstance(file, BytesIO) else read_head(file, name, 512)
    if head.startswith(b"%PDF"):
        return f"{name} is a PDF document, not a picture; export the page as PNG."
    if head.startswith(b"%!PS"):
        return f"{name} is a PostScript file, which is a program; convert it to PNG first."
    if b"<svg" in head:
        return f"{name} is a vector drawing (SVG); export it as PNG in the size you want."
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return f"{name} is a HEIC photo, which cannot be read here; convert it to JPEG or PNG."
    if head.lstrip()[:1] == b"<":
        return f"{name} holds a web page, not a picture; download the picture itself."
    return f"{name} is not a picture in a format known here, or it is damaged; {remedy}."


def _decode(image: Image.Image, name: str, notes: list[str]) -> Pixels:
    try:
        _note_frames(image, notes)
        image.load()
        upright = _upright(image, notes)
        return _to_rgb(upright, notes)
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(
            f"{name} needs more memory than is free; close other programs or reduce the picture."
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except Exception as error:  # a hostile file can break a decoder in any way
        raise MediaError(
            f"{name} is cut off or damaged and cannot be decoded; copy or download it again."
        ) from error


def _note_frames(image: Image.Image, notes: list[str]) -> None:
    if not getattr(image, "is_animated", False):
        return
    count = 0
    # counting the frames of a GIF walks through the whole file
    if _file_size(image) < _COUNT_FRAMES_BELOW:
        count = int(getattr(image, "n_frames", 0))
        image.seek(0)
    notes.append(f"first of {count} frames" if count else "first frame of an animation")


def _file_size(image: Image.Image) -> int:
    file = getattr(image, "fp", None)
    if file is None:
        return 0
    place = file.tell()
    size = int(file.seek(0, os.SEEK_END))
    file.seek(place)
    return size


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - damaged metadata shall not hide a good picture
        notes.append("its EXIF data is damaged and was ignored")
        return image
    if orientation not in range(2, 9):
        return image
    turned = ImageOps.exif_transpose(image)
    notes.append("turned upright as its EXIF data says")
    return turned


def _to_rgb(image: Image.Image, notes: list[str]) -> Pixels:
    """Convert strip by strip, so that a large picture needs little more than its pixels."""
    convert = _converter(image, notes)
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return pixels


def _converter(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], Pixels]:
    if image.mode in _HIGH_DEPTH:
        return _high_depth_converter(image, notes)
    to_srgb = _colour_transform(image, notes)
    has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    if has_alpha:
        notes.append("transparent parts are shown on white")

    def convert(strip: Image.Image) -> Pixels:
        if has_alpha:
            strip = strip.convert("RGBA")
            alpha = np.asarray(strip.getchannel("A"))
            return _on_white(np.asarray(to_srgb(strip.convert("RGB"))), alpha)
        return np.asarray(to_srgb(strip))

    return convert


def _on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Composite [h, w, 3] by alpha [h, w] on white, rounded to the nearest."""
    weight = alpha[..., None].astype(np.uint16)
    mixed = rgb * weight + 255 * (255 - weight) + 127
    return (mixed // 255).astype(np.uint8)


def _colour_transform(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], Image.Image]:
    """Return what turns a strip into sRGB: by the embedded ICC profile, else by Pillow's conversion."""
    # what a strip with alpha or a palette was turned into before its colours are
    mode = image.mode if image.mode in ("L", "CMYK", "LAB") and "transparency" not in image.info else "RGB"

    def plain(strip: Image.Image) -> Image.Image:
        return strip.convert("RGB")

    profile = image.info.get("icc_profile")
    if not profile:
        return _lab_transform() if mode == "LAB" else plain
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        description = ImageCms.getProfileDescription(source)
        if "srgb" in description.lower() and mode == "RGB":
            return plain
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # noqa: BLE001 - a damaged or unfitting profile shall not hide a good picture
        notes.append("its colour profile does not fit and was ignored")
        return plain

    def managed(strip: Image.Image) -> Image.Image:
        return _applied(strip if strip.mode == mode else strip.convert(mode), transform)

    notes.append(f"colours converted to sRGB from “{display_name(description.strip() or 'its profile')}”")
    return managed


def _lab_transform() -> Callable[[Image.Image], Image.Image]:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )

    return lambda strip: _applied(strip, transform)


def _applied(strip: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(strip, transform)
    assert converted is not None  # None only comes of a conversion in place
    return converted


def _high_depth_converter(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], Pixels]:
    """Greyscale of more than 8 bits: choose black and white for the whole picture, then scale strips."""
    values = np.asarray(image)
    black, white, note = _tone_range(values, image.mode)
    notes.append(note)
    del values

    def convert(strip: Image.Image) -> Pixels:
        scaled = np.asarray(strip).astype(np.float32)
        np.nan_to_num(scaled, copy=False, nan=black, posinf=white, neginf=black)
        with np.errstate(over="ignore"):  # what overflows is clipped to white
            scaled = (scaled - np.float32(black)) * np.float32(255 / (white - black))
        grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    return convert


def _tone_range(values: NDArray[Any], mode: str) -> tuple[float, float, str]:
    """Values shown as black and as white, and the note that says so."""
    finite = values if mode != "F" else values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0, "floating-point values 0 to 1 shown as 8 bits"
    if mode != "F" and low >= 0 and high <= 65_535:
        # cameras and microscopes often store 12 bits in 16
        white = 4_095.0 if high <= 4_095 else 65_535.0
        return 0.0, white, f"{12 if white < 5_000 else 16}-bit greys shown as 8 bits"
    if high <= low:
        return low, low + 1.0, f"all values are {low:g}"
    return low, high, f"values {low:g} to {high:g} stretched to 8 bits"


def _media(pixels: Pixels, name: str, path: Path | None, notes: list[str]) -> Media:
    height, width = pixels.shape[:2]
    return Media(
        id=content_id("image", f"{height}x{width}:".encode(), pixels.data),
        modality=Modality.IMAGE,
        name=name,
        path=None if path is None else str(path),
        pixels=_read_only(pixels),
        notes=tuple(notes),
        size=(height, width),
    )


def _read_only(pixels: Pixels) -> Pixels:
    pixels.setflags(write=False)
    return pixels
