"""From the session to figures, and the export dialog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers_space import HandJobs, image, model, sound, text
from PySide6.QtCore import QBuffer, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from mmviewer.core.errors import InputError
from mmviewer.core.figures.spec import (
    ImageMapFigure,
    ScatterFigure,
    ScoreFigure,
    TimeMapFigure,
    TokenStripFigure,
)
from mmviewer.core.media.geometry import ImageGeometry, TimeGeometry
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.space.projection.base import project
from mmviewer.core.types import (
    Embeddings,
    MapKind,
    MapSpec,
    Scores,
    TokenMaps,
    TokenSequence,
    TokenSpan,
)
from mmviewer.engine.protocol import ErrorReport, RenderFigure
from mmviewer.gui.export import ExportDialog, copy_view
from mmviewer.gui.figures import FigureKind, make_figure
from mmviewer.gui.workbench import Workbench

TOKENS = (
    TokenSpan(0, 5, "a", 0, 1, -0.1),
    TokenSpan(1, 6, "rabbit", 2, 8, -0.5),
    TokenSpan(2, 7, "⟨end⟩", 8, 8, -0.2, special=True),
)


def captioned(item: LibraryItem, *, signed: bool = False) -> SessionState:
    """A session with one image and the maps of its caption."""
    state = SessionState()
    state.set_items([item, image("other", 50), text("a rabbit")])
    state.set_model(model())
    state.set_current(item)
    state.set_sequence(TokenSequence("caption", item.id, "clip", "a rabbit", TOKENS))
    state.set_maps(maps_of(item, signed=signed))
    return state


def maps_of(item: LibraryItem, *, signed: bool = False) -> TokenMaps:
    if item.media.samples is not None:
        geometry: ImageGeometry | TimeGeometry = TimeGeometry(item.media.duration, 0.1, 10)
        shape: tuple[int, ...] = (3, 10)
    else:
        geometry = ImageGeometry.for_resize(item.media.size, (32, 32), "crop", (4, 4))
        shape = (3, 4, 4)
    values = np.random.default_rng(0).random(shape).astype(np.float32) - (0.5 if signed else 0)
    return TokenMaps(
        values,
        TOKENS,
        geometry,
        MapKind.ATTRIBUTION if signed else MapKind.ATTENTION,
        MapSpec("attention", "decoder.cross", 2, "mean"),
        "attention · decoder cross-attention · layer 3 of 4 · mean of 4 heads",
        signed=signed,
        media_id=item.id,
        model_id="clip",
    )


# --- pure ------------------------------------------------------------------------------------------
def test_view_holds_the_map_that_the_viewer_shows() -> None:
    item = LibraryItem(image("pic").media, "my rabbit.png")
    state = captioned(item)
    state.set_tokens((1,))
    state.set_hovered_token(0)  # the pointer is on its way to the button: not meant
    made = make_figure(FigureKind.VIEW, state)
    figure = made.figure
    assert isinstance(figure, ImageMapFigure)
    assert state.maps is not None
    np.testing.assert_array_equal(figure.grid, state.maps.values[1])
    assert figure.style.vmax == pytest.approx(float(figure.grid.max()))
    assert figure.token == "rabbit"
    assert figure.title == "my rabbit.png"
    assert made.stem == "my-rabbit-rabbit"
    provenance = made.provenance
    assert (provenance.item, provenance.item_id) == ("my rabbit.png", "pic")
    assert (provenance.method, provenance.layer, provenance.head) == ("attention", "3", "mean")
    assert (provenance.model, provenance.weights_hash, provenance.text) == ("small-clip", "abc", "a rabbit")


def test_view_without_a_chosen_token_says_what_it_averages() -> None:
    state = captioned(image("pic"))
    assert make_figure(FigureKind.VIEW, state).figure.token == "mean over “a rabbit”"  # type: ignore[union-attr]
    state.set_tokens((0, 1))
    token = make_figure(FigureKind.VIEW, state).figure.token  # type: ignore[union-attr]
    assert token == "mean of “a”, “rabbit”"


def test_signed_maps_get_a_diverging_scale() -> None:
    made = make_figure(FigureKind.VIEW, captioned(image("pic"), signed=True))
    assert isinstance(made.figure, ImageMapFigure)
    style = made.figure.style
    assert style.signed
    assert style.colormap != "inferno"
    assert style.vmin is not None
    assert style.vmax == -style.vmin


def test_strip_holds_words_or_the_chosen_tokens() -> None:
    state = captioned(image("pic"))
    made = make_figure(FigureKind.TOKENS, state).figure
    assert isinstance(made, TokenStripFigure)
    assert made.tokens == ("a", "rabbit")
    assert made.probabilities == pytest.approx((np.exp(-0.1), np.exp(-0.5)))
    state.set_tokens((1, 2))
    chosen = make_figure(FigureKind.TOKENS, state).figure
    assert isinstance(chosen, TokenStripFigure)
    assert chosen.tokens == ("rabbit", "⟨end⟩")
    assert chosen.values.shape == (2, 4, 4)


def test_sound_becomes_a_figure_along_time() -> None:
    state = captioned(sound("bell"))
    figure = make_figure(FigureKind.VIEW, state).figure
    assert isinstance(figure, TimeMapFigure)
    assert figure.values.shape == (10,)
    assert len(figure.samples) == 16_000


def scored(state: SessionState) -> None:
    values = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    state.set_scores(
        Scores(("pic", "other"), ("cat", "dog"), values, values / 4, "softmax", ("a {}",), "clip")
    )


def test_scores_of_one_and_of_all() -> None:
    state = captioned(image("pic"))
    scored(state)
    one = make_figure(FigureKind.SCORES, state)
    assert isinstance(one.figure, ScoreFigure)
    np.testing.assert_allclose(one.figure.probabilities, [[0.9, 0.1]], atol=1e-6)
    assert one.figure.items == ("pic.png",)
    assert one.provenance.method == "zero-shot, softmax over 2 labels"
    assert one.provenance.extra["labels"] == ["cat", "dog"]
    table = make_figure(FigureKind.TABLE, state).figure
    assert isinstance(table, ScoreFigure)
    assert table.items == ("pic.png", "other.png")
    assert table.probabilities.shape == (2, 2)


def placed(state: SessionState) -> Embeddings:
    vectors = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]], np.float32)
    ids = tuple(item.id for item in state.items)
    embeddings = Embeddings(ids, tuple(item.media.modality for item in state.items), vectors, "clip")
    state.set_plane(embeddings, project(embeddings, "pca"))
    return embeddings


def test_scatter_holds_points_pictures_and_neighbours() -> None:
    state = captioned(image("pic"))
    placed(state)
    made = make_figure(FigureKind.SCATTER, state)
    figure = made.figure
    assert isinstance(figure, ScatterFigure)
    assert figure.names == ("pic.png", "other.png", "a rabbit")
    assert figure.chosen == 0
    assert figure.neighbours == ((1, pytest.approx(0.8)), (2, pytest.approx(0.0)))
    assert figure.thumbnails[0] is not None
    assert figure.thumbnails[2] is None
    assert figure.method == "PCA"
    assert made.stem == "space-pca"
    state.set_items([item for item in state.items if item.id != "other"])  # removed, not placed anew yet
    rest = make_figure(FigureKind.SCATTER, state).figure
    assert isinstance(rest, ScatterFigure)
    assert rest.names == ("pic.png", "a rabbit")
    assert [index for index, _ in rest.neighbours] == [1]


OF_THE_SESSION = ("view", "tokens", "scores", "table", "scatter")


@pytest.mark.parametrize("kind", [FigureKind(name) for name in OF_THE_SESSION])
def test_nothing_to_show_says_what_to_do(kind: FigureKind) -> None:
    with pytest.raises(InputError, match=r"[Cc]hoose|type|open"):
        make_figure(kind, SessionState())


def test_item_without_maps_says_what_to_do() -> None:
    state = captioned(image("pic"))
    state.set_maps(None)
    with pytest.raises(InputError, match=r"pic\.png has no map yet"):
        make_figure(FigureKind.VIEW, state)


def test_hostile_names_become_file_names() -> None:
    item = LibraryItem(image("pic").media, "../..//e\x00vil:\n*?<>|$x.png" + "y" * 500)
    stem = make_figure(FigureKind.VIEW, captioned(item)).stem
    assert len(stem) <= 80
    assert not set(stem) & set('/\\:*?"<>|\x00\n. $')


# --- dialog ----------------------------------------------------------------------------------------
@pytest.fixture
def workbench(qtbot: QtBot) -> Iterator[Workbench]:
    state = captioned(image("pic"))
    scored(state)
    made = Workbench(HandJobs(), state)  # type: ignore[arg-type]
    yield made
    made.release()


@pytest.fixture
def dialog(workbench: Workbench, qtbot: QtBot) -> Iterator[ExportDialog]:
    shown = ExportDialog(workbench)
    shown.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(shown)
    shown.show()
    return shown


def asked(workbench: Workbench) -> RenderFigure:
    request = workbench.jobs.last(RenderFigure).request  # type: ignore[attr-defined]
    assert isinstance(request, RenderFigure)
    return request


def png() -> bytes:
    picture = QImage(60, 40, QImage.Format.Format_RGB32)
    picture.fill(QColor("red"))
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    picture.save(buffer, "PNG")
    return bytes(buffer.data().data())


def test_preview_follows_the_session(dialog: ExportDialog, workbench: Workbench, qtbot: QtBot) -> None:
    jobs: HandJobs = workbench.jobs  # type: ignore[assignment]
    qtbot.waitUntil(lambda: jobs.count(RenderFigure) == 1)
    assert asked(workbench).path is None
    jobs.last(RenderFigure).done(png())
    shown = dialog.preview.grab().toImage()
    assert shown.pixelColor(shown.rect().center()) == QColor("red")
    workbench.state.set_tokens((1,))
    qtbot.waitUntil(lambda: jobs.count(RenderFigure) == 2)
    assert asked(workbench).figure.token.count("rabbit") == 1
    jobs.last(RenderFigure).failed(ErrorReport("ExportError", "The font is missing."))
    assert dialog.preview.text() == "The font is missing."


def test_options_fit_the_format(dialog: ExportDialog) -> None:
    allowed = {}
    for index in range(dialog.format.count()):
        dialog.format.setCurrentIndex(index)
        allowed[dialog.chosen_format] = (dialog.dpi.isEnabled(), dialog.caption.isEnabled())
    assert allowed == {
        "png": (True, True),
        "svg": (False, True),
        "pdf": (False, True),
        "npz": (False, False),
        "csv": (False, False),
    }


def test_save_asks_for_a_file_and_renders_it(
    dialog: ExportDialog, workbench: Workbench, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposals: list[str] = []

    def choose(_parent: object, _title: str, proposed: str, _files: str) -> tuple[str, str]:
        proposals.append(proposed)
        return str(tmp_path / "figure"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    dialog.format.setCurrentIndex(dialog.format.findData("pdf"))
    dialog.caption.setChecked(False)
    dialog.dpi.setValue(300)
    qtbot.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    request = asked(workbench)
    assert request.path == str(tmp_path / "figure.pdf")
    assert (request.dpi, request.caption) == (300, False)
    assert request.provenance.item == "pic.png"
    assert proposals[0].endswith("pic-a-rabbit.pdf")
    qtbot.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    assert Path(proposals[1]).parent == tmp_path  # remembered


def test_cancelled_file_dialog_writes_nothing(
    dialog: ExportDialog, workbench: Workbench, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    before = workbench.jobs.count(RenderFigure)  # type: ignore[attr-defined]
    qtbot.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    assert workbench.jobs.count(RenderFigure) == before  # type: ignore[attr-defined]


def test_nothing_to_export_is_said_and_buttons_are_off(dialog: ExportDialog, qtbot: QtBot) -> None:
    dialog.kind.setCurrentIndex(dialog.kind.findData(FigureKind.SCATTER))
    qtbot.waitUntil(lambda: "Nothing is placed yet" in dialog.preview.text())
    assert not dialog.save.isEnabled()
    assert not dialog.copy.isEnabled()


def test_closed_dialog_lets_go_of_the_session(dialog: ExportDialog, workbench: Workbench) -> None:
    before = len(workbench.state.tokens_changed)
    dialog.close()
    assert len(workbench.state.tokens_changed) == before - 1


def test_copy_puts_an_image_on_the_clipboard(workbench: Workbench, qtbot: QtBot) -> None:
    copy_view(workbench)
    workbench.jobs.last(RenderFigure).done(png())  # type: ignore[attr-defined]
    assert QGuiApplication.clipboard().image().size().width() == 60
    notices: list[str] = []
    workbench.notice.connect(lambda sentence, _level: notices.append(sentence))
    workbench.state.set_maps(None)
    copy_view(workbench)
    assert "no map yet" in notices[0]
