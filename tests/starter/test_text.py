"""Names, the vocabulary, and where a noun stands in a row of tokens."""

from __future__ import annotations

import tarfile

import pytest

pytest.importorskip("cv2", reason="the extra 'starter' is not installed")
pytest.importorskip("resvg_py", reason="the extra 'starter' is not installed")

from recipe.batches import CaptionEncoder
from recipe.bpe import learn_merges, write_bpe
from recipe.coca import tokenizer
from recipe.concepts import NameMatcher, plural, with_article
from recipe.fetch import FetchError, unpack
from recipe.licences import replace_section
from recipe.scenes import SceneGenerator


@pytest.fixture(scope="module")
def bpe(concepts, tmp_path_factory):
    path = tmp_path_factory.mktemp("bpe") / "bpe.txt.gz"
    write_bpe(path, concepts)
    return path


@pytest.mark.parametrize(
    ("name", "many"),
    [("cat", "cats"), ("fox", "foxes"), ("cherry", "cherries"), ("sheep", "sheep"), ("dog face", "dog faces"),
     ("knife", "knives"), ("scissors", "scissors"), ("cactus", "cactuses"), ("compass", "compasses")],
)  # fmt: skip
def test_plurals(name, many):
    assert plural(name) == many


@pytest.mark.parametrize(
    ("name", "said"), [("owl", "an owl"), ("unicorn", "a unicorn"), ("glasses", "glasses"), ("bus", "a bus")]
)
def test_articles(name, said):
    assert with_article(name) == said


def test_a_title_finds_the_longest_name(concepts):
    matcher = NameMatcher(concepts)
    assert matcher.in_title("Two red apples on a plate") == 5
    assert matcher.in_title("an apple") == 0
    assert matcher.in_title("Wolves howling") is None
    assert matcher.exact("ice-cream") == 4


def test_merges_are_those_of_hand_computed_pairs():
    assert learn_merges({"aab": 3, "ab": 2}, 2) == [("a", "b</w>"), ("a", "ab</w>")]


def test_open_clip_reads_the_vocabulary(bpe, concepts):
    tokens = tokenizer(bpe)
    for concept in concepts:
        for word in concept.name.split():
            assert len(tokens.encode(word)) == 1
    text = "an unforeseen quagga to the left of two owls"
    assert tokens.decode(tokens.encode(text)).strip() == text


def test_the_vocabulary_is_the_same_on_every_run(bpe, concepts, tmp_path):
    write_bpe(tmp_path / "again.gz", concepts)
    assert (tmp_path / "again.gz").read_bytes() == bpe.read_bytes()


def test_spans_are_the_tokens_of_the_nouns(bpe, concepts, sprites):
    tokens = tokenizer(bpe)
    encoder = CaptionEncoder(tokens)
    scenes = SceneGenerator(concepts, sprites, range(len(concepts)), seed=1)
    for _ in range(100):
        scene = scenes.scene()
        row, spans = encoder.encode(scene.words)
        whole = [tokens.sot_token_id, *tokens.encode(scene.caption), tokens.eot_token_id]
        assert row == whole + [0] * (24 - len(whole))
        for noun, span in enumerate(spans):
            said = " ".join(word.rstrip(",") for word, n in scene.words if n == noun)
            assert tokens.decode(row[span.first : span.end]).strip() == said


def test_a_caption_that_is_too_long_ends_with_the_end_token(bpe):
    tokens = tokenizer(bpe)
    row, spans = CaptionEncoder(tokens, context=6).encode([("apple", 0)] * 9)
    assert len(row) == 6
    assert row[-1] == tokens.eot_token_id
    assert spans[0].end > 6


def test_an_archive_that_climbs_out_is_refused(tmp_path):
    (tmp_path / "evil.txt").write_text("x")
    archive = tmp_path / "evil.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "evil.txt", arcname="package/../../evil.txt")
    target = tmp_path / "inside"
    target.mkdir()
    with pytest.raises(FetchError, match=r"evil\.tgz"):
        unpack(archive, target)
    assert list(target.iterdir()) == []


def test_the_licence_section_is_renewed_and_the_rest_kept():
    document = "# Licences\n\n## Icons\n\nMIT\n"
    once = replace_section(document, "first")
    later = once + "\n## Fonts\n\nOFL\n"
    twice = replace_section(later, "second")
    assert "## Icons\n\nMIT" in twice
    assert "## Fonts\n\nOFL" in twice
    assert "second" in twice
    assert "first" not in twice
    assert replace_section(twice, "second") == twice
