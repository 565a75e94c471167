"""From exceptions to reports for people."""

from __future__ import annotations

import signal
import traceback

from mmviewer.core.errors import EngineError, MMViewerError, out_of_memory
from mmviewer.engine.protocol import ErrorReport

DEVICE_LOST = 71
"""Exit code of an engine whose device answers no more; only a new process can use it again."""


def report(error: BaseException, doing: str) -> ErrorReport:
    """Describe what ended a job; `doing` completes "Something went wrong inside the engine while ..."."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, MMViewerError):
        return ErrorReport(type(error).__name__, error.message, details)
    if is_fatal(error):
        sentence = f"The device failed while {doing}; the engine starts again, and with it the device."
        return ErrorReport("DeviceError", sentence, details)
    if out_of_memory(error):
        sentence = (
            f"Memory ran out while {doing}, also after the caches were freed; close other programs, choose"
            " fewer or smaller items, a smaller model, or the CPU in the Model panel."
        )
        return ErrorReport("DeviceError", sentence, details)
    sentence = (
        f"Something went wrong inside the engine while {doing}: please report it with the details"
        f" ({type(error).__name__})."
    )
    return ErrorReport(EngineError.__name__, sentence, details)


def is_fatal(error: BaseException) -> bool:
    """Whether the device has failed for the rest of this process, as after an assert in a CUDA kernel."""
    if out_of_memory(error):
        return False
    lost = type(error).__name__ == "AcceleratorError" or "CUDA error:" in str(error)
    return lost or (error.__cause__ is not None and is_fatal(error.__cause__))


def describe_exit(code: int | None) -> str:
    """Say in words how a process ended: "killed by signal 9, perhaps out of memory"."""
    if code is None:
        return "it does not answer"
    if code == DEVICE_LOST:
        return "the device failed"
    if code >= 0:
        return f"exit code {code}"
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"killed by signal {number}"
    if name == "SIGKILL":
        return f"killed by signal {number}, perhaps out of memory"
    if name in {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"}:
        return f"crashed in native code, {name}"
    return f"killed by signal {number}, {name}"
