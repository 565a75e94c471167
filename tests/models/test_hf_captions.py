"""Models of transformers that write or answer: equal to the library's own forwards, texts and maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, MediaError, ModelError, UnsupportedError
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES, LoadedModel
from mmviewer.core.models.loader import load_model
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import generate
from mmviewer.core.tasks.match import match
from mmviewer.core.types import MapSpec, Media, Modality, PointRole, Sampling

WRITERS = [("hf_blip", "caption"), ("hf_vit_gpt2", ""), ("hf_git", ""), ("hf_blip2", "opt")]
QUERYING = [("hf_blip2", "opt"), ("hf_blip2", "t5"), ("hf_instructblip", "llama"), ("hf_instructblip", "t5")]
ANSWERERS = [("hf_blip", "answer"), ("hf_git", ""), ("hf_vilt", ""), *QUERYING]
GREEDY = Sampling(max_tokens=6)


def picture(height: int = 96, width: int = 160, seed: int = 0) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Media(f"picture {seed}", Modality.IMAGE, "picture", pixels=pixels)


def tiny(key: str, variant: str = "") -> LoadedModel:
    return FAMILIES.get(key).tiny(variant)


def ids_of(sequence) -> list[int]:
    return [*sequence.prompt_ids, *(token.id for token in sequence.tokens)]


def weights_of(attention: nn.Module, hidden: Tensor, context: Tensor, heads: int) -> Tensor:
    """softmax(Q K^T / sqrt(d)) of a module with projections `query` and `key`, in plain steps."""
    query = attention.query(hidden).unflatten(-1, (heads, -1)).transpose(1, 2)
    key = attention.key(context).unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / query.shape[-1] ** 0.5
    return torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)


@pytest.mark.parametrize(("key", "variant"), WRITERS)
def test_captions_are_those_that_the_library_generates(key, variant):
    model = tiny(key, variant)
    prepared = model.prepare(picture())
    ours = [token.id for token in generate(model, prepared, GREEDY).tokens]
    options = {"max_new_tokens": 6, "do_sample": False, "num_beams": 1}
    if key == "hf_git":
        begin = torch.tensor([[model._begin]])
        theirs = model.module.generate(
            pixel_values=prepared.inputs["pixels"], input_ids=begin, pad_token_id=0, **options
        )[0, 1:]
    elif key == "hf_vit_gpt2":
        options |= {"decoder_start_token_id": model._begin, "pad_token_id": 0, "eos_token_id": model._end}
        theirs = model.module.generate(prepared.inputs["pixels"], **options)[0, 1:]
    else:
        theirs = model.module.generate(prepared.inputs["pixels"], **options)[0]
        theirs = theirs[-len(ours) :]
    assert ours == theirs.tolist()


def test_blip_equals_the_library_and_its_cross_attention_a_plain_computation():
    model = tiny("hf_blip", "caption")
    prepared = model.prepare(picture())
    ids = [model._begin, *(span.id for span in model.tokenize("a cat"))]
    decoder = model.module.text_decoder
    entered = []
    hooks = [
        layer.crossattention.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
        for layer in decoder.bert.encoder.layer
    ]
    with capture(model, {"decoder.cross": None}) as captured:
        ours = model.sequence_logits(prepared, ids)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        pixels = prepared.inputs["pixels"]
        theirs = model.module(pixels, torch.tensor([ids])).logits[0]
        image = model.module.vision_model(pixels).last_hidden_state
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        for layer, hidden, found in zip(
            decoder.bert.encoder.layer, entered, captured["decoder.cross"], strict=True
        ):
            expected = weights_of(layer.crossattention.self, hidden, image, 4)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_vit_gpt2_maps_equal_the_librarys_eager_ones():
    model = tiny("hf_vit_gpt2")
    prepared = model.prepare(picture())
    ids = [model._begin, *(span.id for span in model.tokenize("a cat"))]
    names = ("vision.self", "decoder.self", "decoder.cross")
    with capture(model, dict.fromkeys(names)) as captured:
        ours = model.sequence_logits(prepared, ids)
    model.module.set_attn_implementation("eager")
    with torch.no_grad():
        output = model.module(
            prepared.inputs["pixels"], decoder_input_ids=torch.tensor([ids]), output_attentions=True
        )
    torch.testing.assert_close(ours, output.logits[0], atol=1e-5, rtol=1e-5)
    theirs = (output.encoder_attentions, output.decoder_attentions, output.cross_attentions)
    for name, expected in zip(names, theirs, strict=True):
        for found, wanted in zip(captured[name], expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_git_equals_the_library_and_hides_the_text_from_the_image():
    model = tiny("hf_git")
    prepared = model.prepare(picture())
    ids = [*model.decoder(prepared).prompt, *(span.id for span in model.tokenize("a cat"))]
    with capture(model, {"decoder.joint": None}) as captured:
        ours = model.sequence_logits(prepared, ids)
    with torch.no_grad():
        output = model.module(
            torch.tensor([ids[17:]]), pixel_values=prepared.inputs["pixels"], output_attentions=True
        )
    torch.testing.assert_close(ours, output.logits[0], atol=1e-5, rtol=1e-5)
    for found, wanted in zip(captured["decoder.joint"], output.attentions, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        assert found[..., :17, 17:].abs().max() == 0


@pytest.mark.parametrize(("key", "variant"), QUERYING)
def test_queries_texts_and_maps_are_the_librarys(key, variant):
    model = tiny(key, variant)
    prepared = model.prepare(picture())
    pixels = prepared.inputs["pixels"]
    sequence = ask(model, prepared, "What is it?", GREEDY)
    ids = ids_of(sequence)
    given = sum(token.given for token in sequence.tokens)
    written = len(ids) - len(sequence.tokens) + given
    answered = variant == "t5"  # its encoder reads all but the start token before the answer
    inputs = {"input_ids": torch.tensor([[6] * 4 + ids[4 : written - answered]])}
    if key == "hf_instructblip":
        inputs["qformer_input_ids"] = model._reader("What is it?", return_tensors="pt")["input_ids"]
    theirs = model.module.generate(pixels, **inputs, max_new_tokens=6, do_sample=False)[0].tolist()
    assert ids[written:] == theirs[-len(ids[written:]) :]

    names = {point.name: None for point in model.info.points if point.role is not PointRole.ENCODER_SELF}
    layers = model.module.qformer.encoder.layer
    entered = []
    hooks = [
        layer.crossattention.register_forward_pre_hook(
            lambda _, args, kwargs: entered.append(args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        )
        for layer in layers
    ]
    with capture(model, names) as captured:
        ours = model.sequence_logits(prepared, ids[:-1])
    for hook in hooks:
        hook.remove()
    model.module.language_model.set_attn_implementation("eager")
    if answered:
        inputs["decoder_input_ids"] = torch.tensor([ids[written - 1 : -1]])
    else:
        inputs["input_ids"] = torch.tensor([[6] * 4 + ids[4:-1]])
    with torch.no_grad():
        output = model.module(pixels, **inputs, output_attentions=True)
        image = model.module.vision_model(pixels).last_hidden_state
        seeing = [
            weights_of(layer.crossattention.attention, hidden, image, 4)
            for layer, hidden in zip(layers, entered, strict=True)
        ]
    rows = slice(-len(output.logits[0]), None)
    torch.testing.assert_close(ours[rows], output.logits[0], atol=1e-5, rtol=1e-5)
    text = output.language_model_outputs
    reading = text.cross_attentions if answered else text.attentions
    for found, wanted in zip(captured[model._language.point], reading, strict=True):
        torch.testing.assert_close(found[:, :, rows], wanted, atol=1e-5, rtol=0)
    for found, wanted in zip(captured["qformer.cross"], seeing, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    point = next(point for point in model.info.points if point.name == model._language.point)
    expected = torch.stack(reading)[:, 0, :, :, :4] @ torch.stack(seeing)[:, 0, :, :, 1:].mean((0, 1))
    carried = model.position_weights(point, captured, prepared)
    torch.testing.assert_close(carried[:, :, rows], expected, atol=1e-5, rtol=0)


# --- questions -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("key", "variant"), ANSWERERS)
def test_an_answer_is_explained_token_by_token(key, variant):
    model = tiny(key, variant)
    prepared = model.prepare(picture())
    answer = ask(model, prepared, "What is it?", Sampling(temperature=1, seed=2, max_tokens=3))
    assert answer.kind == "answer"
    assert [token.given for token in answer.tokens] == sorted(
        (token.given for token in answer.tokens), reverse=True
    )
    assert not answer.tokens[-1].given
    assert "is" in answer.text
    for method in ("attention", "gradient_attention", "occlusion"):
        maps = explain(model, prepared, answer, MapSpec(method=method))
        assert maps.values.shape == (len(answer.tokens), *prepared.geometry.grid)
        assert np.abs(maps.values[-1]).max() > 0, method


def test_blip_answers_as_the_library_does():
    model = tiny("hf_blip", "answer")
    prepared = model.prepare(picture())
    answer = ask(model, prepared, "What is it?", Sampling(max_tokens=5))
    ids = ids_of(answer)
    count = ids.index(model._end) + 1
    pixels, question = prepared.inputs["pixels"], torch.tensor([ids[:count]])
    theirs = model.module.generate(question, pixels, max_new_tokens=5, do_sample=False)[0].tolist()
    assert ids[count:] == theirs
    with torch.no_grad():
        ours = model.sequence_logits(prepared, ids[:-1])
        output = model.module(
            input_ids=question, pixel_values=pixels, decoder_input_ids=torch.tensor([ids[count:-1]])
        )
        expected = model.module.text_decoder(
            torch.tensor([ids[count:-1]]),
            encoder_hidden_states=model.module.text_encoder(
                question, encoder_hidden_states=output.image_embeds
            ).last_hidden_state,
        ).logits
    torch.testing.assert_close(ours[count:], expected[0], atol=1e-5, rtol=1e-5)
    assert ours[:count].abs().max() == 0


def test_blips_answer_reaches_the_image_through_the_question():
    model = tiny("hf_blip", "answer")
    prepared = model.prepare(picture())
    ids = ids_of(ask(model, prepared, "What is it?", GREEDY))[:-1]
    count = ids.index(model._end) + 1
    point = model.point(PointRole.CROSS)
    with capture(model, {each.name: None for each in model.needed_points(point)}) as captured:
        model.sequence_logits(prepared, ids)
    own = torch.stack([each[0] for each in captured["question.cross"]])[..., 1:]  # [L, H, Tq, P]
    reading = torch.stack([each[0] for each in captured["decoder.cross"]])
    carried = model.position_weights(point, captured, prepared)
    torch.testing.assert_close(carried[:, :, :count], own)
    expected = torch.einsum("lhtq,qp->lhtp", reading[:, :, count:], own.mean((0, 1)))
    torch.testing.assert_close(carried[:, :, count:], expected)


def test_vilt_equals_the_library_whatever_order_it_draws():
    model = tiny("hf_vilt")
    item = picture()
    prepared = model.prepare(item)
    answer = ask(model, prepared, "What is it?")
    ids = ids_of(answer)[:-1]
    with capture(model, {"joint.self": None}) as captured:
        ours = model.sequence_logits(prepared, ids)[-1, model._words :]
    embeddings = model.module.vilt.embeddings
    draw, drawn = embeddings.visual_embed, []

    def watched(*args, **kwargs):
        found = draw(*args, **kwargs)
        drawn.append(found[2][0])
        return found

    embeddings.visual_embed = watched
    pixels = prepared.inputs["pixels"]
    rows, columns = prepared.geometry.grid
    seen = 1 + rows * columns
    text = ids[seen:]
    question = torch.tensor([[text[-1], *text[1:-1], text[0]]])  # class token, words, separator
    mask = torch.ones(1, *pixels.shape[2:], dtype=torch.long)
    with torch.no_grad():
        output = model.module(
            input_ids=question, pixel_values=pixels, pixel_mask=mask, output_attentions=True
        )
    torch.testing.assert_close(ours, output.logits[0], atol=1e-5, rtol=1e-5)
    assert answer.tokens[-1].text == model.module.config.id2label[int(output.logits.argmax())]
    places = drawn[0][0] @ torch.tensor([columns, 1])  # of each patch of theirs
    order = [len(ids) - 1, *range(seen + 1, len(ids) - 1), seen, 0, *(1 + places).tolist()]
    for found, wanted in zip(captured["joint.self"], output.attentions, strict=True):
        torch.testing.assert_close(found[:, :, order][..., order], wanted, atol=1e-5, rtol=0)
    # the answer's map is the row of the class token, which is the library's first
    maps = explain(model, prepared, answer, MapSpec(layer=1))
    looked = output.attentions[1][0, :, 0, len(text) + 1 :].mean(0)  # [P], in the order drawn
    np.testing.assert_allclose(maps.values[-1].flatten()[places.numpy()], looked.numpy(), atol=1e-5)


def test_vilts_patches_lie_where_the_geometry_says():
    model = tiny("hf_vilt")
    item = picture(60, 90)
    plain = model.prepare(item)
    top, left, bottom, right = (round(edge) for edge in plain.geometry.cell_box(2, 3))
    changed = item.pixels.copy()
    changed[top + 3 : bottom - 3, left + 3 : right - 3] ^= 255
    other = model.prepare(Media("changed", Modality.IMAGE, "changed", pixels=changed))
    moved = (model._patches(plain.inputs["pixels"]) - model._patches(other.inputs["pixels"])).abs().amax(-1)
    assert int(moved[0].argmax()) == 1 + 2 * plain.geometry.grid[1] + 3


def test_a_hairline_is_refused_in_words():
    with pytest.raises(MediaError, match="too thin"):
        tiny("hf_vilt").prepare(picture(1, 900))


def test_a_model_that_only_answers_captions_nothing():
    model = tiny("hf_blip", "answer")
    prepared = model.prepare(picture())
    with pytest.raises(UnsupportedError, match="cannot caption"):
        generate(model, prepared)
    with pytest.raises(InputError, match="shorten it"):
        ask(model, prepared, "what is this thing in the picture that I am looking at right now " * 2)


@pytest.mark.parametrize(
    ("key", "variant"),
    [("hf_vit_gpt2", ""), ("hf_blip", "answer"), ("hf_blip2", "opt"), ("hf_instructblip", "t5")],
)
def test_saved_folders_load_and_give_the_same(key, variant, tmp_path):
    model = tiny(key, variant)
    folder = tmp_path / "saved"
    model.module.save_pretrained(folder)
    model._pixels._processor.save_pretrained(folder)
    model._codec.tokenizer.save_pretrained(folder)
    if key == "hf_instructblip":
        model._reader.save_pretrained(folder / "qformer_tokenizer")
    loaded = load_model(str(folder), device="cpu")
    item = picture()
    texts = [
        ask(each, each.prepare(item), "what?", GREEDY).text
        if each.info.about.questions
        else generate(each, each.prepare(item), GREEDY).text
        for each in (model, loaded)
    ]
    assert texts[0] == texts[1]


def test_pairs_and_kinds_that_are_not_known_are_named(tmp_path):
    folder = tmp_path / "pair"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"0" * 64)
    parts = '{"model_type": "vision-encoder-decoder", "encoder": {"model_type": "donut-swin"}}'
    (folder / "config.json").write_text(parts)
    with pytest.raises(ModelError, match="donut-swin"):
        load_model(str(folder), device="cpu")
    (folder / "config.json").write_text('{"model_type": "vilt", "architectures": ["ViltForMaskedLM"]}')
    with pytest.raises(ModelError, match="answers no questions"):
        load_model(str(folder), device="cpu")


# --- pairs ---------------------------------------------------------------------------------------------
def test_matching_and_embeddings_equal_the_librarys():
    model = tiny("hf_blip", "match")
    items, texts = [picture(), picture(seed=1)], ["a red apple", "two", "a boat on water"]
    chances = match(model, items, texts)
    assert chances.shape == (2, 3)
    with torch.no_grad():
        for item, row in zip(items, chances, strict=True):
            prepared = model.prepare(item)
            for text, value in zip(texts, row, strict=True):
                inputs = {"pixel_values": prepared.inputs["pixels"], **model._codec.batch([text])}
                judged = model.module(**inputs).itm_score.softmax(-1)[0, 1]
                assert float(judged) == pytest.approx(float(value), abs=1e-5)
                cosine = model.module(**inputs, use_itm_head=False).itm_score
                own = model.image_features([prepared]) @ model.text_features([text]).T
                torch.testing.assert_close(own, cosine, atol=1e-5, rtol=0)
        hidden = model.tower().start([prepared])
        for index in range(model.tower().layers):
            hidden = model.tower().layer(index, hidden)
        torch.testing.assert_close(model.tower().embed(hidden), model.image_features([prepared]))


def test_models_that_judge_no_pairs_say_so():
    with pytest.raises(UnsupportedError, match="was not trained to judge pairs"):
        match(tiny("hf_clip"), [picture()], ["a dog"])
    with pytest.raises(InputError, match="more than once"):
        match(tiny("hf_blip", "match"), [picture()], ["a dog", "a dog"])
