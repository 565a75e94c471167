"""Every package the recipe takes art or names from: version, licence, author, and what it may be used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["iconify", "hexcode", "font", "clipart", "stamps", "names"]
Use = Literal["train", "test", "sealed", "names"]


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
        ``font`` (the glyphs of one code point in font files), ``clipart`` and ``stamps`` (titles matched to
        concepts), ``names`` (no art).
    licence, author, note
        As the package itself states them.
    use
        ``train``, ``test`` (never trained on), ``sealed`` (neither trained on nor looked at before a model is
        final) or ``names``.
    folder
        For ``hexcode``: where the files lie inside the package.
    fonts
        For ``font``: the font files inside the package; each draws every concept it knows.
    suffixes
        For ``iconify``: the variants taken of each icon, as the ends of their names.
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
    fonts: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ("",)
    strict_names: bool = False
    monochrome: bool = False
    misnamed: frozenset[str] = frozenset()
    note: str = ""


# Icon sets that are no sets of emoji, and styles drawn in one ink.
_LINE_SETS: dict[str, tuple[str, ...]] = {
    "material": ("", "-outline"), "phosphor": ("", "-fill", "-duotone"), "tabler": ("", "-filled"),
    "lucide": ("",), "lucide-lab": ("",), "mingcute": ("-fill", "-line"), "huge": ("", "-01", "-02"),
    "solar": ("-bold-duotone", "-linear"), "line-awesome": ("",),
}  # fmt: skip
_ICON_SETS = frozenset({"game-icons", "font-awesome", "icon-park", *_LINE_SETS})
_ONE_INK = frozenset({"emojione-mono", "fluent-mono", "game-icons", "font-awesome", *_LINE_SETS})
_MISNAMED = {
    "game-icons": "ram coral fly butter",
    "material": "cricket fly honeybee hotel ribbon school",
    "phosphor": "cricket diamond joker",
    "tabler": "cricket joker ribbon",
    "lucide": "cricket diamond radio ribbon",
    "lucide-lab": "cricket joker onion",
    "mingcute": "chicken diamond factory scarf skateboard",
    "huge": "clipboard diamond joker ribbon scarf sunglasses",
    "solar": "airplane tennis trash can",
    "line-awesome": "fly ribbon school",
    "symbola": "rhinoceros",
    "icon-park": "anchor compass cooking pie chicken spoon",
    "clipart": (
        "chipmunk pear baseball tennis wedding wing motorway ice cricket hotel toilet fountain coat mountain "
        "cactus dragon bear elevator compass construction ticket"
    ),
}


def _iconify(style: str, name: str, version: str, licence: str, author: str, use: Use = "train") -> Source:
    return Source(
        style, f"@iconify-json/{name}", version, "npm", "iconify", licence, author, use,
        suffixes=_LINE_SETS.get(style, ("",)), strict_names=style in _ICON_SETS,
        monochrome=style in _ONE_INK, misnamed=_misnamed(style),
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
    Source(
        "noto-lines", "@expo-google-fonts/noto-emoji", "0.4.7", "npm", "font", "OFL-1.1", "Google Inc",
        "train",
        fonts=("400Regular/NotoEmoji_400Regular.ttf", "700Bold/NotoEmoji_700Bold.ttf"), monochrome=True,
    ),
    Source(
        "symbola", "fonts-symbola", "2.60-1.1", "debian", "font", "free for any use", "George Douros",
        "train",
        misnamed=_misnamed("symbola"),
        fonts=("usr/share/fonts/truetype/ancient-scripts/Symbola_hint.ttf",), monochrome=True,
        note="may be opened, edited, modified, regenerated, packaged and redistributed, says its author",
    ),
    _iconify("material", "mdi", "1.2.3", "Apache-2.0", "Pictogrammers"),
    _iconify("phosphor", "ph", "1.2.2", "MIT", "Phosphor Icons"),
    _iconify("tabler", "tabler", "1.2.41", "MIT", "Paweł Kuna"),
    _iconify("lucide", "lucide", "1.2.137", "ISC", "Lucide Contributors"),
    _iconify("lucide-lab", "lucide-lab", "1.2.3", "ISC", "Lucide Contributors"),
    _iconify("mingcute", "mingcute", "1.2.8", "Apache-2.0", "MingCute Design"),
    _iconify("huge", "hugeicons", "1.2.35", "MIT", "Hugeicons"),
    _iconify("solar", "solar", "1.2.13", "CC-BY-4.0", "480 Design"),
    _iconify("line-awesome", "la", "1.2.1", "Apache-2.0", "Icons8"),
    _iconify("twemoji", "twemoji", "1.2.5", "CC-BY-4.0", "Twitter", use="test"),
    Source(
        "openmoji", "openmoji", "17.0.0", "npm", "hexcode", "CC-BY-SA-4.0", "OpenMoji", "test",
        folder="color/svg", note="share-alike: measured on, never trained on, never shipped",
    ),
    Source(
        "stamps", "tuxpaint-stamps-default", "2022.06.04-1", "debian", "stamps", "GPL-2",
        "the Tux Paint authors", "test", note="measured on, never trained on, never shipped",
    ),
    _iconify("emojione-v1", "emojione-v1", "1.2.3", "CC-BY-SA-4.0", "Emoji One", use="sealed"),
)  # fmt: skip

STYLES: dict[str, Source] = {source.style: source for source in SOURCES if source.kind != "names"}
# Line drawings whose closed areas are filled with the colours that another style gives the same thing.
LINED: dict[str, tuple[tuple[str, ...], str]] = {
    "noto-lined": (("noto-lines",), "noto"),
    "fluent-lined": (("noto-lines",), "fluent-flat"),
    "symbola-lined": (("symbola",), "emojione"),
    "icons-lined": (("phosphor", "tabler", "lucide", "lucide-lab", "huge", "line-awesome"), "fluent-flat"),
}
TRAIN_STYLES: tuple[str, ...] = (*(s.style for s in SOURCES if s.use == "train"), *LINED)
TEST_STYLES: tuple[str, ...] = tuple(s.style for s in SOURCES if s.use == "test")
SEALED_STYLES: tuple[str, ...] = tuple(s.style for s in SOURCES if s.use == "sealed")


def licence_table() -> str:
    """The table of styles and licences in Markdown, as the model card and LICENSES.md carry it."""
    rows = ["| style | package | licence | author | use |", "|---|---|---|---|---|"]
    for s in SOURCES:
        note = f" ({s.note})" if s.note else ""
        rows.append(
            f"| {s.style} | {s.package} {s.version} ({s.registry}) "
            f"| {s.licence} | {s.author} | {s.use}{note} |"
        )
    for style, (lines, colours) in LINED.items():
        rows.append(
            f"| {style} | lines of {', '.join(lines)}, filled with the colours of {colours} "
            "| as these | as these | train |"
        )
    return "\n".join(rows)
