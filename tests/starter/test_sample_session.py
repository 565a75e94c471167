"""The sample session: every file is there, and what the notes claim of the shipped model is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe.claims import Witness

import mmviewer as mv
from mmviewer import paths
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.session.samples import Sample, sample_session

FOLDER = paths.samples()
SESSION = sample_session(FOLDER)
CLAIMS = [
    pytest.param(sample, claim, id=f"{Path(sample.file).stem}-{number}")
    for sample in SESSION
    for number, claim in enumerate(sample.claims)
]


@pytest.fixture(scope="module")
def starter() -> LoadedModel:
    if not list(paths.starter_model().glob("*.safetensors")):
        pytest.skip("the starter's weights are not in this checkout")
    return mv.load("starter")


@pytest.fixture(scope="module")
def witnesses(starter) -> dict[str, Witness]:
    """One for each sample, so that its caption is made once."""
    return {sample.file: Witness(starter, sample, FOLDER) for sample in SESSION}


@pytest.mark.parametrize(("sample", "claim"), CLAIMS)
def test_what_a_note_claims_is_true(sample: Sample, claim, witnesses):
    assert witnesses[sample.file].disproved(claim) == ""


def test_a_false_claim_is_found_out(starter):
    """The checks themselves can fail, each with its reason."""
    sample = next(sample for sample in SESSION if sample.file == "scene-owl-guitar.png")
    witness = Witness(starter, sample, FOLDER)
    for claim in (
        {"caption": ["zebra"]},
        {"caption": [], "lacks": [witness.caption.text.split()[0]]},
        {"map": "zebra", "on": "owl"},
        {"label": "zebra", "among": ["owl", "zebra"]},
        {"find": "an owl", "on": "nowhere"},
    ):
        assert Witness(
            starter,
            sample.model_copy(update={"things": {"nowhere": (2, 2, 3, 3), "owl": (2, 2, 3, 3)}}),
            FOLDER,
        ).disproved(claim)
    with pytest.raises(ValueError, match="claims something unknown"):
        witness.disproved({"smell": "sweet"})


def test_the_session_names_every_sample_once_in_an_order_with_a_note():
    present = {path.name for path in FOLDER.iterdir()} - {"README.md", "session.json"}
    assert [sample.file for sample in SESSION] == list(dict.fromkeys(sample.file for sample in SESSION))
    assert {sample.file for sample in SESSION} == present
    assert len(SESSION) >= 12
    for sample in SESSION:
        assert 40 < len(sample.note) < 240, sample.file
        assert len(sample.name) <= 28, sample.file


def test_boxes_lie_in_the_picture():
    for sample in SESSION:
        for thing, box in sample.things.items():
            if len(box) == 4:
                left, top, right, bottom = box
                assert 0 <= left < right <= 1, (sample.file, thing)
                assert 0 <= top < bottom <= 1, (sample.file, thing)
            else:
                start, end = box
                assert 0 <= start < end
