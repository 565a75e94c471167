"""Requests that need no model: decoding, text items, spectrograms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mmviewer.core.errors import Cancelled, MediaError, MMViewerError
from mmviewer.core.media.files import display_name, to_path
from mmviewer.core.media.image import display_copy
from mmviewer.core.media.open import list_folder, open_media
from mmviewer.core.media.spectrogram import log_mel
from mmviewer.core.media.text import text_media
from mmviewer.core.types import Media
from mmviewer.engine import faults
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.protocol import (
    ErrorReport,
    OpenFailure,
    OpenMedia,
    OpenText,
    Spectrogram,
    SpectrogramData,
)
from mmviewer.engine.routes import Call

_DOING = "opening files"


def open_files(request: OpenMedia, call: Call) -> int:
    """Decode files one by one; a broken one costs only itself."""
    files = list(_files(request.paths, call))
    opened = 0
    for position, path in enumerate(files):
        call.progress.report(position, len(files), f"Opening {display_name(path)}")
        try:
            media = abandonable(partial(open_media, path), call.progress)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a decoder does, the other files go on
            call.partial(OpenFailure(path, faults.report(error, f"opening {display_name(path)}")))
            continue
        call.workspace.remember(media)
        call.partial(display_copy(media, request.display_pixels))
        opened += 1
    call.progress.report(len(files), len(files))
    return opened


def _files(paths: tuple[str, ...], call: Call) -> Iterator[str]:
    """Replace folders by the files in them; tell of folders that cannot be listed or not wholly."""
    for path in paths:
        call.progress.check()
        try:
            if not to_path(path).is_dir():
                yield path
                continue
            listing = list_folder(path)
        except (MMViewerError, OSError) as error:
            call.partial(OpenFailure(path, faults.report(error, _DOING)))
            continue
        for note in listing.notes:
            call.partial(OpenFailure(path, ErrorReport("Note", f"{note}.")))
        yield from listing.paths


def open_text(request: OpenText, call: Call) -> Media:
    """Make a text item."""
    media = text_media(request.text, request.name)
    call.workspace.remember(media)
    return media


def spectrogram(request: Spectrogram, call: Call) -> SpectrogramData:
    """Log-mel picture of a sound."""
    media = call.workspace.media(request.media)
    if media.samples is None:
        raise MediaError(f"{media.name} is no sound; choose one for a spectrogram.")
    picture = log_mel(media.samples, media.sample_rate)
    return SpectrogramData(picture.values, picture.hop, picture.centres)
