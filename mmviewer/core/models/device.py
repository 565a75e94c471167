"""Where a model runs: choosing a device and number format, memory, and what to say when it runs out."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator

import psutil
import torch

from mmviewer.core.errors import DeviceError, out_of_memory
from mmviewer.core.models.base import Placement

_AUTO_ORDER = ("cuda", "mps", "xpu")
_NAMES = {"cuda": "CUDA", "mps": "MPS", "xpu": "XPU"}
_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}
_BITS = {"int8": 8, "int4": 4}


def choose_placement(device: str = "auto", dtype: str = "auto") -> Placement:
    """Choose where and how a model runs, and say why.

    Parameters
    ----------
    device : str
        "auto" takes the first of CUDA, MPS, XPU that answers, else the CPU; a name ("cpu", "cuda:1") is taken
        literally.
    dtype : str
        "auto" is float32 on the CPU and bfloat16 (float16 on MPS and older GPUs) elsewhere; or a name.
        "int8" and "int4" keep the weights of a language model in so few bits, and compute as "auto".

    Raises
    ------
    DeviceError
        A named device that is missing (there is no silent fall back), or a dtype that it cannot run.
    """
    chosen, why = _automatic() if device == "auto" else _named(device)
    bits = _BITS.get(dtype, 0)
    if bits:
        _check_bits(chosen, bits)
    number, how = _choose_dtype(chosen, "auto" if bits else dtype)
    if bits:
        how = f"weights in {bits} bits were chosen, computed in {str(number).removeprefix('torch.')}"
    return Placement(chosen, number, f"{why}; {how}", bits=bits)


def _check_bits(device: torch.device, bits: int) -> None:
    """Raise `DeviceError` where weights of so few bits cannot be used, and say why."""
    instead = "choose auto, float32, bfloat16 or float16"
    if device.type not in ("cuda", "cpu"):
        raise DeviceError(f"Weights of {bits} bits are not computed on {device}; {instead}.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise DeviceError(
            f"Weights of {bits} bits need the package bitsandbytes, which is not installed; install it "
            f'(pip install "mmviewer[quantized]") or {instead}.'
        )


def devices() -> list[tuple[str, str]]:
    """Name and description of every device that answers, the automatic choice first."""
    found = []
    for kind in _AUTO_ORDER:
        if _missing(kind) is None:
            count = 1 if kind == "mps" else torch.get_device_module(kind).device_count()
            found += [_described(kind, index) for index in range(count)]
    return [*found, ("cpu", f"{torch.get_num_threads()} threads")]


def memory(device: torch.device) -> tuple[int, int]:
    """Used and total memory of `device` in bytes; for the CPU, of this process and of the machine."""
    if device.type in ("cuda", "xpu"):
        free, total = torch.get_device_module(device.type).mem_get_info(device)
        return total - free, total
    if device.type == "mps":
        return torch.mps.driver_allocated_memory(), torch.mps.recommended_max_memory()
    return psutil.Process().memory_info().rss, psutil.virtual_memory().total


def free_memory(device: torch.device) -> int:
    """Bytes that are free on `device`."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    used, total = memory(device)
    return total - used


def room(device: torch.device) -> int:
    """Bytes that one piece of work should plan with: half of what is free, so that others can go on."""
    return free_memory(device) // 2


def ensure_fits(size: int, device: torch.device, what: str) -> None:
    """Raise `DeviceError` if `size` bytes more would not fit; `what` names the work ("This capture")."""
    free = free_memory(device)
    if size > free:
        raise DeviceError(
            f"{what} needs about {size / 2**30:.1f} GiB, but only {free / 2**30:.1f} GiB are free on "
            f"{device}; close other programs, or choose a smaller model or input."
        )


@contextlib.contextmanager
def memory_errors(device: torch.device, what: str) -> Iterator[None]:
    """Turn running out of memory into a `DeviceError` that names the work; unused memory is given back."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        release_unused(device)
        raise DeviceError(
            f"{what} ran out of memory on {device}; close other programs, choose a smaller model or input, "
            "or run it on another device."
        ) from error


def release_unused(device: torch.device) -> None:
    """Give cached memory of `device` back to the system."""
    if device.type != "cpu":
        torch.get_device_module(device.type).empty_cache()


def use_threads(count: int | None = None) -> int:
    """Set how many CPU threads PyTorch uses and return it; by default the cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    named = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(count or (int(named) if named.isdigit() and int(named) > 0 else allowed))
    return torch.get_num_threads()


def _automatic() -> tuple[torch.device, str]:
    reasons = []
    for kind in _AUTO_ORDER:
        reason = _missing(kind)
        if reason is None:
            name, description = _described(kind, 0)
            return torch.device(name), f"{description} answers"
        reasons.append(reason)
    return torch.device("cpu"), f"the CPU, for {reasons[0]}"


def _named(name: str) -> tuple[torch.device, str]:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"There is no device called {name!r}; choose auto, {_known()}.") from error
    if device.type == "cpu":
        return torch.device("cpu"), "the CPU was chosen"
    if device.type not in _AUTO_ORDER:
        raise DeviceError(f"Models do not run on {name!r}; choose auto, {_known()}.")
    reason = _missing(device.type)
    if reason is not None:
        raise DeviceError(f"{name} was chosen, but {reason}; choose auto, {_known()}, or install its driver.")
    count = 1 if device.type == "mps" else torch.get_device_module(device.type).device_count()
    index = device.index or 0
    if index >= count:
        raise DeviceError(f"{name} was chosen, but there are only {count}; choose auto, {_known()}.")
    name, description = _described(device.type, index)
    return torch.device(name), f"{description} was chosen"


def _missing(kind: str) -> str | None:
    """Why devices of `kind` cannot be used; None where one can."""
    if kind == "cuda":
        if torch.cuda.is_available():
            return None
        built = torch.version.cuda or torch.version.hip
        if built is None:
            return "no CUDA device can be used: this PyTorch was built without CUDA"
        maker = "CUDA" if torch.version.cuda else "ROCm"
        return f"no CUDA device was found: PyTorch was built for {maker} {built}, but no driver answers"
    if kind == "mps":
        available, reason = (
            torch.backends.mps.is_available(),
            "no MPS device: this is no Mac with Apple silicon",
        )
    else:
        available, reason = torch.xpu.is_available(), "no XPU device was found: no Intel GPU driver answers"
    return None if available else reason


def _described(kind: str, index: int) -> tuple[str, str]:
    if kind == "mps":
        return "mps", "the Apple GPU (MPS)"
    name = torch.get_device_module(kind).get_device_name(index)
    return f"{kind}:{index}", f"{name} ({_NAMES[kind]})"


def _known() -> str:
    return " or ".join(name for name, _ in devices())


def _choose_dtype(device: torch.device, name: str) -> tuple[torch.dtype, str]:
    if name == "auto":
        return _automatic_dtype(device)
    dtype = _DTYPES.get(name.removeprefix("torch."))
    if dtype is None:
        raise DeviceError(
            f"There is no number format {name!r}; choose auto, float32, bfloat16, float16, int8 or int4."
        )
    if dtype is torch.bfloat16 and not _runs_bfloat16(device):
        raise DeviceError(f"{device} cannot compute in bfloat16; choose float16 or float32.")
    return dtype, f"{str(dtype).removeprefix('torch.')} was chosen"


def _automatic_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    if device.type == "cpu":
        return torch.float32, "float32, the exact choice on a CPU"
    if device.type == "mps" or not _runs_bfloat16(device):
        return torch.float16, "float16, half the memory of float32"
    return torch.bfloat16, "bfloat16, half the memory of float32"


def _runs_bfloat16(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
