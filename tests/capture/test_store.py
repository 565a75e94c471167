"""The store of captured arrays."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mmviewer.core.capture.store import CaptureStore


def array(size: int) -> np.ndarray:
    return np.linspace(0, 1, size, dtype=np.float32)


def test_arrays_come_back_exact_and_read_only():
    store = CaptureStore()
    original = array(100)
    assert store.put("a", [original])
    (kept,) = store.get("a")
    np.testing.assert_array_equal(kept, original)
    original[:] = 7
    assert kept.max() <= 1
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 3


def test_the_least_recently_used_goes_first_and_the_cap_holds():
    store = CaptureStore(cap=800)
    store.put("a", [array(100)])
    store.put("b", [array(100)])
    store.get("a")
    store.put("c", [array(100)])
    assert "a" in store
    assert "b" not in store
    assert store.used == 800
    assert store.get("b") is None


def test_what_is_larger_than_the_cap_is_refused_and_nothing_is_lost():
    store = CaptureStore(cap=800)
    store.put("a", [array(100)])
    assert not store.put("big", [array(150), array(100)])
    assert "a" in store


def test_replacing_dropping_and_clearing_keep_the_account():
    store = CaptureStore()
    store.put(("model", 1), [array(10)])
    store.put(("model", 1), [array(20)])
    store.put(("other", 1), [array(30)])
    assert store.used == 200
    assert store.drop(lambda key: key[0] == "model") == 1
    assert store.used == 120
    store.clear()
    assert (len(store), store.used) == (0, 0)


def test_threads_keep_the_account():
    store = CaptureStore(cap=10_000)

    def work(name: int) -> None:
        for index in range(200):
            store.put((name, index % 7), [array(50)])
            store.get((name, index % 5))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.used == 200 * len(store)
