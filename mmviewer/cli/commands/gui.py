"""``mmviewer gui``: the window."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import FAILED, complain
from mmviewer.cli.options import Subparsers, add_command
from mmviewer.core.errors import MMViewerError


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = add_command(subparsers, "gui", "Open the window (the default)", run)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--samples", action="store_true", help="start with the sample session")


def run(options: argparse.Namespace) -> int:
    """Open the window and stay until it is closed; the exit code."""
    from mmviewer.core.doctor import display

    available, reason = display()
    if not available:
        complain(
            f"no window can open, because {reason}; log in to a desktop, or use a command without a window: "
            "classify, caption, ask, transcribe, explain, embed, models, doctor (mmviewer --help lists all)"
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
