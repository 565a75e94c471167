"""Requests about many items at once: scores, embeddings, the plane. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from mmviewer.core.errors import MMViewerError
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.space.projection.base import project as place
from mmviewer.core.tasks.classify import zero_shot
from mmviewer.core.tasks.embed import NEEDED
from mmviewer.core.tasks.embed import embed as embed_items
from mmviewer.core.tasks.features import Item
from mmviewer.core.tasks.query import check_length
from mmviewer.core.types import Embeddings, Media, MediaRef, Modality, Projection, Scores
from mmviewer.engine.abandon import abandonable
from mmviewer.engine.protocol import Classify, Embed, Project
from mmviewer.engine.routes import Call
from mmviewer.engine.workspace import Workspace

_CHUNK = 16  # items encoded before another lane may have the model
_DECODERS = 2  # threads that decode the next chunk meanwhile
_YIELD = 0.001  # seconds in which a waiting lane takes the model
T = TypeVar("T")


def classify(request: Classify, call: Call) -> Scores:
    """Score items against labels; what was encoded before is not encoded, nor even decoded, again."""
    items, notes = _encoded(request.model_id, request.items, call)
    with call.workspace.using(request.model_id, call.progress) as model:
        features = call.workspace.features
        scores = zero_shot(model, items, request.labels, request.templates, features, call.progress)
    return replace(scores, notes=scores.notes + notes)


def embed(request: Embed, call: Call) -> Embeddings:
    """Embed items and texts."""
    items, notes = _encoded(request.model_id, request.items, call)
    with call.workspace.using(request.model_id, call.progress) as model:
        embeddings = embed_items(model, items, call.workspace.features, call.progress)
    return replace(embeddings, notes=embeddings.notes + notes)


def project(request: Project, call: Call) -> tuple[Embeddings, Projection]:
    """Embed items and place them in the plane."""
    embeddings = embed(Embed(request.model_id, request.items), call)
    projection = abandonable(lambda: place(embeddings, request.method, call.progress), call.progress)
    return embeddings, projection


def _encoded(model_id: str, refs: Sequence[MediaRef], call: Call) -> tuple[list[Media], tuple[str, ...]]:
    """Bring the embeddings of items into the cache; return stand-ins of the items, and notes.

    An item that cannot be read is left out with a note; if none can, its error is raised.
    """
    workspace = call.workspace
    with workspace.using(model_id, call.progress) as model:
        missing = _missing(model, refs, workspace)
    broken: dict[str, MMViewerError] = {}
    with closing(_ahead(lambda ref: _prepared(workspace, model, ref), missing)) as chunks:
        for number, chunk in enumerate(chunks):
            call.progress.report(number * _CHUNK, len(missing), "Embedding items")
            broken |= {ref.id: result for ref, result in chunk if isinstance(result, MMViewerError)}
            ready = [result for _, result in chunk if not isinstance(result, MMViewerError)]
            if ready:
                with workspace.using(model_id, call.progress):
                    workspace.features.of_items(model, ready)
            time.sleep(_YIELD)
    if broken and len(broken) == len({ref.id for ref in refs}):
        raise next(iter(broken.values()))
    notes = tuple(f"left out: {error.message}" for error in broken.values())
    return [_stand_in(ref) for ref in refs if ref.id not in broken], notes


def _missing(model: LoadedModel, refs: Sequence[MediaRef], workspace: Workspace) -> list[MediaRef]:
    """Items, each once, that the model can embed and has not embedded yet."""
    fitting = {ref.id: ref for ref in refs if model.info.can(NEEDED[ref.modality])}
    stand_ins = [_stand_in(ref) for ref in fitting.values()]
    unseen = workspace.features.unseen_items(model, stand_ins)
    return [fitting[item.id] for item in unseen if isinstance(item, Media)]


def _stand_in(ref: MediaRef) -> Media:
    """An item without its pixels or samples, which the cache finds by its id."""
    return Media(ref.id, ref.modality, ref.name, ref.path, text=ref.text)


def _prepared(workspace: Workspace, model: LoadedModel, ref: MediaRef) -> Item | MMViewerError:
    """The item as the model takes it, or why it cannot be had."""
    try:
        if ref.modality is not Modality.TEXT:
            return workspace.prepared(model, ref)
        media = workspace.media(ref)
        check_length(model, media.text or "", "text")
    except MMViewerError as error:
        return error
    return media


def _ahead(
    function: Callable[[MediaRef], T], refs: Sequence[MediaRef]
) -> Generator[list[tuple[MediaRef, T]]]:
    """Yield chunks of items with the function's results, which are computed one chunk ahead."""
    if not refs:
        return
    batches = [refs[start : start + _CHUNK] for start in range(0, len(refs), _CHUNK)]
    pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
    try:
        coming = [(ref, pool.submit(function, ref)) for ref in batches[0]]
        for following in [*batches[1:], []]:
            current, coming = coming, [(ref, pool.submit(function, ref)) for ref in following]
            yield [(ref, future.result()) for ref, future in current]
    finally:
        pool.shutdown(cancel_futures=True)
