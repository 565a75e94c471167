"""A hub on loopback that speaks as much of the real one's language as a download needs, and can misbehave."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keyring
import numpy as np
from keyring.backend import KeyringBackend

REPO = "fake/model"
COMMIT = "c0ffee" * 6 + "c0ff"
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<name>.+)")
_PIECE = 64 * 1024


@dataclass
class FakeModel:
    """A repository; `large` files are told with a SHA-256, the others with a git blob id."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset({"model.safetensors"})
    gated: str | bool = False
    claims: dict[str, bytes] = field(default_factory=dict)  # content that the listing describes instead
    tags: tuple[str, ...] = ()

    def listing(self) -> dict[str, object]:
        siblings = [self._sibling(name, self.claims.get(name, data)) for name, data in self.files.items()]
        return {
            "id": "fake/model",
            "modelId": "fake/model",
            "sha": COMMIT,
            "siblings": siblings,
            "gated": self.gated,
            "tags": list(self.tags),
            "downloads": 0,
            "private": False,
            "config": {"model_type": "clip"},
            "cardData": {"license": "mit"},
        }

    def _sibling(self, name: str, data: bytes) -> dict[str, object]:
        told: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git_id(data)}
        if name in self.large:
            sha = hashlib.sha256(data).hexdigest()
            told["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 134}
        return told


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


Answer = Callable[["Handler"], bool]
"""Misbehaviour: gets the request; True when it has answered."""


class FakeHub:
    """Serves `models`; `misbehave` is asked before each answer."""

    def __init__(self) -> None:
        self.models: dict[str, FakeModel] = {}
        self.misbehave: Answer | None = None
        self.requests: list[tuple[str, str | None, str | None]] = []  # path, Range, Authorization
        self.sent = 0
        self.pause = 0.0  # seconds between pieces
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.hub = self  # type: ignore[attr-defined]
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection for each request, so that no thread waits for a next one
    server: ThreadingHTTPServer

    @property
    def hub(self) -> FakeHub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        self.hub.requests.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if self.hub.misbehave is not None and self.hub.misbehave(self):
            return
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            self._tell(path.removeprefix("/api/models/").split("/revision/")[0])
            return
        match = _RESOLVE.fullmatch(path)
        model = self.hub.models.get(match["repo"]) if match else None
        if match is None or model is None or match["name"] not in model.files:
            self.refuse(404)
            return
        self._send(model.files[match["name"]])

    def _tell(self, repo: str) -> None:
        model = self.hub.models.get(repo)
        if model is None:
            self.refuse(404, {"X-Error-Code": "RepoNotFound"})
            return
        body = json.dumps({**model.listing(), "id": repo, "modelId": repo}).encode()
        self.answer(200, body, {"Content-Type": "application/json"})

    def _send(self, data: bytes) -> None:
        start = (
            int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        )
        if start >= len(data) > 0:
            self.refuse(416)
            return
        more = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self.head(206 if start else 200, len(data) - start, more)
        self.pieces(data[start:])

    def pieces(self, data: bytes) -> None:
        """Send a body in small pieces, counting what went out."""
        try:
            for at in range(0, len(data), _PIECE):
                self.wfile.write(data[at : at + _PIECE])
                self.wfile.flush()
                self.hub.sent += len(data[at : at + _PIECE])
                time.sleep(self.hub.pause)
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def head(self, status: int, length: int, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.head(status, len(body), more)
        self.wfile.write(body)

    def refuse(self, status: int, more: dict[str, str] | None = None) -> None:
        self.answer(status, b"no", more)

    def drop(self) -> None:
        """Cut the line in the middle of whatever was said."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_words: object) -> None:
        pass


def tensors(megabytes: float = 1.0, seed: int = 0) -> bytes:
    """A safetensors file of random bytes."""
    data = np.random.default_rng(seed).integers(0, 256, int(megabytes * 2**20), dtype=np.uint8).tobytes()
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def model(megabytes: float = 1.0) -> FakeModel:
    return FakeModel(
        {
            "config.json": b'{"model_type": "clip"}',
            "model.safetensors": tensors(megabytes),
            "pytorch_model.bin": b"a pickle",
            "tf_model.h5": b"another copy",
            "modeling_own.py": b"print('no')",
            "tokenizer.json": b"{}",
            "README.md": b"# a card",
            "onnx/model.onnx": b"yet another",
        }
    )


class Drawer(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError("none")
