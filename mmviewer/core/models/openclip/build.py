"""Building an OpenCLIP model from a checked configuration and loading its weights safely."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from torch import nn

from mmviewer.core.errors import MMViewerError, ModelError, out_of_memory
from mmviewer.core.models.base import Placement
from mmviewer.core.models.openclip import stem
from mmviewer.core.models.openclip.source import Resolved
from mmviewer.core.progress import Progress


def build(resolved: Resolved, progress: Progress) -> nn.Module:
    """Return the model with its weights, on the CPU in float32, frozen, in evaluation mode.

    Raises
    ------
    ModelError
        The configuration cannot be built, or the weights are broken, unsafe or of another model.
    """
    progress.report(0, None, f"building {resolved.label}")
    _check_size(resolved)
    try:
        model = construct(resolved.config, resolved.stem)
    except (MMViewerError, MemoryError):
        raise
    except Exception as error:  # a configuration of others may fail anywhere inside of open_clip or timm
        if out_of_memory(error):
            raise
        raise ModelError(
            f"{resolved.label} cannot be built from its configuration ({_first_line(error)}); "
            "get its files again, or a newer mmviewer."
        ) from error
    progress.report(0, None, f"loading {resolved.weights.name}")
    _load_weights(model, resolved)
    attach_preprocessing(model, resolved.preprocess)
    return model.eval().requires_grad_(False)


def construct(config: dict[str, Any], stem_name: str = "") -> nn.Module:
    """Return an untrained model of the class that open_clip would choose, with a stem if one is named."""
    config = copy.deepcopy(config)
    text, vision = config["text_cfg"], config["vision_cfg"]
    custom = bool(config.pop("custom_text", False)) or "hf_model_name" in text
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    kind = open_clip.CLIP
    if custom:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    model: nn.Module = kind(**config)
    if stem_name:
        stem.attach(model, stem_name)
    return model


def attach_preprocessing(model: Any, preprocess: dict[str, Any]) -> None:
    """Tell the model how its images are prepared; the size is that of its image tower."""
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), preprocess)
    merged["size"] = model.visual.image_size
    open_clip.set_model_preprocess_cfg(model, merged)


def preprocessing(model: nn.Module) -> PreprocessCfg:
    """How images are prepared for a model."""
    return PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))


def transform(config: PreprocessCfg) -> Any:
    """Return open_clip's own evaluation transform: a PIL image to a tensor [3, H, W]."""
    return image_transform_v2(config, is_train=False)


def _check_size(resolved: Resolved) -> None:
    """Refuse a configuration that claims far more attention weights than the file has bytes."""
    size = resolved.weights.stat().st_size
    parts = [part for part in resolved.config.values() if isinstance(part, dict)]
    parameters = sum(_attention_parameters(part) for part in parts)
    if parameters > size:
        raise ModelError(
            f"The configuration of {resolved.label} describes a model of at least {parameters:,} parameters, "
            f"but {resolved.weights.name} has {size:,} bytes; get its files again."
        )


def _attention_parameters(part: dict[str, Any]) -> int:
    layers, width = part.get("layers", 0), part.get("width", 0)
    if part.get("timm_model_name") or part.get("hf_model_name") or not isinstance(layers, int):
        return 0
    return int(4 * layers * width**2 + part.get("vocab_size", 0) * width)


def _load_weights(model: nn.Module, resolved: Resolved) -> None:
    path = resolved.weights
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with a file is said below, in one sentence
            open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except (MMViewerError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(_unpicklable(path, str(error))) from error
    except Exception as error:  # broken files raise anything; each ends as one sentence
        if out_of_memory(error):
            raise
        raise ModelError(_why_not(path, resolved.label, error)) from error


def _unpicklable(path: Path, reason: str) -> str:
    if "Unsupported global" in reason or "blocked" in reason or "GLOBAL" in reason:
        return (
            f"{path} holds more than weights: loading it could run code, so it was not loaded; "
            "get the model as .safetensors."
        )
    return f"{path} is broken or incomplete; get the file again."


def _why_not(path: Path, label: str, error: Exception) -> str:
    reason = str(error)
    if "TorchScript" in reason:
        return f"{path} is a TorchScript archive, which can run code; get the model as .safetensors."
    if "state_dict" in reason or "size mismatch" in reason or isinstance(error, KeyError):
        return f"The weights in {path} do not fit {label}: they are of another architecture; choose that one."
    return f"{path} is broken, incomplete or holds no weights ({_first_line(error)}); get the file again."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def place(module: nn.Module, placement: Placement) -> None:
    """Move a model to its device and dtype; scale and bias of the logits stay in float32."""
    scalars = {
        name: value.detach().clone() for name, value in module.named_parameters() if value.numel() == 1
    }
    module.to(device=placement.device, dtype=placement.dtype)
    for name, value in scalars.items():
        module.get_parameter(name).data = value.to(placement.device)


def describe(config: PreprocessCfg) -> str:
    """One line for provenance: size, resizing, interpolation, mean and deviation."""
    size = config.size if isinstance(config.size, tuple | list) else (config.size, config.size)
    numbers = [", ".join(f"{value:.4g}" for value in values) for values in (config.mean, config.std)]
    return (
        f"{size[0]} × {size[1]} px, {config.resize_mode}, {config.interpolation}, "
        f"mean {numbers[0]}, deviation {numbers[1]}"
    )


def tokenizer(resolved: Resolved) -> Any:
    """Return the model's tokenizer; `ModelError` if its files are missing or broken."""
    try:
        return open_clip.get_tokenizer(resolved.tokenizer, **resolved.tokenizer_options)
    except Exception as error:  # tokenizer files of others may fail anywhere inside of transformers
        raise ModelError(
            f"The tokenizer of {resolved.label} is missing or broken ({_first_line(error)}); "
            "get the model's files again, its tokenizer files included."
        ) from error
