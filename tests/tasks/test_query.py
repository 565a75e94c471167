"""A query split into words."""

from __future__ import annotations

import pytest

from mmviewer.core.errors import InputError, UnsupportedError
from mmviewer.core.models.base import FAMILIES
from mmviewer.core.tasks.query import query_sequence


def test_words_cover_their_characters(tiny_model):
    text = "  A red Bicycle, isn't it? 日本"
    sequence = query_sequence(tiny_model("clip"), "m", text)
    assert sequence.kind == "query"
    assert sequence.media_id == "m"
    assert [word.text for word in sequence.tokens] == ["A", "red", "Bicycle", "isn't", "it", "日本"]
    assert all(text[word.start : word.end] == word.text for word in sequence.tokens)
    assert [word.index for word in sequence.tokens] == list(range(6))


def test_word_of_one_token_has_its_id(tiny_model):
    model = tiny_model("clip")
    words = query_sequence(model, "m", "dog isn't").tokens
    assert words[0].id == model.tokenize("dog")[0].id
    assert words[1].id == -1


def test_model_without_text_embedding_says_so():
    whisper = FAMILIES.get("whisper").tiny()
    with pytest.raises(UnsupportedError, match="no embedding of text"):
        query_sequence(whisper, "m", "dog")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no words"), ("?! …", "no words"), ("dog " * 90, "shorten"), ("x" * 10**6, "shorten")],
)
def test_query_that_cannot_be_read(tiny_model, text, words):
    with pytest.raises(InputError, match=words):
        query_sequence(tiny_model("clip"), "m", text)
