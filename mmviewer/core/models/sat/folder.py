"""The folder of a Show, Attend and Tell: ``config.json``, ``vocabulary.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mmviewer.core.errors import ModelError
from mmviewer.core.models import files
from mmviewer.core.models.about import read_about
from mmviewer.core.models.builtin import built_in
from mmviewer.core.models.hf import source
from mmviewer.core.models.hf.source import CONFIG, Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.sat.network import ShowAttendTell, Sizes
from mmviewer.core.models.sat.words import SPECIAL, Words
from mmviewer.core.progress import SILENT, Progress

KIND = "show_attend_tell"
VOCABULARY = "vocabulary.json"
_LARGEST = 4096
_MOST_WORDS = 100_000
_LONGEST_WORD = 64


def recognises(spec: str) -> bool:
    """Whether `spec` is a folder or a cached model of this kind; opens no weights."""
    return built_in(spec, KIND) is not None or source.model_type(spec) == KIND


def locate(spec: str, progress: Progress = SILENT) -> Found:
    """Find and check the files."""
    shipped = built_in(spec, KIND)
    if shipped is None:
        return source.locate(spec, (KIND,), progress)
    found = source.locate(str(shipped.present_folder()), (KIND,), progress)
    return replace(found, spec=spec, label=shipped.label)


def identity(found: Found, progress: Progress = SILENT) -> Identity:
    """Label and checksum, and what the folder tells people."""
    about = read_about(found.folder, CONFIG)
    return Identity(found.label, found.spec, found.digest(progress), found.revision, about=about)


def read(found: Found) -> tuple[ShowAttendTell, Words]:
    """Build and fill the network, frozen, in float32 on the CPU.

    Raises
    ------
    ModelError
        Settings that no such network has, a broken vocabulary, or weights of another one.
    """
    import torch
    from safetensors.torch import load_file

    words = _vocabulary(found)
    sizes = _sizes(found, len(words))
    try:
        with torch.device("meta"):  # no memory before the weights are seen to fit
            network = ShowAttendTell(sizes)
        weights = load_file(found.weights[0])
        whole = {name: each.float() if each.is_floating_point() else each for name, each in weights.items()}
        network.load_state_dict(whole, assign=True)
    except MemoryError:
        raise
    except Exception as error:  # files of others may fail anywhere
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:160]
        raise _broken(found, reason) from error
    return network.eval().requires_grad_(False), words


def _sizes(found: Found, words: int) -> Sizes:
    """The sizes in the configuration, checked before anything is built of them."""
    told: Mapping[str, Any] = found.config
    taken: dict[str, Any] = {"words": words}
    for field in fields(Sizes):
        if field.name in taken or field.name not in told:
            continue
        value = told[field.name]
        if field.name == "strides":
            good = isinstance(value, list) and len(value) == 2 and all(_is_size(each) for each in value)
            value = tuple(value) if good else value
        elif field.name == "trunk":
            good = isinstance(value, str) and _is_trunk(value)
        elif field.name == "gated":
            good = isinstance(value, bool)
        else:
            good = _is_size(value)
        if not good:
            raise _broken(found, f"its {field.name} cannot be {str(value)[:60]!r}")
        taken[field.name] = value
    try:
        sizes = Sizes(**taken)
    except TypeError as error:
        raise _broken(found, "its configuration lacks sizes") from error
    if sizes.side % sizes.strides[1] or sizes.strides[1] % sizes.strides[0]:
        raise _broken(found, f"its cells do not divide a picture of {sizes.side} pixels")
    return sizes


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= _LARGEST


def _is_trunk(name: str) -> bool:
    import timm

    return name in timm.list_models("*efficientnet*")


def _vocabulary(found: Found) -> Words:
    listed = files.read_json(found.folder / VOCABULARY).get("words")
    if (
        not isinstance(listed, list)
        or not 0 < len(listed) <= _MOST_WORDS
        or not all(isinstance(word, str) and 0 < len(word) <= _LONGEST_WORD for word in listed)
        or len({*listed, *SPECIAL}) < len(listed) + len(SPECIAL)
    ):
        raise _broken(found, f"its {VOCABULARY} is no list of different words")
    return Words(listed)


def _broken(found: Found, reason: str) -> ModelError:
    return ModelError(f"{found.label} is broken or incomplete ({reason}); get the model's files again.")


def write(target: Path, network: ShowAttendTell, words: Words, told: Mapping[str, Any]) -> None:
    """Write a folder that `read` reads; matrices as float16, vectors as they are.

    Parameters
    ----------
    told : mapping
        What the configuration tells people under "mmviewer"; see `mmviewer.core.models.about`.
    """
    from safetensors.torch import save_file

    target.mkdir(parents=True, exist_ok=True)
    sizes = {name: value for name, value in asdict(network.sizes).items() if name != "words"}
    config = {"model_type": KIND, **sizes, "mmviewer": dict(told)}
    (target / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    listed = {"words": list(words.words[len(SPECIAL) :])}
    (target / VOCABULARY).write_text(json.dumps(listed, indent=0) + "\n", encoding="utf-8")
    state = network.state_dict()
    # The statistics of a batch norm may leave the range of float16.
    small = {name: each.half() if each.ndim >= 2 else each for name, each in state.items()}
    save_file({name: each.contiguous() for name, each in small.items()}, target / source.WEIGHTS)
    (target / source.WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
