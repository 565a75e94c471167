"""The help: one Markdown page per method and concept, found by scanning a folder (no torch).

A method that brings no page of its own is explained by its docstring, so that it stays one file.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmviewer import paths

METHOD_PREFIX = "method-"
FIRST_PAGE = "start"

_GROUPS = ("", "Concepts", "Methods", "Measured", "Reference")
_REFERENCE = frozenset(("families", "soft-attention"))
_HEADING = re.compile(r"^#\s+(.+)$", re.MULTILINE)
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_METHODS = Path(__file__).resolve().parent / "explain" / "methods"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the help.

    Parameters
    ----------
    key : str
        File name without its ending; "method-" and the method's key for methods.
    title : str
    group : str
        "" for the first page, else "Concepts", "Methods", "Measured" or "Reference".
    markdown : str
    """

    key: str
    title: str
    group: str
    markdown: str

    @property
    def plain(self) -> str:
        """The words alone, without pictures and marks."""
        words = _LINK.sub(r"\1", _PICTURE.sub("", self.markdown))
        return " ".join(re.sub(r"[#*_`|>]", " ", words).split())


def load_pages(folder: Path | None = None, methods: Path | None = None) -> tuple[Page, ...]:
    """Read all pages, grouped and in order of their titles; a page that cannot be read says so."""
    found = {page.key: page for page in _of_methods(methods or _METHODS)}
    for path in sorted((folder or paths.help_pages()).glob("*.md")):
        page = _of_file(path)
        found[page.key] = page
    return tuple(sorted(found.values(), key=lambda page: (_GROUPS.index(page.group), page.title.lower())))


def search(pages: Iterable[Page], wanted: str) -> tuple[Page, ...]:
    """Pages that hold every word of `wanted`, those with one in the title first; all where it is empty."""
    words = wanted.lower().split()
    hits = [page for page in pages if all(word in f"{page.title} {page.plain}".lower() for word in words)]
    in_title = [page for page in hits if words and any(word in page.title.lower() for word in words)]
    return tuple(dict.fromkeys([*in_title, *hits]))


def page_of(pages: Sequence[Page], key: str) -> Page | None:
    """The page with a key, else the first one; None where there is none at all."""
    first = next((page for page in pages if page.key == FIRST_PAGE), pages[0] if pages else None)
    return next((page for page in pages if page.key == key), first)


def _of_file(path: Path) -> Page:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text = f"# {path.stem}\n\nThis page cannot be read ({error}); install mmviewer again."
    heading = _HEADING.search(text)
    title = heading.group(1).strip() if heading else path.stem.replace("-", " ").capitalize()
    return Page(path.stem, title, _group(path.stem), text)


def _group(key: str) -> str:
    if key == FIRST_PAGE:
        return ""
    if key.startswith(METHOD_PREFIX):
        return "Methods"
    if key in _REFERENCE:
        return "Reference"
    return "Measured" if key.endswith("-measured") else "Concepts"


def _of_methods(folder: Path) -> Iterator[Page]:
    """Pages of methods from their source, read and not run: a method needs PyTorch, the help does not."""
    for path in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue  # such a file is no method either, and the registry says so
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                yield from _of_class(node)


def _of_class(node: ast.ClassDef) -> Iterator[Page]:
    words = dict(_texts(node))
    if "key" not in words or "label" not in words:
        return
    key, label = words["key"], words["label"]
    about = inspect.cleandoc(ast.get_docstring(node) or "It does not say how it works.")
    parts = (f"# {label}", words.get("explanation", ""), about)
    yield Page(f"{METHOD_PREFIX}{key}", label, "Methods", "\n\n".join(part for part in parts if part))


def _texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Attributes of a class that are plain texts."""
    for line in node.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            try:
                value = ast.literal_eval(line.value)
            except ValueError:
                continue
            if isinstance(value, str):
                yield line.targets[0].id, value
