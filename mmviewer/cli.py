"""The command line: the core without a window, and `gui`, which opens it.

Results go to stdout, one line for each failure to stderr. Exit codes: 0 done, 1 something failed, 2 wrong
use.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TypeAlias

import mmviewer
from mmviewer.core.errors import InputError, MMViewerError

DONE, FAILED, WRONG_USE = 0, 1, 2
Command = Callable[[argparse.Namespace], int]

_GUI = "gui"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without a command the window opens."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, commands = _parser()
    try:
        options = parser.parse_args(_with_command(given, commands))
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


def complain(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"mmviewer: {' '.join(message.split())}\n")


def discard_output() -> None:
    """Send what stdout still holds nowhere, so that the interpreter does not complain when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _quieten() -> None:
    """Keep remarks of libraries from stderr, where only our own lines belong; never fail over a letter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def _with_command(given: list[str], commands: Sequence[str]) -> list[str]:
    """Put `gui` before files, and where nothing is said."""
    first = next((word for word in given if not word.startswith("-")), None)
    if first is None:
        general = {"-h", "--help", "--version"}
        return given if general & set(given) else [_GUI, *given]
    if first in commands or not _is_file(first):
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
    for add in (_classify, _caption, _transcribe, _explain, _embed, _models, _doctor, _gui):
        add(subparsers)
    return parser, list(subparsers.choices)


Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(subparsers: Subparsers, name: str, summary: str, shape: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary}.",
        epilog=f"--json prints:\n{shape}" if shape else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    if shape:
        parser.add_argument("--json", action="store_true", help="print JSON, as shown below")
    parser.set_defaults(run=_open_window if name == _GUI else _run_command)
    return parser


def _run_command(options: argparse.Namespace) -> int:
    # imported when a command runs: --help stays quick, and the window's process free of the core's libraries
    from mmviewer import cli_commands

    run: Command = getattr(cli_commands, options.command)
    return run(options)


def _open_window(options: argparse.Namespace) -> int:
    from mmviewer.core.doctor import display

    available, reason = display()
    if not available:
        complain(
            f"no window can open, because {reason}; log in to a desktop, or use a command without a window: "
            "classify, caption, transcribe, explain, embed, models, doctor (each with --help)"
        )
        return FAILED
    try:
        from mmviewer.gui.app import main
    except ImportError as error:
        raise MMViewerError(
            f"The window's libraries cannot be loaded ({error}); run mmviewer doctor."
        ) from error
    # the dashes keep a file called --x from being taken for an option
    return main([*(["--samples"] if options.samples else []), "--", *options.files])


def _add_model(parser: argparse.ArgumentParser, *, default: str | None = "starter") -> None:
    parser.add_argument(
        "--model",
        metavar="M",
        default=default,
        required=default is None,
        help="starter, ARCHITECTURE/TAG of open_clip, hf-hub:ORGANISATION/NAME, or a folder or file"
        + (f" (default: {default})" if default else ""),
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 (default: auto)")


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the next token is chosen")
    group.add_argument(
        "--temperature", type=_not_negative, default=0.0, help="0 takes the likeliest (default)"
    )
    group.add_argument("--top-k", type=_count, default=0, help="draw from the K likeliest; 0: from all")
    group.add_argument(
        "--top-p", type=_share, default=1.0, help="draw from the likeliest that make up this share"
    )
    group.add_argument("--max-tokens", type=_positive, default=448, help="the most tokens (default: 448)")
    group.add_argument("--seed", type=int, default=0, help="seed of the drawing (default: 0)")


def _classify(subparsers: Subparsers) -> None:
    shape = """\
  {"model": {...}, "activation": "softmax" | "sigmoid", "labels": [str], "templates": [str], "notes": [str],
   "items": [{"path": str, "id": str,
              "scores": [{"label": str, "probability": float, "similarity": float}]}],   likeliest first
   "failures": [{"path": str, "error": str}]}
  model: {"label", "source", "revision", "weights_hash", "device", "dtype", "preprocessing"}"""
    parser = _add(subparsers, "classify", "Score images against labels, zero-shot", shape)
    parser.add_argument("files", nargs="+", metavar="IMAGE")
    parser.add_argument(
        "--labels", required=True, metavar="A,B,C", help="labels with commas between, or @FILE"
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="T",
        help='text around a label, such as "a photo of a {}"; may be repeated',
    )
    _add_model(parser)


_SEQUENCE_SHAPE = """\
  {"model": {...}, "path": str, "notes": [str], "text": str, "finished": bool,
   "logprob": float,   sum over the tokens
   "tokens": [{"index": int, "id": int, "text": str, "start": int, "end": int, "logprob": float,
               "special": bool, "alternatives": [[str, float]]}]}
  notes: what was changed or missing in the file, such as a cut-off end
  start, end: characters of "text"; logprob: natural logarithm of the probability"""


def _caption(subparsers: Subparsers) -> None:
    parser = _add(subparsers, "caption", "Describe an image in words", _SEQUENCE_SHAPE)
    parser.add_argument("file", metavar="IMAGE")
    _add_sampling(parser)
    _add_model(parser)


def _transcribe(subparsers: Subparsers) -> None:
    parser = _add(subparsers, "transcribe", "Write down what is said in a sound", _SEQUENCE_SHAPE)
    parser.add_argument("file", metavar="AUDIO")
    _add_sampling(parser)
    _add_model(parser, default=None)


def _explain(subparsers: Subparsers) -> None:
    shape = """\
  {"model": {...}, "path": str, "notes": [str], "kind": "attention" | "attribution",
   "sequence": "caption" | "transcript" | "query", "text": str, "method": str, "point": str,
   "layer": int | null, "head": int | "mean" | "max",
   "description": str, "score": str, "caveat": str, "signed": bool,
   "geometry": {...}, "tokens": [{"index", "id", "text", "start", "end", "logprob", "special"}],
   "shown": {"label": str, "tokens": [int], "grid": [[float]] or [float], "peak": {...}},
   "map": str | null, "figure": str | null}
  layer, head: counted from 0; layer null means all. peak: where the shown map is largest, in pixels of the
  original or seconds.

--map writes an NPZ with
  grid        float32 [rows, columns] or [positions]: the shown map over patches or audio positions
  map         float32 [height, width] or [samples]: the same at original size, NaN where the model saw nothing
  shown       what that map is of
  tokens      the texts of all tokens
  token_grids float32 [tokens, rows, columns] or [tokens, positions]: the map of each token
  provenance  JSON: model, weights, method, layer, head, preprocessing, version"""
    parser = _add(subparsers, "explain", "Show what a model looked at, token by token", shape)
    parser.add_argument("file", metavar="IMAGE|AUDIO")
    parser.add_argument(
        "--text", metavar="T", help="what to look for; by default the model's own caption is made"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--word", metavar="W", help="show the map of this word")
    which.add_argument("--token", metavar="K", type=_count, help="show the map of token K, counted from 0")
    parser.add_argument(
        "--method", default="attention", metavar="M", help="attention (default), rollout, gradient_attention"
    )
    parser.add_argument("--point", metavar="P", help="capture point; by default the model's own choice")
    parser.add_argument("--layer", type=_count, metavar="L", help="counted from 0; by default all layers")
    parser.add_argument(
        "--head", type=_head, default="mean", metavar="H", help="mean (default), max or a number from 0"
    )
    parser.add_argument("--map", metavar="OUT.npz", help="write the arrays")
    parser.add_argument(
        "--figure", metavar="OUT", help="write a figure; its ending says how: .svg, .pdf or .png"
    )
    _add_model(parser)


def _embed(subparsers: Subparsers) -> None:
    shape = """\
  {"model": {...}, "out": str, "dimensions": int, "notes": [str],
   "items": [{"path": str | null, "id": str, "name": str, "modality": "image" | "audio" | "text"}],
   "failures": [{"path": str, "error": str}]}

--out writes an NPZ with vectors (float32 [items, dimensions], unit length), ids, names, modalities, paths and
  provenance (JSON)"""
    parser = _add(subparsers, "embed", "Embed images, sounds and texts into the model's space", shape)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument(
        "--text", action="append", default=[], metavar="T", help="also embed this text; may be repeated"
    )
    parser.add_argument("--out", required=True, metavar="X.npz")
    _add_model(parser)


def _models(subparsers: Subparsers) -> None:
    shape = '  [{"source": str, "label": str, "family": str, "size_bytes": int}]   source: what --model takes'
    _add(subparsers, "models", "List the models that are present", shape)


def _doctor(subparsers: Subparsers) -> None:
    shape = """\
  {"mmviewer", "python", "platform": str, "packages": {name: version | null},
   "devices": {"found": [...], "chosen": str, "dtype": str, "reason": str},
   "audio": {"outputs": [str], "inputs": [str], "reason": str}, "display": {"available": bool, "reason": str},
   "starter": {"present": bool, "path": str, "size": int}, "folders": {...},
   "missing": [{"what": str, "consequence": str, "remedy": str}]}"""
    _add(subparsers, "doctor", "Tell what this machine offers and what is missing", shape)


def _gui(subparsers: Subparsers) -> None:
    parser = _add(subparsers, _GUI, "Open the window (the default)")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--samples", action="store_true", help="start with the sample session")


def _number(
    convert: Callable[[str], float], fits: Callable[[float], bool], words: str
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}") from error
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
        return value

    return parse


_not_negative = _number(float, lambda value: 0 <= value < float("inf"), "a number from 0 up")
_share = _number(float, lambda value: 0 < value <= 1, "a share above 0 and up to 1")
_count = _number(int, lambda value: value >= 0, "a whole number from 0 up")
_positive = _number(int, lambda value: value >= 1, "a whole number from 1 up")


def _head(text: str) -> float | str:
    return text if text in ("mean", "max") else _count(text)
