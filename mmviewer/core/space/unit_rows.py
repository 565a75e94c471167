"""A matrix of embeddings as unit vectors, block by block: what every search and measure of a space reads.

A million float16 vectors on the disk are never held as float32; equal rows are read again when needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import InputError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import FloatArray

Rows = NDArray[np.int64]
"""Rows of a matrix of vectors."""
Mask = NDArray[np.bool_]

BLOCK_VALUES = 2**22
"""Values of a block: 16 MB as float32."""
_SIGN_AND_VALUE = np.int32(-0x70000001)  # 0x8fffffff: the sign, and 15 bits of exponent and fraction
_EXPONENT_BIAS = np.float32(2.0**112)  # float32 counts exponents from 127, float16 from 15
_BEYOND_HALF = 65_520.0  # infinity and NaN of float16 come out at or above 65,536


def as_float32(values: NDArray[np.float16] | FloatArray) -> FloatArray:
    """Return finite half-precision values as float32, exactly; three times as fast as NumPy's own way.

    Infinity and NaN become numbers of at least 65,536, which `UnitRows` tells by their size. Float32 comes
    back as it is.
    """
    if values.dtype != np.float16:
        return np.asarray(values, np.float32)
    bits = np.ascontiguousarray(values).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_VALUE
    floats: FloatArray = bits.view(np.float32)
    floats *= _EXPONENT_BIAS
    return floats


def unit(vectors: FloatArray) -> FloatArray:
    """Return vectors [..., D] at length one; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


class UnitRows:
    """The rows of a matrix at length one.

    Parameters
    ----------
    matrix : float16 or float32 array [N, D]
        May be memory-mapped. Rows need not have length one; rows that are zero or not finite count as
        missing: no search finds them and no measure sees them.

    Raises
    ------
    InputError
        It is no matrix of such numbers.
    """

    def __init__(self, matrix: NDArray[np.float16] | FloatArray) -> None:
        if matrix.ndim != 2 or matrix.dtype not in (np.float16, np.float32) or not matrix.shape[1]:
            raise InputError(
                "Embeddings must be a matrix of float16 or float32 with a row for each item, and are"
                f" {matrix.dtype} of shape {matrix.shape}; save them that way."
            )
        self.matrix = matrix

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def width(self) -> int:
        """Dimension of the space."""
        return int(self.matrix.shape[1])

    @cached_property
    def scales(self) -> FloatArray:
        """What each row is multiplied by to have length one [N]; 0 where there is no direction."""
        scales = np.zeros(len(self), np.float32)
        for start, block in self._raw_blocks():
            with np.errstate(over="ignore", invalid="ignore"):
                lengths = np.sqrt(np.einsum("nd,nd->n", block, block))
                broken = ~np.isfinite(lengths)
                if self.matrix.dtype == np.float16:
                    broken |= np.abs(block).max(axis=1) > _BEYOND_HALF
            good = ~broken & (lengths > 0)
            scales[start : start + len(block)][good] = 1 / lengths[good]
        return scales

    @property
    def usable(self) -> Mask:
        """Which rows have a direction [N]."""
        return self.scales > 0

    def take(self, rows: Rows) -> FloatArray:
        """Unit vectors [n, D] of some rows, zeros for those without a direction."""
        return self._read(rows)

    def span(self, start: int, stop: int) -> FloatArray:
        """Unit vectors of rows that follow one another."""
        return self._read(slice(start, stop))

    def blocks(
        self, among: Rows | None = None, progress: Progress = SILENT, doing: str = "Reading vectors"
    ) -> Iterator[tuple[Rows, FloatArray]]:
        """Yield (rows, their unit vectors) block by block, all or those of `among`."""
        rows = np.arange(len(self)) if among is None else among
        size = self.block_rows
        for start in range(0, len(rows), size):
            progress.report(start, len(rows), doing)
            part = rows[start : start + size]
            yield part, self.span(start, start + len(part)) if among is None else self.take(part)

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK_VALUES // self.width)

    def sample(self, count: int, seed: int = 0, among: Rows | None = None) -> Rows:
        """At most `count` usable rows, drawn at random without repeats, in order."""
        rows = np.flatnonzero(self.usable) if among is None else among[self.usable[among]]
        if len(rows) <= count:
            return rows
        return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))

    def _read(self, part: Rows | slice) -> FloatArray:
        """Raw vectors times their scales; zeros, whatever they hold, where the scale is zero."""
        vectors, scales = as_float32(self.matrix[part]), self.scales[part]
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: FloatArray = vectors * scales[:, None]
        scaled[scales == 0] = 0
        return scaled

    def _raw_blocks(self) -> Iterator[tuple[int, FloatArray]]:
        for start in range(0, len(self), self.block_rows):
            yield start, as_float32(self.matrix[start : start + self.block_rows])


class CentredRows(UnitRows):
    """Unit rows with the mean of their kind taken away: a space whose modality gap is closed.

    Parameters
    ----------
    rows : UnitRows
    kinds : uint8 array [N]
        Kind of each row; those without a centre stay where they are.
    centres : mapping of int to float32 array [D]
        Mean of the unit vectors of each kind; see `measures.gap.centres_of`.
    """

    def __init__(self, rows: UnitRows, kinds: NDArray[np.uint8], centres: Mapping[int, FloatArray]) -> None:
        super().__init__(rows.matrix)
        self.scales = rows.scales
        self._kinds = kinds
        self.centres = np.zeros((256, rows.width), np.float32)
        for kind, centre in centres.items():
            self.centres[kind] = centre

    def _read(self, part: Rows | slice) -> FloatArray:
        moved = super()._read(part) - self.centres[self._kinds[part]]
        moved[self.scales[part] == 0] = 0
        return unit(moved)
