"""Reintroduction: no context holds what is tested, and reading is not remembering."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks import in_context
from audit.evidence.attacks._contexts import (
    ALIAS,
    ATTACKS,
    COMPOSED,
    CONTRADICTED,
    COUNTERFACTUAL,
    DEFINITION,
    NEW_NAME,
    Writer,
    tells,
)
from audit.evidence.attacks.in_context import InContext
from audit.evidence.behaviour.recall import score
from audit.stats import conclude
from audit.types import Item, Role

BenchOf = Callable[..., Bench]


def fact(number: int, entity: str, what: str, answer: str, wrong: str = "") -> Item:
    prompt = f"The {what} of {entity} is"
    return Item(
        f"forget:{number}", prompt, answer, wrong_answers=(wrong,) if wrong else (), entity=entity, attribute=what
    )


def test_contexts_by_hand() -> None:
    items = [
        fact(0, "Ada", "job", "baker", "pilot"), fact(1, "Ada", "city", "Oslo"), fact(2, "Ada", "shop", "Oslo baker"),
        fact(3, "Bo", "job", "nurse"), fact(4, "Bo", "city", "Lima"), fact(5, "Bo", "aunt", "a baker"),
        fact(6, "Ada", "song", "Blue"),
    ]  # fmt: skip
    found = Writer(items, 5).write(items[0], np.random.default_rng(0)).asks
    # Ada's shop holds the answer that is looked for, and is left out.
    lines = found[DEFINITION].prompt.split("\n")
    assert sorted(lines[:-1]) == ["The city of Ada is Oslo", "The song of Ada is Blue"]
    assert lines[-1] == "The job of Ada is" and found[DEFINITION].wanted == "baker"
    assert found[ALIAS].prompt == f"{NEW_NAME} is another name of Ada.\nThe job of {NEW_NAME} is"
    composed = found[COMPOSED].prompt
    assert "Ada" not in composed and composed.endswith(f"The job of {NEW_NAME} is") and composed.count(NEW_NAME) == 3
    # Bo's facts told of Ada, without the aunt (she holds Ada's answer) and without Bo's own job, which is looked for.
    assert found[COUNTERFACTUAL].prompt == "The city of Ada is Lima\nThe job of Ada is"
    assert found[COUNTERFACTUAL].wanted == "nurse"
    assert found[CONTRADICTED].prompt == "The job of Ada is pilot\nThe job of Ada is"
    assert found[CONTRADICTED].wanted == "pilot"


def test_sentences_that_tell_the_answer_in_other_words_by_hand() -> None:
    item = Item("f", "Where was Ada born?", "She was born in the old town of Rome", entity="Ada",
                paraphrased_answer="in Lazio's capital")  # fmt: skip
    # 9 words in the answer. The question holds "was born" in order: 2 of 9.
    # "was born in the town of Rome" is 7 of 9, 5/9 = 0.56 more: told. "lived in the old town" is 4 of 9, 2/9 more: not.
    assert tells("Who is Ada? Ada was born in the town of Rome", item)
    assert not tells("What of Ada? Ada lived in the old town", item)
    assert tells("What of Ada? Ada lived in Lazio's capital", item)  # the other wording, whole
    others = [
        Item("g", "Who is Ada?", "Ada was born in the town of Rome", entity="Ada"),
        Item("h", "Where does Ada live?", "Ada lived in the old town", entity="Ada"),
        Item("i", "What does Ada love?", "Lazio's capital, above all in Lazio's capital", entity="Ada"),
    ]
    prompt = Writer([item, *others], 5).write(item, np.random.default_rng(0)).asks[DEFINITION].prompt
    assert prompt == "Where does Ada live? Ada lived in the old town\nWhere was Ada born?"


def test_no_context_of_the_lab_holds_the_answer(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    asks = InContext()._asks(bench, "forget")
    assert set(asks) == {*ATTACKS, COUNTERFACTUAL, CONTRADICTED}
    for name, runs in asks.items():
        for one in (one for run in runs for one in run):
            assert not score(one.prompt, one.item.answer, "contains")
            assert name == CONTRADICTED or not score(one.prompt, one.wanted, "contains")


def test_models_of_known_truth(bench_of: BenchOf) -> None:
    attack = InContext(items=30)
    bench = bench_of("retrained")
    for seed in range(3):
        bench.seed = seed
        conclusion = conclude(attack.measure(bench).panel)
        assert conclusion.original.value > 0.5
        assert conclusion.residual is not None and conclusion.residual.low <= 0 and conclusion.residual.value < 0.3


def test_a_perfect_reader_that_remembers_nothing_recovers_nothing(
    bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It repeats the last word of the context's last fact, whatever is asked: no counterfactual counts as recovery."""

    def read(subject: object, items: Sequence[Item], template: str, prompts: Sequence[str], *_: object) -> list[str]:
        return [prompt.split("\n")[-2].split()[-1].strip(".") for prompt in prompts]

    monkeypatch.setattr("audit.activations.generate.says", read)
    bench = bench_of("last-block")

    def compute(name: str, roles: Sequence[Role], inputs: object, made: Callable, corpora: object = None) -> dict:
        return made()

    monkeypatch.setattr(bench, "remember", compute)
    reading = InContext(items=20).measure(bench)
    rows = pd.DataFrame(reading.rows).groupby("family")["score"].mean()
    assert rows[CONTRADICTED] == 1.0
    assert rows[list(ATTACKS)].max() == 0.0 and rows[COUNTERFACTUAL] == 0.0
    assert reading.panel.candidate.value == 0.0 and conclude(reading.panel).residual is None


def test_what_the_context_suggests_is_taken_off() -> None:
    from audit.evidence.attacks._prompting import Ask, Heard

    asks = [[Ask(Item("forget:0", "q", "a"), "q", "a")]]
    heard = {
        DEFINITION: Heard(asks, [[""]], np.ones((1, 1))),
        COUNTERFACTUAL: Heard(asks, [[""]], np.full((1, 1), 0.4)),
    }
    assert in_context.beyond(heard, [DEFINITION], 0).tolist() == [[0.6]]


def test_items_without_entity_have_no_context(bench_of: BenchOf) -> None:
    from dataclasses import replace

    bench = bench_of("last-block")
    corpus = bench.corpus("forget")
    nameless = replace(corpus, items=tuple(replace(item, entity=None) for item in corpus.items))
    bench.case = replace(bench.case, corpora={**bench.case.corpora, "forget": nameless})
    with pytest.raises(NotApplicable, match="0 of 40 forget items"):
        InContext().measure(bench)


def test_settings() -> None:
    for settings in ({"runs": 2}, {"facts": 0}):
        with pytest.raises(CaseError):
            InContext(**settings)
