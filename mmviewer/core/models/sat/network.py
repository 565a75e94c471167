"""Show, Attend and Tell (Xu et al., ICML 2015), to be read from top to bottom.

A convolutional network describes a picture by L vectors, one for each cell of its last maps. An LSTM writes
the caption word by word. Before each word it looks: a small network scores every cell against what the LSTM
remembers, a softmax turns the scores into weights that sum to one, and the mean of the cells under these
weights enters the LSTM together with the word before. Equations and letters are those of the paper.

Shapes: B pictures, L cells, T words; D width of a cell's vector, n of the LSTM, m of a word, K words in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the network is made of.

    Attributes
    ----------
    trunk : str
        Architecture of timm whose maps at `strides` describe the picture.
    strides : tuple of int
        Input pixels for each cell of the two maps: the fine one gives the cells, the coarse one is laid over.
    side : int
        Of the picture, in pixels.
    words : int
        K, size of the vocabulary.
    cell, hidden, word, attention : int
        D, n and m, and the width in which cells and memory are compared.
    gated : bool
        Whether the LSTM scales what it sees by beta, "how much to look at all" (section 4.2.1).
    """

    trunk: str
    strides: tuple[int, int]
    side: int
    words: int
    cell: int = 128
    hidden: int = 256
    word: int = 128
    attention: int = 64
    gated: bool = True

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return (self.side // self.strides[0],) * 2


class Encoder(nn.Module):
    """A picture as annotation vectors a_1 ... a_L, one for each cell.

    The paper takes the 14 x 14 cells of one layer of VGG. Here two maps of the trunk are joined: the fine one
    says where, the coarse one, laid over it, what. The trunk stays as it was published; what joins is learnt.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.trunk: Any = timm.create_model(sizes.trunk, pretrained=False, features_only=True)
        reductions = self.trunk.feature_info.reduction()
        self._taken = [reductions.index(stride) for stride in sizes.strides]
        fine, coarse = (self.trunk.feature_info.channels()[index] for index in self._taken)
        self.fine = nn.Sequential(nn.LayerNorm(fine), nn.Linear(fine, sizes.cell))
        self.coarse = nn.Sequential(nn.LayerNorm(coarse), nn.Linear(coarse, sizes.cell))

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk's maps of pixels [B, 3, H, W]: fine [B, C1, R, R] and coarse [B, C2, R / 2, R / 2]."""
        found = self.trunk(pixels)
        return found[self._taken[0]], found[self._taken[1]]

    def annotate(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Annotation vectors [B, L, D] of the two maps, cell after cell, row by row."""
        what = self.coarse(coarse.movedim(1, 3)).movedim(3, 1)  # [B, D, R / 2, R / 2]
        what = functional.interpolate(what, size=fine.shape[2:], mode="bilinear", align_corners=False)
        where = self.fine(fine.flatten(2).transpose(1, 2))  # [B, L, D]
        return torch.relu(where + what.flatten(2).transpose(1, 2))

    def forward(self, pixels: Tensor) -> Tensor:
        """Annotation vectors [B, L, D] of pixels [B, 3, H, W]."""
        return self.annotate(*self.maps(pixels))


class SoftAttention(nn.Module):
    """Where to look next: equations (4), (5) and (13).

    e_i = f_att(a_i, h), alpha = softmax(e), z = sum of alpha_i a_i. The scores come from a network with one
    hidden layer (Bahdanau et al.), not from products of queries and keys, and there is one head.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.of_cell = nn.Linear(sizes.cell, sizes.attention)
        self.of_memory = nn.Linear(sizes.hidden, sizes.attention, bias=False)
        self.score = nn.Linear(sizes.attention, 1, bias=False)

    def forward(self, cells: Tensor, compared: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Context z [B, D] and weights alpha [B, L].

        Parameters
        ----------
        cells : Tensor [B, L, D]
        compared : Tensor [B, L, A]
            `of_cell` of the cells, which is the same at every step.
        hidden : Tensor [B, n]
            h of the step before.
        """
        energy = self.score(torch.tanh(compared + self.of_memory(hidden)[:, None]))  # [B, L, 1]
        precise = torch.promote_types(energy.dtype, torch.float32)
        alpha = energy.transpose(1, 2).softmax(dim=-1, dtype=precise)  # [B, 1, L]
        context = alpha.to(cells.dtype) @ cells  # [B, 1, D]
        return context[:, 0], alpha[:, 0]


class DeepOutput(nn.Module):
    """What the words are chosen by: E y + L_h h + L_z z of equation (7), before L_o."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.of_memory = nn.Linear(sizes.hidden, sizes.word)
        self.of_context = nn.Linear(sizes.cell, sizes.word, bias=False)

    def forward(self, word: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Return [B, T, m] of the words before, the memory and what was seen, step by step."""
        mixed: Tensor = word + self.of_memory(hidden) + self.of_context(context)
        return mixed


class Memory(NamedTuple):
    """What the LSTM carries from step to step: h and c, each [B, n]."""

    hidden: Tensor
    cell: Tensor


class Step(NamedTuple):
    """What one step gives: the memory after it, the context it saw [B, D] and its weights [B, L]."""

    memory: Memory
    context: Tensor
    alpha: Tensor


class ShowAttendTell(nn.Module):
    """Encoder, attention, LSTM and output together."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.attention = SoftAttention(sizes)
        self.embedding = nn.Embedding(sizes.words, sizes.word)  # E
        self.first_hidden = nn.Linear(sizes.cell, sizes.hidden)  # f_init,h
        self.first_cell = nn.Linear(sizes.cell, sizes.hidden)  # f_init,c
        self.gate = nn.Linear(sizes.hidden, 1) if sizes.gated else None  # f_beta
        self.lstm = nn.LSTMCell(sizes.word + sizes.cell, sizes.hidden)
        self.output = DeepOutput(sizes)
        self.vocabulary = nn.Linear(sizes.word, sizes.words)  # L_o

    def begin(self, cells: Tensor) -> Memory:
        """The memory before the first word, from the mean of all cells [B, L, D]."""
        mean = cells.mean(1)
        return Memory(torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean)))

    def step(self, cells: Tensor, compared: Tensor, memory: Memory, word: Tensor) -> Step:
        """Look, then remember: one step with the embedding [B, m] of the word before."""
        context, alpha = self.attention(cells, compared, memory.hidden)
        if self.gate is not None:
            context = torch.sigmoid(self.gate(memory.hidden)) * context  # beta_t
        hidden, cell = self.lstm(torch.cat([word, context], dim=1), tuple(memory))
        return Step(Memory(hidden, cell), context, alpha)

    def logits(self, word: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Scores [B, T, K] of the next word at each step."""
        scores: Tensor = self.vocabulary(self.output(word, hidden, context))
        return scores

    def read(self, cells: Tensor, ids: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Read words one after the other: what each predicts [B, T, K], and the memory after the last.

        Unlike a transformer, which reads all the words of a known text at once, an LSTM must go step by step:
        where it looks next depends on what it has seen.

        Parameters
        ----------
        cells : Tensor [B, L, D]
        ids : Tensor [B, T]
        memory : Memory, optional
            Where an earlier call ended; by default a text begins.
        """
        memory = self.begin(cells) if memory is None else memory
        compared = self.attention.of_cell(cells)
        words = self.embedding(ids)  # [B, T, m]
        hidden, context = [], []
        for word in words.unbind(1):
            step = self.step(cells, compared, memory, word)
            memory = step.memory
            hidden.append(memory.hidden)
            context.append(step.context)
        return self.logits(words, torch.stack(hidden, 1), torch.stack(context, 1)), memory


def doubly_stochastic(seen: Tensor) -> Tensor:
    """The regulariser of section 4.2.1 for each picture: sum over cells of (1 - sum over steps of alpha)^2.

    The weights of a step sum to one over the cells; this asks those of a cell to sum alike over the steps, so
    that no part of the picture is left unseen. `seen` [B, L] is the sum of alpha over the steps of a caption.
    """
    return ((1 - seen) ** 2).sum(1)
