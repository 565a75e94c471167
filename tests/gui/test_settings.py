"""Settings that survive anything on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmviewer.core.session.settings import VERSION, Settings
from mmviewer.core.session.state import ViewOptions
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.workbench import Workbench


def test_what_is_saved_is_loaded(tmp_path: Path):
    settings = Settings.load(tmp_path / "settings.json")
    settings.theme = "dark"
    settings.remember_recent([str(tmp_path / "a.png")])
    settings.save()
    again = Settings.load(tmp_path / "settings.json")
    assert again.theme == "dark"
    assert again.recent_files == [str(tmp_path / "a.png")]
    assert again.version == VERSION
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe\x00", b'{"theme": ' + b"[" * 5000, b" " * (2 << 20)],
    ids=["empty", "cut off", "a list", "null", "bytes", "deep", "huge"],
)
def test_a_broken_file_means_defaults(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    assert Settings.load(path).model_dump() == Settings().model_dump()
    assert "settings" in caplog.text


def test_bad_and_unknown_keys_are_dropped_one_by_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps({"version": 99, "theme": "pink", "device": "cpu", "surprise": 1, "recent_files": 3})
    )
    settings = Settings.load(path)
    assert (settings.theme, settings.device, settings.recent_files) == ("system", "cpu", [])
    assert settings.version == VERSION
    for word in ("theme", "surprise", "recent_files", "99"):
        assert word in caplog.text


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    settings = Settings.load(tmp_path / "file" / "settings.json")
    settings.save()
    assert "cannot be written" in caplog.text


def test_recent_files_are_few_newest_first_and_each_once(tmp_path: Path):
    settings = Settings()
    for number in (*range(20), 5):
        settings.remember_recent([str(tmp_path / f"{number}.png")])
    names = [Path(name).stem for name in settings.recent_files]
    assert names[:2] == ["5", "19"]
    assert len(names) == len(set(names)) == 12


def test_maps_are_painted_as_they_were_last(tmp_path: Path):
    for colormap, interpolation, opacity in (("viridis", "nearest", 0.4), ("magma", "bicubic", 1.0)):
        jobs = Jobs()
        bench = Workbench(jobs, settings=Settings.load(tmp_path / "settings.json"))
        bench.state.update_view(colormap=colormap, interpolation=interpolation, opacity=opacity)
        bench.release()
        jobs.close()
        again = Settings.load(tmp_path / "settings.json")
        assert (again.colormap, again.interpolation, again.opacity) == (colormap, interpolation, opacity)
        bench = Workbench(jobs := Jobs(), settings=again)
        view = bench.state.view
        assert (view.colormap, view.interpolation, view.opacity) == (colormap, interpolation, opacity)
        bench.release()
        jobs.close()


def test_a_colour_map_that_is_gone_means_the_default(tmp_path: Path):
    (tmp_path / "settings.json").write_text('{"colormap": "jet", "interpolation": "lanczos", "opacity": 7}')
    bench = Workbench(jobs := Jobs(), settings=Settings.load(tmp_path / "settings.json"))
    assert bench.state.view == ViewOptions()
    bench.release()
    jobs.close()
