"""Recorded weights against what the libraries themselves give, on tiny models of their own classes."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import AttentionRecorder
from mmviewer.core.models.base import FAMILIES

TOLERANCE = {"atol": 1e-5, "rtol": 0}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
}
WHISPER = {
    "vocab_size": 64,
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
}
LLAMA = TEXT | {"num_key_value_heads": 2, "max_position_embeddings": 64}


def prepared(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.15)
    return model.eval().requires_grad_(False)


def record(model: nn.Module, names: list[str], run) -> tuple[object, list[Tensor]]:
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), AttentionRecorder({n: model.get_submodule(n) for n in names}, seen.__setitem__):
        output = run()
    return output, [seen[name] for name in names]


def assert_same(recorded: list[Tensor], expected) -> None:
    assert len(recorded) == len(expected)
    for ours, theirs in zip(recorded, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_clip_of_transformers():
    config = transformers.CLIPConfig(
        text_config=TEXT | {"eos_token_id": 2}, vision_config=VISION, projection_dim=24
    )
    model = prepared(transformers.CLIPModel(config))
    inputs = {
        "pixel_values": torch.randn(2, 3, 32, 32),
        "input_ids": torch.tensor([[5, 6, 7, 2], [8, 9, 2, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    }
    vision = [f"vision_model.encoder.layers.{layer}.self_attn" for layer in range(2)]
    text = [f"text_model.encoder.layers.{layer}.self_attn" for layer in range(2)]
    plain = model(**inputs).logits_per_image
    output, recorded = record(model, vision + text, lambda: model(**inputs))
    torch.testing.assert_close(output.logits_per_image, plain, **TOLERANCE)
    model.set_attn_implementation("eager")
    eager = model(**inputs, output_attentions=True)
    assert_same(recorded[:2], eager.vision_model_output.attentions)
    assert_same(recorded[2:], eager.text_model_output.attentions)


def test_whisper_of_transformers():
    model = prepared(transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER)))
    inputs = {"input_features": torch.randn(1, 16, 100), "decoder_input_ids": torch.tensor([[3, 9, 8, 7]])}
    encoder = [f"model.encoder.layers.{layer}.self_attn" for layer in range(2)]
    decoder = [f"model.decoder.layers.{layer}.self_attn" for layer in range(2)]
    cross = [f"model.decoder.layers.{layer}.encoder_attn" for layer in range(2)]
    plain = model(**inputs).logits
    output, recorded = record(model, encoder + decoder + cross, lambda: model(**inputs))
    torch.testing.assert_close(output.logits, plain, **TOLERANCE)
    model.set_attn_implementation("eager")
    eager = model(**inputs, output_attentions=True)
    assert_same(recorded[:2], eager.encoder_attentions)
    assert_same(recorded[2:4], eager.decoder_attentions)
    assert_same(recorded[4:], eager.cross_attentions)


def test_grouped_heads_with_padding_in_llama():
    model = prepared(transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)))
    inputs = {
        "input_ids": torch.tensor([[0, 0, 5, 6, 7], [4, 5, 6, 7, 8]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]),
    }
    names = [f"model.layers.{layer}.self_attn" for layer in range(2)]
    plain = model(**inputs).logits
    output, recorded = record(model, names, lambda: model(**inputs))
    seen = inputs["attention_mask"].bool()
    torch.testing.assert_close(output.logits[seen], plain[seen], **TOLERANCE)
    model.set_attn_implementation("eager")
    eager = model(**inputs, output_attentions=True).attentions
    for ours, theirs in zip(recorded, eager, strict=True):
        rows = seen[:, None, :, None].expand_as(ours)  # what padding rows attend to means nothing
        torch.testing.assert_close(ours[rows], theirs[rows], **TOLERANCE)


def test_one_step_with_a_cache_in_llama():
    model = prepared(transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)))
    ids = torch.tensor([[4, 5, 6, 7, 8]])
    names = ["model.layers.1.self_attn"]
    _, (whole,) = record(model, names, lambda: model(input_ids=ids))
    cache = model(input_ids=ids[:, :-1], use_cache=True).past_key_values
    _, (step,) = record(model, names, lambda: model(input_ids=ids[:, -1:], past_key_values=cache))
    torch.testing.assert_close(step, whole[:, :, -1:], **TOLERANCE)


def test_blip_whose_attention_is_written_out():
    text = TEXT | {
        "encoder_hidden_size": 32,
        "projection_dim": 24,
        "max_position_embeddings": 32,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "sep_token_id": 2,
        "pad_token_id": 0,
    }
    config = transformers.BlipConfig(
        text_config=text, vision_config=VISION, projection_dim=24, image_text_hidden_size=24
    )
    model = prepared(transformers.BlipForConditionalGeneration(config))
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32), "input_ids": torch.tensor([[1, 5, 6]])}
    names = [f"vision_model.encoder.layers.{layer}.self_attn" for layer in range(2)]
    _, recorded = record(model, names, lambda: model(**inputs))
    assert_same(recorded, model(**inputs, output_attentions=True).attentions)


def test_siglip_pooling_head_of_transformers():
    config = transformers.SiglipConfig(text_config=TEXT | {"projection_size": 32}, vision_config=VISION)
    model = prepared(transformers.SiglipModel(config)).vision_model
    pixels = torch.randn(2, 3, 32, 32)
    hidden = model(pixels).last_hidden_state
    probe = model.head.probe.repeat(2, 1, 1)
    expected = model.head.attention(probe, hidden, hidden, average_attn_weights=False)[1]
    _, (recorded,) = record(model, ["head.attention"], lambda: model(pixels))
    torch.testing.assert_close(recorded, expected, **TOLERANCE)


@pytest.mark.parametrize("variant", ["clip", "coca", "coca without pooler"])
def test_open_clip_blocks_run_again_with_their_own_inputs(variant):
    model = FAMILIES.get("openclip").tiny(variant)
    network = model.module
    names = [name for point in model.info.points for name in point.modules]
    calls: dict[str, tuple] = {}
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: calls.__setitem__(name, (args, kwargs)), with_kwargs=True
        )
        for name in names
    ]
    torch.manual_seed(0)
    inputs = (torch.randn(1, 3, 32, 32), torch.tensor([[49406, 320, 1125, 539, 49407] + [0] * 7]))

    def run():
        output = network(*inputs)
        return output if isinstance(output, dict) else {"image": output[0], "text": output[1]}

    plain = run()
    output, recorded = record(network, names, run)
    for hook in hooks:
        hook.remove()
    for key, value in plain.items():
        torch.testing.assert_close(output[key], value, **TOLERANCE)
    for name, weights in zip(names, recorded, strict=True):
        args, kwargs = calls[name]
        options = kwargs | {"need_weights": True, "average_attn_weights": False}
        with torch.no_grad():
            expected = network.get_submodule(name)(*args, **options)[1]
        torch.testing.assert_close(weights, expected, **TOLERANCE)


def test_timm_tower_against_its_own_unfused_attention():
    model = FAMILIES.get("openclip").tiny("siglip")
    trunk = model.module.visual.trunk
    names = ["blocks.0.attn", "blocks.5.attn", "attn_pool"]
    pixels = torch.randn(1, 3, 160, 160)
    _, fused = record(trunk, names, lambda: trunk(pixels))
    for name in names:
        trunk.get_submodule(name).fused_attn = False
    _, written_out = record(trunk, names, lambda: trunk(pixels))
    assert_same(fused, written_out)
