"""Shards of Parquet: whole or not there, made again only where missing, and the same through Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from material import make_files
from pyarrow import parquet

from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.space.collection import Catalogue
from mmviewer.core.space.collection.sources import EmbeddingsSource
from mmviewer.core.space.indexing import cluster
from mmviewer.core.space.indexing.cluster import Cluster, embed_source
from mmviewer.core.space.indexing.sources import source_at
from mmviewer.core.tasks.embed import embed


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_files(folder, pictures=9, tones=2, broken=2)
    return folder


def vectors_of(folder: Path) -> dict[str, np.ndarray]:
    tables = [parquet.read_table(file).to_pylist() for file in sorted(folder.glob("*.parquet"))]
    return {row["path"]: np.array(row["vector"], np.float32) for table in tables for row in table}


def test_shards_hold_plain_vectors_and_only_missing_ones_are_made(tmp_path, files, monkeypatch):
    model = FAMILIES.get("hearing").tiny("clip")
    loads: list[str] = []
    monkeypatch.setattr(cluster, "load_model", lambda spec, *_: (loads.append(spec), model)[1])
    spec, out = source_at(files), tmp_path / "out"
    report = embed_source(spec, out, shard_items=4)
    assert (report.shards, report.embedded, report.present, len(report.failures)) == (4, 11, 0, 2)
    found = vectors_of(out)
    assert len(found) == 11
    for path, vector in found.items():
        np.testing.assert_allclose(vector, embed(model, [open_media(path)]).vectors[0], atol=1e-5)
    lines = (out / "failures.csv").read_text("utf-8").splitlines()
    assert lines[0] == "path,reason"
    assert len(lines) == 3

    shards = sorted(out.glob("*.parquet"))
    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    shards[1].unlink()
    again = embed_source(spec, out, shard_items=4)
    assert (again.shards, again.present) == (1, 3)
    assert {shard: shard.stat().st_mtime_ns for shard in shards if shard != shards[1]} == {
        shard: time for shard, time in times.items() if shard != shards[1]
    }
    embed_source(spec, out, shard_items=4)
    assert len(loads) == 2  # nothing to do, no model

    with Catalogue.open(tmp_path / "collection", create=True) as catalogue:
        catalogue.scan(catalogue.add_source(EmbeddingsSource(str(out))).id)
        (space,) = catalogue.spaces()
        assert space.count == 11
        rows = catalogue.vectors(space.id).rows()
        for item, vector in zip(catalogue.items(rows), catalogue.vectors(space.id).take(rows), strict=True):
            np.testing.assert_allclose(vector, found[item.path], atol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ray_gives_the_vectors_of_the_plain_engine(tmp_path, files):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    spec = source_at(files)
    plain = embed_source(spec, tmp_path / "plain", device="cpu")
    through_ray = embed_source(spec, tmp_path / "ray", device="cpu", cluster=Cluster(), shard_items=6)
    assert through_ray.embedded == plain.embedded == 11
    assert sorted(through_ray.failures) == sorted(plain.failures)
    expected, found = vectors_of(tmp_path / "plain"), vectors_of(tmp_path / "ray")
    assert set(found) == set(expected)
    for path, vector in found.items():
        np.testing.assert_allclose(vector, expected[path], atol=1e-3)
    assert embed_source(spec, tmp_path / "ray", device="cpu", cluster=Cluster(), shard_items=6).shards == 0
