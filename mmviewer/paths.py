"""Where resources and the user's folders are, from a source tree, a wheel or a frozen app."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import platformdirs

_APP = "mmviewer"


@cache
def resources() -> Path:
    """The folder with icons, samples and the starter model."""
    here = Path(__file__).resolve().parent
    frozen = getattr(sys, "_MEIPASS", None)
    candidates = [here / "resources", here.parent / "resources"]
    if frozen:
        candidates.insert(0, Path(frozen) / "resources")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError("mmviewer's resources folder is missing; install the package again")


def shipped_models() -> Path:
    """The folder with one folder for each model that comes with mmviewer."""
    return resources() / "models"


def starter_model() -> Path:
    """The folder of the starter model, in open_clip's local-dir form."""
    return shipped_models() / "starter-coca"


def samples() -> Path:
    """The folder of the sample session."""
    return resources() / "samples"


def help_pages() -> Path:
    """The folder of the help."""
    return resources() / "help"


def config_dir() -> Path:
    """Settings; made if missing."""
    return Path(platformdirs.user_config_dir(_APP, appauthor=False, ensure_exists=True))


def cache_dir() -> Path:
    """Pasted images and other things that can be made again; made if missing."""
    return Path(platformdirs.user_cache_dir(_APP, appauthor=False, ensure_exists=True))


def log_dir() -> Path:
    """Log files; made if missing."""
    return Path(platformdirs.user_log_dir(_APP, appauthor=False, ensure_exists=True))


def collections_dir() -> Path:
    """Where collections lie that were made from a folder; made if missing."""
    folder = Path(platformdirs.user_data_dir(_APP, appauthor=False, ensure_exists=True)) / "collections"
    folder.mkdir(exist_ok=True)
    return folder


def models_dir() -> Path:
    """Where the user may keep model folders; made if missing."""
    folder = Path(platformdirs.user_data_dir(_APP, appauthor=False, ensure_exists=True)) / "models"
    folder.mkdir(exist_ok=True)
    return folder
