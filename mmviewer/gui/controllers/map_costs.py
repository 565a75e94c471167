"""What a map will take, said before it is made: cheap ones are made at once, dear ones when wanted."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from mmviewer.core.types import SequenceKind
from mmviewer.engine.protocol import MapEstimate
from mmviewer.gui.words import bytes_in_words, seconds_in_words

BEARABLE = 2.0
"""Seconds up to which a map is made without asking."""
_SURELY_QUICK = BEARABLE / 4
"""A method that took no longer for one text is not estimated anew for the next."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A map that would take long: what it takes in words, the words of the button, and which map it is."""

    words: str
    button: str
    key: Hashable


class MapCosts(QObject):
    """Remembers which methods are quick, and what is on offer."""

    offer_changed = Signal()
    """Something dear can be had, or not any more."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._offer: Offer | None = None
        self._accepted: set[Hashable] = set()
        self._quick: set[tuple[str, str, SequenceKind]] = set()

    @property
    def offer(self) -> Offer | None:
        """The dear map that is wanted but not made."""
        return self._offer

    def is_settled(self, key: Hashable, model_id: str, method: str, kind: SequenceKind) -> bool:
        """Whether a map may be made without an estimate."""
        return key in self._accepted or (model_id, method, kind) in self._quick

    def weigh(
        self, key: Hashable, model_id: str, kind: SequenceKind, label: str, tokens: int, found: MapEstimate
    ) -> bool:
        """Whether a map may be made at once; else it is on offer now."""
        method = found.spec.method
        if found.error is not None:
            return True  # making it says what is wrong, where such things are said
        if found.seconds <= _SURELY_QUICK:
            self._quick.add((model_id, method, kind))
        if found.seconds <= BEARABLE:
            return True
        about = f"about {seconds_in_words(found.seconds)}"
        words = f"{cost_words(label, tokens, found)} {found.note}".strip()
        self._show(Offer(words, f"Compute ({about})", key))
        return False

    def accept(self) -> None:
        """The dear map is wanted all the same."""
        if self._offer is not None:
            self._accepted.add(self._offer.key)
            self._show(None)

    def withdraw(self) -> None:
        """Something else is wanted."""
        self._show(None)

    def _show(self, offer: Offer | None) -> None:
        if offer != self._offer:
            self._offer = offer
            self.offer_changed.emit()


def cost_words(label: str, tokens: int, found: MapEstimate) -> str:
    """Passes, time and memory of the maps of a text: "LeGrad of 9 tokens: about 0.1 s, 4 MB."."""
    of = f"{label[:1].upper()}{label[1:]} of {tokens} token{'s' if tokens != 1 else ''}"
    passes = f"{found.forwards:,} passes through the model, " if found.forwards > 1 else ""
    seconds = f"about {seconds_in_words(max(found.seconds, 0.1))}"
    return f"{of}: {passes}{seconds}, {bytes_in_words(found.bytes)}."
