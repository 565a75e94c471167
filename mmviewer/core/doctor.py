"""What this machine offers to mmviewer, and what is missing: for bug reports and first starts."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mmviewer
from mmviewer import paths
from mmviewer.core.errors import DeviceError

_PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "open_clip_torch",
    "timm",
    "numpy",
    "pillow",
    "soundfile",
    "av",
    "sounddevice",
    "PySide6_Essentials",
    "pyqtgraph",
    "matplotlib",
    "scikit-learn",
    "umap-learn",
    "openTSNE",
    "pacmap",
    "faiss-cpu",
    "huggingface_hub",
    "safetensors",
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not there, what does not work without it, and the remedy."""

    what: str
    consequence: str
    remedy: str


def report() -> tuple[dict[str, Any], list[Missing]]:
    """Return facts on versions, devices, folders and the starter model, and what is missing.

    Audio devices and the display are asked by the caller, for they need libraries that the core leaves alone.
    """
    missing: list[Missing] = []
    facts = {
        "mmviewer": mmviewer.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(missing),
        "devices": _devices(missing),
        "starter": _starter(missing),
        "folders": _folders(),
    }
    return facts, missing


def display() -> tuple[bool, str]:
    """Whether a window can open, and why."""
    if sys.platform != "linux":
        return True, f"{platform.system()} has a display of its own"
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(name):
            return True, f"{name} is {os.environ[name]}"
    named = os.environ.get("QT_QPA_PLATFORM", "")
    if named and not named.startswith(("xcb", "wayland")):
        return True, f"QT_QPA_PLATFORM is {named}"
    return False, "neither DISPLAY nor WAYLAND_DISPLAY is set"


def _packages(missing: list[Missing]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            missing.append(Missing(name, f"what needs {name} does not work", f"pip install {name}"))
    return found


def _devices(missing: list[Missing]) -> dict[str, Any]:
    try:
        # PyTorch itself may be what is broken, and the doctor has to say so
        from mmviewer.core.models import device
    except (ImportError, OSError) as error:
        missing.append(Missing("torch", f"no model runs: {error}", "install mmviewer again"))
        return {"found": [], "chosen": None, "dtype": None, "reason": str(error)}
    listed = []
    for name, description in device.devices():
        used, total = device.memory(device.choose_placement(name).device)
        listed.append({"name": name, "description": description, "memory_used": used, "memory_total": total})
    try:
        placement = device.choose_placement()
    except DeviceError as error:
        missing.append(Missing("device", error.message, "name a device with --device"))
        return {"found": listed, "chosen": None, "dtype": None, "reason": error.message}
    dtype = str(placement.dtype).removeprefix("torch.")
    return {"found": listed, "chosen": str(placement.device), "dtype": dtype, "reason": placement.reason}


def _starter(missing: list[Missing]) -> dict[str, Any]:
    try:
        folder = paths.starter_model()
    except FileNotFoundError as error:
        missing.append(Missing("resources", "no icons, samples or starter model", str(error)))
        return {"present": False, "path": None, "size": 0}
    files = [file for file in folder.glob("*") if file.is_file()] if folder.is_dir() else []
    present = any(file.suffix == ".safetensors" for file in files)
    if not present:
        missing.append(
            Missing("starter model", "nothing works offline until a model is named", "install mmviewer again")
        )
    return {"present": present, "path": str(folder), "size": sum(file.stat().st_size for file in files)}


def _folders() -> dict[str, Any]:
    models = paths.models_dir()
    return {
        "models": str(models),
        "models_free_bytes": shutil.disk_usage(models).free,
        "cache": str(paths.cache_dir()),
        "config": str(paths.config_dir()),
        "log": str(paths.log_dir()),
    }
