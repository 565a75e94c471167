"""Numbers of machines in words for people."""

from __future__ import annotations

from mmviewer.core.words import bytes_in_words, seconds_in_words

__all__ = ["bytes_in_words", "count_in_words", "device_in_words", "seconds_in_words", "share_in_words"]

_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


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


def share_in_words(share: float) -> str:
    """Return such as "54 %" or "0.4 %"."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.1f} %"
