"""What pages share, without opening one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from audit.figures.style import looks
from audit.policy import load_policy
from audit.store import list_runs
from audit.views import intake, returned
from pages.shared import kept, reading, show, state
from tests.pages import synthetic
from tests.views.test_intake import GOOD


class Shown:
    """As much of a view as a sentence needs: findings of two candidates, of which one is drawn."""

    findings = {
        name: {"behaviour.recall": synthetic.found("behaviour.recall", name)} for name in ("hides", "untouched")
    }
    shown = ["hides"]
    policy = load_policy()
    running = False


def test_the_alternative_text_says_what_is_found_in_what_is_drawn() -> None:
    view: Any = Shown()
    drawn = show.alt(view, "behaviour.recall", "Bars.")
    assert drawn.startswith("Bars. hides: recall finds") and "untouched" not in drawn
    both = show.alt(view, "behaviour.recall", "Bars.", list(view.findings))
    assert "untouched still says it" in both


def test_findings_that_are_not_there_take_no_place_and_what_is_kept_follows_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = synthetic.Run(tmp_path / "new")
    run.write_plan(synthetic.plan(["hides"]))
    run.put("hides", synthetic.found("behaviour.recall", "hides"))
    read: list[str] = []
    real = synthetic.Run.finding
    monkeypatch.setattr(
        synthetic.Run, "finding", lambda run, name, id, lazy=False: read.append(id) or real(run, name, id, lazy=lazy)
    )
    monkeypatch.setattr(state, "looks_now", looks)
    (info,) = list_runs(tmp_path)
    first = state.load("new", info)
    assert read == ["behaviour.recall"] and list(first.findings["hides"]) == read
    assert [row.name for row in first.rows] == ["hides"]
    assert kept.by_chance(first)["hides"].items is None  # no attack was measured
    assert kept.came_back(first) is kept.came_back(state.load("new", info))
    run.put("hides", synthetic.found("attacks.relearn", "hides"))
    second = state.load("new", info)
    assert read == ["behaviour.recall", "attacks.relearn"]  # only what was written since
    assert second.stamp != first.stamp and len(kept.came_back(second))
    assert kept.by_chance(second) == returned.by_chance(second.chosen, second.policy)


def test_a_form_is_read_once_until_a_file_that_it_names_changes(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = reading.draft(GOOD, case)
    assert known.digest == known.plan.digest
    assert reading.draft(dataclasses.replace(GOOD), case) is known
    with (case / "forget.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": "more?", "answer": "more", "entity": "e"}\n')
    again = reading.draft(GOOD, case)
    assert again.digest != known.digest and len(again.plan.corpora["forget"]) == 4
    intake.write_plan(case / "case.toml", intake.case_data(GOOD, case))
    from_file = reading.case_file("case.toml", case)
    assert reading.case_file("case.toml", case) is from_file
    with (case / "retain.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": "another?", "answer": "more", "entity": "e"}\n')
    assert len(reading.case_file("case.toml", case).plan.corpora["retain"]) == 4
