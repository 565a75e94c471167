"""LXMERT: words look at regions of the picture and regions at words; the first token chooses an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.answering import AnswerCodec, Choice, answer_logits
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.points import capture_point, not_at_input, stacked
from mmviewer.core.models.hf.regions import Detector, Regions, grid_of, read_beside, shares_of_cells
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, PointRole, TokenSpan

CROSS, BACK, REGIONS, WORDS = "words.cross", "regions.cross", "regions.self", "words.self"
_NOTE = (
    "Maps show weights of regions, each spread evenly over its box. Methods that follow attention through "
    "the layers leave out what regions exchange after words have looked at them."
)


class LxmertAnswerer(HfModel):
    """``LxmertForQuestionAnswering``, with a detector where one is at hand.

    The ids of a sequence are the separator, the words of the question and the class token, in this order, so
    that the last row is the one that chooses; the places of words tell the model their true order.
    """

    _codec: AnswerCodec

    def __init__(
        self,
        family: str,
        module: Any,
        detector: Detector | None,
        codec: AnswerCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        parts = nn.ModuleDict({"reader": module})
        if detector is not None:
            parts["detector"] = detector.module
        parts.eval()
        described = "features of a file beside the picture" if detector is None else detector.describe()
        super().__init__(
            family,
            parts,
            codec,
            placement,
            identity,
            capabilities=frozenset((Capability.ANSWER,)),
            points=_points(parts, module.config),
            preprocessing=described,
        )
        self.info = replace(self.info, notes=(*self.info.notes, _NOTE))
        self._detector = detector
        self._config: Any = module.config
        self._words = int(module.config.vocab_size)
        self._begin, self._end = int(codec.tokenizer.cls_token_id), int(codec.tokenizer.sep_token_id)
        self._kept: WeakKeyDictionary[Prepared, Tensor] = WeakKeyDictionary()

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Find the regions of a picture: those of a file beside it, else the detector's likeliest."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        beside = read_beside(media)
        if beside is not None and beside.features is not None:
            return self._of_file(media, beside, beside.features)
        if self._detector is None:
            raise UnsupportedError(
                f"{self.info.label} reads features of regions, and nothing here can compute them; download "
                "facebook/detr-resnet-50 and load the model again, or lay a file of features "
                f"({media.name}.regions.npz) beside the picture."
            )
        pixels, geometry = self._detector.canvas(media, self.placement.device, self.placement.dtype)
        boxes = self._detector.boxes(pixels) if beside is None else beside.boxes.to(pixels.device)
        where = self._detector.name if beside is None else beside.name
        origin = (
            f"{len(boxes)} regions of {where}, with features of the backbone of {self._detector.name}, "
            "which are not those that the model was trained with"
        )
        inputs = {"pixels": pixels, "boxes": boxes, "spread": shares_of_cells(boxes, geometry.grid)}
        return Prepared(media.id, Modality.IMAGE, inputs, geometry, origin=origin)

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """The words of the question, and the class token that answers; earlier ones are not read."""
        return (*self._codec.ids(question), self._begin)

    # --- answers -----------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Choose the answer to a question in the form of `question_ids`; without one, to an empty one."""
        return Choice(self, prepared, (self._end, *(prompt or (self._begin,))))

    def answer_forms(self, answer: str) -> tuple[tuple[int, ...], ...]:
        """The one id of a known answer."""
        return ((self._words + self._codec.label(answer),),)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """Logits [T, V] after each id of a question; zero but in the last row, which chooses the answer."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several pictures of one size, at once: logits [B, T, V]."""
        question = self._question(ids)
        with memory_errors(self.placement.device, "Answering"):
            chosen = self._answers(question.expand(len(batch), -1), batch)  # [B, labels]
        return answer_logits(chosen, len(ids), self._words)

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Text of question and answer, and what each token covers of it."""
        return self._codec.join(ids)

    # --- capture -----------------------------------------------------------------------------------
    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P]: those of regions, spread evenly over their boxes."""
        if point.name not in (CROSS, REGIONS):
            raise not_at_input(point)
        if prepared is None:
            raise InputError("The regions of the picture are not known; prepare it again.")
        weights = stacked(captured, point.name)  # [L, H, Q, R]
        return weights @ prepared.inputs["spread"].to(weights)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most."""
        sizes = {"words": tokens, "regions": 100}
        rows, way = point.name.split(".")
        other = "regions" if rows == "words" else "words"
        return sizes[rows], sizes[rows if way == "self" else other]

    # --- inside ----------------------------------------------------------------------------------------
    def _of_file(self, media: Media, found: Regions, features: Tensor) -> Prepared:
        wanted = int(self._config.visual_feat_dim)
        if features.shape[1] != wanted:
            raise InputError(
                f"The features in {found.name} have {features.shape[1]:,} numbers each, but "
                f"{self.info.label} reads {wanted:,}; compute them with the detector that it was trained on."
            )
        grid = grid_of(media.size)
        geometry = ImageGeometry(
            media.size, grid, (grid[0] / media.size[0], grid[1] / media.size[1]), (0.0, 0.0), grid, "squash"
        )
        device = self.placement.device
        inputs = {
            "features": features.to(device),
            "boxes": found.boxes.to(device),
            "spread": shares_of_cells(found.boxes, grid).to(device),
        }
        origin = f"{len(features)} regions with the features that {found.name} holds"
        return Prepared(media.id, Modality.IMAGE, inputs, geometry, origin=origin)

    def _question(self, ids: Sequence[int]) -> Tensor:
        """Checked ids [1, T]."""
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The question has {len(ids)} tokens, but {self.info.label} reads "
                f"{self.info.context_length}; shorten it."
            )
        if len(ids) < 2 or ids[0] != self._end or ids[-1] != self._begin:
            raise InputError("An answer follows a question; ask one about the image.")
        return torch.tensor([list(ids)], device=self.placement.device)

    def _answers(self, ids: Tensor, batch: Sequence[Prepared]) -> Tensor:
        """Logits [N, labels] of questions [N, T] about pictures."""
        reader = self._model["reader"]
        lxmert, embeddings = reader.lxmert, reader.lxmert.embeddings
        dtype = self.placement.dtype
        count = ids.shape[1]
        places = torch.tensor([[count - 1, *range(1, count - 1), 0]], device=ids.device)
        words = embeddings.word_embeddings(ids) + embeddings.position_embeddings(places)
        words = embeddings.LayerNorm(words + embeddings.token_type_embeddings.weight[0])
        boxes = torch.stack([prepared.inputs["boxes"] for prepared in batch])  # [N, R, 4]
        _, (spoken, _), _ = lxmert.encoder(
            words, None, visual_feats=self._features(batch, boxes).to(dtype), visual_pos=boxes.to(dtype)
        )
        pooled = lxmert.pooler(spoken[-1][:, -1:])
        logits: Tensor = reader.answer_head(pooled).float()
        return logits

    def _features(self, batch: Sequence[Prepared], boxes: Tensor) -> Tensor:
        """Features [N, R, W], kept as long as an item lives where they are not differentiated."""
        if all("features" in prepared.inputs for prepared in batch):
            return torch.stack([prepared.inputs["features"] for prepared in batch])
        assert self._detector is not None
        if len(batch) == 1 and batch[0] in self._kept:
            return self._kept[batch[0]][None]
        pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        with torch.set_grad_enabled(pixels.requires_grad and torch.is_grad_enabled()):
            features = self._detector.features(pixels, boxes)
        if len(batch) == 1 and not pixels.requires_grad:
            self._kept[batch[0]] = features[0]
        return features


def _points(parts: nn.Module, config: Any) -> tuple[CapturePoint, ...]:
    """Both directions between words and regions, and what each looks at among its own kind.

    Words look at words beside each look at regions: after the last layers of their own before the first, and
    once more after the last.
    """
    heads, x = config.num_attention_heads, r"reader\.lxmert\.encoder\.x_layers\.\d+"
    both = rf"{x}\.visual_attention\.att"
    last = config.l_layers - 1
    words = rf"reader\.lxmert\.encoder\.layer\.{last}\.attention\.self|{x}\.lang_self_att\.self"
    regions = r"reader\.lxmert\.encoder\.r_layers\.\d+\.attention\.self"
    cross = capture_point(
        parts,
        CROSS,
        PointRole.CROSS,
        both,
        heads,
        label="words over regions",
        queries="words",
        keys="regions",
    )
    back = capture_point(
        parts,
        BACK,
        PointRole.TO_WORDS,
        both,
        heads,
        label="regions over words",
        queries="regions",
        keys="words",
    )
    own = capture_point(
        parts,
        WORDS,
        PointRole.DECODER_SELF,
        words,
        heads,
        label="words over words",
        queries="words",
        keys="words",
    )
    among = capture_point(
        parts,
        REGIONS,
        PointRole.ENCODER_SELF,
        regions,
        heads,
        label="regions over regions",
        queries="regions",
        keys="regions",
    )
    return replace(cross, call=0), replace(back, call=1), own, among
