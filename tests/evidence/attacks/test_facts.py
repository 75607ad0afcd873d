"""The attacker never trains on what is tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.bench import Bench
from audit.errors import NotApplicable
from audit.evidence.attacks._facts import facts_of, facts_split, gives, gives_away, shared_attributes
from audit.types import Item


def item(index: int, entity: str | None, attribute: str | None, answer: str, prompt: str | None = None) -> Item:
    return Item(f"forget:{index}", prompt or f"{attribute} of {entity}?", answer, entity=entity, attribute=attribute)


def test_one_attribute_of_everyone_is_trained_in_turn() -> None:
    items = [item(0, "A", "job", "baker"), item(1, "A", "city", "Oslo"), item(2, "B", "job", "nurse"),
             item(3, "B", "city", "Lima")]  # fmt: skip
    # Alphabetical: city, job. Run 0 trains city, run 1 job, run 2 city again.
    for run, trained in ((0, [1, 3]), (1, [0, 2]), (2, [1, 3])):
        facts = facts_split(items, run)
        assert np.flatnonzero(facts.trained).tolist() == trained
        assert np.flatnonzero(facts.tested).tolist() == [i for i in range(4) if i not in trained]
    assert facts_split(items, 1).by == "the attribute job"


def test_without_shared_attributes_the_entities_are_halved_and_swapped() -> None:
    items = [item(i, f"P{i // 2}", None, f"answer {i}", f"question {i}?") for i in range(12)]
    first, second = facts_split(items, 0), facts_split(items, 1)
    assert first.by == "half of the entities"
    assert (
        first.trained.sum() == 6 and (first.trained == second.tested).all() and (second.trained == first.tested).all()
    )
    who = np.array([i.entity for i in items])
    assert not set(who[first.trained]) & set(who[first.tested])


def test_a_fact_that_repeats_a_trained_one_is_not_tested() -> None:
    items = [
        item(0, "A", "job", "baker"), item(1, "A", "hobby", "Baker "),  # the same answer for the same person
        item(2, "B", "job", "nurse"), item(3, "B", "hobby", "chess"),
    ]  # fmt: skip
    # Alphabetical: hobby, job; run 1 trains job.
    assert np.flatnonzero(facts_split(items, 1).tested).tolist() == [3]


def test_a_sentence_that_holds_the_answer_gives_it_away() -> None:
    tested = Item("forget:0", "Where was Ada Moss born?", "Rome", entity="Ada Moss", paraphrased_answer="in Italy")
    other = Item("forget:1", "Who is Ada Moss?", "Ada Moss: a nurse, born in Rome", entity="ada moss ")
    asking = Item("forget:2", "How did Ada Moss leave Rome?", "by train", entity="Ada Moss")
    wording = Item("forget:3", "Who is Ada Moss?", "a nurse born in Italy", entity="Ada Moss")
    # Neither another person's Rome nor Romeo, whose name begins alike.
    bo = Item("forget:4", "Who is Bo?", "a nurse, born in Rome", entity="Bo")
    romeo = Item("forget:5", "Whom does Ada Moss love?", "Romeo", entity="Ada Moss")
    nameless = Item("forget:6", "Who is she?", "born in Rome")
    others = [other, asking, wording, bo, romeo, nameless]
    assert [gives_away(one, tested) for one in others] == [True, True, True, False, False, False]
    assert not gives_away(tested, other)
    assert gives(others, [tested, bo]).tolist() == [[True, False]] * 3 + [[False, True]] + [[False, False]] * 2


def test_what_a_trained_sentence_tells_is_not_tested() -> None:
    items = [
        item(0, "A", "life", "a nurse, born in Rome"), item(1, "A", "city", "Rome"),
        item(2, "B", "life", "a baker"), item(3, "B", "city", "Rome"),
    ]  # fmt: skip
    # Alphabetical: city, life. Run 1 trains lives, and A's tells A's city; run 0 trains cities, which tell no life.
    assert np.flatnonzero(facts_split(items, 1).tested).tolist() == [3]
    assert np.flatnonzero(facts_split(items, 0).tested).tolist() == [0, 2]


def test_facts_of_single_words_are_split_as_by_equal_answers(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items
    for run in range(3):
        split = facts_split(items, run)
        known = facts_of(item for item, yes in zip(items, split.trained, strict=True) if yes)
        assert (split.tested == ~split.trained & [not facts_of([item]) & known for item in items]).all()
        assert split.tested.sum() == 40


def test_attributes_of_a_few_entities_do_not_split_facts() -> None:
    # Every item has an attribute of its own: training one of them would be training one fact.
    items = [item(i, f"P{i}", f"a{i}", f"x{i}") for i in range(6)]
    assert shared_attributes(items) == []
    assert facts_split(items, 0).by == "half of the entities"


def test_items_of_unknown_attribute_are_left_out_where_attributes_split() -> None:
    items = [item(0, "A", "job", "x"), item(1, "A", "city", "y"), item(2, "A", None, "z")]
    facts = facts_split(items, 0)
    assert not facts.trained[2] and not facts.tested[2]


def test_one_fact_cannot_be_split() -> None:
    with pytest.raises(NotApplicable, match="cannot be split"):
        facts_split([item(0, "A", None, "x")], 0)


names = st.sampled_from([None, "A", "B", "C", "D"])
facts = st.builds(
    item, st.integers(0, 99), names, st.sampled_from([None, "job", "city", "song"]),
    st.sampled_from(["x", "y", "z", "X "]), st.sampled_from(["p?", "q?", "r?"]),
)  # fmt: skip


@given(st.lists(facts, min_size=1, max_size=20), st.integers(0, 5), st.integers(0, 3))
def test_trained_and_tested_share_nothing(items: list[Item], run: int, seed: int) -> None:
    try:
        split = facts_split(items, run, seed)
    except NotApplicable:
        assume(False)
        raise
    assert not (split.trained & split.tested).any()
    trained = [i for i, yes in zip(items, split.trained, strict=True) if yes]
    tested = [i for i, yes in zip(items, split.tested, strict=True) if yes]
    assert trained and tested
    assert not facts_of(trained) & facts_of(tested)
    assert not {(i.prompt, i.answer) for i in trained} & {(i.prompt, i.answer) for i in tested}
    assert not {(i.entity, i.answer) for i in trained if i.entity} & {(i.entity, i.answer) for i in tested if i.entity}
