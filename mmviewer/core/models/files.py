"""Reading model folders that may be broken or hostile."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mmviewer.core.errors import ModelError
from mmviewer.core.progress import SILENT, Progress

_CONFIG_LIMIT = 16 * 2**20
_CHUNK = 8 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; `ModelError` if it is missing, huge, broken or no object."""
    try:
        if path.stat().st_size > _CONFIG_LIMIT:
            raise ModelError(f"{path} is too large for a configuration; get the model's files again.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} has no {path.name}, so it is incomplete or no model of this kind; "
            "choose the folder that holds it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON; get the model's files again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no settings; get the model's files again.")
    return value


def inside(folder: Path, name: object) -> Path:
    """Return a file that a configuration names relative to its folder; `ModelError` if it leads outside."""
    relative = Path(name) if isinstance(name, str) else Path("/")
    if relative.is_absolute() or ".." in relative.parts or "\\" in str(name) or ":" in str(name):
        raise ModelError(
            f"The configuration in {folder} names {str(name)[:200]!r}, which lies outside of the folder; "
            "do not use this model unless you trust it and correct the file."
        )
    return folder / relative


def sha256(path: Path, progress: Progress = SILENT) -> str:
    """SHA-256 of a file; remembered while the program runs as long as size and modification time stay."""
    status = path.stat()
    key = (path.resolve(), status.st_size, status.st_mtime_ns)
    if key not in _HASHES:
        _HASHES[key] = _digest(path, status.st_size, progress)
    return _HASHES[key]


_HASHES: dict[tuple[Path, int, int], str] = {}


def _digest(path: Path, size: int, progress: Progress) -> str:
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress.report(done, size, f"checking {path.name}")
    return digest.hexdigest()
