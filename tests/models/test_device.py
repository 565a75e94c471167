"""Choosing a device, and what is said when memory runs out."""

from __future__ import annotations

import psutil
import pytest
import torch

from mmviewer.core.errors import DeviceError
from mmviewer.core.models import device

CPU = torch.device("cpu")
HAS_GPU = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()


def test_the_cpu_computes_in_float32():
    placement = device.choose_placement("cpu")
    assert (placement.device, placement.dtype) == (CPU, torch.float32)
    assert placement.reason == "the CPU was chosen; float32, the exact choice on a CPU"


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_without_a_gpu_the_reason_is_said():
    placement = device.choose_placement()
    assert placement.device == CPU
    assert "no CUDA device" in placement.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_is_taken_and_named():
    placement = device.choose_placement()
    assert placement.device.type == "cuda"
    assert torch.cuda.get_device_name(0) in placement.reason
    used, total = device.memory(placement.device)
    assert 0 <= used <= total


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_named_device_that_is_missing_is_an_error():
    with pytest.raises(DeviceError, match=r"cuda:0 was chosen, but no CUDA device .*; choose auto, cpu"):
        device.choose_placement("cuda:0")


def test_an_index_too_high_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Example")
    with pytest.raises(
        DeviceError, match=r"cuda:3 was chosen, but there are only 1; choose auto, cuda:0 or cpu"
    ):
        device.choose_placement("cuda:3")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cuda:x"])
def test_names_that_are_no_device_are_errors(name):
    with pytest.raises(DeviceError, match="choose auto"):
        device.choose_placement(name)


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("float16", torch.float16)])
def test_a_named_dtype_is_taken(name, dtype):
    assert device.choose_placement("cpu", name).dtype is dtype


def test_an_unknown_dtype_is_an_error():
    with pytest.raises(DeviceError, match="no number format 'int3'"):
        device.choose_placement("cpu", "int3")


def test_the_automatic_order_prefers_cuda_and_halves(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Example")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    placement = device.choose_placement()
    assert str(placement.device) == "cuda:0"
    assert placement.dtype is torch.float16
    assert placement.reason.startswith("Example (CUDA) answers")
    with pytest.raises(DeviceError, match="cannot compute in bfloat16"):
        device.choose_placement("cuda", "bfloat16")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=repr,
)
def test_running_out_of_memory_becomes_a_sentence(error):
    with (
        pytest.raises(DeviceError, match="Captioning ran out of memory on cpu; close") as caught,
        device.memory_errors(CPU, "Captioning"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_a_real_allocation_that_is_too_large_is_recognised():
    with pytest.raises(DeviceError, match="ran out of memory"), device.memory_errors(CPU, "This"):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), device.memory_errors(CPU, "This"):
        raise RuntimeError("something else")


def test_what_does_not_fit_is_refused_before():
    device.ensure_fits(1000, CPU, "This capture")
    with pytest.raises(
        DeviceError, match=r"This capture needs about .* GiB, but only .* GiB are free on cpu"
    ):
        device.ensure_fits(psutil.virtual_memory().total * 2, CPU, "This capture")


def test_memory_of_the_cpu_is_that_of_the_process():
    used, total = device.memory(CPU)
    assert 0 < used < total == psutil.virtual_memory().total


def test_threads_follow_the_environment(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert device.use_threads() == 1
    assert device.use_threads(2) == 2
    torch.set_num_threads(before)


def test_the_cpu_is_always_listed():
    assert device.devices()[-1][0] == "cpu"
