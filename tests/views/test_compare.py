"""Runs beside each other: rungs apart, imported numbers in no verdict, and what changed with the reason beside it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.cli import main
from audit.figures.compare import before_after, tradeoff
from audit.figures.style import looks
from audit.policy import load_policy
from audit.store import Run, open_run
from audit.types import Residual
from audit.views import changes, compare
from audit.views.compare import Compared
from audit.views.ladder import ladder
from tests.pages import synthetic

FLAT = Residual(0.0, -0.05, 0.05, tuple(-0.05 + 0.1 * i / 48 for i in range(49)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return synthetic.build(tmp_path_factory.mktemp("compare") / "people")


@pytest.fixture
def people(run: Run) -> Compared:
    return compare.compared("people", run, load_policy())


def later(people: Compared, **replaced: Any) -> Compared:
    """The same audit again, in which one finding of one candidate came out otherwise."""
    findings = {name: dict(found) for name, found in people.findings.items()}
    findings["hides"]["probes.linear"] = dataclasses.replace(findings["hides"]["probes.linear"], **replaced)
    return dataclasses.replace(people, id="later", findings=findings, rows=ladder(findings, load_policy()))


def test_rungs_are_kept_apart_and_read_as_the_policy_reads_them(people: Compared) -> None:
    points = compare.points([people], load_policy())
    assert list(points[points["candidate"] == "hides"]["panel"]) == ["Said", "Stored", "Recoverable"]
    row = next(row for row in people.rows if row.name == "hides")
    stored = points[(points["candidate"] == "hides") & (points["panel"] == "Stored")].iloc[0]
    rung, kept = row.judgement.rungs["stored"].residual, people.findings["hides"]["utility.retain"].residual
    assert rung and stored["value"] == rung.value
    assert kept and stored["x"] == kept.value


def test_one_measure_is_one_panel_and_what_is_missing_has_its_reason(people: Compared) -> None:
    findings = {name: dict(found) for name, found in people.findings.items()}
    del findings["hides"]["probes.linear"]
    points = compare.points([dataclasses.replace(people, findings=findings)], load_policy(), "probes.linear")
    assert set(points["panel"]) == {"Linear probe"}
    gone = points[points["candidate"] == "hides"].iloc[0]
    assert pd.isna(gone["value"]) and "not in this run" in gone["reason"]


def test_the_leaderboard_puts_the_cleanest_verdict_first_and_counts_the_cost(people: Compared) -> None:
    board = compare.board([people], compare.points([people], load_policy()))
    assert list(board["candidate"]) == ["like-retrained", "hides", "untouched"]
    assert board["seconds"].iloc[1] == pytest.approx(sum(f.seconds for f in people.findings["hides"].values()))
    assert board["Stored interval"].str.contains(" to ").all()
    assert list(compare.filtered(board, candidate=["hides"], verdict=[])["candidate"]) == ["hides"]


def test_imported_numbers_have_no_verdict_and_no_residual(people: Compared, tmp_path: Path) -> None:
    run = Run(tmp_path)
    plan = {**people.run.plan, "imported": {"files": []}}
    run.write_plan({key: value for key, value in plan.items() if key != "schema"})
    imported = Compared("files", run, {"hides": {}}, ladder({"hides": {}}, load_policy()))
    points = compare.points([people, imported], load_policy())
    board = compare.board([people, imported], points)
    last = board.iloc[-1]
    assert (last["source"], last["verdict"]) == ("imported", compare.NO_VERDICT)
    assert points[points["source"] == "imported"]["value"].isna().all()
    assert "1 imported, without a verdict" in compare.sentence([people, imported], points)


@pytest.mark.parametrize(
    ("name", "method"),
    [("npo", "NPO"), ("tofu_Llama-3.2-1B_forget10_SimNPO", "SimNPO"), ("gradient-difference", "gradient difference"),
     ("retain90", "retraining"), ("last-block", "last-block"), ("rmu_lr1e5", "RMU")],
)  # fmt: skip
def test_a_method_is_read_from_a_name(name: str, method: str) -> None:
    assert compare.method_of(name) == method


def test_a_run_against_itself_has_not_changed(people: Compared) -> None:
    table, judged = changes.findings(people, people), changes.verdicts(people, people)
    assert not judged["changed"].any()
    assert set(table["change"]) <= {changes.OVERLAP, "unchanged"}
    assert (table["difference"].dropna() == 0).all()
    assert changes.conditions(people, people).empty
    assert "0 of 3 verdicts changed." in changes.sentence(judged, table, changes.conditions(people, people))


def test_a_changed_finding_comes_first_with_what_was_measured_otherwise(people: Compared) -> None:
    settings = {**people.findings["hides"]["probes.linear"].settings, "folds": 7}
    new = later(people, residual=FLAT, settings=settings)
    table = changes.findings(people, new)
    first = table.iloc[0]
    assert (first["candidate"], first["id"], first["change"]) == ("hides", "probes.linear", changes.APART)
    assert "folds" in first["conditions"] and "→ 7" in first["conditions"]
    assert table["change"].eq(changes.APART).sum() == 1
    assert "hides, Linear probe" in changes.spoken(table)


def test_what_one_run_lacks_and_what_they_do_not_share_is_named(people: Compared, tmp_path: Path) -> None:
    other = Run(tmp_path)
    plan = json.loads(json.dumps({k: v for k, v in people.run.plan.items() if k != "schema"}))
    plan["candidates"][0]["fingerprint"] = "1" * 32
    plan["corpora"]["forget"]["digest"] = "1"
    other.write_plan(plan)
    findings = {name: dict(found) for name, found in people.findings.items()}
    del findings["hides"]["probes.linear"]
    new = dataclasses.replace(people, id="later", run=open_run(tmp_path), findings=findings)
    table = changes.findings(people, new)
    gone = table[(table["candidate"] == "hides") & (table["id"] == "probes.linear")].iloc[0]
    assert gone["change"] == changes.ONE and pd.isna(gone["difference"])
    assert list(changes.conditions(people, new)["what"]) == ["fingerprint of hides", "digest of forget"]


def test_the_interval_of_a_difference_by_hand() -> None:
    # 0.8 (0.7 to 0.9) to 0.5 (0.2 to 0.6): change −0.3; low −0.3 − √(0.3² + 0.1²) = −0.616; high −0.3 + √(0.1² + 0.1²)
    change, low, high = changes.difference(Residual(0.8, 0.7, 0.9), Residual(0.5, 0.2, 0.6))
    assert change == pytest.approx(-0.3)
    assert [low, high] == pytest.approx([-0.6162, -0.1586], abs=1e-4)


def test_pictures_draw_what_has_numbers_and_escape_names(people: Compared) -> None:
    points = compare.points([people], load_policy())
    points.loc[points["candidate"] == "hides", "value"] = float("nan")
    hostile = points.assign(candidate=points["candidate"].replace("untouched", synthetic.HOSTILE))
    figure = tradeoff(hostile, looks(list(hostile["candidate"])), *compare.limits(load_policy(), "policy", "policy"))
    assert len(figure.data) == 6
    assert "<img" not in figure.to_json().replace("\\u003c", "<")
    table = changes.findings(people, later(people, residual=FLAT))
    drawn = before_after(table, looks(synthetic.CANDIDATES), ("before", "after"))
    apart = [trace for trace in drawn.data if (trace.name or "").endswith("apart")]
    assert [len(trace.x) for trace in apart] == [1]


def test_the_command_prints_what_the_page_shows(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(run.path), str(run.path), "--json"])
    assert ended.value.code in (0, None)
    told = json.loads(capsys.readouterr().out)
    assert [row["candidate"] for row in told["candidates"]][:2] == ["like-retrained", "like-retrained"]
    assert told["changes"]["sentence"].startswith("0 of 3 verdicts changed.")
