"""Items written as CSV and Parquet, and read again by others."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from mmviewer.core.errors import ExportError, InputError
from mmviewer.core.space.collection import Catalogue, EmbeddingsSource, TableSource


@pytest.fixture
def catalogue(tmp_path: Path):
    """Three texts with a number and a word, two of them with a vector."""
    (tmp_path / "t.csv").write_text('text,score,class\nowl,0.1,bird\n"=cmd()",2,\nfox,,"a, b"\n')
    with Catalogue.open(tmp_path / "collection", create=True) as made:
        made.scan(made.add_source(TableSource(str(tmp_path / "t.csv"))).id)
        made.set_labels([2], "mine", name="hand")
        info = made.add_space(model_id="m", label="m", width=3, weights_hash="w", preprocessing="p")
        with made.begin_batch() as batch:
            batch.set_content([0, 2], ["00" * 16, "02" * 16])
            batch.append_vectors(info.id, ["00" * 16, "02" * 16], np.eye(3)[:2])
        yield made


COLUMNS = ("row", "text", "score", "class", "hand", "status")


def test_csv(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.export_csv([2, 0, 1], COLUMNS, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        list(COLUMNS),
        ["2", "fox", "", "a, b", "mine", "ready"],
        ["0", "owl", "0.1", "bird", "", "ready"],
        ["1", "'=cmd()", "2", "", "", "new"],  # no spreadsheet runs it
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["collection", "out.csv", "t.csv"]


def test_parquet_with_vectors_opens_as_own_embeddings(catalogue: Catalogue, tmp_path: Path) -> None:
    space = catalogue.spaces()[0].id
    catalogue.export_parquet(range(3), COLUMNS, tmp_path / "out.parquet", space)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("score").to_pylist() == [0.1, 2.0, None]
    assert table.column("text").to_pylist() == ["owl", "=cmd()", "fox"]
    assert table.column("vector").to_pylist() == [[1, 0, 0], None, [0, 1, 0]]
    with Catalogue.open(tmp_path / "other", create=True) as other:
        spec = EmbeddingsSource(str(tmp_path / "out.parquet"), id_column="row")
        other.scan(other.add_source(spec).id)
        assert [each.text for each in other.items(range(3))] == ["owl", "=cmd()", "fox"]
        kept = other.vectors(other.spaces()[0].id)
        np.testing.assert_array_equal(kept.take(np.array([0, 2])), np.eye(3)[:2])


def test_what_cannot_be_written(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column “nothing”"):
        catalogue.export_csv([0], ["nothing"], tmp_path / "out.csv")
    with pytest.raises(InputError, match="3 items"):
        catalogue.export_csv([3], ["row"], tmp_path / "out.csv")
    with pytest.raises(ExportError, match="cannot be written"):
        catalogue.export_csv([0], ["row"], tmp_path / "no" / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        catalogue.export_csv([0], ["row"], tmp_path / "folder.csv")
    assert not list(tmp_path.glob(".mmviewer-*"))
