"""One place for what nobody expected: Python errors in any thread, Qt's messages, native crashes."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

import shiboken6
from PySide6.QtCore import QMessageLogContext, QObject, QtMsgType, Signal, qInstallMessageHandler

from mmviewer.core.errors import MMViewerError
from mmviewer.engine.protocol import ErrorReport

_LOG_BYTES = 1_000_000
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}

logger = logging.getLogger(__name__)


class CrashReporter(QObject):
    """Catches unexpected errors while installed; the window shows them, the log keeps them.

    The signal is emitted from the thread of the error; Qt carries it to the window's.
    """

    happened = Signal(object)
    """`ErrorReport`."""

    def install(self) -> None:
        """Take over the hooks of Python and Qt."""
        self._former = sys.excepthook, threading.excepthook
        sys.excepthook = self._on_error
        threading.excepthook = lambda args: self._on_error(
            args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
        )
        qInstallMessageHandler(_on_qt_message)

    def uninstall(self) -> None:
        """Give the hooks back."""
        sys.excepthook, threading.excepthook = self._former
        qInstallMessageHandler(None)

    def _on_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        details = "".join(traceback.format_exception(kind, error, trace))
        logger.error("unexpected error\n%s", details)
        sentence = (
            error.message
            if isinstance(error, MMViewerError)
            else f"Something went wrong in the window ({kind.__name__}); please report it with the details."
        )
        if shiboken6.isValid(self):  # at the very end of the process Qt may be gone already
            self.happened.emit(ErrorReport(kind.__name__, sentence, details))


def start_log(folder: Path) -> Path:
    """Log to a file in `folder` that is kept small, and to nothing else; native crashes too."""
    path = folder / "window.log"
    root = logging.getLogger("mmviewer")
    root.setLevel(logging.INFO)
    try:
        handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return path  # a full or closed disk must not keep the window from opening
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    if sys.stderr is not None and not faulthandler.is_enabled():
        faulthandler.enable()
    return path


def _on_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logging.getLogger("mmviewer.qt").log(_QT_LEVELS[kind], "%s (%s)", message, context.category or "")
