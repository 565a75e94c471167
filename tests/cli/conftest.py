"""Running the real command line in this process, on the starter model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mmviewer import paths
from mmviewer.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def run(capsys) -> Callable[..., Outcome]:
    """Run the command line with these words."""

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def starter(request) -> str:
    """What `--model` takes: the shipped starter, or in a checkout without it the prototype."""
    if list(paths.starter_model().glob("*.safetensors")):
        return "starter"
    return str(request.getfixturevalue("shared_models") / "starter-prototype")


@pytest.fixture(scope="session")
def scene() -> str:
    """A sample picture."""
    return str(paths.samples() / "scene-breakfast.png")
