"""Requests about models, and text from them. Imports torch."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib import metadata

from mmviewer import __version__
from mmviewer.core.answers import AnswerScores
from mmviewer.core.explain.base import method_infos
from mmviewer.core.method_info import by_kind
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.models.device import choose_placement, use_threads
from mmviewer.core.models.loader import list_models as find_models
from mmviewer.core.models.loader import load_model as load
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import branch as branch_off
from mmviewer.core.tasks.generate import generate as generate_text
from mmviewer.core.tasks.likelihood import likelihood
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import Capability, MapKind, Modality, ModelInfo, TokenSequence
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.protocol import (
    Branch,
    EngineStatus,
    Generate,
    ListModels,
    LoadModel,
    ModelListing,
    ScoreAnswers,
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
    """Load a model; it takes the place of those of its kind that are not to be kept."""
    model = abandonable(
        lambda: load(request.source, request.device, request.dtype, call.progress, call.partial),
        call.progress,
    )
    call.progress.check()
    call.workspace.adopt(
        model,
        lambda progress: load(request.source, request.device, request.dtype, progress),
        keep=request.keep,
    )
    hears = model.info.can(Capability.EMBED_AUDIO)
    seen = method_infos(model.side(Modality.IMAGE))
    heard = method_infos(model.side(Modality.AUDIO)) if hears else ()
    return replace(
        model.info,
        methods=tuple(method.key for method in seen),
        sound_methods=tuple(method.key for method in heard),
        explains=by_kind(seen),
        sound_explains=by_kind(heard),
        scored=tuple({m.key: None for m in (*seen, *heard) if m.kind is MapKind.ATTRIBUTION}),
    )


def unload_model(request: UnloadModel, call: Call) -> None:
    """Forget a model and free its memory."""
    call.workspace.forget(request.model_id)


def generate(request: Generate, call: Call) -> TokenSequence:
    """Caption an image, answer a question or transcribe a sound, token by token."""
    call.progress.report(0, None, "Reading the item")
    with call.workspace.using(request.model_id, call.progress) as model:
        prepared = call.workspace.prepared(model, request.media, request.shots)
        steps = (call.partial, call.progress)
        if request.question:
            return ask(model, prepared, request.question, request.sampling, *steps, request.history)
        return generate_text(model, prepared, request.sampling, *steps, request.prompt)


def branch(request: Branch, call: Call) -> TokenSequence:
    """Write a text again from one of its tokens on."""
    call.progress.report(0, None, "Reading the item")
    with call.workspace.using(request.model_id, call.progress) as model:
        return branch_off(
            model,
            call.workspace.prepared(model, request.media, request.sequence.shots),
            request.sequence,
            request.index,
            request.token,
            request.sampling,
            call.partial,
            call.progress,
        )


def score_answers(request: ScoreAnswers, call: Call) -> AnswerScores:
    """Score given answers to a question, or continuations of a text."""
    call.progress.report(0, None, "Reading the item")
    with call.workspace.using(request.model_id, call.progress) as model:
        return likelihood(
            model,
            call.workspace.prepared(model, request.media, request.shots),
            request.answers,
            question=request.question,
            prompt=request.prompt,
            history=request.history,
            progress=call.progress,
        )


def tokenize(request: Tokenize, call: Call) -> TokenSequence:
    """Split a query into words."""
    with call.workspace.using(request.model_id, call.progress) as model:
        return query_sequence(model, request.media.id, request.text)
