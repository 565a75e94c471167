"""Whisper behind the common interface: windows of a sound, transcripts, capture."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mmviewer.core.capture.mechanism import Block, placed, recording
from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.models import files, hub
from mmviewer.core.models.base import (
    Decoder,
    LoadedModel,
    Placement,
    Prepared,
)
from mmviewer.core.models.device import memory_errors
from mmviewer.core.models.identity import Identity, model_info
from mmviewer.core.models.whisper import build
from mmviewer.core.models.whisper.decoder import WhisperDecoder
from mmviewer.core.models.whisper.text import TextCodec
from mmviewer.core.progress import Progress
from mmviewer.core.types import (
    Capability,
    CapturePoint,
    Media,
    Modality,
    PointRole,
    TokenSpan,
)

_RATE = 16_000
_KEPT_WINDOWS = 4


class WhisperModel(LoadedModel):
    """A Whisper model with its feature extractor and tokenizer.

    A sound longer than the model's window (30 s) is cut into windows one after the other. Its transcript is
    one sequence in which each window ends with the end token, and its positions run over all windows.
    """

    def __init__(
        self, module: Any, extractor: Any, tokenizer: Any, placement: Placement, identity: Identity
    ) -> None:
        self.module = module
        self.placement = placement
        self._model: Any = module
        self._config: Any = module.config
        self._extractor = extractor
        self._codec = TextCodec(tokenizer)
        self._kept: WeakKeyDictionary[Prepared, OrderedDict[int, Tensor]] = WeakKeyDictionary()
        self.info = model_info(
            identity,
            "whisper",
            module,
            placement,
            capabilities={Capability.TRANSCRIBE},
            points=build.find_points(self._config, self._model.generation_config),
            preprocessing=(
                f"16 kHz mono, log-mel of {extractor.feature_size} bands every "
                f"{extractor.hop_length / _RATE * 1000:g} ms, windows of {extractor.chunk_length} s"
            ),
            context_length=int(self._config.max_target_positions),
        )

    # --- input ---------------------------------------------------------------------------------------
    def prepare(self, media: Media) -> Prepared:
        """Take a sound of 16 kHz; its log-mel windows are computed when they are needed."""
        if media.samples is None or not len(media.samples):
            raise InputError(f"{media.name} holds no sound, which {self.info.label} needs; choose a sound.")
        if media.sample_rate != _RATE:
            raise InputError(
                f"{media.name} has {media.sample_rate} samples a second, not {_RATE}; open it again."
            )
        seconds, positions = self._extractor.chunk_length, int(self._config.max_source_positions)
        windows = math.ceil(len(media.samples) / (seconds * _RATE))
        step = seconds / positions
        # position i sees the mel frames 2i - 2 to 2i + 2, so the moment i * step is its centre
        geometry = TimeGeometry(media.duration, step, windows * positions, start=-step / 2)
        return Prepared(media.id, Modality.AUDIO, {"samples": torch.tensor(media.samples)}, geometry)

    def tokenize(self, text: str) -> tuple[TokenSpan, ...]:
        """Tokens of `text` without special ones."""
        return self._codec.split(text)

    # --- transcripts -----------------------------------------------------------------------------------
    def decoder(self, prepared: Prepared, prompt: Sequence[int] = ()) -> Decoder:
        """Start a transcript; each window is encoded when its turn comes."""
        if prompt:
            raise UnsupportedError(
                f"{self.info.label} writes down what is said and answers no questions; ask a model that "
                "looks at images."
            )
        with torch.no_grad(), memory_errors(self.placement.device, "Transcribing"):
            return WhisperDecoder(
                self.module,
                lambda window: self.encoded(prepared, window),
                self.windows(prepared),
                self._prompt(prepared),
            )

    def sequence_logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """One forward over a transcript, its prompt first: logits [T, V], row j predicts what follows it.

        In a sound of several windows only cross-attention can be recorded, without gradients.
        """
        prompt = self._leading_prompt(ids)
        texts = self._by_window(ids[len(prompt) :], self.windows(prepared))
        if len(texts) == 1:
            return self._window_logits(prepared, 0, [*prompt, *texts[0]])
        self._check_recording()
        positions = int(self._config.max_source_positions)
        rows = []
        for window, text in enumerate(texts):
            # The end token of a window is at the place of the next window's last prompt token.
            skip = 0 if window == 0 else len(prompt) - 1
            with placed(Block(skip, window * positions, self.windows(prepared) * positions)):
                rows.append(self._window_logits(prepared, window, [*prompt, *text])[skip:])
        return torch.cat(rows)

    def before_vocabulary(self) -> nn.Module | None:
        """The decoder's last norm."""
        norm: nn.Module = self._model.model.decoder.layer_norm
        return norm

    def token_text(self, ids: Sequence[int]) -> tuple[str, tuple[TokenSpan, ...]]:
        """Transcript of ids and what each covers of it."""
        return self._codec.join(ids)

    # --- capture -----------------------------------------------------------------------------------------
    def attention_size(self, point: CapturePoint, tokens: int) -> tuple[int, int]:
        """Rows and columns that `point` has at most, for one window."""
        positions = int(self._config.max_source_positions)
        return {
            PointRole.ENCODER_SELF: (positions, positions),
            PointRole.DECODER_SELF: (tokens, tokens),
            PointRole.CROSS: (tokens, positions),
        }[point.role]

    def position_weights(
        self,
        point: CapturePoint,
        captured: Mapping[str, Sequence[Tensor]],
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Weights [L, H, Q, P] over the encoder's positions."""
        if point.role is PointRole.DECODER_SELF:
            raise UnsupportedError(f"The {point.label} does not listen to the sound; choose another point.")
        return torch.stack([weights[0] for weights in captured[point.name]])

    # --- inside --------------------------------------------------------------------------------------------
    def windows(self, prepared: Prepared) -> int:
        """How many windows the sound has."""
        geometry = prepared.geometry
        assert isinstance(geometry, TimeGeometry)
        return geometry.positions // int(self._config.max_source_positions)

    def encoded(self, prepared: Prepared, window: int) -> Tensor:
        """The encoder's output for a window [1, P, D]; kept while `prepared` lives, unless it is recorded."""
        encoder = self._model.model.encoder
        if recording(encoder):
            output: Tensor = encoder(self._features(prepared, window)).last_hidden_state
            return output
        kept = self._kept.setdefault(prepared, OrderedDict())
        if window not in kept:
            with torch.no_grad():
                kept[window] = encoder(self._features(prepared, window)).last_hidden_state
        while len(kept) > _KEPT_WINDOWS:
            kept.popitem(last=False)
        return kept[window]

    def _features(self, prepared: Prepared, window: int) -> Tensor:
        length = self._extractor.chunk_length * _RATE
        samples = prepared.inputs["samples"][window * length : (window + 1) * length]
        features = self._extractor(samples.numpy(), sampling_rate=_RATE, return_tensors="pt").input_features
        moved: Tensor = features.to(self.placement.device, self.placement.dtype)  # [1, mels, frames]
        return moved

    def _window_logits(self, prepared: Prepared, window: int, ids: Sequence[int]) -> Tensor:
        if len(ids) > self.info.context_length:
            raise InputError(
                f"The transcript has {len(ids)} tokens in one window, but {self.info.label} takes "
                f"{self.info.context_length}; shorten it."
            )
        tokens = torch.tensor([list(ids)], device=self.placement.device)
        with memory_errors(self.placement.device, "Reading the transcript"):
            hidden = self._model.model.decoder(
                tokens, encoder_hidden_states=self.encoded(prepared, window), use_cache=False
            ).last_hidden_state
            logits: Tensor = self._model.proj_out(hidden)[0]
        return logits.float()

    def _prompt(self, prepared: Prepared) -> tuple[int, ...]:
        """Start, language (heard in the first window), task and no-timestamps tokens."""
        settings: Any = self._model.generation_config
        prompt = [int(settings.decoder_start_token_id)]
        languages = getattr(settings, "lang_to_id", None)
        if languages:
            prompt.append(self._hear_language(prepared, prompt, list(languages.values())))
            prompt.append(int(settings.task_to_id["transcribe"]))
        no_timestamps = getattr(settings, "no_timestamps_token_id", None)
        return tuple(prompt) if no_timestamps is None else (*prompt, int(no_timestamps))

    def _hear_language(self, prepared: Prepared, prompt: Sequence[int], languages: Sequence[int]) -> int:
        logits = self._window_logits(prepared, 0, prompt)[-1]
        return languages[int(logits[list(languages)].argmax())]

    def _leading_prompt(self, ids: Sequence[int]) -> tuple[int, ...]:
        settings: Any = self._model.generation_config
        known = {settings.decoder_start_token_id, getattr(settings, "no_timestamps_token_id", None)}
        known |= set((getattr(settings, "lang_to_id", None) or {}).values())
        known |= set((getattr(settings, "task_to_id", None) or {}).values())
        count = next((index for index, token in enumerate(ids) if token not in known), len(ids))
        if not count:
            raise InputError("A transcript begins with the model's start token; transcribe the sound again.")
        return tuple(ids[:count])

    def _by_window(self, ids: Sequence[int], windows: int) -> list[list[int]]:
        """Cut the ids of a transcript at the end tokens; those after the last window's stay with it."""
        texts: list[list[int]] = [[]]
        for token in ids:
            if token == self._model.generation_config.eos_token_id and len(texts) < windows:
                texts.append([])
            else:
                texts[-1].append(token)
        return texts

    def _check_recording(self) -> None:
        model = self._model.model
        recorded = partial(recording, changes=False)
        others = [model.encoder, *(layer.self_attn for layer in model.decoder.layers)]
        crosses = any(recorded(layer.encoder_attn) for layer in model.decoder.layers)
        if any(recorded(module) for module in others) or (crosses and torch.is_grad_enabled()):
            raise UnsupportedError(
                f"In a sound longer than {self._extractor.chunk_length} s only raw cross-attention can be "
                f"shown; choose the method “attention”, or cut the sound to {self._extractor.chunk_length} s."
            )


def load(spec: str, label: str, folder: Path, placement: Placement, progress: Progress) -> WhisperModel:
    """Load the model in `folder`; raises `ModelError` and `DeviceError` with a remedy."""
    weights = build.weights_file(folder)
    progress.report(0, None, f"loading {label}")
    with memory_errors(placement.device, f"Loading {label}"):
        identity = Identity(label, spec, files.sha256(weights, progress), hub.revision_of(weights))
        return WhisperModel(*build.load_parts(folder, label, placement), placement, identity)


def tiny() -> WhisperModel:
    """Return a random model for tests."""
    placement = Placement(torch.device("cpu"), torch.float32, "tests run on the CPU")
    return WhisperModel(*build.tiny_parts(), placement, Identity("tiny whisper", "tiny", "tiny"))
