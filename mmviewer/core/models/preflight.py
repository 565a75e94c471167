"""Whether a model fits, known from the heads of its files before anything is loaded, and smaller plans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmviewer.core.errors import DeviceError, ModelError
from mmviewer.core.hub import cache
from mmviewer.core.hub.heads import read_head
from mmviewer.core.hub.plan import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, split_spec
from mmviewer.core.models import device as devices
from mmviewer.core.models import files
from mmviewer.core.models.base import Placement
from mmviewer.core.models.builtin import BUILT_IN
from mmviewer.core.words import bytes_in_words

_SHARE = 0.85  # of free memory that is planned with where a model is spread
_LAYER = re.compile(r"(.*\.(?:layers|layer|blocks|block|h)\.\d+)\.")
_WORKING = 1.15  # share beyond the weights for what runs through them
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_BESIDE = ("sound_model.safetensors",)


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to load a model.

    Parameters
    ----------
    placement : Placement
    needed : int
        Bytes that it takes there; 0 while unknown.
    words : str
        Why it is not the first choice, for people; empty for the first.
    """

    placement: Placement
    needed: int
    words: str = ""

    @property
    def fits(self) -> bool:
        """Whether there is room now, for what is over also in the machine's memory."""
        device, room = self.placement.device, self.placement.room
        if room is None:
            return self.needed <= devices.free_memory(device)
        return self.needed - room <= _SHARE * devices.free_memory(torch.device("cpu"))


def plans(spec: str, device: str = "auto", dtype: str = "auto", *, spreads: bool = False) -> list[Plan]:
    """Ways to load what `spec` names, the best first; what the user chose by name is kept.

    Parameters
    ----------
    spreads : bool
        Whether its family can keep layers in the machine's memory that the device has no room for.

    Raises
    ------
    DeviceError
        A device or number format is missing, or no way fits; says what is needed and what is free.
    """
    first = devices.choose_placement(device, dtype)
    weights = weights_of(spec)
    placements = [first, *_smaller(first, device, dtype)]
    listed = [Plan(each, needed(weights, each.dtype, each.bits)) for each in placements]
    if spreads and first.device.type != "cpu" and not first.bits:
        here = [plan for plan in listed if plan.placement.device == first.device]
        listed = [*here, *_spread(spec, here[-1]), *listed[len(here) :]]
    fitting = [plan for plan in listed if plan.fits]
    if not fitting:
        raise DeviceError(
            f"{_name(spec)} {_shortage(listed[-1])}; close other programs, or choose a smaller model or "
            "another device."
        )
    why = "" if fitting[0] is listed[0] else f"{_name(spec)} {_shortage(listed[0])}"
    return [
        plan if plan is listed[0] else replace(plan, words=_aloud(plan, why or "Memory ran out"))
        for plan in fitting
    ]


def needed(weights: Mapping[str, int], dtype: torch.dtype, bits: int = 0) -> int:
    """Bytes of memory for weights (see `weights_of`) in `dtype`, and some to run them.

    With `bits`, a seventh of the weights is taken to stay in `dtype`: embeddings and what sees the picture.
    """
    width: float = torch.empty(0, dtype=dtype).element_size()
    if bits:
        width = (6 * bits / 8 + width) / 7
    return int((weights.get("floats", 0) * width + weights.get("other bytes", 0)) * _WORKING)


def weights_of(spec: str) -> dict[str, int]:
    """How many numbers of floating point a model has, and bytes of others; empty where it is not here.

    Read from the heads of safetensors files; the size of a pickle counts as float32.
    """
    total = {"floats": 0, "other bytes": 0}
    for path in _files_of(spec):
        if path.suffix != ".safetensors":
            total["floats"] += path.stat().st_size // 4
            continue
        for _, entry in _tensors(path):
            count = math.prod(entry["shape"])
            if entry["dtype"] in _FLOATS:
                total["floats"] += count
            else:
                total["other bytes"] += count * _BYTES.get(entry["dtype"], 1)
    return total if any(total.values()) else {}


def _smaller(first: Placement, device: str, dtype: str) -> Iterator[Placement]:
    """What takes less room than `first`, as far as the user left it open."""
    half = torch.bfloat16
    if dtype == "auto" and first.dtype is torch.float32:
        yield Placement(first.device, half, "bfloat16, because float32 does not fit")
    if device == "auto" and first.device.type != "cpu":
        cpu = torch.device("cpu")
        reason = f"the CPU, because {first.device} has no room"
        if dtype == "auto":
            yield Placement(cpu, torch.float32, reason)
            yield Placement(cpu, half, f"{reason}; bfloat16, because float32 does not fit")
        else:
            yield replace(first, device=cpu, reason=reason)


def _spread(spec: str, plan: Plan) -> list[Plan]:
    """The same with as many layers on the device as it has room for; nothing where layers cannot be told."""
    place = plan.placement
    room = int(_SHARE * devices.free_memory(place.device))
    layers: dict[str, int] = {}
    for path in _files_of(spec):
        for name, entry in _tensors(path):
            if match := _LAYER.match(name):
                layers[match[1]] = layers.get(match[1], 0) + math.prod(entry["shape"])
    if not layers or room <= 0:
        return []
    width = torch.empty(0, dtype=place.dtype).element_size()
    over = math.ceil(max(plan.needed - room, 1) / (width * sum(layers.values()) / len(layers)))
    words = "1 layer waits" if over == 1 else f"{over} layers wait"
    dtype = place.format
    reason = f"about {words} in the machine's memory and the others run in {dtype} on {place.device}"
    return [replace(plan, placement=replace(place, reason=reason, room=room))]


def _shortage(plan: Plan) -> str:
    place = plan.placement
    dtype = place.format
    free = bytes_in_words(devices.free_memory(place.device))
    return f"needs about {bytes_in_words(plan.needed)} in {dtype}, and {free} are free on {place.device}"


def _aloud(plan: Plan, why: str) -> str:
    place = plan.placement
    dtype = place.format
    if place.room is not None:
        return f"{why}: {plan.placement.reason}, which is slower."
    return f"{why}, so it is loaded in {dtype} on {place.device} ({bytes_in_words(plan.needed)})."


def _name(spec: str) -> str:
    return spec.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1][:60] or spec[:60]


def _files_of(spec: str) -> list[Path]:
    """Files of the weights of what is on this machine."""
    if spec in BUILT_IN:
        return _in_folder(BUILT_IN[spec].folder)
    _, equals, named = spec.partition("=")
    path = Path(named if equals else spec.removeprefix("local-dir:")).expanduser()
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            return _in_folder(path)
        folder = cache.snapshot(split_spec(spec)[0])
    except (ModelError, OSError, ValueError):  # neither a path nor an id: the family says so
        return []
    return _in_folder(folder, open_clip=spec.startswith("hf-hub:")) if folder is not None else []


def _in_folder(folder: Path, *, open_clip: bool = True) -> list[Path]:
    beside = [folder / name for name in _BESIDE if (folder / name).is_file()]
    if open_clip and (folder / OPEN_CLIP_CONFIG).is_file():
        found = [folder / name for name in OPEN_CLIP_WEIGHTS if (folder / name).is_file()]
        return [*found[:1], *beside]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors", *beside]
    shards = sorted(folder.glob("model-*.safetensors"))
    return [*(path for path in shards if path.is_file()), *beside]


def _tensors(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name, kind and shape of each tensor of a safetensors file; empty where its head is broken."""
    try:
        return [each for each in read_head(path)[1].items() if _is_plain(each[1])]
    except (OSError, ValueError):
        return []


def _is_plain(entry: Mapping[str, Any]) -> bool:
    shape = entry.get("shape")
    return (
        isinstance(entry.get("dtype"), str)
        and isinstance(shape, list)
        and all(isinstance(side, int) and 0 <= side < 1 << 40 for side in shape)
    )


def check_safe(spec: str) -> None:
    """Refuse a model whose files lead out of its folder; raises `ModelError` with the reason.

    Links inside the hub's cache lead to its ``blobs`` folder, as the hub's library makes them; no other link
    that leaves the folder is followed, and no name in an index of weights may.
    """
    path = Path(spec.removeprefix("local-dir:")).expanduser()
    try:
        folder = path if path.is_dir() else cache.snapshot(split_spec(spec)[0])
    except (ModelError, OSError, ValueError):
        return
    if folder is None:
        return
    home = folder.resolve()
    blobs = folder.parent.parent / "blobs" if folder.parent.name == "snapshots" else None
    for each in (*folder.glob("*"), *folder.glob("*/*")):
        target = each.resolve()
        if home in target.parents or (blobs is not None and blobs.resolve() in target.parents):
            continue
        raise ModelError(
            f"{each} is a link that leads out of the model's folder, to {target}, so it is not followed; put "
            "a copy of the file in its place if you trust it."
        )
    for index in folder.glob("*.index.json"):
        named = files.read_json(index).get("weight_map", {})
        for name in set(named.values()) if isinstance(named, dict) else ():
            files.inside(folder, name)
