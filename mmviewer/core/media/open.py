"""Open whatever is dropped: by its content, not by its name."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmviewer.core.errors import MediaError
from mmviewer.core.media.audio import is_audio, load_audio
from mmviewer.core.media.files import (
    check_file,
    display_name,
    read_head,
    to_path,
    unreadable,
)
from mmviewer.core.media.image import is_image, load_image
from mmviewer.core.media.text import is_text, load_text, text_media
from mmviewer.core.types import Media, MediaRef, Modality

FOLDER_LIMIT = 2_000
"""Most files that one folder opens at once."""

_SCAN_LIMIT = 200_000
_DEPTH_LIMIT = 6
_HEAD = 4096


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ENDINGS = {
    Modality.IMAGE: _names(
        "apng avif bmp dds dib gif icns ico j2k jfif jp2 jpe jpeg jpf jpg jpx mpo pbm pcx pgm png pnm ppm "
        "psd qoi sgi tga tif tiff webp xbm xpm"
    ),
    Modality.AUDIO: _names(
        "3gp aac ac3 aif aifc aiff amr au avi caf flac flv m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg oga "
        "ogg ogv opus rf64 snd spx w64 wav webm wma wmv"
    ),
    Modality.TEXT: _names("csv json log md rst srt text tsv txt vtt"),
}
_KNOWN_ENDINGS = frozenset().union(*_ENDINGS.values())
# pictures that are not read: the image decoder says for each what to do
_FOREIGN_PICTURES = _names("ai eps heic heif pdf ps svg svgz")
_MODEL_ENDINGS = _names("bin ckpt gguf h5 onnx pt pth safetensors")


@dataclass(frozen=True, slots=True)
class FolderListing:
    """Files of a folder and its subfolders that may be pictures, sounds or texts.

    Parameters
    ----------
    paths : tuple of str
        In order of their names, folder by folder.
    notes : tuple of str
        What was left out, in words; empty when nothing was.
    """

    paths: tuple[str, ...]
    notes: tuple[str, ...] = ()


def open_media(location: str | os.PathLike[str], name: str | None = None) -> Media:
    """Decode a file as picture, sound or text, judged by its content.

    Parameters
    ----------
    location : path or file:// URL
    name : str, optional
        What to call it; by default the file's name.

    Raises
    ------
    MediaError
        One sentence with the remedy, for anything that cannot be opened.
    """
    path = to_path(location)
    name = name or display_name(path)
    check_file(path, name)
    modality = sniff(path, name)
    if modality is None:
        raise MediaError(_unknown(path, name))
    if modality is Modality.IMAGE:
        return load_image(path, name)
    return load_audio(path, name) if modality is Modality.AUDIO else load_text(path, name)


def reopen(ref: MediaRef) -> Media:
    """Decode an item again from what is kept of it, as after the engine was reborn.

    Raises
    ------
    MediaError
        If its file is gone, unreadable, or holds something else by now.
    """
    if ref.modality is Modality.TEXT and ref.text is not None:
        return text_media(ref.text, ref.name, ref.path)
    if ref.path is None:
        raise MediaError(f"{ref.name} was never saved as a file; add it again.")
    media = open_media(ref.path, ref.name)
    if media.id != ref.id:
        raise MediaError(f"{ref.name} has changed on the disk since it was opened; open it again.")
    return media


def sniff(path: Path, name: str) -> Modality | None:
    """What the content of a file is, from its header; None if nothing was recognised or promised by its name.

    A damaged file counts as what its name promises: that decoder knows the best sentence.
    """
    promised = promised_kind(path.name)
    if is_text(read_head(path, name, _HEAD)):
        if promised is Modality.AUDIO:
            raise MediaError(f"{name} holds text, not sound (perhaps an error page); download it again.")
        # some picture formats are text; all others under such a name are refused by the decoder
        return Modality.IMAGE if promised is Modality.IMAGE else Modality.TEXT
    if is_image(path):
        return Modality.IMAGE
    return Modality.AUDIO if is_audio(path) else promised


def list_folder(location: str | os.PathLike[str], limit: int = FOLDER_LIMIT) -> FolderListing:
    """List the files of a folder and its subfolders by their endings, opening none of them.

    Hidden files, links to folders and files of other kinds are passed over. At most 200,000 entries are
    looked at, six folders deep, so that a huge folder takes about a second.

    Raises
    ------
    MediaError
        If the folder cannot be read or holds nothing to open.
    """
    folder = to_path(location)
    name = display_name(folder)
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise unreadable(name, error) from error
    walk = _Walk()
    # no more than one beyond the limit is kept, however many there are
    found = heapq.nsmallest(limit + 1, walk.files(folder), key=_natural_order)
    if not found:
        raise MediaError(f"{name} holds no picture, sound or text; open a folder that does.")
    notes = []
    if len(found) > limit:
        notes.append(f"{name} holds more than {limit:,} files; the first {limit:,} by name were taken")
    if walk.exhausted:
        notes.append(f"{name} has more than {_SCAN_LIMIT:,} entries; the others were not looked at")
    if walk.unreadable:
        notes.append(f"{walk.unreadable} folders in {name} may not be read by you")
    return FolderListing(tuple(found[:limit]), tuple(notes))


class _Walk:
    """Walks through folders within limits, counting what it had to leave out."""

    def __init__(self) -> None:
        self.scanned = 0
        self.unreadable = 0

    @property
    def exhausted(self) -> bool:
        return self.scanned >= _SCAN_LIMIT

    def files(self, folder: Path) -> Iterator[str]:
        level = [str(folder)]
        for _ in range(_DEPTH_LIMIT):
            deeper: list[str] = []
            for place in level:
                yield from self._files_in(place, deeper)
            level = deeper

    def _files_in(self, place: str, deeper: list[str]) -> Iterator[str]:
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if self.exhausted:
                        return
                    self.scanned += 1
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        deeper.append(entry.path)
                    elif _ending(entry.name) in _KNOWN_ENDINGS and entry.is_file():
                        yield entry.path
        except OSError:
            self.unreadable += 1


def _natural_order(path: str) -> tuple[str, list[tuple[bool, int, str]]]:
    """Sort key by folder, then by name with numbers in order of their value ("2.png" before "10.png")."""
    folder, name = os.path.split(path)
    parts: list[tuple[bool, int, str]] = []
    digits = letters = ""
    for letter in name.lower():
        if letter.isdecimal():
            if letters:
                parts.append((True, 0, letters))
                letters = ""
            digits += letter
        else:
            if digits:
                parts.append((False, int(digits[:18]), digits))
                digits = ""
            letters += letter
    parts.append((True, 0, letters) if letters else (False, int(digits[:18] or 0), digits))
    return folder, parts


def _ending(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def promised_kind(name: str) -> Modality | None:
    """What a file is by the ending of its name alone; None where it promises nothing that is read here."""
    ending = _ending(name)
    if ending in _FOREIGN_PICTURES:
        return Modality.IMAGE
    return next((modality for modality, endings in _ENDINGS.items() if ending in endings), None)


def _unknown(path: Path, name: str) -> str:
    if _ending(path.name) in _MODEL_ENDINGS:
        return f"{name} seems to be a model, not an item to look at; load it in the Model panel."
    return f"{name} is no picture, sound or text that can be read here; export it as PNG, WAV or TXT."
