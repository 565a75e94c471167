"""Numbers of machines in words for people."""

from __future__ import annotations

_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_in_words(count: float) -> str:
    """Return such as "40 MB" or "1.2 GB" (decimal units)."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit >= 3 and count < 100 else f"{count:.0f} {_UNITS[unit]}"


def device_in_words(device: str, dtype: str) -> str:
    """Return such as "CPU fp32" or "CUDA:0 bf16"."""
    name = device.upper()
    return f"{name} {_DTYPES.get(dtype, dtype)}".strip()


def count_in_words(count: int) -> str:
    """Return such as "10.4 M" or "1.3 B"."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def seconds_in_words(seconds: float) -> str:
    """Return such as "3.4 s", "2 min 05 s" or "1 h 02 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
