"""The help page of the measured methods and its picture, from what the command line measured."""

from __future__ import annotations

import json

import numpy as np

from mmviewer import paths
from mmviewer.cli.commands.evaluate_methods import markdown
from mmviewer.core.explain.evaluation import Row
from mmviewer.core.explain.measures import Scale
from mmviewer.core.figures.sheet import ACCENT, GREY, Sheet, quiet

MEASURED = paths.resources() / "scenes" / "measured.json"
"""What ``mmviewer evaluate-methods --json`` gave for the starter."""


def measured() -> Sheet:
    """Pointing of the measured methods, with one thing and with three in view."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [row for row in found["rows"] if row["asked"] == "description"]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    labels = [
        row["label"] for row in sorted(rows, key=lambda row: row["pointing"]) if row["group"] == groups[-1]
    ]
    sheet = Sheet(6.4, 3.4, "Methods, measured", found["model"]["label"], ("asked by a description",), "")
    shown = (("pointing: strongest patch in the box", "pointing"), ("mass in box", "mass"))
    for place, (title, key) in enumerate(shown):
        axes = sheet.axes(1.5 + 2.5 * place, 0.4, 2.2, 2.6)
        for group, colour, mark in zip(groups, (GREY, ACCENT), "os", strict=False):
            own = {row["label"]: row for row in rows if row["group"] == group}
            axes.plot([own[each][key] for each in labels], labels, mark, color=colour, label=group)
            axes.axvline(np.mean([row[f"{key}_chance"] for row in own.values()]), color=colour, linestyle=":")
        axes.set_xlim(0, 1.02)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("share; dotted: chance")
        if place:
            axes.set_yticklabels([])
        else:
            axes.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(-0.05, 1.06), ncol=2)
        quiet(axes)
    return sheet


_ABOUT = """\
# Methods, measured

Which method to believe depends on the model. Here methods are measured with the shipped starter, on scenes
in a style of drawing that it was never trained on, whose boxes are known: with one thing in view and with
three.

![Pointing and mass in box of eleven methods, with one thing and with three](methods-measured.png)

**How it is computed.** Each thing is asked for by a description of it alone and by its noun in the true
caption; then [pointing, mass in box](pointing.md) and [deletion and insertion](deletion-insertion.md)
are measured as in the panel *Trust*. The tables are what `mmviewer evaluate-methods` prints; the exact
options stand below them.

**When it misleads.** Another model has another order: measure yours, on your own folder of pictures with
boxes, with the same command. Boxes say where the thing is, not what the model used; curves are of few
maps, as the column says, so small differences between rows mean nothing. Seconds are of a machine that was
busy with other work and change within the run: read their order of size, no more.

{tables}

*Source:* {options}, weights {weights}, on a CPU. The numbers lie in `resources/scenes/measured.json`.
"""


def measured_page() -> str:
    """The help page with the tables."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [Row(**{**row, "scale": row["scale"] and Scale(row["scale"])}) for row in found["rows"]]
    label, steps, randoms = found["model"]["label"], found["steps"], found["random_maps"]
    tables = "\n".join(markdown(rows, label, steps, randoms))
    options = " and ".join(f"`{command}`" for command in found["commands"])
    return _ABOUT.format(tables=tables, options=options, weights=found["model"]["weights_hash"][:16])
