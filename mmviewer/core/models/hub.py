"""Files of the Hugging Face hub: from its cache, and from the network only where the user allowed it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import CacheNotFound, EntryNotFoundError, HfHubHTTPError, HFValidationError
from huggingface_hub.utils.tqdm import disable_progress_bars

from mmviewer.core.errors import ModelError
from mmviewer.core.progress import SILENT, Progress

ONLINE_VARIABLE = "MMVIEWER_ONLINE"


def online() -> bool:
    """Whether models may be downloaded: only when the environment variable `MMVIEWER_ONLINE` is 1."""
    return os.environ.get(ONLINE_VARIABLE) == "1"


def prepare() -> None:
    """Keep the hub's libraries off the network unless allowed, and silent; called before any load.

    Without it each look-up waits most of a minute on a machine without network, and progress bars fail in a
    program without a console.
    """
    from transformers.utils import logging

    constants.HF_HUB_OFFLINE = not online()
    disable_progress_bars()
    logging.disable_progress_bar()


def fetch(repo: str, names: Sequence[str], progress: Progress = SILENT) -> Path:
    """Return the first of `names` that a repository has, from the cache or, where allowed, the network.

    Raises
    ------
    ModelError
        Not in the cache and downloading is not allowed, or the repository has none of the files.
    """
    cause: Exception | None = None
    for name in names:
        progress.report(0, None, f"looking for {repo}/{name}")
        try:
            return Path(huggingface_hub.hf_hub_download(repo, name, local_files_only=not online()))
        except HFValidationError as error:
            raise ModelError(f"{repo!r} is no id of the hub; ids look like ORGANISATION/NAME.") from error
        except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
            cause = error
    raise ModelError(_absent(repo, names)) from cause


def snapshot(repo: str, patterns: Sequence[str], progress: Progress = SILENT) -> Path:
    """Return the folder with the files of a repository that match `patterns`; errors as `fetch`."""
    progress.report(0, None, f"looking for {repo}")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repo, allow_patterns=list(patterns), local_files_only=not online()
            )
        )
    except HFValidationError as error:
        raise ModelError(f"{repo!r} is no id of the hub; ids look like ORGANISATION/NAME.") from error
    except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(_absent(repo, patterns)) from error


def cached_folders() -> Iterator[tuple[str, Path]]:
    """Repository id and newest snapshot folder of every model in the cache; no network."""
    try:
        cache = huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE)
    except (CacheNotFound, OSError):
        return
    for repo in sorted(cache.repos, key=lambda repo: repo.repo_id):
        if repo.repo_type == "model" and repo.revisions:
            newest = max(repo.revisions, key=lambda revision: revision.last_modified)
            yield repo.repo_id, Path(newest.snapshot_path)


def revision_of(path: Path) -> str:
    """Commit of a file in the cache's ``snapshots/COMMIT/`` folders; empty for other files."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else ""


def _absent(repo: str, names: Sequence[str]) -> str:
    if online():
        return (
            f"{repo} has none of {', '.join(names)}, or the hub did not answer; check the id and try again."
        )
    return (
        f"{repo} is not in the hub's cache on this machine; download it with “hf download {repo}”, "
        f"or let mmviewer download models (Model > Allow downloads of models, or {ONLINE_VARIABLE}=1)."
    )
