"""The starter model, loaded once for the tests of comparisons."""

from __future__ import annotations

import pytest

from mmviewer import api, paths
from mmviewer.core.models.base import LoadedModel


@pytest.fixture(scope="session")
def starter(request: pytest.FixtureRequest) -> LoadedModel:
    if list(paths.starter_model().glob("*.safetensors")):
        return api.load("starter", "cpu")
    return api.load(str(request.getfixturevalue("shared_models") / "starter-prototype"), "cpu")
