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
    path = Path(source.spec).expanduser()
    try:
        for family in FAMILIES:
            if family.recognises(source):
                return family
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:  # longer than a name may be, a null byte, a closed folder
        raise ModelError(
            f"{source.spec[:200]!r} cannot be opened as a model; name a folder that you may read, "
            "or an id of the hub."
        ) from error
    known = ", ".join(family.label for family in FAMILIES)
    if is_folder:
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
    return tuple(
        ListedModel(spec, label, family.label, _size(folder)) for spec, label, folder, family in _present()
    )


def _present() -> Iterator[tuple[str, str, Path, Family]]:
    """Spec, label, folder and family of each model."""
    starter = paths.starter_model()
    if starter.is_dir():
        yield "starter", "Starter CoCa", starter, FAMILIES.get("openclip")
    for folder in sorted(path for path in paths.models_dir().iterdir() if path.is_dir()):
        family = _family_of(str(folder))
        if family is not None:
            yield str(folder), folder.name, folder, family
    for repo, folder in hub.cached_folders():
        family = _family_of(str(folder))
        if family is not None:
            yield _hub_spec(repo, folder, family), repo, folder, family


def _family_of(spec: str) -> Family | None:
    return next((family for family in FAMILIES if family.recognises(ModelSource(spec))), None)


def _hub_spec(repo: str, folder: Path, family: Family) -> str:
    """The shortest spec of a cached model that its family recognises; a folder's name is a commit."""
    specs = (f"hf-hub:{repo}", repo)
    return next((spec for spec in specs if _family_of(spec) is family), str(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
