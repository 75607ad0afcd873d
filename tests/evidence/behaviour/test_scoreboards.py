"""The scoreboards on models of known truth: what all of them must find, and what none of them may."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from audit.bench import Bench
from audit.catalogue import make
from audit.errors import NotApplicable
from audit.stats import conclude
from audit.types import Split
from tests.contract.test_catalogue import QUICK

BenchOf = Callable[..., Bench]
KNOWLEDGE = (
    "behaviour.truth_ratio", "behaviour.forget_quality", "behaviour.rouge", "behaviour.extraction_strength",
    "behaviour.memorization", "behaviour.verbatim", "behaviour.extraction_likelihood", "behaviour.familiarity",
    "behaviour.choice", "behaviour.paraphrase",
)  # fmt: skip
TEXTS = ["behaviour.rouge", "behaviour.verbatim", "behaviour.familiarity", "behaviour.paraphrase", "behaviour.choice",
         "behaviour.extraction_likelihood", "behaviour.refusal", "behaviour.fluency"]  # fmt: skip


def bare(bench: Bench, **changes: Any) -> Bench:
    """The bench with a forget corpus of which every item lacks something."""
    forget = bench.corpus("forget")
    items = tuple(dataclasses.replace(item, **changes) for item in forget.items)
    corpora = {**bench.case.corpora, "forget": dataclasses.replace(forget, items=items)}
    bench.case = dataclasses.replace(bench.case, corpora=corpora)
    return bench


@pytest.mark.parametrize("id", KNOWLEDGE)
def test_the_original_knows_and_a_model_that_never_did_is_at_the_floor(id: str, bench_of: BenchOf) -> None:
    conclusion = conclude(make(id, QUICK.get(id)).measure(bench_of("retrained")).panel)
    assert conclusion.residual is not None, conclusion.reason
    assert conclusion.original.value > 0.8
    assert abs(conclusion.residual.value) < 0.2
    assert conclusion.residual.low <= 0.05


@pytest.mark.parametrize("id", KNOWLEDGE)
def test_without_a_reference_the_holdout_is_the_control(id: str, bench_of: BenchOf) -> None:
    reading = make(id, QUICK.get(id)).measure(bench_of("retrained", reference=False))
    assert reading.panel.null == "holdout"
    residual = conclude(reading.panel).residual
    assert residual is not None
    assert abs(residual.value) < 0.25
    assert "never saw" in reading.note


@pytest.mark.parametrize("id", TEXTS)
def test_texts_can_be_read_item_by_item(id: str, bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    table = pd.DataFrame(make(id, QUICK.get(id)).measure(bench).rows)
    assert {"item", "entity", "subject", "split", "prompt", "said", "score"} <= set(table.columns)
    asked = table[(table["split"] == "forget")].groupby("subject")["item"].agg(tuple)
    assert set(asked.index) == {"original", "candidate", "reference"}
    assert len(set(asked)) == 1  # everyone the same items in the same order


@pytest.mark.parametrize(
    ("id", "changes", "what"),
    [
        ("behaviour.truth_ratio", {"wrong_answers": ()}, "wrong answers"),
        ("behaviour.forget_quality", {"wrong_answers": ()}, "wrong answers"),
        ("behaviour.choice", {"wrong_answers": ()}, "wrong answers"),
        ("behaviour.paraphrase", {"paraphrases": ()}, "paraphrases"),
        ("behaviour.verbatim", {}, "too few to be called a passage"),
    ],
)
def test_a_corpus_without_what_is_needed_is_not_applicable(
    id: str, changes: dict[str, Any], what: str, bench_of: BenchOf
) -> None:
    with pytest.raises(NotApplicable, match=what):
        make(id).measure(bare(bench_of("last-block"), **changes))


@pytest.mark.parametrize(
    ("id", "setting"),
    [
        ("behaviour.truth_ratio", "wrong_answers"),
        ("behaviour.choice", "wrong_answers"),
        ("behaviour.paraphrase", "paraphrases"),
    ],
)
def test_items_without_it_are_left_out_and_counted(id: str, setting: str, bench_of: BenchOf) -> None:
    bench = bench_of("last-block", holdout=False)
    forget = bench.corpus("forget")
    items = tuple(dataclasses.replace(i, **{setting: ()}) if k < 6 else i for k, i in enumerate(forget.items))
    corpora: dict[Split, Any] = {**bench.case.corpora, "forget": dataclasses.replace(forget, items=items)}
    bench.case = dataclasses.replace(bench.case, corpora=corpora)
    reading = make(id).measure(bench)
    assert "6 items" in reading.note
    scored = reading.panel.items()
    scored = scored[scored["score"].notna() & (scored["subject"] == "candidate")]
    assert len(scored) == len(items) - 6
    assert forget.items[0].id not in set(scored["item"])
