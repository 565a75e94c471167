"""The models that come with mmviewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmviewer import paths
from mmviewer.core.errors import ModelError


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A model in the resources.

    `name` is what it is loaded by, `label` what people call it; `family` is the key of the family whose form
    its folder has.
    """

    name: str
    label: str
    folder_name: str
    family: str = "openclip"

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return paths.shipped_models() / self.folder_name

    def present_folder(self) -> Path:
        """Return the folder, or raise `ModelError` where it was not installed."""
        if not self.folder.is_dir():
            raise ModelError(
                f"{self.label} is missing from {self.folder}; install mmviewer again or load another model."
            )
        return self.folder


STARTER, PHOTO_MODEL, ATTEND = "starter", "starter-photo", "starter-sat"

BUILT_IN = {
    model.name: model
    for model in (
        BuiltIn(STARTER, "Starter CoCa", "starter-coca"),
        BuiltIn(PHOTO_MODEL, "Starter for photographs", "starter-photo"),
        BuiltIn(ATTEND, "Show, Attend and Tell", "starter-sat", "show_attend_tell"),
    )
}


def built_in(spec: str, family: str) -> BuiltIn | None:
    """The model of a family that comes under the name `spec`, or None."""
    model = BUILT_IN.get(spec)
    return model if model is not None and model.family == family else None
