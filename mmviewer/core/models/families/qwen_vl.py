"""Qwen2.5-VL: pictures at their own shape, tokens with places in two dimensions."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if c.type == 'image' else c.text }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class QwenVlFamily(VlmFamily):
    """Loads ``Qwen2_5_VLForConditionalGeneration``."""

    key = "qwen_vl"
    label = "Qwen2.5-VL"
    types = frozenset(("qwen2_5_vl",))
    names = ("qwen2.5-vl",)
    class_name = "Qwen2_5_VLForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """One token for each square of merged patches."""
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.chat import Chat
        from mmviewer.core.models.vlm.model import VisionLanguageModel, joint_point
        from mmviewer.core.models.vlm.native import NativeShape

        text = parts.module.config.text_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = Chat(parts.tokenizer, codec, parts.template or _TEMPLATE, "<|image_pad|>")
        return VisionLanguageModel(
            self.key,
            parts.module,
            NativeShape(parts.images, chat.marker, chat.marker_id),
            chat,
            codec,
            placement,
            identity,
            points=(joint_point(parts.module, r"model\.language_model\.layers\.\d+\.self_attn", text),),
        )

    def tiny_parts(self, variant: str) -> Parts:
        """Patches of 8 x 8 pixels, merged two by two."""
        from transformers import Qwen2_5_VLConfig, Qwen2VLImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        more = ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_start|>", "<|im_end|>")
        tokenizer = build.byte_tokenizer(more=(*more, "<|video_pad|>"))
        image, start, end, _, _, video = tokenizer.convert_tokens_to_ids([*more, "<|video_pad|>"])
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}
        config = Qwen2_5_VLConfig(
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 4,
                "patch_size": 8,
                "window_size": 32,
                "out_hidden_size": 32,
                "fullatt_block_indexes": [1],
            },
            text_config={**tiny.TEXT, "model_type": "qwen2_5_vl_text", "rope_parameters": rope},
            image_token_id=image,
            video_token_id=video,
            vision_start_token_id=start,
            vision_end_token_id=end,
        )
        images = Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 1024, "longest_edge": 4096})
        return Parts(build.random_module(self.class_name, config), tokenizer, images, _TEMPLATE)


FAMILIES.add("qwen_vl")(QwenVlFamily())
