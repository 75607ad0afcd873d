"""Nearest neighbours on planted states and on outputs made by hand."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.knn import KNN, OUTPUTS, STATES, nearest, vote
from audit.probing import Task
from audit.stats import conclude
from tests.evidence.probes.test_linear import EVERYWHERE, world

QUICK = KNN(nulls=3, outputs=False)


@cache
def all_known() -> Any:
    return QUICK.measure(world(EVERYWHERE))


def test_a_tie_goes_to_the_nearest_and_a_majority_wins() -> None:
    # 5 neighbours, nearest first. 2, 1, 1, 2, 0: labels 1 and 2 twice each, 2 is nearest. 0, 1, 1, 1, 0: 1 has three.
    votes = vote(np.array([[[2, 1, 1, 2, 0], [0, 1, 1, 1, 0]]]), 3)
    assert votes.tolist() == [[2, 1]]


def test_by_hand_the_angle_counts_and_the_length_does_not() -> None:
    """Training rows at 0, 10, 20 degrees of length 100 (label a) and at 80, 90, 100 degrees of length 1 (label b).

    A row at 30 degrees and of length 1 has the three of a as its nearest by angle: label a. By distance, the three of b
    would be nearest, less than 2 away where those of a are 99 away. In the shuffled line the labels change places.
    """
    degrees = np.radians([0, 10, 20, 80, 90, 100])
    lengths = np.array([100, 100, 100, 1, 1, 1])
    train = (np.stack([np.cos(degrees), np.sin(degrees)], 1) * lengths[:, None]).astype(np.float32)
    labels = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    read = nearest(3)([train], Task(("a", "b"), labels, np.arange(6)), "")
    new = np.array([[np.cos(np.radians(30)), np.sin(np.radians(30))]], np.float32)
    assert read(new, np.array([0])).tolist() == [[1.0], [0.0]]


def test_what_is_planted_is_read_and_what_is_not_is_at_chance() -> None:
    found = conclude(all_known().panel)
    assert found.original.value > 0.9
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.25, abs=0.2)  # 24 items of four labels: standard error 0.09
    assert found.residual is not None
    assert found.residual.low > 0.7


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(world(())).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = world(EVERYWHERE)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(EVERYWHERE, reference=False))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.residual.low > 0.6


def test_the_table_has_a_shuffle_that_reads_nothing() -> None:
    table = pd.DataFrame(all_known().rows)
    assert set(table.kind) == {STATES}
    forget = table.query("split == 'forget' and layer > 0 and subject == 'original'")
    assert forget.accuracy.min() > 0.8
    assert forget.shuffled.max() < 0.5
    assert table.query("split == 'retain' and layer > 0").accuracy.min() > 0.5  # by half of the entities
    assert table.query("layer == 0").accuracy.max() < 0.6


def test_the_outputs_are_read_apart_from_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state still holds the label; the candidate's unembedding, and no other, is blind (all logits the same)."""
    import torch

    bench = world(EVERYWHERE)

    @contextmanager
    def model(role: str) -> Any:
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=10))
        yield SimpleNamespace(model=SimpleNamespace(config=config, role=role), device=torch.device("cpu"))

    def head(model: Any) -> Any:
        return (lambda x: torch.ones_like(x)) if model.role == "candidate" else (lambda x: x)

    def likelihood(role: str, split: str) -> pd.DataFrame:
        tokens = [int(str(item.label).split()[1]) for item in bench.corpus(split).items]  # type: ignore[arg-type]
        return pd.DataFrame({"variant": "answer", "first_token": tokens})

    monkeypatch.setattr("audit.activations.layers.head", head)
    bench.model, bench.likelihood = model, likelihood  # type: ignore[method-assign, assignment]
    reading = KNN(nulls=3).measure(bench)
    table = pd.DataFrame(reading.rows).query("split == 'forget' and layer == 3").set_index(["kind", "subject"]).accuracy
    assert table[OUTPUTS, "original"] > 0.9
    assert table[STATES, "candidate"] > 0.9
    assert table[OUTPUTS, "candidate"] < 0.6
    assert conclude(reading.panel).candidate.value > 0.9
    assert "on the outputs" in reading.note


def test_no_neighbours_is_refused() -> None:
    with pytest.raises(CaseError, match="expected at least 1"):
        KNN(k=0)
