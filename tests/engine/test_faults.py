"""Which exceptions mean what."""

from __future__ import annotations

import pytest

from mmviewer.core.errors import DeviceError, out_of_memory
from mmviewer.engine import faults


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "memory", "fatal"),
    [
        (MemoryError(), True, False),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            True,
            False,
        ),
        (chained(DeviceError("It ran out."), MemoryError()), True, False),
        (RuntimeError("CUDA error: device-side assert triggered"), False, True),
        (chained(DeviceError("It failed."), RuntimeError("CUDA error: an illegal access")), False, True),
        (ValueError("out of memory"), False, False),
        (KeyError("x"), False, False),
    ],
)
def test_kinds(error, memory, fatal):
    assert out_of_memory(error) == memory
    assert faults.is_fatal(error) == fatal


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "does not answer"),
        (3, "exit code 3"),
        (faults.DEVICE_LOST, "the device failed"),
        (-9, "killed by signal 9, perhaps out of memory"),
        (-11, "native code, SIGSEGV"),
        (-15, "killed by signal 15, SIGTERM"),
        (-250, "killed by signal 250"),
    ],
)
def test_exits(code, words):
    assert words in faults.describe_exit(code)


def test_a_report_keeps_the_chain():
    report = faults.report(chained(DeviceError("It failed; try the CPU."), KeyError("kernel")), "testing")
    assert report.message == "It failed; try the CPU."
    assert "KeyError: 'kernel'" in report.details
