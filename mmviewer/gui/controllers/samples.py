"""The sample session: opening it, and what is said beside each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer import paths
from mmviewer.core.session.samples import Sample, Trial, sample_of, sample_session
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.types import Media

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench


class SampleController(QObject):
    """Knows the samples; notes are shown until the user hides them."""

    changed = Signal()
    """Notes were hidden or are shown again."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench

    def open(self) -> None:
        """Open the sample session in its order; the first sample becomes the current one."""
        folder = paths.samples()
        found = [folder / sample.file for sample in sample_session(folder)]
        present = [path for path in found if path.is_file()]
        if present:
            self._workbench.open_paths(present)
        else:
            self._workbench.notice.emit("The sample session is missing; install mmviewer again.", "warning")

    def name_of(self, media: Media) -> str:
        """What the library calls an item that comes in: a sample by its own name, else the file's."""
        sample = sample_of(media.path, paths.samples())
        return media.name if sample is None else sample.name

    def note_of(self, item: LibraryItem | None) -> Sample | None:
        """What to say beside an item: nothing for what is no sample, or when notes are hidden."""
        if item is None or not self._workbench.settings.sample_notes:
            return None
        return sample_of(item.media.path, paths.samples())

    def show_notes(self, shown: bool) -> None:
        """Show the notes, or hide them, from now on."""
        self._workbench.settings.sample_notes = shown
        self._workbench.save_settings()
        self.changed.emit()

    def hide_notes(self) -> None:
        """Hide the notes and say how they come back."""
        self.show_notes(False)
        words = "Notes on samples are hidden; Help › Notes on the samples shows them again."
        self._workbench.notice.emit(words, "info")

    def attempt(self, trial: Trial) -> None:
        """Do what a sample proposes to try."""
        bench = self._workbench
        if trial.does == "ask":
            bench.panel_requested.emit("caption")
            bench.ask(trial.text)
        elif trial.does == "find":
            bench.query(trial.text)
        elif trial.does == "labels":
            bench.panel_requested.emit("labels")
            labels = tuple(label.strip() for label in trial.text.split(","))
            bench.state.set_labels(labels, bench.state.templates)
        elif trial.does == "panel":
            bench.panel_requested.emit(trial.text)
        else:
            bench.load_model(trial.text)


def trial_words(trial: Trial | None) -> tuple[str, str]:
    """Text and tooltip of the button that tries something; empty without it."""
    if trial is None:
        return "", ""
    return {
        "ask": (f"Ask “{trial.text}?”", "Let the model answer this question."),
        "find": (f"Find “{trial.text}”", "Look where this description lies in the picture."),
        "labels": ("Try labels", f"Score the items against: {trial.text}."),
        "panel": (f"Open {trial.text.capitalize()}", "Bring this panel to the front."),
        "load": ("Load the photo model", "Load the model for photographs in place of this one."),
    }[trial.does]
