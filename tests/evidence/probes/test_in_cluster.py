"""Probes within clusters: they read what a dominant feature hides from one probe for all."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.in_cluster import TOGETHER, WITHIN, InCluster, within_clusters
from audit.probing import Task, make_task
from audit.stats import conclude
from tests.evidence.probes.planted import PlantedBench, case_of, people

QUICK = InCluster(nulls=1, folds=3)  # with fewer than four folds retain items are not read
WIDTH, LABELS, LAYERS = 8, 4, 2


def shaded(knows: dict[str, bool], reference: bool = True) -> PlantedBench:
    """A shade (+-40 on the last coordinate, of the entity and tied to no label) turns the label's code by one place.

    Label k is coordinate k under one shade and coordinate k + 1 under the other: the label is written there for anyone
    who holds the shade fixed, and each coordinate alone means two labels.
    """
    rng = np.random.default_rng(3)
    corpora: Any = {s: people(s, n, LABELS, rng) for s, n in (("forget", 24), ("retain", 64), ("holdout", 24))}  # type: ignore[arg-type]
    states = {}
    for role in ("original", "candidate", "reference"):
        for split, items in corpora.items():
            array = rng.normal(size=(LAYERS, len(items), WIDTH)).astype(np.float32)
            shade = rng.integers(0, 2, len(items))
            array[1:, :, -1] += np.where(shade == 1, 40, -40)
            for row, item in enumerate(items):
                if split == "retain" or (split == "forget" and knows[role]):
                    array[1:, row, (int(item.label.split()[1]) + shade[row]) % LABELS] += 8
            states[role, split, "answer"] = array
    return PlantedBench(case_of(corpora, reference=reference), states)


@cache
def both_know() -> Any:
    return QUICK.measure(shaded({"original": True, "candidate": True, "reference": False}))


def test_what_a_shade_hides_from_one_probe_is_read_within_clusters() -> None:
    reading = both_know()
    table = pd.DataFrame(reading.rows).query("split == 'forget' and layer == 1").set_index(["kind", "subject"])
    assert table.accuracy[WITHIN, "original"] > 0.9
    assert table.accuracy[TOGETHER, "original"] < 0.8
    assert table.accuracy[WITHIN, "reference"] == pytest.approx(0.25, abs=0.25)  # 24 items: standard error 0.09
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.residual.low > 0.7
    assert "within clusters" in reading.note


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(shaded({"original": True, "candidate": False, "reference": False})).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_labels_dealt_to_other_entities_are_not_read() -> None:
    table = pd.DataFrame(both_know().rows).query("split == 'forget' and layer == 1 and subject == 'original'")
    assert table.shuffled.max() < 0.6


def test_by_hand_each_cluster_turns_the_sign() -> None:
    """Two clusters far apart on x; on y, label a is +1 in the left cluster and -1 in the right one.

    Over both clusters y says nothing: its product with the label sums to zero, so one probe has only x, and labels are
    balanced there too. Within a cluster y decides, and the new rows, one of each, are all read right.
    """
    x = np.repeat([-100.0, 100.0], 8)
    label = np.tile([0, 1], 8)
    y = np.where(label == 0, 1.0, -1.0) * np.where(x < 0, 1.0, -1.0)
    train = np.stack([x, y], 1).astype(np.float32)
    task = make_task(["ab"[k] for k in label], [str(k) for k in range(16)], folds=4, nulls=1)
    new = np.array([[-100, 1], [-100, -1], [100, 1], [100, -1]], np.float32)
    truth = np.array([0, 1, 1, 0])
    assert within_clusters(2, 0)([train], task, "")(new, truth)[0].tolist() == [1, 1, 1, 1]
    assert within_clusters(1, 0)([train], task, "")(new, truth)[0].mean() == 0.5


def test_a_cluster_of_one_label_says_that_label() -> None:
    train = np.repeat([[-10.0], [10.0]], 4, axis=0).astype(np.float32)
    labels = np.array([[0] * 4 + [1] * 4, [1] * 4 + [0] * 4])
    task = Task(("a", "b"), labels, np.tile([0, 1], 4))
    read = within_clusters(2, 0)([train], task, "")
    assert read(np.array([[-9], [9]], np.float32), np.array([0, 1])).tolist() == [[1, 1], [0, 0]]


def test_states_that_do_not_vary_are_one_cluster() -> None:
    task = make_task(list("abab"), list("wxyz"), folds=2, nulls=1)
    read = within_clusters(2, 0)([np.ones((4, 3), np.float32)], task, "")
    assert read(np.ones((2, 3), np.float32), np.array([0, 1]))[0].sum() == 1


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = shaded({"original": True, "candidate": True, "reference": False})
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    bench = shaded({"original": True, "candidate": True, "reference": False}, reference=False)
    reading = QUICK.measure(bench)
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.residual.low > 0.6


def test_one_cluster_is_refused() -> None:
    with pytest.raises(CaseError, match="at least 2"):
        InCluster(clusters=1)
