"""Hard negatives on planted states: the wrong answer that is most like the right one is the one that is read."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.collect import collect
from audit.errors import NotApplicable
from audit.evidence.probes._negatives import Negatives, negatives
from audit.evidence.probes.hard_negative import HARD, KINDS, MIXED, NEIGHBOUR, RANDOM, HardNegative
from audit.evidence.probes.truth import Pairs, Truth
from audit.stats import conclude
from audit.types import Item, Status
from tests.evidence.probes.planted import PlantedBench, case_of
from tests.evidence.probes.test_truth import world

QUICK = HardNegative(nulls=3)


def graded(candidate: float = 5.0, reference: bool = True, near: float = 4.0) -> PlantedBench:
    """As the truth probe's world, but the first wrong answer of each item lies `near` along the same direction."""
    bench = world(candidate, reference=reference)
    for (_, _, variant), states in bench.planted.items():
        if variant == "wrong":
            states[1:, ::2, 0] += near
    return bench


@cache
def measured() -> Any:
    return QUICK.measure(graded())


def test_by_hand_the_two_most_similar_wrong_answers() -> None:
    """Item 0, right (1, 0): cosines to (0, 1), (1, 1), (-1, 0) are 0, .71, -1, so rows 1 and 0.

    Item 1, right (0, 1), has the single wrong answer (1, 0), row 3: it is the hardest and the second hardest.
    """
    pairs = Pairs(["a", "b"], ["a", "b"], np.arange(2), np.array([3, 1]))
    made = Negatives(pairs, np.array([[0, 1, 2], [3, -1, -1]]), np.ones((2, 1), np.float32), np.zeros((4, 1), bool))
    right = np.array([[1, 0], [0, 1]], np.float32)
    wrong = np.array([[0, 1], [1, 1], [-1, 0], [1, 0]], np.float32)
    first, second = made.hardest(right, wrong, np.zeros(2, np.float32))
    assert (first.tolist(), second.tolist()) == ([1, 3], [0, 3])
    # From another centre other answers are alike: right - (0, 2) = (1, -2) and wrong - (0, 2) = (0, -1), (1, -1),
    # (-1, -2), with cosines .89, .95, .6.
    first, second = made.hardest(right, wrong, np.array([0, 2], np.float32))
    assert (first[0], second[0]) == (1, 0)


def retain(entity: str, attribute: str, answer: str) -> Item:
    return Item(f"retain:{entity}{attribute}", "?", answer, wrong_answers=("none",), entity=entity, attribute=attribute)


def test_by_hand_the_answer_of_the_nearest_retained_prompt() -> None:
    """Forget item 0 asks for the city; its wrong answers are Oslo, Lima, Cairo.

    Prompts: A (city Lima) lies at 10 degrees from it, B (city Oslo) at 40, C (job Cairo) at 0, D (city Rome) at 5.
    C has another attribute and Rome is no wrong answer, so A's Lima, row 1, is taken. Item 1 has no such answer: -1.
    """
    forget = [
        Item("forget:0", "?", "Kyoto", wrong_answers=("Oslo", "Lima", "Cairo"), entity="X", attribute="city"),
        Item("forget:1", "?", "baker", wrong_answers=("pilot",), entity="X", attribute="job"),
    ]
    kept = [retain("A", "city", "Lima"), retain("B", "city", "Oslo"), retain("C", "job", "Cairo")]
    kept.append(retain("D", "city", "Rome"))
    made = negatives(PlantedBench(case_of({"forget": forget, "retain": kept}), {}), "forget")
    assert made is not None
    assert made.slots.tolist() == [[0, 1, 2], [3, -1, -1]]

    def rays(*degrees: float) -> np.ndarray:
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    # Four more retained prompts at the opposite angles put the centre at zero; their answers are nobody's.
    also = np.concatenate([made.also, np.zeros((4, 4), bool)], axis=1)
    made = Negatives(made.pairs, made.slots, made.mix, also)
    angles = (10.0, 40.0, 0.0, 5.0)
    assert made.neighbours(rays(0, 0), rays(*angles, *(180 + a for a in angles))).tolist() == [1, -1]


def test_an_entity_is_not_its_own_neighbour() -> None:
    kept = [
        Item("retain:0", "?", "Lima", wrong_answers=("Oslo",), entity="A", attribute="city"),
        Item("retain:1", "?", "Oslo", wrong_answers=("Lima",), entity="A", attribute="city"),
        Item("retain:2", "?", "Oslo", wrong_answers=("Rome",), entity="B", attribute="city"),
    ]
    made = negatives(PlantedBench(case_of({"retain": kept}), {}), "retain")
    assert made is not None
    assert made.also.tolist() == [[False, False, True], [False, False, False], [False, False, False]]


def test_hard_is_never_easier_than_random_when_the_similar_answer_is_nearly_right() -> None:
    """The near wrong answer lies at 4 where the right one lies at 5, the other at 0, all with noise of 1.

    P(5 + e > 4 + e') = Phi(1 / sqrt 2) = .76 against the near one, nearly 1 against the other: random .88 at best,
    for a direction that is learned without error.
    """
    table = pd.DataFrame(measured().rows).query("split == 'forget' and layer > 0 and subject == 'original'")
    accuracy = table.groupby("kind").accuracy.mean()
    assert 0.5 < accuracy[HARD] < 0.76 + 0.16  # 30 items: two standard errors of .08
    assert accuracy[HARD] + 0.05 < accuracy[RANDOM] < 0.88 + 0.1
    wide = table.pivot(index="layer", columns="kind", values="accuracy")
    assert (wide[HARD] <= wide[RANDOM]).all()
    assert set(accuracy.index) == set(KINDS)
    assert accuracy[HARD] <= accuracy[MIXED] <= 1.0
    assert table.shuffled.mean() == pytest.approx(0.5, abs=0.15)


def test_random_is_the_truth_probe_itself() -> None:
    truth = pd.DataFrame(Truth(nulls=3).measure(graded()).rows).query("split == 'forget'")
    own = (
        pd.DataFrame(measured().rows).query("split == 'forget'").query("kind == @RANDOM", local_dict={"RANDOM": RANDOM})
    )
    keys = ["subject", "layer"]
    pd.testing.assert_series_equal(
        own.set_index(keys).accuracy.sort_index(), truth.set_index(keys).accuracy.sort_index()
    )


def test_what_is_planted_is_read_and_what_was_removed_is_a_coin() -> None:
    found = conclude(QUICK.measure(world(5.0)).panel)
    assert found.original.value > 0.9
    assert found.residual is not None
    assert found.residual.low > 0.7
    gone = conclude(QUICK.measure(world(0.0)).panel)
    assert gone.candidate.value == pytest.approx(0.5, abs=0.27)  # 30 items: standard error 0.09
    assert gone.residual is not None
    assert gone.residual.low < 0.2


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = graded()
    for (role, split, variant), states in list(bench.planted.items()):
        if role == "original":
            bench.planted["candidate", split, variant] = states  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(world(5.0, reference=False))
    assert reading.panel.null == "holdout"
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert residual.value > 0.6


def test_answers_that_no_neighbour_has_leave_that_kind_out() -> None:
    import dataclasses

    bench = graded()
    retained = bench.case.corpora["retain"]
    items = tuple(dataclasses.replace(i, answer=f"only {i.id}") for i in retained.items)
    corpora = {**bench.case.corpora, "retain": dataclasses.replace(retained, items=items)}
    bench.case = dataclasses.replace(bench.case, corpora=corpora)
    kinds = {row.kind for row in QUICK.measure(bench).rows}
    assert kinds == set(KINDS) - {NEIGHBOUR}


def test_without_wrong_answers_the_question_does_not_apply() -> None:
    forget = [Item(f"forget:{i}", "?", "!", entity=str(i)) for i in range(6)]
    bench = PlantedBench(case_of({"forget": forget, "retain": forget}), {})
    with pytest.raises(NotApplicable, match="wrong answers"):
        QUICK.measure(bench)


def test_a_holdout_without_wrong_answers_is_no_control() -> None:
    bench = graded(reference=False)
    corpora: Any = {s: c.items for s, c in bench.case.corpora.items()}
    corpora["holdout"] = [Item(f"holdout:{i}", "?", "!", entity=str(i)) for i in range(30)]
    finding = collect("probes.linear", QUICK, PlantedBench(case_of(corpora, reference=False), bench.planted), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "no control" in finding.reason
