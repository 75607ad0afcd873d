"""ROUGE-L recall by hand, in more scripts than its own tokenizer knows, and on models of known truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.behaviour.recall import Recall, score
from audit.metrics.text import words
from audit.stats import conclude

BenchOf = Callable[..., Bench]


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        # Words of the answer: the, writer, was, born, in, oslo. Said in order: the, was, in, oslo -> 4 of 6.
        ("The poet was raised in Oslo", "The writer was born in Oslo", 4 / 6),
        # The longest common subsequence keeps the order: of (lima, peru) reversed only one counts -> 1 of 2.
        ("Peru, Lima", "Lima, Peru", 1 / 2),
        # The stemmer makes "writers" and "writer" one word, "books" and "book" too -> 2 of 2.
        ("writer book", "Writers' books", 1.0),
        # Words of up to three letters are not stemmed by rouge-score, so "cats" -> "cat" matches "cat".
        ("cat", "cats", 1.0),
        # More words than asked for cost nothing: it is a recall.
        ("I think that it was in Oslo, in Norway", "Oslo", 1.0),
        ("", "Oslo", 0.0),
    ],
)
def test_rouge_recall_by_hand(said: str, answer: str, expected: float) -> None:
    assert score(said, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("Он живёт в городе Москва", "Москва", 1.0),
        ("Он живёт в Киеве", "Москва", 0.0),
        # лев, толстой, 1910: rouge-score alone would see 1910 only and give 1.
        ("Лев Пушкин 1910", "Лев Толстой 1910", 2 / 3),
        # Chinese has no spaces, each character is a word: 东, 京 against 北, 京 -> 1 of 2.
        ("他住在北京", "东京", 1 / 2),
        ("東京です", "東京", 1.0),
        # A Korean particle is glued to its noun.
        ("서울은 수도다", "서울", 1.0),
        # Combining vowel signs belong to their letter, so that another vowel is another word.
        ("हिन्दी", "हिन्दी", 1.0),
        ("हन्द", "हिन्दी", 0.0),
        # Accented Latin letters alone leave rouge-score nothing.
        ("Ö", "Ö", 1.0),
        ("ß", "ß", 1.0),
        # No words at all: looked for as it stands.
        ("it is 🙂", "🙂", 1.0),
        ("it is", "🙂", 0.0),
    ],
)
def test_other_scripts(said: str, answer: str, expected: float) -> None:
    assert score(said, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("She was born in OSLO.", "Oslo", 1.0),
        ("in 1912", "12", 0.0),  # a part of a number is not the number
        ("New Delhi, then York", "New York", 0.0),  # the words must stand together
        ("ﬁne art", "fine", 1.0),  # NFKC takes the ligature apart
        ("東京です", "東京", 1.0),
        ("anything", "", 0.0),
    ],
)
def test_contains_the_whole_answer(said: str, answer: str, expected: float) -> None:
    assert score(said, answer, "contains") == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_scores_are_shares(said: str, answer: str) -> None:
    for metric in ("rougeL_recall", "contains"):
        assert 0 <= score(said, answer, metric) <= 1
    # What was said word for word is said.
    whole = score(answer, answer)
    assert whole == score(answer, answer, "contains")
    assert whole == 1 or not words(answer)


def test_unknown_metric_is_a_case_error() -> None:
    with pytest.raises(CaseError, match='Did you mean "contains"'):
        Recall(metric="contain")


def test_tells_the_original_from_the_reference(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = Recall().measure(bench)
    conclusion = conclude(reading.panel)
    assert conclusion.original.value > 0.9
    assert conclusion.reference is not None and conclusion.reference.value < 0.35
    assert conclusion.residual is not None and conclusion.residual.value < 0.6
    expected = (len(bench.corpus("forget")) + len(bench.corpus("holdout"))) * 3
    assert len(reading.rows) == expected
    assert "last-block says" in reading.note


def test_a_model_that_never_knew_is_at_the_floor(bench_of: BenchOf) -> None:
    residual = conclude(Recall().measure(bench_of("retrained")).panel).residual
    assert residual is not None and abs(residual.value) < 0.2


def test_without_reference_the_null_is_the_holdout(bench_of: BenchOf) -> None:
    panel = Recall(metric="contains").measure(bench_of("last-block", reference=False)).panel
    assert panel.null == "holdout" and panel.reference is None
    assert panel.null_original.value < 0.35


def test_without_any_control_there_is_no_number(bench_of: BenchOf) -> None:
    with pytest.raises(NotIdentifiable, match="no control"):
        Recall().measure(bench_of("last-block", reference=False, holdout=False))


def test_an_item_without_entity_is_its_own(bench_of: BenchOf) -> None:
    bench = bench_of("last-block", holdout=False)
    forget = bench.corpus("forget")
    nobody = dataclasses.replace(
        forget, items=tuple(dataclasses.replace(item, entity=None, attribute=None) for item in forget.items)
    )
    bench.case = dataclasses.replace(bench.case, corpora={**bench.case.corpora, "forget": nobody})
    reading = Recall().measure(bench)
    assert reading.panel.candidate.n == len(forget)
    assert {row.entity for row in reading.rows} == {item.id for item in forget.items}
