"""Vision-language models: everything against the library's own processors, attentions and generation."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, MediaError, ModelError
from mmviewer.core.explain.base import explain
from mmviewer.core.models.base import FAMILIES, ModelSource, Placement, Prepared
from mmviewer.core.models.identity import Identity
from mmviewer.core.models.loader import load_model
from mmviewer.core.models.vlm.chat import TaskPrompt
from mmviewer.core.models.vlm.family import Parts, VlmFamily
from mmviewer.core.models.vlm.latents import GroundedChat
from mmviewer.core.models.vlm.model import VisionLanguageModel
from mmviewer.core.tasks.ask import ask
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import MapSpec, Media, Modality, PointRole, Sampling

CASES = [
    (family.key, variant)
    for family in FAMILIES
    if isinstance(family, VlmFamily)
    for variant in family.tiny_variants()
]
every = pytest.mark.parametrize("model", CASES, ids="-".join, indirect=True)
READS = (PointRole.JOINT, PointRole.CROSS, PointRole.DECODER_SELF)
LONG = (60, 140)
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # PaliGemma's labels


def llava(parts: Parts) -> Any:
    return transformers.LlavaProcessor(
        parts.images,
        parts.tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=parts.template,
    )


def llava_next(parts: Parts) -> Any:
    return transformers.LlavaNextProcessor(
        parts.images,
        parts.tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=parts.template,
    )


def smolvlm(parts: Parts) -> Any:
    # SmolVLM's own processor needs a package for videos; for pictures it does what this one does
    return transformers.Idefics3Processor(
        parts.images, parts.tokenizer, image_seq_len=4, chat_template=parts.template
    )


def qwen(parts: Parts) -> Any:
    return transformers.Qwen2_5_VLProcessor(
        parts.images, parts.tokenizer, transformers.Qwen2VLVideoProcessor(), chat_template=parts.template
    )


def paligemma(parts: Parts) -> Any:
    return transformers.PaliGemmaProcessor(parts.images, copy.deepcopy(parts.tokenizer))


def kosmos(parts: Parts) -> Any:
    processor = transformers.Kosmos2Processor(
        parts.images, copy.deepcopy(parts.tokenizer), num_patch_index_tokens=4
    )
    processor.num_image_tokens = 4
    return processor


def mllama(parts: Parts) -> Any:
    return transformers.MllamaProcessor(parts.images, parts.tokenizer, chat_template=parts.template)


def idefics(parts: Parts) -> Any:
    processor = transformers.IdeficsProcessor(parts.images, parts.tokenizer, image_size=32)
    processor.tokenizer_was_trained_with_end_of_utterance_token = False  # prompts hold it already
    return processor


PROCESSORS: dict[str, Callable[[Parts], Any]] = {
    "llava": llava,
    "llava_next": llava_next,
    "smolvlm": smolvlm,
    "qwen_vl": qwen,
    "paligemma": paligemma,
    "kosmos": kosmos,
    "idefics": idefics,
    "mllama": mllama,
}


def task(text: str) -> str:
    return f"<image>{text if text == TaskPrompt.describe else f'answer en {text}'}"


def grounding(text: str) -> str:
    return f"<grounding>{text if text == GroundedChat.describe else f' Question: {text} Answer:'}"


def turns(messages: list[dict[str, Any]]) -> str:
    texts = [message["content"][-1]["text"] for message in messages]
    said = [
        f"{who}{text}<end_of_utterance>"
        for who, text in zip(("", "Assistant: ", "User: "), texts, strict=False)
    ]
    return "\n".join([*said, "Assistant:"])


PLAIN = {"paligemma": task, "kosmos": grounding}
"""How families without a chat template are asked."""


@cache
def built(key: str, variant: str) -> tuple[VlmFamily, Parts, VisionLanguageModel]:
    family = FAMILIES.get(key)
    assert isinstance(family, VlmFamily)
    parts = family.tiny_parts(variant)
    model = family.tiny(variant)
    assert isinstance(model, VisionLanguageModel)
    return family, parts, model


@pytest.fixture
def model(request) -> VisionLanguageModel:
    return built(*request.param)[2]


def picture(size: tuple[int, int] = LONG, seed: int = 0) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Media(f"picture {seed}", Modality.IMAGE, "picture", pixels=pixels)


def processed(key: str, variant: str, media: Media, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What the library's own processor makes of a picture and a conversation."""
    _, parts, _ = built(key, variant)
    processor = PROCESSORS[key](parts)
    image = Image.fromarray(media.pixels)
    if key == "idefics":
        return dict(processor(text=["User:", image, turns(messages)], return_tensors="pt"))
    if processor.chat_template is None:
        text = PLAIN[key](messages[-1]["content"][-1]["text"])
    else:
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    begun = text.startswith(parts.tokenizer.bos_token)
    options = {"add_special_tokens": False} if begun else {}
    found = dict(processor(images=[image], text=[text], return_tensors="pt", **options))
    found.pop("labels", None)  # for training
    return found


def conversation(*texts: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in zip(("user", "assistant") * len(texts), texts, strict=False)
    ]
    turns[0]["content"].insert(0, {"type": "image"})
    return turns


def model_inputs(model: VisionLanguageModel, prepared: Prepared, ids: list[int]) -> dict[str, Any]:
    tokens = torch.tensor([ids])
    given = model._eyes.model_inputs([prepared], tokens)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), **given}


@every
def test_ids_and_pixels_are_those_of_the_processor(model, request):
    key, variant = request.node.callspec.params["model"]
    for media in (picture(), picture((200, 90)), picture((30, 30))):
        prepared = model.prepare(media)
        expected = processed(key, variant, media, conversation("What?", "A cat.", "Where is it?"))
        ids = model.decoder(prepared, model.question_ids("Where is it?", [("What?", "A cat.")])).prompt
        assert list(ids) == expected["input_ids"][0].tolist()
        ours = model_inputs(model, prepared, list(ids))
        for name in set(expected) & set(ours):
            torch.testing.assert_close(ours[name], expected[name].to(ours[name].dtype), atol=1e-5, rtol=0)


@every
def test_maps_are_the_librarys_and_capture_changes_nothing(model, request):
    prepared = model.prepare(picture())
    ids = list(model.decoder(prepared).prompt)
    with torch.no_grad():
        plain = model.sequence_logits(prepared, ids)
    reading = [point for point in model.info.points if point.role in READS]
    with capture(model, {point.name: None for point in reading}) as captured:
        seen = model.sequence_logits(prepared, ids)
    torch.testing.assert_close(seen, plain, atol=1e-5, rtol=0)
    eager = copy.deepcopy(model.module)
    eager.set_attn_implementation("eager")
    inputs = processed(*request.node.callspec.params["model"], picture(), conversation(model._chat.describe))
    for point in reading:
        theirs: list[torch.Tensor] = []
        hooks = [
            eager.get_submodule(name).register_forward_hook(lambda *call, to=theirs: to.append(call[2][1]))
            for name in point.modules
        ]
        with torch.no_grad():
            output = eager(**inputs, output_attentions=True)
        for hook in hooks:
            hook.remove()
        assert len(theirs) == point.layers
        for own, other in zip(captured[point.name], theirs, strict=True):
            torch.testing.assert_close(own, other, atol=1e-5, rtol=0)
    torch.testing.assert_close(plain, output.logits[0].float(), atol=1e-5, rtol=0)


@every
def test_greedy_text_is_the_librarys(model, request):
    ours = generate(model, model.prepare(picture()), Sampling(max_tokens=5))
    inputs = processed(*request.node.callspec.params["model"], picture(), conversation(model._chat.describe))
    written = model.module.generate(
        **inputs, max_new_tokens=5, do_sample=False, suppress_tokens=list(model.unwritten), pad_token_id=0
    )
    expected = written[0, inputs["input_ids"].shape[1] :].tolist()
    assert [token.id for token in ours.tokens] == expected


@every
def test_rows_while_writing_are_those_of_one_forward(model):
    prepared = model.prepare(picture())
    first = model.info.points[0].name
    with capture(model, {first: None}) as steps:
        text = ask(model, prepared, "What is it?", Sampling(max_tokens=4))
    ids = [*text.prompt_ids, *(token.id for token in text.tokens)][:-1]
    with capture(model, {first: None}) as whole:
        logits = model.sequence_logits(prepared, ids)
    for stepped, expected in zip(steps[first], whole[first], strict=True):
        torch.testing.assert_close(stepped, expected, atol=1e-5, rtol=0)
    own = [token for token in text.tokens if not token.given]
    chances = logits[-len(own) :].log_softmax(-1)
    for row, token in zip(chances, own, strict=True):
        assert float(row[token.id]) == pytest.approx(token.logprob, abs=1e-4)


def entering(model: VisionLanguageModel, prepared: Prepared) -> torch.Tensor:
    """What stands for the places of the picture as it enters the language model, or its latents, [N, D]."""
    seen: list[torch.Tensor] = []
    path = next(name for name, part in model.module.named_modules() if part is model._norm)
    reader = {"kosmos": "image_to_text_projection.dense", "idefics": "model.perceiver_resampler"}.get(
        model.info.family
    )
    part = model.module.get_submodule(reader or path.rpartition(".")[0])
    tiled = "keys" in prepared.inputs
    what = "cross_attention_states" if tiled else "inputs_embeds"
    hook = part.register_forward_pre_hook(
        lambda _, given, named: seen.append(given[0] if given else named[what]), with_kwargs=True
    )
    try:
        with torch.no_grad():
            model.sequence_logits(prepared, model.decoder(prepared).prompt)
    finally:
        hook.remove()
    if tiled:
        return seen[0].flatten(0, 1)[prepared.inputs["keys"]]
    return seen[0][0, model._prefix :] if reader else seen[0][0, prepared.inputs["places"]]


@every
def test_a_changed_patch_changes_its_own_position_most(model):
    media = picture()
    prepared = model.prepare(media)
    before = entering(model, prepared)
    geometry = prepared.geometry
    rows, columns = geometry.grid
    cells = {(0, 0), (0, columns - 1), (rows - 1, 0), (rows // 2, columns // 2), (rows - 1, columns - 1)}
    for cell in sorted(cells):
        top, left, bottom, right = (round(edge) for edge in geometry.cell_box(*cell))
        if bottom - top < 2 or right - left < 2:
            continue
        pixels = media.pixels.copy()
        pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
        changed = entering(model, model.prepare(Media("changed", Modality.IMAGE, "changed", pixels=pixels)))
        moved = (changed - before).norm(dim=-1)
        spread = prepared.inputs.get("spread")
        if spread is not None:  # tokens of single positions; those of an overview cover several
            moved = moved @ (spread == 1).float()
        assert divmod(int(moved.argmax()), columns) == cell


@every
def test_a_picture_seen_before_gives_the_same_without_being_encoded_again(model):
    prepared, again = model.prepare(picture()), model.prepare(picture())
    ids = model.decoder(prepared).prompt
    with torch.no_grad():
        first, second = model.sequence_logits(prepared, ids), model.sequence_logits(prepared, ids)
        torch.testing.assert_close(second, first, atol=1e-5, rtol=0)
        torch.testing.assert_close(model.sequence_logits(again, ids), first, atol=1e-5, rtol=0)
    prepared.inputs["pixels"].zero_()  # what was kept is used: the picture itself is not looked at
    with torch.no_grad():
        third = model.sequence_logits(prepared, ids)
    assert torch.allclose(third, first, atol=1e-5) == model.keeps_pictures


@every
def test_several_pictures_in_one_forward(model):
    first, second = model.prepare(picture()), model.prepare(picture(seed=1))
    ids = model.decoder(first).prompt
    with torch.no_grad():
        together = model.sequence_logits_of([first, second], ids)
        alone = torch.stack([model.sequence_logits(each, ids) for each in (first, second)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@every
def test_half_precision_gives_maps_too(model, request):
    key, variant = request.node.callspec.params["model"]
    family = built(key, variant)[0]
    parts = family.tiny_parts(variant)
    parts.module.to(torch.bfloat16)
    placement = Placement(torch.device("cpu"), torch.bfloat16, "half precision is tested")
    half = family.assemble(parts, placement, Identity("half", "tiny", "half"))
    prepared = half.prepare(picture())
    caption = generate(half, prepared, Sampling(max_tokens=2, temperature=1, seed=2))
    for method in ("attention", "gradient_attention"):
        assert np.isfinite(explain(half, prepared, caption, MapSpec(method)).values).all()


@every
def test_thin_and_tiny_pictures_are_read_or_refused_in_words(model):
    for size in ((1, 1), (1, 5000), (5000, 1)):
        try:
            prepared = model.prepare(picture(size))
        except MediaError:  # too thin for this model, which the message says
            continue
        with torch.no_grad():
            assert bool(model.sequence_logits(prepared, model.decoder(prepared).prompt).isfinite().all())


HUB_IDS = {
    "llava-hf/llava-1.5-7b-hf": "llava",
    "llava-hf/llava-v1.6-mistral-7b-hf": "llava_next",
    "HuggingFaceTB/SmolVLM-256M-Instruct": "smolvlm",
    "HuggingFaceM4/Idefics3-8B-Llama3": "smolvlm",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen_vl",
    "google/paligemma2-3b-mix-224": "paligemma",
    "microsoft/kosmos-2-patch14-224": "kosmos",
    "HuggingFaceM4/idefics-9b-instruct": "idefics",
    "meta-llama/Llama-3.2-11B-Vision-Instruct": "mllama",
    "florence-community/Florence-2-base": "florence",
}


@pytest.mark.parametrize(("spec", "key"), HUB_IDS.items())
def test_ids_of_the_hub_lead_to_their_family(spec, key):
    assert [family.key for family in FAMILIES if family.recognises(ModelSource(spec))] == [key]


@every
def test_control_signs_and_foreign_texts_are_refused(model):
    prepared = model.prepare(picture())
    with pytest.raises(InputError, match="control sign"):
        ask(model, prepared, f"What is {model._chat.marker}?")
    with pytest.raises(InputError, match="shorten"):
        ask(model, prepared, "what " * 300)
    with pytest.raises(InputError, match="another picture"):
        model.sequence_logits(prepared, model.decoder(prepared).prompt[-3:])


@every
def test_a_saved_folder_is_the_same_model(model, request, tmp_path: Path):
    key, variant = request.node.callspec.params["model"]
    family, parts, _ = built(key, variant)
    parts.module.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    parts.images.save_pretrained(tmp_path)
    if parts.template:
        (tmp_path / "chat_template.jinja").write_text(parts.template)
    assert family.recognises(ModelSource(str(tmp_path)))
    loaded = load_model(str(tmp_path), device="cpu")
    assert loaded.info.family == key
    prepared = loaded.prepare(picture())
    ids = loaded.decoder(prepared).prompt
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.sequence_logits(prepared, ids), model.sequence_logits(model.prepare(picture()), ids)
        )
    (tmp_path / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(ModelError, match="get the model"):
        load_model(str(tmp_path), device="cpu")


@every
def test_nothing_holds_an_unloaded_model(model, request):
    key, variant = request.node.callspec.params["model"]
    short_lived = FAMILIES.get(key).tiny(variant)
    generate(short_lived, short_lived.prepare(picture()), Sampling(max_tokens=2))
    gone = weakref.ref(short_lived.module)
    del short_lived
    gc.collect()
    assert gone() is None
