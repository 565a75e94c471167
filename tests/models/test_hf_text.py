"""Tokens of every kind of tokenizer, traced to characters and put together to the text that it decodes."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mmviewer.core.errors import InputError
from mmviewer.core.models.hf.text import TextCodec

TEXT = "Two dogs aren't far, said Zoë's café owner – 3 of 4!"
CORPUS = [TEXT, "two dogs and a cat are not far from the café", "is it far? it isn't, said the owner."]


def word_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=specials))
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["[PAD]"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=["[PAD]", "[UNK]"], unk_token="[UNK]")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def bytes_behind_pieces() -> Tokenizer:
    pieces = {"[PAD]": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    for character in sorted(set("".join(CORPUS).replace(" ", "▁")) - set("ëé–")):
        pieces[character] = len(pieces)
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


KINDS = [word_pieces, byte_level, sentence_pieces, bytes_behind_pieces]


def codec(make, context: int = 200) -> TextCodec:
    return TextCodec(PreTrainedTokenizerFast(tokenizer_object=make(), pad_token="[PAD]"), context)


@pytest.mark.parametrize("make", KINDS)
def test_spans_cover_the_text_in_order(make):
    spans = codec(make).split(TEXT)
    covered = "".join(TEXT[span.start : span.end] for span in spans)
    assert covered == TEXT.replace(" ", "")
    assert all(span.text == TEXT[span.start : span.end] for span in spans)
    ends = [0, *(span.end for span in spans)]
    assert all(before <= span.start <= span.end for before, span in zip(ends, spans, strict=False))


@pytest.mark.parametrize("make", KINDS)
def test_texts_are_those_that_the_tokenizer_decodes(make):
    own = codec(make)
    ids = own.ids(TEXT)
    text, spans = own.join(ids)
    expected = own.tokenizer.decode(ids, clean_up_tokenization_spaces=make is word_pieces).strip()
    assert text.replace(" ", "") == expected.replace(" ", "")
    if make is not word_pieces:  # whose own rules of spacing are those of English in part
        assert text == expected == TEXT
    assert [span.id for span in spans] == ids
    assert "".join(text[span.start : span.end] for span in spans) == text.replace(" ", "")


def test_pieces_of_words_stand_as_people_write_them():
    own = codec(word_pieces)
    assert own.join(own.ids("the cat isn't far, said the owner."))[0] == "the cat isn't far, said the owner."


def test_special_tokens_add_nothing_to_the_text():
    own = codec(word_pieces)
    separator = own.tokenizer.convert_tokens_to_ids("[SEP]")
    own = TextCodec(
        PreTrainedTokenizerFast(tokenizer_object=word_pieces(), pad_token="[PAD]", sep_token="[SEP]"), 200
    )
    text, spans = own.join([*own.ids("a cat"), separator])
    assert text == "a cat"
    assert spans[-1].special
    assert spans[-1].text == "[SEP]"


def test_long_texts_are_refused_in_words():
    with pytest.raises(InputError, match="takes 5; shorten it"):
        codec(byte_level, 5).batch([TEXT])
