"""Loading a model by what the user named, and listing those that are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mmviewer import paths
from mmviewer.core.errors import DeviceError, ModelError, out_of_memory
from mmviewer.core.hub import cache
from mmviewer.core.hub.plan import split_spec
from mmviewer.core.models import files, hub, preflight
from mmviewer.core.models.base import FAMILIES, Family, LoadedModel, ModelSource
from mmviewer.core.models.builtin import BUILT_IN
from mmviewer.core.models.hf.source import is_hub_id
from mmviewer.core.progress import SILENT, Progress


def load_model(
    spec: str = "starter",
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress = SILENT,
    aloud: Callable[[str], None] | None = None,
) -> LoadedModel:
    """Load a model; where memory is short, in a smaller way, as far as the user left device and format open.

    Parameters
    ----------
    spec : str
        "starter", "starter-photo", a folder, "ARCHITECTURE/TAG" or "ARCHITECTURE=FILE" of open_clip,
        "hf-hub:ORG/NAME", or the hub id of a model of transformers ("openai/whisper-tiny").
    device, dtype : str
        See `choose_placement`.
    progress : Progress
    aloud : callable, optional
        Told in a sentence when the model is loaded in a smaller way than it would be by itself.

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
    if dtype in ("int8", "int4") and not family.quantises:
        raise DeviceError(
            f"Models of the kind {family.label} are not kept in few bits, which is for large language models "
            "that read pictures; choose auto, float32, bfloat16 or float16."
        )
    hub.prepare()
    preflight.check_safe(source.spec)
    progress.report(0, None, "looking whether it fits")
    ways = preflight.plans(source.spec, device, dtype, spreads=family.spreads)
    for number, way in enumerate(ways):
        if way.words and aloud is not None:
            aloud(way.words)
        try:
            model = family.load(source, way.placement, progress)
        except (MemoryError, RuntimeError, DeviceError) as error:
            if not out_of_memory(error) or number == len(ways) - 1:
                raise
            continue
        if way.words:
            model.info = replace(model.info, notes=(*model.info.notes, way.words))
        return model
    raise AssertionError("there is always a last way")


def find_family(source: ModelSource) -> Family:
    """Return the first family that recognises `source`, or raise a `ModelError` that says what is known."""
    path = Path(source.spec).expanduser()
    try:
        family = recognising(source)
        if family is not None:
            return family
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:  # longer than a name may be, a null byte, a closed folder
        raise ModelError(
            f"{source.spec[:200]!r} cannot be opened as a model; name a folder that you may read, "
            "or an id of the hub."
        ) from error
    if is_hub_id(source.spec):
        raise ModelError(
            f"{source.spec} is not on this machine, and its name does not tell what kind of model it is; "
            f"download it first (mmviewer models download {source.spec})."
        )
    known = ", ".join(family.label for family in FAMILIES)
    _check_code(path if is_folder else None, source.spec)
    if is_folder:
        raise ModelError(
            f"{path} holds no model of a kind that mmviewer knows ({known}); choose another folder."
        )
    raise ModelError(
        f"There is no model {source.spec[:200]!r}; name “starter”, a folder, ARCHITECTURE/TAG, "
        f"ARCHITECTURE=FILE, or an id of the hub (known kinds: {known})."
    )


def _check_code(folder: Path | None, spec: str) -> None:
    """Say so where a model that no family knows would need Python code of its own."""
    try:
        folder = folder or cache.snapshot(split_spec(spec)[0])
        config = files.read_json(folder / "config.json") if folder is not None else {}
    except ModelError:
        return
    if config.get("auto_map"):
        raise ModelError(
            f"{spec[:200]} runs only with Python code that comes with it (auto_map in its config.json); "
            "mmviewer runs no code of models: look for a copy that transformers loads by itself."
        )


def recognising(source: ModelSource) -> Family | None:
    """The family that loads `source`, the special ones asked first, or None."""
    families = sorted(FAMILIES, key=lambda family: not family.special)
    return next((family for family in families if family.recognises(source)), None)


def known_kinds() -> frozenset[str]:
    """What can be loaded: each family's key, or the ``model_type`` of the transformers models it opens."""
    return frozenset(kind for family in FAMILIES for kind in getattr(family, "types", (family.key,)))


def spec_of_cached(repo: str, folder: Path) -> str:
    """What loads a model of the hub's cache; empty where no family knows it."""
    family = _family_of(str(folder))
    return "" if family is None else _hub_spec(repo, folder, family)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be loaded now; `source` is what `load_model` takes."""

    source: str
    label: str
    family: str
    size_bytes: int


def list_models() -> tuple[ListedModel, ...]:
    """Models that are here, with no network: shipped ones, the user's models folder and the hub's cache."""
    return tuple(
        ListedModel(spec, label, family.label, _size(folder)) for spec, label, folder, family in _present()
    )


def _present() -> Iterator[tuple[str, str, Path, Family]]:
    """Spec, label, folder and family of each model."""
    for model in BUILT_IN.values():
        family = _family_of(model.name) if model.folder.is_dir() else None
        if family is not None:
            yield model.name, model.label, model.folder, family
    for folder in sorted(path for path in paths.models_dir().iterdir() if path.is_dir()):
        family = _family_of(str(folder))
        if family is not None:
            yield str(folder), folder.name, folder, family
    for repo, folder in hub.cached_folders():
        family = _family_of(str(folder))
        if family is not None:
            yield _hub_spec(repo, folder, family), repo, folder, family


def _family_of(spec: str) -> Family | None:
    return recognising(ModelSource(spec))


def _hub_spec(repo: str, folder: Path, family: Family) -> str:
    """The shortest spec of a cached model that its family recognises; a folder's name is a commit."""
    specs = (f"hf-hub:{repo}", repo)
    return next((spec for spec in specs if _family_of(spec) is family), str(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
