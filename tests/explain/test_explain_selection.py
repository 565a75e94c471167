"""Which map is shown for a word, for tokens, and for nothing chosen."""

from __future__ import annotations

import numpy as np
import pytest

from mmviewer.core.errors import InputError
from mmviewer.core.explain.selection import show, text_of, tokens_of_word
from mmviewer.core.media.geometry import TimeGeometry
from mmviewer.core.types import MapKind, MapSpec, TokenMaps, TokenSpan

TOKENS = (
    TokenSpan(0, 1, "a", 0, 1),
    TokenSpan(1, 2, "motor", 2, 7),
    TokenSpan(2, 3, "cycle", 7, 12),
    TokenSpan(3, 4, "a", 13, 14),
    TokenSpan(4, 5, "<end>", 14, 14, special=True),
)


def maps(whole: np.ndarray | None = None) -> TokenMaps:
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    geometry = TimeGeometry(1.0, 0.5, 2)
    return TokenMaps(values, TOKENS, geometry, MapKind.ATTENTION, MapSpec(), "x", whole=whole)


def test_word_of_several_tokens():
    assert text_of(TOKENS) == "a motorcycle a"
    assert tokens_of_word(TOKENS, " MotorCycle ") == (1, 2)
    assert tokens_of_word(TOKENS, "a") == (0,)


@pytest.mark.parametrize("word", ["motor", "", "  ", "(", "<end>"])
def test_word_that_is_not_there(word):
    with pytest.raises(InputError, match="no word"):
        tokens_of_word(TOKENS, word)


def test_shown_map():
    np.testing.assert_array_equal(show(maps(), (1, 2)).grid, [3, 4])
    assert show(maps(), (1, 2)).label == "motor cycle"
    content = show(maps())  # without the special token
    np.testing.assert_array_equal(content.grid, [3, 4])
    assert content.label == "mean over the text"
    whole = show(maps(np.array([7, 8], np.float32)))
    np.testing.assert_array_equal(whole.grid, [7, 8])
    assert whole.tokens == ()
    with pytest.raises(InputError, match="tokens 0 to 4; token 5"):
        show(maps(), (5,))
