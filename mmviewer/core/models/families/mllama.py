"""Mllama: Llama 3.2 Vision, with gated cross-attention to the tiles of a picture in some of its layers."""

from __future__ import annotations

from dataclasses import replace

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily

_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% for c in m.content %}{{ '<|image|>' if c.type == 'image' else c.text }}{% endfor %}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


class MllamaFamily(VlmFamily):
    """Loads ``MllamaForConditionalGeneration``."""

    key = "mllama"
    label = "Llama 3.2 Vision (Mllama)"
    types = frozenset(("mllama",))
    names = ("llama-3.2-11b-vision", "llama-3.2-90b-vision")
    spreads = False  # its gates are read when it is put together, from weights that would not be there
    class_name = "MllamaForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """Tiles of a canvas, read by the words of some layers."""
        from mmviewer.core.models.hf.points import capture_point
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm import canvas
        from mmviewer.core.models.vlm.chat import Chat
        from mmviewer.core.types import PointRole

        module, text = parts.module, parts.module.config.text_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = Chat(parts.tokenizer, codec, parts.template or _TEMPLATE, "<|image|>")
        layers = r"model\.language_model\.layers\.\d+\."
        cross = capture_point(
            module,
            canvas.CROSS,
            PointRole.CROSS,
            rf"{layers}cross_attn",
            text.num_attention_heads,
            label="gated cross-attention",
            keys="image patches of all tiles",
        )
        own = rf"{layers}self_attn"
        model = canvas.TiledCrossModel(
            self.key,
            module,
            canvas.TiledCanvas(parts.images, chat.marker, module.config.vision_config),
            chat,
            codec,
            placement,
            identity,
            points=(
                replace(cross, gates=canvas.gates(module, text.cross_attention_layers)),
                capture_point(module, canvas.DECODER, PointRole.DECODER_SELF, own, text.num_attention_heads),
            ),
        )
        model.unwritten = ()  # the sign for a picture is not in the vocabulary that is written
        return model

    def tiny_parts(self, variant: str) -> Parts:
        """Up to four tiles of 4 x 4 patches; two of four layers look at them."""
        from transformers import MllamaConfig, MllamaImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        more = ("<|image|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")
        tokenizer = build.byte_tokenizer("<bos>", more=more)
        text = {**tiny.TEXT, "model_type": "mllama_text_model", "num_hidden_layers": 4}
        config = MllamaConfig(
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 4,
                "image_size": 32,
                "patch_size": 8,
                "vision_output_dim": 64,
                "intermediate_layers_indices": [0],
                "max_num_tiles": 4,
                "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
            },
            text_config={**text, "cross_attention_layers": [1, 3]},
            image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
        )
        module = build.random_module(self.class_name, config)
        for layer in config.text_config.cross_attention_layers:
            for name in ("cross_attn_attn_gate", "cross_attn_mlp_gate"):
                getattr(module.model.language_model.layers[layer], name).fill_(0.5)  # or nothing passes
        for name in ("gate_attn", "gate_ffn"):
            getattr(module.model.vision_model.global_transformer.layers[0], name).fill_(0.5)
        images = MllamaImageProcessor(size={"height": 32, "width": 32}, max_image_tiles=4)
        return Parts(module, tokenizer, images, _TEMPLATE)


FAMILIES.add("mllama")(MllamaFamily())
