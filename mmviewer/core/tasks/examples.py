"""Examples before a question: pictures with texts that show a model what is wanted (few-shot)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import LoadedModel, Prepared
from mmviewer.core.types import Capability, Media, MediaRef, Modality, Shot

MOST = 32
"""Examples that can stand before one item."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A `Shot` with its picture decoded: what is asked of `media`, and the answer it should get.

    `media` None makes it an example of text alone; an empty `question` stands for the request for a caption.
    """

    media: Media | None
    answer: str
    question: str = ""


def among(model: LoadedModel, prepared: Prepared, examples: Sequence[Example]) -> Prepared:
    """Put examples before a prepared item; see `put_before`."""
    items = {each.media.id: each.media for each in examples if each.media is not None}
    shots = [
        Shot(None if each.media is None else _ref(each.media), each.answer, each.question)
        for each in examples
    ]
    return put_before(model, prepared, shots, lambda ref: model.prepare(items[ref.id]))


def _ref(media: Media) -> MediaRef:
    return MediaRef(media.id, media.modality, media.name, media.path, media.text)


def put_before(
    model: LoadedModel, prepared: Prepared, shots: Sequence[Shot], prepare: Callable[[MediaRef], Prepared]
) -> Prepared:
    """Put examples before a prepared item.

    Parameters
    ----------
    model : LoadedModel
    prepared : Prepared
        An image.
    shots : sequence of Shot
        In the order in which they are read; none leaves the item as it is.
    prepare : callable
        Prepares the picture of an example.

    Raises
    ------
    InputError
        An example without an answer, with something that is no image, or too many of them.
    UnsupportedError
        The model was not trained on texts with pictures in between.
    """
    if not shots:
        return prepared
    if not model.info.can(Capability.EXAMPLES):
        raise UnsupportedError(
            f"{model.info.label} reads one picture at a time; take the examples away, or load a model that "
            "follows examples, such as HuggingFaceM4/idefics-9b-instruct."
        )
    if len(shots) > MOST:
        raise InputError(f"There are {len(shots)} examples; at most {MOST} can stand before a picture.")
    for number, shot in enumerate(shots, 1):
        if not shot.answer.strip():
            raise InputError(f"Example {number} has no answer; type what the model should have said.")
        if shot.media is not None and shot.media.modality is not Modality.IMAGE:
            raise InputError(f"Example {number}, {shot.media.name}, is no image; choose an image.")
    pictures = [None if shot.media is None else prepare(shot.media) for shot in shots]
    return model.with_examples(prepared, tuple(shots), pictures)
