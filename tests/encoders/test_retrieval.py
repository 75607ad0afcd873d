"""Ranks, precision, propensity and the modality gap on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from audit.evidence.behaviour.retrieval import Search, over_propensity, propensity, recall
from audit.evidence.drift.modality_gap import centroid_gap, pair_distances

SCORES = np.array(
    [
        [0.9, 0.8, 0.1, 0.0, 0.2],
        [0.1, 0.9, 0.8, 0.7, 0.6],
        [0.5, 0.4, 0.3, 0.2, 0.1],
        [0.0, 0.1, 0.2, 0.3, 0.4],
    ],
    np.float32,
)
RIGHT = np.array([[1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 1]], bool)
WEIGHTS = np.array([1.0, 2.0, 4.0, 1.0, 1.0])


@pytest.fixture
def search() -> Search:
    return Search(SCORES, RIGHT, WEIGHTS, list("abcd"), list("abcd"))


def test_ranks_recall_and_precision_by_hand(search: Search) -> None:
    ranks = search.found()
    # First query: entry 0 is nearest. Second: entry 2 is second, entry 0 last. Third: entry 2 is third. Fourth, from
    # its end: entries 4, 3, 2, 1, 0, so that 4 is first, 3 second, 1 fourth.
    assert ranks[RIGHT].tolist() == [1, 5, 2, 3, 4, 2, 1]
    assert np.isnan(ranks[~RIGHT]).all()
    assert recall(ranks, 1).tolist() == [1, 0, 0, pytest.approx(1 / 3)]
    assert recall(ranks, 2).tolist() == [1, 0.5, 0, pytest.approx(2 / 3)]
    assert ((ranks <= 2).sum(1) / 2).tolist() == [0.5, 0.5, 0, 1]


def test_propensity_scored_precision_by_hand(search: Search) -> None:
    # Found among the first two: weights 1; 4; none; 1 + 1. The most that could be: 1; 4 + 1; 4; 2 + 1.
    assert propensity(search, search.found(), 2) == pytest.approx((1 + 4 + 0 + 2) / (1 + 5 + 4 + 3))
    # All alike weigh alike: what is then left is precision over the best precision possible.
    alike = Search(SCORES, RIGHT, np.ones(5), list("abcd"), list("abcd"))
    assert propensity(alike, alike.found(), 2) == pytest.approx((1 + 1 + 0 + 2) / (1 + 2 + 1 + 2))


def test_rare_answers_weigh_more() -> None:
    weights = over_propensity(np.array([1.0, 10.0, 89.0]))
    c = (np.log(100) - 1) * 2.5**0.55
    assert weights.tolist() == pytest.approx([1 + c * (n + 1.5) ** -0.55 for n in (1, 10, 89)])
    assert weights[0] > weights[1] > weights[2] > 1


def test_a_collapsed_model_finds_nothing() -> None:
    """Where all scores are equal, an argmax takes the first entry, and half of the right ones may stand there."""
    scores, right = np.zeros((4, 11), np.float32), np.zeros((4, 11), bool)
    right[:, 0] = True
    ranks = Search(scores, right, np.ones(11), list("abcd"), list("abcd")).found()
    assert (scores.argmax(1) == 0).all()
    assert ranks[:, 0].tolist() == [6.0] * 4
    assert recall(ranks, 5).sum() == 0


def test_a_second_right_answer_is_no_mistake() -> None:
    """One image with two captions: the naive count, one right entry a row, calls the other caption wrong."""
    from types import SimpleNamespace
    from typing import Any

    from audit.evidence.behaviour.retrieval import forth
    from audit.types import Corpus, Item, Picture

    dog, cat = (Picture(name, name) for name in ("dog", "cat"))
    pairs = [(dog, "a dog"), (dog, "an animal"), (cat, "a cat")]
    items = tuple(Item(f"forget:{k}", "x", text, image=image) for k, (image, text) in enumerate(pairs))
    corpus = Corpus("forget", items, "x")
    scores = np.array([[0.0, 0.8, 0.9], [0.0, 0.8, 0.9], [0.9, 0.1, 0.0]], np.float32)  # a cat, a dog, an animal
    bench: Any = SimpleNamespace(
        gallery=("a cat", "a dog", "an animal"), corpus=lambda split: corpus, has=lambda split: split == "forget",
        outputs=lambda role, split: scores,
    )  # fmt: skip
    found = forth(bench, "original", "forget")
    assert found.right.tolist() == [[False, True, True], [False, True, True], [True, False, False]]
    assert ((found.found() <= 1).sum(1) / 1).tolist() == [1, 1, 1]
    assert recall(found.found(), 2).tolist() == [1, 1, 1]


def test_the_gap_of_clouds_by_hand() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    even = np.full((1, 2), 0.5)
    assert centroid_gap(x, x, even).tolist() == [0]
    assert centroid_gap(x, -x, even).tolist() == pytest.approx([np.sqrt(2)])  # (1/2, 1/2) and its opposite
    assert centroid_gap(x, -x, np.array([[1.0, 0.0]])).tolist() == [2]
    own, other, spread = pair_distances(x, x, ["a", "b"])
    assert [own, other, spread] == pytest.approx([0, 2, -4])
    # Two pictures of one text are no pair of different ones.
    assert np.isnan(pair_distances(x, x, ["a", "a"])[1])
