"""The command line: the core without a window, and `gui`, which opens it.

Results go to stdout, one line for each failure to stderr. Exit codes: 0 done, 1 something failed, 2 wrong
use.
"""

from __future__ import annotations

import argparse
import logging
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

import mmviewer
from mmviewer.cli import commands
from mmviewer.cli.console import DONE, FAILED, WRONG_USE, complain, discard_output
from mmviewer.cli.options import Command
from mmviewer.core.errors import InputError, MMViewerError

_GUI = "gui"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without a command the window opens."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, names = _parser()
    try:
        options = parser.parse_args(_with_command(given, names))
    except SystemExit as ended:  # argparse has already said what is wrong, or printed the help
        return int(ended.code or DONE)
    if options.command != _GUI:
        _quieten()
    return _guarded(options)


def _guarded(options: argparse.Namespace) -> int:
    try:
        run: Command = options.run
        return run(options)
    except MMViewerError as error:
        return _fail(options, error.message, WRONG_USE if isinstance(error, InputError) else FAILED)
    except KeyboardInterrupt:
        return _fail(options, "stopped", FAILED)
    except BrokenPipeError:
        discard_output()  # whoever read it has enough
        return DONE
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(options, f"something went wrong inside mmviewer ({words}); --debug shows where", FAILED)


def _fail(options: argparse.Namespace, message: str, code: int) -> int:
    if options.debug:
        traceback.print_exc()
    complain(message)
    return code


def _quieten() -> None:
    """Keep remarks of libraries from stderr, where only our own lines belong; never fail over a letter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def _with_command(given: list[str], names: Sequence[str]) -> list[str]:
    """Put `gui` before files, and where nothing is said."""
    first = next((word for word in given if not word.startswith("-")), None)
    if first is None:
        general = {"-h", "--help", "--version"}
        return given if general & set(given) else [_GUI, *given]
    if first in names or not _is_file(first):
        return given
    return [_GUI, *given]


def _is_file(word: str) -> bool:
    return word.startswith("file://") or "/" in word or "." in word or Path(word).exists()


def _parser() -> tuple[argparse.ArgumentParser, Sequence[str]]:
    parser = argparse.ArgumentParser(
        prog="mmviewer",
        description="See what multimodal transformers do. With files or nothing given, the window opens.",
        epilog="Exit codes: 0 done, 1 something failed (one line on stderr each), 2 wrong use.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mmviewer {mmviewer.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for found in pkgutil.iter_modules(commands.__path__):
        import_module(f"{commands.__name__}.{found.name}").add(subparsers)
    return parser, list(subparsers.choices)
