"""What a command says: results on stdout, failures and progress on stderr, and how it ended."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mmviewer.core.errors import ExportError
from mmviewer.core.progress import SILENT, Progress

DONE, FAILED, WRONG_USE = 0, 1, 2


def complain(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"mmviewer: {' '.join(message.split())}\n")


def discard_output() -> None:
    """Send what stdout still holds nowhere, so that the interpreter does not complain when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_failures(failures: Sequence[Mapping[str, str]]) -> int:
    """Complain of what failed, each in a line; the exit code."""
    for failure in failures:
        complain(failure["error"])
    return FAILED if failures else DONE


def watched() -> Progress:
    """Progress as a line that overwrites itself, where someone is watching."""
    return Progress(_show_progress) if sys.stderr.isatty() else SILENT


def _show_progress(done: float, total: float | None, message: str) -> None:
    share = f" {done / total:4.0%}" if total else ""
    sys.stderr.write(f"\r\x1b[K{message}{share}\r")
    sys.stderr.flush()


def print_line(line: str) -> None:
    """Write a line of the result; `ExportError` where it cannot be written."""
    if sys.stdout is None:  # closed by whoever started us
        raise ExportError("There is no output to write the results to; leave stdout open.")
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        reason = error.strerror or type(error).__name__
        raise ExportError(f"The results cannot be written to the output: {reason}.") from error


def print_json(value: object) -> None:
    """Write a value as JSON; arrays become lists."""
    print_line(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Write two columns."""
    listed = list(rows)
    width = max((len(left) for left, _ in listed), default=0)
    for left, right in listed:
        print_line(f"  {left:<{width}}  {right}")
