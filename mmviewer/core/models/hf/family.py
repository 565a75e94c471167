"""A family of transformers models: recognised by the kind that its configuration names."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from mmviewer.core.models.base import Family, LoadedModel, ModelSource, Placement
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf import source
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import QuestionForm


class HfFamily(Family):
    """Finds a model's files; a subclass builds it in `open` and a random one in `tiny`.

    Attributes
    ----------
    types : frozenset of str
        What ``model_type`` may be.
    names : tuple of str
        Parts of hub ids, in lower case, by which a model that is not on this machine is told.
    """

    types: frozenset[str]
    names: tuple[str, ...] = ()

    def recognises(self, source_: ModelSource) -> bool:
        """Whether it is a folder or cached model of these types, or a hub id named alike."""
        return source.recognises(source_.spec, self.types, self.names)

    def load(self, source_: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Find, check and load a model; no code of others is run."""
        found = source.locate(source_.spec, self.types, progress)
        progress.report(0, None, f"loading {found.label}")
        with memory_errors(placement.device, f"Loading {found.label}"):
            return self.open(found, placement, progress)

    @abstractmethod
    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Build the model whose files were found; imports what it needs of transformers."""


def asked(identity: Identity, form: QuestionForm) -> Identity:
    """Add how questions are put to a model, where its folder says nothing of it."""
    if identity.about.questions is not None:
        return identity
    return replace(identity, about=replace(identity.about, questions=form))
