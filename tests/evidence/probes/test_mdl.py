"""Description length: the code by hand, and what planted states save."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.mdl import MDL, coder, saved, temperatures
from audit.probing import make_task
from audit.stats import conclude
from tests.evidence.probes.test_linear import world

QUICK = MDL(nulls=1, shares=(0.5, 1.0), folds=3)
BLOCKS = (1,)


@cache
def all_known() -> Any:
    return QUICK.measure(world(BLOCKS, layers=2))


def test_by_hand_the_bits_of_two_labels() -> None:
    """Scores ln 3 and 0: p = 3/4 and 1/4, against 1/2 each of the uniform code.

    The first label saves log2(3/4 / 1/2) = log2 1.5 = .585 bits, the second log2(1/4 / 1/2) = -1. At temperature 2 the
    first has p = sqrt 3 / (sqrt 3 + 1) = .634 and saves log2 1.268 = .343.
    """
    scores = np.tile(np.array([np.log(3), 0], np.float32), (1, 2, 1))
    labels = np.array([[0, 1]])
    np.testing.assert_allclose(saved(scores, labels, np.ones(1)), [[0.585, -1.0]], atol=1e-3)
    np.testing.assert_allclose(saved(scores, labels, np.array([2.0]))[0, 0], 0.343, atol=1e-3)


def test_a_label_that_training_lacks_is_a_number() -> None:
    scores = np.array([[[0.0, -np.inf]]], np.float32)
    assert np.isfinite(saved(scores, np.array([[1]]), np.ones(1))).all()


def test_sure_and_often_wrong_is_cooled_and_sure_and_right_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (2, 200))
    says = labels.copy()
    says[1] = rng.integers(0, 2, 200)  # the second run knows nothing
    scores = (np.eye(2)[says] * 10).astype(np.float32)
    heat = temperatures(scores, labels)
    assert heat[0] < 5
    assert heat[1] > 30  # the hottest but for luck


def test_no_item_costs_more_than_the_uniform_code() -> None:
    """One coordinate tells a and b apart, far from each other; new rows are all a, half of them on the side of b."""
    x = np.repeat([-5.0, 5.0], 8)[:, None].astype(np.float32)
    task = make_task(["a"] * 8 + ["b"] * 8, [str(k) for k in range(16)], folds=8, nulls=1)
    read = coder([1.0], 4)([x], task, "")
    values = read(np.array([[-5], [5]], np.float32), np.array([0, 0]))[0]
    assert values[0] > 0.9  # of 1 bit
    assert values[1] == 0.0


def test_a_part_that_cannot_be_trained_on_is_coded_uniformly() -> None:
    """The first pieces hold label a only, so that half of the code is uniform and saves nothing."""
    x = np.repeat([-5.0, 5.0], 8)[:, None].astype(np.float32)
    task = make_task(["a"] * 8 + ["b"] * 8, [str(k) for k in range(16)], folds=8, nulls=1)
    import dataclasses

    task = dataclasses.replace(task, fold=np.repeat(np.arange(8), 2), labels=task.labels[[0, 0]])
    new, truth = np.array([[-5.0], [5.0]], np.float32), np.array([0, 1])
    whole = coder([1.0], 4)([x], task, "")(new, truth)
    half = coder([0.25, 1.0], 4)([x], task, "")(new, truth)
    np.testing.assert_allclose(half, whole / 2)


def test_probes_of_growing_parts_see_growing_numbers_of_whole_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit import probing

    sizes = []
    fit = probing.fit
    monkeypatch.setattr(probing, "fit", lambda x, task: sizes.append((len(x), int(task.fold.max()))) or fit(x, task))
    rng = np.random.default_rng(0)
    task = make_task(["ab"[k % 2] for k in range(64)], [str(k) for k in range(64)], folds=16, nulls=1)
    coder([0.125, 0.25, 0.5, 1.0], 5)([rng.normal(size=(64, 3)).astype(np.float32)], task, "")
    assert [size for size, _ in sizes] == [8, 16, 32, 64]
    assert [last for _, last in sizes] == [1, 3, 4, 4]


def test_what_is_planted_saves_bits_and_what_is_not_saves_few() -> None:
    found = conclude(all_known().panel)
    assert found.original.value > 1.0  # of 2 bits
    assert found.reference is not None
    assert found.reference.value < 0.6
    assert found.residual is not None
    assert found.residual.low > 0.5
    assert "Bits saved per forgotten label" in all_known().note


def test_what_was_removed_saves_no_more_than_the_reference() -> None:
    found = conclude(QUICK.measure(world((), layers=2)).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_states_that_say_nothing_do_not_look_like_knowledge() -> None:
    """A reference that is sure and wrong must not make a candidate without any information look better than it."""
    bench = world(BLOCKS, layers=2)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = 0 * bench.planted["candidate", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert residual.value <= 0.1


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = world(BLOCKS, layers=2)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(BLOCKS, reference=False, layers=2))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.residual is not None
    assert found.residual.value > 0.5


def test_the_table_holds_the_uniform_code_the_compression_and_the_shuffle() -> None:
    table = pd.DataFrame(all_known().rows)
    assert len(table) == 2 * 3 * 3  # layers, subjects, splits
    assert (table.uniform == 2.0).all()  # four labels
    np.testing.assert_allclose(table.compression, table.uniform / table.bits)
    assert (table.low <= table.bits).all()
    assert (table.bits <= table.high).all()
    own = table.query("split == 'forget' and layer > 0 and subject == 'original'")
    assert own.shuffled.min() > own.bits.max() + 0.3


@pytest.mark.parametrize("shares", [(), (0.0, 1.0), (1.5,)])
def test_shares_that_cannot_work_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(CaseError, match="parts of the retain entities"):
        MDL(shares=shares)
