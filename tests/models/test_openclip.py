"""OpenCLIP: the same numbers as open_clip itself, and sources that may be broken or hostile."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmviewer.core.capture.collector import capture
from mmviewer.core.errors import InputError, ModelError
from mmviewer.core.models.base import FAMILIES, ModelSource, PointRole
from mmviewer.core.models.device import choose_placement
from mmviewer.core.models.loader import list_models, load_model
from mmviewer.core.tasks.generate import generate
from mmviewer.core.types import Capability, Media, Modality, Sampling

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


def picture(seed: int = 0, size: tuple[int, int] = (90, 140)) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Media(f"image {seed}", Modality.IMAGE, "image", pixels=pixels)


@pytest.fixture(scope="session")
def starter(shared_models):
    return load_model(str(shared_models / "starter-prototype"), device="cpu")


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A tiny CoCa with pooler as a folder in open_clip's local-dir form."""
    folder = tmp_path_factory.mktemp("models") / "tiny-coca"
    folder.mkdir()
    text = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
    config = {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 8,
            "layers": 3,
            "width": 32,
            "head_width": 8,
            "attentional_pool": True,
            "attn_pooler_heads": 4,
            "attn_pooler_queries": 9,
            "output_tokens": True,
        },
        "text_cfg": text | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": text,
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "longest"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    model = FAMILIES.get("openclip").tiny("coca")
    save_file({name: tensor.clone() for name, tensor in model.module.state_dict().items()}, folder / WEIGHTS)
    (folder / "labels.txt").write_text("apple\n\n boat \n")
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of `saved` to break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(folder: Path, change) -> None:
    whole = json.loads((folder / CONFIG).read_text())
    change(whole)
    (folder / CONFIG).write_text(json.dumps(whole))


def load(spec: object):
    return load_model(str(spec), device="cpu")


# --- the same numbers as open_clip ------------------------------------------------------------------
def test_a_folder_gives_open_clips_own_embeddings(saved):
    model = load(saved)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{saved}")
    theirs.eval()
    item = picture()
    with torch.no_grad():
        pixels = transform(Image.fromarray(item.pixels))[None]
        prepared = model.prepare(item)
        torch.testing.assert_close(prepared.inputs["pixels"], pixels)
        torch.testing.assert_close(
            model.image_features([prepared]), theirs.encode_image(pixels, normalize=True)
        )
        text = open_clip.get_tokenizer(f"local-dir:{saved}")(["two boats"])
        torch.testing.assert_close(
            model.text_features(["two boats"]), theirs.encode_text(text, normalize=True)
        )
    assert prepared.geometry.mode == "pad"
    assert model.info.labels == ("apple", "boat")


@pytest.mark.parametrize("variant", ["clip", "siglip"])
def test_scores_are_open_clips_own(variant):
    model = FAMILIES.get("openclip").tiny(variant)
    prepared = model.prepare(picture())
    labels = ["a cat", "a dog"]
    with torch.no_grad():
        logits, activation = model.logits(model.image_features([prepared]) @ model.text_features(labels).T)
        ids = open_clip.SimpleTokenizer(context_length=12)(labels)
        expected = model.module.get_logits(prepared.inputs["pixels"], ids)[0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert activation == ("sigmoid" if variant == "siglip" else "softmax")


@pytest.mark.parametrize("variant", ["coca", "coca without pooler"])
def test_a_greedy_caption_equals_a_loop_over_whole_forwards(variant):
    model = FAMILIES.get("openclip").tiny(variant)
    for seed in range(3):
        prepared = model.prepare(picture(seed))
        caption = generate(model, prepared, Sampling(max_tokens=9))
        ids = list(caption.prompt_ids)
        for token in caption.tokens:
            with torch.no_grad():
                text = torch.tensor([ids])
                logits = model.module(prepared.inputs["pixels"], text, output_labels=False)["logits"][0, -1]
            assert token.id == int(logits.argmax())
            assert token.logprob == pytest.approx(float(logits.log_softmax(-1)[token.id]), abs=1e-4)
            ids.append(token.id)


def test_padding_ids_inside_a_text_are_hidden_as_in_open_clip():
    model = FAMILIES.get("openclip").tiny("coca")
    prepared = model.prepare(picture())
    ids = [49406, 320, 0, 0, 539]  # 0 is both "!" and the padding
    decoder = model.decoder(prepared)
    steps = torch.stack([decoder.next_logits(ids[1 : count + 1]) for count in range(len(ids))])
    with torch.no_grad():
        whole = model.module(prepared.inputs["pixels"], torch.tensor([ids]), output_labels=False)["logits"][0]
    torch.testing.assert_close(steps, whole, atol=1e-4, rtol=1e-4)


def test_cross_attention_leads_through_the_pooler_to_patches():
    model = FAMILIES.get("openclip").tiny("coca")
    prepared = model.prepare(picture())
    ids = [49406, 320, 1125]
    cross = model.point(PointRole.CROSS)
    with capture(model, {point.name: None for point in model.needed_points(cross)}) as captured:
        model.sequence_logits(prepared, ids)
    ours = model.position_weights(cross, captured)
    for layer in range(cross.layers):
        for head in range(cross.heads):
            expected = torch.zeros(3, 16)
            for query in range(3):
                for pooled in range(1, 9):  # query 0 of the pooler makes the embedding, not a token
                    mean_over_heads = sum(captured["vision.pool"][0][0, h, pooled, 1:] for h in range(4)) / 4
                    weight = captured["decoder.cross"][layer][0, head, query, pooled - 1]
                    expected[query] += weight * mean_over_heads
            torch.testing.assert_close(ours[layer, head], expected, atol=1e-5, rtol=0)


def test_an_image_is_encoded_once_for_embedding_caption_and_maps(starter):
    prepared = starter.prepare(picture())
    runs = []
    hook = starter.module.visual.transformer.register_forward_hook(lambda *_: runs.append(1))
    try:
        with torch.no_grad():
            starter.image_features([prepared])
        caption = generate(starter, prepared)
        with capture(starter, {"decoder.cross": None}, grad=True):
            starter.sequence_logits(
                prepared, [*caption.prompt_ids, *(token.id for token in caption.tokens[:-1])]
            )
        assert len(runs) == 1
        with capture(starter, {"vision.self": None}) as captured:
            starter.image_features([prepared])
        assert len(runs) == 2
        assert captured["vision.self"]
    finally:
        hook.remove()


# --- text ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("A Cat, sitting", ["A", "Cat", ",", "sitting"]),
        ("  two   BOATS  ", ["two", "BOATS"]),
        ("naïve café", ["na", "ï", "ve", "cafe"[:3] + "é"]),
    ],
)
def test_spans_refer_to_the_text_as_typed(text, covered):
    spans = FAMILIES.get("openclip").tiny("clip").tokenize(text)
    assert "".join(text[span.start : span.end] for span in spans) == "".join(covered)
    assert all(text[span.start : span.end] == span.text for span in spans)


def test_spans_of_a_text_that_cleaning_rewrites_do_not_lie():
    spans = FAMILIES.get("openclip").tiny("clip").tokenize("salt &amp; pepper")
    assert [span.text for span in spans if span.start != span.end][-1] == "pepper"


def test_a_text_over_the_context_length_is_refused_in_words():
    model = FAMILIES.get("openclip").tiny("clip")
    with pytest.raises(InputError, match=r"“one two .*” is 16 tokens long, but this model takes 12"):
        model.text_features(
            ["fine", "one two three four five six seven eight nine ten eleven twelve one two"]
        )


def test_a_caption_joins_pieces_and_marks_the_end():
    model = FAMILIES.get("openclip").tiny("coca")
    ids = [*(span.id for span in model.tokenize("a photo of an archaeopteryx")), 49407]
    text, spans = model.token_text(ids)
    assert text == "a photo of an archaeopteryx"
    assert "".join(text[span.start : span.end] for span in spans) == text.replace(" ", "")
    assert [span.special for span in spans] == [False] * (len(ids) - 1) + [True]


# --- the starter --------------------------------------------------------------------------------------
def test_the_starter_prototype_captions_in_words(starter):
    caption = generate(starter, starter.prepare(picture()))
    assert starter.info.can(Capability.CAPTION)
    assert caption.tokens[-1].special
    assert caption.text.replace(" ", "").replace("'", "").isalnum()
    assert caption.finished


def test_captioning_can_be_drawn_and_repeated(starter):
    prepared = starter.prepare(picture())
    options = Sampling(temperature=1.2, top_k=40, top_p=0.95, seed=5)
    first, second = (generate(starter, prepared, options) for _ in range(2))
    assert first == second
    others = {generate(starter, prepared, Sampling(temperature=1.2, seed=seed)).text for seed in range(6)}
    assert len(others) > 1


# --- sources --------------------------------------------------------------------------------------------
@pytest.fixture
def hub_cache(saved, tmp_path, monkeypatch) -> Path:
    """A cache of the hub that holds `saved` as org/tiny-coca."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--org--tiny-coca"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(saved, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return repo / "snapshots" / commit


def test_a_cached_model_of_the_hub_loads_without_network(saved, hub_cache):
    listed = [model for model in list_models() if model.source == "hf-hub:org/tiny-coca"]
    assert [model.label for model in listed] == ["org/tiny-coca"]
    model = load("hf-hub:org/tiny-coca")
    assert model.info.label == "org/tiny-coca"
    assert model.info.revision == hub_cache.name
    assert model.info.weights_hash == load(saved).info.weights_hash
    (hub_cache / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="models download org/tiny-coca"):
        load("hf-hub:org/tiny-coca")


def test_a_file_beside_its_configuration_loads(folder):
    other = folder / "epoch_3.pt"
    torch.save({"epoch": 3, "state_dict": load_file(folder / WEIGHTS)}, other)
    model = load(other)
    assert model.info.label == "epoch_3"
    reference = load(folder)
    prepared = reference.prepare(picture())
    torch.testing.assert_close(model.image_features([prepared]), reference.image_features([prepared]))


def test_an_architecture_with_a_file_of_weights_loads(tmp_path):
    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-S-32-alt").eval()
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.clone() for name, tensor in theirs.state_dict().items()}, path)
    model = load(f"ViT-S-32-alt={path}")
    prepared = model.prepare(picture())
    with torch.no_grad():
        expected = theirs.encode_image(prepared.inputs["pixels"], normalize=True)
        torch.testing.assert_close(model.image_features([prepared]), expected)
    assert "CLIP's mean" in model.info.notes[0]
    assert model.info.label == "ViT-S-32-alt (weights.safetensors)"


def test_half_precision_runs(saved):
    model = load_model(str(saved), device="cpu", dtype="bfloat16")
    exact = load(saved)
    with torch.no_grad():
        difference = model.image_features([model.prepare(picture())]) - exact.image_features(
            [exact.prepare(picture())]
        )
        lengths = model.image_features([model.prepare(picture())]).norm(dim=-1)
        similarities = torch.linspace(-1, 1, 5)[None]
        torch.testing.assert_close(model.logits(similarities)[0], exact.logits(similarities)[0])
    assert difference.abs().max() < 0.05
    torch.testing.assert_close(lengths, torch.ones(1))
    assert model.info.memory_bytes < 0.6 * exact.info.memory_bytes
    assert generate(model, model.prepare(picture()), Sampling(max_tokens=3)).tokens
    with capture(model, {"decoder.cross": None}) as captured:
        model.sequence_logits(model.prepare(picture()), [49406, 320])
    assert captured["decoder.cross"][0].dtype is torch.float32


SENTENCES = {
    "not there": ("/no/such/folder/x", "There is no model"),
    "unknown tag": ("ViT-B-32/nothing", "has no weights called 'nothing'"),
    "tag that is not here": ("ViT-B-32/laion2b_s34b_b79k", "models download"),
    "hub id that is not here": ("hf-hub:nobody/nothing", "models download"),
    "hub id that is none": ("hf-hub:../../etc", "no id of the hub"),
    "missing file": ("ViT-B-32=/no/such/file.pt", "There is no file"),
    "empty": ("", "No model was named"),
}


@pytest.mark.parametrize(("spec", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_wrong_names_end_in_a_sentence(spec, sentence):
    with pytest.raises(ModelError, match=sentence):
        load(spec)


def remove_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def truncate_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def empty_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def other_weights(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name: tensor for name, tensor in weights.items() if "visual" not in name}, folder / WEIGHTS)


def break_json(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model_cfg": ')


def list_json(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")


def deep_json(folder: Path) -> None:
    (folder / CONFIG).write_text("[" * 100_000)


def other_kind(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model_type": "bert"}')


def vocabulary_outside(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"bpe_path": "../../x.gz"}))


def vocabulary_absolute(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"bpe_path": "/etc/passwd"}))


def vocabulary_missing(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"bpe_path": "gone.gz"}))


def remote_code(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"trust_remote_code": True}))


def huge(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["vision_cfg"].update(width=32768, layers=400))


def endless(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["vision_cfg"].update(layers=10**9))


def unknown_option(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["vision_cfg"].update(flux_capacitor=3))


def foreign_tower(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["vision_cfg"].update(timm_model_name="hf-hub:evil/model"))


def tower_outside(folder: Path) -> None:
    edit(folder, lambda c: c["model_cfg"]["text_cfg"].update(hf_model_name="../../secret"))


BROKEN = {
    remove_weights: "has a configuration but no weights",
    truncate_weights: "broken, incomplete or holds no weights",
    empty_weights: "bytes; get its files again",
    other_weights: "are of another architecture",
    break_json: "cannot be read as JSON",
    list_json: "holds no settings",
    deep_json: "cannot be read as JSON",
    other_kind: "describes no OpenCLIP model",
    vocabulary_outside: "lies outside of the folder",
    vocabulary_absolute: "lies outside of the folder",
    vocabulary_missing: "lacks its vocabulary",
    remote_code: "could run code of others",
    huge: "describes a model of at least",
    endless: "impossible layers",
    unknown_option: "cannot be built from its configuration",
    foreign_tower: "names the image tower",
    tower_outside: "is no hub id",
}


@pytest.mark.parametrize(
    ("damage", "sentence"), BROKEN.items(), ids=lambda case: getattr(case, "__name__", "")
)
def test_broken_and_hostile_folders_end_in_a_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(ModelError, match=sentence) as caught:
        load(folder)
    assert str(folder) in caught.value.message or folder.name in caught.value.message
    assert "\n" not in caught.value.message


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self):
        return (Path.touch, (self._target,))


def test_a_hostile_pickle_is_not_run(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    bomb = tmp_path / "exploded"
    torch.save({"state_dict": Evil(bomb), "size": torch.zeros(10**6)}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="could run code, so it was not loaded"):
        load(folder)
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Evil(bomb)) + b"\0" * 4_000_000)
    with pytest.raises(ModelError, match=r"could run code|broken"):
        load(folder)
    assert not bomb.exists()


def test_a_torchscript_archive_is_refused(folder):
    (folder / WEIGHTS).unlink()
    path = folder / "open_clip_pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:  # what tells such an archive from a plain checkpoint
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/padding", b"\0" * 4_000_000)
    with pytest.raises(ModelError, match="TorchScript archive, which can run code"):
        load(folder)


def test_the_family_recognises_without_opening_weights(folder):
    family = FAMILIES.get("openclip")
    remove_weights(folder)
    for spec in ("starter", str(folder), "ViT-B-32/openai", "ViT-B-32:openai", "hf-hub:a/b", "x.safetensors"):
        assert family.recognises(ModelSource(spec)), spec
    assert not family.recognises(ModelSource("openai/whisper-tiny"))


def test_quickgelu_follows_the_tag(tmp_path, monkeypatch):
    from mmviewer.core.models.openclip import source

    monkeypatch.setattr(source.hub, "fetch", lambda *_: tmp_path / "weights.safetensors")
    assert source.resolve("ViT-B-32/openai").config["quick_gelu"] is True
    assert "quick_gelu" not in source.resolve("ViT-B-32/laion2b_s34b_b79k").config


def test_every_tag_without_hub_entry_has_an_address():
    for architecture, tag in open_clip.list_pretrained():
        entry = open_clip.get_pretrained_cfg(architecture, tag)
        assert entry.get("hf_hub") or entry.get("url"), (architecture, tag)


def test_a_cancel_stops_loading(folder):
    from threading import Event

    from mmviewer.core.errors import Cancelled
    from mmviewer.core.progress import Progress

    stopped = Event()
    stopped.set()
    with pytest.raises(Cancelled):
        FAMILIES.get("openclip").load(
            ModelSource(str(folder)), choose_placement("cpu"), Progress(cancelled=stopped)
        )
