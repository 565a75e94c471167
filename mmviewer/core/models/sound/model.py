"""A model of images, texts and sounds in one space: an open_clip model with a sound tower beside it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.errors import InputError, ModelError, UnsupportedError
from mmviewer.core.models import files
from mmviewer.core.models.base import LoadedModel, ModelSource, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.openclip import points
from mmviewer.core.models.openclip.model import OpenClipModel, load_parts
from mmviewer.core.models.openclip.source import CONFIG
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.models.sound.features import STEP, Hearing, SeeingAndHearing
from mmviewer.core.models.sound.files import WEIGHTS, folder_of, load_tower
from mmviewer.core.models.sound.tower import SoundConfig, SoundTower
from mmviewer.core.models.tower import Tower
from mmviewer.core.progress import Progress
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, PointRole, TokenSpan

SOUND = "sound.self"


class HearingModel(OpenClipModel):
    """An open_clip model whose module carries a `SoundTower` as ``sound``.

    What concerns images and texts is the open_clip model's own; sounds are those of a `SoundSide`.
    """

    def __init__(
        self, module: nn.Module, tokenizer: Any, placement: Placement, identity: Identity, family: str
    ) -> None:
        super().__init__(module, tokenizer, placement, identity)
        tower: SoundTower = self._model.sound
        seeing = [
            point if point.role is PointRole.TEXT_SELF else replace(point, modality=Modality.IMAGE)
            for point in self.info.points
        ]
        self.info = replace(
            self.info,
            family=family,
            capabilities=self.info.capabilities | {Capability.EMBED_AUDIO},
            points=(*seeing, identity.marked(_sound_point(tower.config))),
            preprocessing=f"{self.info.preprocessing}; sound: {_describe(tower.config)}",
        )

    @property
    def _ears(self) -> SoundSide:
        return SoundSide(self, self._model.sound)

    def side(self, modality: Modality) -> LoadedModel:
        """The model as it stands to sounds, to images, or as a whole to texts."""
        if modality is Modality.AUDIO:
            return self._ears
        eyes = copy.copy(self)
        eyes.info = self.info.side(modality)
        return eyes

    def prepare(self, media: Media) -> Prepared:
        """Prepare an image for the image tower, or a sound for the sound tower."""
        if media.modality is Modality.TEXT:
            raise InputError(f"{media.name} is a text; choose an image or a sound.")
        return self._ears.prepare(media) if media.modality is Modality.AUDIO else super().prepare(media)

    def preparation(self) -> Preparation | None:
        """That of the image tower and that of the sound tower."""
        eyes = super().preparation()
        return None if eyes is None else SeeingAndHearing(eyes, self._ears.preparation())

    def receive(self, batch: Sequence[Ready]) -> list[Prepared]:
        """Complete images or sounds, which are not mixed."""
        sounds = bool(batch) and batch[0].modality is Modality.AUDIO
        return self._ears.receive(batch) if sounds else super().receive(batch)

    def audio_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of sounds."""
        return self._ears.audio_features(batch)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches, or over the moments of a sound."""
        if point.name == SOUND:
            return self._ears.position_weights(point, captured, prepared)
        return super().position_weights(point, captured, prepared)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """Rows whose outputs become the embedding; in the sound tower that of the class token."""
        return slice(0, 1) if point.name == SOUND else super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most."""
        if point.name == SOUND:
            return self._ears.attention_size(point, tokens)
        return super().attention_size(point, tokens)


class SoundSide(LoadedModel):
    """A `HearingModel` as sounds meet it: its sound tower and its text tower."""

    def __init__(self, whole: OpenClipModel, tower: SoundTower) -> None:
        self.info = whole.info.side(Modality.AUDIO)
        self.module = whole.module
        self.placement = whole.placement
        self._whole = whole
        self._sound = tower

    def prepare(self, media: Media) -> Prepared:
        """Take the log-mel of a sound of 16 kHz; what lies past the tower's reach is not heard."""
        return self.receive([self.preparation()(media)])[0]

    def preparation(self) -> Preparation:
        """The log-mel, which NumPy computes."""
        return Hearing(self._sound.config)

    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones."""
        return self._whole.tokenize(text)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts."""
        return self._whole.text_features(texts)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Scale similarities as those of images are scaled."""
        return self._whole.logits(similarities)

    def audio_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of sounds."""
        with memory_errors(self.placement.device, f"Encoding {len(batch)} sounds"):
            vectors = [self._sound(prepared.inputs["mel"]) for prepared in batch]  # of different lengths
        return torch.cat(vectors)

    def tower(self) -> Tower:
        """The sound tower, layer by layer."""
        return _SoundLayers(self._sound)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """The row of the class token."""
        return slice(0, 1) if point.name == SOUND else super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has for the longest sound."""
        if point.role is PointRole.TEXT_SELF:
            return (self.info.context_length + 1,) * 2
        positions = 1 + round(self._sound.config.max_seconds / STEP)
        return positions, positions

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over the positions of the sound, the class token's column left out."""
        if point.name != SOUND:
            raise UnsupportedError(f"The {point.label} does not listen to the sound; choose another point.")
        return points.stack_layers(captured, point.name)[..., 1:]


class _SoundLayers(Tower):
    """A sound tower for methods that look between input and embedding."""

    prefix = 1

    def __init__(self, tower: SoundTower) -> None:
        self._tower = tower
        self._blocks: Any = tower.transformer.resblocks
        self.layers = len(self._blocks)

    def start(self, batch: Sequence[Prepared]) -> Tensor:
        """Convolved log-mels behind the class token; the sounds must be equally long."""
        return self._tower.start(torch.cat([prepared.inputs["mel"] for prepared in batch]))

    def layer(self, index: int, hidden: Tensor) -> Tensor:
        """One residual block."""
        output: Tensor = self._blocks[index](hidden)
        return output

    def attended(self, index: int, mixed: Tensor) -> Tensor:
        """Output projection of the heads side by side."""
        projection = self._blocks[index].attn.out_proj
        joined = mixed.transpose(1, 2).flatten(2).to(projection.weight.dtype)
        return functional.linear(joined, projection.weight, projection.bias)

    def embed(self, hidden: Tensor) -> Tensor:
        """Norm and projection of the class token."""
        return self._tower.vectors(hidden[:, 0])

    def embed_vectors(self, hidden: Tensor) -> Tensor:
        """Norm and projection of each vector."""
        return self._tower.vectors(hidden)


def load(wanted: ModelSource, placement: Placement, progress: Progress, family: str) -> HearingModel:
    """Load the three towers of the folder that `wanted` names."""
    folder = folder_of(wanted.spec)
    if folder is None:
        raise ModelError(f"{wanted.spec} carries no sound tower; choose another folder.")
    tower = load_tower(folder)
    shared = files.read_json(folder / CONFIG).get("model_cfg", {}).get("embed_dim")
    if tower.config.embed_dim != shared:
        raise ModelError(
            f"The sound tower in {folder} has vectors of {tower.config.embed_dim} numbers, the others of "
            f"{shared}: they are not of one model; get the model's files again."
        )
    module, tokenizer, placement, identity = load_parts(wanted, placement, progress)
    with memory_errors(placement.device, f"Loading {identity.label}"):
        module.add_module("sound", tower.to(placement.device, placement.dtype))
    # The model comes in two files: the checksum of the second stands beside that of the first.
    ears = f"sound {files.sha256(folder / WEIGHTS, progress)[:12]}"
    identity = replace(identity, revision=f"{identity.revision} {ears}".strip())
    return HearingModel(module, tokenizer, placement, identity, family)


def tiny_tower(embed_dim: int) -> SoundTower:
    """A random tower of a few thousand weights, for tests."""
    with torch.random.fork_rng(devices=[]):
        tower = SoundTower(
            SoundConfig(embed_dim, 16, 1, 4, width=32, layers=2, heads=4, mels=16, reach=5, min_seconds=0.5)
        )
        torch.manual_seed(4)  # one under which no method finds the same nothing for every word
        for parameter in tower.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.15)  # so that maps are not even
            elif parameter is tower.class_token:
                nn.init.normal_(parameter)
    return tower.eval().requires_grad_(False)


def _sound_point(config: SoundConfig) -> CapturePoint:
    modules = tuple(f"sound.transformer.resblocks.{layer}.attn" for layer in range(config.layers))
    return CapturePoint(
        SOUND,
        PointRole.ENCODER_SELF,
        "sound encoder self-attention",
        config.layers,
        config.heads,
        "sound frames",
        "sound frames",
        modules,
        modality=Modality.AUDIO,
    )


def _describe(config: SoundConfig) -> str:
    return (
        f"16 kHz mono, log-mel of {config.mels} bands every 10 ms relative to the loudest, "
        f"the first {config.max_seconds:g} s"
    )
