"""Show, Attend and Tell: a convolutional encoder with an LSTM that looks at one place after the other."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource, Placement
from mmviewer.core.models.device import memory_errors
from mmviewer.core.progress import SILENT, Progress


class ShowAttendTellFamily(Family):
    """Loads folders that mmviewer's own recipe writes; see `mmviewer.core.models.sat`."""

    key = "show_attend_tell"
    label = "Show, Attend and Tell"

    def recognises(self, source: ModelSource) -> bool:
        """Whether it is a folder or cached model whose configuration names this kind."""
        from mmviewer.core.models.sat import folder

        return folder.recognises(source.spec)

    def load(self, source: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Load configuration, vocabulary and weights of a folder."""
        from mmviewer.core.models.sat import folder
        from mmviewer.core.models.sat.model import SatModel

        found = folder.locate(source.spec, progress)
        progress.report(0, None, f"loading {found.label}")
        with memory_errors(placement.device, f"Loading {found.label}"):
            network, words = folder.read(found)
            network = network.to(placement.device, placement.dtype)
        return SatModel(self.key, network, words, placement, folder.identity(found, progress))

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a hundred thousand weights, with or without the gate beta."""
        from mmviewer.core.models.sat.tiny import tiny_model

        return tiny_model(self.key, gated=variant != "ungated")

    def tiny_variants(self) -> tuple[str, ...]:
        """With the paper's gate beta, and without."""
        return ("", "ungated")


FAMILIES.add(ShowAttendTellFamily.key)(ShowAttendTellFamily())
