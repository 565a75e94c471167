"""Embedding a source into Parquet shards, in this process or through Ray Data on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmviewer.core.errors import EngineError, InputError
from mmviewer.core.media.files import display_name, to_path
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.space.collection.sources import SourceSpec
from mmviewer.core.space.indexing.shards import (
    SHARD_ITEMS,
    ShardPlan,
    ShardReport,
    make_shard,
    missing,
    plan,
    write_failures,
)

FAILURES = "failures.csv"
_LOCAL_STORE = 256 * 2**20  # bytes: what travels are paths and counts


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What came of it: shards made now, vectors in them, shards that were there, files that failed."""

    folder: str
    shards: int
    embedded: int
    present: int
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Ray runs.

    Parameters
    ----------
    address : str
        Of a running cluster; empty takes the one that this machine belongs to, else starts one here.
    workers : int, optional
        Copies of the model; by default one for each GPU of the cluster, or one.
    """

    address: str = ""
    workers: int | None = None


def embed_source(
    spec: SourceSpec,
    folder: str | Path,
    *,
    model: str = "starter",
    device: str = "auto",
    dtype: str = "auto",
    cluster: Cluster | None = None,
    shard_items: int = SHARD_ITEMS,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Embed all items of a source into a folder of Parquet shards; what is there already is not made again.

    Parameters
    ----------
    spec : SourceSpec
        Its files must lie under the same paths on all machines of a cluster, as must `folder`.
    folder : path
        Made where it is missing.
    model, device, dtype : str
        As of `load_model`.
    cluster : Cluster, optional
        Run through Ray Data there; by default in this process.
    shard_items : int
        Items of each shard.
    progress : Progress

    Raises
    ------
    InputError
        The folder holds something else, or Ray is not installed.
    EngineError
        The cluster cannot be reached, or a part of it failed.
    """
    if shard_items < 1:
        raise InputError("A shard holds at least one item.")
    place = _made(folder)
    plans = list(plan(spec, f"{model} {dtype}", shard_items, progress))
    todo = missing(iter(plans), place)
    made = (
        _here(todo, place, model, device, dtype, progress)
        if cluster is None
        else _on_ray(todo, place, model, device, dtype, cluster, progress)
    )
    reports: list[ShardReport] = []
    for report in made:
        reports.append(report)
        progress.report(len(reports), len(todo), f"Embedding shard {len(reports):,} of {len(todo):,}")
    failures = tuple(failure for report in reports for failure in report.failures)
    if failures or len(todo) == len(plans):
        write_failures(place / FAILURES, failures)
    embedded = sum(report.embedded for report in reports)
    return EmbedReport(str(place), len(reports), embedded, len(plans) - len(todo), failures)


def _made(folder: str | Path) -> Path:
    place = to_path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {display_name(place)} cannot be made ({error.strerror or error}); name another one."
        ) from error
    return place


def _here(
    todo: Sequence[ShardPlan], place: Path, model: str, device: str, dtype: str, progress: Progress
) -> Iterator[ShardReport]:
    if not todo:
        return
    loaded = load_model(model, device, dtype, progress)
    for piece in todo:
        yield make_shard(loaded, piece, place, progress)


# --- Ray ---------------------------------------------------------------------------------------------------
class ShardMaker:
    """A copy of the model on a machine of the cluster; makes one shard a call."""

    def __init__(self, model: str, device: str, dtype: str, folder: str) -> None:
        self._model: LoadedModel = load_model(model, device, dtype)
        self._folder = Path(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the shard that a row of the data set plans; what came of it."""
        return {"report": make_shard(self._model, row["plan"], self._folder)}


def _on_ray(
    todo: Sequence[ShardPlan],
    place: Path,
    model: str,
    device: str,
    dtype: str,
    cluster: Cluster,
    progress: Progress,
) -> Iterator[ShardReport]:
    if not todo:
        return
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, cluster.address)
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if device in ("auto", "cuda") else 0
        workers = min(cluster.workers or max(gpus, 1), len(todo))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        planned = ray.data.from_items([{"plan": each} for each in todo], override_num_blocks=len(todo))
        made = planned.map(
            ShardMaker,
            fn_constructor_args=(model, device, dtype, str(place)),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=1 if gpus else None,
        )
        for row in made.iter_rows():
            progress.check()
            yield row["report"]
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"A part of the cluster failed ({_first_line(error)}); what is done stays, so run it again."
        ) from error
    finally:
        if started:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("Ray is not installed; run: pip install 'mmviewer[ray]'.") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, or start one of this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            ray.init(address=address or None, **options)
            return
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            ray.init(include_dashboard=False, object_store_memory=_LOCAL_STORE, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"The cluster cannot be reached ({_first_line(error)}); check its address, or leave it out to "
            "use this machine."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
