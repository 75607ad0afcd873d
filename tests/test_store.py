"""A run on disk: what is written can be read back, and what is half-written cannot."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit import store
from audit.errors import StoreError
from audit.store import Run, list_runs, open_run
from audit.types import Chart, Estimate, Finding, Residual, Status


def finding(id: str = "behaviour.recall", status: Status = Status.MEASURED, value: float = 0.5) -> Finding:
    return Finding(
        id, status, "because", {"measure": "contains"},
        pd.DataFrame({"subject": ["candidate"], "score": [value]}),
        pd.DataFrame({"item": ["forget:0"], "score": [value]}), Chart("bar", "x", "y", hover=("a", "b")),
        Estimate(1.0, 0.9, 1.0, 0.1, 20), Estimate(value, 0.4, 0.6, 0.1, 20), None,
        Residual(value, 0.4, 0.6, (0.4, 0.6)), 1.5, {"key": "k"}, "said", "holdout", "A note.",
    )  # fmt: skip


def new_run(path: Path) -> Run:
    run = Run(path)
    path.mkdir(parents=True)
    run.write_plan({"name": "A", "candidates": [{"name": "npo"}], "evidence": ["behaviour.recall"]})
    return run


def test_a_finding_comes_back_as_it_was(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    run.put("npo", finding())
    back = open_run(tmp_path / "r").finding("npo", "behaviour.recall")
    assert back is not None
    for name in (
        "status",
        "reason",
        "chart",
        "original",
        "candidate",
        "reference",
        "residual",
        "place",
        "null",
        "note",
    ):
        assert getattr(back, name) == getattr(finding(), name)
    pd.testing.assert_frame_equal(back.table, finding().table)
    pd.testing.assert_frame_equal(back.items, finding().items)


def test_absent_findings_are_none_and_unknown_candidates_an_error(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    assert run.finding("npo", "drift.cka") is None
    assert run.findings("npo") == []
    with pytest.raises(StoreError, match='no candidate "npu"'):
        run.findings("npu")


def test_the_manifest_is_last_and_means_complete(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    run.put("npo", finding())
    assert not run.complete
    run.write_manifest({"failed": []})
    assert run.complete
    files = json.loads((tmp_path / "r" / "manifest.json").read_text())["files"]
    assert set(files) == {
        "case.json", *(f"findings/npo/behaviour.recall{end}" for end in (".json", ".parquet", ".items.parquet")),
    }  # fmt: skip
    run.write_plan(run.plan)
    assert not run.complete  # a resumed run is not complete until it ends again


def test_a_failed_finding_is_measured_again(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    run.put("npo", finding())
    found = run.measured_on("npo", "behaviour.recall")
    assert found is not None and found["key"] == "k"
    run.put("npo", finding(status=Status.FAILED))
    assert run.measured_on("npo", "behaviour.recall") is None


def test_a_full_disk_leaves_earlier_findings_intact(tmp_path: Path, monkeypatch: Any) -> None:
    run = new_run(tmp_path / "r")
    run.put("npo", finding(value=0.5))

    def full(table: pd.DataFrame, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_parquet", full)
    with pytest.raises(StoreError, match="disk is full"):
        run.put("npo", finding(value=0.9))
    back = run.finding("npo", "behaviour.recall")
    assert back is not None
    assert back.table["score"].tolist() == [0.5]
    assert not list((tmp_path / "r").rglob("*.tmp"))


def test_two_runs_never_write_one_folder(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    with run.hold(), pytest.raises(StoreError, match="Another process"), Run(tmp_path / "r").hold():
        pass


def test_what_is_not_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no case.json"):
        open_run(tmp_path)
    (tmp_path / "case.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        open_run(tmp_path)
    (tmp_path / "case.json").write_text('{"schema": 99}')
    with pytest.raises(StoreError, match="format 99"):
        open_run(tmp_path)


def test_a_damaged_table_is_said(tmp_path: Path) -> None:
    run = new_run(tmp_path / "r")
    run.put("npo", finding())
    (tmp_path / "r" / "findings" / "npo" / "behaviour.recall.parquet").write_bytes(b"x")
    with pytest.raises(StoreError, match="cannot be read"):
        run.finding("npo", "behaviour.recall")


def test_runs_are_listed_without_the_unreadable_ones(tmp_path: Path) -> None:
    new_run(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "case.json").write_text("{")
    assert [info.name for info in list_runs(tmp_path)] == ["A"]
    assert list_runs(tmp_path / "absent") == []
