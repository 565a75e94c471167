"""Every request against a real engine with the real starter model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_harness import Engine
from PIL import Image

from mmviewer import paths
from mmviewer.core.figures.provenance import build_provenance
from mmviewer.core.figures.spec import ImageMapFigure
from mmviewer.core.media.open import open_media
from mmviewer.core.types import (
    Capability,
    MapSpec,
    Media,
    MediaRef,
    Modality,
    ModelInfo,
    Sampling,
)
from mmviewer.engine.handlers_figure import first_figure
from mmviewer.engine.protocol import (
    Classify,
    Done,
    Embed,
    Explain,
    ExploreHeads,
    Failed,
    Generate,
    ListModels,
    LoadModel,
    OpenFailure,
    OpenMedia,
    OpenText,
    PartialResult,
    ProgressEvent,
    Project,
    RenderFigure,
    Request,
    Spectrogram,
    Stopped,
    Tokenize,
    UnloadModel,
)

SAMPLES = paths.samples()


@pytest.fixture(scope="module")
def starter(request: pytest.FixtureRequest) -> str:
    if paths.starter_model().is_dir():
        return "starter"
    return str(request.getfixturevalue("shared_models") / "starter-prototype")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "log_dir", lambda: folder)
        engine = Engine()
        yield engine
        engine.client.close()


@pytest.fixture(scope="module")
def model(real: Engine, starter: str) -> ModelInfo:
    return value(real, LoadModel(starter, device="cpu"))


@pytest.fixture(scope="module")
def scenes(real: Engine) -> list[Media]:
    paths_ = tuple(str(path) for path in sorted(SAMPLES.glob("scene-*.png")))
    return [media for media in partials(real, OpenMedia(paths_)) if isinstance(media, Media)]


def value(engine: Engine, request: Request) -> object:
    answer = engine.ask(request, timeout=120)
    assert isinstance(answer, Done), answer
    return answer.value


def failure(engine: Engine, request: Request) -> str:
    answer = engine.ask(request, timeout=120)
    assert isinstance(answer, Failed), answer
    return answer.error.message


def partials(engine: Engine, request: Request) -> list:
    job = engine.client.submit(request)
    engine.heard.end(job, 120)
    return [event.value for event in engine.heard.of(job, PartialResult)]


def ref(media: Media) -> MediaRef:
    return MediaRef(media.id, media.modality, media.name, media.path, media.text)


# --- media ------------------------------------------------------------------------------------------
def test_files_and_folders_open_one_by_one(real, tmp_path):
    shutil.copy(SAMPLES / "scene-harbour.png", tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes((SAMPLES / "scene-harbour.png").read_bytes()[:3000])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "note.txt").write_text("a harbour at night")
    request = OpenMedia((str(tmp_path), str(tmp_path / "missing.png"), "\0"), display_pixels=10_000)
    job = real.client.submit(request)
    assert real.heard.end(job).value == 2
    got = [event.value for event in real.heard.of(job, PartialResult)]
    pictures = [item for item in got if isinstance(item, Media)]
    assert [item.modality for item in pictures] == [Modality.IMAGE, Modality.TEXT]
    original = open_media(SAMPLES / "scene-harbour.png")
    assert pictures[0].id == original.id
    assert pictures[0].size == original.pixels.shape[:2]
    assert pictures[0].pixels.shape[0] * pictures[0].pixels.shape[1] <= 10_000
    failures = [item for item in got if isinstance(item, OpenFailure)]
    assert sorted(Path(item.path).name for item in failures) == [
        "\0",
        "broken.png",
        "empty.wav",
        "missing.png",
    ]
    assert all(item.error.kind == "MediaError" for item in failures)


def test_an_empty_folder_is_said(real, tmp_path):
    (failed,) = partials(real, OpenMedia((str(tmp_path),)))
    assert "holds no picture, sound or text" in failed.error.message


def test_text_and_spectrogram(real):
    text = value(real, OpenText("a red bicycle"))
    assert (text.text, text.modality) == ("a red bicycle", Modality.TEXT)
    assert "no words" in failure(real, OpenText("   "))
    (sound,) = partials(real, OpenMedia((str(SAMPLES / "please-open.wav"),)))
    picture = value(real, Spectrogram(ref(sound)))
    assert picture.values.shape[0] == len(picture.centres) == 80
    assert picture.values.shape[1] * picture.hop == pytest.approx(sound.duration, abs=0.02)
    assert "no sound" in failure(real, Spectrogram(ref(text)))


def test_an_item_unknown_to_this_engine_is_decoded_anew(real, tmp_path):
    path = tmp_path / "new.wav"
    shutil.copy(SAMPLES / "please-open.wav", path)
    item = ref(open_media(path))
    gone = MediaRef("other id", item.modality, item.name, item.path)
    assert "has changed on the disk" in failure(real, Spectrogram(gone))
    assert value(real, Spectrogram(item)).values.size


# --- models -----------------------------------------------------------------------------------------
def test_load_says_what_the_model_can(real, model):
    assert model.can(Capability.CAPTION)
    assert model.can(Capability.EMBED_TEXT)
    assert {"attention", "gradient_attention", "rollout"} <= set(model.methods)
    status = real.heard.wait(lambda e: getattr(e, "status", None) and model.label in e.status.models).status
    assert status.device == "cpu"
    assert status.reason
    assert dict(status.versions).keys() >= {"mmviewer", "Python", "torch"}


def test_listing_names_what_can_be_loaded(real, model):
    for listing in value(real, ListModels()):
        assert listing.source
        assert listing.size_bytes > 0


def test_a_model_that_is_not_there(real, model, scenes):
    assert "There is no model 'nonsense" in failure(real, LoadModel("nonsense"))
    assert "not loaded any more" in failure(real, Generate("nonsense", ref(scenes[0])))
    assert value(real, Generate(model.id, ref(scenes[0]))).text


def test_unload_and_load_again(real, model, scenes, starter):
    assert value(real, UnloadModel(model.id)) is None
    assert "not loaded any more" in failure(real, Tokenize(model.id, ref(scenes[0]), "a cat"))
    again = value(real, LoadModel(starter, device="cpu"))
    assert again.id == model.id


# --- sequences and maps -----------------------------------------------------------------------------
def test_captions_stream(real, model, scenes):
    job = real.client.submit(Generate(model.id, ref(scenes[0])))
    sequence = real.heard.end(job, 60).value
    streamed = [event.value for event in real.heard.of(job, PartialResult)]
    assert sequence.finished
    assert not streamed[-1].finished
    assert [len(part.tokens) for part in streamed] == list(range(1, len(streamed) + 1))
    assert sequence.text.startswith(streamed[-1].text)


def test_a_caption_stops_between_tokens(real, model, scenes):
    job = real.client.submit(Generate(model.id, ref(scenes[0]), Sampling(temperature=5.0, max_tokens=60)))
    real.client.cancel(job)
    assert real.heard.end(job, 5) == Stopped(job)


def test_maps_of_a_caption(real, model, scenes):
    scene = ref(scenes[0])
    sequence = value(real, Generate(model.id, scene))
    assert "legrad" in model.methods_for("query")
    assert "legrad" not in model.methods_for("caption")
    for method in model.methods_for("caption"):
        maps = value(real, Explain(model.id, scene, sequence, MapSpec(method)))
        assert maps.values.shape == (len(sequence.tokens), *maps.geometry.grid)
        assert maps.media_id == scene.id
        assert maps.description
    heads = value(real, ExploreHeads(model.id, scene, sequence, (0, 1)))
    assert heads.values.shape[:2] == (heads.point.layers, heads.point.heads)


def test_maps_of_a_query(real, model, scenes):
    scene = ref(scenes[0])
    query = value(real, Tokenize(model.id, scene, "a red bicycle"))
    assert [token.text for token in query.tokens] == ["a", "red", "bicycle"]
    maps = value(real, Explain(model.id, scene, query, MapSpec("gradient_attention")))
    assert maps.whole.shape == maps.geometry.grid


def test_speech_and_pictures_have_a_model_each(real, model, scenes, shared_models):
    speech = value(real, LoadModel(str(shared_models / "whisper-tiny.en"), device="cpu"))
    assert speech.can(Capability.TRANSCRIBE)
    (sound,) = partials(real, OpenMedia((str(SAMPLES / "please-open.wav"),)))
    transcript = value(real, Generate(speech.id, ref(sound)))
    assert transcript.text.strip() == "Please open the window and turn on the kitchen light."
    maps = value(real, Explain(speech.id, ref(sound), transcript))
    assert maps.values.shape == (len(transcript.tokens), maps.geometry.positions)
    assert value(real, Generate(model.id, ref(scenes[0]))).text
    value(real, UnloadModel(speech.id))


# --- figures ----------------------------------------------------------------------------------------
def test_a_figure_on_the_clipboard_and_in_a_file(real, model, scenes, tmp_path):
    scene = open_media(SAMPLES / "scene-owl-guitar.png")
    sequence = value(real, Generate(model.id, ref(scene)))
    maps = value(real, Explain(model.id, ref(scene), sequence))
    figure = ImageMapFigure(
        scene.pixels[::8, ::8], maps.values[0], maps.geometry, sequence.tokens[0].text, maps.description
    )
    provenance = build_provenance(model, scene, maps)
    png = value(real, RenderFigure(figure, provenance, media=ref(scene)))
    assert png.startswith(b"\x89PNG")
    path = tmp_path / "map.svg"
    assert value(real, RenderFigure(figure, provenance, str(path), media=ref(scene))) == str(path)
    reduced = tmp_path / "reduced.svg"
    value(real, RenderFigure(figure, provenance, str(reduced)))
    assert path.stat().st_size > 1.5 * reduced.stat().st_size  # the picture at its own resolution
    assert "no ending" in failure(real, RenderFigure(figure, provenance, str(tmp_path / "map.doc")))


def test_the_first_figure_can_be_prepared():
    first_figure(None, None)  # raises where matplotlib cannot draw


# --- many items -------------------------------------------------------------------------------------
def test_scores(real, model, scenes):
    items = tuple(ref(scene) for scene in scenes)
    scores = value(real, Classify(model.id, items, ("bicycle", "owl", "butterfly")))
    assert scores.items == tuple(item.id for item in items)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    assert "more than once" in failure(real, Classify(model.id, items, ("owl", "owl")))


def test_one_broken_item_leaves_the_others(real, model, scenes, tmp_path):
    path = tmp_path / "goes.png"
    shutil.copy(SAMPLES / "scene-harbour.png", path)
    gone = MediaRef("not this", Modality.IMAGE, "goes.png", str(path))
    scores = value(real, Classify(model.id, (ref(scenes[0]), gone), ("owl", "cat")))
    assert scores.items == (scenes[0].id,)
    assert "goes.png has changed on the disk" in scores.notes[0]
    assert "has changed on the disk" in failure(real, Classify(model.id, (gone,), ("owl", "cat")))


def test_the_plane_holds_images_and_texts(real, model, scenes):
    texts = [value(real, OpenText(text)) for text in ("an owl", "a boat", "word " * 5000)]
    items = tuple(ref(item) for item in (*scenes, *texts))
    embeddings, projection = value(real, Project(model.id, items))
    assert embeddings.items == projection.items == tuple(item.id for item in items[:-1])
    assert embeddings.modalities.count(Modality.TEXT) == 2
    assert "far more tokens" in embeddings.notes[0]
    np.testing.assert_allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-5)
    assert projection.coordinates.shape == (len(items) - 1, 2)
    assert value(real, Embed(model.id, items[:2])).items == (items[0].id, items[1].id)


def test_a_library_being_embedded_delays_no_caption(real, model, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 255, (240, 256, 256, 3), dtype=np.uint8)
    files = []
    for number, picture in enumerate(pixels):
        files.append(str(tmp_path / f"{number}.bmp"))
        Image.fromarray(picture).save(files[-1])
    items = tuple(ref(item) for item in partials(real, OpenMedia(tuple(files), display_pixels=100)))
    bulk = real.client.submit(Classify(model.id, items, ("noise", "owl")))
    plane = real.client.submit(Project(model.id, items))
    assert value(real, Generate(model.id, items[0])).text
    assert not real.heard.of(bulk, Done)
    scores, (embeddings, _) = real.heard.end(bulk, 60).value, real.heard.end(plane, 60).value
    assert scores.items == embeddings.items == tuple(item.id for item in items)
    reported = [event.message for event in real.heard.of(bulk, ProgressEvent)]
    assert "Embedding items" in reported


def test_a_projection_in_the_background_delays_no_scores(real, model, scenes):
    items = tuple(ref(scene) for scene in scenes)
    value(real, Embed(model.id, items))
    plane = real.client.submit(Project(model.id, items, "umap"))
    assert value(real, Classify(model.id, items[:1], ("owl", "cat", "dog"))).items == (items[0].id,)
    assert not real.heard.of(plane, Done)
    real.client.cancel(plane)
    assert real.heard.end(plane, 2) == Stopped(plane)
    assert value(real, Project(model.id, items, "pca"))
