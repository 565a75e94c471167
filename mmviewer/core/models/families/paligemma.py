"""PaliGemma 1 and 2: a SigLIP tower and a Gemma that reads picture and question in both directions."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily


class PaliGemmaFamily(VlmFamily):
    """Loads ``PaliGemmaForConditionalGeneration``."""

    key = "paligemma"
    label = "PaliGemma"
    types = frozenset(("paligemma",))
    names = ("paligemma",)
    class_name = "PaliGemmaForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """One look at the picture; a token for every patch."""
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm.chat import TaskPrompt
        from mmviewer.core.models.vlm.eyes import PrefixLook
        from mmviewer.core.models.vlm.model import VisionLanguageModel, joint_point, vision_point

        text, vision = parts.module.config.text_config, parts.module.config.vision_config
        codec = TextCodec(parts.tokenizer, text.max_position_embeddings)
        chat = TaskPrompt(parts.tokenizer, codec, "<image>")
        newline = codec.ids("\n")[-1]
        return VisionLanguageModel(
            self.key,
            parts.module,
            PrefixLook(Pixels(parts.images, vision.patch_size), chat.marker, newline),
            chat,
            codec,
            placement,
            identity,
            points=(
                joint_point(parts.module, r"model\.language_model\.layers\.\d+\.self_attn", text),
                vision_point(parts.module, vision),
            ),
        )

    def tiny_variants(self) -> tuple[str, ...]:
        """The second writes its attention out, with a cap on the scores."""
        return "paligemma", "paligemma 2"

    def tiny_parts(self, variant: str) -> Parts:
        """A SigLIP tower of 4 x 4 patches and a Gemma."""
        from transformers import PaliGemmaConfig, SiglipImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny

        tokenizer = build.byte_tokenizer(more=("<image>",))
        second = {"model_type": "gemma2", "query_pre_attn_scalar": 8, "sliding_window": 64}
        config = PaliGemmaConfig(
            vision_config={
                "model_type": "siglip_vision_model",
                "projection_dim": 32,
                "vision_use_head": False,
                **tiny.VISION,
            },
            text_config={
                **tiny.TEXT,
                "head_dim": 8,
                **(second if variant == "paligemma 2" else {"model_type": "gemma"}),
            },
            projection_dim=32,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
        config.hidden_size, config.vocab_size = (
            32,
            tiny.TEXT["vocab_size"],
        )  # or those of the real model are saved
        images = SiglipImageProcessor(size={"height": 32, "width": 32}, image_seq_length=16)
        return Parts(build.random_module(self.class_name, config), tokenizer, images, None)


FAMILIES.add("paligemma")(PaliGemmaFamily())
