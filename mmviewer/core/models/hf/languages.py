"""Language models that read the queries of a Q-Former: decoders, and T5 with its encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from mmviewer.core.models.hf.points import capture_point
from mmviewer.core.types import CapturePoint, PointRole

_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
_ENDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
TINY: dict[str, dict[str, Any]] = {
    "opt": _TINY | _ENDS | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "llama": _TINY | _ENDS | {"intermediate_size": 48, "num_key_value_heads": 2},
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    },
}
"""Sizes of random language models for tests, by their kind."""

JOINT, DECODER, CROSS = "joint.self", "decoder.self", "decoder.cross"


class Language(ABC):
    """A language model; `queries` is how many ids in front of a text stand for what the Q-Former gives.

    Attributes
    ----------
    before, after : tuple of int
        Ids around an instruction.
    point : str
        Name of the point whose rows are tokens and whose first columns are the queries.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    point: str

    def __init__(self, model: nn.Module, queries: int) -> None:
        self._model: Any = model
        self._queries = queries

    @abstractmethod
    def points(self, whole: nn.Module) -> tuple[CapturePoint, ...]:
        """Its capture points within the whole model."""

    @abstractmethod
    def read(
        self, ids: Tensor, queries: Tensor | None, instruction: int, cache: Any, *, keep: bool
    ) -> tuple[Tensor, Any]:
        """Logits after each of ids [N, n] and the cache.

        The first call takes all ids so far, `queries` [N, Nq, W] in place of the first of them, and how many
        belong to the instruction.
        """

    @abstractmethod
    def norm(self) -> nn.Module | None:
        """What stands before the vocabulary."""


class DecoderLanguage(Language):
    """OPT, Llama and their like: queries, instruction and answer are one sequence."""

    point = JOINT

    def __init__(self, model: nn.Module, queries: int) -> None:
        super().__init__(model, queries)
        self.before = (int(self._model.config.bos_token_id),)

    def points(self, whole: nn.Module) -> tuple[CapturePoint, ...]:
        """The attention over queries and text together."""
        words = "queries and text tokens"
        pattern = r"language_model\.model\.(decoder\.)?layers\.\d+\.self_attn"
        heads = self._model.config.num_attention_heads
        label = "joint self-attention"
        role = PointRole.JOINT
        return (capture_point(whole, JOINT, role, pattern, heads, label=label, queries=words, keys=words),)

    def read(
        self, ids: Tensor, queries: Tensor | None, instruction: int, cache: Any, *, keep: bool
    ) -> tuple[Tensor, Any]:
        """One forward of the decoder."""
        embed = self._model.get_input_embeddings()
        read = 0 if cache is None else int(cache.get_seq_length())
        embedded = embed(ids if queries is None else ids[:, self._queries :])
        if queries is not None:
            embedded = torch.cat((queries.to(embedded.dtype), embedded), dim=1)
        output = self._model(
            inputs_embeds=embedded,
            attention_mask=torch.ones(len(ids), read + ids.shape[1], dtype=torch.long, device=ids.device),
            past_key_values=cache,
            use_cache=keep,
        )
        return output.logits, output.past_key_values

    def norm(self) -> nn.Module | None:
        """The last norm, where it is the last thing before the vocabulary."""
        body = self._model.get_decoder()
        body = getattr(body, "decoder", body)  # OPT has one more level
        if getattr(body, "project_out", None) is not None:
            return None
        norm: nn.Module | None = getattr(body, "final_layer_norm", getattr(body, "norm", None))
        return norm


class T5Language(Language):
    """T5: its encoder reads queries and instruction, its decoder what that gives.

    The decoder is fed all ids, those of queries and instruction hidden from the answer, so that ids, logits
    and rows of its attention have the same places; T5 knows distances only, so these rows move nothing.
    """

    point = CROSS

    def __init__(self, model: nn.Module, queries: int) -> None:
        super().__init__(model, queries)
        config = self._model.config
        self.after = (int(config.eos_token_id), int(config.decoder_start_token_id))

    def points(self, whole: nn.Module) -> tuple[CapturePoint, ...]:
        """Both attentions of the decoder."""
        heads = self._model.config.num_heads
        block = r"language_model\.decoder\.block\.\d+\.layer"
        own, cross = rf"{block}\.0\.SelfAttention", rf"{block}\.1\.EncDecAttention"
        keys = "queries and instruction tokens"
        return (
            capture_point(whole, DECODER, PointRole.DECODER_SELF, own, heads),
            capture_point(whole, CROSS, PointRole.CROSS, cross, heads, keys=keys),
        )

    def read(
        self, ids: Tensor, queries: Tensor | None, instruction: int, cache: Any, *, keep: bool
    ) -> tuple[Tensor, Any]:
        """One forward of the decoder; of the encoder too at first."""
        count = self._queries + instruction + 1  # the end of the instruction is read too
        if queries is not None:
            embedded = self._model.get_input_embeddings()(ids[:, self._queries : count])
            embedded = torch.cat((queries.to(embedded.dtype), embedded), dim=1)
            states, inner = self._model.encoder(inputs_embeds=embedded).last_hidden_state, None
        else:
            states, inner = cache
        start = 0 if inner is None else int(inner.get_seq_length())
        keys = torch.arange(start + ids.shape[1], device=ids.device)
        rows = keys[start:, None]
        seen = (keys <= rows) & ((keys >= count) == (rows >= count))  # [n, K]
        hidden = torch.zeros(seen.shape, dtype=states.dtype, device=ids.device)
        hidden = hidden.masked_fill(~seen, torch.finfo(states.dtype).min)
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            decoder_input_ids=ids,
            decoder_attention_mask=hidden.expand(len(ids), 1, -1, -1),
            past_key_values=inner,
            use_cache=keep,
        )
        return output.logits * (rows >= count)[None], (states, output.past_key_values)

    def norm(self) -> nn.Module | None:
        """The decoder's last norm."""
        norm: nn.Module = self._model.decoder.final_layer_norm
        return norm
