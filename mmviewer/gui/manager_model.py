"""What the model manager lists, from the catalogue, the cache and what the user typed: a pure function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmviewer.core.hub.catalogue import BYTES, Entry, search
from mmviewer.engine.protocol_hub import HubModel, HubState

_HUB_ID = re.compile(r"(hf-hub:)?[\w.-]+/[\w.-]+(@[\w.-]+)?", re.ASCII)
_ADDRESS = re.compile(r"https?://\S+/[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user looks for: words, a task of the catalogue, what fits, what is here."""

    words: str = ""
    task: str = ""
    fits: bool = False
    here: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the manager.

    Parameters
    ----------
    spec, label : str
        What is loaded or downloaded; a name for people.
    repo : str
        The hub's id; empty for a folder or file.
    entry : Entry or None
        What the catalogue says of it.
    here : HubModel or None
        What is in the cache of it.
    loadable : bool
        Whether a family for it is installed, as far as is known.
    typed : bool
        It is what the user typed, unknown until the hub is asked.
    """

    spec: str
    label: str
    repo: str = ""
    entry: Entry | None = None
    here: HubModel | None = None
    loadable: bool = True
    typed: bool = False

    @property
    def key(self) -> str:
        """What stays the same of it while it is downloaded."""
        return self.repo or self.spec

    @property
    def is_whole(self) -> bool:
        """Whether it can be loaded now."""
        return not self.repo or (self.here is not None and not self.here.trouble)

    @property
    def is_begun(self) -> bool:
        """Whether a download of it was begun."""
        return self.here is not None and self.here.partial > 0


def rows(state: HubState | None, wish: Wish) -> list[Row]:
    """What to list: what was typed, what is here, then the catalogue."""
    words = wish.words.strip()
    typed = _typed(words)
    listed: list[Row] = []
    cached = {model.repo: model for model in state.models} if state else {}
    room = state.room if state and wish.fits else None
    dtype = memory_dtype(state)
    kinds = state.kinds if state else None
    found = {entry.id: entry for entry in search(words, task=wish.task, room=room, dtype=dtype, kinds=kinds)}
    known = {entry.id: entry for entry in search()}
    for repo, model in cached.items():
        entry = known.get(repo)
        plain = not (wish.task or wish.fits)
        named = repo == typed.repo if typed is not None else words.lower() in repo.lower()
        if repo in found or (plain and named):
            listed.append(_row(repo, entry, model))
    if not wish.here:
        listed += [_row(repo, entry, None) for repo, entry in found.items() if repo not in cached]
    if typed is not None and typed.repo not in {row.repo for row in listed if row.repo}:
        listed.insert(0, typed)
    return listed


def memory_dtype(state: HubState | None) -> str:
    """Number format in which memory is counted."""
    return state.dtype if state is not None and state.dtype in BYTES else "float32"


def _row(repo: str, entry: Entry | None, here: HubModel | None) -> Row:
    spec = (here.spec if here is not None else "") or (entry.spec if entry is not None else repo)
    loadable = here is None or bool(here.trouble or here.spec)
    return Row(spec, entry.label if entry is not None else repo, repo, entry, here, loadable)


def _typed(words: str) -> Row | None:
    """A row for what was pasted, where it is an id, an address, or a path."""
    if _is_path(words):
        return Row(words, f"Load {Path(words).name or words}", typed=True)
    if _HUB_ID.fullmatch(words) and not Path(words).expanduser().exists():
        repo = words.removeprefix("hf-hub:").partition("@")[0]
        return Row(words, repo, repo, typed=True)
    if _ADDRESS.match(words):
        repo = "/".join(words.split("?")[0].split("#")[0].split("/")[3:5])
        return Row(words, repo, repo, typed=True)
    return None


def _is_path(words: str) -> bool:
    if not words or "\n" in words or "\0" in words or len(words) > 4096:
        return False
    try:
        return words.startswith(("/", "~", ".")) or Path(words).drive != "" or Path(words).is_dir()
    except OSError:
        return False
