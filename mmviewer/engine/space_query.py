"""What a question about a space is made of: texts, items, regions, each as a vector. Imports torch."""

from __future__ import annotations

from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.media.geometry import Box, ImageGeometry
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.session.annotations import Annotation
from mmviewer.core.space.collection import KINDS, Catalogue, CollectionItem, SpaceInfo
from mmviewer.core.space.patches import region_vector
from mmviewer.core.space.search.arithmetic import Term, combine
from mmviewer.core.tasks.embed import embed
from mmviewer.core.tasks.layers import patch_embeddings
from mmviewer.core.types import FloatArray, Media, MediaRef, Modality
from mmviewer.engine.protocol_space import QueryPart, SearchSpace
from mmviewer.engine.routes import Call
from mmviewer.engine.spaces import Space


def query_vector(request: SearchSpace, space: Space, call: Call) -> FloatArray:
    """The question as one unit vector [D].

    Raises
    ------
    InputError
        A part cannot be read, the loaded model's space is another one, or the parts cancel each other.
    ModelError
        No model is loaded and a part needs one.
    """
    # items of a space whose gap is closed are about the mean of their kind already, what is read anew is not
    centroids = {KINDS[kind]: centre for kind, centre in space.centres.items()}
    return combine([_term(part, request, space, call) for part in request.parts], centroids)


def opened(item: CollectionItem) -> Media:
    """The decoded file of an item; raises `InputError` if it is none, `MediaError` if it is broken."""
    if item.path is None:
        raise InputError(f"{item.name} is no file that the model could look at; choose an image or a sound.")
    return open_media(item.path, item.name)


def asked(media: MediaRef | None, row: int | None, folder: str, call: Call) -> Media:
    """The decoded item of the library or of a collection."""
    if media is not None:
        return call.workspace.media(media)
    if row is None:
        raise InputError("A region is part of an image; choose the image too.")
    with Catalogue.open(folder, readonly=True) as catalogue:
        return opened(catalogue.items([row])[0])


def region(
    model: LoadedModel, media: Media, box: Box, outline: tuple[tuple[float, float], ...] = ()
) -> FloatArray:
    """The unit vector [D] of a region of an image."""
    prepared = model.prepare(media)
    if not isinstance(prepared.geometry, ImageGeometry):
        raise InputError(f"{media.name} is no image; choose a region of an image.")
    cover = Annotation("", "polygon", outline).mask(prepared.geometry) if outline else None
    return region_vector(patch_embeddings(model, prepared), prepared.geometry, box, cover)


def check_made(space: SpaceInfo, model: LoadedModel) -> None:
    """Raise `ModelError` unless this very model made the space: another's vectors mean something else."""
    info = model.info
    if (space.weights_hash, space.preprocessing) != (info.weights_hash, info.preprocessing):
        raise ModelError(
            f"This space was made by {space.label} and not by {info.label}; load the model that made it."
        )


def _term(part: QueryPart, request: SearchSpace, space: Space, call: Call) -> Term:
    if part.row is not None and part.box is None:
        return Term(space.vector(part.row), part.weight)
    is_text = part.media is None and part.box is None
    media = None if is_text else asked(part.media, part.row, request.folder, call)
    with call.workspace.using(request.model_id, call.progress) as model:
        if media is None:
            vector = call.workspace.features.of_texts(model, [part.text], call.progress)[0]
        elif part.box is not None:
            vector = region(model, media, part.box, part.outline)
        else:
            vector = embed(model, [media], call.workspace.features, call.progress).vectors[0]
    if len(vector) != space.rows.width:
        raise InputError(
            "The loaded model reads into another space than the one that is looked at; load the model that"
            " made it, or choose the space of the loaded model."
        )
    if not space.info.own:  # of vectors that a user brought only the width is known
        check_made(space.info, model)
    return Term(vector, part.weight, Modality.TEXT if media is None else media.modality)
