"""LLaVA-NeXT: as LLaVA, with pictures in tiles beside an overview."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily

_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {% for c in m.content %}"
    "{{ '<image>\n' if c.type == 'image' else c.text }}{% endfor %} [/INST]"
    "{% else %} {{ m.content[0].text }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""The form of the model on Mistral, for folders that were saved before templates were."""


class LlavaNextFamily(VlmFamily):
    """Loads ``LlavaNextForConditionalGeneration``."""

    key = "llava_next"
    label = "LLaVA-NeXT"
    types = frozenset(("llava_next",))
    names = ("llava-v1.6", "llava-next")
    class_name = "LlavaNextForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """An overview, then tiles; a token for every patch, and one for the end of every row."""
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.anyres import AnyResolution
        from mmviewer.core.models.vlm.chat import Chat
        from mmviewer.core.models.vlm.model import VisionLanguageModel, joint_point

        config = parts.module.config
        text, vision = config.text_config, config.vision_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = Chat(parts.tokenizer, codec, parts.template or _TEMPLATE, "<image>")
        pinpoints, sides = config.image_grid_pinpoints, (vision.image_size, vision.patch_size)
        return VisionLanguageModel(
            self.key,
            parts.module,
            AnyResolution(parts.images, chat.marker, pinpoints, *sides),
            chat,
            codec,
            placement,
            identity,
            points=(joint_point(parts.module, r"model\.language_model\.layers\.\d+\.self_attn", text),),
        )

    def tiny_parts(self, variant: str) -> Parts:
        """Tiles of 2 x 2 patches on canvases of two to four tiles."""
        from transformers import LlavaNextConfig, LlavaNextImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        tokenizer = build.byte_tokenizer("<bos>", more=("<image>",))
        pinpoints = [[16, 32], [32, 16], [32, 32]]
        config = LlavaNextConfig(
            vision_config={
                "model_type": "clip_vision_model",
                "projection_dim": 32,
                **tiny.VISION,
                "image_size": 16,
            },
            text_config=tiny.TEXT,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            image_grid_pinpoints=pinpoints,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
        images = LlavaNextImageProcessor(
            size={"shortest_edge": 16},
            crop_size={"height": 16, "width": 16},
            image_grid_pinpoints=pinpoints,
        )
        return Parts(build.random_module(self.class_name, config), tokenizer, images, _TEMPLATE)


FAMILIES.add("llava_next")(LlavaNextFamily())
