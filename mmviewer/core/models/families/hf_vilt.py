"""ViLT: answers to questions, chosen from those it knows."""

from __future__ import annotations

from mmviewer.core.errors import ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily, asked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress
from mmviewer.core.types import QuestionForm

_CLASS = "ViltForQuestionAnswering"
_QUESTIONS = QuestionForm("{question}?", ("how many cats are there?", "what color is the car?"))
_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


class HfViltFamily(HfFamily):
    """Loads ``ViltForQuestionAnswering``."""

    key = "hf_vilt"
    label = "ViLT"
    types = frozenset(("vilt",))
    names = ("/vilt-b32",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the model, its image processor and its tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.answering import AnswerCodec
        from mmviewer.core.models.hf.parts import check_vocabulary
        from mmviewer.core.models.hf.vilt import ViltAnswerer, ViltPixels

        if _CLASS not in str(found.config.get("architectures")):
            raise ModelError(
                f"{found.label} is a ViLT that answers no questions; choose one that does, such as "
                "dandelin/vilt-b32-finetuned-vqa."
            )
        module = build.load_module(_CLASS, found, placement)
        config = module.config
        with build.broken_files(found):
            pixels = ViltPixels(build.load_processor("ViltImageProcessor", found), config.patch_size)
            tokenizer = build.load_processor("AutoTokenizer", found)
            check_vocabulary(found, tokenizer, config.vocab_size)
            labels = {int(index): str(label) for index, label in config.id2label.items()}
            codec = AnswerCodec(tokenizer, config.max_position_embeddings, config.vocab_size, labels)
            identity = asked(build.identity_of(found, progress), _QUESTIONS)
            return ViltAnswerer(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads single bytes and knows eight answers."""
        from transformers import ViltConfig, ViltImageProcessor

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.answering import AnswerCodec
        from mmviewer.core.models.hf.vilt import ViltAnswerer, ViltPixels

        labels = dict(enumerate(("yes", "no", "one", "two", "red", "blue", "a dog", "a cat")))
        config = ViltConfig(
            **_SIZES,
            image_size=32,
            patch_size=8,
            vocab_size=build.VOCABULARY,
            max_position_embeddings=64,
            max_image_length=-1,
            id2label=labels,
        )
        pixels = ViltPixels(ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8), 8)
        codec = AnswerCodec(build.byte_tokenizer("<cls>", "<sep>"), 64, build.VOCABULARY, labels)
        identity = asked(Identity("tiny ViLT", "tiny:hf_vilt", "hf_vilt"), _QUESTIONS)
        module = build.random_module(_CLASS, config)
        return ViltAnswerer(self.key, module, pixels, codec, build.CPU, identity)


FAMILIES.add("hf_vilt")(HfViltFamily())
