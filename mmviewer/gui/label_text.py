"""From what people type to clean labels and templates. No Qt."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

MAX_LABELS = 5_000
SLOT = "{}"
_CELL = re.compile(r'\s*"([^"]*)"\s*(?=[,;\t]|$)|([^,;\t]+)')  # in quotes up to a separator, or anything else


@dataclass(frozen=True, slots=True)
class LabelText:
    """Labels without blanks and repeats, in the order as typed; `note` says gently what was left out."""

    labels: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class TemplateText:
    """Templates that hold the slot; `note` says which do not."""

    templates: tuple[str, ...] = ()
    note: str = ""


TEMPLATE_PRESETS = (
    "a {}",
    "a photo of a {}",
    "a drawing of a {}",
    "{}",
    "a {} | a photo of a {} | a drawing of a {}",
)
"""As typed; the last is an ensemble."""


def parse_labels(text: str) -> LabelText:
    """Split typed or pasted text into labels: one a line, or with commas, tabs or semicolons between.

    A label that holds a comma is written in double quotes.
    """
    typed = [label for line in text.splitlines() for label in _split_line(line)]
    counts = Counter(typed)
    labels = tuple(counts)
    notes = []
    repeated = [label for label, count in counts.items() if count > 1]
    if repeated:
        shown = ", ".join(f"“{label}”" for label in repeated[:3]) + (" …" if len(repeated) > 3 else "")
        notes.append(f"{shown} repeated: counted once")
    if len(labels) > MAX_LABELS:
        notes.append(f"only the first {MAX_LABELS:,} of {len(labels):,} labels are used")
    return LabelText(labels[:MAX_LABELS], "; ".join(notes))


def parse_templates(text: str) -> TemplateText:
    """Split templates at "|"; each must hold the slot {} once or more."""
    parts = dict.fromkeys(" ".join(part.split()) for part in text.split("|"))
    parts.pop("", None)
    good = tuple(part for part in parts if SLOT in part)
    bad = [part for part in parts if SLOT not in part]
    if not parts:
        return TemplateText((), "a template says where the label goes, for example: a photo of a {}")
    if bad:
        shown = ", ".join(f"“{part}”" for part in bad[:2])
        return TemplateText(good, f"{shown} lacks {SLOT}, the place of the label")
    return TemplateText(good)


def fill(template: str, label: str) -> str:
    """The prompt of a label; other braces in it stay as they are."""
    return template.replace(SLOT, label)


def quoted(label: str) -> str:
    """A label as one types it, so that `parse_labels` reads it back whole."""
    return f'"{label}"' if any(mark in label for mark in ",;") else label


def _split_line(line: str) -> list[str]:
    cells = (match[1] if match[1] is not None else match[2] for match in _CELL.finditer(line))
    return [label for cell in cells if (label := " ".join(cell.split()))]
