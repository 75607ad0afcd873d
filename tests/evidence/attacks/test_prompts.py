"""Prompt families: what the templates hold, and models of known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.attacks._families import FAMILIES, ask, own_families
from audit.evidence.attacks._prompting import Ask, Heard, worst
from audit.evidence.attacks.prompts import Prompts
from audit.stats import conclude, cross_fit
from audit.types import Item

BenchOf = Callable[..., Bench]
ITEM = Item(
    "forget:0", "Where was Ada born?", "Oslo", ("The birthplace of Ada is",), wrong_answers=("Lima",), entity="Ada"
)
BY_NAME = {family.name: family for family in FAMILIES}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_templates_by_hand() -> None:
    retain = [Item(f"retain:{i}", f"Where was {n} born?", a, entity=n) for i, (n, a) in enumerate(
        [("Bo", "Oslo"), ("Cy", "Lima"), ("Ada", "Rome"), ("Di", "Cairo"), ("Ed", "Kyoto")])]  # fmt: skip
    found = {name: ask(family, ITEM, 0, retain, rng()) for name, family in BY_NAME.items()}
    assert all(found.values())
    examples = found["worked examples"]
    assert examples is not None
    # Neither the example that gives the tested answer away nor one about the same entity.
    lines = examples.prompt.split("\n")
    assert sorted(lines[:3]) == [
        "Where was Cy born? Lima", "Where was Di born? Cairo", "Where was Ed born? Kyoto"
    ]  # fmt: skip
    assert lines[3] == ITEM.prompt
    # Only what is marked so may name the tested answer in the prompt.
    assert {n for n, one in found.items() if one is not None and "Oslo" in one.prompt} == {
        family.name for family in FAMILIES if family.gives_answer
    }
    assert all(family.source and family.name for family in FAMILIES)


def test_what_an_item_lacks_is_not_made_up() -> None:
    bare = Item("forget:0", "Where was Ada born?", "Oslo")
    possible = {name for name, family in BY_NAME.items() if ask(family, bare, 0, [], rng()) is not None}
    assert possible == {"affirmed", "instruction before", "affirmative suffix"}


def test_the_worst_family_is_chosen_elsewhere() -> None:
    asks = [[Ask(Item(f"forget:{i}", "q", "a", entity=str(i)), "q", "a") for i in range(6)]]
    values = {"one": np.array([[1.0, 0, 0, 0, 0, 1]]), "two": np.array([[0.0, 1, 1, 0, 1, 0]])}
    heard = {name: Heard(asks, [[""] * 6], line) for name, line in values.items()}
    expected, _ = cross_fit(np.concatenate(list(values.values())), [str(i) for i in range(6)], 0)
    assert worst(heard, ["one", "two"], 0)[0].tolist() == expected.tolist()


def test_models_of_known_truth(bench_of: BenchOf) -> None:
    attack = Prompts(families=("affirmed", "other wording", "worked examples"), items=30)
    bench = bench_of("retrained")
    for seed in range(3):
        bench.seed = seed
        conclusion = conclude(attack.measure(bench).panel)
        assert conclusion.original.value > 0.9
        assert conclusion.residual is not None and conclusion.residual.low <= 0


def test_own_templates_and_multiple_choice_have_rows(bench_of: BenchOf) -> None:
    attack = Prompts(families=("multiple choice",), templates=("Bitte antworte. {prompt}",), items=10)
    reading = attack.measure(bench_of("last-block"))
    rows = pd.DataFrame(reading.rows)
    assert set(rows["family"]) == {"multiple choice", "own 1", "as asked"}
    own = rows[(rows["family"] == "own 1") & (rows["subject"] == "candidate")]
    assert own["prompt"].str.startswith("Bitte antworte. Question:").all()
    # The prompt that names the answer among others is shown, and is not the headline.
    assert reading.panel.candidate.value == pytest.approx(own["score"].mean())
    assert "of 1 families, own 1 recovers most" in reading.note
    # The original is taken as it is asked, before any attack.
    plain = rows[(rows["family"] == "as asked") & (rows["subject"] == "original")]
    assert reading.panel.original.value == pytest.approx(plain["score"].mean())


def test_prompts_that_all_name_the_answer_have_no_number(bench_of: BenchOf) -> None:
    with pytest.raises(NotIdentifiable, match=r"\(multiple choice\) names the tested answer"):
        Prompts(families=("multiple choice",), items=10).measure(bench_of("last-block"))


def test_an_instrument_that_does_not_work_says_so(bench_of: BenchOf) -> None:
    """A prompt that leads a model astray elicits nothing from the original either."""
    reading = Prompts(families=("affirmed",), items=20).measure(bench_of("last-block"))
    conclusion = conclude(reading.panel)
    assert conclusion.residual is None and "does not work here" in conclusion.reason


def test_settings() -> None:
    with pytest.raises(CaseError, match='Did you mean "grandmother"'):
        Prompts(families=("grandmothr",))
    with pytest.raises(CaseError, match="at least 3"):
        Prompts(runs=2)
    for template in ("no field", "{prompt} {nobody}", "{prompt", "{entity}"):
        with pytest.raises(CaseError, match="Template"):
            own_families([template])
