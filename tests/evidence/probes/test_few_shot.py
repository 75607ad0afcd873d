"""Prototypes of a few examples, plain and aligned: by hand, and on planted states."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.few_shot import FewShot, align, prototypes, sinkhorn
from audit.probing import Task
from audit.stats import conclude
from tests.evidence.probes.test_linear import WIDTH, world

QUICK = FewShot(shots=(5,), episodes=6)
BLOCKS = (1, 2)


@cache
def all_known() -> Any:
    return FewShot(episodes=6).measure(world(BLOCKS, layers=3))


def rays(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def everyone(points: np.ndarray) -> np.ndarray:
    return np.ones((len(points), points.shape[1], 1), bool)


def test_the_plan_has_uniform_margins() -> None:
    cost = np.random.default_rng(0).random((3, 4, 6))
    plan = sinkhorn(cost, everyone(cost))
    np.testing.assert_allclose(plan.sum(2), 1 / 4, atol=1e-12)
    np.testing.assert_allclose(plan.sum(1), 1 / 6, atol=1e-3)
    assert (plan >= 0).all()


def test_by_hand_a_plan_of_two_by_two() -> None:
    """Cost 0 on the diagonal, 1 beside it: the kernel is [[1, k], [k, 1]] with k = exp(-1 / .05) = exp(-20).

    It is symmetric, so both scalings are constant and the plan is the kernel over its sum 2 (1 + k).
    """
    k = np.exp(-20.0)
    cost = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    np.testing.assert_allclose(sinkhorn(cost, everyone(cost))[0], np.array([[1, k], [k, 1]]) / (2 * (1 + k)))


def test_a_label_that_an_episode_lacks_gets_no_mass() -> None:
    cost = np.random.default_rng(0).random((1, 3, 6))
    plan = sinkhorn(cost, np.array([[[True], [False], [True]]]))
    np.testing.assert_allclose(plan.sum(2), [[1 / 2, 0, 1 / 2]], atol=1e-12)


@pytest.mark.parametrize("shots", [1, 5])
def test_prototypes_that_are_the_queries_stay_where_they_are(shots: int) -> None:
    points = np.eye(4)[None]
    np.testing.assert_allclose(align(points, everyone(points), points[0], shots), points, atol=1e-6)


@pytest.mark.parametrize("shots", [1, 5])
def test_by_hand_a_shift_of_everything_is_undone_by_alignment(shots: int) -> None:
    """Prototypes at 0 and 90 degrees, five queries each at 50 and 140: both lie nearer to the second prototype.

    Half of the mass must go to each prototype, and it is cheaper to send the queries at 50 to the first. It moves to 50
    degrees (with 5 shots to about 37: .7 of the way and .3 of itself), and then every query is nearest to its own.
    """
    points, queries = rays(0, 90)[None], np.repeat(rays(50, 140), 5, axis=0)
    truth = np.repeat([0, 1], 5)

    def nearest(points: np.ndarray) -> np.ndarray:
        return ((points[0][:, None] - queries) ** 2).sum(2).argmin(0)

    assert (nearest(points) == truth).mean() == 0.5
    moved = align(points, everyone(points), queries, shots)
    assert (nearest(moved) == truth).mean() == 1.0
    expected = queries[0] if shots == 1 else 0.7 * queries[0] + 0.3 * rays(0)[0]
    np.testing.assert_allclose(moved[0, 0], expected, atol=0.01)


def test_by_hand_one_shot_of_each_label() -> None:
    """Training rows a at (1, 0), (1.2, 0) and b at (-1, 0), (-1.2, 0): whichever is drawn, the signs decide.

    New rows at (2, 0) and (-.1, 0) are a and b in every episode. In the shuffled line a and b change places.
    """
    train = np.array([[1, 0], [1.2, 0], [-1, 0], [-1.2, 0]], np.float32)
    task = Task(("a", "b"), np.array([[0, 0, 1, 1], [1, 1, 0, 0]]), np.arange(4))
    read = prototypes(1, False, 5, 0)([train], task, "")
    assert read(np.array([[2, 0], [-0.1, 0]], np.float32), np.array([0, 1])).tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_what_is_planted_is_read_and_what_is_not_is_at_chance() -> None:
    found = conclude(all_known().panel)
    assert found.original.value > 0.9
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.25, abs=0.2)  # 24 items of four labels: standard error 0.09
    assert found.residual is not None
    assert found.residual.low > 0.5


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(world((), layers=3)).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = world(BLOCKS, layers=3)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(BLOCKS, reference=False, layers=3))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.candidate.value > 0.75
    assert found.residual.low > 0.2


def test_the_table_keeps_the_four_ways_apart_and_more_shots_read_more() -> None:
    table = pd.DataFrame(all_known().rows)
    assert set(table.kind) == {"1 shot", "1 shot, aligned", "5 shots", "5 shots, aligned"}
    assert len(table) == 3 * 3 * 3 * 4  # layers, subjects, splits, ways
    own = table.query("split == 'forget' and layer > 0 and subject == 'original'").groupby("kind")
    assert own.accuracy.mean()["1 shot"] < own.accuracy.mean()["5 shots"]
    assert own.shuffled.mean().max() < 0.5
    assert all_known().panel.original.value == pytest.approx(own.accuracy.mean()["5 shots"], abs=0.1)


def test_alignment_reads_through_a_shift_of_the_forget_items() -> None:
    """All forget items of the candidate move towards label 0: plain prototypes then say 0, aligned ones follow."""
    bench = world(BLOCKS, layers=3)
    bench.planted["candidate", "forget", "answer"][1:, :, 0] += 12
    table = pd.DataFrame(FewShot(shots=(5,), episodes=4).measure(bench).rows)
    own = table.query("split == 'forget' and layer > 0 and subject == 'candidate'").groupby("kind").accuracy.mean()
    assert own["5 shots, aligned"] > own["5 shots"] + 0.1


def test_prototypes_come_from_retained_rows_and_the_same_ones_for_every_subject(monkeypatch: Any) -> None:
    import audit.evidence.probes.few_shot as module

    seeds = []
    draw = module._draw
    monkeypatch.setattr(
        module, "_draw", lambda *given: seeds.append((len(given[0]), given[2], given[3])) or draw(*given)
    )
    bench = world(BLOCKS, layers=3)
    assert WIDTH > 4
    made = module.labelled(bench, 5, 6)
    read: dict[str, list[Any]] = {}
    for role in bench.roles:
        seeds.clear()
        QUICK._read(made, role, 1, False)
        read[role] = list(seeds)
    assert read["original"] == read["candidate"] == read["reference"]


@pytest.mark.parametrize("settings", [{"shots": ()}, {"shots": (0,)}, {"episodes": 0}])
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(CaseError, match="expected numbers from 1"):
        FewShot(**settings)
