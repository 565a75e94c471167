"""The page of a figure: measured text, margins, header and footer in inches (matplotlib without pyplot)."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.textpath import TextToPath

INK = "#16181d"
GREY = "#5c6370"
FAINT = "#c9ced6"
ACCENT = "#2f6fde"

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE, CAPTION_SIZE = 11.0, 8.5, 7.5, 6.5
MARGIN = 0.3
LONGEST_TEXT = 400

_LINE = 1.35
_MOST_CAPTION_LINES = 4
# matplotlib ships the first, so a figure looks the same everywhere; the others fill in missing scripts
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Noto Emoji",
    "Segoe UI Emoji",
    "Segoe UI Symbol",
    "Symbola",
)
# fallback fonts seldom have a bold face, which is no news to anyone
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

_JOINERS = "\u200c\u200d"  # meant inside words of some scripts and inside emoji


@cache
def font_family() -> list[str]:
    """Fonts that are there, in order of preference."""
    present = {font.name for font in fontManager.ttflist}
    return [name for name in _FONTS if name in present]


def settings() -> Any:
    """Matplotlib settings of every figure: text stays text, and a dollar sign stays a dollar sign."""
    return {
        "font.family": font_family(),
        "font.size": SMALL_SIZE,
        "text.parse_math": False,
        "text.usetex": False,
        "text.hinting": "none",  # letters as wide as measured, at any resolution
        "text.color": INK,
        "axes.edgecolor": GREY,
        "axes.labelcolor": GREY,
        "axes.labelsize": SMALL_SIZE,
        "axes.linewidth": 0.6,
        "axes.unicode_minus": True,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "mmviewer",
        "pdf.fonttype": 42,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
    }


def clean(text: str) -> str:
    """One printable line of at most `LONGEST_TEXT` characters, without characters that steer direction."""
    # cut generously first: the pass over all characters of a huge text would be slow
    line = " ".join(text[: 8 * LONGEST_TEXT].split())
    shown = "".join(
        letter
        for letter in line
        if letter in _JOINERS or unicodedata.category(letter) not in ("Cc", "Cf", "Cs")
    )
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line in inches."""
    if not text:
        return 0.0
    font = FontProperties(family=font_family(), size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def elide(text: str, width: float, size: float, bold: bool = False) -> str:
    """Cut a line with an ellipsis so that it is at most `width` inches long."""
    line = clean(text)
    if text_width(line, size, bold) <= width:
        return line
    low, high = 0, len(line)  # the longest start that fits lies in between
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(line[:middle].rstrip() + "…", size, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + "…"


def wrap(text: str, width: float, size: float, most: int) -> list[str]:
    """Break a text into at most `most` lines of `width` inches; the last one is elided."""
    words = clean(text).split(" ")
    lines: list[str] = []
    line = ""
    for index, word in enumerate(words):
        longer = f"{line} {word}".strip()
        if not line or text_width(longer, size) <= width:
            line = longer
            continue
        if len(lines) == most - 1:
            return [*lines, elide(" ".join([line, *words[index:]]), width, size)]
        lines.append(elide(line, width, size))
        line = word
    return [*lines, elide(line, width, size)] if line else lines


@dataclass(slots=True)
class Sheet:
    """A page with a header, a body that drawing functions fill, and a caption.

    All lengths are inches; places in the body count from its top left corner.

    Parameters
    ----------
    width, body : float
        Width of the page and height of its body.
    title : str
        In bold; followed by `subject` in grey on the same line.
    lines : sequence of str
        Small grey lines under the title.
    caption : str
        At the foot; empty for none.
    """

    width: float
    body: float
    title: str
    subject: str = ""
    lines: Sequence[str] = ()
    caption: str = ""
    figure: Figure = field(init=False)
    _top: float = field(init=False)

    def __post_init__(self) -> None:
        inner = self.width - 2 * MARGIN
        head = [line for text in self.lines if text for line in wrap(text, inner, SMALL_SIZE, 2)]
        foot = wrap(self.caption, inner, CAPTION_SIZE, _MOST_CAPTION_LINES) if self.caption else []
        title_height = TITLE_SIZE * _LINE / 72 if self.title or self.subject else 0.0
        self._top = MARGIN * 0.8 + title_height + len(head) * SMALL_SIZE * _LINE / 72 + 0.1
        bottom = len(foot) * CAPTION_SIZE * _LINE / 72 + MARGIN * (0.9 if foot else 0.6)
        self.figure = Figure(figsize=(self.width, self._top + self.body + bottom))
        self._write_header(inner, title_height, head)
        for index, line in enumerate(reversed(foot)):
            y = MARGIN * 0.6 + index * CAPTION_SIZE * _LINE / 72
            self._write(MARGIN, self.height - y, line, size=CAPTION_SIZE, color=GREY, va="bottom")

    @property
    def height(self) -> float:
        """Height of the page."""
        return float(self.figure.get_size_inches()[1])

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Axes at a place of the body."""
        bottom = self.height - self._top - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, **options)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Write a line at a place of the body."""
        self._write(left, self._top + top, text, **style)

    def _write(self, left: float, from_top: float, text: str, **style: Any) -> None:
        self.figure.text(left / self.width, 1 - from_top / self.height, text, **style)

    def _write_header(self, inner: float, title_height: float, head: list[str]) -> None:
        top = MARGIN * 0.8
        subject = clean(self.subject)
        # a long subject leaves two thirds to the title
        most = inner - min(text_width(subject, TEXT_SIZE), inner * 0.34) - (0.12 if subject else 0.0)
        title = elide(self.title, most, TITLE_SIZE, bold=True)
        self._write(MARGIN, top, title, size=TITLE_SIZE, weight="bold", va="top")
        used = text_width(title, TITLE_SIZE, bold=True) + (0.12 if title else 0.0)
        self._write(
            MARGIN + used,
            top + (TITLE_SIZE - TEXT_SIZE) * 0.95 / 72,
            elide(subject, inner - used, TEXT_SIZE),
            size=TEXT_SIZE,
            color=GREY,
            va="top",
        )
        for index, line in enumerate(head):
            y = top + title_height + index * SMALL_SIZE * _LINE / 72
            self._write(MARGIN, y, line, size=SMALL_SIZE, color=GREY, va="top")


def quiet(axes: Axes, *, ticks: bool = True) -> None:
    """Leave only the left and bottom lines, or no lines and ticks at all."""
    for side in ("top", "right") if ticks else ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    if not ticks:
        axes.set_xticks([])
        axes.set_yticks([])
