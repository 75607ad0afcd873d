"""Planted worlds in which it is known how far each subject's states moved, and what they lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from audit.collect import collect
from audit.stats import Conclusion, conclude
from audit.types import Reading, Status
from tests.evidence.probes.planted import PlantedBench, case_of, people

LAYERS, WIDTH = 3, 10


def world(candidate: float, reference: float = 3.0, with_reference: bool = True, entities: int = 15) -> PlantedBench:
    """States of the original, and others that add noise of a given size to them on forget (a tenth of it elsewhere)."""
    rng = np.random.default_rng(0)
    corpora: Any = {split: people(split, entities, 4, rng, 2) for split in ("forget", "retain", "holdout")}
    states = {}
    for split, items in corpora.items():
        original = rng.normal(size=(LAYERS, len(items), WIDTH)).astype(np.float32)
        original[0] = 1.0  # every prompt ends in the same token
        states["original", split, "answer"] = original
        for role, size in (("candidate", candidate), ("reference", reference)):
            noise = rng.normal(size=original.shape).astype(np.float32)
            noise[0] = 0.0
            states[role, split, "answer"] = original + noise * (size if split == "forget" else size / 10)
    return PlantedBench(case_of(corpora, reference=with_reference), states)


def knowing(candidate: float, with_reference: bool = True, entities: int = 20, strength: float = 6.0) -> PlantedBench:
    """States that hold labels: all of them on retain, none on holdout; on forget the original's fully, none of the
    reference's, and a share of them in the candidate (1 = states equal to the original's bit by bit)."""
    rng = np.random.default_rng(1)
    corpora: Any = {split: people(split, entities, 4, rng, 2) for split in ("forget", "retain", "holdout")}
    states = {}
    shares = {"original": 1.0, "candidate": candidate, "reference": 0.0}
    for split, items in corpora.items():
        base = rng.normal(size=(LAYERS, len(items), WIDTH))
        labels = np.zeros((len(items), WIDTH))
        labels[np.arange(len(items)), [int(str(item.label).split()[1]) for item in items]] = strength
        for role, forget in shares.items():
            share = {"forget": forget, "retain": 1.0, "holdout": 0.0}[split]
            noise = 0.0 if forget == 1.0 else 0.3 * rng.normal(size=base.shape)
            states[role, split, "answer"] = (base + share * labels + noise).astype(np.float32)
            states[role, split, "answer"][0] = 1.0
    return PlantedBench(case_of(corpora, reference=with_reference), states)


def collapsed(bench: PlantedBench) -> PlantedBench:
    """The same world, in which every item has the same state in block 2 of the candidate."""
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"][2] = 0.5
    return bench


def assert_exactly_as_original(reading: Reading) -> Conclusion:
    """A candidate with the original's states: the same estimate, a residual of exactly 1, the same table."""
    found = conclude(reading.panel)
    assert found.candidate.value == found.original.value
    assert found.residual is not None, found.reason
    assert (found.residual.value, found.residual.low, found.residual.high) == (1.0, 1.0, 1.0)
    table = pd.DataFrame(reading.rows)
    sides = [
        table[table.subject == s].drop(columns="subject").reset_index(drop=True) for s in ("original", "candidate")
    ]
    pd.testing.assert_frame_equal(*sides)
    return found


def assert_table_without_residual(id: str, evidence: Any, bench: PlantedBench) -> None:
    """Without a reference a likeness to the original has no null: a table of every split, and the reason in words."""
    finding = collect(id, evidence, bench, {})
    assert finding.status is Status.NOT_IDENTIFIABLE, finding.provenance
    assert "does not work here" in finding.reason
    assert finding.residual is None
    assert set(finding.table["split"]) == {"forget", "retain", "holdout"}
    assert set(finding.table["subject"]) == {"original", "candidate"}
