"""BLIP: captions, answers to questions, or matching of images and texts, as the checkpoint was trained."""

from __future__ import annotations

from dataclasses import replace

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily, asked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress
from mmviewer.core.types import QuestionForm

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_CONTEXT = 64
_CAPTION, _ANSWER = "BlipForConditionalGeneration", "BlipForQuestionAnswering"
_MATCH = "BlipForImageTextRetrieval"
_CLASSES = (_CAPTION, _ANSWER, _MATCH)
_NOTE = "scores are scaled as at the beginning of the training: the checkpoint keeps no temperature"
_QUESTIONS = QuestionForm("{question}?", ("how many dogs are there?", "what is he holding?"))


class HfBlipFamily(HfFamily):
    """Loads BLIP's three heads: captions, answers, and retrieval."""

    key = "hf_blip"
    label = "BLIP"
    types = frozenset(("blip",))
    names = ("/blip-",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the model that the configuration names, its image processor and tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.blip import BlipAnswerer, BlipCaptioner
        from mmviewer.core.models.hf.blip_match import BlipMatcher
        from mmviewer.core.models.hf.parts import load_codec, load_pixels

        named = str(found.config.get("architectures"))
        kind = next((each for each in _CLASSES if each in named), "")
        if not kind:
            raise ModelError(
                f"{found.label} is a BLIP of the kind {named[:80]}; mmviewer knows those that caption, "
                "those that answer questions and those that match: choose one of them."
            )
        module = build.load_module(kind, found, placement)
        config = module.config
        vision, text = config.vision_config, config.text_config
        pixels = load_pixels(found, vision.patch_size, vision.image_size)
        codec = load_codec(found, text.max_position_embeddings, text.vocab_size)
        identity = build.identity_of(found, progress)
        with build.broken_files(found):
            if kind == _MATCH:
                identity = replace(identity, notes=(*identity.notes, _NOTE))
                return BlipMatcher(self.key, module, pixels, codec, placement, identity)
            if kind == _CAPTION:
                return BlipCaptioner(self.key, module, pixels, codec, placement, identity)
            return BlipAnswerer(self.key, module, pixels, codec, placement, asked(identity, _QUESTIONS))

    def tiny_variants(self) -> tuple[str, ...]:
        """What checkpoints were trained to do."""
        return ("caption", "answer", "match")

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads and writes single bytes."""
        from transformers import BlipConfig, BlipImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.blip import BlipAnswerer, BlipCaptioner
        from mmviewer.core.models.hf.blip_match import BlipMatcher
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec

        text = {
            "vocab_size": build.VOCABULARY,
            "encoder_hidden_size": 32,
            "projection_dim": 24,
            "max_position_embeddings": _CONTEXT,
            "bos_token_id": 2,
            "eos_token_id": 1,
            "sep_token_id": 4,
            "pad_token_id": 0,
        }
        vision = {"image_size": 32, "patch_size": 8}
        config = BlipConfig(
            text_config=_TOWER | text,
            vision_config=_TOWER | vision,
            projection_dim=24,
            image_text_hidden_size=24,
        )
        pixels = Pixels(BlipImageProcessor(size={"height": 32, "width": 32}), 8)
        codec = TextCodec(build.byte_tokenizer("<cls>", "<sep>"), _CONTEXT)
        identity = Identity(f"tiny BLIP {variant}", f"tiny:hf_blip {variant}", f"hf_blip {variant}")
        if variant == "match":
            module = build.random_module(_MATCH, config)
            return BlipMatcher(self.key, module, pixels, codec, build.CPU, identity)
        if variant == "answer":
            module = build.random_module(_ANSWER, config)
            return BlipAnswerer(self.key, module, pixels, codec, build.CPU, asked(identity, _QUESTIONS))
        module = build.random_module(_CAPTION, config)
        return BlipCaptioner(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("hf_blip")(HfBlipFamily())
