"""What a desktop and a package index read: the desktop entry, the AppStream data, the wheel."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import mmviewer

PROJECT = Path(__file__).resolve().parents[2]
DESKTOP = PROJECT / "packaging" / "desktop"
APP_ID = "io.github.mmviewer.mmviewer"


def project() -> dict[str, dict[str, str]]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_desktop_entry_starts_the_installed_program() -> None:
    entry = configparser.RawConfigParser()
    entry.optionxform = str  # type: ignore[method-assign,assignment]
    entry.read(DESKTOP / f"{APP_ID}.desktop", encoding="utf-8")
    shown = entry["Desktop Entry"]
    program, files = shown["Exec"].split()
    assert program in project()["gui-scripts"]
    assert files == "%F"
    assert (PROJECT / "resources" / "icons" / f"{shown['Icon']}.svg").is_file()
    if shutil.which("desktop-file-validate"):
        subprocess.run(["desktop-file-validate", DESKTOP / f"{APP_ID}.desktop"], check=True, timeout=60)


def test_appstream_data_fits_the_entry_and_the_version() -> None:
    root = ElementTree.parse(DESKTOP / f"{APP_ID}.metainfo.xml").getroot()
    assert root.findtext("id") == APP_ID
    assert root.findtext("launchable") == f"{APP_ID}.desktop"
    assert root.findtext("project_license") == project()["license"]
    binaries = {binary.text for binary in root.iterfind("provides/binary")}
    assert binaries == set(project()["scripts"]) | set(project()["gui-scripts"])
    newest = root.find("releases/release")
    assert newest is not None
    assert newest.get("version") == mmviewer.__version__


@pytest.mark.slow
def test_wheel_carries_resources_and_entry_points(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build tool is not installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        timeout=280,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        declared = archive.read(entry_points).decode()
    assert "mmviewer = mmviewer.cli:main" in declared
    assert "mmviewer-gui = mmviewer.gui.app:main" in declared
    kept = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "resources").rglob("*.svg")}
    assert kept
    assert {f"mmviewer/{name}" for name in kept} <= names
    assert "mmviewer/gui/panels/labels.py" in names
    assert not any(name.startswith("tests/") for name in names)
