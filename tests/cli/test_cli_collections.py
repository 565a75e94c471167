"""The commands about collections: index, search, project, and embedding in shards."""

from __future__ import annotations

import csv
import shutil

import pytest
from pyarrow import parquet

from mmviewer import paths

HERE = ("--workers", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name in ("scene-three-butterflies.png", "photo-cat.png", "sound-guitar.wav", "a-dog.txt"):
        shutil.copy(paths.samples() / name, folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    return folder


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return tmp_path_factory.mktemp("collections") / "mine"


def test_a_folder_is_indexed_searched_placed_checked_and_exported(run, starter, files, collection, tmp_path):
    outcome = run("index", "add", collection, files, "--model", starter, *HERE, "--json")
    assert outcome.code == 1  # one file is broken
    assert "1 files could not be read" in outcome.complaint
    added = outcome.json
    assert (added["total"], added["embedded"], added["failed"]) == (5, 4, 1)

    assert run("index", "add", collection, "--model", starter, *HERE, "--json").json["total"] == 0

    status = run("index", "status", collection, "--failures", "--json").json
    assert status["status"]["ready"] == 4
    assert status["kinds"] == {"image": 3, "audio": 1, "text": 1, "unknown": 0}
    assert status["spaces"][0]["items"] == 4
    assert [failure["path"] for failure in status["failures"]] == [str(files / "broken.png")]
    assert "broken.png" in run("index", "status", collection, "--failures").out

    found = run("search", collection, "--text", "a butterfly", "-k", "2", "--model", starter, "--json").json
    assert found["space"] == added["space"]
    assert len(found["items"]) == 2
    assert found["items"][0]["name"] == "scene-three-butterflies.png"
    assert found["items"][0]["cosine"] >= found["items"][1]["cosine"]
    picture = files / "photo-cat.png"
    same = run("search", collection, "--image", picture, "-k", "1", "--model", starter, "--json").json
    assert same["items"][0]["path"] == str(picture)
    assert same["items"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    sound = run("search", collection, "--audio", files / "sound-guitar.wav", "-k", "1", "--model", starter)
    assert sound.out.split()[-1] == str(files / "sound-guitar.wav")

    placed = run("project", collection, "--name", "plane", "--out", tmp_path / "map.csv", "--json").json
    assert len(placed["items"]) == 4
    with (tmp_path / "map.csv").open(newline="") as file:
        assert {row["path"] for row in csv.DictReader(file)} >= {str(picture)}
    assert run("index", "status", collection, "--json").json["maps"] == ["plane"]

    checked = run("index", "verify", collection, "--json")
    assert checked.code == 0
    assert checked.json["sound"] is True
    assert checked.json["vectors"] == 4

    assert run("index", "export", collection, "--out", tmp_path / "all.csv").code == 0
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 5
    out = tmp_path / "all.parquet"
    assert run("index", "export", collection, "--out", out, "--vectors", added["space"]).code == 0
    assert "vector" in parquet.read_schema(out).names


def test_a_sum_of_queries_and_what_is_taken_away_change_the_order(run, starter, collection):
    plain = run("search", collection, "--text", "a cat", "-k", "4", "--model", starter, "--json").json[
        "items"
    ]
    minus = run(
        "search", collection, "--text", "a cat", "--minus", "a dog", "-k", "4", "--model", starter, "--json"
    ).json["items"]
    assert {item["row"] for item in plain} == {item["row"] for item in minus}
    cosine = {item["name"]: item["cosine"] for item in plain}
    without = {item["name"]: item["cosine"] for item in minus}
    assert without["a-dog.txt"] < cosine["a-dog.txt"]


def test_what_cannot_be_done_is_said_in_a_line(run, starter, collection, files, tmp_path):
    assert "is not a collection" in run("search", tmp_path, "--text", "cat", "--model", starter).complaint
    assert "nothing to search" in run("search", collection, "--model", starter).complaint
    assert run("index", "status", tmp_path / "no").code == 1
    wrong = run("search", collection, "--image", files / "sound-guitar.wav", "--model", starter)
    assert (wrong.code, "is a sound" in wrong.complaint) == (2, True)
    assert "names no single space" in run("project", collection, "--space", "nothing").complaint
    assert "is no source" in run("index", "add", tmp_path / "c", files / "photo-cat.png").complaint
    assert (
        "Parquet only"
        in run("index", "export", collection, "--out", tmp_path / "x.csv", "--vectors", "a").complaint
    )


def test_a_source_is_embedded_in_shards_that_can_be_added(run, starter, files, tmp_path):
    out = tmp_path / "shards"
    words = ("embed", files, "--out", out, "--engine", "plain", "--shard", "3", "--model", starter, "--json")
    first = run(*words)
    assert first.code == 1
    assert "broken.png" in first.complaint
    assert (first.json["shards"], first.json["embedded"], first.json["present"]) == (2, 4, 0)
    again = run(*words)
    assert (again.json["shards"], again.json["present"]) == (0, 2)
    collection = tmp_path / "own"
    added = run("index", "add", collection, out, "--embeddings", "--scan-only", "--json")
    assert added.json["sources"][0]["added"] == 4
    status = run("index", "status", collection, "--json").json
    assert [space["vectors"] for space in status["spaces"]] == [4]
