"""Numbers of machines in words for people."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_in_words(count: float) -> str:
    """Return such as "40 MB" or "1.2 GB" (decimal units)."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit >= 3 and count < 100 else f"{count:.0f} {_UNITS[unit]}"


def seconds_in_words(seconds: float) -> str:
    """Return such as "3.4 s", "2 min 05 s" or "1 h 02 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
