"""From what the user named to a checked configuration and a weights file of an OpenCLIP model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip
import timm

from mmviewer.core.errors import ModelError
from mmviewer.core.models import files, hub
from mmviewer.core.models.about import read_about
from mmviewer.core.models.builtin import built_in
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import ModelAbout

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pt",
    "pytorch_model.bin",
)
FAMILY = "openclip"
_SUFFIXES = frozenset((".safetensors", ".bin", ".pt", ".pth"))
_TOKENIZER_OPTIONS = frozenset(
    ("bpe_path", "clean", "strip_sep_token", "language", "additional_special_tokens", "reduction_mask")
)
_LIMITS = {  # far above any model that exists; they keep a hostile configuration from filling the memory
    "image_size": 8192,
    "patch_size": 1024,
    "layers": 512,
    "width": 32768,
    "heads": 1024,
    "context_length": 131072,
    "vocab_size": 4_000_000,
    "embed_dim": 32768,
    "attn_pooler_queries": 65536,
    "n_queries": 65536,
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Everything needed to build one model, checked.

    Parameters
    ----------
    spec, label, revision : str
        As in `ModelInfo`.
    config : dict
        open_clip's ``model_cfg``.
    preprocess : dict
        open_clip's ``preprocess_cfg``; may be partial.
    weights : Path
        The file to load.
    tokenizer : str
        What `open_clip.get_tokenizer` takes.
    tokenizer_options : dict
        Options of the tokenizer, with absolute paths.
    folder : Path or None
        The model's folder, where it has one.
    notes : tuple of str
        What the user should know.
    """

    spec: str
    label: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    weights: Path
    tokenizer: str
    tokenizer_options: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    revision: str = ""
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the model was made for, from the folder's ``labels.txt``."""
        path = self.folder / "labels.txt" if self.folder is not None else None
        if path is None or not path.is_file() or path.stat().st_size > 2**20:
            return ()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip())

    @property
    def best_layers(self) -> dict[str, int]:
        """Layers that point best by capture point, which a configuration may name for mmviewer."""
        return self._layers("best_layers")

    @property
    def guided_layers(self) -> dict[str, int]:
        """Layers whose attention was trained with boxes, likewise."""
        return self._layers("guided_layers")

    @property
    def stem(self) -> str:
        """The network that embeds the patches instead of open_clip's linear layer; empty for that layer."""
        named = self._own.get("stem")
        return named if isinstance(named, str) else ""

    @property
    def about(self) -> ModelAbout:
        """What the folder tells people of the model."""
        return read_about(self.folder, CONFIG)

    def _layers(self, key: str) -> dict[str, int]:
        named = self._own.get(key)
        if not isinstance(named, dict):
            return {}
        return {str(point): layer for point, layer in named.items() if type(layer) is int}

    @property
    def _own(self) -> dict[str, Any]:
        """What the configuration says to mmviewer alone."""
        if self.folder is None or not (self.folder / CONFIG).is_file():
            return {}
        own = files.read_json(self.folder / CONFIG).get("mmviewer")
        return own if isinstance(own, dict) else {}


def recognises(spec: str) -> bool:
    """Whether `spec` names an OpenCLIP model; opens no weights and no network."""
    if built_in(spec, FAMILY) or spec.startswith(("hf-hub:", "local-dir:")):
        return True
    path = Path(spec).expanduser()
    if path.is_dir():
        return (path / CONFIG).is_file()
    architecture, _, _ = _split_architecture(spec)
    return architecture is not None or path.suffix in _SUFFIXES


def resolve(spec: str, progress: Progress = SILENT) -> Resolved:
    """Find configuration and weights of what `spec` names.

    Raises
    ------
    ModelError
        Nothing there, incomplete, of another kind, or a configuration that must not be trusted.
    """
    shipped = built_in(spec, FAMILY)
    if shipped is not None:
        return _from_folder(shipped.name, shipped.present_folder(), shipped.label)
    if spec.startswith("hf-hub:"):
        return _from_hub(spec, spec.removeprefix("hf-hub:"), progress)
    path = Path(spec.removeprefix("local-dir:")).expanduser()
    architecture, separator, rest = _split_architecture(spec)
    if path.is_dir() or spec.startswith("local-dir:"):
        return _from_folder(spec, path, path.resolve().name)
    if architecture is not None and separator == "=":
        return _from_file(spec, architecture, Path(rest).expanduser())
    if architecture is not None:
        return _from_tag(spec, architecture, rest, progress)
    if path.suffix in _SUFFIXES:
        return _from_lone_file(spec, path)
    raise ModelError(
        f"There is no model {spec!r}; name a folder, ARCHITECTURE/TAG, ARCHITECTURE=FILE or hf-hub:ID."
    )


def _from_folder(spec: str, folder: Path, label: str, weights: Path | None = None) -> Resolved:
    if not folder.is_dir():
        raise ModelError(f"There is no folder {folder}; check its name.")
    whole = files.read_json(folder / CONFIG)
    config = check_config(whole.get("model_cfg"), folder)
    preprocess = whole.get("preprocess_cfg") or {}
    if not isinstance(preprocess, dict):
        raise ModelError(f"{folder / CONFIG} has a broken preprocess_cfg; get the model's files again.")
    resolved = Resolved(
        spec=spec,
        label=label,
        config=config,
        preprocess=preprocess,
        weights=weights or _weights_in(folder),
        tokenizer=f"local-dir:{folder.resolve()}",
        tokenizer_options=_tokenizer_options(config, folder),
        folder=folder,
        revision=hub.revision_of(folder / CONFIG),
    )
    return replace(resolved, notes=_stem_notes(resolved.stem))


def _stem_notes(stem: str) -> tuple[str, ...]:
    if not stem:
        return ()
    return (
        f"Each patch is embedded by {stem}, a convolutional network that also sees what lies around it: "
        "attention to a patch is attention to its surroundings too.",
    )


def _from_hub(spec: str, repo: str, progress: Progress) -> Resolved:
    repo = repo.split("@")[0]
    config = hub.fetch(repo, (CONFIG,), progress)
    weights = hub.fetch(repo, WEIGHTS, progress)
    return _from_folder(spec, config.parent, repo, weights)


def _from_file(spec: str, architecture: str, path: Path) -> Resolved:
    if not path.is_file():
        raise ModelError(f"There is no file {path}; check its name.")
    _check_suffix(path)
    config = open_clip.get_model_config(architecture)
    notes = (
        "A single weights file does not say how images were prepared: CLIP's mean, deviation and resizing "
        "are used.",
    )
    folder = path.parent
    own_tokenizer = (folder / "tokenizer.json").is_file() and bool(
        config["text_cfg"].get("hf_tokenizer_name")
    )
    if own_tokenizer:
        config["text_cfg"]["hf_tokenizer_name"] = str(folder.resolve())
    return Resolved(
        spec, f"{architecture} ({path.name})", config, {}, path, architecture, {}, None, "", notes
    )


def _from_tag(spec: str, architecture: str, tag: str, progress: Progress) -> Resolved:
    entry = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    if not entry:
        known = ", ".join(open_clip.pretrained.list_pretrained_tags_by_model(architecture)) or "none"
        raise ModelError(
            f"{architecture} has no weights called {tag!r}; known are: {known}. "
            f"For a file of your own name {architecture}=FILE."
        )
    config = open_clip.get_model_config(architecture)
    if entry.get("quick_gelu"):
        config["quick_gelu"] = True
    weights = _tagged_weights(architecture, tag, entry, progress)
    return Resolved(
        spec=spec,
        label=f"{architecture} {tag}",
        config=config,
        preprocess={key: value for key, value in entry.items() if value is not None},
        weights=weights,
        tokenizer=architecture,
        revision=hub.revision_of(weights) or tag,
    )


def _tagged_weights(architecture: str, tag: str, entry: Mapping[str, Any], progress: Progress) -> Path:
    location = str(entry.get("hf_hub") or "")
    if location:
        repo, _, name = location.rpartition("/")
        safe = Path(name).with_suffix(".safetensors").name if name else ""
        return hub.fetch(repo, tuple(filter(None, (safe, name))) or WEIGHTS, progress)
    cached = Path("~/.cache/clip").expanduser() / Path(str(entry["url"])).name
    if cached.is_file():
        return cached
    if not hub.online():
        raise ModelError(
            f"The weights of {architecture} {tag} are not on this machine; download {entry['url']} "
            f"and load {architecture}=FILE, or set {hub.ONLINE_VARIABLE}=1."
        )
    progress.report(0, None, f"downloading {architecture} {tag}")
    return Path(open_clip.download_pretrained(dict(entry)))


def _from_lone_file(spec: str, path: Path) -> Resolved:
    if not path.is_file():
        raise ModelError(f"There is no file {path}; check its name.")
    if not (path.parent / CONFIG).is_file():
        raise ModelError(
            f"{path} does not say which architecture it holds; load it as ARCHITECTURE={path.name} "
            f"(“mmviewer models” lists them) or put {CONFIG} beside it."
        )
    return _from_folder(spec, path.parent, path.stem, path)


def _weights_in(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if len(others) == 1:
        return others[0]
    if others:
        raise ModelError(f"{folder} holds several weights files; load one of them by its own name.")
    raise ModelError(
        f"{folder} has a configuration but no weights ({WEIGHTS[0]}), so it is incomplete; "
        "get its files again."
    )


def check_config(config: object, folder: Path) -> dict[str, Any]:
    """Return a model configuration that is safe to build; `ModelError` for one that is not.

    Sizes are bounded, towers are named by plain names (no paths, no hub ids for timm), and tokenizer options
    are those that run no code of others.
    """
    where = folder / CONFIG
    if not isinstance(config, dict) or not all(
        isinstance(config.get(tower), dict) for tower in ("vision_cfg", "text_cfg")
    ):
        raise ModelError(
            f"{where} describes no OpenCLIP model (model_cfg is missing); choose another folder."
        )
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        _check_sizes(part, where)
    timm_name = config["vision_cfg"].get("timm_model_name")
    if timm_name is not None and not (isinstance(timm_name, str) and timm.is_model(timm_name)):
        raise ModelError(f"{where} names the image tower {timm_name!r}, which this timm does not have.")
    for key in ("hf_model_name", "hf_tokenizer_name"):
        name = config["text_cfg"].get(key)
        if name is not None and not _is_hub_id(name):
            raise ModelError(f"{where} names {str(name)[:200]!r} as {key}, which is no hub id.")
    return config


def _check_sizes(part: Mapping[str, Any], where: Path) -> None:
    for key, limit in _LIMITS.items():
        values = part.get(key)
        for value in values if isinstance(values, list | tuple) else [values]:
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= limit):
                raise ModelError(
                    f"{where} has an impossible {key} ({str(value)[:50]}); get the model's files again."
                )


def _tokenizer_options(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    options = config["text_cfg"].get("tokenizer_kwargs") or {}
    unknown = sorted(set(options) - _TOKENIZER_OPTIONS) if isinstance(options, dict) else ["tokenizer_kwargs"]
    if unknown:
        names = ", ".join(map(str, unknown))[:200]
        raise ModelError(
            f"{folder / CONFIG} sets tokenizer options that could run code of others ({names}); "
            "do not use this model unless you trust it and correct the file."
        )
    options = dict(options)
    if "bpe_path" in options:
        vocabulary = files.inside(folder, options["bpe_path"])
        if not vocabulary.is_file():
            raise ModelError(f"{folder} lacks its vocabulary {vocabulary.name}; get the model's files again.")
        options["bpe_path"] = str(vocabulary.resolve())
    if config["text_cfg"].get("hf_tokenizer_name"):
        options["trust_remote_code"] = False
    return options


def _is_hub_id(name: object) -> bool:
    if not isinstance(name, str) or name.count("/") > 1:
        return False
    return all(
        part and part.strip(".") and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        for part in name.split("/")
    )


def _split_architecture(spec: str) -> tuple[str | None, str, str]:
    """Split ARCHITECTURE, separator and the rest; None where no known architecture leads."""
    known = set(open_clip.list_models())
    for separator in "=:/":
        head, found, rest = spec.partition(separator)
        if head in known:
            return head, found, rest
    return None, "", ""


def _check_suffix(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise ModelError(
            f"{path} is no weights file; choose one that ends in {', '.join(sorted(_SUFFIXES))}."
        )
