"""What a command works on: files, labels, a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmviewer.cli.console import watched
from mmviewer.core.errors import InputError, MediaError

if TYPE_CHECKING:
    from mmviewer.core.models.base import LoadedModel
    from mmviewer.core.types import Media

_LABEL_FILE_BYTES = 10 * 2**20


def load(options: argparse.Namespace) -> LoadedModel:
    """Load the model that the options name."""
    from mmviewer import api

    return api.load(options.model, options.device, options.dtype, watched())


def given_labels(given: str) -> Sequence[str]:
    """Labels with commas between, or one a line in a file named after an @."""
    if not given.startswith("@"):
        return given.split(",")
    path = Path(given[1:])
    try:
        if path.stat().st_size > _LABEL_FILE_BYTES:
            raise InputError(f"{path} is too large for a list of labels; give one label a line.")
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The labels in {path} cannot be read; give a text file with one label a line."
        ) from error


def open_all(files: Iterable[str]) -> tuple[list[Media], list[dict[str, str]]]:
    """Open what can be opened; the rest goes on, and each failure is told."""
    from mmviewer import api

    items: list[Media] = []
    failures: list[dict[str, str]] = []
    for file in files:
        try:
            items.append(api.open_item(file))
        except MediaError as error:
            failures.append({"path": file, "error": error.message})
    return items, failures


def fitting(model: LoadedModel, items: list[Media], failures: list[dict[str, str]]) -> list[Media]:
    """Items of a kind that the model embeds, so that the rest goes on; all, to be refused, if it is none."""
    from mmviewer.api import KIND_WORDS
    from mmviewer.core.tasks.embed import NEEDED

    kept = [item for item in items if model.info.can(NEEDED[item.modality])]
    if not kept:
        return items
    for item in items:
        if not model.info.can(NEEDED[item.modality]):
            sentence = f"{item.name} is {KIND_WORDS[item.modality]}, which {model.info.label} cannot embed."
            failures.append({"path": str(item.path), "error": sentence})
    return kept
