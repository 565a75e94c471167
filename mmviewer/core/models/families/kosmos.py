"""Kosmos-2: one sequence of image and text, with phrases grounded in boxes."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily


class KosmosFamily(VlmFamily):
    """Loads ``Kosmos2ForConditionalGeneration``."""

    key = "kosmos"
    label = "Kosmos-2"
    types = frozenset(("kosmos-2",))
    names = ("kosmos-2-",)
    class_name = "Kosmos2ForConditionalGeneration"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """One look at the picture, read by latents."""
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.points import capture_point
        from mmviewer.core.models.vlm import latents
        from mmviewer.core.models.vlm.model import VISION, joint_point
        from mmviewer.core.types import PointRole

        config = parts.module.config
        text, vision, count = config.text_config, config.vision_config, config.latent_query_num
        codec = latents.TaggedCodec(parts.tokenizer, text.max_position_embeddings)
        seen = r"vision_model\.model\.encoder\.layers\.\d+\.self_attn"
        pool = capture_point(
            parts.module,
            latents.POOL,
            PointRole.POOL,
            r"image_to_text_projection\.x_attn",
            text.attention_heads,
            label="reading of the patches by latents",
            queries="latents",
            keys="image patches and latents",
        )
        return latents.LatentModel(
            self.key,
            parts.module,
            latents.LatentLook(Pixels(parts.images, vision.patch_size), count, text.embed_dim),
            latents.GroundedChat(parts.tokenizer, codec, count),
            codec,
            placement,
            identity,
            points=(
                joint_point(parts.module, r"text_model\.model\.layers\.\d+\.self_attn", text),
                pool,
                capture_point(parts.module, VISION, PointRole.ENCODER_SELF, seen, vision.num_attention_heads),
            ),
            prefix=1,
            norm="text_model.model.layer_norm",
        )

    def tiny_parts(self, variant: str) -> Parts:
        """A tower of 4 x 4 patches, four latents, and boxes on a grid of 2 x 2."""
        from transformers import AddedToken, CLIPImageProcessor, Kosmos2Config

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm import tiny
        from mmviewer.core.models.vlm.latents import TAGS

        tags = (*TAGS, *(f"<patch_index_{index:04d}>" for index in range(4)))
        tokenizer = build.byte_tokenizer()
        tokenizer.add_tokens([AddedToken(tag, lstrip=True, normalized=False) for tag in tags])
        config = Kosmos2Config(
            text_config={
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 512,
                "embed_dim": 32,
                "layers": 2,
                "ffn_dim": 48,
                "attention_heads": 4,
                "pad_token_id": 0,
                "eos_token_id": 1,
                "bos_token_id": 2,
            },
            vision_config=tiny.VISION,
            latent_query_num=4,
        )
        images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        return Parts(build.random_module(self.class_name, config), tokenizer, images, None)


FAMILIES.add("kosmos")(KosmosFamily())
