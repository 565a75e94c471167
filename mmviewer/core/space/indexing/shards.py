"""Embedding in shards: a source cut into pieces, each of which becomes one Parquet file, wherever it is made.

A shard is there whole or not at all, and its name says what it holds, so a run that was ended goes on with
what is missing, on any machine. `mmviewer index add FOLDER --embeddings` opens the folder as it is. Imports
torch where shards are made, not where they are planned.
"""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmviewer.core.errors import ExportError
from mmviewer.core.media.files import display_name
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection import Catalogue, CollectionItem, Status
from mmviewer.core.space.collection.sources import SourceSpec
from mmviewer.core.space.indexing.decode import Decoded, Job, Refused
from mmviewer.core.types import FloatArray

if TYPE_CHECKING:
    from mmviewer.core.models.base import LoadedModel

SHARD_ITEMS = 1024
_PAGE = 5_000
_DECODERS = 4  # threads: a shard is one of many that run side by side


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One piece of the work.

    Parameters
    ----------
    name : str
        Of its file: number and digest of what it holds and of the model.
    jobs : tuple of Job
        Rows count within the source.
    """

    name: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a piece: `failures` are (path or name, reason)."""

    name: str
    embedded: int
    failures: tuple[tuple[str, str], ...] = ()


def plan(
    spec: SourceSpec, model: str, size: int = SHARD_ITEMS, progress: Progress = SILENT
) -> Iterator[ShardPlan]:
    """Cut a source into pieces of `size` items; equal sources and models give equal names.

    Parameters
    ----------
    spec : SourceSpec
    model : str
        What tells the model apart: its spec and number format.
    size : int
    progress : Progress
    """
    with (
        tempfile.TemporaryDirectory(prefix="mmviewer-") as place,
        Catalogue.open(place, create=True) as catalogue,
    ):
        catalogue.scan(catalogue.add_source(spec).id, progress)
        rows = np.flatnonzero(catalogue.table().status == Status.NEW)
        for number, start in enumerate(range(0, len(rows), size)):
            items = catalogue.items(rows[start : start + size])
            jobs = tuple(Job(item.row, item.name, item.path, item.text) for item in items)
            yield ShardPlan(f"part-{number:06d}-{_digest(model, items)}.parquet", jobs)


def _digest(model: str, items: Sequence[CollectionItem]) -> str:
    digest = hashlib.blake2b(model.encode(), digest_size=6)
    for item in items:
        facts = (item.path, item.text, item.size_bytes, item.modified)
        digest.update(repr(facts).encode("utf-8", "replace"))
    return digest.hexdigest()


def missing(plans: Iterator[ShardPlan], folder: Path) -> list[ShardPlan]:
    """Those pieces that are not in the folder yet."""
    return [each for each in plans if not (folder / each.name).exists()]


def make_shard(
    model: LoadedModel, piece: ShardPlan, folder: Path, progress: Progress = SILENT
) -> ShardReport:
    """Embed a piece and write its file: path, name, kind, text, content_hash, model, vector (unit float32).

    Files that cannot be read are left out and told.

    Raises
    ------
    ExportError
        The folder cannot be written.
    """
    from mmviewer.core.space.indexing.encode import BatchSize, decoding_for, encode_each, width_of

    decode, size = decoding_for(model), BatchSize(model.placement.device)
    jobs = {job.row: job for job in piece.jobs}
    failures: list[tuple[str, str]] = []
    found: list[tuple[Decoded, Any]] = []
    buckets: dict[str, list[Decoded]] = {}

    def embed(bucket: list[Decoded]) -> None:
        vectors, refusals, _ = encode_each(model, bucket, size)
        for decoded, vector, refusal in zip(bucket, vectors, refusals, strict=True):
            if refusal:
                failures.append((_where(jobs[decoded.row]), refusal))
            else:
                found.append((decoded, vector))

    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoding") as pool:
        for outcome in pool.map(decode, piece.jobs):
            progress.check()
            if isinstance(outcome, Refused):
                failures.append((_where(jobs[outcome.row]), outcome.reason))
            elif outcome.item is None:
                failures.append((_where(jobs[outcome.row]), outcome.refusal or _not_taken(model, outcome)))
            else:
                bucket = buckets.setdefault(outcome.kind, [])
                bucket.append(outcome)
                if len(bucket) >= size.size:
                    embed(buckets.pop(outcome.kind))
    for bucket in buckets.values():
        embed(bucket)
    found.sort(key=lambda each: each[0].row)
    matrix = (
        np.stack([vector for _, vector in found]) if found else np.zeros((0, width_of(model)), np.float32)
    )
    _write(folder / piece.name, [decoded for decoded, _ in found], matrix, jobs, model.info.id)
    return ShardReport(piece.name, len(found), tuple(failures))


def write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """List what could not be embedded as CSV, or remove the list where nothing failed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "reason"))
        writer.writerows(failures)


def _where(job: Job) -> str:
    return job.path or job.name


def _not_taken(model: LoadedModel, decoded: Decoded) -> str:
    return f"{model.info.label} does not embed items of kind {decoded.kind.value}."


def _write(
    path: Path, found: Sequence[Decoded], matrix: FloatArray, jobs: dict[int, Job], model_id: str
) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    owners = [jobs[decoded.row] for decoded in found]
    table = arrow.table(
        {
            "path": arrow.array([job.path for job in owners], arrow.string()),
            "name": arrow.array([job.name for job in owners], arrow.string()),
            "kind": arrow.array([decoded.kind.value for decoded in found], arrow.string()),
            "text": arrow.array([job.text for job in owners], arrow.string()),
            "content_hash": arrow.array([decoded.content_hash for decoded in found], arrow.string()),
            "model": arrow.array([model_id] * len(found), arrow.string()),
            "vector": arrow.FixedSizeListArray.from_arrays(
                arrow.array(matrix.astype(np.float32).reshape(-1)), matrix.shape[1]
            ),
        }
    )
    try:
        handle, name = tempfile.mkstemp(prefix=".mmviewer-", dir=path.parent)
        os.close(handle)
        parquet.write_table(table, name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise ExportError(
            f"{display_name(path)} cannot be written ({error.strerror or error}); choose another folder."
        ) from error
