"""Building Whisper models: from a folder, or a tiny random one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from mmviewer.core.errors import ModelError, out_of_memory
from mmviewer.core.models import files
from mmviewer.core.models.base import Placement
from mmviewer.core.types import CapturePoint, PointRole

_TINY: dict[str, Any] = {
    "vocab_size": 260,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_mel_bins": 16,
    "max_source_positions": 50,
    "max_target_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}
_SIZES = (
    "vocab_size",
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "max_source_positions",
    "max_target_positions",
)
_LIMITS = {"chunk_length": 120, "n_fft": 65_536, "feature_size": 1024, "hop_length": 16_000}
_TINY_SPECIAL = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<end>", "cls_token": "<start>"}


def weights_file(folder: Path) -> Path:
    """The weights of a model folder; `ModelError` where there are none in the safe form."""
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    raise ModelError(
        f"{folder} has a configuration but no model.safetensors, so it is incomplete or holds its weights in "
        "a form that could run code; get the model again."
    )


def load_parts(folder: Path, label: str, placement: Placement) -> tuple[nn.Module, Any, Any]:
    """Model (frozen, placed), feature extractor and tokenizer of a folder; no code of others is run."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{label} lacks its tokenizer (tokenizer.json); get the model's files again.")
    _check_sizes(folder, label)
    try:
        module, report = WhisperForConditionalGeneration.from_pretrained(
            folder,
            dtype=placement.dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # files of others may fail anywhere inside of transformers
        if out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{label} is broken or incomplete ({reason}); get the model's files again."
        ) from error
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ModelError(f"The weights of {label} do not fit its configuration; get the model's files again.")
    _check_settings(module, extractor, label)
    return module.eval().requires_grad_(False).to(placement.device), extractor, tokenizer


def _check_sizes(folder: Path, label: str) -> None:
    """Refuse settings that would fill the memory: more weights than the file has bytes, endless windows."""
    config = files.read_json(folder / "config.json")
    extractor = files.read_json(folder / "preprocessor_config.json")
    sizes = {key: config.get(key, 0) for key in _SIZES} | {key: extractor.get(key, 1) for key in _LIMITS}
    for key, size in sizes.items():
        if not isinstance(size, int) or not 0 <= size <= _LIMITS.get(key, 10**7):
            raise ModelError(
                f"{label} has an impossible {key} ({str(size)[:50]}); get the model's files again."
            )
    layers = sizes["encoder_layers"] + 2 * sizes["decoder_layers"]
    rows = sizes["vocab_size"] + sizes["max_source_positions"] + sizes["max_target_positions"]
    parameters = (4 * layers * sizes["d_model"] + rows) * sizes["d_model"]
    if parameters > weights_file(folder).stat().st_size:
        raise ModelError(
            f"The configuration of {label} describes a model of at least {parameters:,} parameters, "
            "more than its weights file holds; get the model's files again."
        )


def _check_settings(module: Any, extractor: Any, label: str) -> None:
    frames = extractor.chunk_length * extractor.sampling_rate // extractor.hop_length
    fits = frames == 2 * module.config.max_source_positions and extractor.sampling_rate == 16_000
    settings = module.generation_config
    if not fits or settings.decoder_start_token_id is None or not isinstance(settings.eos_token_id, int):
        raise ModelError(
            f"The settings of {label} (preprocessor_config.json, generation_config.json) do not fit its "
            "weights; get the model's files again."
        )


def tiny_parts() -> tuple[nn.Module, Any, Any]:
    """A random model of windows of one second, its feature extractor and a tokenizer of single bytes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = WhisperForConditionalGeneration(WhisperConfig(**_TINY))
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.15)  # so that maps are not even
    extractor = WhisperFeatureExtractor(feature_size=_TINY["num_mel_bins"], chunk_length=1)
    return module.eval().requires_grad_(False), extractor, _tiny_tokenizer()


def find_points(config: Any, generation: Any) -> tuple[CapturePoint, ...]:
    """The capture points of a Whisper model.

    Its makers name the heads of cross-attention that follow the sound in time; the layer with most of them
    is the best one.
    """
    encoder = [f"model.encoder.layers.{layer}.self_attn" for layer in range(config.encoder_layers)]
    decoder = [f"model.decoder.layers.{layer}.self_attn" for layer in range(config.decoder_layers)]
    cross = [f"model.decoder.layers.{layer}.encoder_attn" for layer in range(config.decoder_layers)]
    heads = config.decoder_attention_heads
    return (
        CapturePoint(
            "encoder.self",
            PointRole.ENCODER_SELF,
            "sound encoder self-attention",
            len(encoder),
            config.encoder_attention_heads,
            "sound frames",
            "sound frames",
            tuple(encoder),
        ),
        CapturePoint(
            "decoder.self",
            PointRole.DECODER_SELF,
            "decoder self-attention",
            len(decoder),
            heads,
            "text tokens",
            "text tokens",
            tuple(decoder),
        ),
        CapturePoint(
            "decoder.cross",
            PointRole.CROSS,
            "decoder cross-attention",
            len(cross),
            heads,
            "text tokens",
            "sound frames",
            tuple(cross),
            _most_aligned(getattr(generation, "alignment_heads", None), len(cross)),
        ),
    )


def _most_aligned(heads: Any, layers: int) -> int | None:
    """The layer with most of the alignment heads, each a pair of layer and head."""
    if not isinstance(heads, list | tuple):
        return None
    named = [pair[0] for pair in heads if isinstance(pair, list | tuple) and pair]
    counted = Counter(layer for layer in named if type(layer) is int and 0 <= layer < layers)
    return counted.most_common(1)[0][0] if counted else None


def _tiny_tokenizer() -> Any:
    names = [*_TINY_SPECIAL.values(), *bytes_to_unicode().values()]
    tokenizer = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_TINY_SPECIAL)
