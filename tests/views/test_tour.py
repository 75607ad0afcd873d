"""The tour tells what the findings say: its numbers are theirs, and a missing one is said to be missing."""

from __future__ import annotations

from pathlib import Path

from audit.figures.style import percent
from audit.policy import load_policy
from audit.store import open_run
from audit.views.ladder import ladder
from audit.views.tour import RECOVERED, SAID, STORED, stops

DEMO = Path(__file__).parent.parent.parent / "assets" / "demo" / "run"


def test_five_steps_whose_numbers_are_the_findings() -> None:
    run = open_run(DEMO)
    findings = {name: {f.id: f for f in run.findings(name)} for name in run.candidates}
    name, steps = stops(run.plan, findings, ladder(findings, load_policy()))
    assert [step.page for step in steps] == ["overview", "behaviour", "probes", "attacks", "overview"]
    forget = run.plan["corpora"]["forget"]
    assert str(forget["items"]) in steps[0].text and str(forget["entities"]) in steps[0].text
    for step, id in zip(steps[1:4], (SAID, STORED, RECOVERED), strict=True):
        finding = findings[name][id]
        assert finding.candidate is not None and finding.reference is not None
        for estimate in (finding.candidate, finding.reference):
            assert percent(estimate.value) in step.text, (id, step.text)
    assert "Suppressed" in steps[4].text or "suppressed" in steps[4].text
    assert "cannot" in steps[4].title


def test_without_a_number_the_tour_says_so() -> None:
    run = open_run(DEMO)
    findings = {name: {f.id: f for f in run.findings(name) if f.id != SAID} for name in run.candidates}
    _, steps = stops(run.plan, findings, ladder(findings, load_policy()))
    assert "This audit did not." in steps[1].text
    assert "%" not in steps[1].text
