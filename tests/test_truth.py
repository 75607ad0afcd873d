"""What the lab knows to be true is what the verdict says: tiny lab, one seed, with and without the reference."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from audit.casefile import read_plan
from audit.policy import judge, load_policy
from audit.run import run_audit
from audit.store import Run
from tests.calibrate import agrees, expected
from tests.conftest import STORE, views
from tests.test_run import case_with

NAMES = {
    "reference": ("untouched", "retrained", "last-block", "gradient-ascent"),
    # What hides and what never knew; the others against the holdout are judged by `make calibrate`, on three seeds.
    "holdout": ("retrained", "last-block"),
}


@pytest.fixture(scope="module", params=NAMES)
def audited(request: pytest.FixtureRequest, tiny_lab: Path) -> Run:
    """All that a verdict consults, on candidates of which something is true; kept between test runs like the lab."""
    folder = STORE / f"truth-{views().name}-{request.param}"
    folder.mkdir(parents=True, exist_ok=True)
    case = case_with(tiny_lab, folder, *NAMES[request.param])
    if request.param == "holdout":
        text = case.read_text()
        begin, end = text.index("[subjects.reference]"), text.index("[[subjects.candidates]]")
        case.write_text(text[:begin] + text[end:])
    consulted = [id for rule in load_policy().rules.values() for id in rule.evidence]
    return run_audit(read_plan(case), folder / "run", only=consulted, device="cpu").run


@pytest.mark.parametrize(
    ("audited", "name"), [(null, name) for null, names in NAMES.items() for name in names], indirect=["audited"]
)
def test_the_verdict_is_the_truth(audited: Run, name: str, tiny_lab: Path) -> None:
    truth: dict[str, Any] = tomllib.loads((tiny_lab / "truth.toml").read_text())
    judgement = judge(load_policy(), audited.findings(name))
    assert name in truth
    assert agrees(truth[name], judgement), f"expected {expected(truth[name])}, found {judgement}"


def test_agreement_can_fail(audited: Run, tiny_lab: Path) -> None:
    """The positive control of this very file: the truth of one candidate does not fit another."""
    truth: dict[str, Any] = tomllib.loads((tiny_lab / "truth.toml").read_text())
    found = {name: judge(load_policy(), audited.findings(name)) for name in audited.candidates}
    pairs = [(a, b) for a in ("retrained", "last-block") for b in ("untouched", "last-block", "retrained") if a != b]
    checked = [(a, b) for a, b in pairs if b in found]
    assert len(checked) >= 2
    for a, b in checked:
        assert not agrees(truth[a], found[b]), (a, b)
