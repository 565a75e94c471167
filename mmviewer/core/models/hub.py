"""Files of the hub for the families: from its cache, and from the network only where that is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import disable_progress_bars

from mmviewer.core.errors import ModelError
from mmviewer.core.hub import cache, network
from mmviewer.core.hub.download import download
from mmviewer.core.hub.network import ONLINE_VARIABLE, online
from mmviewer.core.hub.plan import OPEN_CLIP_WEIGHTS, split_spec
from mmviewer.core.progress import SILENT, Progress

__all__ = ["ONLINE_VARIABLE", "cached_folders", "fetch", "online", "prepare", "revision_of", "snapshot"]


def prepare() -> None:
    """Keep the hub's libraries off the network unless allowed, and silent; called before any load.

    Without it each look-up waits most of a minute on a machine without network, and progress bars fail in a
    program without a console.
    """
    from transformers.utils import logging

    constants.HF_HUB_OFFLINE = not online()
    disable_progress_bars()
    logging.disable_progress_bar()
    network.session()  # what other libraries ask of the hub shows as network activity too


def fetch(repo: str, names: Sequence[str], progress: Progress = SILENT) -> Path:
    """Return the first of `names` that a repository has, from the cache or, where allowed, the network.

    Raises
    ------
    ModelError
        Not in the cache and downloading is not allowed, or the repository has none of the files.
    """
    plain = split_spec(repo)[0]
    progress.report(0, None, f"looking for {plain}/{names[0]}")
    found = _first(cache.snapshot(plain), names)
    if found is None and online():
        open_clip = names[0] in OPEN_CLIP_WEIGHTS or names[0].startswith("open_clip")
        found = _first(download(f"hf-hub:{repo}" if open_clip else repo, progress), names)
    if found is None:
        raise ModelError(_absent(plain, names))
    return found


def snapshot(repo: str, patterns: Sequence[str], progress: Progress = SILENT) -> Path:
    """Return the folder of a repository, whose files match `patterns`; errors as `fetch`."""
    plain = split_spec(repo)[0]
    progress.report(0, None, f"looking for {plain}")
    folder = cache.snapshot(plain)
    if folder is not None and not cache.trouble(folder):
        return folder
    if online():
        return download(repo, progress)
    if folder is None or not any(fnmatch(path.name, each) for path in folder.iterdir() for each in patterns):
        raise ModelError(_absent(plain, patterns))
    raise ModelError(
        f"{plain} is not whole ({cache.trouble(folder)}); download it again with “mmviewer models download "
        f"{plain}” or under Model > Manage models."
    )


def cached_folders() -> Iterator[tuple[str, Path]]:
    """Repository id and snapshot folder of every whole model in the cache; no network."""
    for model in cache.models():
        if not model.trouble:
            yield model.repo, model.path


def revision_of(path: Path) -> str:
    """Commit of a file in the cache's ``snapshots/COMMIT/`` folders; empty for other files."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else ""


def _first(folder: Path | None, names: Sequence[str]) -> Path | None:
    if folder is None:
        return None
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _absent(repo: str, names: Sequence[str]) -> str:
    if online():
        return (
            f"{repo} has none of {', '.join(names)}, or the hub did not answer; check the id and try again."
        )
    return (
        f"{repo} is not in the hub's cache on this machine; download it with “mmviewer models download "
        f"{repo}”, or let mmviewer download models (Model > Allow downloads of models, "
        f"or {ONLINE_VARIABLE}=1)."
    )
