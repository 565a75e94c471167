"""Downloads against a hub on loopback: whole, resumed, verified, and each failure in its own sentence."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_hub import COMMIT, REPO, Drawer, FakeHub, FakeModel, Handler, model, tensors

from mmviewer.core.errors import Cancelled, ModelError
from mmviewer.core.hub import cache, network, plan, retry, stream, token
from mmviewer.core.hub.download import download
from mmviewer.core.hub.faults import AccessError, DownloadError
from mmviewer.core.progress import Progress

WANTED = {"config.json", "model.safetensors", "tokenizer.json", "README.md"}


def is_offered() -> bool:
    return any(not each.trouble for each in cache.models())


def fails(words: str, kind: type[Exception] = DownloadError) -> None:
    """A download ends in a sentence with `words`, and nothing is left that looks whole."""
    with pytest.raises(kind, match=words):
        download(REPO)
    assert not is_offered()
    assert not list(cache.folder().glob("models--*/snapshots/*"))


def answering(status: int, headers: dict[str, str] | None = None, only: str = "") -> object:
    def misbehave(handler: Handler) -> bool:
        if only in handler.path:
            handler.refuse(status, headers)
            return True
        return False

    return misbehave


# --- a download that goes well ------------------------------------------------------------------------
def test_it_fetches_one_form_of_the_weights_and_no_code(online: FakeHub) -> None:
    folder = download(REPO)
    assert {path.name for path in folder.iterdir()} == WANTED
    for path in folder.iterdir():
        assert path.read_bytes() == online.models[REPO].files[path.name]
    assert folder == cache.snapshot(REPO) == cache.folder() / "models--fake--model" / "snapshots" / COMMIT
    assert is_offered()


def test_the_hubs_own_library_finds_it(online: FakeHub, cache_folder: Path) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir

    download(REPO)
    found = hf_hub_download(REPO, "config.json", cache_dir=cache_folder, local_files_only=True)
    assert json.loads(Path(found).read_text()) == {"model_type": "clip"}
    scanned = scan_cache_dir(cache_folder)
    assert [repo.repo_id for repo in scanned.repos] == [REPO]
    assert not scanned.warnings


def test_a_second_download_fetches_nothing(online: FakeHub) -> None:
    download(REPO)
    before = online.sent
    download(REPO)
    assert online.sent == before


def test_the_plan_is_exact(online: FakeHub) -> None:
    told = plan.make_plan(f"{online.address}/{REPO}/tree/main")
    sizes = {name: len(online.models[REPO].files[name]) for name in WANTED}
    assert {file.name: file.size for file in told.files} == sizes
    assert told.total == told.missing == sum(sizes.values())
    assert [path for path, _, _ in online.requests] == ["/api/models/fake/model/revision/main?blobs=true"]
    assert (told.commit, told.licence, told.kind) == (COMMIT, "mit", "clip")
    assert any("Python code" in note for note in told.notes)
    download(REPO)
    assert plan.make_plan(REPO).missing == 0


def test_open_clips_own_weights_are_preferred_for_open_clip() -> None:
    files = [plan.RemoteFile(name, 1, "0" * 40) for name in (
        "open_clip_config.json", "open_clip_model.safetensors", "model.safetensors", "config.json",
        "open_clip_pytorch_model.bin",
    )]  # fmt: skip
    chosen = {file.name for file in plan.select(files, REPO, open_clip=True)}
    assert chosen == {"open_clip_config.json", "open_clip_model.safetensors", "config.json"}
    assert "model.safetensors" in {file.name for file in plan.select(files, REPO)}


def test_shards_come_with_their_index() -> None:
    names = ("config.json", "model.safetensors.index.json", "pytorch_model.bin.index.json",
             "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")  # fmt: skip
    chosen = plan.select([plan.RemoteFile(name, 1, "0" * 40) for name in names], REPO)
    assert {file.name for file in chosen} == set(names) - {"pytorch_model.bin.index.json"}


def test_files_of_other_programs_stay_in_the_snapshot(online: FakeHub) -> None:
    folder = download(REPO)
    (folder / "own-notes.txt").write_text("mine")
    (folder / "tokenizer.json").unlink()
    (folder / "own").mkdir()
    (folder / "own" / "more.txt").write_text("mine too")
    online.models[REPO].files["qformer_tokenizer/tokenizer.json"] = b'{"a": 1}'
    download(REPO)
    assert (folder / "own" / "more.txt").read_text() == "mine too"
    assert (folder / "qformer_tokenizer" / "tokenizer.json").read_bytes() == b'{"a": 1}'
    assert cache.verify(REPO) == []
    assert (folder / "own-notes.txt").read_text() == "mine"
    assert (folder / "tokenizer.json").read_bytes() == b"{}"


# --- stopping and going on ----------------------------------------------------------------------------
def test_cancel_at_30_percent_then_resume_then_verify(online: FakeHub) -> None:
    online.models[REPO] = model(megabytes=8)
    online.pause = 0.008
    stop = threading.Event()

    def watch(done: float, total: float | None, message: str) -> None:
        if total and " of " in message and done / total >= 0.3:
            stop.set()

    with pytest.raises(Cancelled):
        download(REPO, Progress(watch, stop))
    begun = cache.models()
    assert [each.trouble for each in begun] == ["its download is not finished"]
    assert begun[0].partial >= 0.3 * 8 * 2**20
    time.sleep(0.3)
    after_cancel = online.sent
    time.sleep(0.3)
    assert online.sent == after_cancel  # a cancel truly ends the transfer
    online.pause = 0.0
    online.requests.clear()
    folder = download(REPO)
    ranges = [asked for path, asked, _ in online.requests if path.endswith("model.safetensors")]
    assert ranges == [f"bytes={begun[0].partial}-"]
    assert (folder / "model.safetensors").read_bytes() == online.models[REPO].files["model.safetensors"]
    assert cache.verify(REPO) == []
    assert is_offered()


def test_a_dropped_connection_goes_on_by_itself(online: FakeHub) -> None:
    data = online.models[REPO].files["model.safetensors"]

    def cut(handler: Handler) -> bool:
        if "safetensors" not in handler.path or "Range" in handler.headers:
            return False
        handler.head(200, len(data))
        handler.pieces(data[: len(data) // 2])
        handler.drop()
        return True

    online.misbehave = cut
    folder = download(REPO)
    assert (folder / "model.safetensors").read_bytes() == data


def test_a_hub_that_ignores_ranges_is_read_from_the_start(online: FakeHub) -> None:
    data = online.models[REPO].files["model.safetensors"]
    (
        begun := cache.partial(REPO, online.models[REPO].listing()["siblings"][1]["lfs"]["sha256"])
    ).parent.mkdir(parents=True)
    begun.write_bytes(data[:1000])

    def whole(handler: Handler) -> bool:
        if "safetensors" in handler.path:
            handler.answer(200, data)
        return "safetensors" in handler.path

    online.misbehave = whole
    assert (download(REPO) / "model.safetensors").read_bytes() == data


@pytest.mark.parametrize("left", [b"\0" * 5000, b"x" * 3_000_000])
def test_broken_remains_of_a_power_loss_are_replaced(online: FakeHub, left: bytes) -> None:
    data = online.models[REPO].files["model.safetensors"]
    sha = online.models[REPO].listing()["siblings"][1]["lfs"]["sha256"]
    cache.partial(REPO, sha).parent.mkdir(parents=True)
    cache.partial(REPO, sha).write_bytes(left)
    assert (download(REPO) / "model.safetensors").read_bytes() == data


def test_progress_tells_rate_and_rest(online: FakeHub) -> None:
    online.models[REPO] = model(megabytes=6)
    online.pause = 0.015
    told: list[str] = []
    download(REPO, Progress(lambda done, total, message: told.append(message)))
    assert any("MB of 6 MB" in message and "/s" in message and "left" in message for message in told)


# --- each failure has its own sentence ----------------------------------------------------------------
@pytest.mark.parametrize("status", [401, 403])
def test_gated_models_name_the_page(online: FakeHub, status: int) -> None:
    online.misbehave = answering(status, only="resolve")
    fails(f"{online.address}/{REPO}.*token", AccessError)


def test_a_refused_token_says_so(online: FakeHub, drawer: Drawer) -> None:
    token.keep("hf_secret")
    online.misbehave = answering(401)
    fails("does not accept the stored token", AccessError)
    assert ("Bearer hf_secret") in {auth for _, _, auth in online.requests}


def test_the_token_stays_with_its_hub(online: FakeHub) -> None:
    token.keep("hf_secret")
    other = FakeHub()
    try:
        other.models[REPO] = online.models[REPO]

        def redirect(handler: Handler) -> bool:
            if "safetensors" in handler.path:
                handler.answer(302, b"", {"Location": other.address + handler.path})
            return "safetensors" in handler.path

        online.misbehave = redirect
        download(REPO)
        assert [auth for _, _, auth in other.requests] == [None]
    finally:
        other.close()


def test_an_unknown_id(online: FakeHub) -> None:
    online.models.clear()
    fails("no model fake/model")


@pytest.mark.parametrize("spec", ["../../etc", "a/b/c", "", "fake/model@../../x", "x" * 300])
def test_what_is_no_id(online: FakeHub, spec: str) -> None:
    with pytest.raises(ModelError, match="no id of the hub"):
        download(spec)
    assert not online.requests


def test_a_file_that_is_gone(online: FakeHub) -> None:
    online.misbehave = answering(404, only="safetensors")
    fails("404")


def test_too_many_requests_wait_as_long_as_asked(online: FakeHub) -> None:
    left = [2]

    def busy(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            handler.refuse(429, {"Retry-After": "0.3"})
        return left[0] >= 0

    online.misbehave = busy
    told: list[str] = []
    start = time.monotonic()
    download(REPO, Progress(lambda done, total, message: told.append(message)))
    assert time.monotonic() - start >= 0.6
    assert any("patience" in message for message in told)


def test_too_many_requests_for_long(online: FakeHub) -> None:
    online.misbehave = answering(429, {"Retry-After": "3600"})
    fails("wait 1 h 00 min")


def test_a_hub_in_trouble(online: FakeHub) -> None:
    online.misbehave = answering(500)
    fails(r"trouble of its own \(500\)")
    assert len(online.requests) == retry.ATTEMPTS


def test_trouble_that_passes(online: FakeHub) -> None:
    left = [2]

    def shaky(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            handler.refuse(503)
        return left[0] >= 0

    online.misbehave = shaky
    assert download(REPO)


def test_a_stalled_connection(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALL_TIMEOUT", 0.2)

    def stall(handler: Handler) -> bool:
        if "safetensors" not in handler.path:
            return False
        handler.head(206 if "Range" in handler.headers else 200, 2**20)
        time.sleep(1)
        handler.drop()
        return True

    online.misbehave = stall
    fails("stalled")


def test_cancel_is_obeyed_while_the_other_side_is_silent(online: FakeHub) -> None:
    over = threading.Event()

    def silent(handler: Handler) -> bool:
        if "safetensors" in handler.path:
            over.wait(20)
        return False

    online.misbehave = silent
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        download(REPO, Progress(None, stop))
    assert time.monotonic() - start < 10  # half of the silence
    over.set()


def test_a_line_that_is_cut_again_and_again(online: FakeHub) -> None:
    def cut(handler: Handler) -> bool:
        if "safetensors" in handler.path:
            handler.drop()
        return "safetensors" in handler.path

    online.misbehave = cut
    fails("was cut")


def test_a_wrong_checksum(online: FakeHub) -> None:
    online.models[REPO].claims["model.safetensors"] = tensors(seed=1)
    fails("another checksum")
    assert not [path for path in cache.folder().rglob("*") if path.is_file() and path.stat().st_size > 10**6]


def test_a_wrong_checksum_of_a_small_file(online: FakeHub) -> None:
    online.models[REPO].claims["config.json"] = b'{"model_type": "cliq"}'
    fails("config.json of fake/model arrived with another checksum")


def test_more_bytes_than_announced(online: FakeHub) -> None:
    full = online.models[REPO].files["model.safetensors"]
    online.models[REPO].claims["model.safetensors"] = full[:-100]
    fails("another checksum")


def test_no_room_is_told_before_anything_is_fetched(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "free_bytes", lambda folder: 1000)
    fails("needs 1 MB more, but only 1 kB are free")
    assert not any("resolve" in path for path, _, _ in online.requests)


def test_a_disk_that_fills_up_meanwhile(online: FakeHub) -> None:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, former[1]))
    try:
        fails("is full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)
    assert download(REPO)


def test_no_network(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    fails("cannot be reached")


def test_downloads_switched_off(online: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVIEWER_ONLINE", "0")
    fails("downloads are switched off")
    assert not online.requests


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b'{"id": "x"}', b'{"siblings": [{"a": 1}]}'])
def test_an_answer_that_makes_no_sense(online: FakeHub, body: bytes) -> None:
    def portal(handler: Handler) -> bool:
        handler.answer(200, body, {"Content-Type": "application/json"})
        return True

    online.misbehave = portal
    fails("cannot be understood")


def test_names_that_lead_outside_are_never_written(online: FakeHub, tmp_path: Path) -> None:
    files = online.models[REPO].files
    files.update({"../outside.json": b"{}", "/abs.json": b"{}", "..\\win.json": b"{}", "a:b.json": b"{}"})
    assert {path.name for path in download(REPO).iterdir()} == WANTED
    assert not list(tmp_path.rglob("*outside*"))


def test_pickles_alone_are_refused_before_they_are_fetched(online: FakeHub) -> None:
    del online.models[REPO].files["model.safetensors"]
    fails("can run code", ModelError)
    online.models[REPO] = FakeModel({"README.md": b"", "model.gguf": b"x"})
    fails("no weights", ModelError)
    assert not any("resolve" in path for path, _, _ in online.requests)


def test_network_activity_is_told(online: FakeHub) -> None:
    online.models[REPO] = model(megabytes=4)
    online.pause = 0.005
    seen: list[tuple[str, ...]] = []
    download(REPO, Progress(lambda done, total, message: seen.append(network.ACTIVITY.hosts())))
    assert ("127.0.0.1",) in seen


# --- whatever happens, no half model ---------------------------------------------------------------------
@pytest.mark.slow
def test_killed_at_a_random_byte_50_times_no_half_model_is_offered(
    online: FakeHub, cache_folder: Path
) -> None:
    online.models[REPO] = model(megabytes=24)
    online.pause = 0.001
    kills = 0
    with subprocess.Popen(
        [sys.executable, "-c", _FORK_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "HF_HUB_CACHE": str(cache_folder), "HF_HUB_OFFLINE": "0"},
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        for run in range(400):
            if kills == 50:
                break
            delay = 0.01 + (run * 0.037) % 0.33
            server.stdin.write(f"{delay}\n")
            server.stdin.flush()
            outcome = server.stdout.readline().strip()
            kills += outcome == "killed"
            offered = is_offered()
            if outcome == "done":
                assert offered
                assert cache.verify(REPO) == []
                cache.remove(REPO)
            elif offered:  # killed after the snapshot appeared: then every byte is right
                assert cache.verify(REPO) == []
                cache.remove(REPO)
        server.stdin.close()
    assert kills == 50
    assert download(REPO)  # goes on from what the last kill left
    assert all(not each.trouble for each in cache.models())


_FORK_SERVER = """
import os, signal, sys, time
from mmviewer.core.hub.download import download
import mmviewer.core.hub.retry as retry
retry.FIRST_WAIT = 0.02
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            download("fake/model")
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(3)
        os._exit(0)
    until, code = time.monotonic() + float(line), None
    while time.monotonic() < until and code is None:
        pid, status = os.waitpid(child, os.WNOHANG)
        code = status if pid else None
        time.sleep(0.002)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)
    else:
        print("done" if code == 0 else "failed", flush=True)
"""
