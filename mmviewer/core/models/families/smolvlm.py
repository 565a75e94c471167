"""SmolVLM and Idefics3: pictures in tiles, their patches merged, read by a small language model."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily

_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}:"
    "{{ '' if m.content[0].type == 'image' else ' ' }}"
    "{% for c in m.content %}{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


class SmolVlmFamily(VlmFamily):
    """Loads ``SmolVLMForConditionalGeneration``, of which Idefics3 is the elder form."""

    key = "smolvlm"
    label = "SmolVLM / Idefics3"
    types = frozenset(("smolvlm", "idefics3"))
    names = ("smolvlm", "idefics3")
    class_name = "AutoModelForImageTextToText"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """Tiles and an overview, each of which gives a square of tokens."""
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.chat import Chat
        from mmviewer.core.models.vlm.model import VisionLanguageModel, joint_point
        from mmviewer.core.models.vlm.tiles import Tiles

        config = parts.module.config
        text, vision = config.text_config, config.vision_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = Chat(parts.tokenizer, codec, parts.template or _TEMPLATE, "<image>")
        side = vision.image_size // vision.patch_size // config.scale_factor
        return VisionLanguageModel(
            self.key,
            parts.module,
            Tiles(parts.images, chat.marker, side),
            chat,
            codec,
            placement,
            identity,
            points=(joint_point(parts.module, r"model\.text_model\.layers\.\d+\.self_attn", text),),
            norm="model.text_model.norm",
        )

    def tiny_parts(self, variant: str) -> Parts:
        """Tiles of 4 x 4 patches, merged to 2 x 2."""
        from transformers import SmolVLMConfig, SmolVLMImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        places = tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))
        more = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<|im_start|>")
        tokenizer = build.byte_tokenizer(more=(*more, *places))
        config = SmolVLMConfig(
            vision_config=tiny.VISION,
            text_config=tiny.TEXT,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            scale_factor=2,
            pad_token_id=0,
        )
        images = SmolVLMImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
        module = build.random_module("SmolVLMForConditionalGeneration", config)
        return Parts(module, tokenizer, images, _TEMPLATE)


FAMILIES.add("smolvlm")(SmolVlmFamily())
