"""What is in the cache: whole or not, verified, deleted; and that it cannot lead outside."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from threading import Event

import pytest
from fake_hub import REPO, FakeHub, tensors

from mmviewer.core.errors import Cancelled, ModelError
from mmviewer.core.hub import cache
from mmviewer.core.hub.download import download
from mmviewer.core.models import hub as family_files
from mmviewer.core.progress import Progress


def test_every_byte_is_counted_once_and_deleted(online: FakeHub) -> None:
    download(REPO)
    size = sum(path.stat().st_size for path in cache.blob(REPO, "").iterdir())
    listed = cache.models()
    assert [(each.repo, each.size, each.partial, each.trouble) for each in listed] == [(REPO, size, 0, "")]
    assert cache.remove(REPO) >= size
    assert cache.models() == []
    assert not list(cache.folder().rglob("*.safetensors"))
    with pytest.raises(ModelError, match="nothing to delete"):
        cache.remove(REPO)


def test_verify_finds_a_changed_byte_and_a_new_download_mends_it(online: FakeHub) -> None:
    folder = download(REPO)
    blob = (folder / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    assert cache.verify(REPO) == ["model.safetensors"]
    assert cache.models()[0].trouble == "model.safetensors is missing"
    before = online.sent
    download(REPO)
    assert online.sent - before == len(data)
    assert cache.verify(REPO) == []
    assert not cache.models()[0].trouble


def test_an_unfinished_download_is_discarded_and_nothing_else(online: FakeHub) -> None:
    sha = online.models[REPO].listing()["siblings"][1]["lfs"]["sha256"]
    cache.partial(REPO, sha).parent.mkdir(parents=True)
    cache.partial(REPO, sha).write_bytes(b"x" * 5000)
    assert [(each.partial, each.trouble) for each in cache.models()] == [
        (5000, "its download is not finished")
    ]
    assert cache.discard_partial(REPO) == 5000
    assert cache.models() == []
    download(REPO)
    assert cache.discard_partial(REPO) == 0
    assert cache.verify(REPO) == []


def test_who_comes_second_waits_and_can_be_cancelled(online: FakeHub) -> None:
    stop = Event()
    told: list[str] = []

    def watch(done: float, total: float | None, message: str) -> None:
        told.append(message)
        if "waiting for another program" in message:
            stop.set()

    with cache.held(REPO, Progress()), pytest.raises(Cancelled):
        download(REPO, Progress(watch, stop))
    assert any("waiting for another program" in message for message in told)
    assert download(REPO)


@pytest.mark.parametrize(
    ("name", "content", "trouble"),
    [
        ("model.safetensors", tensors()[:-1], "is 1 MB long instead of"),
        ("model.safetensors", b"\xff" * 100, "cut off or no safetensors"),
        ("model.safetensors", b"\x02" + b"\0" * 7 + b"[]", "no safetensors file"),
        ("model.safetensors", b"", "cut off or no safetensors"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors is"),
        ("model.safetensors.index.json", b"[]", "model.safetensors is missing"),
        ("config.json", b"{}", "no weights"),
    ],
)  # fmt: skip
def test_what_is_not_whole_says_why(tmp_path: Path, name: str, content: bytes, trouble: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert trouble in cache.trouble(tmp_path)


def test_a_whole_folder_has_no_trouble(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "one.safetensors").write_bytes(tensors(0.01))
    (tmp_path / "two.safetensors").write_bytes(tensors(0.01))
    assert cache.trouble(tmp_path) == ""


def test_families_get_verified_files_and_nothing_that_is_half(online: FakeHub) -> None:
    weights = family_files.fetch(REPO, ("open_clip_model.safetensors", "model.safetensors"))
    assert weights.read_bytes() == online.models[REPO].files["model.safetensors"]
    assert [repo for repo, _ in family_files.cached_folders()] == [REPO]
    requests = len(online.requests)
    assert family_files.snapshot(REPO, ("*.json",)) == weights.parent
    assert len(online.requests) == requests
    weights.resolve().unlink()
    assert list(family_files.cached_folders()) == []


def test_offline_a_half_model_names_what_is_missing(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    (download(REPO) / "model.safetensors").resolve().unlink()
    monkeypatch.setenv("MMVIEWER_ONLINE", "0")
    with pytest.raises(ModelError, match=r"not whole \(model.safetensors is missing\)"):
        family_files.snapshot(REPO, ("*.json",))
    with pytest.raises(ModelError, match="models download no/thing"):
        family_files.snapshot("no/thing", ("*.json",))


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "_REMEMBERED", tmp_path / "models-folder.txt")
    return tmp_path / "models-folder.txt"


@pytest.mark.parametrize("other_disk", [False, True])
def test_the_folder_moves_with_every_model(
    online: FakeHub, tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    before = download(REPO)
    if other_disk:
        rename = Path.rename

        def crossing(path: Path, target: Path) -> Path:
            if path.parent != target.parent:
                raise OSError(errno.EXDEV, "another disk")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", crossing)
    assert cache.move(tmp_path / "new" / "place") == tmp_path / "new" / "place" == cache.folder()
    assert remembered.read_text() == str(tmp_path / "new" / "place")
    assert not before.exists()
    assert [each.trouble for each in cache.models()] == [""]
    assert cache.verify(REPO) == []
    with pytest.raises(ModelError, match="lie in each other"):
        cache.move(tmp_path / "new" / "place" / "inside")


def test_a_cancelled_move_leaves_the_model_where_it_was(
    online: FakeHub, tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(REPO)
    old = cache.folder()

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(Path, "rename", refuse)
    stop = Event()
    progress = Progress(lambda done, total, message: stop.set() if done else None, stop)
    with pytest.raises(Cancelled):
        cache.move(tmp_path / "new", progress)
    assert cache.folder() == old
    assert [each.trouble for each in cache.models()] == [""]
    assert list((tmp_path / "new").iterdir()) == []
    assert not remembered.exists()
