"""Building Whisper models: from a folder, or a tiny random one."""

from __future__ import annotations

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

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import Placement
from mmviewer.core.models.device import out_of_memory
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
    return module.eval().requires_grad_(False).to(placement.device), extractor, tokenizer


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


def find_points(config: Any) -> tuple[CapturePoint, ...]:
    """The capture points of a Whisper model."""
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
        ),
    )


def _tiny_tokenizer() -> Any:
    names = [*_TINY_SPECIAL.values(), *bytes_to_unicode().values()]
    tokenizer = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_TINY_SPECIAL)
