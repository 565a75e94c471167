"""Loading a model by what the user named, and listing those that are here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmviewer import paths
from mmviewer.core.errors import ModelError
from mmviewer.core.models import hub
from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource
from mmviewer.core.models.device import choose_placement
from mmviewer.core.progress import SILENT, Progress


def load_model(
    spec: str = "starter", device: str = "auto", dtype: str = "auto", progress: Progress = SILENT
) -> LoadedModel:
    """Load a model.

    Parameters
    ----------
    spec : str
        "starter", a folder, "ARCHITECTURE/TAG" or "ARCHITECTURE=FILE" of open_clip, "hf-hub:ORG/NAME", or a
        hub id of a speech model ("openai/whisper-tiny").
    device, dtype : str
        See `choose_placement`.
    progress : Progress

    Raises
    ------
    ModelError
        No such model, or it is incomplete, unsafe or of an unknown kind.
    DeviceError
        The named device is missing, or memory ran out.
    """
    if not spec.strip():
        raise ModelError("No model was named; name “starter”, a folder or an id of the hub.")
    source = ModelSource(spec.strip())
    family = find_family(source)
    placement = choose_placement(device, dtype)
    hub.prepare()
    return family.load(source, placement, progress)


def find_family(source: ModelSource) -> Family:
    """Return the first family that recognises `source`, or raise a `ModelError` that says what is known."""
    for family in FAMILIES:
        if family.recognises(source):
            return family
    known = ", ".join(family.label for family in FAMILIES)
    path = Path(source.spec).expanduser()
    if path.is_dir():
        raise ModelError(
            f"{path} holds no model of a kind that mmviewer knows ({known}); choose another folder."
        )
    raise ModelError(
        f"There is no model {source.spec[:200]!r}; name “starter”, a folder, ARCHITECTURE/TAG, "
        f"ARCHITECTURE=FILE, or an id of the hub (known kinds: {known})."
    )


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be loaded now; `source` is what `load_model` takes."""

    source: str
    label: str
    family: str
    size_bytes: int


def list_models() -> tuple[ListedModel, ...]:
    """Models that are here, with no network: the starter, the user's models folder and the hub's cache."""
    return tuple(_listing(spec, label, family) for spec, label, family in _present())


def _present() -> Iterator[tuple[str, str, Family]]:
    if paths.starter_model().is_dir():
        yield "starter", "Starter CoCa", FAMILIES.get("openclip")
    for folder in sorted(path for path in paths.models_dir().iterdir() if path.is_dir()):
        family = _family_of(str(folder))
        if family is not None:
            yield str(folder), folder.name, family
    for repo, folder in hub.cached_folders():
        family = _family_of(str(folder))
        if family is not None:
            yield str(folder), repo, family


def _family_of(spec: str) -> Family | None:
    return next((family for family in FAMILIES if family.recognises(ModelSource(spec))), None)


def _listing(spec: str, label: str, family: Family) -> ListedModel:
    folder = paths.starter_model() if spec == "starter" else Path(spec)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return ListedModel(spec, label, family.label, size)
