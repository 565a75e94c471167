"""GIT: captions, and answers where a checkpoint was trained on questions."""

from __future__ import annotations

from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily, asked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress
from mmviewer.core.types import QuestionForm

_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_QUESTIONS = QuestionForm("{question}?", ("what color is the dog?", "how many people are there?"))


class HfGitFamily(HfFamily):
    """Loads ``GitForCausalLM``."""

    key = "hf_git"
    label = "GIT"
    types = frozenset(("git",))
    names = ("/git-base", "/git-large")

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the model, its image processor and its tokenizer."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.git import GitCaptioner
        from mmviewer.core.models.hf.parts import load_codec, load_pixels

        module = build.load_module("GitForCausalLM", found, placement)
        config = module.config
        pixels = load_pixels(found, config.vision_config.patch_size, config.vision_config.image_size)
        codec = load_codec(found, config.max_position_embeddings, config.vocab_size)
        identity = build.identity_of(found, progress)
        if "vqa" in found.label.lower():  # others continue a question rather than answer it
            identity = asked(identity, _QUESTIONS)
        with build.broken_files(found):
            return GitCaptioner(self.key, module, pixels, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights that reads and writes single bytes."""
        from transformers import CLIPImageProcessor, GitConfig

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.git import GitCaptioner
        from mmviewer.core.models.hf.pixels import Pixels
        from mmviewer.core.models.hf.text import TextCodec

        config = GitConfig(
            **_TOWER,
            vision_config=_TOWER | {"image_size": 32, "patch_size": 8},
            vocab_size=build.VOCABULARY,
            max_position_embeddings=64,
            bos_token_id=5,
            eos_token_id=4,
            pad_token_id=0,
        )
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        codec = TextCodec(build.byte_tokenizer("<cls>", "<sep>"), 64)
        identity = asked(Identity("tiny GIT", "tiny:hf_git", "hf_git"), _QUESTIONS)
        module = build.random_module("GitForCausalLM", config)
        return GitCaptioner(self.key, module, Pixels(processor, 8), codec, build.CPU, identity)


FAMILIES.add("hf_git")(HfGitFamily())
