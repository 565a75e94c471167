"""A run from nothing, stopped, resumed, exported and measured, on a cache of sprites made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe.sources import LINED, STYLES

RECIPE = Path(__file__).resolve().parents[2] / "packaging" / "starter"


@pytest.fixture
def work(tmp_path, concepts, sprites) -> Path:
    """A work folder in which every style draws the six concepts."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for i, style in enumerate((*STYLES, *LINED)):
        drawn = sprites["discs" if i % 2 else "squares"]
        np.savez(cache / f"{style}.npz", pixels=drawn.pixels, concept_of_row=drawn.concept_of_row)
    index = {"concepts": [asdict(c) for c in concepts], "labels": list(range(len(concepts)))}
    (cache / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return tmp_path


def call(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(RECIPE / script), *map(str, arguments)]
    # The checkout need not be installed where its tests run.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RECIPE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_train_resume_export_evaluate(work):
    run, out = work / "run", work / "model"
    small = ("--stem", "", "--processes", "1", "--batch", "8", "--checkpoint-every", "1000")
    options = ("--work", work, "--out", run, *small)
    call("train.py", *options, "--seconds", "4")
    first = torch.load(run / "checkpoint.pt", weights_only=True)
    assert first["step"] >= 1
    longer = first["spent"] + 5
    call("train.py", *options, "--seconds", str(longer), "--resume")
    second = torch.load(run / "checkpoint.pt", weights_only=True)
    assert second["step"] > first["step"]
    assert len(second["history"]) == len(first["history"]) + 1
    assert second["spent"] >= longer

    call("export.py", run / "checkpoint.pt", "--work", work, "--out", out)
    facts = json.loads((out / "training.json").read_text())
    assert facts["scenes"] == second["step"] * 8
    assert (out / "labels.txt").read_text().splitlines()[-1] == "red apple"

    printed = call("evaluate.py", out, "--work", work, "--scenes", "3", "--card")
    measured = json.loads((out / "evaluation.json").read_text())["starter-coca"]
    assert measured["zero_shot"]["twemoji"]["images"] == 6
    card = (out / "README.md").read_text()
    assert "guided by boxes" in printed
    assert printed.strip() in card
    assert f"{facts['scenes']:,} pictures" in card
