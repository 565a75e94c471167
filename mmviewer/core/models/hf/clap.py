"""CLAP: sounds and texts in one space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.models.base import Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.points import capture_point, not_at_input
from mmviewer.core.models.hf.sounds import LogMel, resampled
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.stages import Stage
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, PointRole

_COLUMNS = 32
"""Moments that the audio tower tells apart in its window at its end."""
_FINE = 64
"""Steps per column in which columns are laid over a sound that the window repeats."""
_STAGE = "audio_model.audio_encoder.norm"


_FEATURES = ("feature maps of the sound tower", 1, 1, "channels", "moments and pitches")


class ClapModel(HfModel):
    """CLAP with its feature extractor.

    Its audio tower attends within windows that move, so there is no map from one moment to all others;
    moments are explained by its last feature map, or by what their removal or gradient does to the score.
    """

    def __init__(
        self,
        family: str,
        module: Any,
        extractor: Any,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        self._mel = LogMel(extractor)
        text = module.config.text_config
        pattern = r"text_model\.encoder\.layer\.\d+\.attention\.self"
        role = PointRole.TEXT_SELF
        super().__init__(
            family,
            module,
            codec,
            placement,
            identity,
            capabilities={Capability.EMBED_AUDIO, Capability.EMBED_TEXT},
            points=(capture_point(module, "text.self", role, pattern, text.num_attention_heads),),
            features=(CapturePoint("sound.stages", PointRole.FEATURES, *_FEATURES, (_STAGE,)),),
            preprocessing=(
                f"{self._mel.rate / 1000:g} kHz mono, log-mel of {extractor.feature_size} bands every "
                f"{extractor.hop_length / self._mel.rate * 1000:g} ms, the first {self._seconds:g} s"
            ),
        )

    @property
    def _seconds(self) -> float:
        return self._mel.most / self._mel.rate

    def prepare(self, media: Media) -> Prepared:
        """Take the first seconds of a sound at the model's rate."""
        if media.samples is None or not len(media.samples):
            raise InputError(f"{media.name} holds no sound, which {self.info.label} needs; choose a sound.")
        heard = media.samples[: round(self._seconds * media.sample_rate)]
        samples = torch.from_numpy(resampled(heard, media.sample_rate, self._mel.rate))[: self._mel.most]
        step = self._seconds / _COLUMNS
        positions = max(math.ceil(round(len(heard) / media.sample_rate / step, 6)), 1)
        # the last position may reach past the sound, so that every one is equally long
        geometry = TimeGeometry(media.duration, len(heard) / media.sample_rate / positions, positions)
        inputs = {"samples": samples[None, None].to(self.placement.device)}  # [1, 1, N], float32
        return Prepared(media.id, Modality.AUDIO, inputs, geometry)

    def audio_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of sounds."""
        with memory_errors(self.placement.device, f"Encoding {len(batch)} sounds"):
            frames = torch.stack([self._mel(prepared.inputs["samples"][0, 0]) for prepared in batch])
            longer = torch.zeros(len(batch), 1, dtype=torch.bool, device=frames.device)
            features: Tensor = self._model.get_audio_features(
                frames.to(self.placement.dtype), is_longer=longer
            ).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts; `InputError` for one over the context length."""
        inputs = {name: value.to(self.placement.device) for name, value in self._codec.batch(texts).items()}
        with memory_errors(self.placement.device, f"Encoding {len(texts)} texts"):
            features: Tensor = self._model.get_text_features(**inputs).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Scale similarities of sounds with texts as trained."""
        return similarities * self._model.logit_scale_a.exp(), "softmax"

    def stages(self) -> tuple[Stage, ...]:
        """The map that is pooled: cells of time and pitch, folded to a square."""
        side = _side(self._model.config.audio_config)
        channels = int(self._model.audio_model.audio_encoder.num_features)
        return (Stage(_STAGE, (side, side), channels),)

    def stage_moments(self, stage: Stage, prepared: Prepared) -> Tensor:
        """Lay the columns of the folded map over the sound, as often as the window repeats it."""
        geometry = prepared.geometry
        assert isinstance(geometry, TimeGeometry)
        config = self._model.config.audio_config
        side, chunks = _side(config), int(config.spec_size) // int(config.num_mel_bins)
        cells = torch.arange(side * side)
        column = cells // side // (side // chunks) * side + cells % side  # in time; rows of a chunk are pitch
        count = chunks * side
        heard = geometry.step * geometry.positions
        seconds = (torch.arange(count * _FINE) + 0.5) * (self._seconds / (count * _FINE))
        filled = seconds < self._mel.filled(heard)
        place = ((seconds % heard) / geometry.step).long().clamp(max=geometry.positions - 1)
        columns = torch.zeros(count, geometry.positions)
        owner = torch.arange(count).repeat_interleave(_FINE)
        columns.index_put_((owner[filled], place[filled]), torch.ones(()), accumulate=True)
        moments = columns[column]
        return moments / moments.sum(0, keepdim=True)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """No point leads to moments of the sound."""
        raise not_at_input(point, "sound")

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most."""
        return self._codec.context_length, self._codec.context_length


def _side(config: Any) -> int:
    """Rows and columns of the last feature map."""
    stride = config.patch_stride
    first = stride[0] if isinstance(stride, list | tuple) else int(stride)
    side: int = int(config.spec_size) // first // 2 ** (len(config.depths) - 1)
    return side
