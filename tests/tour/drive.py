"""A user's tour of the real application in a real window: mouse, keys, drops, files.

Runs in a process of its own (see `test_tour.py`), because the window needs a display while the other tests
run without. Each step says what it saw; an assertion that fails ends the tour. Screenshots go to the folder
given as second argument:

    python tests/tour/drive.py MODELS_FOLDER SCREENSHOTS_FOLDER
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, QRectF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QLineEdit, QPushButton, QWidget

from mmviewer import paths
from mmviewer.core.types import Modality
from mmviewer.gui.app import App
from mmviewer.gui.export import ExportDialog

PATIENCE = 120.0
SIZE = (1600, 1000)
LEFT = Qt.MouseButton.LeftButton


class Tour:
    """The steps, in order; `app` is the running application."""

    def __init__(self, app: App, models: Path, shots: Path) -> None:
        self.app = app
        self.bench = app.bench
        self.state = app.bench.state
        self.panels = app.window.docks.panels
        self.models = models
        self.shots = shots
        self.errors: list[str] = []
        self.bench.error.connect(lambda report: self.errors.append(f"{report.message}\n{report.details}"))

    def run(self) -> None:
        """Take all steps."""
        self.app.start([], samples=False)
        self.app.window.resize(*SIZE)
        self.app.window.set_theme("dark")
        self.until(self.app.window.isVisible, "the window")
        self.shoot("empty-dark")
        self.take(
            self.drop_two_pictures_and_a_sound,
            self.caption,
            self.hover_and_step_through_tokens,
            self.hover_the_picture,
            self.choose_a_head,
            self.type_labels,
            self.click_points_of_the_scatter,
            self.export_figures,
            self.lose_the_engine_and_go_on,
            self.hear_a_sentence,
            self.open_the_samples,
            self.ask_about_a_sample,
            self.follow_the_guided_tour,
            self.switch_to_light,
        )

    # --- steps -------------------------------------------------------------------------------------------
    def drop_two_pictures_and_a_sound(self) -> None:
        """Drop files on the window, as a file manager does."""
        names = ("scene-cat-dog.png", "scene-owl-guitar.png", "please-open.wav")
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(paths.samples() / name)) for name in names])
        self.drop(mime)
        self.until(lambda: len(self.state.items) == 3, "three items")
        assert [item.media.modality for item in self.state.items] == [
            Modality.IMAGE,
            Modality.IMAGE,
            Modality.AUDIO,
        ]

    def caption(self) -> None:
        """Choose the first picture and press Caption."""
        self.bench.choose(self.state.items[0].id)
        self.until(lambda: self.state.model is not None, "the starter model")
        QTest.mouseClick(self.app.window.top_bar.generate, LEFT)
        self.until(lambda: self.has_maps_of(self.state.items[0].id), "a caption and its maps")
        assert self.state.sequence is not None
        assert self.state.sequence.kind == "caption"
        assert self.state.sequence.text.split()

    def hover_and_step_through_tokens(self) -> None:
        """Point at a chip, then step with the keys: the viewer's map follows at once."""
        strip, viewer = self.panels["tokens"].strip, self.panels["viewer"]  # type: ignore[attr-defined]
        word = self.content_token()
        self.point_at(strip.viewport(), strip.chip_rect(word).center().toPoint())
        assert self.state.hovered_token == word
        shown = viewer.snapshot.grid.values  # type: ignore[attr-defined]
        assert abs(shown - self.state.maps.values[word]).max() < 1e-6  # type: ignore[union-attr]
        QTest.mouseClick(strip.viewport(), LEFT, pos=strip.chip_rect(word).center().toPoint())
        assert self.state.tokens == (word,)
        QTest.keyClick(strip, Qt.Key.Key_Right)
        assert self.state.tokens == (word + 1,)
        QTest.keyClick(strip, Qt.Key.Key_Left)
        assert self.state.tokens == (word,)
        self.point_at(self.app.window.top_bar, QPoint(2, 2))
        self.shoot("tokens-dark")

    def hover_the_picture(self) -> None:
        """Point at the strongest patch: the chips that looked there light up."""
        view, maps = self.panels["viewer"].image, self.state.maps  # type: ignore[attr-defined]
        values = maps.values[self.state.tokens[0]]  # type: ignore[union-attr]
        row, column = divmod(int(values.argmax()), values.shape[1])
        top, left, bottom, right = maps.geometry.cell_box(row, column)  # type: ignore[union-attr]
        box = view.to_view(QRectF(left, top, right - left, bottom - top))
        self.point_at(view, box.center().toPoint())
        assert self.state.hovered_cell == (row, column)
        assert f"{values.max():.3f}"[:4] in view.readout()
        self.shoot("hover-patch-dark")
        self.point_at(self.app.window.top_bar, QPoint(2, 2))

    def choose_a_head(self) -> None:
        """Open the grid of heads and click one, then the gradient method, then go back."""
        self.app.window.docks.bring("heads")
        self.until(lambda: self.state.heads is not None, "the maps of all heads")
        grid = self.panels["heads"].grid  # type: ignore[attr-defined]
        self.shoot("heads-dark")
        QTest.mouseClick(grid.viewport(), LEFT, pos=grid.cell_rect((1, 2)).center().toPoint())
        assert (self.state.spec.layer, self.state.spec.head) == (1, 2)
        self.until(lambda: self.state.maps.spec.head == 2, "the map of one head")  # type: ignore[union-attr]
        self.bench.state.set_spec(type(self.state.spec)(method="gradient_attention"))
        self.until(
            lambda: self.state.maps.spec.method == "gradient_attention",  # type: ignore[union-attr]
            "the gradient maps",
        )
        assert self.state.maps.score  # type: ignore[union-attr]
        self.bench.state.set_spec(type(self.state.spec)())
        self.until(lambda: self.state.maps.spec.method == "attention", "attention again")  # type: ignore[union-attr]

    def type_labels(self) -> None:
        """Type labels and watch the bars."""
        self.app.window.docks.bring("labels")
        editor = self.panels["labels"].editor  # type: ignore[attr-defined]
        QTest.mouseClick(editor.viewport(), LEFT)
        QTest.keyClicks(editor, "cat, dog, owl, guitar, teapot")
        self.until(
            lambda: self.state.scores is not None and len(self.state.scores.labels) == 5,
            "scores of five labels",
        )
        scores = self.state.scores
        assert scores is not None
        assert abs(scores.probabilities.sum(1) - 1).max() < 1e-4
        self.shoot("labels-dark")

    def click_points_of_the_scatter(self) -> None:
        """Click the other picture's point: it is chosen everywhere."""
        self.app.window.docks.bring("space")
        scatter = self.panels["space"].scatter  # type: ignore[attr-defined]
        self.until(lambda: len(scatter.plane.ids) >= 2, "points in the plane")
        other = next(
            item for item in self.state.items
            if item.media.modality is Modality.IMAGE and item is not self.state.current
        )  # fmt: skip
        place = scatter.pixels()[scatter.plane.ids.index(other.id)]
        QTest.mouseClick(scatter.viewport(), LEFT, pos=QPoint(round(place[0]), round(place[1])))
        self.until(lambda: self.state.current is other, "the clicked item")
        assert self.state.selection == (other.id,)
        self.until(lambda: self.has_maps_of(other.id), "the other picture's maps")
        self.shoot("space-dark")

    def export_figures(self) -> None:
        """Write the view as SVG, PDF and PNG, and the arrays, through the dialogs."""
        self.bench.settings.export_folder = str(self.shots)
        button = next(
            b for b in self.app.window.findChildren(QPushButton) if b.accessibleName().startswith("Export")
        )
        QTest.mouseClick(button, LEFT)
        self.until(lambda: bool(self.dialogs(ExportDialog)), "the export dialog")
        dialog = self.dialogs(ExportDialog)[0]
        for ending in ("svg", "pdf", "png", "npz"):
            dialog.format.setCurrentIndex(dialog.format.findData(ending))
            target = self.shots / f"figure.{ending}"
            target.unlink(missing_ok=True)  # of an earlier tour: no question about overwriting
            QTimer.singleShot(500, lambda name=str(target): self.answer_file_dialog(name))
            QTest.mouseClick(dialog.save, LEFT)
            self.until(lambda: target.is_file() and target.stat().st_size > 0, str(target))  # noqa: B023
        self.pause(0.5)
        self.shoot("export-dark", dialog)
        dialog.close()

    def lose_the_engine_and_go_on(self) -> None:
        """Kill the engine: the session stays, a new engine comes, work goes on."""
        before, items = self.bench.engine_status.pid, self.state.items
        os.kill(before, signal.SIGKILL)
        self.until(lambda: self.bench.engine_status.pid != before, "the engine's end")
        self.pause(0.3)
        self.shoot("engine-lost-dark")
        self.errors.clear()  # the window says that the engine died
        assert self.state.items == items
        self.until(
            lambda: self.bench.engine_status.phase == "ready" and self.bench.engine_status.pid != before,
            "a new engine",
        )
        self.until(lambda: self.state.model is not None, "the model again")
        query = self.app.window.top_bar.query
        QTest.mouseClick(query, LEFT)
        QTest.keyClicks(query, "an owl above a guitar")
        self.until(
            lambda: (
                self.state.maps is not None
                and self.state.sequence is not None
                and self.state.sequence.kind == "query"
                and len(self.state.maps.tokens) == 5
            ),
            "the maps of a typed query",
        )
        self.shoot("query-dark")

    def hear_a_sentence(self) -> None:
        """Load Whisper and transcribe the sound."""
        self.bench.load_model(str(self.models / "whisper-tiny.en"))
        self.until(lambda: self.state.speech_model is not None, "Whisper")
        sound = next(item for item in self.state.items if item.media.modality is Modality.AUDIO)
        self.bench.choose(sound.id)
        if self.state.sequence is None:
            QTest.mouseClick(self.app.window.top_bar.generate, LEFT)
        self.until(lambda: self.has_maps_of(sound.id), "a transcript and its maps")
        assert self.state.sequence is not None
        assert self.state.sequence.text.strip() == "Please open the window and turn on the kitchen light.", (
            self.state.sequence.text
        )
        strip = self.panels["tokens"].strip  # type: ignore[attr-defined]
        word = next(t.index for t in self.state.sequence.tokens if t.text.strip() == "kitchen")
        QTest.mouseClick(strip.viewport(), LEFT, pos=strip.chip_rect(word).center().toPoint())
        self.shoot("sound-dark")

    def open_the_samples(self) -> None:
        """Open the sample session from the menu: the items that are there stay, the others come."""
        self.app.window.actions_by_key["samples"].trigger()
        self.until(lambda: len(self.state.items) >= 8, "the samples")
        picture = self.state.items[1]
        self.bench.choose(picture.id)
        QTest.keyClick(self.app.window.top_bar.query, Qt.Key.Key_Escape)  # back from the query to the caption
        self.until(
            lambda: (
                self.has_maps_of(picture.id)
                and self.state.sequence is not None
                and self.state.sequence.kind == "caption"
            ),
            "that picture's caption",
        )
        self.until(lambda: len(self.panels["space"].scatter.plane.ids) >= 7, "all points")  # type: ignore[attr-defined]
        self.state.set_tokens((self.content_token(),))
        self.app.window.docks.bring("labels")
        self.pause(1.0)
        self.shoot("window-dark")

    def ask_about_a_sample(self) -> None:
        """Ask as the note proposes; a model that answers no questions says so in the line instead."""
        self.choose_sample("scene-car-banana.png")
        self.app.window.actions_by_key["ask"].trigger()
        caption, tokens = self.panels["caption"], self.panels["tokens"]
        field = caption.ask.field  # type: ignore[attr-defined]
        assert self.state.model is not None
        if self.state.model.about.questions is None:
            assert not field.isEnabled()
            self.shoot("ask-dark")
            return
        QTest.keyClicks(field, "What color is the car?")
        QTest.keyClick(field, Qt.Key.Key_Return)
        self.until(
            lambda: (
                self.state.sequence is not None
                and self.state.sequence.kind == "answer"
                and self.has_maps_of(self.state.current.id)  # type: ignore[union-attr]
            ),
            "an answer and its maps",
        )
        assert self.state.sequence is not None
        answered = next(token for token in self.state.sequence.tokens if not token.given)
        self.state.set_tokens((answered.index,))
        assert caption.text.toPlainText().endswith(self.state.sequence.written)  # type: ignore[attr-defined]
        assert tokens.heading.text() == "Answer"  # type: ignore[attr-defined]
        self.shoot("ask-dark")

    def follow_the_guided_tour(self) -> None:
        """Do what each step says, or press Next, and leave before the end."""
        self.choose_sample("scene-owl-guitar.png")
        window = self.app.window
        window.actions_by_key["tour"].trigger()
        assert window.tour is not None
        tour = window.tour
        strip = self.panels["tokens"].strip  # type: ignore[attr-defined]
        self.shoot("tour-dark")
        self.point_at(strip.viewport(), strip.chip_rect(self.content_token()).center().toPoint())
        self.until(lambda: tour.step.key == "map", "the tour's second step")
        while tour.step.key != "labels":
            QTest.mouseClick(tour.callout.next, LEFT)
        editor = self.panels["labels"].editor  # type: ignore[attr-defined]
        editor.selectAll()
        QTest.keyClicks(editor, "owl, guitar, drum")
        self.until(lambda: tour.step.key == "space", "the step after the labels")
        self.shoot("tour-space-dark")
        window.activateWindow()  # without a window manager nobody gives the focus back that a dialog had
        self.until(window.isActiveWindow, "the window to be in front")
        QTest.keyClick(editor, Qt.Key.Key_Escape)
        assert window.tour is None

    def choose_sample(self, name: str) -> None:
        """Make a sample the current item and wait for its caption and maps."""
        item = next(item for item in self.state.items if item.media.name == name)
        self.bench.choose(item.id)
        self.until(lambda: self.has_maps_of(item.id), f"the caption of {name}")

    def switch_to_light(self) -> None:
        """Look at it all in light."""
        self.app.window.actions_by_key["theme-light"].trigger()
        self.shoot("window-light")
        self.panels["labels"].all_items.click()  # type: ignore[attr-defined]
        self.shoot("labels-light")
        sound = next(item for item in self.state.items if item.media.modality is Modality.AUDIO)
        self.bench.choose(sound.id)
        self.until(lambda: self.has_maps_of(sound.id), "the transcript's maps")
        self.shoot("sound-light")

    def take(self, *steps: Callable[[], None]) -> None:
        """Take steps one after the other; an error that the window tells ends the tour."""
        for step in steps:
            step()
            assert not self.errors, self.errors
            print(f"done: {step.__name__.replace('_', ' ')}", flush=True)

    # --- help ----------------------------------------------------------------------------------------------
    def has_maps_of(self, media_id: str) -> bool:
        """Whether the maps of a finished sequence of that item are there."""
        maps, sequence = self.state.maps, self.state.sequence
        return (
            maps is not None
            and maps.media_id == media_id
            and sequence is not None
            and sequence.finished
            and len(maps.tokens) == len(sequence.tokens)
        )

    def content_token(self) -> int:
        """The longest word of the sequence that has a token after it."""
        assert self.state.sequence is not None
        tokens = [t for t in self.state.sequence.tokens[:-1] if not t.special]
        return max(tokens, key=lambda token: len(token.text)).index

    def drop(self, mime: QMimeData) -> None:
        """Drag something over the window and let it go."""
        window, where = self.app.window, QPointF(700, 400)
        buttons, keys = LEFT, Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(
            window, QDragEnterEvent(where.toPoint(), Qt.DropAction.CopyAction, mime, buttons, keys)
        )
        self.shoot("drop-dark")
        QApplication.sendEvent(
            window, QDropEvent(where, Qt.DropAction.CopyAction, mime, buttons, keys, QEvent.Type.Drop)
        )

    def point_at(self, widget: QWidget, place: QPoint) -> None:
        """Move the pointer there."""
        QTest.mouseMove(widget, place + QPoint(3, 3))
        QTest.mouseMove(widget, place)
        self.pause(0.1)

    def draw_box(self, view: QWidget, box: QRectF) -> None:
        """Press R and draw a rectangle with the mouse, in the view's pixels; it becomes the region."""
        view.setFocus()
        QTest.keyClick(view, Qt.Key.Key_R)
        assert view.regions.tool == "box"  # type: ignore[attr-defined]
        start, end = box.topLeft().toPoint(), box.bottomRight().toPoint()
        QTest.mousePress(view, LEFT, pos=start)
        for step in range(1, 6):
            QTest.mouseMove(view, start + (end - start) * step / 5)
            self.pause(0.02)
        QTest.mouseRelease(view, LEFT, pos=end)
        self.until(lambda: self.state.region is not None, "a region")

    def answer_file_dialog(self, name: str) -> None:
        """Type a file name into the dialog that is open and press Enter."""
        dialogs = self.dialogs(QFileDialog)
        field = dialogs[0].findChild(QLineEdit, "fileNameEdit") if dialogs else None
        if field is None:
            QTimer.singleShot(100, lambda: self.answer_file_dialog(name))  # not there yet
            return
        field.selectAll()
        QTest.keyClicks(field, name)
        QTest.keyClick(field, Qt.Key.Key_Return)

    def dialogs(self, kind: type[QDialog]) -> list:
        """Visible dialogs of a kind."""
        return [w for w in QApplication.topLevelWidgets() if isinstance(w, kind) and w.isVisible()]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let events run until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain for {what}"
            QTest.qWait(20)

    def pause(self, seconds: float) -> None:
        """Let events run for a while."""
        QTest.qWait(round(seconds * 1000))

    def shoot(self, name: str, widget: QWidget | None = None) -> None:
        """Save what the screen shows."""
        self.pause(0.4)
        target = widget or self.app.window
        target.screen().grabWindow(target.winId()).save(str(self.shots / f"{name}.png"))


def main(tour: type[Tour]) -> int:
    """Take a tour of the real application; 0 when every step held."""
    models, shots = Path(sys.argv[1]), Path(sys.argv[2])
    qt = QApplication([sys.argv[0]])
    app = App(qt)
    try:
        tour(app, models, shots).run()
    finally:
        app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Tour))
