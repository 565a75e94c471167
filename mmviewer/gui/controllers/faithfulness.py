"""How far the map in the viewer can be believed: measured in the background while it is looked at.

What was measured is kept by the map's identity, so that going back to a token costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from mmviewer.core.explain.measures import Curves, MethodAgreement, RandomisedCheck
from mmviewer.core.explain.selection import show
from mmviewer.core.session.state import LibraryItem
from mmviewer.core.targets import Removal
from mmviewer.core.types import Provenance, TokenMaps, TokenSequence
from mmviewer.engine.protocol import (
    CheckRandomised,
    CompareMethods,
    ErrorReport,
    EstimateMaps,
    MapEstimate,
    MeasureMap,
)
from mmviewer.gui.trust_model import MeasuredRegion, badge_of, facts, measured_regions
from mmviewer.gui.view_model import Basis, resolve
from mmviewer.gui.widgets.trust_badge import Badge, Level

if TYPE_CHECKING:
    from mmviewer.gui.workbench import Workbench

_DWELL_MS = 400
"""A map is measured once it has been looked at for so long: stepping through tokens measures none of them."""
_KEPT = 512
_SEEDS = (0, 1)
"""Of the shuffled weights."""


class Phase(StrEnum):
    """How far measuring is."""

    NOTHING = "nothing to measure"
    OFF = "not measured"
    MEASURING = "measuring"
    DONE = "measured"
    FAILED = "cannot be measured"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The map that is looked at; `tokens` are those whose mean it is, none for the whole text."""

    item: LibraryItem
    model_id: str
    sequence: TokenSequence
    maps: TokenMaps
    tokens: tuple[int, ...]
    removal: Removal

    @property
    def key(self) -> Hashable:
        """Equal for equal maps."""
        ids = tuple(token.id for token in self.sequence.tokens)
        text = (self.sequence.kind, self.sequence.text, ids)
        return (self.item.id, self.model_id, text, self.maps.spec, self.tokens, self.removal)

    @property
    def map_key(self) -> Hashable:
        """The same whatever stands in for what is taken away."""
        return replace(self, removal="mean").key


@dataclass(slots=True)
class _Found:
    """What is known of one map."""

    curves: Curves | None = None
    error: str = ""


@dataclass(slots=True)
class _Extra:
    """What was asked for on top, by button."""

    agreements: tuple[MethodAgreement, ...] = ()
    check: RandomisedCheck | None = None
    check_seconds: float | None = None


class FaithfulnessController(QObject):
    """Keeps measures in step with the map that the viewer shows."""

    changed = Signal()
    """Another map is looked at, or more is known of it."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._state = workbench.state
        self._activities = workbench.activities
        self._subject: Subject | None = None
        self._removal: Removal = "mean"
        self._found: OrderedDict[Hashable, _Found] = OrderedDict()
        self._extra: OrderedDict[Hashable, _Extra] = OrderedDict()
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._look)
        self._dwell = QTimer(self, singleShot=True, interval=_DWELL_MS)
        self._dwell.timeout.connect(self.measure)
        state = self._state
        self._watched = (
            state.maps_changed,
            state.tokens_changed,
            state.hovered_token_changed,
            state.current_changed,
            state.sequence_changed,
        )
        for signal in self._watched:
            signal.connect(self._on_changed)
        self._regions = (state.annotations_changed, state.region_changed)
        for signal in self._regions:
            signal.connect(self._on_regions)

    def release(self) -> None:
        """Stop watching the state and measuring."""
        self._soon.stop()
        self._dwell.stop()
        for signal in self._watched:
            signal.disconnect(self._on_changed, missing_ok=True)
        for signal in self._regions:
            signal.disconnect(self._on_regions, missing_ok=True)

    # --- what is known -----------------------------------------------------------------------------------
    @property
    def subject(self) -> Subject | None:
        """The map that is looked at."""
        return self._subject

    @property
    def curves(self) -> Curves | None:
        """Its curves, once they are measured."""
        return self._known().curves

    @property
    def error(self) -> str:
        """Why it cannot be measured."""
        return self._known().error

    @property
    def phase(self) -> Phase:
        """How far measuring is."""
        known = self._known()
        if self._subject is None:
            return Phase.NOTHING
        if known.curves is not None:
            return Phase.DONE
        if known.error:
            return Phase.FAILED
        running = self._dwell.isActive() or self._activities.get("trust").running
        return Phase.MEASURING if running else Phase.OFF

    @property
    def agreements(self) -> tuple[MethodAgreement, ...]:
        """How far other methods agree, as far as asked for."""
        return self._more().agreements

    @property
    def check(self) -> RandomisedCheck | None:
        """The check with shuffled weights, if asked for."""
        return self._more().check

    @property
    def check_seconds(self) -> float | None:
        """About how long that check takes; None while unknown."""
        return self._more().check_seconds

    @property
    def removal(self) -> Removal:
        """What stands in for what is taken away."""
        return self._removal

    @property
    def live(self) -> bool:
        """Whether maps are measured by themselves."""
        return self._workbench.settings.measure_live

    def regions(self) -> tuple[MeasuredRegion, ...]:
        """How the map lies to each region of the item, the one that is meant first."""
        subject = self._subject
        if subject is None:
            return ()
        regions = self._state.annotations_of(subject.item.id)
        return measured_regions(subject.maps, subject.tokens, regions, self._state.region)

    def facts(self) -> dict[str, object] | None:
        """All that is known as JSON can hold it; None while nothing is."""
        known = self.curves
        if self._subject is None or known is None:
            return None
        return facts(known, self.regions(), self.agreements, self.check)

    def noted(self, provenance: Provenance) -> Provenance:
        """Provenance with what was measured of the very map that it is of."""
        subject, known = self._subject, self.facts()
        if subject is None or known is None:
            return provenance
        shown = show(subject.maps, subject.tokens).tokens
        words = " ".join(subject.maps.tokens[index].text for index in shown)
        same = (
            provenance.item_id == subject.item.id
            and provenance.extra.get("spec") == asdict(subject.maps.spec)
            and provenance.tokens == words
        )
        extra = {**provenance.extra, "faithfulness": known}
        return replace(provenance, extra=extra) if same else provenance

    # --- what a user asks --------------------------------------------------------------------------------
    def set_live(self, live: bool) -> None:
        """Measure every map that is looked at, or only on demand."""
        self._workbench.settings.measure_live = live
        self._workbench.save_settings()
        if live:
            self.measure()
        else:
            self._stop()
        self.changed.emit()

    def set_removal(self, removal: Removal) -> None:
        """Take parts away by another means."""
        self._removal = removal
        self._look()

    def measure(self) -> None:
        """Measure the map that is looked at, unless it was."""
        subject, known = self._subject, self._known()
        if subject is None or known.curves is not None:
            return
        known.error = ""

        def done(found: Curves) -> None:
            self._keep(subject, _Found(found))

        def failed(error: ErrorReport) -> None:
            self._keep(subject, _Found(error=error.message))

        request = MeasureMap(
            subject.model_id,
            subject.item.ref,
            subject.sequence,
            subject.maps,
            subject.tokens,
            subject.removal,
        )
        label = "Measuring how far the map can be believed"
        self._activities.run("trust", label, request, done=done, failed=failed, visible=False)
        self.changed.emit()

    def compare(self) -> None:
        """Ask how far the other methods that the model offers agree with the map."""
        subject = self._subject
        if subject is None:
            return
        extra = self._more()
        extra.agreements = ()

        def partial(found: MethodAgreement) -> None:
            extra.agreements = (*extra.agreements, found)
            self.changed.emit()

        def done(_count: int) -> None:
            self.changed.emit()

        request = CompareMethods(
            subject.model_id, subject.item.ref, subject.sequence, subject.maps, subject.tokens
        )
        self._activities.run("agreement", "Comparing methods", request, done=done, partial=partial)

    def check_randomised(self) -> None:
        """Ask whether the map would look the same if the model had learnt nothing."""
        subject = self._subject
        if subject is None:
            return
        extra = self._more()

        def done(found: RandomisedCheck) -> None:
            extra.check = found
            self.changed.emit()

        request = CheckRandomised(
            subject.model_id, subject.item.ref, subject.sequence, subject.maps, subject.tokens, _SEEDS
        )
        self._activities.run("randomised", "Shuffling the model's weights", request, done=done)

    def estimate_check(self) -> None:
        """Find out how long the check with shuffled weights will take."""
        subject, extra = self._subject, self._more()
        if subject is None or extra.check_seconds is not None:
            return
        request = EstimateMaps(subject.model_id, subject.item.ref, subject.sequence, (subject.maps.spec,))

        def done(found: tuple[MapEstimate, ...]) -> None:
            extra.check_seconds = len(_SEEDS) * sum(each.seconds for each in found)
            self.changed.emit()

        label = "Estimating the check"
        self._activities.run("check-cost", label, request, done=done, failed=lambda _: None, visible=False)

    # --- following the state -----------------------------------------------------------------------------
    def _on_changed(self, _value: object) -> None:
        self._soon.start()

    def _on_regions(self, _value: object) -> None:
        self.changed.emit()

    def _look(self) -> None:
        """Another map may be looked at: show what is known of it, else measure it soon."""
        former, self._subject = self._subject, self._shown()
        before = None if former is None else former.key
        after = None if self._subject is None else self._subject.key
        if before == after:
            return
        if former is None or self._subject is None or former.map_key != self._subject.map_key:
            for key in ("agreement", "randomised", "check-cost"):
                self._activities.cancel(key)
                self._activities.clear_error(key)
        self._stop()
        known = self._known()
        if self._subject is not None and known.curves is None and not known.error and self.live:
            self._dwell.start()
        self.changed.emit()

    def _stop(self) -> None:
        self._dwell.stop()
        self._activities.cancel("trust")
        self._activities.clear_error("trust")

    def _shown(self) -> Subject | None:
        state = self._state
        item, sequence, maps = state.current, state.sequence, state.maps
        if item is None or sequence is None or maps is None or not sequence.finished:
            return None
        if maps.media_id != item.id or maps.tokens != sequence.tokens:
            return None
        snapshot = resolve(item, sequence, maps, state.tokens, state.hovered_token, state.view)
        if snapshot.grid is None:
            return None
        by_hand = snapshot.grid.basis in (Basis.HOVERED, Basis.CHOSEN)
        tokens = snapshot.grid.tokens if by_hand else ()
        return Subject(item, maps.model_id, sequence, maps, tokens, self._removal)

    def _known(self) -> _Found:
        return self._found.get(self._subject.key, _Found()) if self._subject is not None else _Found()

    def _more(self) -> _Extra:
        if self._subject is None:
            return _Extra()
        extra = self._extra.setdefault(self._subject.map_key, _Extra())
        while len(self._extra) > _KEPT:
            self._extra.popitem(last=False)
        return extra

    def _keep(self, subject: Subject, found: _Found) -> None:
        self._found[subject.key] = found
        while len(self._found) > _KEPT:
            self._found.popitem(last=False)
        self.changed.emit()


def shown_badge(trust: FaithfulnessController) -> Badge | None:
    """What the card of the map says; None where nothing is measured."""
    curves = trust.curves
    match trust.phase:
        case Phase.DONE if curves is not None:
            return badge_of(curves, trust.regions())
        case Phase.MEASURING:
            tip = "Parts of the input are taken away and given back to see whether the score follows the map."
            return Badge("measuring how far to trust it…", Level.WAITING, tip)
        case Phase.FAILED:
            return Badge("cannot be measured", Level.WAITING, trust.error)
        case _:
            return None
