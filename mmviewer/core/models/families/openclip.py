"""OpenCLIP: CLIP, SigLIP, CoCa and their kin, any architecture of the installed open_clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import open_clip
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.capture.mechanism import recording
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.media.geometry import ImageGeometry, ResizeMode
from mmviewer.core.models import files
from mmviewer.core.models.base import (
    FAMILIES,
    Decoder,
    Family,
    LoadedModel,
    ModelSource,
    Placement,
    Prepared,
)
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.identity import Identity, model_info
from mmviewer.core.models.openclip import build, points, source
from mmviewer.core.models.openclip.decoder import CocaDecoder
from mmviewer.core.models.openclip.text import TextCodec
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import (
    Capability,
    CapturePoint,
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
        self._grid = points.patch_grid(self._model.visual)
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
        )

    # --- input ---------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Resize and normalise an image as the model was trained."""
        if media.pixels is None:
            raise InputError(f"{media.name} is no image, which {self.info.label} needs; choose an image.")
        geometry = self._geometry(media.size)
        image = build.without_detour(Image.fromarray(media.pixels), geometry, self._preprocessing)
        pixels: Tensor = self._transform(image)  # [3, H, W]
        pixels = pixels[None].to(self.placement.device, self.placement.dtype)
        return Prepared(media.id, Modality.IMAGE, {"pixels": pixels}, geometry)

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
    def decoder(self, prepared: Prepared) -> Decoder:
        """Start a caption; the image is encoded once."""
        self._need_captions()
        with torch.no_grad(), memory_errors(self.placement.device, "Captioning"):
            return CocaDecoder(self._model, self._image_tokens(prepared), self._codec.begin, self._codec.end)

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One forward over a whole caption: logits [T, V], row j predicts the token after ``ids[j]``."""
        self._need_captions()
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The caption has {len(ids)} tokens, but {self.info.label} takes {self.info.context_length}; "
                "shorten it."
            )
        text = torch.tensor([list(ids)], device=self.placement.device)
        with memory_errors(self.placement.device, "Reading the caption"):
            _, token_embeddings = self._model.text(text)
            logits: Tensor = self._model.text_decoder(self._image_tokens(prepared), token_embeddings)
        return logits[0].float()

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Caption text of ids and what each covers of it."""
        self._need_captions()
        return self._codec.join(ids)

    # --- capture -------------------------------------------------------------------------------------
    def needed_points(self, point: CapturePoint) -> tuple[CapturePoint, ...]:
        """Cross-attention to pooled image tokens needs the pooler's own attention."""
        pool = self.point(PointRole.POOL)
        return (point, pool) if point.role is PointRole.CROSS and pool is not None else (point,)

    def position_weights(self, point: CapturePoint, captured: Mapping[str, Sequence[Tensor]]) -> Tensor:
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
        visual = self._model.visual
        wanted = self._preprocessing.size
        height, width = wanted if isinstance(wanted, tuple | list) else (wanted, wanted)
        patch = tuple(visual.patch_size) if hasattr(visual, "patch_size") else None
        mode = _MODES[self._preprocessing.resize_mode]
        return ImageGeometry.for_resize(size, (height, width), mode, self._grid, patch)

    def _image_tokens(self, prepared: Prepared) -> Tensor:
        """What the decoder sees of an image [1, N, D]."""
        tokens: Tensor = self._model.visual._pool(self._encoded([prepared]))[1]
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


class OpenClipFamily(Family):
    """Loads what open_clip can build."""

    key = "openclip"
    label = "OpenCLIP"

    def recognises(self, wanted: ModelSource) -> bool:
        """Whether the spec is a folder, file, tag or hub id of an OpenCLIP model."""
        return source.recognises(wanted.spec)

    def load(self, wanted: ModelSource, placement: Placement, progress: Progress = SILENT) -> LoadedModel:
        """Build the model, load its weights and its tokenizer."""
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
        )
        return OpenClipModel(module, tokenizer, placement, identity)

    def tiny_variants(self) -> tuple[str, ...]:
        """The kinds of towers that differ in how attention leads to patches."""
        return tuple(_TINY)

    def tiny(self, variant: str = "") -> LoadedModel:
        """A random model of a few thousand weights beside its vocabulary."""
        name = variant or "clip"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = build.construct(_TINY[name])
            for parameter in module.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.15)  # so that maps are not even
        build.attach_preprocessing(module, {"resize_mode": "squash"} if name == "siglip" else {})
        module = module.eval().requires_grad_(False)
        tokenizer = open_clip.SimpleTokenizer(context_length=_TEXT["context_length"])
        placement = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")
        return OpenClipModel(module, tokenizer, placement, Identity(f"tiny {name}", f"tiny:{name}", name))


_TEXT: dict[str, Any] = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
_COCA_TEXT = {**_TEXT, "embed_cls": True, "output_tokens": True}
_VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "layers": 3, "width": 32, "head_width": 8}
_POOLED = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 9}
_TINY: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 32, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "resnet": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": _TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {**_TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
    "coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**_VIT, **_POOLED, "output_tokens": True},
        "text_cfg": _COCA_TEXT,
        "multimodal_cfg": _TEXT,
    },
    "coca without pooler": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**_VIT, "output_tokens": True},
        "text_cfg": _COCA_TEXT,
        "multimodal_cfg": _TEXT,
    },
}

FAMILIES.add("openclip")(OpenClipFamily())
