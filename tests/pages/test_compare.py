"""The page Compare: a link restores it, filters narrow it, and imported numbers are named as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pages import synthetic
from tests.pages.conftest import Open, charts, texts

CANDIDATES = ["hides", "untouched"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one audit; in the later one a candidate comes from another checkpoint."""
    root = tmp_path_factory.mktemp("two")
    synthetic.build(root / "first", CANDIDATES)
    shutil.copytree(root / "first", root / "second")
    plan = json.loads((root / "second" / "case.json").read_text())
    plan["candidates"][0]["fingerprint"] = "1" * 32
    (root / "second" / "case.json").write_text(json.dumps(plan))
    return root


def test_a_link_restores_runs_measure_and_filters(open_page: Open, two: Path) -> None:
    app = open_page("compare", runs=two, forgetting="probes.linear", only_candidate=["hides"])
    app.query_params["runs"] = ["first", "second"]
    app.run()
    assert not app.exception
    assert app.multiselect(key="pick-runs").value == ["first", "second"]
    assert app.selectbox(key="pick-forgetting").value == "probes.linear"
    assert "Of 2 candidates" in texts(app)
    assert "untouched" not in charts(app)[0] and "hides" in charts(app)[0]


def test_two_runs_say_what_changed_and_what_they_do_not_share(open_page: Open, two: Path) -> None:
    app = open_page("compare", runs=two)
    app.query_params["runs"] = ["first", "second"]
    app.run()
    assert not app.exception
    assert "0 of 2 verdicts changed." in texts(app)
    assert "do not share: fingerprint of hides" in texts(app)
    assert len(charts(app)) == 2


def test_one_run_asks_for_a_second(open_page: Open, two: Path) -> None:
    app = open_page("compare", runs=two)
    assert not app.exception
    assert "Choose a second audit" in texts(app)
