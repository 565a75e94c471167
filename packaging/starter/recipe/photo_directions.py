"""The direction of every word in the space, from classes and drawings, with no photograph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recipe.photo_drawings import Drawings
from recipe.photo_space import LEVEL, Space, unit_words
from recipe.photo_words import Word

LENGTH = 1.5
"""To which every word is padded; a class's own vector is 0.85 long, and 1.25 at most."""

_PRIOR = 0.5  # of the logarithm of the number of classes: the chance that one of so many wins
_LIFT = 0.5  # how far the mean of several classes is lengthened again towards the length of one
_DRAWN_TOO = 0.3  # weight of the drawings of what has a class as well
_DRAWN_ONLY = 0.85  # length of the direction of what is known from drawings alone: that of a class
_FEW = 4  # drawings that count as much as knowing nothing


class Compass:
    """Knows where words point.

    A word of classes points to their mean, with the prior that one of so many is right. Drawings point where
    their features differ from those of all drawings: in this space, where the features of many images are
    about equally wide in all directions, that difference is the discriminant of linear analysis.
    """

    def __init__(self, space: Space, drawings: Drawings) -> None:
        self._space = space
        embedded = space.embed(drawings.features)
        rows = {name: i for i, name in enumerate(dict.fromkeys(drawings.names))}
        of_row = torch.tensor([rows[name] for name in drawings.names])
        count = torch.bincount(of_row)[:, None].float()
        sums = torch.zeros(len(rows), embedded.shape[1])
        sums = sums.index_add(0, of_row, embedded - embedded.mean(0))
        sums[:, LEVEL:] = 0
        self._drawn = dict(zip(rows, sums / (count + _FEW), strict=True))

    def vector(self, word: Word) -> Tensor:
        """Return [D], not normalised; nought for a word that says nothing of a picture."""
        drawings = [self._drawn[name] for name in sorted(word.drawn) if name in self._drawn]
        vector = self._of_classes(sorted(word.classes))
        if drawings:
            weight = _DRAWN_TOO if word.classes else _DRAWN_ONLY
            vector = vector + weight * functional.normalize(torch.stack(drawings).mean(0), dim=0)
        return vector * word.strength

    def targets(self, words: Sequence[Word]) -> Tensor:
        """Return [N, D] of length one, what the text tower shall say."""
        return unit_words(torch.stack([self.vector(word) for word in words]), LENGTH)

    def _of_classes(self, classes: Sequence[int]) -> Tensor:
        if not classes:
            return torch.zeros(self._space.classes.shape[1])
        each = self._space.classes[list(classes)]  # [C, D]
        mean = each.mean(0)
        length = mean[:LEVEL].norm()
        mean[:LEVEL] *= (each[:, :LEVEL].norm(dim=1).mean() / length) ** _LIFT
        mean[LEVEL] += _PRIOR * math.log(len(classes)) / float(self._space.bias[LEVEL])
        return mean


def training_weights(words: Mapping[str, Word], labels: Sequence[str], usual: set[str]) -> dict[str, float]:
    """Return how often each word is drawn in training; words that hardly anyone uses are left out.

    Labels come most often, then names of classes and of drawn things, then what is near to them, and now and
    then a word that says nothing of a picture.
    """
    weights: dict[str, float] = {}
    known = [name for name, word in words.items() if word.strength == 1.0]
    near = [name for name, word in words.items() if 0 < word.strength < 1 and name in usual]
    nothing = [name for name, word in words.items() if word.strength == 0 and name in usual]
    for names, share in ((known, 0.7), (near, 0.12), (nothing, 0.06)):
        weights |= {name: share * 5000 / max(len(names), 1) for name in names}
    for name in labels:
        weights[name] = 3.0
    return weights
