"""The manager's right side: one model in words, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from mmviewer.core.hub.catalogue import TASKS, Entry
from mmviewer.core.words import bytes_in_words
from mmviewer.engine.protocol_hub import DownloadPlan, HubState
from mmviewer.gui.activities import Activity
from mmviewer.gui.buttons import flat_button, push_button
from mmviewer.gui.manager_model import Row, memory_dtype
from mmviewer.gui.widgets.elided_label import ElidedLabel
from mmviewer.gui.widgets.flow_layout import FlowLayout
from mmviewer.gui.widgets.wrapped_label import WrappedLabel
from mmviewer.gui.words import count_in_words

_STEPS = 1000
_EMPTY = (
    "Choose a model on the left, or paste the id or address of any model of the hub into the field above."
)


class ModelDetails(QScrollArea):
    """Shows a `Row`; its buttons tell what the user wants."""

    wanted = Signal(str)
    """One of "load", "plan", "download", "pause", "discard", "verify", "delete", "allow"."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._facts: list[tuple[str, str, str]] = []
        self.title = ElidedLabel(bold=True, lines=3)
        self.subtitle = WrappedLabel()
        self.subtitle.setObjectName("faint")
        self.facts = QGridLayout()
        self.facts.setHorizontalSpacing(12)
        self.facts.setVerticalSpacing(4)
        self.facts.setColumnStretch(1, 1)
        self.words = WrappedLabel()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("How far the download is")
        self.buttons = {
            "load": push_button("Load", "Load this model now.", primary=True),
            "plan": push_button(
                "Download…", "Ask the hub what would be fetched; nothing is fetched yet.", primary=True
            ),
            "download": push_button("Download", "Fetch the files listed above.", primary=True),
            "pause": push_button("Pause", "Stop the download; what has come is kept."),
            "discard": push_button("Discard", "Stop the download, if it runs, and delete what has come."),
            "verify": push_button("Verify", "Compare every file with its checksum; takes a while."),
            "delete": push_button("Delete…", "Delete this model from the disk."),
            "allow": push_button(
                "Allow downloads", "Let mmviewer use the network to fetch models.", primary=True
            ),
        }
        self.page = flat_button(
            "Page on the hub", "Open the model's page, with its card and licence, in the browser."
        )
        self.paper = flat_button("Paper", "Open the paper in the browser.")
        self._lay_out()
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _checked=False, name=name: self.wanted.emit(name))
        self.page.clicked.connect(lambda: _open(self.page.property("address")))
        self.paper.clicked.connect(lambda: _open(self.paper.property("address")))
        self.show_row(None, None)

    def _lay_out(self) -> None:
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMinimumWidth(280)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(12, 4, 8, 8)
        column.setSpacing(8)
        for widget in (self.title, self.subtitle):
            column.addWidget(widget)
        column.addLayout(self.facts)
        links = FlowLayout(spacing=4)
        links.addWidget(self.page)
        links.addWidget(self.paper)
        column.addLayout(links)
        column.addWidget(self.words)
        column.addWidget(self.bar)
        actions = FlowLayout(spacing=6)
        for button in self.buttons.values():
            actions.addWidget(button)
        column.addLayout(actions)
        column.addStretch(1)
        self.setWidget(inner)

    def show_row(
        self,
        row: Row | None,
        state: HubState | None,
        activity: Activity | None = None,
        plan: DownloadPlan | None = None,
        error: str = "",
    ) -> None:
        """Show one model: what it is, how its download stands, what can be done."""
        self.title.set_text(row.label if row else "No model is chosen")
        self.subtitle.setText((row.repo or row.spec) if row else _EMPTY)
        self._show_facts(row, state)
        self._show_links(row, state)
        running = activity is not None and activity.running
        self.words.setText(_words(row, activity, plan, error))
        self.words.setVisible(bool(self.words.text()))
        self.bar.setVisible(running)
        if running and activity is not None:
            self.bar.setRange(0, 0 if activity.fraction is None else _STEPS)
            self.bar.setValue(round((activity.fraction or 0) * _STEPS))
        shown = _actions(row, state, running=running, planned=plan is not None)
        for name, button in self.buttons.items():
            button.setVisible(name in shown)
        self._name_sizes(row, plan)

    def _name_sizes(self, row: Row | None, plan: DownloadPlan | None) -> None:
        if plan is not None:
            self.buttons["download"].setText(f"Download {bytes_in_words(plan.missing)}")
            self.buttons["download"].setEnabled(plan.fits)
        if row is not None and row.here is not None:
            self.buttons["delete"].setText(f"Delete {bytes_in_words(row.here.size + row.here.partial)}…")
            begun = row.is_begun and not row.is_whole
            self.buttons["plan"].setText(
                "Go on…" if begun else "Download again…" if row.here.trouble else "Download…"
            )
        else:
            self.buttons["plan"].setText("Download…")

    def _show_facts(self, row: Row | None, state: HubState | None) -> None:
        facts = _facts(row, state)
        if facts == self._facts:  # progress comes many times a second
            return
        self._facts = facts
        while (item := self.facts.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for line, (name, value, tip) in enumerate(facts):
            label = QLabel(name)
            label.setObjectName("faint")
            told = WrappedLabel(value)
            for widget in (label, told):
                widget.setToolTip(tip)
            self.facts.addWidget(label, line, 0)
            self.facts.addWidget(told, line, 1)

    def _show_links(self, row: Row | None, state: HubState | None) -> None:
        endpoint = state.endpoint if state else "https://huggingface.co"
        self.page.setProperty("address", f"{endpoint}/{row.repo}" if row and row.repo else "")
        self.page.setVisible(bool(row and row.repo))
        paper = row.entry.paper if row and row.entry else ""
        self.paper.setProperty("address", paper)
        self.paper.setVisible(bool(paper))


def _actions(row: Row | None, state: HubState | None, *, running: bool, planned: bool) -> set[str]:
    """Which buttons make sense."""
    if row is None:
        return set()
    if running:
        return {"pause", "discard"}
    shown = set()
    if row.is_whole:
        shown |= {"load"} if row.loadable else set()
    elif state is not None and not state.online:
        shown.add("allow")
    else:
        shown.add("download" if planned else "plan")
    if row.here is not None:
        shown |= {"verify", "delete"} if row.here.size else set()
        shown |= {"discard"} if row.is_begun else set()
    return shown


def _words(row: Row | None, activity: Activity | None, plan: DownloadPlan | None, error: str) -> str:
    if row is None:
        return ""
    if activity is not None and activity.running:
        return activity.message or activity.label
    if error:
        return f"⚠ {error}"
    if activity is not None and activity.error is not None:
        return f"⚠ {activity.error.message}"
    if plan is not None:
        return _plan_words(plan)
    if row.here is not None and row.here.trouble:
        begun = f"; {bytes_in_words(row.here.partial)} are here" if row.is_begun else ""
        return f"It cannot be loaded: {row.here.trouble}{begun}."
    return "" if row.loadable else "mmviewer has no family for models of this kind."


def _plan_words(plan: DownloadPlan) -> str:
    parts = [
        f"{bytes_in_words(plan.total)} in {plan.files} files; {bytes_in_words(plan.missing)} still to come, "
        f"{bytes_in_words(plan.free)} are free on the disk."
    ]
    if not plan.fits:
        parts.append("⚠ The disk has no room for it: free some space, or move the folder of models.")
    if plan.licence:
        parts.append(f"Licence, as the hub tells it: {plan.licence}.")
    return "\n".join([*parts, *plan.notes])


def _facts(row: Row | None, state: HubState | None) -> list[tuple[str, str, str]]:
    """Name, value, and what the name means."""
    facts: list[tuple[str, str, str]] = []
    if row is None:
        return facts
    entry = row.entry
    if entry is not None:
        dtypes = ("float32", "bfloat16")
        memory = ", ".join(f"{bytes_in_words(entry.memory_bytes(dtype))} in {dtype}" for dtype in dtypes)
        source = (
            "its architecture's configuration"
            if entry.known == "configuration"
            else "what its makers publish"
        )
        facts = [
            ("Can", "; ".join(TASKS[task] for task in entry.can), "What it was trained for."),
            (
                "Parameters",
                count_in_words(entry.parameters),
                f"How many numbers were learned, from {source}.",
            ),
            ("Memory", f"about {memory}", "To hold and run it, computed from the number of parameters."),
            ("Download", f"about {bytes_in_words(entry.disk_bytes)}", "Computed; the plan says it exactly."),
            ("Licence", entry.licence, "As known when mmviewer was made; the model's page decides."),
            ("Gate", "its terms must be accepted on its page" if entry.gated else "", "Who may download it."),
            ("Note", entry.note, "What to know of it."),
        ]
        if state is not None:
            facts.insert(
                3, ("Here", _fit_words(entry, state), f"Whether {state.device} has room for it now.")
            )
    if row.here is not None and row.here.size:
        facts.append(("On disk", bytes_in_words(row.here.size), "What its files take."))
    return [fact for fact in facts if fact[1]]


def _fit_words(entry: Entry, state: HubState) -> str:
    """Whether it fits as this machine would load it, or in half of the memory."""
    free = f"{bytes_in_words(state.room)} free on {state.device}"
    for dtype in dict.fromkeys((memory_dtype(state), "bfloat16")):
        need = entry.memory_bytes(dtype)
        if need <= state.room:
            return f"fits in {dtype}: {bytes_in_words(need)} of {free}"
    return f"does not fit: {bytes_in_words(need)} in {dtype}, {free}"


def _open(address: str) -> None:
    if address.startswith(("http://", "https://")):
        QDesktopServices.openUrl(QUrl(address))
