"""The head of a safetensors file: names, kinds and shapes, without the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST = 100 << 20  # bytes, the format's own limit
PREFIX = 8
"""Bytes that say how long the head is."""


def read_head(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the head's length and its tensors by name.

    Raises
    ------
    ValueError
        The file is too short for its head, or holds something else.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(PREFIX), "little")
        if not 2 <= length <= min(_MOST, path.stat().st_size - PREFIX):
            raise ValueError("it is cut off or no safetensors file")
        try:
            told = json.loads(file.read(length))
        except RecursionError as error:
            raise ValueError("its head is nested without end") from error
    if not isinstance(told, dict) or not all(isinstance(entry, dict) for entry in told.values()):
        raise ValueError("its head names no tensors")
    return length, {name: entry for name, entry in told.items() if name != "__metadata__"}
