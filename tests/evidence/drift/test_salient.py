"""Salient part: what ridge leaves by hand, nothing left of oneself, and planted labels that were lost or kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift._reader import Part, explained
from audit.evidence.drift.salient import Salient, _kept
from audit.stats import conclude
from audit.types import Corpus
from tests.evidence.drift.moved import assert_exactly_as_original, assert_table_without_residual, collapsed, knowing
from tests.evidence.probes.planted import PlantedBench

QUICK = Salient(nulls=1, folds=2)


def test_what_is_kept_by_hand() -> None:
    # Four labels, chance 1/4: a hit leaves nothing, a miss 1 + 1/4 / 3/4 = 4/3, a guess (1/4) exactly 1.
    assert _kept(np.array([[1.0, 0.0, 0.25]]), np.full(3, 0.25))[0].tolist() == pytest.approx([0.0, 4 / 3, 1.0])


def test_what_is_linear_in_the_subject_is_explained_and_the_rest_is_not() -> None:
    # Second = first along coordinate 0 (turned and stretched) and nothing along coordinate 1.
    rng = np.random.default_rng(0)
    first = {s: rng.normal(size=(600, 2)).astype(np.float32) for s in ("forget", "retain")}
    second = {s: np.stack([np.zeros(600), 3 * x[:, 0] + 1], 1).astype(np.float32) for s, x in first.items()}
    found = explained(first, second, Part(np.arange(600), []))  # type: ignore[arg-type]
    rest = first["forget"] - found["forget"]  # type: ignore[index]
    assert np.abs(rest[:, 0]).max() < 0.05
    assert np.corrcoef(rest[:, 1], first["forget"][:, 1])[0, 1] > 0.99


def test_nothing_is_left_of_the_original_by_itself() -> None:
    reading = QUICK.measure(knowing(1.0))
    found = assert_exactly_as_original(reading)
    assert found.original.value == 1.0
    assert found.reference is not None
    assert found.reference.value < 0.3
    own = pd.DataFrame(reading.rows).query("subject == 'candidate' and split == 'forget'")
    assert (own.salient == own.chance).all()
    assert own.common.min() > 0.9


def test_lost_labels_are_in_the_rest_and_kept_labels_are_not() -> None:
    held, gone = (QUICK.measure(knowing(share)) for share in (0.999, 0.0))
    kept, lost = conclude(held.panel).residual, conclude(gone.panel).residual
    assert kept is not None
    assert lost is not None
    assert kept.low > 0.6
    assert lost.value == pytest.approx(0.0, abs=0.15)
    table = pd.DataFrame(gone.rows).query("subject == 'candidate' and split == 'forget'")
    assert table.salient.min() > 0.8
    assert table.common.max() < 0.55
    assert table.shuffled.max() < 0.5


def test_an_edit_above_the_states_leaves_nothing_and_a_rotation_hides_nothing() -> None:
    bench = knowing(1.0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = (bench.planted["original", split, "answer"] @ turn).astype("f4")
    table = pd.DataFrame(QUICK.measure(bench).rows).query("subject == 'candidate' and split == 'forget'")
    assert table.common.min() > 0.9
    assert table.salient.max() < 0.55


def test_no_item_is_read_by_what_was_fitted_on_its_entity() -> None:
    table = pd.DataFrame(QUICK.measure(knowing(0.0)).rows)
    assert set(table.split) == {"forget", "retain", "holdout"}
    assert set(table.layer) == {1, 2}
    # Retain labels are in all subjects, so the other half's probe finds them in what is explained.
    assert table.query("split == 'retain'").common.min() > 0.8


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    assert_table_without_residual("drift.salient", QUICK, knowing(0.5, with_reference=False))


def test_no_shared_label_collapsed_states_and_wrong_settings_say_so() -> None:
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(knowing(0.5)))
    bench = knowing(0.5)
    others = tuple(dataclasses.replace(item, label="another") for item in bench.corpus("forget").items)
    corpora = {**bench.case.corpora, "forget": Corpus("forget", others, "planted")}
    with pytest.raises(NotApplicable, match="No label of the forget items"):
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted))
    with pytest.raises(CaseError, match="at least 2"):
        Salient(folds=1)
