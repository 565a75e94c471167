"""Classes, thresholds and confusion against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from mmviewer.core.errors import InputError
from mmviewer.core.space.class_table import ClassTable, confusion

LABELS = ("cat", "dog", "teapot")


def table(count: int = 500, seed: int = 0) -> ClassTable:
    draw = np.random.default_rng(seed)
    winners = draw.integers(-1, 3, count).astype(np.int32)
    chances = np.where(winners < 0, np.nan, draw.uniform(0.3, 1, count)).astype(np.float32)
    return ClassTable(
        LABELS, winners, chances, chances / 2, np.zeros(3, np.float32), "softmax", ("a {}",), "space"
    )


def test_thresholds_take_items_out_of_their_class_only():
    plain = table()
    raised = plain.with_thresholds({"dog": 0.6})
    assert plain.counts.tolist() == [int((plain.winners == code).sum()) for code in range(3)]
    low = (plain.winners == 1) & (plain.probabilities < np.float32(0.6))
    expected = np.where(low, -1, plain.winners).tolist()
    assert raised.codes.tolist() == expected
    assert raised.below.tolist() == (plain.counts - raised.counts).tolist()
    assert plain.with_thresholds(1.0).counts.sum() == 0
    with pytest.raises(InputError, match="no class"):
        plain.with_thresholds({"horse": 0.5})
    with pytest.raises(InputError, match="from 0 to 1"):
        plain.with_thresholds({"cat": float("nan")})


def test_confusion_equals_scikit_learns():
    scored = table().with_thresholds({"cat": 0.5})
    names = ("Dog", "cat", "horse")
    truth = np.random.default_rng(1).integers(-1, 3, len(scored.winners)).astype(np.int32)
    found = confusion(scored, truth, names)
    known = (truth >= 0) & (scored.winners >= 0)
    words = [*LABELS, "none", "horse"]
    given = [words[code] if code >= 0 else "none" for code in scored.codes[known]]
    true = [names[code].lower() for code in truth[known]]
    whole = confusion_matrix(true, given, labels=words)
    expected = whole[[words.index(name.lower()) for name in names]][:, :4]
    assert found.counts.tolist() == expected.tolist()
    assert found.accuracy == pytest.approx(np.mean([a == b for a, b in zip(true, given, strict=True)]))
    kept = {"average": None, "labels": ["dog", "cat"], "zero_division": 0}
    assert found.recall[:2] == pytest.approx(recall_score(true, given, **kept), rel=1e-6)
    assert found.precision[:2] == pytest.approx(precision_score(true, given, **kept), rel=1e-6)
    assert np.isnan(found.recall[2])


def test_a_column_of_another_state_or_without_classes_is_refused():
    scored = table()
    with pytest.raises(InputError, match="score again"):
        confusion(scored, np.zeros(3, np.int32), ("a",))
    with pytest.raises(InputError, match="different values"):
        confusion(scored, np.zeros(500, np.int32), [str(each) for each in range(5000)])
