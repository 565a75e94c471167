"""LLaVA 1.5 and its kin: a CLIP or SigLIP tower, a projector, and a language model."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily

_TEMPLATE = (
    "{% for m in messages %}{{ 'USER: ' if m.role == 'user' else ' ASSISTANT: ' }}"
    "{% for c in m.content %}{{ '<image>\n' if c.type == 'image' else c.text }}{% endfor %}"
    "{{ eos_token if m.role == 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)
"""The form of LLaVA 1.5, for folders that were saved before templates were."""


class LlavaFamily(VlmFamily):
    """Loads ``LlavaForConditionalGeneration``."""

    key = "llava"
    label = "LLaVA"
    types = frozenset(("llava",))
    names = ("llava-1.5", "llava-interleave", "bakllava")
    class_name = "LlavaForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """One look at the picture; a token for every patch."""
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.chat import Chat
        from mmviewer.core.models.vlm.eyes import OneLook
        from mmviewer.core.models.vlm.model import VisionLanguageModel, joint_point, vision_point

        config = parts.module.config
        text, vision = config.text_config, config.vision_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = Chat(parts.tokenizer, codec, parts.template or _TEMPLATE, "<image>")
        prefix = 1 if vision.model_type == "clip_vision_model" else 0
        extra = prefix if config.vision_feature_select_strategy == "full" else 0
        return VisionLanguageModel(
            self.key,
            parts.module,
            OneLook(Pixels(parts.images, vision.patch_size), chat.marker, extra),
            chat,
            codec,
            placement,
            identity,
            points=(
                joint_point(parts.module, r"model\.language_model\.layers\.\d+\.self_attn", text),
                vision_point(parts.module, vision, config.vision_feature_layer),
            ),
            prefix=prefix,
        )

    def tiny_parts(self, variant: str) -> Parts:
        """A CLIP tower of 4 x 4 patches, of which the last layer is not used, and a Llama."""
        from transformers import CLIPImageProcessor, LlavaConfig

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        tokenizer = build.byte_tokenizer("<bos>", more=("<image>",))
        config = LlavaConfig(
            vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **tiny.VISION},
            text_config=tiny.TEXT,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
        images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        return Parts(build.random_module(self.class_name, config), tokenizer, images, _TEMPLATE)


FAMILIES.add("llava")(LlavaFamily())
