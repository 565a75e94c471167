"""The space in which photographs and words meet: the classifier's own geometry in fewer dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recipe.photo_tower import expected_features

DIMENSIONS = 512
LEVEL = DIMENSIONS - 2  # the component that is the same for every image; words keep their prior in it
_PAD = DIMENSIONS - 1  # the component that is nought for every image; it gives all words one length
_RANK = DIMENSIONS - 2
_SHRINKAGE = 0.5


@dataclass(frozen=True, slots=True)
class Space:
    """A linear map of pooled features into the space, and the classes in it.

    With e = ``weight @ f + bias`` for features f, ``classes @ e`` are the classifier's logits but for what
    the lower rank loses and a constant that is the same for all classes.

    Parameters
    ----------
    weight : Tensor [D, 1280]
    bias : Tensor [D]
    classes : Tensor [1000, D]
        Their last component is nought.
    """

    weight: Tensor
    bias: Tensor
    classes: Tensor

    def embed(self, features: Tensor) -> Tensor:
        """Return [N, D] for pooled features [N, 1280], not normalised."""
        return features @ self.weight.T + self.bias


def make_space(classifier: nn.Module, examples: Tensor) -> Space:
    """Return the space of the best low rank for images like `examples`.

    The weights W (mean over classes taken away, which changes no choice) are approximated by a rank of 510 so
    that the logits of features with the covariance C of the examples are kept best: the singular value
    decomposition of W L with C = L L^T, shrunk towards a multiple of the identity, for the examples are few
    and of another kind than photographs.

    Parameters
    ----------
    classifier
        Its ``classifier`` is the last layer.
    examples : Tensor [N, 1280]
        Pooled features.
    """
    last: nn.Linear = classifier.classifier  # type: ignore[assignment]
    mean = expected_features(classifier)
    weights = (last.weight - last.weight.mean(0)).double()  # [1000, 1280]
    prior = (last.weight @ mean + last.bias).double()
    centred = (examples - mean).double()
    covariance = centred.T @ centred / len(centred)
    shrunk = covariance + _SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(mean)).double()
    root = torch.linalg.cholesky(shrunk)
    left, values, right = torch.linalg.svd(weights @ root, full_matrices=False)
    split = values[:_RANK].sqrt()  # shared evenly, so that likeness of images and of words both make sense
    images = split[:, None] * torch.linalg.solve_triangular(root.T, right[:_RANK].T, upper=True).T
    level = (centred @ images.T).norm(dim=1).mean() / 4
    weight = torch.zeros(DIMENSIONS, len(mean)).double()
    weight[:_RANK] = images
    bias = -weight @ mean.double()
    bias[LEVEL] = level
    classes = torch.zeros(len(weights), DIMENSIONS).double()
    classes[:, :_RANK] = left[:, :_RANK] * split
    classes[:, LEVEL] = (prior - prior.mean()) / level
    return Space(weight.float(), bias.float(), classes.float())


def unit_words(vectors: Tensor, length: float) -> Tensor:
    """Return [N, D] of length one: the pad fills each vector up to `length`, so that all shrink alike.

    Vectors that are longer already are shortened, which only a few words of many classes are.
    """
    lengths = vectors.norm(dim=1, keepdim=True)
    vectors = vectors * (length / lengths.clamp(min=length))
    padded = vectors.clone()
    padded[:, _PAD] = (length**2 - vectors.norm(dim=1) ** 2).clamp(min=0).sqrt()
    return padded / length
