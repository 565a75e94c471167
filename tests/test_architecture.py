"""What the import contracts cannot see: what really is in memory, and how long a file is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "mmviewer"
HEAVY = (
    "torch",
    "torchvision",
    "transformers",
    "open_clip",
    "timm",
    "matplotlib",
    "sklearn",
    "umap",
    "pacmap",
    "faiss",
    "openTSNE",
)
QT = ("PySide6", "pyqtgraph")


def imported(statement: str, suspects: tuple[str, ...]) -> list[str]:
    """Which of `suspects` a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint([name for name in {suspects!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [name.strip(" '[]") for name in done.stdout.strip().split(",") if name.strip(" '[]")]


def modules_of(folder: str) -> list[str]:
    """Dotted names of all modules under a folder of the package."""
    files = sorted((PACKAGE / folder).rglob("*.py"))
    return [
        ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__") for file in files
    ]


def test_gui_process_holds_nothing_heavy() -> None:
    every = "import " + ", ".join(modules_of("gui"))
    panels = "from mmviewer.gui.panels.base import panels_in_order; assert panels_in_order()"
    assert imported(f"{every}\n{panels}", HEAVY) == []


def test_engine_client_holds_neither_torch_nor_qt() -> None:
    assert imported("import mmviewer.engine.client, mmviewer.engine.protocol", HEAVY + QT) == []


@pytest.mark.slow
def test_core_holds_no_qt() -> None:
    assert imported("import " + ", ".join(modules_of("core")), QT) == []


def test_light_core_stays_light() -> None:
    light = ("core.types", "core.errors", "core.session.state", "core.figures.spec", "core.registry")
    assert imported("import " + ", ".join(f"mmviewer.{name}" for name in light), HEAVY + QT) == []


@pytest.mark.parametrize("folder", ["mmviewer", "tests", "packaging"])
def test_no_file_is_too_long_to_read(folder: str) -> None:
    too_long = {
        str(file.relative_to(PROJECT)): lines
        for file in (PROJECT / folder).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) >= 500
    }
    assert too_long == {}
