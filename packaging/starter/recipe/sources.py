"""Every package the recipe takes art or names from: version, licence, author, and what it may be used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["iconify", "hexcode", "clipart", "stamps", "names"]
Use = Literal["train", "test", "names"]


@dataclass(frozen=True, slots=True)
class Source:
    """One pinned package of one registry.

    Attributes
    ----------
    style
        Short name of the drawing style; also the name of its sprite file.
    package, version
        Exact name and version in the registry.
    registry
        ``npm`` or ``debian``.
    kind
        How its files are read: ``iconify`` (one JSON of SVG bodies), ``hexcode`` (one file per code point),
        ``clipart`` and ``stamps`` (titles matched to concepts), ``names`` (no art).
    licence, author, note
        As the package itself states them.
    use
        ``train``, ``test`` (never trained on) or ``names``.
    folder
        For ``hexcode``: where the files lie inside the package.
    strict_names
        An icon set that is no set of emoji: only names that can mean one thing are taken.
    monochrome
        Drawn in one ink; training gives it any ink, and draws it less often.
    misnamed
        Concepts whose drawings here were seen to show something else (a ram that is a memory chip).
    """

    style: str
    package: str
    version: str
    registry: Literal["npm", "debian"]
    kind: Kind
    licence: str
    author: str
    use: Use
    folder: str = ""
    strict_names: bool = False
    monochrome: bool = False
    misnamed: frozenset[str] = frozenset()
    note: str = ""


# Icon sets that are no sets of emoji, and styles drawn in one ink.
_ICON_SETS = frozenset({"game-icons", "font-awesome", "icon-park"})
_ONE_INK = frozenset({"emojione-mono", "fluent-mono", "game-icons", "font-awesome"})
_MISNAMED = {
    "game-icons": "ram coral fly butter",
    "icon-park": "anchor compass cooking pie chicken spoon",
    "clipart": (
        "chipmunk pear baseball tennis wedding wing motorway ice cricket hotel toilet fountain coat mountain "
        "cactus dragon bear elevator compass construction ticket"
    ),
}


def _iconify(style: str, name: str, version: str, licence: str, author: str, use: Use = "train") -> Source:
    return Source(
        style, f"@iconify-json/{name}", version, "npm", "iconify", licence, author, use,
        strict_names=style in _ICON_SETS, monochrome=style in _ONE_INK, misnamed=_misnamed(style),
    )  # fmt: skip


def _misnamed(style: str) -> frozenset[str]:
    return frozenset(_MISNAMED.get(style, "").split())


SOURCES: tuple[Source, ...] = (
    Source(
        "names", "emojibase-data", "17.0.0", "npm", "names", "MIT", "Miles Johnson", "names",
        note="names, groups and tags of the concepts",
    ),
    _iconify("noto", "noto", "1.2.9", "Apache-2.0", "Google Inc"),
    _iconify("noto-v1", "noto-v1", "1.2.5", "Apache-2.0", "Google Inc"),
    _iconify("fxemoji", "fxemoji", "1.2.2", "Apache-2.0", "Mozilla"),
    _iconify("emojione", "emojione", "1.2.3", "CC-BY-4.0", "Emoji One"),
    _iconify("emojione-mono", "emojione-monotone", "1.2.1", "CC-BY-4.0", "Emoji One"),
    _iconify("streamline", "streamline-emojis", "1.2.4", "CC-BY-4.0", "Streamline"),
    _iconify("fluent-modern", "fluent-emoji", "1.2.7", "MIT", "Microsoft Corporation"),
    _iconify("fluent-flat", "fluent-emoji-flat", "1.2.6", "MIT", "Microsoft Corporation"),
    _iconify("fluent-mono", "fluent-emoji-high-contrast", "1.2.6", "MIT", "Microsoft Corporation"),
    Source(
        "fluent-3d", "@lobehub/fluent-emoji-3d", "1.1.0", "npm", "hexcode", "MIT",
        "Microsoft Corporation, packaged by LobeHub", "train", folder="assets",
        note="the package's README says MIT",
    ),
    _iconify("game-icons", "game-icons", "1.2.4", "CC-BY-3.0", "GameIcons"),
    _iconify("font-awesome", "fa6-solid", "1.2.4", "CC-BY-4.0", "Dave Gandy"),
    _iconify("icon-park", "icon-park", "1.2.4", "Apache-2.0", "ByteDance"),
    Source(
        "clipart", "openclipart-svg", "1:0.18+dfsg-19", "debian", "clipart", "public domain",
        "the authors named in each file", "train",
        misnamed=_misnamed("clipart"),
        note="titles matched to concepts; some are matched wrongly",
    ),
    _iconify("twemoji", "twemoji", "1.2.5", "CC-BY-4.0", "Twitter", use="test"),
    Source(
        "openmoji", "openmoji", "17.0.0", "npm", "hexcode", "CC-BY-SA-4.0", "OpenMoji", "test",
        folder="color/svg", note="share-alike: measured on, never trained on, never shipped",
    ),
    Source(
        "stamps", "tuxpaint-stamps-default", "2022.06.04-1", "debian", "stamps", "GPL-2",
        "the Tux Paint authors", "test", note="measured on, never trained on, never shipped",
    ),
)  # fmt: skip

STYLES: dict[str, Source] = {source.style: source for source in SOURCES if source.kind != "names"}
TRAIN_STYLES: tuple[str, ...] = tuple(s.style for s in SOURCES if s.use == "train")
TEST_STYLES: tuple[str, ...] = tuple(s.style for s in SOURCES if s.use == "test")


def licence_table() -> str:
    """The table of styles and licences in Markdown, as the model card and LICENSES.md carry it."""
    rows = ["| style | package | licence | author | use |", "|---|---|---|---|---|"]
    for s in SOURCES:
        note = f" ({s.note})" if s.note else ""
        rows.append(
            f"| {s.style} | {s.package} {s.version} ({s.registry}) "
            f"| {s.licence} | {s.author} | {s.use}{note} |"
        )
    return "\n".join(rows)
