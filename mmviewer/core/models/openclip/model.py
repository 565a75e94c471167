"""An open_clip model behind the common interface: images, texts, captions, capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.capture.mechanism import recording
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.media.geometry import ImageGeometry, ResizeMode
from mmviewer.core.models import files
from mmviewer.core.models.base import Decoder, LoadedModel, ModelSource, Placement, Prepared
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.identity import Identity, model_info
from mmviewer.core.models.openclip import build, points, source, stages
from mmviewer.core.models.openclip.decoder import CocaDecoder
from mmviewer.core.models.openclip.pixels import Resizing, without_detour
from mmviewer.core.models.openclip.text import TextCodec
from mmviewer.core.models.openclip.tower import find_tower
from mmviewer.core.models.preparation import Preparation, Ready
from mmviewer.core.models.stages import Stage
from mmviewer.core.models.tower import Tower
from mmviewer.core.progress import Progress
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    Geometry,
    Media,
    Modality,
    PointRole,
    TokenSpan,
)

_MODES: dict[str, ResizeMode] = {"shortest": "crop", "longest": "pad", "squash": "squash"}


class OpenClipModel(LoadedModel):
    """An open_clip model with its preprocessing and tokenizer."""

    def __init__(self, module: nn.Module, tokenizer: Any, placement: Placement, identity: Identity) -> None:
        self.module = module
        self.placement = placement
        self._model: Any = module
        self._preprocessing = build.preprocessing(module)
        self._transform = build.transform(self._preprocessing)
        text: Any = getattr(module, "text", module)  # plain CLIP has no module of its own for it
        self._codec = TextCodec(tokenizer, int(text.context_length))
        self._stages = stages.find_stages(module)
        self._grid = self._stages[-1].grid if self._stages else points.patch_grid(self._model.visual)
        self._kept: WeakKeyDictionary[Prepared, Tensor] = WeakKeyDictionary()
        self.info = model_info(
            identity,
            "openclip",
            module,
            placement,
            capabilities=self._capabilities(),
            points=points.find_points(module),
            preprocessing=build.describe(self._preprocessing),
            context_length=self._codec.context_length,
            features=stages.stage_point(self._stages),
        )

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and normalise an image as the model was trained."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        geometry = self._geometry(media.size)
        image = without_detour(Image.fromarray(media.pixels), geometry, self._preprocessing.interpolation)
        pixels: Tensor = self._transform(image)  # [3, H, W]
        pixels = pixels[None].to(self.placement.device, self.placement.dtype)
        return Prepared(media.id, Modality.IMAGE, {"pixels": pixels}, geometry)

    def preparation(self) -> Preparation | None:
        """Resizing by Pillow; None for models that pad, which only torchvision does."""
        size, grid, patch = self._input
        mode = _MODES[self._preprocessing.resize_mode]
        if mode == "pad":
            return None
        return Resizing(self.info.label, size, mode, self._preprocessing.interpolation, grid, patch)

    def receive(self, batch: Sequence[Ready]) -> list[Prepared]:
        """Make numbers of bytes and normalise them, on the device."""
        bytes_ = np.concatenate([ready.arrays["pixels"] for ready in batch])  # [N, H, W, 3]
        pixels = torch.from_numpy(bytes_).to(self.placement.device).permute(0, 3, 1, 2)
        mean, deviation = (
            torch.tensor(values, device=pixels.device)[:, None, None]
            for values in (self._preprocessing.mean, self._preprocessing.std)
        )
        normal = pixels.float().div(255).sub_(mean).div_(deviation).to(self.placement.dtype).contiguous()
        return [
            Prepared(
                ready.media_id, ready.modality, {"pixels": normal[place][None]}, self._staged(ready.geometry)
            )
            for place, ready in enumerate(batch)
        ]

    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones."""
        return self._codec.split(text)

    # --- embeddings ------------------------------------------------------------------------------
    def image_features(self, batch: Sequence[Prepared]) -> Tensor:
        """Return [N, D] unit embeddings of images."""
        visual = self._model.visual
        with memory_errors(self.placement.device, f"Encoding {len(batch)} images"):
            if Capability.CAPTION in self.info.capabilities:
                features: Tensor = visual._pool(self._encoded(batch))[0] @ visual.proj
            else:
                pixels = torch.cat([prepared.inputs["pixels"] for prepared in batch])
                features = self._model.encode_image(pixels, normalize=False)
        return functional.normalize(features.float(), dim=-1)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Return [N, D] unit embeddings of texts; `InputError` for one over the context length."""
        ids = self._codec.batch(texts).to(self.placement.device)
        with memory_errors(self.placement.device, f"Encoding {len(texts)} texts"):
            features: Tensor = self._model.encode_text(ids, normalize=False)
        return functional.normalize(features.float(), dim=-1)

    def logits(self, similarities: Tensor) -> tuple[Tensor, str]:
        """Scale similarities as trained; a model with a bias scores each label by itself."""
        scaled = similarities * self._model.logit_scale.exp()
        bias = self._model.logit_bias
        return (scaled, "softmax") if bias is None else (scaled + bias, "sigmoid")

    # --- captions ----------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a caption, or one that goes on from `prompt`; the image is encoded once."""
        self._need_captions()
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            image_tokens = self._image_tokens([prepared])
            return CocaDecoder(self._model, image_tokens, (self._codec.begin, *prompt), self._codec.end)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One forward over a whole caption: logits [T, V], row j predicts the token after ``ids[j]``."""
        return self.sequence_logits_of([prepared], ids)[0]

    def sequence_logits_of(self, batch: Sequence[Prepared], ids: Sequence[int]) -> Tensor:
        """The same for several images in one forward: logits [B, T, V]."""
        self._need_captions()
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The caption has {len(ids)} tokens, but {self.info.label} takes {self.info.context_length}; "
                "shorten it."
            )
        text = torch.tensor([list(ids)], device=self.placement.device)
        with memory_errors(self.placement.device, "Reading the caption"):
            _, token_embeddings = self._model.text(text)
            tokens = token_embeddings.expand(len(batch), -1, -1)
            logits: Tensor = self._model.text_decoder(self._image_tokens(batch), tokens)
        return logits.float()

    def before_vocabulary(self) -> nn.Module | None:
        """The decoder's last norm."""
        decoder = getattr(self._model, "text_decoder", None)
        return None if decoder is None else decoder.ln_final

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Caption text of ids and what each covers of it."""
        self._need_captions()
        return self._codec.join(ids)

    # --- capture -------------------------------------------------------------------------------------
    def stages(self) -> tuple[Stage, ...]:
        """Feature maps of a convolutional image tower."""
        return self._stages

    def tower(self) -> Tower | None:
        """The image tower, where it is a plain vision transformer."""
        return find_tower(self._model.visual)

    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """Cross-attention to pooled image tokens needs the pooler's own attention."""
        pool = self.point(PointRole.POOL)
        return (point, pool) if point.role is PointRole.CROSS and pool is not None else (point,)

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over patches; pooled image tokens are followed through the pooler."""
        if point.name in (points.TEXT, points.DECODER):
            raise UnsupportedError(f"The {point.label} does not look at the image; choose another point.")
        weights = points.stack_layers(captured, point.name)
        positions = self._grid[0] * self._grid[1]
        pool = self.point(PointRole.POOL)
        if point.role is PointRole.CROSS and pool is not None:
            return points.through_pooler(weights, captured[pool.name][0][0], positions)
        return points.drop_prefix(weights, positions)

    def embedding_rows(self, point: CapturePoint) -> slice:
        """Rows of the class token, of the patches where these are averaged, or of the first pooling query."""
        if point.role is PointRole.ENCODER_SELF:
            return points.embedding_rows(self._model.visual)
        return super().embedding_rows(point)

    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most for a text of `tokens` tokens."""
        keys = self._grid[0] * self._grid[1] + points.prefix_tokens(self._model.visual)
        queries = points.pooler_queries(self._model.visual)
        text = self.info.context_length + 1  # CoCa appends a class token
        return {
            PointRole.ENCODER_SELF: (keys, keys),
            PointRole.POOL: (queries, keys),
            PointRole.TEXT_SELF: (text, text),
            PointRole.DECODER_SELF: (tokens, tokens),
            PointRole.CROSS: (tokens, keys if self.point(PointRole.POOL) is None else queries),
        }[point.role]

    # --- inside ----------------------------------------------------------------------------------------
    def _capabilities(self) -> frozenset[Capability]:
        can = {Capability.EMBED_IMAGE, Capability.EMBED_TEXT}
        if isinstance(self.module, open_clip.CoCa) and self._codec.decodes and _decodes(self.module):
            can.add(Capability.CAPTION)
        return frozenset(can)

    def _need_captions(self) -> None:
        if Capability.CAPTION not in self.info.capabilities:
            raise self._lacks(Capability.CAPTION)

    def _geometry(self, size: tuple[int, int]) -> ImageGeometry:
        wanted, grid, patch = self._input
        mode = _MODES[self._preprocessing.resize_mode]
        return self._staged(ImageGeometry.for_resize(size, wanted, mode, grid, patch))

    @property
    def _input(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int] | None]:
        """Size of what the model sees, its grid, and the size of a patch."""
        visual = self._model.visual
        wanted = self._preprocessing.size
        height, width = wanted if isinstance(wanted, tuple | list) else (wanted, wanted)
        return (
            (height, width),
            self._grid,
            tuple(visual.patch_size) if hasattr(visual, "patch_size") else None,
        )

    def _staged(self, geometry: Geometry) -> ImageGeometry:
        """The geometry with the cells of the last feature map, where there are any."""
        assert isinstance(geometry, ImageGeometry)
        return self._stages[-1].place(geometry) if self._stages else geometry

    def _image_tokens(self, batch: Sequence[Prepared]) -> Tensor:
        """What the decoder sees of images [B, N, D]."""
        tokens: Tensor = self._model.visual._pool(self._encoded(batch))[1]
        return tokens

    def _encoded(self, batch: Sequence[Prepared]) -> Tensor:
        """Output of the image tower's blocks [N, 1 + P, W], before pooling.

        It is kept as long as an item lives, so that embedding, caption and maps encode the image once.
        Pooling is cheap and always done anew, for it may be recorded. Where the blocks themselves are
        recorded or differentiated, they run again and nothing is kept.
        """
        visual = self._model.visual
        fresh = recording(visual.transformer) or any(item.inputs["pixels"].requires_grad for item in batch)
        missing = [item for item in batch if fresh or item not in self._kept]
        if missing:
            pixels = torch.cat([item.inputs["pixels"] for item in missing])
            with torch.set_grad_enabled(fresh and torch.is_grad_enabled()):
                encoded = visual.transformer(visual._embeds(pixels))
            if fresh:
                return encoded  # type: ignore[no-any-return]
            for item, output in zip(missing, encoded, strict=True):
                self._kept[item] = output
        return torch.stack([self._kept[item] for item in batch])


def _decodes(model: Any) -> bool:
    """Whether a CoCa's blocks are those that `CocaDecoder` steps through, reading from left to right."""
    text = getattr(model.text, "transformer", None)
    blocks = [*getattr(text, "resblocks", ()), *model.text_decoder.resblocks, *model.text_decoder.cross_attn]
    plain = all(isinstance(getattr(block, "attn", None), nn.MultiheadAttention) for block in blocks)
    return plain and hasattr(text, "resblocks") and getattr(model.text, "attn_mask", None) is not None


Parts = tuple[nn.Module, Any, Placement, Identity]
"""What an `OpenClipModel` is made of."""


def load_parts(wanted: ModelSource, placement: Placement, progress: Progress) -> Parts:
    """Build the model that `wanted` names, load its weights and its tokenizer."""
    resolved = source.resolve(wanted.spec, progress)
    with memory_errors(placement.device, f"Loading {resolved.label}"):
        digest = files.sha256(resolved.weights, progress)
        module = build.build(resolved, progress)
        tokenizer = build.tokenizer(resolved)
        build.place(module, placement)
    identity = Identity(
        resolved.label,
        wanted.spec,
        digest,
        resolved.revision,
        resolved.notes,
        resolved.labels,
        resolved.best_layers,
        resolved.guided_layers,
        resolved.about,
    )
    return module, tokenizer, placement, identity
