"""A second look at the session's item: a session of its own, with another model, over the same engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from mmviewer.core.session.settings import Settings
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import Capability, ModelInfo
from mmviewer.engine.protocol import ErrorReport, Request
from mmviewer.gui.activities import Activities, Activity
from mmviewer.gui.controllers.models import model_for, model_for_words
from mmviewer.gui.controllers.sequences import SequenceController

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

PREFIX = "beside:"
"""Before the keys of the second side's activities, so that they do not take the place of the first one's."""


class BesideActivities:
    """The same work under keys of its own."""

    def __init__(self, activities: Activities) -> None:
        self._activities = activities

    def get(self, key: str) -> Activity:
        """The activity called `key` on the second side."""
        return self._activities.get(PREFIX + key)

    def run(
        self,
        key: str,
        label: str,
        request: Request,
        done: Callable[[Any], None],
        *,
        partial: Callable[[Any], None] | None = None,
        failed: Callable[[ErrorReport], None] | None = None,
        visible: bool = True,
    ) -> None:
        """Run `request`, as `Activities.run` does."""
        self._activities.run(
            PREFIX + key, label, request, done, partial=partial, failed=failed, visible=visible
        )

    def cancel(self, key: str) -> None:
        """Stop the run called `key` on the second side."""
        self._activities.cancel(PREFIX + key)

    def clear_error(self, key: str) -> None:
        """Forget why the last run failed."""
        self._activities.clear_error(PREFIX + key)


class BesideModels:
    """Which model takes an item on the second side."""

    def __init__(self, side: BesideBench) -> None:
        self._side = side

    def for_item(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that looks at `item` or listens to it."""
        return model_for(self._side.state, item)

    def for_words(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that finds typed words in `item`."""
        return model_for_words(self._side.state, item)

    def with_speech(self, _then: Callable[[], None]) -> None:
        """There is only the one model that was chosen."""
        self._side.notice.emit("Choose a model that transcribes for this side.", "info")


class BesideBench(QObject):
    """What the sequence controller needs of a workbench, for one chosen model."""

    notice = Signal(str, str)

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self.state = SessionState()
        self.settings = Settings(generate_on_choose=False)  # what it is asked follows the first side
        self.activities = BesideActivities(workbench.activities)
        self.models = BesideModels(self)
        self.drafts = workbench.drafts
        self.sequences = SequenceController(self)

    @property
    def model(self) -> ModelInfo | None:
        """The chosen model."""
        return self.state.model or self.state.speech_model

    def take_model(self, info: ModelInfo | None) -> None:
        """Use a model, whatever its kind."""
        speech = info is not None and info.can(Capability.TRANSCRIBE)
        self.state.set_model(None if speech else info)
        self.state.set_speech_model(info if speech else None)

    def model_for(self, item: LibraryItem | None) -> ModelInfo | None:
        """The model that looks at `item` or listens to it."""
        return self.models.for_item(item)

    def choose(self, _item_id: str) -> None:
        """The item is that of the first side."""

    def cancel_all(self) -> None:
        """Stop all work of this side."""
        for key in ("sequence", "maps", "heads"):
            self.activities.cancel(key)

    def release(self) -> None:
        """Stop watching the state."""
        self.sequences.release()
