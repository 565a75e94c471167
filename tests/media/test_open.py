"""What is dropped is opened by its content."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from media_samples import encode_png

from mmviewer.core.errors import MediaError
from mmviewer.core.media import open as opening
from mmviewer.core.media.open import list_folder, open_media, reopen
from mmviewer.core.media.text import load_text, text_media
from mmviewer.core.types import MediaRef, Modality

PICTURE = encode_png(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def sound(path) -> bytes:
    soundfile.write(path, np.sin(np.arange(8000) / 10), 16_000, format="WAV")
    return path.read_bytes()


def ref(media) -> MediaRef:
    return MediaRef(media.id, media.modality, media.name, media.path, media.text)


@pytest.mark.parametrize("name", ["right", "wrong.txt", "wrong.wav", "wrong.png", "wrong.pt", "UPPER.JPG"])
def test_content_decides_not_the_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PICTURE)
    assert open_media(path).modality is Modality.IMAGE
    sound(path)
    assert open_media(str(path)).modality is Modality.AUDIO


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_texts_in_the_encodings_people_have(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_bytes("Füße über “Äste”\r\nline two\n".encode(encoding))
    media = open_media(path)
    assert media.modality is Modality.TEXT
    assert media.text == "Füße über “Äste”\nline two"
    assert bool(media.notes) == (encoding in ("utf-16", "utf-32", "cp1252"))


def test_typed_texts_are_called_by_their_first_words():
    media = text_media("  a red bicycle " + "and more " * 20)
    assert media.name.startswith("a red bicycle and")
    assert len(media.name) <= 40
    assert media.id == text_media(media.text, "other name").id
    assert text_media("lone \ud800 surrogate").text == "lone ? surrogate"
    with pytest.raises(MediaError, match="no words"):
        text_media(" \n ")


def test_texts_too_long_or_no_texts(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"word " * 300_000)
    with pytest.raises(MediaError, match="more than 1 MB"):
        load_text(path)
    path.write_bytes(b"abc\0\1\2")
    with pytest.raises(MediaError, match="not a text"):
        load_text(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("page.jpg", b"<html>not found</html>", "web page"),
        ("error.mp3", b"{'error': 'not found'}", "holds text, not sound"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "vector drawing"),
        ("weights.safetensors", b"\x10\0\0\0\0\0\0\0{}" + b"\0" * 50, "Model panel"),
        ("data.bin", b"\0\1\2\3" * 100, "Model panel"),
        ("noise", bytes(range(256)) * 4, "no picture, sound or text"),
        ("broken.png", b"\x89PNG\r\n\x1a\n\0\0", "damaged"),
        ("empty", b"", "empty"),
    ],
)
def test_what_cannot_be_opened_says_why_and_what_to_do(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=words) as caught:
        open_media(path)
    assert caught.value.message.startswith(name)


def test_a_portable_greymap_is_a_picture_though_it_is_text(tmp_path):
    path = tmp_path / "plain.pgm"
    path.write_text("P2\n2 1\n255\n0 255\n")
    assert open_media(path).pixels[0, :, 0].tolist() == [0, 255]


def test_reopening_notices_a_change(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PICTURE)
    first = ref(open_media(path))
    assert reopen(first).id == first.id
    path.write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(MediaError, match="has changed"):
        reopen(first)
    path.unlink()
    with pytest.raises(MediaError, match="does not exist"):
        reopen(first)
    typed = text_media("hello")
    assert reopen(ref(typed)).id == typed.id


def test_folders_list_what_can_be_opened_in_natural_order(tmp_path):
    for name in ("b10.png", "b2.png", "B1.JPG", "c.wav", ".hidden.png", "model.pt", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    listing = list_folder(tmp_path)
    names = [path.removeprefix(f"{tmp_path}/") for path in listing.paths]
    assert names == ["B1.JPG", "b2.png", "b10.png", "c.wav", "notes.txt", "sub/a.png"]
    assert listing.notes == ()


def test_folders_with_nothing_or_that_are_none(tmp_path):
    with pytest.raises(MediaError, match="holds no picture"):
        list_folder(tmp_path)
    with pytest.raises(MediaError, match="does not exist"):
        list_folder(tmp_path / "gone")


def test_large_folders_are_cut_with_a_note(tmp_path, monkeypatch):
    for index in range(3000):
        (tmp_path / f"{index}.png").touch()
    listing = list_folder(tmp_path, limit=10)
    assert [path.rsplit("/", 1)[1] for path in listing.paths] == [f"{index}.png" for index in range(10)]
    assert "more than 10 files" in listing.notes[0]
    monkeypatch.setattr(opening, "_SCAN_LIMIT", 100)
    assert any("more than 100 entries" in note for note in list_folder(tmp_path, limit=10).notes)
