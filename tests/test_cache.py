"""Views on disk: computed once, never half, by one process at a time."""

from __future__ import annotations

import errno
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from audit.cache import Cache, locked
from audit.errors import StoreError


def test_a_view_is_computed_once(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(3), "said": np.array(["a", "bc"])}

    first, second = cache.arrays("ab12", compute), cache.arrays("ab12", compute)
    assert calls == [1]
    assert first["x"].tolist() == second["x"].tolist() == [0, 1, 2]
    assert second["said"].tolist() == ["a", "bc"]


def test_a_broken_off_view_is_not_taken_for_finished(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def fail(partial: Path) -> None:
        (partial / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.folder("cd34", fail)
    seen: list[bool] = []
    folder = cache.folder("cd34", lambda partial: seen.append((partial / "half").exists()))
    assert seen == [True]  # what the killed run left is handed on
    assert folder.is_dir()


def test_objects_are_never_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Python objects"):
        Cache(tmp_path).arrays("ef56", lambda: {"x": np.array([{}], dtype=object)})


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def full(partial: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="disk is full"):
        Cache(tmp_path).folder("aa", full)


def _fill(root: Path) -> None:
    def slow(partial: Path) -> None:
        with open(root / "calls", "a") as file:
            file.write("x")
        time.sleep(0.3)

    Cache(root).folder("gh78", slow)


def test_two_processes_fill_a_key_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert (tmp_path / "calls").read_text() == "x"


def test_a_lock_that_is_held_is_told(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass
