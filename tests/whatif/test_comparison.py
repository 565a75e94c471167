"""Before and after: equal bit by bit without steps, and otherwise what a plain computation says."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import numpy as np
import pytest

from mmviewer import paths
from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.interventions.inputs import changed_item
from mmviewer.core.interventions.outcome import WhatIf
from mmviewer.core.interventions.recipe import ChangeWord, HideRegion, Region, SwitchOff
from mmviewer.core.interventions.what_if import what_if
from mmviewer.core.media.open import open_media
from mmviewer.core.models.base import LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.progress import Progress
from mmviewer.core.session.samples import sample_session
from mmviewer.core.targets import TokenTarget
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.query import query_sequence
from mmviewer.core.types import MapSpec, Media, TokenSequence

BOX = Region("box", ((10, 5), (70, 50)))


def caption_of(model: LoadedModel, media: Media, text: str = "a red dog and a dog") -> TokenSequence:
    """A caption with fixed words, as if the model had written it."""
    prompt = model.decoder(model.prepare(media)).prompt
    text, spans = model.token_text([token.id for token in model.tokenize(text)])
    return TokenSequence("caption", media.id, model.info.id, text, spans, prompt_ids=prompt)


def test_without_steps_both_sides_are_equal_bit_by_bit(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "coca")
    caption = generate(model, model.prepare(picture))
    same = what_if(model, picture, [], about=caption, labels=["dog", "cat"], spec=MapSpec())
    assert all(change.difference == 0 for change in same.changes)
    assert same.after == caption
    assert (same.scores_before.similarities == same.scores_after.similarities).all()
    assert (same.maps_before.values == same.maps_after.values).all()
    assert same.media is None
    assert same.notes == ()


def test_hiding_a_region_is_the_same_as_asking_about_the_changed_item(
    tiny: Callable[..., LoadedModel], picture: Media
):
    model = tiny("openclip", "coca")
    caption = caption_of(model, picture)
    steps = [HideRegion(BOX)]
    found = what_if(model, picture, steps, about=caption, labels=["dog", "cat"], spec=MapSpec())
    changed = model.prepare(changed_item(picture, steps))
    ids = [*caption.prompt_ids, *(token.id for token in caption.tokens)]
    logits = model.sequence_logits(changed, ids[:-1])[len(caption.prompt_ids) - 1 :].log_softmax(-1)
    expected = [float(row[token.id]) for row, token in zip(logits, caption.tokens, strict=True)]
    assert [change.after for change in found.changes] == pytest.approx(expected, abs=1e-5)
    assert found.after.text == generate(model, changed).text
    direct = model.image_features([changed]) @ model.text_features(["a dog", "a cat"]).T
    np.testing.assert_allclose(found.scores_after.similarities, direct, atol=1e-5)
    assert not np.array_equal(found.maps_before.values, found.maps_after.values)
    assert found.media.pixels.shape == picture.pixels.shape


def test_a_swapped_word_changes_what_is_read_and_nothing_else(
    tiny: Callable[..., LoadedModel], picture: Media
):
    model = tiny("openclip", "coca")
    caption = caption_of(model, picture)
    cat = model.tokenize("black cat")
    found = what_if(model, picture, [ChangeWord("dog", "black cat")], about=caption, spec=MapSpec())
    ids = [token.id for token in caption.tokens]
    read = [*caption.prompt_ids, *ids[:2], *(token.id for token in cat), *ids[3:]]
    logits = model.sequence_logits(model.prepare(picture), read[:-1]).log_softmax(-1)
    last = found.changes[-1]
    assert last.after == pytest.approx(float(logits[-1, ids[-1]]), abs=1e-5)
    assert [change.after_index for change in found.changes] == [0, 1, 2, 4, 5, 6]
    assert [change.after is None for change in found.changes] == [False, False, True, False, False, False]
    assert [change.difference for change in found.changes[:2]] == pytest.approx([0, 0], abs=1e-5)
    assert found.after.text.startswith("a red black cat")
    assert found.maps_after.tokens[2].text == "black"


def test_a_target_is_carried_with_its_word(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "coca")
    caption = caption_of(model, picture)
    steps = [ChangeWord("red", "very dark blue")]
    spec = MapSpec("gradient_attention", target=TokenTarget(5))
    found = what_if(model, picture, steps, about=caption, spec=spec)
    assert found.maps_before.spec.target == TokenTarget(5)
    assert found.maps_after.spec.target == TokenTarget(7)
    gone = what_if(model, picture, [ChangeWord("dog", nth=1)], about=caption, spec=spec)
    assert gone.maps_after is None
    assert "dropped" in gone.notes[0]


def test_a_dropped_word_has_no_place_any_more(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "coca")
    steps = [ChangeWord("dog", nth=1), ChangeWord("red")]
    found = what_if(model, picture, steps, about=caption_of(model, picture))
    assert [change.after_index for change in found.changes] == [0, None, 1, 2, 3, None]
    assert found.after.text.startswith("a dog and a")


def test_a_transcript_is_read_with_other_words_but_not_written_on(shared_models):
    model = load_model(str(shared_models / "whisper-tiny.en"), "cpu", "float32")
    sound = open_media(paths.samples() / "please-open.wav")
    transcript = generate(model, model.prepare(sound))
    word = next(token.text for token in transcript.tokens if len(token.text) > 3 and not token.special)
    found = what_if(model, sound, [ChangeWord(word, "banana")], about=transcript)
    assert found.after is None
    assert "written again" in found.notes[0]
    assert found.total[1] < found.total[0]
    off = what_if(model, sound, [SwitchOff("decoder.cross")], about=transcript)
    assert off.total[1] < off.total[0] - 5
    assert off.after.text != transcript.text


def test_a_query_is_compared_word_by_word(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "clip")
    query = query_sequence(model, picture.id, "a red dog")
    steps = [ChangeWord("red", "very blue", "query"), ChangeWord("dog", "cat", "labels")]
    found = what_if(model, picture, steps, about=query, labels=["dog", "a dog house"], templates=["{}"])
    item = model.image_features([model.prepare(picture)])[0]
    direct = model.text_features(["a red dog", "a very blue dog"]) @ item
    assert found.similarity == pytest.approx(direct.tolist(), abs=1e-6)
    assert found.unit == "similarity"
    assert [change.after_index for change in found.changes] == [0, 1, 3]
    assert found.changes[1].after is None
    assert found.scores_after.labels == ("cat", "a cat house")
    assert found.scores_before.labels == ("dog", "a dog house")


def test_sounds_are_compared_as_pictures_are(tiny: Callable[..., LoadedModel], sound: Media):
    model = tiny("hearing", "clip")
    query = query_sequence(model, sound.id, "a rising tone")
    steps = [HideRegion(Region("span", ((0.4, 1.6),)), "noise"), SwitchOff("sound.self", 0, (1,))]
    found = what_if(model, sound, steps, about=query, labels=["tone", "dog"], spec=MapSpec())
    assert found.similarity[0] != found.similarity[1]
    assert found.media.samples.shape == sound.samples.shape
    assert found.maps_after.values.shape == found.maps_before.values.shape


def test_parts_come_as_they_are_ready_and_a_cancel_ends_it(tiny: Callable[..., LoadedModel], picture: Media):
    model = tiny("openclip", "coca")
    parts: list[WhatIf | TokenSequence] = []
    cancelled = Event()

    def take(part: WhatIf | TokenSequence) -> None:
        parts.append(part)
        if isinstance(part, TokenSequence):
            cancelled.set()

    with pytest.raises(Cancelled):
        what_if(
            model,
            picture,
            [HideRegion(BOX)],
            about=caption_of(model, picture),
            on_part=take,
            progress=Progress(cancelled=cancelled),
        )
    kinds = [type(part) for part in parts]
    assert kinds == [WhatIf, WhatIf, TokenSequence]
    assert parts[0].changes == ()
    assert parts[1].changes
    assert parts[2].media_id == picture.id


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ChangeWord("zebra"), "no “zebra”"),
        (ChangeWord("dog", nth=2), "3. time"),
        (ChangeWord("dog", "cat", "labels"), "No label has"),
        (ChangeWord("dog", "cat", "query"), "looked for"),
        (ChangeWord("a red dog and a dog"), "No word would be left"),
        (ChangeWord("dog", "cat " * 60), "tokens"),
        (SwitchOff("sound.self"), "no place"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(tiny, picture: Media, step, words: str):
    model = tiny("openclip", "coca")
    with pytest.raises(InputError, match=words):
        what_if(model, picture, [step], about=caption_of(model, picture), labels=["owl"])


def test_a_map_that_cannot_be_made_is_noted_and_fails_nothing_else(tiny, picture: Media):
    model = tiny("openclip", "coca")
    found = what_if(
        model, picture, [SwitchOff("decoder.cross")], about=caption_of(model, picture), spec=MapSpec()
    )
    assert found.maps_before is not None
    assert found.maps_after is None
    assert "No map to compare" in found.notes[0]
    assert found.after is not None


def test_the_real_model_misses_what_is_hidden():
    """The starter names the owl; with the owl's box hidden, its name loses most of its probability."""
    if not list(paths.starter_model().glob("*.safetensors")):
        pytest.skip("the starter model's weights are not in this checkout")
    model = load_model("starter", "cpu")
    sample = next(each for each in sample_session(paths.samples()) if "owl" in each.things)
    media = open_media(paths.samples() / sample.file)
    left, top, right, bottom = sample.things["owl"]
    height, width = media.size
    box = Region("box", ((left * width, top * height), (right * width, bottom * height)), "owl")
    found = what_if(model, media, [HideRegion(box)], spec=MapSpec("gradient_attention"))
    owl = next(change for change in found.changes if change.text.strip() == "owl")
    others = [change.difference for change in found.changes if change.text.strip() != "owl"]
    assert owl.difference < -2
    assert owl.difference < min(others)
    assert "owl" not in found.after.text
