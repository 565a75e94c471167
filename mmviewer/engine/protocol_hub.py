"""What the window asks about models of the hub: frozen values, light to import."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmviewer.engine.protocol import Request


@dataclass(frozen=True, slots=True)
class LookAtHub(Request):
    """What is in the cache, what can be loaded, and how much room there is. Done: `HubState`."""


@dataclass(frozen=True, slots=True)
class PlanDownload(Request):
    """What downloading a model would fetch. Done: `DownloadPlan`."""

    spec: str


@dataclass(frozen=True, slots=True)
class DownloadModel(Request):
    """Fetch a model, going on with what is here; a cancel keeps what came. Done: its folder."""

    spec: str


@dataclass(frozen=True, slots=True)
class RemoveModel(Request):
    """Delete a model from the cache. Done: bytes that are free again."""

    repo: str


@dataclass(frozen=True, slots=True)
class DiscardDownload(Request):
    """Delete what an unfinished download left. Done: bytes that are free again."""

    repo: str


@dataclass(frozen=True, slots=True)
class VerifyModel(Request):
    """Compare a model's files with their checksums. Done: tuple of the names that differed and are gone."""

    repo: str


@dataclass(frozen=True, slots=True)
class AllowDownloads(Request):
    """Let the engine use the network, or not, from now on. Done: None."""

    allowed: bool


@dataclass(frozen=True, slots=True)
class KeepToken(Request):
    """Put the hub's token into the system's keyring; an empty one takes it out. Done: None."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MoveModels(Request):
    """Move the cache to another folder. Done: that folder."""

    folder: str


# --- values ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class HubModel:
    """A model in the cache, sizes in bytes.

    `trouble` says why it cannot be loaded, or is empty; `spec` is what loads it, empty where nothing does.
    """

    repo: str
    size: int
    partial: int
    trouble: str = ""
    spec: str = ""


@dataclass(frozen=True, slots=True)
class HubState:
    """The cache and the machine.

    Parameters
    ----------
    folder : str
        Of the cache.
    free : int
        Bytes free on its disk.
    models : tuple of HubModel
    kinds : tuple of str
        What the installed families load; see the catalogue's `Entry.kind`.
    device, dtype : str
        Where a model would run now.
    room : int
        Bytes of memory free there.
    online : bool
        Whether downloads are allowed.
    endpoint : str
        Address of the hub.
    has_token : bool
        Whether a token is kept for it.
    """

    folder: str
    free: int
    models: tuple[HubModel, ...]
    kinds: tuple[str, ...]
    device: str
    dtype: str
    room: int
    online: bool
    endpoint: str
    has_token: bool


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """A download before it begins, sizes in bytes; `gate`: the page where to accept its terms, or empty."""

    spec: str
    repo: str
    commit: str
    files: int
    total: int
    missing: int
    free: int
    licence: str
    gate: str
    loadable: bool
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the disk has room."""
        return self.missing < self.free
