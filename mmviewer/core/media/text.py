"""Texts: typed ones, and files in the encodings people have."""

from __future__ import annotations

import codecs

from mmviewer.core.errors import MediaError
from mmviewer.core.media.files import Source, check_file, content_id, display_name, read_head, to_path
from mmviewer.core.types import Media, Modality

MAX_TEXT_BYTES = 1_000_000
"""Largest text file; models read a few hundred words."""

_TOO_LONG = "is a text of more than 1 MB; cut out the part you want to look at."
_TITLE_LENGTH = 40
# what a text file may hold below the space: tab, line feed, vertical tab, form feed, carriage return, escape
_TEXT_CONTROLS = frozenset("\t\n\v\f\r\x1b")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_media(text: str, name: str = "", path: str | None = None, notes: tuple[str, ...] = ()) -> Media:
    """Make an item of a text; by default it is called by its first words.

    Raises
    ------
    MediaError
        If there is nothing in it to read, or more than `MAX_TEXT_BYTES`.
    """
    # a lone surrogate cannot be encoded, so neither saved nor tokenized
    clean = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").strip()
    if not clean:
        raise MediaError(f"{name or 'The text'} holds no words; type or paste some.")
    if len(clean.encode()) > MAX_TEXT_BYTES:
        raise MediaError(f"{name or 'The text'} {_TOO_LONG}")
    return Media(
        id=content_id("text", clean.encode()),
        modality=Modality.TEXT,
        name=name or _title(clean),
        path=path,
        text=clean,
        notes=notes,
    )


def load_text(source: Source, name: str | None = None) -> Media:
    """Read a text file in UTF-8, UTF-16 or UTF-32 with a byte order mark, else as Windows Western (cp1252).

    Raises
    ------
    MediaError
        If it is missing, unreadable, larger than `MAX_TEXT_BYTES`, empty or no text.
    """
    path = None
    if isinstance(source, bytes):
        name, data = name or "pasted text", source
    else:
        path = to_path(source)
        name = name or display_name(path)
        if check_file(path, name) > MAX_TEXT_BYTES:
            raise MediaError(f"{name} {_TOO_LONG}")
        data = read_head(path, name, MAX_TEXT_BYTES)
    text, note = decode_text(data)
    if text is None:
        raise MediaError(f"{name} is not a text; save it as UTF-8 text in the program that made it.")
    return text_media(text, name, None if path is None else str(path), (note,) if note else ())


def decode_text(data: bytes) -> tuple[str | None, str]:
    """Decode bytes if they are text; also return a note on the encoding, empty for UTF-8.

    Returns None in place of the text for anything with control characters that texts do not have.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            text = _decoded(data, encoding)
            return text, "" if encoding == "utf-8-sig" else f"read as {encoding.upper()}"
    text = _decoded(data, "utf-8")
    if text is not None:
        return text, ""
    return _decoded(data, "cp1252"), "read as Windows Western (cp1252)"


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text in Unicode; `head` may end inside a character."""
    if head.startswith(tuple(mark for mark, _ in _BYTE_ORDER_MARKS[1:])):
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return _is_printable(decoder.decode(head))
    except UnicodeDecodeError:
        return False


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if _is_printable(text) else None


def _is_printable(text: str) -> bool:
    return all(letter >= " " or letter in _TEXT_CONTROLS for letter in text)


def _title(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"
