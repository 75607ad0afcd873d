"""Fisher ratio: by hand, unbiased for few items, draws without copies, and planted labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.drift._labels import Labelled
from audit.evidence.drift.fisher import Fisher, attributes, ratio
from audit.stats import conclude
from audit.types import Corpus
from tests.evidence.drift.moved import assert_exactly_as_original, collapsed, knowing
from tests.evidence.probes.planted import PlantedBench

QUICK = Fisher(draws=100)


def one_attribute(labels: list[str], entities: list[str] | None = None) -> Labelled:
    names = entities or [f"entity {k}" for k in range(len(labels))]
    return Labelled(
        np.full(len(labels), "job"), np.array(labels), np.array(names), np.array([bool(label) for label in labels])
    )


def test_ratio_by_hand() -> None:
    # Bakers at 0 and 2, pilots at 10 and 12. Same label: squared distances 4 and 4, mean 4. Other: 10, 12, 8, 10
    # apart, so 100, 144, 64, 100, mean 102. (102 - 4) / 4 = 24.5; drawing baker 0 not at all leaves one pair of pilots
    # (4) and two pairs of others (64 + 100) / 2 = 82: 19.5.
    items = one_attribute(["baker", "baker", "pilot", "pilot"])
    same = (items.label[:, None] == items.label) & ~np.eye(4, dtype=bool)
    groups = [(np.arange(4), same, items.label[:, None] != items.label)]
    states = np.array([[0], [2], [10], [12]], np.float32)
    weights = np.array([[1.0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]])
    # The last draw has no pair of one label and takes the estimate.
    assert ratio(states, groups, weights) == pytest.approx([24.5, 19.5, 24.5])


def test_with_equal_numbers_it_is_the_ratio_of_unbiased_scatters() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(list("abc"), 5)
    states = rng.normal(size=(15, 4)) + 2 * (labels[:, None] == np.array(list("abcd")))
    means = np.array([states[labels == c].mean(0) for c in "abc"])
    within = np.mean([states[labels == c].var(0, ddof=1).sum() for c in "abc"])
    between = means.var(0, ddof=1).sum() - within / 5  # the means carry a fifth of the spread of their items
    found = ratio(states.astype(np.float32), attributes(one_attribute(labels.tolist())), np.ones((1, 15)))
    assert found[0] == pytest.approx(between / within, rel=1e-5)


def test_labels_that_say_nothing_are_at_zero_on_average_even_with_few_items() -> None:
    rng = np.random.default_rng(1)
    items = one_attribute([f"value {k // 2}" for k in range(16)])
    found = [ratio(rng.normal(size=(16, 40)).astype("f4"), attributes(items), np.ones((1, 16)))[0] for _ in range(50)]
    assert np.mean(found) == pytest.approx(0.0, abs=0.02)


def test_pairs_are_of_different_entities_and_of_items_with_a_label() -> None:
    labels = ["a", "a", "b", "b", "", "a", "b", "a", "b"]
    items = one_attribute(labels, ["x", "x", "y", "z", "u", "v", "w", "s", "t"])
    ((rows, same, other),) = attributes(items)
    assert rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert not same[0, 1]  # one entity
    assert same[2, 3]
    assert other[0, 2]
    assert attributes(one_attribute(["a", "b", "c", "d"])) == []


def test_the_original_as_its_own_candidate_is_exactly_one() -> None:
    found = assert_exactly_as_original(QUICK.measure(knowing(1.0)))
    assert found.original.value == 1.0
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("with_reference", [True, False])
def test_labels_that_still_order_the_states_are_found_and_lost_ones_are_not(with_reference: bool) -> None:
    held, gone = (conclude(QUICK.measure(knowing(s, with_reference)).panel).residual for s in (0.95, 0.0))
    assert held is not None
    assert gone is not None
    assert held.low > 0.6
    assert gone.value == pytest.approx(0.0, abs=0.15)


def test_the_table_gives_a_share_only_where_the_original_has_one() -> None:
    table = pd.DataFrame(QUICK.measure(knowing(0.5)).rows)
    assert set(table.layer) == {1, 2}
    assert table.query("split == 'holdout'").kept.isna().all()
    assert table.query("split == 'retain' and subject == 'reference'").kept.between(0.7, 1.1).all()


def test_an_original_without_order_no_labels_collapse_and_wrong_settings_say_so() -> None:
    bench = knowing(0.5)
    bench.planted["original", "forget", "answer"] = np.random.default_rng(0).normal(size=(3, 40, 10)).astype("f4")
    with pytest.raises(NotIdentifiable, match="do not lie closer together"):
        QUICK.measure(bench)
    with pytest.raises(NotIdentifiable, match="candidate.*block 2"):
        QUICK.measure(collapsed(knowing(0.5)))
    corpora = {
        s: Corpus(s, tuple(dataclasses.replace(item, label=None) for item in c.items), "planted")
        for s, c in bench.case.corpora.items()
    }
    with pytest.raises(NotApplicable, match="No attribute has 5 pairs"):
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=corpora), bench.planted))
    with pytest.raises(CaseError, match="at least 1 draw"):
        Fisher(draws=0)
