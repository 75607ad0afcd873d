"""CKA: the debiased estimate against its definition, invariances, and controls on planted states."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.collect import collect
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift.cka import CKA, _hsic, compare
from audit.stats import conclude
from audit.types import Status
from tests.evidence.probes.planted import PlantedBench, case_of, people

QUICK = CKA(draws=50)


def zero_diagonal_gram(rng: np.random.Generator, items: int) -> np.ndarray:
    x = rng.normal(size=(items, 3))
    gram = x @ x.T
    np.fill_diagonal(gram, 0.0)
    return gram


def test_unbiased_hsic_is_the_mean_over_quadruples_of_different_items() -> None:
    rng = np.random.default_rng(0)
    k, m = zero_diagonal_gram(rng, 7), zero_diagonal_gram(rng, 7)
    weights = np.vstack([np.ones(7), rng.integers(0, 4, size=(4, 7))]).astype(float)
    for line, found in zip(weights, _hsic(k, m, weights), strict=True):
        expected = sum(
            line[i] * line[j] * line[q] * line[r] * k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
            for i, j, q, r in itertools.permutations(range(7), 4)
        )
        assert found == pytest.approx(expected)


def test_with_equal_weights_it_is_the_formula_of_song_and_others() -> None:
    rng = np.random.default_rng(1)
    n = 9
    k, m, one = zero_diagonal_gram(rng, n), zero_diagonal_gram(rng, n), np.ones(n)
    song = np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * one @ k @ m @ one / (n - 2)
    song /= n * (n - 3)
    # Ours leaves out the number of quadruples, which cancels in CKA.
    assert _hsic(k, m, np.ones((1, n)))[0] / (n * (n - 1) * (n - 2) * (n - 3)) == pytest.approx(song)


def test_biased_cka_by_hand() -> None:
    # Centred, x = (-1, 0, 1) and y = (-1, 2, -1) have x.y = 0; x against itself plus y: (x.(x+y))^2 / (|x|^2 |x+y|^2)
    # with x.x = 2, y.y = 6, x+y = (-2, 2, 0): (2)^2 / (2 * 8) = 1/4.
    x = np.array([[-1.0], [0.0], [1.0], [0.0]], np.float32)
    both = np.array([[-2.0], [2.0], [0.0], [0.0]], np.float32)
    assert compare(x, both, np.ones((1, 4)))[0] == pytest.approx(0.25)


def test_unrelated_states_are_at_zero_only_when_debiased() -> None:
    rng = np.random.default_rng(2)
    values = [
        compare(*(rng.normal(size=(30, 200)).astype(np.float32) for _ in range(2)), np.ones((1, 30))) for _ in range(20)
    ]
    assert np.mean([biased for biased, _ in values]) > 0.8  # fewer items than features: biased CKA calls noise alike
    assert np.mean([debiased[0] for _, debiased in values]) == pytest.approx(0.0, abs=0.03)


def test_the_mean_over_batches_is_larger_than_what_all_items_say_together() -> None:
    """The naive way, as UUEF's code has it: CKA of every batch by itself, with fewer items in it than features."""
    bench = world(3.0)
    x, y = (bench.planted[role, "forget", "answer"][1] for role in ("candidate", "original"))
    table = pd.DataFrame(QUICK.measure(bench).rows)
    row = table.query("subject == 'candidate' and against == 'original' and split == 'forget' and layer == 1").iloc[0]
    biased, debiased = compare(x, y, np.ones((1, len(x))))
    assert (row.biased, row.debiased) == (pytest.approx(biased), pytest.approx(debiased[0]))
    assert row["items"] == len(x) == 30
    parts = [np.arange(k, k + 6) for k in range(0, 30, 6)]
    naive = np.mean([compare(x[part], y[part], np.ones((1, 6)))[0] for part in parts])
    assert naive > biased + 0.15 > debiased[0] + 0.2


def test_a_rotation_a_scale_and_a_shift_change_nothing() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 8)) @ np.diag(np.arange(1, 9))
    y = x + rng.normal(size=x.shape)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    counts = np.vstack([np.ones(40), rng.integers(0, 3, size=(5, 40))]).astype(float)
    plain = compare(x.astype(np.float32), y.astype(np.float32), counts)
    moved = compare(x.astype(np.float32), (3 * y @ turn + 7).astype(np.float32), counts)
    assert moved[0] == pytest.approx(plain[0], abs=1e-5)
    assert moved[1] == pytest.approx(plain[1], abs=1e-5)


def test_batched_draws_equal_draws_one_by_one() -> None:
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(20, 5)).astype(np.float32) for _ in range(2))
    weights = rng.integers(0, 3, size=(6, 20)).astype(float)
    weights[0] = 1
    together = compare(x, y, weights)[1]
    assert together == pytest.approx([compare(x, y, line[None])[1][0] for line in weights])


def test_the_same_states_are_exactly_one_and_still_states_have_no_cka() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20, 5)).astype(np.float32)
    weights = np.ones((3, 20))
    assert compare(x, x.copy(), weights)[0] == 1.0
    assert compare(x, x.copy(), weights)[1].tolist() == [1.0, 1.0, 1.0]
    biased, debiased = compare(x, np.full((20, 5), 3.3, np.float32), weights)
    assert np.isnan(biased)
    assert np.isnan(debiased).all()


def world(candidate: float, reference: float = 3.0, with_reference: bool = True) -> PlantedBench:
    """States of the original, and others that add noise of a given size to them on forget (a tenth of it elsewhere)."""
    rng = np.random.default_rng(0)
    corpora: Any = {split: people(split, 15, 4, rng, 2) for split in ("forget", "retain", "holdout")}
    states = {}
    for split, items in corpora.items():
        original = rng.normal(size=(4, len(items), 10)).astype(np.float32)
        original[0] = 1.0  # every prompt ends in the same token
        states["original", split, "answer"] = original
        for role, size in (("candidate", candidate), ("reference", reference)):
            noise = rng.normal(size=original.shape).astype(np.float32)
            noise[0] = 0.0
            states[role, split, "answer"] = original + noise * (size if split == "forget" else size / 10)
    return PlantedBench(case_of(corpora, reference=with_reference), states)


def test_a_small_change_is_near_the_original_and_a_large_one_near_the_reference() -> None:
    near, far = (conclude(QUICK.measure(world(size)).panel).residual for size in (0.1, 3.0))
    assert near is not None
    assert far is not None
    assert near.low > 0.9
    assert far.low < 0.2
    assert far.value == pytest.approx(0.0, abs=0.2)


def test_subject_against_itself_is_exactly_no_change() -> None:
    reading = QUICK.measure(world(0.0))
    found = conclude(reading.panel)
    assert (found.original.value, found.candidate.value) == (1.0, 1.0)
    assert found.residual is not None
    assert (found.residual.value, found.residual.low, found.residual.high) == (1.0, 1.0, 1.0)
    own = pd.DataFrame(reading.rows).query("subject == 'candidate' and against == 'original'")
    assert set(own.biased) == set(own.debiased) == set(own.low) == set(own.high) == {1.0}
    assert "identical" in reading.note


def test_the_table_compares_all_pairs_and_leaves_out_layers_without_variation() -> None:
    table = pd.DataFrame(QUICK.measure(world(1.0)).rows)
    pairs = set(zip(table.subject, table.against, strict=True))
    assert pairs == {
        ("candidate", "original"), ("reference", "original"), ("candidate", "reference"), ("original", "reference"),
    }  # fmt: skip
    assert set(table.layer) == {1, 2, 3}
    assert len(table) == 4 * 3 * 3
    assert (table.low <= table.debiased).all()
    assert (table.debiased <= table.high).all()
    own = table.query("subject == 'candidate' and against == 'original'").groupby("split").debiased
    assert own.max()["forget"] < own.min()["retain"]
    assert table.groupby(["view", "subject", "layer"]).size().max() == 1  # one point per line and layer in each panel


def test_a_cap_takes_the_same_share_of_every_entity() -> None:
    table = pd.DataFrame(CKA(draws=5, items=15).measure(world(1.0)).rows)
    assert set(table["items"]) == {15}  # one of two items of each of 15 entities


def test_without_a_reference_there_is_a_table_and_no_residual() -> None:
    finding = collect("drift.cka", QUICK, world(1.0, with_reference=False), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert finding.residual is None
    assert set(finding.table["split"]) == {"forget", "retain", "holdout"}
    assert finding.candidate is not None
    assert finding.candidate.value < finding.candidate.null  # forget moved further than the holdout


def test_a_candidate_whose_states_collapsed_is_named() -> None:
    bench = world(1.0)
    bench.planted["candidate", "forget", "answer"][2] = 0.5
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(bench)


def test_too_few_items_and_wrong_settings_say_so() -> None:
    rng = np.random.default_rng(0)
    corpora: Any = {"forget": people("forget", 3, 4, rng), "retain": people("retain", 5, 4, rng)}
    with pytest.raises(NotApplicable, match="at least 4 items"):
        QUICK.measure(PlantedBench(case_of(corpora), {}))
    with pytest.raises(CaseError, match="Unknown position"):
        CKA(position="last")
    with pytest.raises(CaseError, match="at least 4 items"):
        CKA(items=2)
