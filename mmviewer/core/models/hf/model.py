"""What models of transformers have in common behind the interface."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from torch import nn

from mmviewer.core.errors import InputError
from mmviewer.core.models.base import LoadedModel, Placement, Prepared
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.text import TextCodec
from mmviewer.core.models.identity import Identity, model_info
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, TokenSpan


class HfModel(LoadedModel):
    """A module of transformers with its tokenizer.

    Parameters
    ----------
    family : str
        Key of the family.
    module : nn.Module
        Frozen, on its device.
    codec : TextCodec
    placement : Placement
    identity : Identity
    capabilities : set of Capability
    points, features : tuple of CapturePoint
    preprocessing : str
        One line for provenance.
    """

    def __init__(
        self,
        family: str,
        module: nn.Module,
        codec: TextCodec,
        placement: Placement,
        identity: Identity,
        *,
        capabilities: Set[Capability],
        points: tuple[CapturePoint, ...],
        preprocessing: str,
        features: tuple[CapturePoint, ...] = (),
    ) -> None:
        self.module = module
        self.placement = placement
        self._model: Any = module
        self._codec = codec
        self.info = model_info(
            identity,
            family,
            module,
            placement,
            capabilities=capabilities,
            points=points,
            preprocessing=preprocessing,
            context_length=codec.context_length,
            features=features,
        )

    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones."""
        return self._codec.split(text)

    def prepared_image(self, media: Media, pixels: Pixels) -> Prepared:
        """Prepare an image with `pixels`; refuse anything else in words."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        values, geometry = pixels.prepare(media, self.placement.device, self.placement.dtype)
        return Prepared(media.id, Modality.IMAGE, {"pixels": values}, geometry)
