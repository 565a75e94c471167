"""Requests about models of the hub."""

from __future__ import annotations

from pathlib import Path

from mmviewer.core.errors import ModelError
from mmviewer.core.hub import cache, download, network, token
from mmviewer.core.hub.plan import free_bytes, make_plan, split_spec
from mmviewer.core.models.device import choose_placement, free_memory
from mmviewer.core.models.loader import known_kinds, spec_of_cached
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.protocol_hub import (
    AllowDownloads,
    DiscardDownload,
    DownloadModel,
    DownloadPlan,
    HubModel,
    HubState,
    KeepToken,
    LookAtHub,
    MoveModels,
    PlanDownload,
    RemoveModel,
    VerifyModel,
)
from mmviewer.engine.routes import Call


def look(_request: LookAtHub, call: Call) -> HubState:
    """The cache and the machine."""
    call.progress.report(0, None, "Looking for models")
    place = choose_placement()
    folder = cache.folder()
    return HubState(
        folder=str(folder),
        free=free_bytes(folder),
        models=tuple(_told(each) for each in cache.models()),
        kinds=tuple(sorted(known_kinds())),
        device=str(place.device),
        dtype=str(place.dtype).removeprefix("torch."),
        room=free_memory(place.device),
        online=network.online(),
        endpoint=network.endpoint(),
        has_token=token.known(),
    )


def _told(model: cache.CachedModel) -> HubModel:
    spec = "" if model.trouble else spec_of_cached(model.repo, model.path)
    return HubModel(model.repo, model.size, model.partial, model.trouble, spec)


def plan(request: PlanDownload, call: Call) -> DownloadPlan:
    """What would be fetched; asking may take as long as the network does."""
    made = abandonable(lambda: make_plan(request.spec, call.progress), call.progress)
    loadable = not made.kind or made.kind in known_kinds() or request.spec.startswith("hf-hub:")
    unknown = f"mmviewer knows no models of the kind “{made.kind}”, so it could not be loaded."
    return DownloadPlan(
        spec=request.spec,
        repo=made.repo,
        commit=made.commit,
        files=len(made.files),
        total=made.total,
        missing=made.missing,
        free=made.free,
        licence=made.licence,
        gate=made.gate,
        loadable=loadable,
        notes=made.notes if loadable else (*made.notes, unknown),
    )


def fetch(request: DownloadModel, call: Call) -> str:
    """Bring a model here."""
    made = abandonable(lambda: make_plan(request.spec, call.progress), call.progress)
    return str(download.fetch(made, call.progress))


def remove(request: RemoveModel, call: Call) -> int:
    """Delete a model, unless it is loaded."""
    loaded = [source for source in call.workspace.sources() if _repo(source) == request.repo]
    if loaded:
        raise ModelError(f"{request.repo} is loaded; unload it in the Model panel before you delete it.")
    return cache.remove(request.repo, call.progress)


def discard(request: DiscardDownload, call: Call) -> int:
    """Delete what is unfinished."""
    return cache.discard_partial(request.repo, call.progress)


def verify(request: VerifyModel, call: Call) -> tuple[str, ...]:
    """Compare checksums."""
    return tuple(cache.verify(request.repo, call.progress))


def allow(request: AllowDownloads, _call: Call) -> None:
    """Switch downloads on or off."""
    network.allow(request.allowed)


def keep_token(request: KeepToken, _call: Call) -> None:
    """Keep a token."""
    token.keep(request.token)


def move(request: MoveModels, call: Call) -> str:
    """Move the cache."""
    return str(cache.move(Path(request.folder), call.progress))


def _repo(source: str) -> str:
    try:
        return split_spec(source)[0]
    except ModelError:  # a folder, a file or a built-in name
        return ""
