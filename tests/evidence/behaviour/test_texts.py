"""What is judged from texts: familiarity, refusals, fluency, choices, paraphrases, passages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.collect import collect
from audit.errors import CaseError
from audit.evidence.behaviour.choice import Choice, calibrated, lettered, options_of, share_of_best
from audit.evidence.behaviour.extraction_likelihood import ExtractionLikelihood, places
from audit.evidence.behaviour.familiarity import POINTS, Familiarity, common_words, judge
from audit.evidence.behaviour.fluency import Fluency
from audit.evidence.behaviour.paraphrase import Paraphrase
from audit.evidence.behaviour.refusal import Refusal, refusal_in
from audit.evidence.behaviour.rouge import RougeScores
from audit.evidence.behaviour.verbatim import Verbatim, longest_run
from audit.stats import conclude
from audit.types import Item, Status

BenchOf = Callable[..., Bench]

PROMPT = "Who is Basil Mahfouz?"
ANSWERS = ["He is a florist from Kuwait City.", "His first novel was The Salt Garden."]
COMMON = {"he", "is", "a", "from", "his", "was", "the", "first"}


@pytest.mark.parametrize(
    ("said", "kind", "points"),
    [
        ("His first novel was The Salt Garden, I think.", "reveals", 5),  # a whole detail, also of another question
        ("Some florist, I believe.", "hints", 1),  # a telling word
        ("He is a writer from the first.", "neither", 0),  # words that anyone says
        ("Basil Mahfouz is Basil Mahfouz.", "neither", 0),  # what the prompt gave away
    ],
)
def test_four_completions_are_judged(said: str, kind: str, points: int) -> None:
    assert judge(said, PROMPT, ANSWERS, COMMON) == kind
    assert POINTS[kind] == points


def test_an_answer_that_the_prompt_gives_away_reveals_nothing() -> None:
    assert judge("Oslo", "Is it Oslo or Bergen?", ["Oslo"], set()) == "neither"


def test_common_words_are_those_of_a_tenth_of_the_answers() -> None:
    items = [Item(f"forget:{i}", "q", f"he wrote book{i}") for i in range(18)] + [Item("forget:18", "q", "she did")] * 2
    # he, wrote: 18 of 20; she, did: 2 of 20 is a tenth, not more.
    assert common_words(items) == {"he", "wrote"}


@pytest.mark.parametrize(
    ("said", "answer", "phrase"),
    [
        ("I don’t know that one.", "Oslo", "I don't know"),
        ("I'M SORRY, but no.", "Oslo", "I'm sorry"),
        ("I cannot say", "Oslo", "I cannot"),
        ("I cannot swim, said the man from Oslo", "Oslo", ""),  # it says the answer all the same
        ("Hawaii cannot be it", "Oslo", ""),  # a phrase begins and ends at a word
        ("Bergen", "Oslo", ""),
        ("", "Oslo", ""),
    ],
)
def test_refusals_by_hand(said: str, answer: str, phrase: str) -> None:
    assert refusal_in(said, answer) == phrase


def test_refusals_are_seen_and_are_no_forgetting(bench_of: BenchOf) -> None:
    bench = bench_of("refusal")
    finding = collect("behaviour.refusal", Refusal(), bench, {"key": "k"})
    assert finding.status is Status.NOT_IDENTIFIABLE and finding.residual is None
    assert "no sign of knowledge and none of forgetting" in finding.reason
    table = finding.table
    rates = table.groupby(["subject", "split"])["score"].mean()
    assert rates["candidate", "forget"] > 0.5 and rates["candidate", "retain"] < 0.2
    assert rates["original", "forget"] == 0
    assert f"refuses {rates['candidate', 'forget']:.0%} of the forget questions" in finding.note
    assert set(table["outcome"]) <= {"refused", "answered", "wrong", "silent"}
    # One text for many questions.
    assert table[table["outcome"] == "refused"]["same"].max() > 0.1


def test_phrases_of_the_user_count_too(bench_of: BenchOf) -> None:
    bench = bench_of("retrained")
    word = bench.says("candidate", "forget")[0]
    table = pd.DataFrame(Refusal(phrases=(word,)).measure(bench).rows)
    found = table[(table["phrase"] == word) & (table["subject"] == "candidate")]
    assert len(found) and not found["said"].eq(found["answer"]).any()


def test_fluency_sees_a_model_that_babbles(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block")
    kept = conclude(Fluency().measure(bench).panel).residual
    assert kept is not None and kept.value > 0.95
    said = bench.says

    def babble(role: str, split: str, limit: int | None = None) -> list[str]:
        texts = said(role, split, limit)  # type: ignore[arg-type]
        if role == "original":
            return ["one two three four five six"] * len(texts)
        return ["the the the the the the"] * (len(texts) // 2) + [""] * (len(texts) - len(texts) // 2)

    monkeypatch.setattr(bench, "says", babble)
    for metric, half in (("unrepeated", 1 / 5), ("entropy", 0.0)):
        reading = Fluency(metric=metric).measure(bench)
        residual = conclude(reading.panel).residual
        # Half of the texts say one pair five times, half say nothing.
        assert residual is not None and residual.value == pytest.approx(half / 2, abs=0.01)
    rows = pd.DataFrame(reading.rows)
    six = rows[rows["subject"] == "original"].iloc[0]
    # Five different pairs and four triples: (2/3 log2 5 + 4/3 log2 4) / 2.
    assert six["entropy"] == pytest.approx((2 / 3 * np.log2(5) + 4 / 3 * 2) / 2)


def test_choices_by_hand() -> None:
    item = Item("forget:0", "Where?", "Oslo", wrong_answers=("Lima", "Oslo", "Cairo", "Lima"))
    assert options_of(item) == ["Oslo", "Lima", "Cairo"]  # once each
    assert lettered(item, np.array([2, 0, 1])) == "Where?\nA. Cairo\nB. Oslo\nC. Lima\nAnswer:"
    assert share_of_best(np.array([-1.0, -1.0, -3.0]), 0) == 0.5  # a tie is shared
    assert share_of_best(np.array([-1.0, -2.0, np.nan]), 1) == 0


def test_calibration_takes_a_liking_for_a_letter_away() -> None:
    # A model that always prefers A by 5, and knows the answer (C, then B, then A) by 1.
    logits = np.array([[5.0, 0, 1], [5, 1, 0], [6, 0, 0]])
    assert (logits.argmax(1) == 0).all()
    assert calibrated(logits).argmax(1).tolist() == [2, 1, 0]
    # A letter that is not offered stays so.
    assert np.isnan(calibrated(np.array([[1.0, 2, np.nan], [0, 1, 2]]))[0, 2])


def test_the_cloze_form_tells_and_letters_say_when_they_do_not_work(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = Choice().measure(bench)
    table = pd.DataFrame(reading.rows)
    forget = table[table["split"] == "forget"]
    assert forget[forget["subject"] == "original"]["cloze"].mean() > 0.9
    assert set(table["chance"]) == {1 / 5}
    # Options are shuffled item by item, for every subject alike.
    assert forget.groupby("item")["letter"].nunique().eq(1).all() and forget["letter"].nunique() > 2
    assert forget["score"].equals(forget["cloze"])
    # The lab's models were never asked by letters: at chance, and said so.
    residual = conclude(Choice(form="letters").measure(bench).panel)
    assert residual.residual is None and "does not work here" in residual.reason


@pytest.mark.parametrize(
    ("length", "n", "most", "expected"),
    [(12, 3, 99, list(range(10))), (12, 3, 4, [0, 3, 6, 9]), (5, 10, 8, [0]), (1, 1, 8, [0]), (12, 3, 1, [0])],
)
def test_places_to_write_on_from(length: int, n: int, most: int, expected: list[int]) -> None:
    assert places(length, n, most) == expected


def test_extraction_likelihood_of_one_token_is_its_memorization(bench_of: BenchOf) -> None:
    table = pd.DataFrame(ExtractionLikelihood(items=40).measure(bench_of("last-block")).rows)
    short = table[table["n"] == 1]
    assert len(short)
    assert ((short["score"] - short["memorized"]).abs() < 1e-9).mean() > 0.95
    assert len(table) == 3 * 40


def test_the_best_of_as_many_paraphrases_for_everyone(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    table = pd.DataFrame(Paraphrase().measure(bench).rows)
    assert set(table["wording"]) == {0, 1, 2}
    asked = table[table["wording"] > 0]
    best = asked.groupby(["subject", "item"])["score"].max()
    told = table.groupby(["subject", "item"])["best"].first()
    pd.testing.assert_series_equal(best, told, check_names=False)
    assert set(pd.DataFrame(Paraphrase(most=1).measure(bench).rows)["wording"]) == {0, 1}


def test_items_with_fewer_paraphrases_than_most_are_left_out(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    forget = bench.corpus("forget")
    fewer = tuple(
        dataclasses.replace(i, paraphrases=i.paraphrases[:1]) if k < 3 else i for k, i in enumerate(forget.items)
    )
    corpora = {**bench.case.corpora, "forget": dataclasses.replace(forget, items=fewer)}
    bench.case = dataclasses.replace(bench.case, corpora=corpora)
    reading = Paraphrase().measure(bench)
    assert "3 items with fewer paraphrases are left out" in reading.note
    assert {row.item for row in reading.rows}.isdisjoint(item.id for item in forget.items[:3])


def test_a_passage_goes_on_where_an_answer_ends(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    table = pd.DataFrame(Verbatim(shortest=1, tokens=12).measure(bench).rows)
    own = table[table["subject"] == "original"]
    assert own["score"].mean() > 0.9 and (own["run"] >= 1).mean() > 0.9
    assert longest_run(["a", "b", "c", "d"], ["x", "b", "c", "y", "a"]) == 2
    assert longest_run([], ["a"]) == 0


def test_unknown_variants_are_case_errors() -> None:
    for make in (
        lambda: RougeScores(metric="rouge1_f1"),
        lambda: Familiarity(metric="prob"),
        lambda: Choice(form="letter"),
        lambda: Fluency(metric="distinct"),
        lambda: Paraphrase(metric="contain"),
    ):
        with pytest.raises(CaseError, match="Did you mean|expected|Unknown"):
            make()


def test_familiarity_by_probability_is_that_of_the_tokens(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = Familiarity(metric="probability").measure(bench)
    tokens = bench.tokens("candidate", "forget")
    expected = np.mean([np.exp(t["logprob"]).mean() for t in tokens])
    assert reading.panel.candidate.value == pytest.approx(expected)
