"""Progress through a file, and a request to stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import Cancelled
from audit.progress import CANCEL, Progress, Reporter, read_progress


def test_the_file_says_what_the_listener_hears(tmp_path: Path) -> None:
    heard: list[float] = []
    reporter = Reporter(tmp_path, 4.0, listen=lambda p: heard.append(p.fraction))
    reporter.begin("behaviour.recall", "npo", 1.0)
    reporter.step(0.5, "half", force=True)
    # One of four parts is half done: 0.125.
    assert read_progress(tmp_path).fraction == heard[-1] == 0.125
    assert read_progress(tmp_path).message == "half"
    reporter.end()
    reporter.begin("drift.cka", "npo", 3.0)
    assert read_progress(tmp_path).fraction == 0.25
    reporter.finish("done")
    assert (read_progress(tmp_path).state, read_progress(tmp_path).fraction) == ("done", 1.0)


def test_what_was_taken_over_does_not_shorten_the_time_left(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, 10.0)
    reporter.begin("a", "x", 9.0)
    reporter.end(skipped=True)
    reporter.begin("b", "x", 1.0)
    assert read_progress(tmp_path).eta_seconds is None  # nothing was worked yet: no guess


def test_a_request_to_stop_is_heard(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, 1.0)
    (tmp_path / CANCEL).touch()
    with pytest.raises(Cancelled):
        reporter.step(0.1, force=True)


def test_an_unreadable_file_is_no_progress(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == Progress()
    (tmp_path / "progress.json").write_text("{")
    assert read_progress(tmp_path) == Progress()
