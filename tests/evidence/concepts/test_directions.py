"""Concept directions: hand-worked axes, planted states, and steering on the tiny lab."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.activations.encode import Encoded
from audit.bench import Bench
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.concepts._answers import answers_of, batches
from audit.evidence.concepts._axes import PLAIN, WHITENED, alike, axes, differences, reading
from audit.evidence.concepts._steer import adding
from audit.evidence.concepts.directions import Directions, middle
from audit.probing import Task
from audit.stats import conclude
from tests.activations.conftest import letters_tokenizer, small_model
from tests.evidence.probes.planted import PlantedBench, case_of, known, people

BenchOf = Callable[..., Bench]
QUICK = Directions(nulls=5, strength=0.0)


def test_difference_of_means_by_hand() -> None:
    # Label 0 has rows (0, 0) and (2, 0), label 1 has (1, 3); means (1, 0) and (1, 3): differences (0, -3) and (0, 3).
    # Label 2 has no rows and no direction.
    x = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]], np.float32)
    labels = np.array([[0, 0, 1]])
    assert differences(x, labels, 3)[0] == pytest.approx(np.array([[0.0, -3.0], [0.0, 3.0], [0.0, 0.0]]))
    assert axes(x, labels, 3, PLAIN)[0] == pytest.approx(np.array([[0.0, -1.0], [0.0, 1.0], [0.0, 0.0]]))


def test_whitened_is_by_the_inverse_of_the_shrunk_covariance() -> None:
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(0)
    for rows, width in ((40, 6), (8, 20)):
        x = (rng.normal(size=(rows, width)) @ np.diag(np.arange(1.0, width + 1))).astype(np.float32)
        labels = rng.integers(0, 2, (1, rows))
        labels[0, :2] = [0, 1]
        inverse = np.linalg.inv(LedoitWolf().fit(x.astype(np.float64)).covariance_)
        d = differences(x, labels, 2)[0]
        expected = d @ inverse / np.sqrt(np.einsum("ci,ij,cj->c", d, inverse, d))[:, None]
        assert axes(x, labels, 2, WHITENED)[0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_whitening_takes_out_noise_that_coordinates_share() -> None:
    # Both coordinates carry the same noise s, the first the label too: x0 - x1 / 2 tells the labels apart exactly, but
    # the means differ in x0 alone, along which they overlap.
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)[None]
    noise = rng.normal(size=400)
    x = np.stack([0.8 * labels[0] + noise, 2 * noise + 0.1 * rng.normal(size=400)], 1).astype(np.float32)
    task = Task(("a", "b"), labels, np.arange(400) % 5)
    scores = {kind: reading(kind)([x], task, "")(x, labels[0])[0].mean() for kind in (PLAIN, WHITENED)}
    assert scores[PLAIN] < 0.75
    assert scores[WHITENED] > 0.95


def test_a_state_that_lies_nowhere_is_not_read_and_a_missing_label_never_called() -> None:
    x = np.full((4, 3), 0.7, np.float32)
    task = Task(("a", "b", "c"), np.array([[0, 0, 1, 1]]), np.array([0, 1, 0, 1]))
    assert reading(PLAIN)([x], task, "")(x, np.array([0, 0, 1, 1])).tolist() == [[0.0, 0.0, 0.0, 0.0]]
    x = np.array([[1.0], [2.0], [-1.0], [-2.0]], np.float32)
    # Along a and b the far row scores -4 and +4, along c, which has no rows, 0: b, not c.
    assert reading(PLAIN)([x], task, "")(np.array([[-4.0]], np.float32), np.array([1])).tolist() == [[1.0]]


def test_alike_by_hand() -> None:
    a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.1, 0.7]])
    b = np.array([[0.0, 2.0], [1.0, 0.0], [1.0, 0.0], [0.1, 0.7]])
    found = alike(a, b)
    assert found[:2] == pytest.approx([0.0, 2**-0.5])
    assert np.isnan(found[2])
    assert found[3] == 1.0


def world(candidate: tuple[int, ...], reference: bool = True, turn: np.ndarray | None = None) -> PlantedBench:
    """The original knows at layers 1 and 2, the reference nowhere on forget, the candidate where it is told."""
    rng = np.random.default_rng(0)
    corpora: Any = {s: people(s, 24, 4, rng) for s in ("forget", "retain", "holdout")}
    states: dict[tuple[str, str, str], np.ndarray] = {}
    knows = {"original": (1, 2), "candidate": candidate, "reference": ()}
    for role, where in knows.items():
        for split, items in corpora.items():
            layers = {"forget": where, "retain": (1, 2), "holdout": ()}[split]
            found = known(items, rng, 4, 12, layers)
            states[role, split, "answer"] = found @ turn if role == "candidate" and turn is not None else found
    return PlantedBench(case_of(corpora, reference=reference), states)


def test_planted_knowledge_is_found_and_absence_too() -> None:
    there, gone = (conclude(QUICK.measure(world(where)).panel).residual for where in ((2,), ()))
    assert there is not None
    assert there.low > 0.9
    assert gone is not None
    assert gone.value == pytest.approx(0.0, abs=0.25)
    assert gone.low < 0.1


def test_the_holdout_is_a_null_too() -> None:
    reading_ = QUICK.measure(world((2,), reference=False))
    found = conclude(reading_.panel)
    assert reading_.panel.null == "holdout"
    assert found.residual is not None
    assert found.residual.low > 0.8


def test_the_original_against_itself_is_exactly_no_change() -> None:
    bench = world((1, 2))
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"][:] = bench.planted["original", split, "answer"]
    reading_ = QUICK.measure(bench)
    residual = conclude(reading_.panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)
    table = pd.DataFrame(reading_.rows)
    assert set(table.query("subject == 'candidate'").cosine) == {1.0}


def test_a_rotated_candidate_is_read_as_well_but_its_directions_point_elsewhere() -> None:
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0].astype(np.float32)
    reading_ = QUICK.measure(world((1, 2), turn=turn))
    residual = conclude(reading_.panel).residual
    assert residual is not None
    assert residual.low > 0.9
    table = pd.DataFrame(reading_.rows).query("kind == @PLAIN and layer == 2 and split == 'forget'")
    cosines = table.set_index("subject").cosine
    assert cosines["reference"] > 0.8  # it knows the retained facts along the same directions
    assert abs(cosines["candidate"]) < 0.6


def test_controls_in_the_table() -> None:
    table = pd.DataFrame(QUICK.measure(world((2,))).rows)
    kept = table.query("split == 'retain' and layer == 2")
    assert (kept.accuracy > 0.9).all()
    assert (table.shuffled < 0.5).all()
    assert table.groupby(["view", "subject", "layer"]).size().max() == 1
    assert table.steered.isna().all()


def test_steering_adds_at_the_last_prompt_token_of_one_block_only() -> None:
    subject: Any = SimpleNamespace(model=small_model(), tokenizer=letters_tokenizer(True), device=torch.device("cpu"))
    rows = [Encoded((1, 5, 6, 9), 3), Encoded((1, 7, 10), 2)]
    _, batch = next(iter(batches(subject, rows)))
    seen: list[torch.Tensor] = []
    handle = subject.model.model.layers[1].register_forward_hook(lambda m, a, out: seen.append(out.clone()))
    plain = answers_of(subject, batch)[0]
    delta = torch.arange(32.0).reshape(2, 16)
    with adding(subject, batch, 1, delta):
        moved = answers_of(subject, batch)[0]
    with adding(subject, batch, 2, torch.zeros(2, 16)):
        assert (answers_of(subject, batch)[0] == plain).all()
    assert (answers_of(subject, batch)[0] == plain).all()
    handle.remove()
    assert (moved != plain).all()
    changed = (seen[0] != seen[1]).any(-1)
    # What comes after the token that was steered may change, what comes before may not.
    for i in range(2):
        assert not changed[i, : batch.prompt_last[i]].any()
        assert changed[i, batch.prompt_last[i]]


def test_subjects_of_known_truth(bench_of: BenchOf) -> None:
    evidence = Directions(nulls=1)
    same = conclude(evidence.measure(bench_of("untouched")).panel).residual
    assert same is not None
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    never = conclude(evidence.measure(bench_of("retrained")).panel).residual
    assert never is not None
    assert never.low < 0.1
    reading_ = evidence.measure(bench_of("last-block"))
    hidden = conclude(reading_.panel).residual
    assert hidden is not None
    assert hidden.low > 0.8
    table = pd.DataFrame(reading_.rows)
    assert set(table.query("subject == 'candidate' and 0 < layer < 3").cosine) == {1.0}
    steered = table.dropna(subset="steered").set_index("subject")
    assert steered.layer.unique().tolist() == [2]
    for role in ("original", "candidate"):
        assert steered.steered[role] > steered.steered_random[role] + 0.1


def test_the_middle_block() -> None:
    assert [middle(blocks + 1) for blocks in (1, 2, 3, 32)] == [1, 1, 2, 16]


def test_controls_and_settings(bench_of: BenchOf) -> None:
    with pytest.raises(NotIdentifiable, match="no control"):
        Directions().measure(bench_of("last-block", reference=False, holdout=False))
    rng = np.random.default_rng(0)
    from dataclasses import replace

    corpora: Any = {s: [replace(i, label=None) for i in people(s, 6, 4, rng)] for s in ("forget", "retain")}
    with pytest.raises(NotApplicable, match="label"):
        QUICK.measure(PlantedBench(case_of(corpora), {}))
    with pytest.raises(CaseError, match="Unknown position"):
        Directions(position="last")
    with pytest.raises(CaseError, match="random direction"):
        Directions(seeds=0)
