"""The application: start in order, show the window at once, end in order."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Sequence

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from mmviewer import __version__, paths
from mmviewer.core.session.settings import Settings
from mmviewer.gui.crash import CrashReporter, start_log
from mmviewer.gui.icons import app_icon
from mmviewer.gui.interrupts import Interrupts
from mmviewer.gui.jobs import Jobs
from mmviewer.gui.main_window import MainWindow
from mmviewer.gui.theme import Theme
from mmviewer.gui.workbench import Workbench

_OFFER_MS = 1500  # the window is there and the first picture in it


class App:
    """The parts of a running application, made in order and ended in the reverse order.

    Parameters
    ----------
    qt : QApplication

    Attributes
    ----------
    first_start : bool
        Whether nothing is remembered of an earlier run.
    """

    def __init__(self, qt: QApplication) -> None:
        start_log(paths.log_dir())
        self.crashes = CrashReporter()
        self.crashes.install()
        remembered = paths.config_dir() / "settings.json"
        self.first_start = not remembered.exists()
        settings = Settings.load(remembered)
        self.jobs = Jobs()
        self.bench = Workbench(self.jobs, settings=settings)
        self.bench.apply_network()
        self.jobs.start()  # the engine warms up while the window is built
        self.theme = Theme(qt)
        self.theme.apply(settings.theme)
        memory = QSettings(str(paths.config_dir() / "window.ini"), QSettings.Format.IniFormat)
        self.window = MainWindow(self.bench, self.theme, memory)
        self.crashes.happened.connect(self.bench.report)
        self._closed = False

    def start(self, files: Sequence[str], *, samples: bool) -> None:
        """Show the window, load the model and open what was asked for."""
        self.window.show()
        QTimer.singleShot(0, self.window, lambda: self._begin(files, samples=samples))

    def welcome(self) -> None:
        """Offer the guided tour, the first time."""
        QTimer.singleShot(_OFFER_MS, self.window, self.window.offer_tour)

    def close(self) -> None:
        """End window, work and engine, once."""
        if self._closed:
            return
        self._closed = True
        self.window.close()
        self.bench.release()
        self.jobs.close()
        self.crashes.uninstall()
        self.theme.release()
        self.window.deleteLater()
        self.bench.deleteLater()
        self.jobs.deleteLater()

    def _begin(self, files: Sequence[str], *, samples: bool) -> None:
        if files:
            self.bench.open_paths(files)
        elif samples:
            self.window.open_samples()
        self.bench.load_remembered_models()
        self.bench.models.refresh_listings()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the window; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        ``[--samples] [FILE ...]``, by default of the process.
    """
    multiprocessing.freeze_support()
    asked = _parse(sys.argv[1:] if argv is None else list(argv))
    qt = QApplication([sys.argv[0]])
    qt.setApplicationName("mmviewer")
    qt.setApplicationDisplayName("mmviewer")
    qt.setApplicationVersion(__version__)
    qt.setDesktopFileName("io.github.mmviewer.mmviewer")
    qt.setWindowIcon(app_icon())
    # a signal that comes while the window is built ends the loop as soon as it runs
    interrupts = Interrupts(lambda: QTimer.singleShot(0, qt.quit))
    app = App(qt)
    app.start(asked.files, samples=asked.samples or app.first_start)
    app.welcome()
    code = qt.exec()
    interrupts.release()
    app.close()
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mmviewer gui", description="Open the window.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="images, sounds, texts or folders to open")
    parser.add_argument(
        "--samples", action="store_true", help="open the sample session when no file is named"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
