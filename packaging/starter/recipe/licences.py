"""The starter's part of ``resources/LICENSES.md``: what its art is, whose, and under which licence."""

from __future__ import annotations

from recipe.sources import SOURCES, licence_table

BEGIN, END = "<!-- starter: begin -->", "<!-- starter: end -->"

_LINKS = {
    "Apache-2.0": "[Apache-2.0](licenses/Apache-2.0.txt)",
    "MIT": "MIT, text below",
    "CC-BY-4.0": "[CC-BY-4.0](https://creativecommons.org/licenses/by/4.0/)",
    "CC-BY-3.0": "[CC-BY-3.0](https://creativecommons.org/licenses/by/3.0/)",
    "CC-BY-SA-4.0": "[CC-BY-SA-4.0](https://creativecommons.org/licenses/by-sa/4.0/)",
    "GPL-2": "GPL-2",
    "OFL-1.1": "[OFL-1.1](https://openfontlicense.org)",
    "ISC": "ISC",
    "free for any use": "free for any use",
    "public domain": "public domain",
}

_CC0 = "CC0-1.0 (public domain)"
# Samples that hold no art of a style: file, where it comes from, author, licence.
OTHER_SAMPLES: tuple[tuple[str, str, str, str], ...] = (
    ("photo-cat.png", "chelsea.png of scikit-image 0.16.2, unchanged", "Stefan van der Walt", _CC0),
    ("please-open.wav", "spoken by espeak-ng for this project", "this project", _CC0),
    ("spoken-dog.wav", "said by Piper's voice joe for this project", "this project", _CC0),
    ("spoken-guitar-and-owl.wav", "said by Piper's voice joe for this project", "this project", _CC0),
    ("sound-guitar.wav", "guit_em9 of sonic-pi-samples 3.2.2", "Sub-d", _CC0),
    ("a-dog.txt", "written for this project", "this project", _CC0),
    ("session.json", "written for this project", "this project", "MIT"),
)

_MIT = """MIT License, Copyright (c) Microsoft Corporation (Fluent Emoji)

    Permission is hereby granted, free of charge, to any person obtaining a copy
    of this software and associated documentation files (the "Software"), to deal
    in the Software without restriction, including without limitation the rights
    to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
    copies of the Software, and to permit persons to whom the Software is
    furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all
    copies or substantial portions of the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
    IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
    FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
    AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
    LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
    OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
    SOFTWARE."""


def entries(sample_rows: list[tuple[str, str]]) -> str:
    """The section as Markdown.

    Parameters
    ----------
    sample_rows
        For each sample file its name and the style of its art.
    """
    by_style = {source.style: source for source in SOURCES}
    lines = ["## Samples (`samples/`)", "", "| file | from | author | licence |", "|---|---|---|---|"]
    for name, style in sample_rows:
        source = by_style[style]
        licence = _LINKS[source.licence]
        lines.append(f"| {name} | {source.package} {source.version} | {source.author} | {licence} |")
    lines += [f"| {' | '.join(row)} |" for row in OTHER_SAMPLES]
    lines += [
        "",
        "The art was placed on new backgrounds, scaled and mirrored.",
        "",
        "## Starter model (`models/starter-coca/`)",
        "",
        "Weights trained by this project (`packaging/starter`), MIT like the project.",
        "None of the art is part of them or shipped beside them.",
        "Sets under a share-alike or GPL licence were only measured on.",
        "",
        licence_table(),
        "",
        _MIT,
    ]
    return "\n".join(lines)


def replace_section(document: str, section: str) -> str:
    """The document with the starter's section put in or renewed; everything else stays as it was."""
    block = f"{BEGIN}\n{section}\n{END}\n"
    head, found, rest = document.partition(BEGIN)
    if not found:
        return f"{document.rstrip()}\n\n{block}"
    return head + block + rest.partition(END)[2].lstrip("\n")
