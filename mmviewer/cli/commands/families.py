"""``mmviewer families``: what can be done with each kind of model."""

from __future__ import annotations

import argparse

from mmviewer.cli.console import DONE, print_json, print_line
from mmviewer.cli.options import Subparsers, add_command

_SHAPE = """\
  [{"family": str, "label": str, "variant": str, "can": [str], "methods": [str],
    "points": [{"name": str, "label": str, "rows": str, "columns": str}]}]"""


def add(subparsers: Subparsers) -> None:
    """Declare the command."""
    about = "Tell what each kind of model can do, as a table in Markdown"
    add_command(subparsers, "families", about, run, _SHAPE)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from mmviewer.core.models import hub
    from mmviewer.core.models.overview import FamilyRow, family_rows, page

    hub.prepare()
    rows = family_rows()
    if not options.json:
        print_line(page(rows).rstrip())
        return DONE

    def told(row: FamilyRow) -> dict[str, object]:
        points = [
            {"name": point.name, "label": point.label, "rows": point.queries, "columns": point.keys}
            for point in row.points
        ]
        words = {"family": row.key, "label": row.label, "variant": row.variant}
        return {**words, "can": list(row.can), "methods": list(row.methods), "points": points}

    print_json([told(row) for row in rows])
    return DONE
