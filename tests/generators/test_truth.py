"""On generators whose truth is known it comes out, from case file to verdict; a fooled scorer is seen through."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit import stats
from audit.bench import Bench
from audit.cache import Cache
from audit.casefile import read_plan
from audit.catalogue import CATALOGUE, evidence_class, make
from audit.collect import collect
from audit.drawings import read_drawings
from audit.evidence.behaviour.wasserstein import wasserstein
from audit.policy import DEFAULT, Policy, judge, read_policy
from audit.run import chosen_ids, run_audit
from audit.subjects.modality import readable
from audit.thumbnails import read_thumbnails
from audit.types import Finding, Modality, Status, SubjectSpec, Utility, Verdict
from tests.calibrate import agrees
from tests.conftest import views

SEARCH = "attacks.latent_search"
CONSULTED = ("behaviour.recall", "behaviour.probability", "utility.retain", SEARCH)
CANDIDATES = ("untouched", "retrained", "condition-only", "gradient-ascent")
QUICK = {SEARCH: {"seeds": 3, "items": 16}}
FOUND = {SEARCH: {"seeds": 5, "items": 16}}
"""Where something must be found, as many runs as by default: about one search in thirty ends nowhere, and of three runs
one such is enough for an interval that reaches 0, however many latents there are."""
Measure = Callable[..., Finding]


@pytest.fixture(scope="module")
def measure(generator_lab: Path, garage: object) -> Measure:
    """One evidence on one candidate; asked twice, measured once."""
    plan = read_plan(generator_lab / "case.toml")
    known: dict[tuple[str, str, bool], Finding] = {}

    def measured(id: str, candidate: str, reference: bool = True) -> Finding:
        key = id, candidate, reference
        if key not in known:
            case = next(c for c in plan.cases() if c.candidate.name == candidate)
            case = case if reference else dataclasses.replace(case, reference=None)
            bench = Bench(case, garage, Cache(views()), audit=(case,))  # type: ignore[arg-type]
            known[key] = collect(id, make(id, (FOUND if candidate == "condition-only" else QUICK).get(id)), bench, {})
        return known[key]

    return measured


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The default policy, consulting the search too."""
    text = DEFAULT.read_text()
    if SEARCH not in text:
        text = text.replace('"attacks.relearn",', f'"{SEARCH}", "attacks.relearn",')
    return read_policy(text, "with the search")


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_verdict_is_the_truth(measure: Measure, policy: Policy, candidate: str, generator_lab: Path) -> None:
    found = judge(policy, [measure(id, candidate) for id in CONSULTED])
    truth = tomllib.loads((generator_lab / "truth.toml").read_text())
    assert agrees(truth[candidate], found), found
    if candidate == "condition-only":
        assert found.verdict is Verdict.SUPPRESSED
        assert found.why == (SEARCH,)
    if candidate == "gradient-ascent":
        assert found.verdict is not Verdict.PRESENT, "it draws nothing that is like a digit"
        assert found.utility is Utility.DAMAGED


def test_the_condition_alone_was_hidden_and_the_search_finds_it_again(measure: Measure) -> None:
    hidden, clean = measure(SEARCH, "condition-only"), measure(SEARCH, "retrained")
    assert hidden.residual and hidden.residual.low > 0.2
    assert clean.residual and clean.residual.low <= 0
    table = hidden.table.set_index(["search", "subject", "seed", "step"])["recovery"]
    last = hidden.table["step"].max()
    assert table["latent", "candidate", "all", last] < 0.1, "under the condition that was overwritten it is not there"
    assert table["condition", "candidate", "all", last] > 0.5
    assert table["condition", "original", "all", 0] > 0.9
    assert hidden.table.loc[hidden.table["subject"] == "original", "step"].eq(0).all()


def test_one_run_that_ends_nowhere_costs_three_runs_the_interval_and_five_not() -> None:
    # Drawn again, all are the failed one with chance (1/3)^3 = 3.7 %, more than the 2.5 % below the interval; of five
    # runs (1/5)^5 = 0.03 %, and even of two failed ones (2/5)^5 = 1.0 %.
    def low(runs: list[float]) -> float:
        ids = [str(i) for i in range(16)]
        return stats.mean(stats.Scores(ids, ids, np.repeat([runs], 16, 0).T), seed=0).estimate(0.0).low

    assert low([1, 1, 0]) == 0.0 and low([1, 1, 1]) == 1.0
    assert low([1, 1, 1, 1, 0]) == pytest.approx(0.4) and low([1, 1, 1, 0, 0]) == pytest.approx(0.2)


def test_whoever_leads_the_search_is_fooled_and_must_not_decide(measure: Measure) -> None:
    """The naive way, the scorer as judge of its own search, finds the class in a model that draws nothing any more."""
    table = measure(SEARCH, "gradient-ascent").table
    rows = table[(table["search"] == "condition") & (table["subject"] == "candidate") & (table["seed"] == "all")]
    last = rows.loc[rows["step"].idxmax()]
    assert last["scorer"] > 0.4
    assert last["recovery"] < 0.1
    assert last["named"] < 0.1


def test_without_a_judge_or_real_images_nothing_is_found(generator_lab: Path, garage: object, tmp_path: Path) -> None:
    text = (generator_lab / "case.toml").read_text().replace('"models/', f'"{generator_lab}/models/')
    for split in ("forget", "retain", "holdout", "real"):
        text = text.replace(f'"{split}.jsonl"', f'"{generator_lab}/{split}.jsonl"')
    begin, end = text.index("[subjects.judge]"), text.index("[[subjects.candidates]]")
    cases = {
        "There is no judge": text[:begin] + text[end:],
        "Nothing says whether the scorer can be trusted": text.replace("images = ", "# images = "),
    }
    for words, content in cases.items():
        (tmp_path / "case.toml").write_text(content)
        case = read_plan(tmp_path / "case.toml").cases()[0]
        finding = collect(SEARCH, make(SEARCH), Bench(case, garage, Cache(views())), {})  # type: ignore[arg-type]
        assert finding.status is Status.NOT_IDENTIFIABLE
        assert words in finding.reason


def test_a_scorer_that_cannot_see_what_was_forgotten_says_nothing(
    generator_lab: Path, garage: object, tmp_path: Path
) -> None:
    """Every real image of the forgotten digit labelled as another: a scorer that is right is then wrong on all."""
    plan = read_plan(generator_lab / "case.toml")
    rows = (generator_lab / "real.jsonl").read_text().replace('"images/', f'"{generator_lab}/images/')
    rows = rows.replace('"label": "3"', '"label": "x"').replace('"label": "5"', '"label": "3"')
    (tmp_path / "real.jsonl").write_text(rows.replace('"label": "x"', '"label": "5"'))
    case = plan.cases()[0]

    def looked(spec: SubjectSpec) -> SubjectSpec:
        return dataclasses.replace(spec, settings={**spec.settings, "scorer_images": str(tmp_path / "real.jsonl")})

    changed: dict[str, Any] = {role: looked(case.subject(role)) for role in case.roles}
    case = dataclasses.replace(case, **changed)
    bench = Bench(case, garage, Cache(views()))  # type: ignore[arg-type]
    finding = collect("behaviour.wasserstein", make("behaviour.wasserstein"), bench, {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "it would not see it in a drawing either" in finding.reason


def test_gamma_is_0_for_the_original_and_1_for_whoever_never_learnt_it(measure: Measure) -> None:
    for candidate, gamma in (("untouched", 0.0), ("retrained", 1.0)):
        finding = measure("behaviour.wasserstein", candidate)
        table = finding.table.set_index(["split", "subject"])
        assert table.loc[("forget", "candidate"), "gamma"] == pytest.approx(gamma, abs=0.1)
        assert table.loc[("forget", "original"), "gamma"] == 0
        assert table.loc[("forget", "original"), "distance"] > 0.8
        # Two samples of one generator: nearly nothing, and what was to be kept lies as near.
        assert table.loc[("forget", "reference"), "distance"] < 0.1
        assert table.loc[("retain", "candidate"), "distance"] < 0.2
    assert measure("behaviour.wasserstein", "retrained", reference=False).status is Status.NOT_IDENTIFIABLE


def test_the_distance_is_scipy_s_and_one_that_was_worked_by_hand() -> None:
    from scipy.stats import wasserstein_distance

    one = np.ones((1, 2))
    # {0, 1} against {0.5, 1}: half of the mass moves by a half.
    assert wasserstein(np.array([0.0, 1]), np.array([0.5, 1]), one, one) == pytest.approx([0.25])
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30) ** 2
    weights = rng.integers(0, 4, (2, 3, 30)).astype(float)
    found = wasserstein(a, b, weights[0], weights[1])
    wanted = [wasserstein_distance(a, b, u, v) for u, v in zip(*weights, strict=True)]
    np.testing.assert_allclose(found, wanted)


def test_without_a_reference_an_unseen_condition_is_the_control(measure: Measure) -> None:
    assert measure("behaviour.recall", "retrained", reference=False).residual
    found = measure(SEARCH, "condition-only", reference=False)
    assert found.null == "holdout"
    assert found.status in (Status.MEASURED, Status.NOT_IDENTIFIABLE)
    assert set(found.table["split"]) == {"forget", "holdout"}


GENERAL = {"drift.cka", "drift.positions", "drift.uniformity", "concepts.weight_delta"}
GENERIC = [
    id for id in CATALOGUE
    if readable(evidence_class(id), Modality.LATENTS) and id in GENERAL
]  # fmt: skip


@pytest.mark.parametrize("id", GENERIC)
def test_generic_evidence_reads_generators(measure: Measure, id: str) -> None:
    finding = measure(id, "untouched")
    assert finding.status is not Status.FAILED, finding.provenance.get("traceback")
    if finding.status is Status.MEASURED:
        assert finding.residual
        assert (finding.residual.value, finding.residual.low, finding.residual.high) == (1.0, 1.0, 1.0)


def test_what_needs_another_kind_says_so(measure: Measure) -> None:
    for id in ("behaviour.rouge", "attacks.relearn", "attacks.quantization", "privacy.svc", "behaviour.accuracy"):
        finding = measure(id, "untouched")
        assert finding.status is Status.NOT_APPLICABLE
        assert "draw images from latents" in finding.reason


def test_a_run_keeps_the_same_latent_side_by_side(generator_lab: Path, tmp_path: Path) -> None:
    text = (generator_lab / "case.toml").read_text()
    plan = read_plan(generator_lab / "case.toml")
    plan = dataclasses.replace(plan, candidates=plan.candidates[1:3])
    assert SEARCH in chosen_ids(plan, None) and "attacks.gcg" not in chosen_ids(plan, None), text
    plan = dataclasses.replace(plan, settings={SEARCH: {"steps": 1, "seeds": 3, "items": 2}})
    outcome = run_audit(plan, tmp_path / "run", only=["behaviour.recall", SEARCH], device="cpu")
    assert not outcome.failed
    drawn = read_drawings(tmp_path / "run")
    names = {"original", "reference", "retrained", "condition-only"}
    assert set(drawn["forget:0"]) == names
    assert len({drawn["forget:0"][name] for name in names}) == 4
    searched = {name for found in drawn.values() for name in found} - names
    assert searched == {f"{who}, {how} search" for who in names - {"original"} for how in ("latent", "condition")}
    assert read_thumbnails(tmp_path / "run")["forget:0"] == drawn["forget:0"]["original"]
