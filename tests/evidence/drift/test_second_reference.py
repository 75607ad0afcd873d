"""The seed-to-seed null: a second model that never knew is a subject of its own in every table of drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.catalogue import CATALOGUE, evidence_class, make
from audit.evidence.drift.cka import CKA
from audit.stats import conclude
from audit.subjects.modality import readable
from audit.types import SECOND, Modality, SubjectSpec
from tests.evidence.drift.moved import knowing
from tests.evidence.probes.planted import PlantedBench

DRIFT = [id for id in CATALOGUE if id.startswith("drift.") and readable(evidence_class(id), Modality.TEXT)]
SHORT: Mapping[str, Any] = {
    "drift.map": {"umap": False, "points": 60}, "drift.rank": {"draws": 20}, "drift.cka": {"draws": 20},
    "drift.fisher": {"draws": 20}, "drift.clusters": {"draws": 20},
}  # fmt: skip


def with_second(bench: PlantedBench, like: str = "") -> PlantedBench:
    """The bench with a second reference: the states of a subject, or the reference's with noise of its own."""
    rng = np.random.default_rng(7)
    states = dict(bench.planted)
    for split in bench.case.corpora:
        here = states[like or "reference", split, "answer"]
        noise = np.zeros(here.shape) if like else 0.3 * rng.normal(size=here.shape)
        noise[0] = 0.0
        states[SECOND, split, "answer"] = (here + noise).astype(np.float32)
    spec = SubjectSpec(SECOND, SECOND, SECOND)
    return PlantedBench(dataclasses.replace(bench.case, second_reference=spec), states)


@pytest.mark.parametrize("id", DRIFT)
def test_every_measure_of_drift_has_its_rows_and_nothing_else_changes(id: str) -> None:
    evidence, bench = make(id, SHORT.get(id)), knowing(0.5, entities=12)
    before, after = evidence.measure(bench), evidence.measure(with_second(bench))
    table, columns = pd.DataFrame(after.rows), evidence.row._fields  # type: ignore[attr-defined]
    assert set(table["subject"]) == {"original", "candidate", "reference", SECOND}
    mine = table[(table["subject"] == SECOND)]
    assert set(mine["split"]) == {"forget", "retain", "holdout"}
    # Nobody else's number depends on it: it is a line, never the null of the residual.
    others = table[table["subject"] != SECOND].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, pd.DataFrame(list(before.rows), columns=columns), check_dtype=False)
    assert conclude(after.panel) == conclude(before.panel)
    assert after.note == before.note


@pytest.mark.parametrize("id", ["drift.neighbours", "drift.rank", "drift.uniformity"])
def test_the_original_as_second_reference_has_the_original_s_rows(id: str) -> None:
    table = pd.DataFrame(make(id, SHORT.get(id)).measure(with_second(knowing(0.5), "original")).rows)
    sides = [table[table.subject == s].drop(columns="subject").reset_index(drop=True) for s in ("original", SECOND)]
    pd.testing.assert_frame_equal(*sides)


def test_likeness_is_shown_to_the_original_and_to_the_reference() -> None:
    table = pd.DataFrame(CKA(draws=20).measure(with_second(knowing(0.5), "reference")).rows)
    own = table[table.subject == SECOND]
    assert set(own.against) == {"original", "reference"}
    assert set(own.query("against == 'reference'").debiased) == {1.0}
    first, second = (
        table[(table.subject == s) & (table.against == "original")].drop(columns="subject").reset_index(drop=True)
        for s in ("reference", SECOND)
    )
    pd.testing.assert_frame_equal(first, second)


def test_on_the_lab_two_trainings_differ_by_less_than_all(bench_of: Callable[..., Bench]) -> None:
    """Two models that never knew, from different starts: the table says how alike, and a candidate is read beside."""
    bench, retrained = bench_of("last-block"), bench_of("retrained").case.candidate
    second = SubjectSpec(SECOND, SECOND, retrained.path, retrained.settings)
    bench.case = dataclasses.replace(bench.case, second_reference=second)
    evidence = CKA(draws=10)
    rows = pd.DataFrame(evidence.measure(bench).rows).query("split == 'forget' and layer > 0")
    like = rows.groupby(["subject", "against"]).debiased.mean()
    assert like["candidate", "original"] > like[SECOND, "original"]
    # The retrained model as the candidate has the very same numbers: it is the same comparison.
    other = pd.DataFrame(evidence.measure(bench_of("retrained")).rows).query("split == 'forget' and layer > 0")
    for against in ("original", "reference"):
        mine = rows[(rows.subject == SECOND) & (rows.against == against)].debiased.tolist()
        assert mine == other[(other.subject == "candidate") & (other.against == against)].debiased.tolist()
