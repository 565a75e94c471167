"""Requests about models, and text from them. Imports torch."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib import metadata

from mmviewer import __version__
from mmviewer.core.explain.base import available_methods
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.device import choose_placement, use_threads
from mmviewer.core.models.loader import list_models as find_models
from mmviewer.core.models.loader import load_model as load
from mmviewer.core.tasks.generate import generate as generate_text
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import ModelInfo, TokenSequence
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.protocol import (
    EngineStatus,
    Generate,
    ListModels,
    LoadModel,
    ModelListing,
    Tokenize,
    UnloadModel,
)
from mmviewer.engine.routes import Call

_PACKAGES = ("torch", "open_clip_torch", "transformers", "numpy")


def warm_up(_request: None, _call: Call) -> EngineStatus:
    """Import what models need, so that the first one loads without delay, and choose the device."""
    use_threads()
    FAMILIES.keys()  # imports open_clip and transformers
    place = choose_placement()
    dtype = str(place.dtype).removeprefix("torch.")
    return EngineStatus("ready", str(place.device), dtype, place.reason, versions=_versions())


def _versions() -> tuple[tuple[str, str], ...]:
    packages = [(name, metadata.version(name)) for name in _PACKAGES]
    return (("mmviewer", __version__), ("Python", platform.python_version()), *packages)


def list_models(_request: ListModels, call: Call) -> tuple[ModelListing, ...]:
    """Models that can be loaded without a download."""
    call.progress.report(0, None, "Looking for models")
    return tuple(
        ModelListing(found.source, found.label, found.family, found.size_bytes) for found in find_models()
    )


def load_model(request: LoadModel, call: Call) -> ModelInfo:
    """Load a model; it takes the place of the former one of its kind."""
    model = abandonable(
        lambda: load(request.source, request.device, request.dtype, call.progress), call.progress
    )
    call.progress.check()
    call.workspace.adopt(model)
    return replace(model.info, methods=available_methods(model))


def unload_model(request: UnloadModel, call: Call) -> None:
    """Forget a model and free its memory."""
    call.workspace.forget(request.model_id)


def generate(request: Generate, call: Call) -> TokenSequence:
    """Caption an image or transcribe a sound, token by token."""
    call.progress.report(0, None, "Reading the item")
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media)
        return generate_text(model, prepared, request.sampling, on_token=call.partial, progress=call.progress)


def tokenize(request: Tokenize, call: Call) -> TokenSequence:
    """Split a query into words."""
    with call.workspace.using(request.model_id, call.progress) as model:
        return query_sequence(model, request.media.id, request.text)
