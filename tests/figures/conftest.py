"""A full provenance for the figures of these tests."""

from __future__ import annotations

import pytest

from mmviewer.core.types import Provenance


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        version="0.1.0",
        created="2026-11-23T12:00:00+00:00",
        item="scene.png",
        item_id="ab" * 16,
        model="starter-coca",
        weights_hash="0123456789abcdef",
        method="attention",
        kind="attention",
        layer="3",
        head="mean",
        preprocessing="crop to 64 × 64",
        tokens="rabbit",
        text="a rabbit",
        extra={"geometry": {"mode": "crop"}},
    )
