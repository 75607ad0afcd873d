"""What was done to the demo's models is what the evidence inside them says: read from the shipped findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.policy import judge, load_policy
from audit.store import open_run
from audit.types import Finding, Residual, Status, Utility

DEMO = Path(__file__).parent.parent.parent / "assets" / "demo" / "run"
INSIDE = ("sae.survival", "probes.transfer", "concepts.value_vectors")
Findings = dict[str, dict[str, Finding]]


@pytest.fixture(scope="module")
def demo() -> Findings:
    """Findings of the shipped audit, by candidate and id."""
    run = open_run(DEMO)
    return {name: {finding.id: finding for finding in run.findings(name)} for name in run.candidates}


def residual(demo: Findings, name: str, id: str) -> Residual:
    found = demo[name][id].residual
    assert found is not None, demo[name][id].reason
    return found


@pytest.mark.parametrize("id", INSIDE)
def test_the_original_shows_no_change_and_a_retrained_model_is_at_its_null(demo: Findings, id: str) -> None:
    own = residual(demo, "untouched", id)
    assert (own.value, own.low, own.high) == (1.0, 1.0, 1.0)
    never = residual(demo, "retrained", id)
    assert never.low < 0.05
    assert abs(never.value) < 0.1


def test_an_edit_of_the_last_block_leaves_features_and_probes_as_they_were(demo: Findings) -> None:
    assert residual(demo, "last-block", "sae.survival").low >= 0.9
    assert residual(demo, "last-block", "probes.transfer").low >= 0.9


def test_an_edit_of_the_last_block_leaves_every_vector_below_it(demo: Findings) -> None:
    table = demo["last-block"]["concepts.value_vectors"].table.query("subject == 'candidate'")
    last = table["layer"].max()
    assert set(table[table["layer"] < last]["cosine"]) == {1.0}
    assert table[table["layer"] == last]["cosine"].max() < 1.0


def test_an_edit_of_the_last_block_and_one_of_everything_are_told_apart_in_words(demo: Findings) -> None:
    note = {name: found["concepts.weight_delta"].note for name, found in demo.items()}
    assert note["untouched"].startswith("Every weight is bit-identical")
    assert note["last-block"].startswith("Only the last block differs; blocks 0 to 2")
    assert note["rmu"].startswith("Only blocks 0 and 1 differ")
    for name in ("gradient-ascent", "npo", "retrained"):
        assert note[name].startswith("Every part of the model differs")


def test_gradient_ascent_is_damaged_and_the_others_are_not(demo: Findings) -> None:
    policy = load_policy()
    utility = {name: judge(policy, list(found.values())).utility for name, found in demo.items()}
    assert utility["gradient-ascent"] is Utility.DAMAGED
    assert {utility[name] for name in ("untouched", "retrained", "last-block", "npo")} == {Utility.KEPT}
    ranks = {
        name: found["drift.rank"].table.query("subject == 'candidate' and split == 'retain' and layer > 0")["ratio"]
        for name, found in demo.items()
    }
    assert min(ranks, key=lambda name: ranks[name].mean()) == "gradient-ascent"


def test_shuffled_labels_and_random_features_do_nothing(demo: Findings) -> None:
    survival = demo["last-block"]["sae.survival"].table.query("split == 'forget'")
    assert survival["shuffled"].mean() == pytest.approx(survival["chance"].mean(), abs=0.05)
    transfer = demo["last-block"]["probes.transfer"].table.query("split == 'forget' and layer > 0")
    assert transfer["shuffled"].mean() == pytest.approx(transfer["chance"].mean(), abs=0.05)
    clamp = demo["last-block"]["sae.clamp"].table.query("subject == 'original'").groupby("features")["fall"].mean()
    assert abs(clamp["random"]) < 0.2 * clamp["chosen"]
    vectors = demo["last-block"]["concepts.value_vectors"].table.query("subject == 'original'")
    assert vectors["drop_others"].mean() < 0.2 * vectors["drop"].mean()


def test_nothing_inside_failed(demo: Findings) -> None:
    for found in demo.values():
        for id, finding in found.items():
            assert finding.status is not Status.FAILED, (id, finding.reason)
