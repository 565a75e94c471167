"""Two models side by side: keeps the second one at what the first one is shown with.

The first side is the session itself. The second has a session of its own; see `beside`. Nothing is computed
while the view is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer.core.compare.figure import Matrix
from mmviewer.core.errors import InputError
from mmviewer.core.session.state import LibraryItem, SessionState
from mmviewer.core.types import Modality, ModelInfo, Sampling
from mmviewer.gui.controllers.beside import BesideBench
from mmviewer.gui.twin_model import Errand, Links, Seen, errand, link, twin_matrix, words_at

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_Asked = tuple[str, str, Errand, Sampling]
"""Item, model, errand and how words are chosen: what was asked last is not asked again after it failed."""


class TwinController(QObject):
    """Holds the second side and the links between the two."""

    changed = Signal()
    """A model, a text, an errand or the links changed."""
    opened = Signal(bool)
    """The view was opened or closed."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self.beside = BesideBench(workbench)
        self.beside.notice.connect(workbench.notice)
        self.is_open = False
        self.errand = Errand()
        self.links = Links()
        self._asked: _Asked | None = None
        self._linking = False
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._follow)
        state, second = self._state, self.beside.state
        self._watched = (
            (state.current_changed, self._on_session),
            (state.sequence_changed, self._on_session),
            (state.sampling_changed, self._on_session),
            (state.model_changed, self._on_session),
            (state.speech_model_changed, self._on_session),
            (state.others_changed, self._on_session),
            (second.sequence_changed, self._on_texts),
            (state.tokens_changed, self._on_first_tokens),
            (second.tokens_changed, self._on_second_tokens),
        )
        for signal, slot in self._watched:
            signal.connect(slot)

    def release(self) -> None:
        """Stop watching the state."""
        self._soon.stop()
        for signal, slot in self._watched:
            signal.disconnect(slot, missing_ok=True)
        self.beside.release()

    # --- what a user does --------------------------------------------------------------------------------
    def open(self, model_id: str = "") -> None:
        """Show the item under two models: `model_id`, else the one chosen before, else another loaded one."""
        loaded = {info.id: info for info in self._state.models}
        former = self.beside.model
        wanted = loaded.get(model_id) or (loaded.get(former.id) if former is not None else None)
        self.beside.take_model(wanted or next(iter(self._state.others), None))
        self._asked = None
        self._soon.start()
        if not self.is_open:
            self.is_open = True
            self.opened.emit(True)

    def close(self) -> None:
        """Stop computing and show the viewer again; what is made is kept."""
        if self.is_open:
            self.is_open = False
            self._soon.stop()
            self.beside.cancel_all()
            self.opened.emit(False)

    def choose(self, model_id: str) -> None:
        """Take another loaded model as the second one; it may be the first one too, seen another way."""
        info = next((each for each in self._state.models if each.id == model_id), None)
        if info is not None:
            self.beside.take_model(info)
            self._asked = None
            self._soon.start()

    def load(self, source: str) -> None:
        """Load a model for the second side; the others stay."""
        settings = self._workbench.settings
        self._workbench.models.load_beside(
            source, settings.device, settings.dtype, lambda info: self.choose(info.id)
        )

    def swap(self) -> None:
        """Exchange the two models; both stay loaded."""
        second = self.beside.model
        first = self.first_model()
        if first is not None and second is not None and second in self._state.others:
            self._workbench.models.use(second.id)
            self.choose(first.id)

    def again(self) -> None:
        """Ask the second model once more."""
        self._asked = None
        self._follow()

    # --- what is there -----------------------------------------------------------------------------------
    def first_model(self) -> ModelInfo | None:
        """The model of the first side, for the current item."""
        return self._workbench.model_for(self._state.current)

    def matrix(self) -> Matrix:
        """Both sides as they are exported; raises `InputError` while one of them has no maps."""
        item, second = self._state.current, self.beside
        sides = (
            _seen(self._state, item, self.first_model()),
            _seen(second.state, item, second.model_for(item)),
        )
        if not self.is_open or item is None or sides[0] is None or sides[1] is None:
            raise InputError("Two models are not side by side yet: wait until both sides have their maps.")
        chosen = words_at(self._state.sequence, self._state.tokens)
        return twin_matrix(item, (sides[0], sides[1]), chosen, self.links)

    # --- following the first side ------------------------------------------------------------------------
    def _on_session(self, _changed: object) -> None:
        if self.is_open:
            self._soon.start()

    def _follow(self) -> None:
        """Ask the second model for what the first one is shown with, unless it is there or under way."""
        if not self.is_open:
            return
        second, item, first = self.beside, self._state.current, self._state.sequence
        loaded = {info.id: info for info in self._state.models}
        if second.model is not None:
            second.take_model(loaded.get(second.model.id))  # gone, or loaded anew
        second.state.set_sampling(self._state.sampling)
        second.state.set_current(item)
        if first is None or first.finished:
            self.errand = errand(item, first, second.model)
            self._send(item)
        self._on_texts(None)

    def _send(self, item: LibraryItem | None) -> None:
        wanted, second = self.errand, self.beside
        if item is None or second.model is None or wanted.kind is None:
            second.activities.cancel("sequence")
            second.state.set_sequence(None)
            self._asked = None
            return
        asked = (item.id, second.model.id, wanted, self._state.sampling)
        if asked == self._asked:
            return
        self._asked = asked
        if wanted.is_done_by(item, second.state.sequence, self._state.sampling):
            return
        if wanted.kind == "query":
            second.sequences.query(wanted.text)
        elif wanted.kind == "answer":
            second.sequences.ask(wanted.text)
        else:
            second.sequences.generate()

    # --- words that agree ----------------------------------------------------------------------------------
    def _on_texts(self, _changed: object) -> None:
        if self.is_open:
            self.links = link(self._state.sequence, self.beside.state.sequence)
            self.changed.emit()

    def _on_first_tokens(self, tokens: tuple[int, ...]) -> None:
        self._carry(0, tokens, self.beside.state)

    def _on_second_tokens(self, tokens: tuple[int, ...]) -> None:
        self._carry(1, tokens, self._state)

    def _carry(self, side: int, tokens: tuple[int, ...], other: SessionState) -> None:
        """Choose the same words on the other side; what it does not have is not chosen there."""
        if self._linking or not self.is_open:
            return
        self._linking = True
        try:
            other.set_tokens(self.links.over(side, tokens))
        finally:
            self._linking = False


def _seen(state: SessionState, item: LibraryItem | None, model: ModelInfo | None) -> Seen | None:
    sequence, maps = state.sequence, state.maps
    if item is None or item.media.modality is Modality.TEXT or model is None:
        return None
    if sequence is None or maps is None or maps.media_id != item.id:
        return None
    return Seen(model, sequence, maps)
