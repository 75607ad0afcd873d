"""Maps: one frame for all subjects, the same again on every run, and nothing moved where nothing moved."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.collect import collect
from audit.errors import CaseError, NotApplicable, SubjectError
from audit.evidence.drift import _placing as placing
from audit.evidence.drift.map import Map
from audit.stats import conclude
from audit.types import Status
from tests.conftest import ROOT
from tests.evidence.probes.planted import PlantedBench, case_of, people

PCA = Map(umap=False, points=60, neighbours=5)
LAYERS, WIDTH = 4, 6


def world(candidate: float, name: str = "the candidate", reference: bool = True) -> PlantedBench:
    """Two strong directions of the original; other subjects have noise of a given size on forget."""
    rng = np.random.default_rng(0)
    corpora: Any = {split: people(split, 10, 4, rng, 2) for split in ("forget", "retain", "holdout")}
    states = {}
    for split, items in corpora.items():
        original = (rng.normal(size=(LAYERS, len(items), WIDTH)) * [9, 6, 1, 1, 1, 1]).astype(np.float32)
        original[0] = 1.0
        states["original", split, "answer"] = original
        for role, size in (("candidate", candidate), ("reference", 30.0)):
            noise = rng.normal(size=original.shape) * (size if split == "forget" else 0.0)
            noise[0] = 0.0
            states[role, split, "answer"] = (original + noise).astype(np.float32)
    case = case_of(corpora, reference=reference)
    spec = dataclasses.replace(case.candidate, name=name)
    return PlantedBench(dataclasses.replace(case, candidate=spec), states)


def test_pca_axes_are_those_of_the_original_by_hand() -> None:
    # Original: variation 2 along coordinate 1 and 1 along coordinate 0, mean (10, 20). So x is coordinate 1 - 20 and
    # y is coordinate 0 - 10, both positive: the largest loading of each axis is made positive.
    original = np.array([[10, 22], [10, 18], [11, 20], [9, 20]], np.float32)
    other = np.array([[13, 20], [10, 20], [10, 25], [10, 20]], np.float32)
    placed = placing.on_axes([original, other])
    assert placed[0] == pytest.approx(np.array([[2, 0], [-2, 0], [0, 1], [0, -1]]), abs=1e-5)
    assert placed[1] == pytest.approx(np.array([[0, 3], [0, 0], [5, 0], [0, 0]]), abs=1e-5)


def test_states_on_a_line_have_no_second_axis() -> None:
    line = np.outer(np.arange(5), [1.0, 2.0]).astype(np.float32)
    placed = placing.on_axes([line])[0]
    assert np.isfinite(placed).all()
    assert np.abs(placed[:, 1]).max() < 1e-4


def test_nearest_by_hand() -> None:
    points = np.array([[0, 0], [1, 0], [3, 0], [7, 0]], np.float32)
    assert placing.nearest(points, 2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    # Ties go to the earlier point, so that equal maps have equal neighbours.
    assert placing.nearest(np.zeros((4, 2), np.float32), 1).tolist() == [[1], [0], [0], [0]]


def test_trustworthiness_is_one_where_the_map_is_the_states() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    assert placing.trustworthiness(points, points, 5) == pytest.approx(1.0)
    assert placing.trustworthiness(points, points[::-1].copy(), 5) < 0.7


def test_a_candidate_that_did_not_move_keeps_all_neighbours() -> None:
    reading = PCA.measure(world(0.0))
    found = conclude(reading.panel)
    assert (found.original.value, found.candidate.value) == (1.0, 1.0)
    assert found.reference is not None
    assert found.reference.value < 0.7
    assert found.residual is not None
    assert (found.residual.value, found.residual.low, found.residual.high) == (1.0, 1.0, 1.0)
    table = pd.DataFrame(reading.rows)
    columns = ["layer", "item", "x", "y"]
    sides = [table[table.subject == s][columns].reset_index(drop=True) for s in ("original", "candidate")]
    pd.testing.assert_frame_equal(*sides)


def test_a_candidate_that_moved_as_far_as_the_reference_kept_no_more_neighbours() -> None:
    residual = conclude(PCA.measure(world(30.0)).panel).residual
    assert residual is not None
    assert residual.low < 0.3


def test_the_table_has_every_point_of_every_subject_and_says_how_far_to_trust_it() -> None:
    bench = world(1.0)
    table = pd.DataFrame(PCA.measure(bench).rows)
    assert set(table.method) == {"pca"}
    assert set(table.layer) == {1, 2, 3}  # all items are at one point in state 0
    assert table.groupby(["layer", "subject"]).size().tolist() == [60] * 9
    assert table.trustworthiness.between(0.5, 1.0).all()
    first, item = table.iloc[0], bench.corpus("forget").items[0]
    assert (first["item"], first.entity, first.prompt, first.answer) == (item.id, item.entity, item.prompt, item.answer)


def test_fewer_points_than_items_are_spread_over_splits_and_entities() -> None:
    table = pd.DataFrame(Map(umap=False, points=30, neighbours=5).measure(world(1.0)).rows)
    one = table.query("layer == 3 and subject == 'candidate'")
    assert one.groupby("split").size().to_dict() == {"forget": 10, "retain": 10, "holdout": 10}
    assert one.groupby("entity").size().max() == 1


def test_umap_places_an_equal_share_of_the_points_of_each_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "aligned", lambda states, seed: np.stack([x[:, :2] for x in states]))
    table = pd.DataFrame(Map(layers=(3,), umap_points=30, neighbours=5).measure(world(1.0)).rows)
    sizes = table.query("layer == 3 and subject == 'candidate'").groupby(["method", "split"]).size().unstack()
    assert (sizes.loc["umap"] == 10).all()
    assert (sizes.loc["pca"] == 20).all()
    placed = table.query("method == 'umap' and subject == 'original'")
    states = world(1.0).states("original", "forget").at(3)
    first = placed[placed.split == "forget"].iloc[0]
    assert [first.x, first.y] == pytest.approx(states[int(first["item"].split(":")[1])][:2].tolist())


def test_all_candidates_of_an_audit_share_one_frame() -> None:
    first, second = world(1.0, "first"), world(20.0, "second")
    for bench, other in ((first, second), (second, first)):
        bench.beside = [(other.case.candidate.name, other, "candidate")]
        bench.everyone = lambda: [  # type: ignore[method-assign]
            ("original", first, "original"), ("reference", first, "reference"),
            ("first", first, "candidate"), ("second", second, "candidate"),
        ]  # fmt: skip
    tables = [pd.DataFrame(PCA.measure(bench).rows) for bench in (first, second)]
    sides = [table[table.subject == "original"].reset_index(drop=True) for table in tables]
    pd.testing.assert_frame_equal(*sides)
    candidates = [table[table.subject == "candidate"].x.to_numpy() for table in tables]
    assert not np.array_equal(*candidates)
    assert np.abs(candidates[1]).max() > np.abs(candidates[0]).max()


def test_a_peer_that_cannot_be_read_is_left_out_and_named() -> None:
    bench = world(1.0)

    def states(*_: Any) -> Any:
        raise SubjectError("no such file")

    broken = SimpleNamespace(states=states)
    bench.beside = [("broken", broken, "candidate")]  # type: ignore[list-item]
    reading = PCA.measure(bench)
    assert "could not be read: broken" in reading.note
    assert conclude(reading.panel).residual is not None


def test_without_a_reference_there_is_a_map_and_no_residual() -> None:
    finding = collect("drift.map", PCA, world(1.0, reference=False), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert len(finding.table) == 3 * 2 * 60


def test_settings_and_corpora_that_cannot_be_mapped_say_so() -> None:
    with pytest.raises(CaseError, match="at least 20 points"):
        Map(points=5)
    with pytest.raises(CaseError, match="umap_points = 5"):
        Map(umap_points=5)
    with pytest.raises(CaseError, match="Layer 9 does not exist"):
        Map(layers=(9,)).measure(world(1.0))
    rng = np.random.default_rng(0)
    corpora: Any = {"forget": people("forget", 5, 4, rng), "retain": people("retain", 5, 4, rng)}
    with pytest.raises(NotApplicable, match="at least 20 items"):
        PCA.measure(PlantedBench(case_of(corpora), {}))


UNCOMPILED = """
import numpy as np
from audit.evidence.drift import _placing as placing
rng = np.random.default_rng(0)
original = rng.normal(size=(10, 8)).astype(np.float32)
changed = original + 0.3 * rng.normal(size=original.shape).astype(np.float32)
placed = placing.aligned([original, original.copy(), changed], seed=1)
assert placed.shape == (3, 10, 2) and np.isfinite(placed).all()
assert np.array_equal(placed[0], placed[1]) and not np.array_equal(placed[0], placed[2])
"""


def test_aligned_umap_gives_an_unchanged_subject_the_originals_map() -> None:
    """On ten points and in a process that compiles nothing, which takes longer than the map."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", UNCOMPILED], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_aligned_umap_is_the_same_again_and_gives_an_unchanged_subject_the_originals_map() -> None:
    rng = np.random.default_rng(0)
    original = rng.normal(size=(40, 8)).astype(np.float32)
    original[:20] += 6  # two groups
    changed = original + 0.3 * rng.normal(size=original.shape).astype(np.float32)
    placed = placing.aligned([original, original.copy(), changed], seed=1)
    again = placing.aligned([original, original.copy(), changed], seed=1)
    assert placed.shape == (3, 40, 2)
    assert np.array_equal(placed, again)
    assert np.array_equal(placed[0], placed[1])
    assert not np.array_equal(placed[0], placed[2])
    # The two maps lie on each other: each point is nearer to its own image than the groups are to each other.
    apart = np.linalg.norm(placed[0, :20].mean(0) - placed[0, 20:].mean(0))
    assert np.linalg.norm(placed[0] - placed[2], axis=1).mean() < apart / 2
    assert min(placing.trustworthiness(x, p, 5) for x, p in zip([original, changed], placed[[0, 2]], strict=True)) > 0.8
