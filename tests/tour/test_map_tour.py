"""A collection as a map, as a user has it: dropped, indexed, looked at, asked, measured, labelled."""

from __future__ import annotations

import os

import pytest

SHOTS = (
    "map-empty-dark", "map-dark", "map-near-dark", "map-text-dark", "map-selection-dark", "map-state-dark",
    "map-similarity-dark", "map-measures-dark", "map-trust-dark", "map-umap-dark", "map-close-dark",
    "map-light", "map-light-small", "map-groups-dark", "map-classes-dark", "map-file-dark",
)  # fmt: skip

DEPTH_SHOTS = (
    "map-pairs-dark", "map-matrix-dark", "map-average-dark", "map-average-strip-dark",
    "map-layers-dark", "map-patches-offer-dark", "map-patches-dark", "map-two-models-dark",
    "map-two-models-light", "map-two-models-light-small", "map-average-light-small", "map-pairs-light",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)  # it may wait for the display
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run")
def test_a_tour_of_the_map(take_tour, shared_models):
    take_tour("drive_map.py", shared_models, steps=15, shots=SHOTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: run under xvfb-run")
def test_a_tour_of_what_a_collection_tells_beyond_its_map(take_tour, shared_models):
    take_tour("drive_map_depth.py", shared_models, steps=12, shots=DEPTH_SHOTS)
