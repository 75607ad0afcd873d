"""Uniformity, alignment, tolerance: by hand, and controls on planted labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.collect import collect
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.uniformity import Uniformity, uniformity
from audit.stats import conclude
from audit.types import Corpus, Item, Status
from tests.evidence.drift.moved import assert_exactly_as_original, collapsed, knowing
from tests.evidence.probes.planted import PlantedBench, case_of

QUICK = Uniformity()


def test_uniformity_by_hand() -> None:
    # Squared distances of (1, 0), (0, 1), (-1, 0): 2, 4, 2, so log((2 exp(-4) + exp(-8)) / 3).
    states = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert uniformity(states) == pytest.approx(np.log((2 * np.exp(-4) + np.exp(-8)) / 3))
    assert uniformity(np.array([[1.0, 0.0]] * 3)) == pytest.approx(0.0)


def test_uniformity_of_a_sphere_is_near_its_bound() -> None:
    states = np.random.default_rng(0).normal(size=(300, 64))
    assert uniformity(states / np.linalg.norm(states, axis=1, keepdims=True)) == pytest.approx(-3.88, abs=0.05)


def small() -> PlantedBench:
    """Four retain items on the axes (their mean is 0) and one forget item, with a paraphrase."""

    def item(split: Any, k: int, label: str, paraphrases: tuple[str, ...] = ()) -> Item:
        return Item(f"{split}:{k}", "?", label, paraphrases, entity=f"{split} {k}", attribute="job", label=label)

    corpora: Any = {
        "forget": [item("forget", 0, "baker", ("also?",)), item("forget", 1, "pilot")],
        "retain": [item("retain", k, label) for k, label in enumerate(["baker", "pilot", "pilot", "baker"])],
    }
    retain = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    states = {}
    for role in ("original", "candidate", "reference"):
        states[role, "retain", "answer"] = np.stack([np.ones_like(retain), retain])
        states[role, "forget", "answer"] = np.array([[[1, 1], [1, 1]], [[5, 0], [0, 3]]], np.float32)
        states[role, "forget", "paraphrase"] = np.array([[[1, 1]], [[0, 2]]], np.float32)
    return PlantedBench(case_of(corpora), states)


def test_the_table_by_hand() -> None:
    # Item 0 lies at (1, 0), a baker: bakers at (1, 0), (0, -1), mean cosine 1/2; pilots at (0, 1), (-1, 0), -1/2.
    # Item 1 at (0, 1), a pilot: pilots 1 and 0, mean 1/2; bakers 0 and -1, mean -1/2. So tolerance 1/2, contrast 1.
    # The paraphrase lies at (0, 1): squared distance 2. The two items: log exp(-4).
    row = next(r for r in QUICK.measure(small()).rows if r.subject == "original" and r.split == "forget")
    assert (row.layer, row.items, row.entities) == (1, 2, 2)
    assert (row.tolerance, row.contrast, row.alignment) == pytest.approx((0.5, 1.0, 2.0))
    assert row.uniformity == pytest.approx(-4.0)


def test_the_original_as_its_own_candidate_is_exactly_the_same() -> None:
    found = assert_exactly_as_original(QUICK.measure(knowing(1.0)))
    assert found.original.value > 0.3
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("with_reference", [True, False])
def test_what_still_lies_with_its_like_is_found_and_what_was_never_learned_is_not(with_reference: bool) -> None:
    held, gone = (conclude(QUICK.measure(knowing(s, with_reference)).panel).residual for s in (0.8, 0.0))
    assert held is not None
    assert gone is not None
    assert held.low > 0.7
    assert gone.value == pytest.approx(0.0, abs=0.15)


def test_a_shift_of_all_states_hides_nothing() -> None:
    plain, moved = knowing(0.5), knowing(0.5)
    for split in ("forget", "retain", "holdout"):
        moved.planted["candidate", split, "answer"] = moved.planted["candidate", split, "answer"] + np.float32(100)
    sides = [conclude(QUICK.measure(bench).panel).candidate.value for bench in (plain, moved)]
    assert sides[1] == pytest.approx(sides[0], abs=1e-3)


def test_where_labels_lie_together_in_every_model_there_is_no_residual() -> None:
    bench = knowing(0.5)
    for split in ("forget", "retain", "holdout"):
        bench.planted["reference", split, "answer"] = bench.planted["original", split, "answer"]
    finding = collect("drift.uniformity", QUICK, bench, {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "does not work here" in finding.reason
    assert len(finding.table)


def test_without_labels_or_with_collapsed_states_it_says_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(knowing(0.5)))
    bench = knowing(0.5)
    corpora = {
        s: Corpus(s, tuple(dataclasses.replace(item, label=None) for item in c.items), "planted")
        for s, c in bench.case.corpora.items()
    }
    with pytest.raises(NotApplicable, match="No forget item has a label"):
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted))
    with pytest.raises(CaseError, match="Unknown position"):
        Uniformity(position="last")


def test_items_without_a_shared_label_are_left_out() -> None:
    bench = knowing(0.5)
    first, *others = bench.corpus("forget").items
    rare = dataclasses.replace(first, label="value 99")
    corpora = {**bench.case.corpora, "forget": Corpus("forget", (rare, *others), "planted")}
    table = pd.DataFrame(
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted)).rows
    )
    assert set(table.query("split == 'forget'")["items"]) == {39}
