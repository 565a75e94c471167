"""CLAP: sounds and texts in one space."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress

_TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
_AUDIO = {
    "patch_embeds_hidden_size": 16,
    "hidden_size": 128,
    "depths": [1] * 4,
    "num_attention_heads": [2] * 4,
    "num_classes": 8,
}
_CONTEXT = 77  # tokens that its texts had in training


class HfClapFamily(HfFamily):
    """Loads ``ClapModel``."""

    key = "hf_clap"
    label = "CLAP (transformers)"
    types = frozenset(("clap",))
    names = ("clap-htsat", "larger_clap")

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load both towers, the feature extractor and the tokenizer."""
        from dataclasses import replace

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.clap import ClapModel
        from mmviewer.core.models.hf.parts import load_codec

        module = build.load_module("ClapModel", found, placement, exact_scalars=True)
        extractor = build.load_processor("ClapFeatureExtractor", found)
        codec = load_codec(found, _CONTEXT, module.config.text_config.vocab_size)
        identity = build.identity_of(found, progress)
        note = "sounds are opened at 16 kHz, so this model hears nothing above 8 kHz"
        with build.broken_files(found):
            return ClapModel(
                self.key,
                module,
                extractor,
                codec,
                placement,
                replace(identity, notes=(*identity.notes, note)),
            )

    def tiny_variants(self) -> tuple[str, ...]:
        """One reading of the sound, or four that are fused."""
        return ("single", "fused")

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model that reads single bytes."""
        from transformers import ClapConfig, ClapFeatureExtractor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.clap import ClapModel
        from mmviewer.core.models.hf.text import TextCodec

        fused = variant == "fused"
        text = {"vocab_size": build.VOCABULARY, "max_position_embeddings": 80, "projection_dim": 16}
        config = ClapConfig(
            text_config=_TEXT | text | {"pad_token_id": 0},
            audio_config=_AUDIO | {"projection_dim": 16, "enable_fusion": fused},
            projection_dim=16,
        )
        extractor = ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc")
        codec = TextCodec(build.byte_tokenizer("<bos>", "<eos>"), _CONTEXT)
        identity = Identity(f"tiny CLAP {variant}", f"tiny:hf_clap {variant}", f"hf_clap {variant}")
        module = build.random_module("ClapModel", config)
        return ClapModel(self.key, module, extractor, codec, build.CPU, identity)


FAMILIES.add("hf_clap")(HfClapFamily())
