"""Who may run a model: one lane at a time, and work in the background while nobody else wants to."""

from __future__ import annotations

from threading import Condition, get_ident

from mmviewer.core.progress import Progress

_WAIT = 0.05  # seconds between looks at a cancel while another lane has its turn


class Turns:
    """Turns at one model. A thread that has one may take it again, and gives it back as often."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._owner: int | None = None
        self._depth = 0
        self._waiting = 0  # lanes that are not in the background

    def take(self, progress: Progress, *, background: bool = False) -> None:
        """Wait for a turn; in the background also until nobody else waits. Raises `Cancelled`."""
        with self._changed:
            if self._owner == get_ident():
                self._depth += 1
                return
            self._waiting += not background
            try:
                while self._owner is not None or (background and self._waiting):
                    self._changed.wait(_WAIT)
                    progress.check()
            finally:
                self._waiting -= not background
                self._changed.notify_all()
            self._owner, self._depth = get_ident(), 1

    def take_if_free(self) -> bool:
        """Take a turn if nobody has one and nobody waits."""
        with self._changed:
            if self._owner is not None or self._waiting:
                return False
            self._owner, self._depth = get_ident(), 1
            return True

    def give_back(self) -> None:
        """End a turn; harmless for a thread that has none, such as one cancelled in `give_way`."""
        with self._changed:
            if self._owner == get_ident():
                self._depth -= 1
                if not self._depth:
                    self._owner = None
                    self._changed.notify_all()

    def give_way(self, progress: Progress) -> None:
        """Let those who wait go first, then go on. Raises `Cancelled`, then without a turn."""
        with self._changed:
            if not self._waiting:
                return
        self.give_back()
        self.take(progress, background=True)


class Polite(Progress):
    """A progress that gives way at every check of the work in the background that it is passed to."""

    def __init__(self, progress: Progress, turns: Turns) -> None:
        super().__init__(progress.report)
        self._progress = progress
        self._turns = turns

    def check(self) -> None:
        """Raise `Cancelled` if the work shall stop; let others run the model first."""
        self._progress.check()
        self._turns.give_way(self._progress)
