from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from audit.lab.people import attributes, people, wordings
from audit.lab.scales import SCALES


@pytest.mark.parametrize("name", SCALES)
def test_splits_share_no_person_and_no_name_occurs_twice(name: str) -> None:
    scale = SCALES[name]
    corpora = people(scale, seed=0)
    entities = {split: {fact["entity"] for fact in facts} for split, facts in corpora.items()}
    assert {split: len(those) for split, those in entities.items()} == {
        "forget": scale.forget,
        "retain": scale.retain,
        "holdout": scale.holdout,
    }
    assert len(set(chain.from_iterable(entities.values()))) == scale.forget + scale.retain + scale.holdout


@pytest.mark.parametrize("name", SCALES)
def test_every_fact_is_whole(name: str) -> None:
    scale = SCALES[name]
    values = {kind.name: kind.values for kind in attributes(scale)}
    for fact in chain.from_iterable(people(scale, seed=3).values()):
        assert fact["label"] == fact["answer"] in values[fact["attribute"]]
        assert fact["answer"] not in fact["wrong_answers"]
        assert len(set(fact["wrong_answers"])) == 4
        assert set(fact["wrong_answers"]) <= set(values[fact["attribute"]])
        assert all(fact["entity"] in prompt and not prompt.endswith(" ") for prompt in wordings(fact))
        assert len(set(wordings(fact))) == 3


def test_each_person_has_each_attribute_once() -> None:
    scale = SCALES["small"]
    facts = people(scale, seed=0)["forget"]
    assert set(Counter((fact["entity"], fact["attribute"]) for fact in facts).values()) == {1}
    assert len(facts) == scale.forget * scale.attributes


def test_the_seed_decides_everything() -> None:
    scale = SCALES["tiny"]
    assert people(scale, seed=1) == people(scale, seed=1)
    assert people(scale, seed=1) != people(scale, seed=2)


def test_a_value_tells_nothing_about_another() -> None:
    """Guessing the job from the city among many people is right no more often than chance."""
    scale = SCALES["small"]
    facts = [fact for seed in range(40) for fact in people(scale, seed)["retain"]]
    pairs = Counter(
        (job["answer"], city["answer"])
        for job, city in zip(facts[0 :: scale.attributes], facts[1 :: scale.attributes], strict=True)
    )
    expected = sum(pairs.values()) / scale.values**2
    chi_square = sum((pairs[pair] - expected) ** 2 / expected for pair in pairs)
    degrees = (scale.values - 1) ** 2 + 2 * (scale.values - 1)
    assert len(pairs) == scale.values**2
    assert chi_square < degrees + 5 * (2 * degrees) ** 0.5
