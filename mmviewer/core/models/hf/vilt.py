"""ViLT: words and patches in one transformer, whose first token chooses among known answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.errors import InputError, MediaError
from mmviewer.core.media.geometry import ImageGeometry
from mmviewer.core.models.base import Decoder, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.hf.answering import AnswerCodec, Choice, answer_logits
from mmviewer.core.models.hf.model import HfModel
from mmviewer.core.models.hf.pixels import Pixels
from mmviewer.core.models.hf.points import capture_point, stacked
from mmviewer.core.models.identity import Identity
from mmviewer.core.types import Capability, CapturePoint, Media, PointRole, TokenSpan

JOINT = "joint.self"


class ViltAnswerer(HfModel):
    """``ViltForQuestionAnswering``.

    An answer is a single token: its id is that of the label behind the vocabulary of the words. The ids of a
    sequence are one for each position of the picture, the separator, the words of the question and the class
    token, in this order, so that the last row is the one that chooses; the places of words tell the model
    their true order.
    """

    text_first = True

    _codec: AnswerCodec

    def __init__(
        self,
        family: str,
        module: Any,
        pixels: ViltPixels,
        codec: AnswerCodec,
        placement: Placement,
        identity: Identity,
    ) -> None:
        super().__init__(
            family,
            module,
            codec,
            placement,
            identity,
            capabilities=frozenset((Capability.ANSWER,)),
            points=(
                capture_point(
                    module,
                    JOINT,
                    PointRole.JOINT,
                    r"vilt\.encoder\.layer\.\d+\.attention\.attention",
                    module.config.num_attention_heads,
                    label="joint self-attention",
                    queries="words and image patches",
                    keys="words and image patches",
                ),
            ),
            preprocessing=pixels.describe(),
        )
        self._pixels = pixels
        self._words = int(module.config.vocab_size)
        self._begin, self._end = int(codec.tokenizer.cls_token_id), int(codec.tokenizer.sep_token_id)

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and normalise an image as the model was trained; its shape is nearly kept."""
        return self.prepared_image(media, self._pixels)

    def question_ids(self, question: str, history: Sequence[tuple[str, str]] = ()) -> tuple[int, ...] | None:
        """The words of the question, and the class token that answers; earlier ones are not read."""
        return (*self._codec.ids(question), self._begin)

    # --- answers -----------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Choose the answer to a question in the form of `question_ids`; without one, to an empty one."""
        picture = (self._begin,) * _positions(prepared)
        return Choice(self, prepared, (*picture, self._end, *(prompt or (self._begin,))))

    def answer_forms(self, answer: str) -> tuple[tuple[int, ...], ...]:
        """The one id of a known answer."""
        return ((self._words + self._codec.label(answer),),)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """Logits [T, V] after each id of a question; zero but in the last row, which chooses the answer."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several images, at once where they are of one size: logits [B, T, V]."""
        if len({prepared.inputs["pixels"].shape for prepared in batch}) > 1:
            return super().sequence_logits_of(batch, ids)
        question = self._question(ids[_positions(batch[0]) :])
        pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
        with memory_errors(self.placement.device, "Answering"):
            chosen = self._answers(question.expand(len(batch), -1), pixels)  # [B, labels]
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
        """Weights [L, H, Q, P] over patches; the columns of class token and words left out."""
        if prepared is None:
            raise InputError("The size of the image is not known; prepare it again.")
        return stacked(captured, point.name)[..., 1 : _positions(prepared)]

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has; `tokens` counts the positions of the picture too."""
        return tokens, tokens

    # --- inside ----------------------------------------------------------------------------------------
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

    def _answers(self, ids: Tensor, pixels: Tensor) -> Tensor:
        """Logits [N, labels] of questions [N, T] about images [N, 3, H, W]."""
        vilt, embeddings = self._model.vilt, self._model.vilt.embeddings
        count = ids.shape[1]
        places = torch.tensor([[count - 1, *range(1, count - 1), 0]], device=ids.device)
        kinds = embeddings.token_type_embeddings.weight  # of words, of patches
        words = embeddings.text_embeddings(input_ids=ids, position_ids=places) + kinds[0]
        hidden = torch.cat((self._patches(pixels) + kinds[1], words), dim=1)  # [N, 1 + P + T, W]
        output = vilt.encoder(hidden, return_dict=True).last_hidden_state
        pooled = vilt.pooler(vilt.layernorm(output)[:, -1:])
        logits: Tensor = self._model.classifier(pooled).float()
        return logits

    def _patches(self, pixels: Tensor) -> Tensor:
        """Class token and patches with their places [N, 1 + P, W], row by row.

        The library draws patches in a random order, which changes nothing but their order in the maps.
        """
        embeddings = self._model.vilt.embeddings
        patches = embeddings.patch_embeddings(pixels)  # [N, W, R, C]
        config = self._model.config
        side = config.image_size // config.patch_size
        learned = embeddings.position_embeddings
        table = learned[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        grid = patches.shape[2:]
        table = functional.interpolate(table, size=grid, mode="bilinear", align_corners=True)
        placed = (patches + table).flatten(2).transpose(1, 2)
        first = (embeddings.cls_token + learned[:, :1]).expand(len(placed), -1, -1)
        return torch.cat((first, placed), dim=1)

    def before_vocabulary(self) -> nn.Module | None:
        """None: one row makes the logits."""
        return None


def _positions(prepared: Prepared) -> int:
    """Class token and patches of a picture."""
    assert isinstance(prepared.geometry, ImageGeometry)
    rows, columns = prepared.geometry.grid
    return 1 + rows * columns


class ViltPixels(Pixels):
    """ViLT's image processor: shortest edge, then sides cut down to whole patches."""

    def __init__(self, processor: Any, patch: int) -> None:
        super().__init__(processor, patch)
        short = int(processor.size["shortest_edge"])
        self.most_patches = (short // patch) * (int(1333 / 800 * short) // patch)

    def prepare(self, media: Media, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ImageGeometry]:
        """Pixels [1, 3, H, W] and their geometry."""
        assert media.pixels is not None
        height, width = media.pixels.shape[:2]
        if max(height, width) > self.most_patches * min(height, width):
            raise _too_thin(width, height)
        image = torch.from_numpy(media.pixels).permute(2, 0, 1)
        try:
            found = self._processor(images=image, return_tensors="pt", input_data_format="channels_first")
        except (RuntimeError, ValueError) as error:  # a side has become shorter than a patch
            raise _too_thin(width, height) from error
        pixels: Tensor = found["pixel_values"].to(device, dtype)
        size = (pixels.shape[2], pixels.shape[3])
        grid = (size[0] // self._patch, size[1] // self._patch)
        geometry = ImageGeometry.for_resize(media.size, size, "squash", grid, (self._patch, self._patch))
        return pixels, geometry

    def describe(self) -> str:
        """One line for provenance."""
        short = int(self._processor.size["shortest_edge"])
        return f"shortest edge {short} px, sides cut to multiples of {self._processor.size_divisor} px"


def _too_thin(width: int, height: int) -> MediaError:
    return MediaError(
        f"A picture of {width} × {height} pixels is too thin for this model; crop it to a less extreme shape."
    )
