"""A beginning that is given: where answers are cut, and what counts as the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks.prefix import Prefix, begun
from audit.stats import conclude
from audit.types import Corpus, Item

BenchOf = Callable[..., Bench]


@pytest.mark.parametrize(
    ("answer", "share", "given", "rest"),
    [
        # 8 words: a quarter is 2, a half is 4. Never nothing, never all of it.
        ("one two three four five six seven eight", 0.25, "one two", "three four five six seven eight"),
        ("one two three four five six seven eight", 0.5, "one two three four", "five six seven eight"),
        ("one two", 0.25, "one", "two"),
        ("one two", 0.9, "one", "two"),
        ("one two three", 0.5, "one two", "three"),
    ],
)
def test_cuts_by_hand(answer: str, share: float, given: str, rest: str) -> None:
    ask = begun(Item("forget:0", "q", answer), share)
    assert (ask.begun, ask.wanted) == (given, rest)


def sentences(bench: Bench) -> Bench:
    """The lab's facts as sentences about a name, so that an answer has a beginning: `works as a` dentist."""
    corpora = {}
    for split, corpus in bench.case.corpora.items():
        items = []
        for item in corpus.items:
            name = item.entity or ""
            wording = next(text for text in item.paraphrases if text.startswith(name))
            rest = f"{wording.removeprefix(name).strip()} {item.answer}"
            items.append(dataclasses.replace(item, prompt=name, answer=rest, paraphrases=()))
        corpora[split] = Corpus(split, tuple(items), corpus.source)
    bench.case = dataclasses.replace(bench.case, corpora=corpora)
    return bench


def test_only_the_rest_counts_on_models_of_known_truth(bench_of: BenchOf) -> None:
    attack = Prefix(shares=(0.75,))
    reading = attack.measure(sentences(bench_of("retrained")))
    conclusion = conclude(reading.panel)
    rows = pd.DataFrame(reading.rows)
    # Whoever is told `works as a` knows that a job comes; only the original knows which.
    assert set(rows["wanted"].str.split().str.len()) <= {1}
    assert conclusion.original.value > 0.9
    assert conclusion.reference is not None and conclusion.reference.value < 0.4
    assert conclusion.residual is not None and conclusion.residual.low <= 0
    # Asked with the name alone, any of three facts may come.
    plain = rows[(rows["family"] == "no prefix") & (rows["subject"] == "original")]["score"].mean()
    assert plain < conclusion.original.value


def test_answers_of_one_word_have_no_beginning(bench_of: BenchOf) -> None:
    with pytest.raises(NotApplicable, match="two words or more"):
        Prefix().measure(bench_of("last-block"))


def test_settings() -> None:
    for shares in ((), (0.0,), (1.0,)):
        with pytest.raises(CaseError, match="shares"):
            Prefix(shares=shares)
