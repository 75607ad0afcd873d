"""Findings in memory: tables on first use, only what was written since is read again, damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import StoreError
from audit.shelf import Shelf
from audit.store import Run, open_run
from tests.pages.synthetic import plan
from tests.test_store import finding


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.write_plan(plan(["hides"]))
    run.put("hides", finding())
    return run


def test_a_lazy_finding_is_the_same_finding_and_reads_its_tables_once(run: Run) -> None:
    lazy, whole = (open_run(run.path).finding("hides", finding().id, lazy=lazy) for lazy in (True, False))
    assert lazy is not None and whole is not None
    assert lazy.residual == whole.residual and lazy.provenance == whole.provenance
    assert lazy.table.equals(whole.table) and lazy.items.equals(whole.items)
    assert lazy.table is lazy.table


def test_a_damaged_table_is_named_when_it_is_read_and_a_missing_one_at_once(run: Run) -> None:
    path = run.path / "findings" / "hides" / f"{finding().id}.parquet"
    path.write_bytes(b"not parquet")
    lazy = run.finding("hides", finding().id, lazy=True)
    assert lazy is not None and lazy.residual == finding().residual
    with pytest.raises(StoreError, match="cannot be read"):
        _ = lazy.table
    path.unlink()
    with pytest.raises(StoreError, match="is missing"):
        run.finding("hides", finding().id, lazy=True)


def test_a_shelf_gives_the_same_objects_until_something_is_written(run: Run) -> None:
    shelf = Shelf(run.path)
    findings, damaged, stamp = shelf.look()
    assert list(findings["hides"]) == [finding().id] and damaged == []
    assert shelf.look()[0] is findings and shelf.look()[2] == stamp
    run.drop("hides", finding().id)
    assert shelf.look()[0] == {"hides": {}} and shelf.look()[2] != stamp
    run.put("hides", finding())
    (run.path / "findings" / "hides" / f"{finding().id}.json").write_text("{not json", encoding="utf-8")
    assert finding().id in shelf.look()[1][0]
