"""Where the chips of a token strip lie: a flow of rows, found again by point, by key and by range."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF

HEIGHT = 38.0
GAP = 6.0
ROW = HEIGHT + GAP
_PADDING = 11.0
_LEAST, _MOST = 30.0, 240.0

_VISIBLE = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": "⇥", "\u00a0": "␣"})


@dataclass(frozen=True, slots=True)
class Chip:
    """One token as the strip shows it.

    Parameters
    ----------
    text : str
        As the vocabulary has it; blanks are made visible by `label`.
    probability : float or None
        0..1, None where the token was given and not predicted.
    special : bool
        Begin, end and control tokens.
    alternatives : tuple of (str, float)
        Most likely tokens at this step with their probabilities.
    given : bool
        Part of the question or prompt, which the model read and did not write.
    by_hand : bool
        Put here by the user in place of what the model had written.
    """

    text: str
    probability: float | None = None
    special: bool = False
    alternatives: tuple[tuple[str, float], ...] = ()
    given: bool = False
    by_hand: bool = False

    @property
    def label(self) -> str:
        """The text with nothing invisible in it."""
        text = self.text.translate(_VISIBLE)
        return text.strip() or ("␣" * max(1, len(text)) if text else "∅")

    def explained(self) -> str:
        """What the tooltip and a screen reader say."""
        role = " (control token)" if self.special else " (given, not predicted)" if self.given else ""
        if self.by_hand:
            role += " (chosen by you; the model wrote on from here)"
        lines = [f"“{self.text.strip() or self.label}”{role}"]
        if self.probability is not None:
            lines.append(f"probability {self.probability:.3f}: how sure the model was of this token")
        if self.alternatives:
            listed = ", ".join(f"{Chip(text).label} {share:.3f}" for text, share in self.alternatives)
            lines.append(f"most likely here: {listed}")
        return "\n".join(lines)


class ChipFlow:
    """Chips in rows of a given width.

    Parameters
    ----------
    chips : sequence of Chip
    width : float
        Room for a row, pixels.
    measure : callable
        Width of a text in pixels.
    rtl : bool
        Rows begin at the right.
    """

    def __init__(
        self, chips: Sequence[Chip], width: float, measure: Callable[[str], float], rtl: bool = False
    ) -> None:
        self._lefts: list[float] = []
        self._widths: list[float] = []
        self._starts: list[int] = []
        self._rtl = rtl
        self._room = max(width, _LEAST)
        x = self._room + 1
        for index, chip in enumerate(chips):
            wide = min(max(measure(chip.label) + 2 * _PADDING, _LEAST), _MOST, self._room)
            if x + wide > self._room:
                self._starts.append(index)
                x = 0.0
            self._lefts.append(x)
            self._widths.append(wide)
            x += wide + GAP

    def __len__(self) -> int:
        return len(self._lefts)

    @property
    def height(self) -> float:
        """Height of all rows."""
        return len(self._starts) * ROW

    def rect(self, index: int) -> QRectF:
        """Where a chip lies."""
        left, wide = self._lefts[index], self._widths[index]
        return QRectF(
            self._room - left - wide if self._rtl else left, self.row(index) * ROW + GAP / 2, wide, HEIGHT
        )

    def row(self, index: int) -> int:
        """Which row a chip is in."""
        return bisect_right(self._starts, index) - 1

    def between(self, top: float, bottom: float) -> range:
        """Chips of the rows that touch the band from `top` to `bottom`."""
        first = min(max(int(top // ROW), 0), len(self._starts))
        last = min(max(int(bottom // ROW) + 1, 0), len(self._starts))
        begin = self._starts[first] if first < len(self._starts) else len(self)
        end = self._starts[last] if last < len(self._starts) else len(self)
        return range(begin, end)

    def at(self, point: QPointF) -> int | None:
        """The chip under a point."""
        row = int(point.y() // ROW)
        if point.y() < 0 or not 0 <= row < len(self._starts):
            return None
        members = self._members(row)
        x = self._room - point.x() if self._rtl else point.x()
        index = bisect_right(self._lefts, x, members.start, members.stop) - 1
        return index if index in members and self.rect(index).contains(point) else None

    def beside(self, index: int, rows: int) -> int:
        """The chip nearest to the middle of another, `rows` further down."""
        row = min(max(self.row(index) + rows, 0), len(self._starts) - 1)
        middle = self.rect(index).center().x()
        return min(self._members(row), key=lambda other: abs(self.rect(other).center().x() - middle))

    def _members(self, row: int) -> range:
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(self)
        return range(self._starts[row], end)


def reads_right_to_left(texts: Sequence[str]) -> bool:
    """Whether the first strong character is of a script written from the right."""
    for text in texts:
        for character in text:
            kind = unicodedata.bidirectional(character)
            if kind in ("L", "R", "AL"):
                return kind != "L"
    return False
