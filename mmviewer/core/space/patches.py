"""Patches of a collection's images as vectors on the disk, and images with patches nearest to a region."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmviewer.core.errors import CollectionError, InputError
from mmviewer.core.media.geometry import Box, ImageGeometry
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.search.exact import checked_queries
from mmviewer.core.space.unit_rows import Rows, UnitRows, unit
from mmviewer.core.types import FloatArray

MOST_BYTES = 8_000_000_000
_ROOM = 500_000_000  # bytes that stay free on the disk


@dataclass(frozen=True, slots=True, eq=False)
class ImagePatches:
    """The patches of one image: vectors float32 [R * C, D], row by row of its grid."""

    row: int
    vectors: FloatArray
    geometry: ImageGeometry


@dataclass(frozen=True, slots=True, eq=False)
class PatchHits:
    """Images with a patch near to a region.

    Parameters
    ----------
    rows : int64 array [K]
        Items, the nearest first.
    cosines : float32 array [K]
        Of the nearest patch of each.
    boxes : float32 array [K, 4]
        Top, left, bottom and right of that patch in pixels of the image.
    sizes : float32 array [K, 2]
        Height and width of each image, pixels.
    images, patches : int
        How many were compared.
    """

    rows: Rows
    cosines: FloatArray
    boxes: FloatArray
    sizes: FloatArray
    images: int
    patches: int


class PatchIndex:
    """Patches of images; made by `write` or `read`.

    Parameters
    ----------
    vectors : float16 array [M, D], memory-mapped
    rows : int64 array [n]
        Item of each image.
    starts : int64 array [n + 1]
        Where the patches of each image begin, and the end.
    frames : float64 array [n, 9]
        Columns of the grid; scale, offset and size of a patch (y, x each); height and width of the image.
    """

    def __init__(
        self, vectors: NDArray[np.float16], rows: Rows, starts: Rows, frames: NDArray[np.float64]
    ) -> None:
        self.rows = rows
        self._vectors = UnitRows(vectors)
        self._starts = starts
        self._frames = frames

    @property
    def patches(self) -> int:
        """How many there are."""
        return len(self._vectors)

    @classmethod
    def write(
        cls,
        path: Path,
        key: str,
        images: Iterable[ImagePatches],
        count: int,
        most_bytes: int = MOST_BYTES,
    ) -> PatchIndex:
        """Write the patches of images as they come; a cancel or an error leaves the former index.

        Parameters
        ----------
        path : Path
            Of the vectors; a description comes to lie beside them.
        key : str
            The model, its weights and preprocessing.
        images : iterable of ImagePatches
        count : int
            How many images will come.
        most_bytes : int

        Raises
        ------
        InputError
            There are none, or so many that their patches would not fit on the disk or into `most_bytes`.
        CollectionError
            The disk refuses.
        """
        from safetensors.numpy import save_file

        unfinished, head = path.with_name(path.name + ".part"), _head(path)
        rows: list[int] = []
        counts: list[int] = []
        frames: list[list[float]] = []
        width = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                for image in images:
                    if not rows:
                        _check_room(path, image.vectors.size * 2 * count, most_bytes)
                        width = image.vectors.shape[1]
                    file.write(unit(image.vectors).astype("<f2").tobytes())
                    rows.append(image.row)
                    counts.append(len(image.vectors))
                    frames.append(_frame(image.geometry))
            if not rows:
                raise InputError("There are no images whose patches could be indexed; add images first.")
            arrays = {
                "rows": np.array(rows, np.int64),
                "starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                "frames": np.array(frames, np.float64),
            }
            head.unlink(missing_ok=True)  # vectors and description always belong together
            unfinished.replace(path)
            save_file(arrays, head, {"key": key, "width": str(width)})
        except OSError as error:
            raise CollectionError(
                f"The patches cannot be written to {path.parent}; free some space or check its permissions."
            ) from error
        finally:
            with suppress(OSError):
                unfinished.unlink()
        found = cls.read(path, key)
        assert found is not None
        return found

    @classmethod
    def read(cls, path: Path, key: str) -> PatchIndex | None:
        """Read what `write` wrote; None if it is missing, broken, or of another model."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(_head(path), framework="numpy") as file:
                meta = file.metadata() or {}
                rows, starts, frames = (file.get_tensor(name) for name in ("rows", "starts", "frames"))
            width, size = int(meta["width"]), path.stat().st_size
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None
        shapes = rows.ndim == 1 and starts.shape == (len(rows) + 1,) and frames.shape == (len(rows), 9)
        if meta.get("key") != key or not shapes or not len(rows) or width < 1:
            return None
        whole = starts[0] == 0 and (np.diff(starts) > 0).all() and size == 2 * width * int(starts[-1])
        if not (whole and np.isfinite(frames).all() and (frames[:, [0, 1, 2, 5, 6]] > 0).all()):
            return None
        vectors = np.memmap(path, "<f2", "r", shape=(int(starts[-1]), width))
        return cls(vectors, rows, starts, frames)

    def search(self, query: FloatArray, count: int, progress: Progress = SILENT) -> PatchHits:
        """Find the images with the patch nearest to a vector [D]; every patch is looked at."""
        query = checked_queries(query, self._vectors.width)[0]
        scores = np.empty(len(self._vectors), np.float32)
        for part, vectors in self._vectors.blocks(None, progress, "Comparing patches"):
            scores[part] = vectors @ query
        best = np.maximum.reduceat(scores, self._starts[:-1])
        order = np.argsort(-best, kind="stable")[:count]
        cells = [int(scores[self._starts[image] : self._starts[image + 1]].argmax()) for image in order]
        boxes = [self._box(int(image), cell) for image, cell in zip(order, cells, strict=True)]
        return PatchHits(
            self.rows[order],
            best[order],
            np.array(boxes, np.float32).reshape(-1, 4),
            self._frames[order, 7:9].astype(np.float32),
            len(self.rows),
            self.patches,
        )

    def _box(self, image: int, cell: int) -> Box:
        columns, *numbers = self._frames[image]
        scale, offset, size, source = np.reshape(numbers, (4, 2))
        place = np.array(divmod(cell, int(columns)))
        low, high = ((corner * size - offset) / scale for corner in (place, place + 1))
        top, left = np.clip(low, 0, source)
        bottom, right = np.clip(high, 0, source)
        return (float(top), float(left), float(bottom), float(right))


def patches_path(folder: str | Path, space_id: str) -> Path:
    """Where a collection keeps the patches of a space."""
    return Path(folder) / "patches" / f"{space_id}.f16"


def is_indexed(folder: str | Path, space_id: str) -> bool:
    """Whether the patches of a space were indexed; `PatchIndex.read` says whether they can be used."""
    return _head(patches_path(folder, space_id)).is_file()


def region_vector(
    vectors: FloatArray, geometry: ImageGeometry, box: Box, cover: FloatArray | None = None
) -> FloatArray:
    """The unit vector [D] of a region: the mean of its patches [R * C, D], by how much of each lies in it.

    Parameters
    ----------
    vectors : float32 array [R * C, D]
    geometry : ImageGeometry
    box : tuple of float
        Top, left, bottom and right in pixels of the image.
    cover : float32 array [R, C], optional
        Which share of each patch's visible part a region that is no rectangle covers, in place of `box`.

    Raises
    ------
    InputError
        The model saw nothing of it.
    """
    rows, columns = geometry.grid
    cells = np.array([geometry.cell_box(row, column) for row in range(rows) for column in range(columns)])
    if cover is None:
        lows, highs = np.maximum(cells[:, :2], box[:2]), np.minimum(cells[:, 2:], box[2:])
        areas = np.maximum(highs - lows, 0).prod(axis=1)
    else:
        areas = np.maximum(cells[:, 2:] - cells[:, :2], 0).prod(axis=1) * cover.reshape(-1)
    if not areas.sum() > 0:
        raise InputError("The model saw nothing of this region; choose one inside what is not hatched.")
    mean = areas.astype(np.float32) @ unit(vectors)
    region: FloatArray = checked_queries(mean, vectors.shape[1])[0]
    return region


def _frame(geometry: ImageGeometry) -> list[float]:
    sizes = (*geometry.scale, *geometry.offset, *geometry.patch_size, *geometry.source)
    return [geometry.grid[1], *map(float, sizes)]


def _head(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _check_room(path: Path, needed: int, most: int) -> None:
    free = shutil.disk_usage(path.parent).free - _ROOM
    if needed > min(free, most):
        raise InputError(
            f"The patches of these images would take {needed / 1e9:.1f} GB and"
            f" {max(min(free, most), 0) / 1e9:.1f} GB are at hand; choose fewer images."
        )
