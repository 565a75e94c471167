"""Models of the hub: what is here, what is being fetched, and what the user may do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from mmviewer.core.words import bytes_in_words
from mmviewer.engine.protocol_hub import (
    AllowDownloads,
    DiscardDownload,
    DownloadModel,
    HubState,
    KeepToken,
    LookAtHub,
    MoveModels,
    PlanDownload,
    RemoveModel,
    VerifyModel,
)
from mmviewer.gui.activities import Activity

if TYPE_CHECKING:
    from mmviewer.engine.protocol import ErrorReport
    from mmviewer.gui.workbench import Workbench

_DOWNLOAD = "download:"
LOOK, PLAN, WORK = "hub", "hub-plan", "hub-work"
"""Activities: looking at the cache, planning a download, deleting or verifying or moving."""


class HubController(QObject):
    """Keeps `state` in step with the cache; downloads are activities called ``download:REPOSITORY``."""

    changed = Signal()
    """`state` is another."""
    planned = Signal(object)
    """`DownloadPlan`."""
    failed = Signal(object)
    """`ErrorReport` of a plan or of other work asked for here."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._workbench = workbench
        self._activities = workbench.activities
        self.state: HubState | None = None

    # --- looking ---------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Ask what is here."""
        self._activities.run(LOOK, "Looking for models", LookAtHub(), self._take, visible=False)

    def plan(self, spec: str) -> None:
        """Ask what downloading `spec` would fetch; `planned` or `failed` tells."""
        self._activities.run(
            PLAN,
            f"Asking the hub about {spec}",
            PlanDownload(spec),
            self.planned.emit,
            failed=self.failed.emit,
        )

    # --- downloads -------------------------------------------------------------------------------------
    def downloading(self, repo: str) -> Activity:
        """The download of a repository: running, failed, or idle."""
        return self._activities.get(_DOWNLOAD + repo)

    def download(self, spec: str, repo: str) -> None:
        """Fetch a model, going on with what is here."""

        def done(_folder: str) -> None:
            self._workbench.notice.emit(f"{repo} is here; load it in Model > Manage models.", "info")
            self._follow()

        def failed(error: ErrorReport) -> None:
            self._workbench.report(error)
            self.refresh()

        self._activities.run(
            _DOWNLOAD + repo, f"Downloading {repo}", DownloadModel(spec), done, failed=failed
        )

    def pause(self, repo: str) -> None:
        """Stop a download and keep what came."""
        self._activities.cancel(_DOWNLOAD + repo)
        self.refresh()

    def discard(self, repo: str) -> None:
        """Stop a download and delete what came of it."""
        self._activities.cancel(_DOWNLOAD + repo)
        self._activities.clear_error(_DOWNLOAD + repo)
        self._run(f"Discarding the download of {repo}", DiscardDownload(repo), "")

    # --- what is here ----------------------------------------------------------------------------------
    def remove(self, repo: str) -> None:
        """Delete a model."""
        self._run(f"Deleting {repo}", RemoveModel(repo), f"Deleted {repo}: {{size}} are free again.")

    def verify(self, repo: str) -> None:
        """Compare a model's files with their checksums."""

        def done(wrong: tuple[str, ...]) -> None:
            if wrong:
                names = ", ".join(wrong)
                words = f"{names} of {repo} had another checksum and was deleted; download the model again."
                self._workbench.notice.emit(words, "warning")
            else:
                self._workbench.notice.emit(f"Every file of {repo} has the right checksum.", "info")
            self._follow()

        self._activities.run(WORK, f"Verifying {repo}", VerifyModel(repo), done, failed=self.failed.emit)

    def move(self, folder: str) -> None:
        """Keep models in another folder from now on."""

        def done(place: str) -> None:
            self._workbench.notice.emit(f"Models are kept in {place} now.", "info")
            self._follow()

        self._activities.run(WORK, "Moving models", MoveModels(folder), done, failed=self.failed.emit)

    # --- the network -----------------------------------------------------------------------------------
    def keep_token(self, token: str) -> None:
        """Keep a token in the system's keyring; an empty one takes it out."""
        kept = "The token is kept in the system's keyring." if token.strip() else "The token is forgotten."

        def done(_none: None) -> None:
            self._workbench.notice.emit(kept, "info")
            self.refresh()

        self._activities.run(WORK, "Keeping the token", KeepToken(token), done, failed=self.failed.emit)

    def allow(self, allowed: bool) -> None:
        """Let the engine that runs use the network, or not; what is being fetched stops."""
        if not allowed:
            for key in [key for key in self._activities.running() if key.startswith(_DOWNLOAD)]:
                self._activities.cancel(key)
        self._activities.run(
            "network",
            "Switching downloads",
            AllowDownloads(allowed),
            lambda _none: self.refresh(),
            visible=False,
        )

    def _run(self, label: str, request: RemoveModel | DiscardDownload, words: str) -> None:
        def done(freed: int) -> None:
            if words:
                self._workbench.notice.emit(words.format(size=bytes_in_words(freed)), "info")
            self._follow()

        self._activities.run(WORK, label, request, done, failed=self.failed.emit)

    def _take(self, state: HubState) -> None:
        self.state = state
        self.changed.emit()

    def _follow(self) -> None:
        self.refresh()
        self._workbench.models.refresh_listings()
