"""Captioning with CoCa one token at a time, with everything kept that does not change.

open_clip's own `generate` computes the whole prefix again at each step and needs a beam search that current
transformers lacks. Here the keys and values of the text tower and of the decoder are kept, and those of the
image tokens are computed once; the arithmetic is that of the modules' own forward, and recorders see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmviewer.core.capture.mechanism import standing_for
from mmviewer.core.errors import InputError
from mmviewer.core.models.base import Decoder


class CocaDecoder(Decoder):
    """One running caption.

    Parameters
    ----------
    model : open_clip.CoCa
    image_tokens : Tensor [1, N, D]
        What the image tower hands to the decoder.
    prompt : tuple of int
        Ids that the text begins with: that of its beginning, and those of a question, where one is asked.
    end : int
        Id of the token that ends a text.

    Raises
    ------
    InputError
        The prompt leaves no room to write on.
    """

    def __init__(self, model: Any, image_tokens: Tensor, prompt: tuple[int, ...], end: int) -> None:
        self.prompt = prompt
        self.stop = frozenset((end,))
        self._text = model.text
        self._decoder = model.text_decoder
        self._context = min(model.text.context_length, model.text_decoder.context_length)
        self.room = self._context - len(prompt) + 1  # the last token is written, but not read
        if self.room < 2:  # a word and the end
            raise InputError(
                f"The given text has {len(prompt) - 1} tokens and leaves no room to write on: this model "
                f"reads and writes {self._context} in all; give a shorter one."
            )
        self._seen: list[int] = []
        with torch.no_grad():
            self._text_steps = [_SelfAttention(block) for block in model.text.transformer.resblocks]
            self._steps = [
                (_SelfAttention(block), _CrossAttention(cross, image_tokens))
                for block, cross in zip(self._decoder.resblocks, self._decoder.cross_attn, strict=True)
            ]

    @torch.no_grad()
    def next_logits(self, ids: Sequence[int]) -> Tensor:
        """Return float32 logits [V] of the token after `prompt + ids`."""
        sequence = [*self.prompt, *ids]
        new = sequence[len(self._seen) :]
        expected = 1 if self._seen else len(self.prompt)
        if len(new) != expected or sequence[:-expected] != self._seen:
            raise ValueError("a decoder takes one more token at each step")
        if len(sequence) > self._context:
            raise InputError(f"The caption has reached the {self._context} tokens that this model can take.")
        for token in new[:-1]:
            self._step(token)
        return self._step(new[-1])

    def _step(self, token: int) -> Tensor:
        position = len(self._seen)
        self._seen.append(token)
        text = self._text
        device = text.positional_embedding.device
        x = text.token_embedding(torch.tensor([[token]], device=device))
        x = x.to(text.transformer.get_cast_dtype())
        x = x + text.positional_embedding[position].to(x.dtype)  # [1, 1, D]
        hidden = self._hidden_by_padding(position)
        for step in self._text_steps:
            x = step(x, hidden)
        if text.cls_emb is None:
            x = text.ln_final(x)
        for own, cross in self._steps:
            x = cross(own(x, None))
        x = self._decoder.ln_final(x)
        if self._decoder.text_projection is not None:
            x = x @ self._decoder.text_projection
        logits: Tensor = x[0, 0].float()
        return logits

    def _hidden_by_padding(self, position: int) -> Tensor | None:
        """Mask [1, position + 1] to add: the text tower hides padding ids, even where they are words.

        The original weights hide one place further on, which open_clip keeps for their sake.
        """
        text = self._text
        if text.cls_emb is None:
            return None
        seen = self._seen[: position + 1]
        shifted = seen if text.correct_cls_mask else [None, *seen[:-1]]
        hidden = [token == text.pad_id for token in shifted]
        if not any(hidden):
            return None
        mask = torch.tensor(hidden, device=text.positional_embedding.device)
        return torch.zeros_like(mask, dtype=torch.float32).masked_fill(mask, float("-inf"))[None]


class _Block:
    """A residual attention block applied to the newest token."""

    def __init__(self, block: Any) -> None:
        self._block = block
        self._attention = block.attn

    def _finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        block, attention = self._block, self._attention
        mixed = mixed.transpose(1, 2).flatten(2)  # [1, 1, D]
        x = x + block.ls_1(functional.linear(mixed, attention.out_proj.weight, attention.out_proj.bias))
        out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
        return out

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        with standing_for(self._attention):
            return functional.scaled_dot_product_attention(query, key, value, mask)

    def _project(self, x: Tensor, which: slice) -> tuple[Tensor, ...]:
        """Queries, keys and values [1, H, L, D / H] that `which` of the stacked projection gives."""
        attention = self._attention
        size = attention.embed_dim
        rows = slice(which.start * size, which.stop * size)
        bias = None if attention.in_proj_bias is None else attention.in_proj_bias[rows]
        projected = functional.linear(x, attention.in_proj_weight[rows], bias)
        return tuple(
            part.reshape(*part.shape[:2], attention.num_heads, -1).transpose(1, 2)
            for part in projected.chunk(which.stop - which.start, dim=-1)
        )


class _SelfAttention(_Block):
    """Keeps the keys and values of earlier tokens."""

    def __init__(self, block: Any) -> None:
        super().__init__(block)
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self._project(self._block.ln_1(x), slice(0, 3))
        if self._keys is not None and self._values is not None:
            key, value = torch.cat((self._keys, key), dim=2), torch.cat((self._values, value), dim=2)
        self._keys, self._values = key, value
        mask = None if mask is None else mask.to(query.dtype)
        return self._finish(x, self._attend(query, key, value, mask))


class _CrossAttention(_Block):
    """Keys and values of the image tokens, computed once."""

    def __init__(self, block: Any, image_tokens: Tensor) -> None:
        super().__init__(block)
        self._keys, self._values = self._project(block.ln_1_kv(image_tokens), slice(1, 3))

    def __call__(self, x: Tensor) -> Tensor:
        (query,) = self._project(self._block.ln_1(x), slice(0, 1))
        return self._finish(x, self._attend(query, self._keys, self._values))
