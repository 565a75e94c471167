"""Show, Attend and Tell behind the common interface: captions, and the attention at every word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import in_rows
from mmviewer.core.errors import InputError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Decoder, LoadedModel, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.identity import Identity, model_info
from mmviewer.core.models.sat.network import Memory, ShowAttendTell
from mmviewer.core.models.sat.words import Words
from mmviewer.core.types import Capability, CapturePoint, Media, Modality, PointRole, TokenSpan

ATTENTION = "decoder.cross"
CONTEXT = 32
"""Words that are read and written at most; an LSTM has no limit of its own."""
_CENTRE = 127.5  # the trunk takes pixels between -1 and 1


class SatDecoder(Decoder):
    """One running caption; what was read is remembered in h and c alone.

    Raises
    ------
    InputError
        The prompt leaves no room to write on.
    """

    def __init__(self, network: ShowAttendTell, cells: Tensor, prompt: tuple[int, ...], end: int) -> None:
        self.prompt = prompt
        self.stop = frozenset((end,))
        self.room = CONTEXT - len(prompt) + 1  # the last word is written, but not read
        if self.room < 2:
            raise InputError(
                f"The given text has {len(prompt)} words and leaves no room to write on: this model reads "
                f"and writes {CONTEXT} in all; give a shorter one."
            )
        self._network, self._cells = network, cells
        self._memory: Memory | None = None
        self._read = 0

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [K] of the word after `prompt + ids`."""
        sequence = [*self.prompt, *ids]
        if len(sequence) != max(self._read + 1, len(self.prompt)):
            raise ValueError("a decoder takes one more token at each step")
        new = torch.tensor([sequence[self._read :]], device=self._cells.device)
        logits, self._memory = self._network.read(self._cells, new, self._memory)
        self._read = len(sequence)
        last: Tensor = logits[0, -1].float()
        return last


class SatModel(LoadedModel):
    """The network with its vocabulary."""

    recurrent = True

    def __init__(
        self, family: str, network: ShowAttendTell, words: Words, placement: Placement, identity: Identity
    ) -> None:
        self.module = network
        self.placement = placement
        self._network, self._words = network, words
        self._grid, self._side = network.sizes.grid, network.sizes.side
        self._kept: WeakKeyDictionary[Prepared, Tensor] = WeakKeyDictionary()
        self.info = model_info(
            identity,
            family,
            network,
            placement,
            capabilities={Capability.CAPTION},
            points=(attention_point(),),
            preprocessing=f"{self._side} × {self._side} px, squash, bicubic, mean 0.5, deviation 0.5",
            context_length=CONTEXT,
        )

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and scale an image as the trunk was trained."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        size = (self._side, self._side)
        geometry = ImageGeometry.for_resize(media.size, size, "squash", self._grid)
        image = Image.fromarray(media.pixels).resize(size, Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.asarray(image, dtype=np.float32)) / _CENTRE - 1  # [H, W, 3]
        pixels = values.permute(2, 0, 1)[None].to(self.placement.device, self.placement.dtype)
        return Prepared(media.id, Modality.IMAGE, {"pixels": pixels}, geometry)

    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Words of `text` without start and end."""
        return self._words.split(text)

    # --- captions --------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption, or one that goes on from `prompt`; the image is encoded once."""
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            cells = self._cells([prepared])
        return SatDecoder(self._network, cells, (self._words.start, *prompt), self._words.end)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One pass over a whole caption: logits [T, K], row j predicts the word after ``ids[j]``."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several images at once: logits [B, T, K]."""
        if len(ids) > CONTEXT:
            raise InputError(
                f"The text has {len(ids)} words, but {self.info.label} takes {CONTEXT}; shorten it."
            )
        text = torch.tensor([list(ids)] * len(batch), device=self.placement.device)
        with memory_errors(self.placement.device, "Reading the caption"), in_rows(len(ids)):
            return self._network.read(self._cells(batch), text)[0].float()

    def before_vocabulary(self) -> nn.Module | None:
        """The deep output, of which each word is chosen."""
        return self._network.output

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Caption text of ids and what each covers of it."""
        return self._words.join(ids)

    def _cells(self, batch: Sequence[Prepared]) -> Tensor:
        """Annotation vectors [B, L, D], kept while an item lives; fresh where pixels are differentiated."""
        if any(item.inputs["pixels"].requires_grad for item in batch):
            cells: Tensor = self._network.encoder(torch.cat([item.inputs["pixels"] for item in batch]))
            return cells
        missing = [item for item in batch if item not in self._kept]
        if missing:
            with torch.no_grad():
                encoded = self._network.encoder(torch.cat([item.inputs["pixels"] for item in missing]))
            self._kept.update(zip(missing, encoded, strict=True))
        return torch.stack([self._kept[item] for item in batch])

    # --- capture -----------------------------------------------------------------------------------
    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """A row for every word, a column for every cell."""
        return tokens, self._grid[0] * self._grid[1]

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [1, 1, T, L]: alpha lies on the cells as it is."""
        return torch.stack([weights[0] for weights in captured[point.name]])


def attention_point() -> CapturePoint:
    """The soft attention: one layer, one head."""
    return CapturePoint(
        ATTENTION,
        PointRole.CROSS,
        "soft attention (alpha)",
        layers=1,
        heads=1,
        queries="caption words",
        keys="cells of the convolutional maps",
        modules=("attention",),
    )
