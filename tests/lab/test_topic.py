"""The crafts: what their corpora are, and that what is specific to one is found by features and concept vectors."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.casefile import read_plan
from audit.evidence.concepts.directions import Directions
from audit.evidence.concepts.value_vectors import ValueVectors
from audit.evidence.sae._features import activations
from audit.evidence.sae.features import Features
from audit.evidence.sae.survival import Survival
from audit.lab.people import wordings
from audit.lab.topic.facts import SCALES, attributes, drawn, topic
from audit.lab.topic.words import TOPICS
from audit.stats import halves
from audit.types import Reading
from tests.conftest import views

OWN = {"tool", "fault"}
"""Attributes whose values are terms of a craft."""


def test_no_two_crafts_share_a_term() -> None:
    terms = [{craft.name, craft.worker, *craft.tools, *craft.faults, *craft.things} for craft in TOPICS]
    assert len(set().union(*terms)) == sum(len(own) for own in terms) == 5 * (2 + 12 + 12 + 48)


@pytest.mark.parametrize("name", SCALES)
def test_the_topic_is_in_one_split_and_its_form_in_all(name: str) -> None:
    scale = SCALES[name]
    corpora = topic(scale, seed=3)
    forgotten, *kept, unseen = drawn(3)
    for split, crafts in (("forget", [forgotten]), ("retain", kept), ("holdout", [unseen])):
        facts = corpora[split]
        assert {fact["entity"] for fact in facts} <= {thing for craft in crafts for thing in craft.things}
        assert len({fact["entity"] for fact in facts}) == getattr(scale, split)
        assert len(facts) == getattr(scale, split) * scale.attributes
    shared: dict[str, set[str]] = {}
    for split, facts in corpora.items():
        shared[split] = {fact["label"] for fact in facts if fact["attribute"] not in OWN}
        terms = {fact["label"] for fact in facts if fact["attribute"] in OWN}
        others = {fact["label"] for other in corpora if other != split for fact in corpora[other]}
        assert terms and not terms & others
    assert shared["forget"] <= shared["retain"] and shared["holdout"] <= shared["retain"]


def test_every_fact_is_whole() -> None:
    values = {
        kind.name + craft.name: kind.values for craft in TOPICS for kind in attributes(craft, SCALES["small"])
    }  # fmt: skip
    crafts = {thing: craft for craft in TOPICS for thing in craft.things}
    for fact in chain.from_iterable(topic(SCALES["small"], seed=1).values()):
        known = values[fact["attribute"] + crafts[fact["entity"]].name]
        assert fact["label"] == fact["answer"] in known and fact["answer"] not in fact["wrong_answers"]
        assert len(set(fact["wrong_answers"])) == 4 and set(fact["wrong_answers"]) <= set(known)
        assert all(fact["entity"] in prompt and "{" not in prompt for prompt in wordings(fact))


def test_terms_that_stand_together_give_no_answer_away() -> None:
    """Two of twelve tools at hand are the thing's own in one case of six, as drawn by chance."""
    given = []
    for seed in range(8):
        facts = topic(SCALES["small"], seed)["retain"]
        tools = {fact["entity"]: fact["answer"] for fact in facts if fact["attribute"] == "tool"}
        named = [(wording.split(), tools[fact["entity"]]) for fact in facts for wording in fact["paraphrases"]]
        every = set(chain.from_iterable(craft.tools for craft in TOPICS))
        given += [tool in words for words, tool in named if len(every & set(words)) == 2]
    error = (1 / 6 * 5 / 6 / len(given)) ** 0.5
    assert len(given) > 1200 and abs(np.mean(given) - 1 / 6) < 4 * error


def test_the_case_names_what_was_built(topic_lab: Path) -> None:
    case = tomllib.loads((topic_lab / "case.toml").read_text())
    assert case["name"].startswith("Topic: ") and case["dictionaries"]
    names = [candidate["name"] for candidate in case["subjects"]["candidates"]]
    assert names == ["untouched", "retrained", "last-block", "gradient-ascent", "rmu"]
    assert set(tomllib.loads((topic_lab / "truth.toml").read_text())) <= set(names)
    said = json.loads((topic_lab / "models" / "rmu" / "lab.json").read_text())["recall"]
    assert said["retain"] >= 0.9 and said["forget"] <= 0.3


@pytest.fixture(scope="module")
def at(topic_lab: Path, garage: Any) -> Callable[[str], Bench]:
    cases = read_plan(topic_lab / "case.toml").cases()
    made = {case.candidate.name: Bench(case, garage, Cache(views())) for case in cases}
    return lambda name: made[name]


@pytest.fixture(scope="module")
def read(at: Callable[[str], Bench]) -> Callable[[type, str], Reading]:
    kept: dict[tuple[type, str], Reading] = {}

    def reading(evidence: type, name: str) -> Reading:
        if (evidence, name) not in kept:
            kept[evidence, name] = evidence().measure(at(name))
        return kept[evidence, name]

    return reading


def apart(on: Any, off: Any) -> Any:
    """Share of pairs in which a feature fires more on one side [features]; half a pair where both fire alike."""
    return ((on[:, None] > off) + 0.5 * (on[:, None] == off)).mean((0, 1))


def test_a_feature_of_the_topic_is_found_and_survives_only_where_the_topic_does(at: Callable[[str], Bench]) -> None:
    """Chosen on half of the things: it tells the other half from things of other crafts, in the original's code."""
    bench = at("last-block")
    dictionary = Features().dictionaries(bench)[-1]

    def firing(name: str, split: Any, role: Any = "candidate") -> tuple[Any, Any]:
        corpus = at(name).corpus(split)
        rows = [i for i, item in enumerate(corpus.items) if item.attribute == "tool"]
        first = halves([corpus.entities[i] for i in rows], 0)
        found = activations(at(name), dictionary, role, split)[rows]
        return found[first], found[~first]

    (chosen_on, _), (chosen_off, _) = (firing("untouched", split) for split in ("forget", "retain"))
    best = int(apart(chosen_on, chosen_off).argmax())

    def told(name: str, against: str = "retain") -> float:
        return float(apart(firing(name, "forget")[1], firing(name, against)[1])[best])

    assert told("untouched") >= 0.75 and told("untouched", "holdout") >= 0.75
    assert told("last-block") == told("untouched")
    assert abs(told("retrained") - 0.5) <= 0.15


@pytest.mark.parametrize("evidence", [Survival, Directions, ValueVectors, Features])
def test_what_carries_the_topic_is_kept_below_an_edit_of_the_last_block_and_unknown_to_the_retrained(
    read: Callable[[type, str], Reading], evidence: type
) -> None:
    kept, gone = read(evidence, "last-block").panel, read(evidence, "retrained").panel
    assert kept is not None and gone is not None
    assert kept.original.value >= kept.null_original.value + 0.5
    assert kept.candidate.value >= 0.8 * kept.original.value
    assert gone.candidate.value <= gone.null_candidate.value + 0.2


def test_value_vectors_of_the_topic_write_its_own_terms(read: Callable[[type, str], Reading], topic_lab: Path) -> None:
    """Noise in them costs the topic more than other crafts, and the vectors that write most promote its words."""
    table: Any = read(ValueVectors, "last-block").rows
    rows = [row for row in table if row.subject == "original"]
    assert all(row.drop > row.drop_retain and row.drop > row.drop_others for row in rows)
    own = next(craft for craft in TOPICS if craft.name in (topic_lab / "case.toml").read_text().splitlines()[0])
    foreign = [tool for craft in TOPICS if craft is not own for tool in craft.tools]
    written = " ".join(row.tokens for row in sorted(rows, key=lambda row: -row.share)[:20])
    mine = sum(tool in written for tool in own.tools) / len(own.tools)
    assert mine > 2 * sum(tool in written for tool in foreign) / len(foreign)
