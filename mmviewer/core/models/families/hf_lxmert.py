"""LXMERT: answers to questions by looking at regions of the picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmviewer.core.errors import MMViewerError, ModelError
from mmviewer.core.models.base import FAMILIES, LoadedModel, Placement
from mmviewer.core.models.hf.family import HfFamily, asked
from mmviewer.core.models.hf.source import Found
from mmviewer.core.models.identity import Identity
from mmviewer.core.progress import Progress
from mmviewer.core.types import QuestionForm

if TYPE_CHECKING:
    from mmviewer.core.models.hf.regions import Detector

_CLASS = "LxmertForQuestionAnswering"
_QUESTIONS = QuestionForm("{question}?", ("how many cats are there?", "what color is the car?"))
_ANSWERS = "trainval_label2ans.json"
_MOST_BYTES = 4 << 20
_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


class HfLxmertFamily(HfFamily):
    """Loads ``LxmertForQuestionAnswering``, and beside it a detector that is on this machine."""

    key = "hf_lxmert"
    label = "LXMERT"
    types = frozenset(("lxmert",))
    names = ("/lxmert",)

    def open(self, found: Found, placement: Placement, progress: Progress) -> LoadedModel:
        """Load the model, its tokenizer, and a detector whose features are of the right size."""
        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.answering import AnswerCodec
        from mmviewer.core.models.hf.lxmert import LxmertAnswerer
        from mmviewer.core.models.hf.parts import check_vocabulary

        if _CLASS not in str(found.config.get("architectures")):
            raise ModelError(
                f"{found.label} is an LXMERT that answers no questions; choose one that does, such as "
                "unc-nlp/lxmert-vqa-uncased."
            )
        module = build.load_module(_CLASS, found, placement)
        config = module.config
        detector = _detector(int(config.visual_feat_dim), placement, progress)
        with build.broken_files(found):
            tokenizer = build.load_processor("AutoTokenizer", found)
            check_vocabulary(found, tokenizer, config.vocab_size)
            labels = _labels(found, int(config.num_qa_labels))
            codec = AnswerCodec(tokenizer, config.max_position_embeddings, config.vocab_size, labels)
            identity = asked(build.identity_of(found, progress), _QUESTIONS)
            return LxmertAnswerer(self.key, module, detector, codec, placement, identity)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model that knows eight answers, and a random detector of six regions."""
        from transformers import DetrConfig, DetrImageProcessor, LxmertConfig, ResNetConfig

        from mmviewer.core.models.hf import build
        from mmviewer.core.models.hf.answering import AnswerCodec
        from mmviewer.core.models.hf.lxmert import LxmertAnswerer
        from mmviewer.core.models.hf.regions import Detector

        seeing = DetrConfig(
            backbone_config=ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], out_features=["stage2"]
            ),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            num_queries=6,
            num_labels=3,
        )
        config = LxmertConfig(
            **_SIZES,
            vocab_size=build.VOCABULARY,
            max_position_embeddings=64,
            l_layers=2,
            x_layers=2,
            r_layers=2,
            visual_feat_dim=12,
            visual_pos_dim=4,
            num_qa_labels=8,
        )
        eyes = build.random_module("DetrForObjectDetection", seeing)
        detector = Detector(eyes, DetrImageProcessor(), "a random detector", cells=4, side=16)
        labels = dict(enumerate(("yes", "no", "one", "two", "red", "blue", "a dog", "a cat")))
        codec = AnswerCodec(build.byte_tokenizer("<cls>", "<sep>"), 64, build.VOCABULARY, labels)
        identity = asked(Identity("tiny LXMERT", "tiny:hf_lxmert", "hf_lxmert"), _QUESTIONS)
        module = build.random_module(_CLASS, config)
        return LxmertAnswerer(self.key, module, detector, codec, build.CPU, identity)


def _detector(width: int, placement: Placement, progress: Progress) -> Detector | None:
    """The first detector on this machine whose features have `width` numbers, or None."""
    from mmviewer import paths
    from mmviewer.core.models import hub
    from mmviewer.core.models.hf import build, source
    from mmviewer.core.models.hf.regions import Detector

    folders = sorted(path for path in paths.models_dir().iterdir() if path.is_dir())
    for name in (*map(str, folders), *(repo for repo, _ in hub.cached_folders())):
        try:
            if source.model_type(name) != "detr":
                continue
            found = source.locate(name, {"detr"}, progress)
            module = build.load_module("DetrForObjectDetection", found, placement)
            detector = Detector(module, build.load_processor("AutoImageProcessor", found), found.label)
        except MMViewerError:
            continue  # a broken detector must not keep the model from being loaded
        if detector.width == width:
            return detector
    return None


def _labels(found: Found, count: int) -> dict[int, str]:
    """Names of the answers: of a file that the makers give, else of the configuration."""
    path = found.folder / _ANSWERS
    named: Any = None
    if path.is_file() and path.stat().st_size <= _MOST_BYTES:
        named = json.loads(path.read_text(encoding="utf-8"))
    elif isinstance(found.config.get("id2label"), dict):
        table = found.config["id2label"]
        named = [table.get(str(index)) for index in range(len(table))]
    if isinstance(named, list) and len(named) == count and all(isinstance(each, str) for each in named):
        return dict(enumerate(named))
    return {index: f"answer {index + 1} of {count}" for index in range(count)}


FAMILIES.add("hf_lxmert")(HfLxmertFamily())
