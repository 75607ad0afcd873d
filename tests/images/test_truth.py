"""On classifiers whose truth is known it comes out, from the case files to the verdict."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.casefile import read_plan
from audit.catalogue import CATALOGUE, evidence_class, make
from audit.collect import collect
from audit.policy import judge, load_policy
from audit.subjects.modality import readable
from audit.types import Finding, Modality, Status, Utility, Verdict
from tests.calibrate import agrees
from tests.conftest import views

VERDICT = (
    "behaviour.recall", "behaviour.probability", "utility.retain", "probes.linear", "probes.transfer",
    "attacks.quantization",
)  # fmt: skip
QUICK = {"attacks.quantization": {"formats": ("int8",)}, "probes.linear": {"nulls": 4}, "probes.transfer": {"nulls": 4}}
Measure = Callable[..., Finding]


@pytest.fixture(scope="module")
def measure(digits_lab: Path, garage: object) -> Measure:
    """One evidence on one candidate of one kind of forgetting; asked twice, measured once."""
    plans = {kind: read_plan(digits_lab / f"{kind}.toml") for kind in ("case", "class", "semantic")}
    known: dict[tuple[str, str, str, bool], Finding] = {}

    def measured(id: str, candidate: str, kind: str = "case", reference: bool = True) -> Finding:
        import dataclasses

        key = id, candidate, kind, reference
        if key not in known:
            case = next(c for c in plans[kind].cases() if c.candidate.name == candidate)
            if not reference:
                case = dataclasses.replace(case, reference=None)
            bench = Bench(case, garage, Cache(views()), audit=(case,))  # type: ignore[arg-type]
            known[key] = collect(id, make(id, QUICK.get(id)), bench, {})
        return known[key]

    return measured


@pytest.mark.parametrize("candidate", ["untouched", "retrained", "head-only", "gradient-ascent"])
def test_the_verdict_is_what_was_made(measure: Measure, candidate: str) -> None:
    found = judge(load_policy(), [measure(id, candidate) for id in VERDICT])
    if candidate == "untouched":
        assert found.verdict is Verdict.PRESENT
    if candidate == "head-only":
        assert found.verdict is Verdict.SUPPRESSED
        assert found.why[0].startswith("probes.")
    if candidate == "retrained":
        assert found.verdict in (Verdict.NO_TRACE, Verdict.INCONCLUSIVE)
        assert found.utility is Utility.KEPT
    if candidate == "gradient-ascent":
        assert found.utility is Utility.DAMAGED


@pytest.mark.parametrize("kind", ["class", "semantic"])
@pytest.mark.parametrize("candidate", ["untouched", "retrained", "head-only", "gradient-ascent"])
def test_the_verdict_is_what_was_made_where_whole_classes_were_forgotten(
    measure: Measure, candidate: str, kind: str, digits_lab: Path
) -> None:
    """No retained image has a forgotten class, so no probe can learn it: only what is recoverable can tell."""
    findings = [measure(id, candidate, kind) for id in (*VERDICT, "attacks.head_transplant")]
    found = judge(load_policy(), findings)
    truth = tomllib.loads((digits_lab / f"{kind}-truth.toml").read_text())
    assert agrees(truth[candidate], found), found
    probes = [finding for finding in findings if finding.id.startswith("probes.")]
    assert {finding.status for finding in probes} == {Status.NOT_APPLICABLE}
    if candidate == "untouched":
        assert found.verdict is Verdict.PRESENT
    if candidate == "head-only":
        assert found.verdict is Verdict.SUPPRESSED
        assert found.why == ("attacks.head_transplant",)
        assert found.utility is Utility.KEPT
    if candidate == "retrained":
        assert found.verdict is Verdict.INCONCLUSIVE, "nothing that is stored was examined, so nothing clears it"
        assert found.utility is Utility.KEPT
    if candidate == "gradient-ascent":
        assert found.verdict not in (Verdict.PRESENT, Verdict.NO_TRACE)
        assert found.utility is Utility.DAMAGED


def test_a_class_case_without_the_transplant_is_not_cleared(measure: Measure) -> None:
    """The naive way, accuracy and a quantised copy: a head that never says the class looks like one that never knew."""
    naive = [id for id in VERDICT if not id.startswith("probes.")]
    verdicts = [
        judge(load_policy(), [measure(id, name, "class") for id in naive]) for name in ("head-only", "retrained")
    ]
    assert [found.verdict for found in verdicts] == [Verdict.INCONCLUSIVE] * 2


def test_a_changed_head_is_seen_through_where_a_whole_class_was_forgotten(measure: Measure) -> None:
    hidden, clean = (measure("attacks.head_transplant", name, "class") for name in ("head-only", "retrained"))
    assert hidden.residual
    assert hidden.residual.low > 0.9
    # A model trained anew has a body of its own, on which the old head means nothing: no number, whichever it is.
    assert clean.status is Status.NOT_IDENTIFIABLE
    assert "it cannot read this body" in clean.reason
    probe = measure("probes.linear", "head-only", "class")
    assert probe.status is Status.NOT_APPLICABLE
    assert "No label of the forget items occurs among the retain items" in probe.reason
    without = measure("attacks.head_transplant", "head-only", "class", reference=False)
    assert without.status is Status.NOT_IDENTIFIABLE


def test_accuracy_is_the_share_that_was_counted_when_the_model_was_made(measure: Measure, digits_lab: Path) -> None:
    import json

    finding = measure("behaviour.accuracy", "head-only", "class")
    table = finding.table.set_index(["images", "subject"])
    for subject, model in (("candidate", "head-only"), ("original", "original"), ("reference", "reference")):
        made = json.loads((digits_lab / "models" / f"class-{model}" / "lab.json").read_text())["recall"]
        assert table.loc[("forget (UA)", subject), "accuracy"] == pytest.approx(made["forget"])
        assert table.loc[("forget (UA)", subject), "published"] == pytest.approx(100 * (1 - made["forget"]))
        assert table.loc[("retain (RA)", subject), "published"] == pytest.approx(100 * made["retain"])
        test = table.xs(subject, level="subject").loc[["test (TA)", "test, forgotten classes"]]
        assert np.average(test["accuracy"], weights=test["items"]) == pytest.approx(made["holdout"])
    assert table.loc[("test, forgotten classes", "candidate"), "accuracy"] == 0
    assert table.loc[("test, forgotten classes", "original"), "accuracy"] > 0.8


def test_membership_inference_as_published(measure: Measure) -> None:
    table = measure("privacy.svc", "head-only").table.set_index(["attack", "subject"])
    assert (table["efficacy"] == 1 - table["member"]).all()
    assert table["attacker"].between(0, 1).all()
    # The original was trained on the wrong labels and is as sure of them as of the others; who never was is not.
    assert table.loc[("confidence", "original"), "member"] > 0.9
    assert table.loc[("confidence", "reference"), "member"] < 0.1
    assert table.loc[("confidence", "candidate"), "member"] < 0.1


def test_neighbours_on_features_and_on_outputs_differ_for_a_changed_head(measure: Measure) -> None:
    table = measure("probes.knn", "head-only").table
    last = table[(table["subject"] == "candidate") & (table["split"] == "forget")]
    states = last[(last["kind"] == "hidden states") & (last["layer"] == last["layer"].max())]["accuracy"].item()
    outputs = last[last["kind"] == "outputs"]["accuracy"].item()
    assert states > 0.95, "below the head nothing was changed"
    assert outputs < states - 0.05


def test_relearning_tests_no_image_that_it_trained_on(measure: Measure, digits_lab: Path, garage: object) -> None:
    from audit.evidence.attacks.relearn import Relearn

    case = next(c for c in read_plan(digits_lab / "case.toml").cases() if c.candidate.name == "head-only")
    bench = Bench(case, garage, Cache(views()), audit=(case,))  # type: ignore[arg-type]
    evidence = Relearn(steps=6, checkpoints=(0, 6), items=30, retain_items=20)
    material = evidence.material(bench, "forget", 0)
    tested = {
        i.image.digest for i, yes in zip(bench.corpus("forget").items, material.tested, strict=True) if yes and i.image
    }
    trained = {i.image.digest for i in (*material.taught, *material.kept) if i.image}
    assert tested
    assert trained
    assert not tested & trained
    finding = collect("attacks.relearn", evidence, bench, {})
    assert finding.status in (Status.MEASURED, Status.NOT_IDENTIFIABLE), finding.reason
    assert finding.candidate


def test_what_needs_words_is_not_applicable_and_says_so(measure: Measure) -> None:
    for id in ("behaviour.rouge", "attacks.gcg", "sae.survival"):
        assert not readable(evidence_class(id), Modality.IMAGES)
        finding = measure(id, "head-only")
        assert finding.status is Status.NOT_APPLICABLE
        assert "sort images into classes" in finding.reason


QUICKLY = sorted(
    id for id in CATALOGUE
    if readable(evidence_class(id), Modality.IMAGES) and not id.startswith(("attacks.relearn", "drift.map"))
)  # fmt: skip


@pytest.mark.parametrize("id", [id for id in QUICKLY if id.startswith(("drift.", "privacy.", "concepts."))])
def test_generic_evidence_reads_classifiers(measure: Measure, id: str) -> None:
    same, other = measure(id, "untouched"), measure(id, "head-only")
    for finding in (same, other):
        assert finding.status is not Status.FAILED, finding.provenance.get("traceback")
    if same.status is Status.MEASURED:
        assert same.residual
        assert (same.residual.value, same.residual.low, same.residual.high) == (1.0, 1.0, 1.0)
    if id.startswith("drift.") and other.status is Status.MEASURED:
        assert other.residual
        assert other.residual.value == 1.0, "nothing below the head was changed"
