"""What the sample session holds, in which order, and what there is to see in each sample.

The texts stand in ``session.json`` beside the samples. Whatever a note says of the shipped model is repeated
there as a claim that a test checks, so that a note cannot outlive the weights it was written about.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SESSION = "session.json"

logger = logging.getLogger(__name__)


class Trial(BaseModel):
    """Something to try on a sample: what is done, and with which text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    does: Literal["ask", "find", "labels", "panel", "load"]
    text: str


class Sample(BaseModel):
    """One sample.

    Parameters
    ----------
    file : str
        Name in the folder of the samples.
    name : str
        What the library calls it.
    note : str
        What to see here; one or two sentences.
    trial : Trial or None
    things : mapping
        Where things lie: left, top, right and bottom as shares of the picture, or start and end in seconds.
    claims : tuple
        What the note says of the model, checkable; see the test of the sample session.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    name: str
    note: str
    trial: Trial | None = None
    things: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    claims: tuple[dict[str, Any], ...] = ()


class Session(BaseModel):
    """The samples in the order in which they enter the library."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: tuple[Sample, ...]


@cache
def sample_session(folder: Path) -> tuple[Sample, ...]:
    """Samples of `folder` in order; none, with a line in the log, where the list is missing or broken."""
    try:
        values = json.loads((folder / SESSION).read_text(encoding="utf-8"))
        return Session.model_validate(values).samples
    except (OSError, ValueError, RecursionError) as error:  # pydantic's error is a ValueError
        reason = f"{error.error_count()} errors" if isinstance(error, ValidationError) else str(error)
        logger.warning("the list of samples cannot be read: %s", reason)
        return ()


def sample_of(path: str | None, folder: Path) -> Sample | None:
    """The sample that a library item's file is, or None."""
    if path is None or Path(path).parent != folder:
        return None
    return next((sample for sample in sample_session(folder) if sample.file == Path(path).name), None)
