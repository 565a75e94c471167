"""Options that commands share, and what their values may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

Command = Callable[[argparse.Namespace], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    subparsers: Subparsers, name: str, summary: str, run: Command, shape: str = ""
) -> argparse.ArgumentParser:
    """Declare a command.

    Parameters
    ----------
    name, summary
        As the help lists them.
    run
        Carries it out and returns the exit code.
    shape
        What ``--json`` prints; without it there is no such option.
    """
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
    parser.set_defaults(run=run)
    return parser


def add_model(parser: argparse.ArgumentParser, *, default: str | None = "starter") -> None:
    """Which model, and what it runs on; required where there is no default."""
    parser.add_argument(
        "--model",
        metavar="M",
        default=default,
        required=default is None,
        help="starter, a folder or file, ORGANISATION/NAME of the hub, or of open_clip ARCHITECTURE/TAG or "
        "hf-hub:ORGANISATION/NAME" + (f" (default: {default})" if default else ""),
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: auto)")
    formats = "auto, float32, bfloat16, float16, int8, int4 (default: auto)"
    parser.add_argument("--dtype", default="auto", help=formats)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How the next token is chosen."""
    group = parser.add_argument_group("how the next token is chosen")
    group.add_argument(
        "--temperature", type=not_negative, default=0.0, help="0 takes the likeliest (default)"
    )
    group.add_argument("--top-k", type=count, default=0, help="draw from the K likeliest; 0: from all")
    group.add_argument(
        "--top-p", type=share, default=1.0, help="draw from the likeliest that make up this share"
    )
    group.add_argument("--max-tokens", type=positive, default=448, help="the most tokens (default: 448)")
    group.add_argument("--seed", type=int, default=0, help="seed of the drawing (default: 0)")


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


not_negative = _number(float, lambda value: 0 <= value < float("inf"), "a number from 0 up")
share = _number(float, lambda value: 0 < value <= 1, "a share above 0 and up to 1")
count = _number(int, lambda value: value >= 0, "a whole number from 0 up")
positive = _number(int, lambda value: value >= 1, "a whole number from 1 up")
