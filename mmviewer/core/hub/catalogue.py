"""Known checkpoints of the hub, to search and choose from; light, so that the window may import it."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from mmviewer import paths
from mmviewer.core.errors import ModelError

FILE = "catalogue.toml"
TASKS = {
    "zero-shot": "score labels on images, with no training on them",
    "caption": "describe an image in words",
    "ask": "answer questions about an image",
    "match": "say how well a text fits an image",
    "ground": "show where in the image a phrase is",
    "transcribe": "write down what is said in a sound",
    "sound": "score labels on sounds",
}
"""What a model can do, and what that means."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one weight in each number format."""
_WORKING = 1.15  # share beyond the weights for what runs through them


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint.

    Parameters
    ----------
    id, label, kind : str
        The hub's id; a name for people; "openclip" or transformers' ``model_type``.
    parameters : int
    known : str
        Where that number is from: "configuration" (counted) or "publication".
    stored : str
        Number format of the published weights.
    licence, paper, note : str
    can : tuple of str
        Keys of `TASKS`.
    gated : bool
        Whether its terms must be accepted on its page first.
    revision : str
        Branch or commit; empty for the newest.
    """

    id: str
    label: str
    kind: str
    parameters: int
    known: str
    stored: str
    licence: str
    can: tuple[str, ...]
    paper: str = ""
    gated: bool = False
    note: str = ""
    revision: str = ""

    @property
    def spec(self) -> str:
        """What `load_model` takes."""
        name = f"{self.id}@{self.revision}" if self.revision else self.id
        return f"hf-hub:{name}" if self.kind == "openclip" else name

    @property
    def disk_bytes(self) -> int:
        """Size of the published weights, computed."""
        return self.parameters * BYTES[self.stored]

    def memory_bytes(self, dtype: str) -> int:
        """Memory of the weights in `dtype`, and some to run them; computed."""
        return int(self.parameters * BYTES[dtype] * _WORKING)


@cache
def entries() -> tuple[Entry, ...]:
    """Every checkpoint of the catalogue, in its order.

    Raises
    ------
    ModelError
        The catalogue is broken, which a reinstall mends.
    """
    path = paths.resources() / FILE
    try:
        listed = tomllib.loads(path.read_text("utf-8"))["model"]
        return tuple(Entry(**{**entry, "can": tuple(entry["can"])}) for entry in listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read; install mmviewer again.") from error


def search(
    words: str = "",
    *,
    task: str = "",
    room: int | None = None,
    dtype: str = "float32",
    kinds: Collection[str] | None = None,
    among: Iterable[Entry] | None = None,
) -> Sequence[Entry]:
    """Checkpoints that fit.

    Parameters
    ----------
    words : str
        Each must occur in the name, id, kind, licence, note or abilities.
    task : str
        A key of `TASKS`, or empty for any.
    room : int, optional
        Bytes of memory that there are; what needs more in `dtype` is left out.
    kinds : collection of str, optional
        Kinds that can be loaded.
    """
    wanted = words.lower().split()
    return [
        entry
        for entry in (entries() if among is None else among)
        if (not task or task in entry.can)
        and (room is None or entry.memory_bytes(dtype) <= room)
        and (kinds is None or entry.kind in kinds)
        and all(word in _text(entry) for word in wanted)
    ]


def _text(entry: Entry) -> str:
    parts = (entry.label, entry.id, entry.kind, entry.licence, entry.note, *entry.can)
    return " ".join(parts).lower()
