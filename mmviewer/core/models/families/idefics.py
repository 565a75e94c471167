"""IDEFICS: gated cross-attention to latents that a perceiver reads from the patches, as in Flamingo."""

from __future__ import annotations

from dataclasses import replace

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.vlm.family import Parts, VlmFamily


class IdeficsFamily(VlmFamily):
    """Loads ``IdeficsForVisionText2Text``."""

    key = "idefics"
    label = "IDEFICS"
    types = frozenset(("idefics",))
    names = ("/idefics-",)
    spreads = False  # its gates are read when it is put together, from weights that would not be there
    class_name = "IdeficsForVisionText2Text"

    def assemble(self, parts: Parts, placement: Placement, identity: Identity) -> LoadedModel:
        """One look at the picture, read by latents, read by words."""
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.points import capture_point
        from mmviewer.core.models.hf.text import TextCodec
        from mmviewer.core.models.vlm import gated, latents
        from mmviewer.core.types import Capability, PointRole

        module, config = parts.module, parts.module.config
        heads, resampled = config.num_attention_heads, bool(config.use_resampler)
        codec = TextCodec(parts.tokenizer, config.max_position_embeddings)
        cross = capture_point(
            module,
            gated.CROSS,
            PointRole.CROSS,
            r"model\.gated_cross_attn_layers\.\d+\.cross_attn",
            heads,
            label="gated cross-attention",
            keys="latents" if resampled else "image patches",
        )
        own = r"model\.layers\.\d+\.self_attn"
        points = [
            replace(cross, gates=gated.gates(module)),
            capture_point(module, gated.DECODER, PointRole.DECODER_SELF, own, heads),
        ]
        if resampled:
            pool = capture_point(
                module,
                latents.POOL,
                PointRole.POOL,
                r"model\.perceiver_resampler\.blocks\.\d+\.0",
                config.perceiver_config.resampler_n_heads,
                label="reading of the patches by latents",
                queries="latents",
                keys="image patches and latents",
            )
            points.append(pool)
        model = gated.GatedModel(
            self.key,
            module,
            gated.GatedLook(Pixels(parts.images, config.vision_config.patch_size)),
            gated.TurnChat(parts.tokenizer, codec),
            codec,
            placement,
            identity,
            points=tuple(points),
            prefix=1,
            norm="model.norm",
        )
        model.info = replace(model.info, capabilities=model.info.capabilities | {Capability.EXAMPLES})
        ends = {gated.END_OF_TURN} & set(parts.tokenizer.get_vocab())
        model.stop |= frozenset(parts.tokenizer.convert_tokens_to_ids(list(ends)))
        model.unwritten = tuple(parts.tokenizer.convert_tokens_to_ids(["<image>", gated.AROUND]))
        return model

    def tiny_parts(self, variant: str) -> Parts:
        """A tower of 4 x 4 patches, five latents, and a gate before each layer."""
        from transformers import IdeficsConfig, IdeficsImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.vlm.gated import AROUND, END_OF_TURN

        tokenizer = build.byte_tokenizer(more=(AROUND, "<image>", END_OF_TURN))
        config = IdeficsConfig(
            vocab_size=build.VOCABULARY,
            additional_vocab_size=2,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            cross_layer_interval=1,
            alpha_initializer="ones",
            use_resampler=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=2,
            vision_config={
                "embed_dim": 32,
                "image_size": 32,
                "patch_size": 8,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
            },
            perceiver_config={
                "use_resampler": True,
                "resampler_n_latents": 5,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
            },
        )
        images = IdeficsImageProcessor(image_size=32)
        return Parts(build.random_module(self.class_name, config), tokenizer, images, None)


FAMILIES.add("idefics")(IdeficsFamily())
