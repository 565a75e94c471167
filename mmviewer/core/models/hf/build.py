"""Loading transformers models and their processors from checked folders, and tiny random ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from mmviewer.core.errors import MMViewerError, ModelError, out_of_memory
from mmviewer.core.models.about import read_about
from mmviewer.core.models.base import Placement
from mmviewer.core.models.hf.source import CONFIG, Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import SILENT, Progress

_LARGEST = 10**7
_MOST_LAYERS = 1024
_NO_SIZES = ("token_id", "index", "theta")
_SEEING = (
    "vision_tower",
    "vision_model",
    "visual",
    "perceiver_resampler",
    "multi_modal_projector",
    "image_to_text_projection",
    "connector",
    "lm_head",
)
_PACKS = "support_avx512bf16_for_cpu"  # whether bitsandbytes packs a layer's 4-bit weights anew
_DEPTHS = ("layer", "depth", "num_block")
CPU = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")


def load_module(class_name: str, found: Found, placement: Placement, *, exact_scalars: bool = False) -> Any:
    """Build and fill ``transformers.<class_name>``, frozen, in evaluation mode, on its device.

    Parameters
    ----------
    exact_scalars : bool
        Keep parameters of a single number (the scale of logits) in float32 whatever the placement says.

    Raises
    ------
    ModelError
        Settings that no model has, or weights that are broken or of another model; a sentence with a remedy.
    """
    check_settings(found)
    transformers.logging.set_verbosity_error()  # it warns of settings that its own defaults bring
    with broken_files(found):
        module, report = getattr(transformers, class_name).from_pretrained(
            found.folder,
            dtype=torch.float32 if exact_scalars else placement.dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **_spread(placement),
            **_quantised(placement),
        )
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ModelError(
            f"The weights of {found.label} do not fit its configuration; get the model's files again."
        )
    module.eval().requires_grad_(False)
    if placement.bits:
        _keep_differentiable(module)
    if exact_scalars:
        _cast(module, placement.dtype)
    return module if placement.room is not None or placement.bits else module.to(placement.device)


def _spread(placement: Placement) -> dict[str, Any]:
    """How accelerate shares the layers out, where the device may not hold them all."""
    if placement.room is None:
        return {}
    kind = placement.device.type
    main: str | int = kind if kind in ("cpu", "mps") else placement.device.index or 0
    elsewhere = {} if kind == "cpu" else {"cpu": psutil.virtual_memory().available}
    return {"device_map": "sequential", "max_memory": {main: placement.room, **elsewhere}}


def _quantised(placement: Placement) -> dict[str, Any]:
    """How bitsandbytes keeps the weights of the language model, where few bits are wanted.

    The way from the picture to the words stays as it is: it is small, and maps lead through it.
    """
    if not placement.bits:
        return {}
    four = placement.bits == 4
    config = transformers.BitsAndBytesConfig(
        load_in_8bit=not four,
        load_in_4bit=four,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=placement.dtype,
        llm_int8_skip_modules=[rf"(?:.*\.)?{name}" for name in _SEEING],  # wherever the names stand
    )
    spread = {} if placement.room is not None else {"device_map": {"": placement.device}}
    return {"quantization_config": config, **spread}


def _keep_differentiable(module: nn.Module) -> None:
    """Keep 4-bit weights in the layout that gradients pass through.

    On processors with AVX512-BF16 bitsandbytes packs them anew at the first pass without gradients; from then
    on nothing flows back through them, and widths under a block of 64 fail.
    """
    for each in module.modules():
        if hasattr(each, _PACKS):
            setattr(each, _PACKS, False)


def load_processor(kind: str, found: Found, subfolder: str = "") -> Any:
    """Load a part that prepares inputs: ``transformers.<kind>`` ("AutoTokenizer", "AutoImageProcessor")."""
    with broken_files(found):
        return getattr(transformers, kind).from_pretrained(
            found.folder, subfolder=subfolder, local_files_only=True, trust_remote_code=False
        )


def identity_of(found: Found, progress: Progress = SILENT) -> Identity:
    """Label, revision and checksum of a model, and what its folder tells of it."""
    about = read_about(found.folder, CONFIG)
    return Identity(found.label, found.spec, found.digest(progress), found.revision, about=about)


def check_settings(found: Found) -> None:
    """Refuse a configuration that would fill the memory before its weights are seen not to fit."""
    for name, value in _numbers(found.config, ""):
        limit = _MOST_LAYERS if any(word in name for word in _DEPTHS) else _LARGEST
        if not any(word in name for word in _NO_SIZES) and abs(value) > limit:
            raise ModelError(
                f"{found.label} has an impossible {name} ({str(value)[:50]}); get the model's files again."
            )
    for part in (found.config, *(each for each in found.config.values() if isinstance(each, dict))):
        width, layers = part.get("hidden_size", 0), part.get("num_hidden_layers", 0)
        if not isinstance(width, int) or not isinstance(layers, int):
            continue
        vocabulary = part.get("vocab_size", 0)
        rows = vocabulary if isinstance(vocabulary, int) else 0
        if (2 * layers * width + rows) * width > 4 * found.size:
            raise ModelError(
                f"The configuration of {found.label} describes a larger model than its weights file holds; "
                "get the model's files again."
            )


@contextlib.contextmanager
def broken_files(found: Found) -> Iterator[None]:
    """Turn whatever files of others raise inside of transformers into one sentence."""
    try:
        yield
    except (MMViewerError, MemoryError):
        raise
    except Exception as error:  # files of others may fail anywhere
        if out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{found.label} is broken or incomplete ({reason}); get the model's files again."
        ) from error


def random_module(class_name: str, config: Any, seed: int = 0) -> Any:
    """A random model of a configuration, frozen, whose maps are not even; for tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module = getattr(transformers, class_name)(config)
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.15)
    return module.eval().requires_grad_(False)


SPECIAL = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "sep_token": "<sep>",
    "cls_token": "<cls>",
}
"""Special tokens of `byte_tokenizer`, their ids counted from 0."""
VOCABULARY = 256 + 16
"""Size of its vocabulary, with room for more special tokens."""


def byte_tokenizer(
    begin: str = "", end: str = "", more: tuple[str, ...] = (), length: int = 512, **options: Any
) -> Any:
    """A tokenizer of single bytes for tests; `begin` and `end` are tokens put around every text."""
    names = [*SPECIAL.values(), *more]
    table = {name: index for index, name in enumerate([*names, *bytes_to_unicode().values()])}
    tokenizer = Tokenizer(models.BPE(vocab=table, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    around = [name for name in (begin, end) if name]
    if around:
        template = " ".join(filter(None, (begin, "$A", end)))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(name, table[name]) for name in around]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=list(more),
        model_max_length=length,
        **SPECIAL,
        **options,
    )


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    scalars = {name: value.clone() for name, value in module.named_parameters() if value.numel() == 1}
    module.to(dtype)
    for name, value in scalars.items():
        module.get_parameter(name).data = value


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """Every whole number of a configuration with the name of its key."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in ("label2id", "id2label"):
                yield from _numbers(each, str(key)[:60])
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value
