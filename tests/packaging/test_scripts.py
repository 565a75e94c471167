"""The set-up scripts parse, find what they need, name what is missing and are quick when nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = PROJECT / "packaging"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the POSIX scripts")


def run(
    script: Path, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script without the display variables of whoever runs the tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    }
    return subprocess.run(
        ["sh", str(script), *arguments],
        env={**kept, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment is up to date and whose `mmviewer` prints its arguments."""
    root = tmp_path / "a checkout"
    shutil.copytree(SCRIPTS, root / "packaging", ignore=shutil.ignore_patterns("starter"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    bin_folder = root / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    write_program(bin_folder / "mmviewer", 'printf "%s|" "$@"')
    # pip only notes what it was asked: a test installs nothing
    asked = f'case $2 in pip) printf "%s\\n" "$*" >>"$0.pip" ;; *) exec "{sys.executable}" "$@" ;; esac'
    write_program(bin_folder / "python", asked)
    stamp(root, "test")
    return root


def write_program(path: Path, body: str) -> None:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def stamp(root: Path, extra: str) -> None:
    """Write the stamp as the script itself computes it."""
    command = '. "$0"; fingerprint "$venv/bin/python" ' + extra
    text = subprocess.run(
        ["sh", "-c", command, str(root / "packaging" / "common.sh")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (root / ".venv" / "mmviewer.stamp").write_text(text)


@pytest.mark.parametrize("name", ["packaging/run.sh", "packaging/test.sh", "packaging/common.sh", ".ci/run"])
def test_scripts_parse(name: str) -> None:
    done = subprocess.run(
        ["sh", "-n", str(PROJECT / name)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the display check is for Linux")
def test_without_display_the_headless_commands_are_named(checkout: Path) -> None:
    done = run(checkout / "packaging" / "run.sh")
    assert done.returncode == 1
    assert "no display" in done.stderr
    for command in ("classify", "caption", "transcribe", "explain", "embed", "models", "doctor"):
        assert command in done.stderr


def test_headless_command_needs_no_display_and_installs_nothing_again(checkout: Path) -> None:
    done = run(checkout / "packaging" / "run.sh", "classify", "a b.png", "--labels", "x,y z", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "classify|a b.png|--labels|x,y z|--json|"
    assert "installing" not in done.stderr


def test_files_open_the_window(checkout: Path) -> None:
    (checkout / "photo.png").touch()
    script = checkout / "packaging" / "run.sh"
    assert run(script, "photo.png", cwd=checkout, QT_QPA_PLATFORM="offscreen").stdout == "gui|photo.png|"
    assert run(script, cwd=checkout, QT_QPA_PLATFORM="offscreen").stdout == "gui|--samples|"


def test_changed_project_is_installed_again_once(checkout: Path) -> None:
    with (checkout / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    script = checkout / "packaging" / "run.sh"
    first, second = run(script, "models"), run(script, "models")
    assert "installing mmviewer" in first.stderr
    assert f"install -q -e {checkout}" in (checkout / ".venv/bin/python.pip").read_text()
    assert (second.stdout, second.stderr) == ("models|", "")


def test_missing_python_is_named(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
        write_program(old / name, "exit 1")
    done = run(checkout / "packaging" / "run.sh", "models", PATH=f"{old}:/usr/bin:/bin")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert not (checkout / ".venv").exists()


def test_missing_libraries_are_found_by_asking_the_loader(checkout: Path) -> None:
    if shutil.which("ldconfig", path=os.environ["PATH"] + ":/sbin:/usr/sbin") is None:
        pytest.skip("no ldconfig here")
    table = "libc.so.6 libc6\nlibnowhere.so.9 libnowhere9\n"
    done = subprocess.run(
        ["sh", "-c", '. "$0"; missing_packages "$1"', str(checkout / "packaging" / "common.sh"), table],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["libnowhere9"]
