"""What a download would fetch: exactly which files, how large, and whether the disk has room."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from mmviewer.core.errors import ModelError
from mmviewer.core.hub import cache, faults, network, retry, token
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.words import bytes_in_words

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
    "pytorch_model.bin",
)
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SAFE_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = re.compile(r"(pytorch_model.*|.*)\.(bin|pt|pth|ckpt|h5|msgpack)")
_BESIDE = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".txt.gz")
_FOLDERS = ("qformer_tokenizer/",)  # of InstructBLIP, whose queries read the instruction too
_TELLING = re.compile(r"(README|LICEN[CS]E|NOTICE|USE_POLICY)(\.\w+)?", re.IGNORECASE)
_OTHER_INDEX = re.compile(r".*\.index\.json")

_REPO = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_FILES = 20_000
_LARGEST = 1 << 43  # bytes of one file; far above any model that exists
_MARGIN = 64 << 20  # bytes left free on the disk
_API_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the hub; `oid` is its SHA-256 (64 digits, large files) or its git blob id (40 digits)."""

    name: str
    size: int
    oid: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A download before it begins.

    Parameters
    ----------
    repo, commit, revision : str
        What, in which state, and by which name of that state ("main").
    files : tuple of RemoteFile
        All of the model, those that are here already included.
    present : int
        Bytes that are here already, in whole or begun files.
    free : int
        Bytes free on the disk.
    folder : str
        Where it goes.
    gate, licence : str
        "" or the page where the terms must be accepted first; the licence's name, if the hub tells it.
    kind : str
        ``model_type`` of the configuration, as the hub tells it.
    notes : tuple of str
        What the user should know before.
    """

    repo: str
    commit: str
    revision: str
    files: tuple[RemoteFile, ...]
    present: int
    free: int
    folder: str
    gate: str = ""
    licence: str = ""
    kind: str = ""
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Bytes of the whole model."""
        return sum(file.size for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes still to come."""
        return max(self.total - self.present, 0)

    def check_room(self) -> None:
        """Raise `DownloadError` where the disk has no room for what is missing."""
        if self.missing + _MARGIN > self.free and self.missing:
            raise faults.no_room(
                self.repo, bytes_in_words(self.missing), bytes_in_words(self.free), self.folder
            )


def split_spec(spec: str) -> tuple[str, str, bool]:
    """Repository, revision and whether open_clip's files are meant, from what a user typed or pasted.

    Understands "ORG/NAME", "ORG/NAME@REVISION", "hf-hub:ORG/NAME" and the address of the model's page.
    """
    text = spec.strip()
    for address in (network.endpoint(), "https://huggingface.co", "https://hf.co", "http://huggingface.co"):
        if text.startswith(f"{address}/"):
            parts = text.removeprefix(f"{address}/").split("?")[0].split("#")[0].strip("/").split("/")
            revision = parts[3] if len(parts) > 3 and parts[2] in ("tree", "blob", "resolve") else ""
            text = "/".join(parts[:2]) + (f"@{revision}" if revision else "")
            break
    open_clip = text.startswith("hf-hub:")
    repo, _, revision = text.removeprefix("hf-hub:").partition("@")
    if not _REPO.fullmatch(repo) or ".." in repo or (revision and not _is_plain(revision)):
        raise ModelError(f"{spec.strip()[:200]!r} is no id of the hub; ids look like ORGANISATION/NAME.")
    return repo, revision or "main", open_clip


def make_plan(spec: str, progress: Progress = SILENT) -> Plan:
    """Ask the hub what a model consists of, and compare with what is here.

    Raises
    ------
    DownloadError
        Not allowed, not reachable, no such model, gated, or an answer that makes no sense.
    ModelError
        No id, or the model has no weights in a form that is safe to read.
    """
    repo, revision, open_clip = split_spec(spec)
    network.require(repo)
    progress.report(0, None, f"asking {network.host_of(network.endpoint())} about {repo}")
    told = retry.patiently(lambda: _ask(repo, revision), repo, progress)
    try:
        files = _files(told)
        commit = str(told.sha)
        if not _COMMIT.fullmatch(commit):
            raise ValueError("no commit")
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise faults.nonsense(repo) from error
    chosen = select(files, repo, open_clip=open_clip)
    folder = cache.folder()
    config = told.config if isinstance(told.config, dict) else {}
    return Plan(
        repo=repo,
        commit=commit,
        revision=revision,
        files=chosen,
        present=sum(cache.arrived(repo, file.oid, file.size) for file in {f.oid: f for f in chosen}.values()),
        free=free_bytes(folder),
        folder=str(folder),
        gate=f"{network.endpoint()}/{repo}" if told.gated else "",
        licence=_licence(told),
        kind=str(config.get("model_type", ""))[:60],
        notes=_notes(told, files),
    )


def select(files: Sequence[RemoteFile], repo: str, *, open_clip: bool = False) -> tuple[RemoteFile, ...]:
    """Which files of a repository are needed: one form of the weights, settings, vocabulary, the card.

    Copies for other programs (TensorFlow, ONNX, GGUF ...) and Python code are left where they are.
    """
    top = {file.name: file for file in files if file.name.count("/") == 0}
    below = [file for file in files if file.name.startswith(_FOLDERS) and file.name.endswith(_BESIDE)]
    weights = _weights_of(top, repo, open_clip=open_clip or "config.json" not in top)
    beside = [
        file
        for name, file in top.items()
        if (name.endswith(_BESIDE) and (name == _INDEX or not _OTHER_INDEX.fullmatch(name)))
        or _TELLING.fullmatch(name)
    ]
    if not any(file.name == _INDEX for file in weights):
        beside = [file for file in beside if file.name != _INDEX]
    return tuple(sorted({*weights, *beside, *below}, key=lambda file: file.name))


def _weights_of(top: dict[str, RemoteFile], repo: str, *, open_clip: bool) -> list[RemoteFile]:
    if open_clip and OPEN_CLIP_CONFIG in top:
        for name in OPEN_CLIP_WEIGHTS:
            if name in top:
                return [top[name]]
    if _SAFE_WEIGHTS in top:
        return [top[_SAFE_WEIGHTS]]
    shards = [file for name, file in top.items() if _SHARD.fullmatch(name)]
    if shards and _INDEX in top:
        return [top[_INDEX], *shards]
    if any(_PICKLES.fullmatch(name) for name in top):
        raise ModelError(
            f"{repo} has its weights only in a form that can run code when it is read (a pickle), so it "
            "is not downloaded; look for a copy with model.safetensors."
        )
    raise ModelError(
        f"{repo} has no weights that mmviewer reads (model.safetensors, or {OPEN_CLIP_CONFIG} with weights); "
        "choose another model."
    )


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk that holds, or will hold, `folder`."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(there).free


def _ask(repo: str, revision: str) -> Any:
    address, bearer = network.endpoint(), token.get()
    network.session()  # so that the question shows as network activity
    api = HfApi(endpoint=address, token=bearer or False)
    try:
        return api.model_info(repo, revision=revision, files_metadata=True, timeout=_API_TIMEOUT)
    except RevisionNotFoundError as error:
        raise faults.DownloadError(
            f"{repo} has no revision {revision!r}; leave it away or look at {address}/{repo}/commits."
        ) from error
    except HfHubHTTPError as error:
        retry.raise_for(error.response, repo, address, with_token=bearer is not None, cause=error)
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, httpx2.HTTPError):
            raise
        raise faults.nonsense(repo) from error


def _files(told: Any) -> list[RemoteFile]:
    siblings = list(told.siblings or ())
    if not 0 < len(siblings) <= _MOST_FILES:
        raise ValueError("an impossible number of files")
    return [_file(sibling) for sibling in siblings if _is_plain(sibling.rfilename)]


def _file(sibling: Any) -> RemoteFile:
    oid = str(sibling.lfs.sha256 if sibling.lfs else sibling.blob_id).lower()
    size = sibling.size
    if not _OID.fullmatch(oid) or not isinstance(size, int) or not 0 <= size <= _LARGEST:
        raise ValueError("an impossible file")
    return RemoteFile(str(sibling.rfilename), size, oid)


def _is_plain(name: object) -> bool:
    """Whether a name stays inside of the folder on every system; others are never fetched."""
    if not isinstance(name, str) or not name or len(name) > 255 or not name.isprintable():
        return False
    return not (set('\\:*?"<>|') & set(name)) and all(part.strip(". ") for part in name.split("/"))


def _licence(told: Any) -> str:
    card = getattr(told, "card_data", None)
    named = card.get("license_name") or card.get("license") if card is not None else None
    return str(named)[:80] if isinstance(named, str) else ""


def _notes(told: Any, files: Sequence[RemoteFile]) -> tuple[str, ...]:
    notes = []
    if told.gated:
        notes.append("Gated: its terms must be accepted on its page first.")
    if "custom_code" in (told.tags or ()) or any(file.name.endswith(".py") for file in files):
        notes.append("It comes with Python code of its own, which is neither downloaded nor run.")
    return tuple(notes)
