"""ROUGE against published per-item values; n-grams, entropy and extraction likelihood by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.metrics.memorization import exact_memorization, extraction_strength
from audit.metrics.text import (
    contains,
    cut_at,
    distinct,
    extraction_likelihood,
    ngram_entropy,
    ngrams,
    overlap,
    rouge,
    words,
)

EVAL = "results/open_unlearning/tofu_Llama-3.2-1B-Instruct_full/evals_forget10/TOFU_EVAL.json"


def test_published_rouge_of_every_answer_is_met(shared: Path) -> None:
    found = json.loads((shared / "data" / EVAL).read_text())
    names = {"forget_Q_A_ROUGE": 400, "retain_Q_A_ROUGE": 400, "ra_Q_A_ROUGE": 100, "wf_Q_A_ROUGE": 117}
    for name, number in names.items():
        items = found[name]["value_by_index"].values()
        assert len(items) == number
        ours = np.array([rouge(item["generation"], item["ground_truth"]) for item in items])
        theirs = np.array([[item["rouge1_recall"], item["rougeL_recall"], item["rougeL_f1"]] for item in items])
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert ours[:, 1].mean() == pytest.approx(found[name]["agg_value"], abs=1e-6)


def test_rouge_by_hand() -> None:
    # Answer: born in oslo norway; said: she was born in bergen norway. In order: born, in, norway -> 3.
    found = rouge("She was born in Bergen, Norway", "born in Oslo, Norway")
    assert found.rougeL_recall == pytest.approx(3 / 4)
    # precision 3/6, recall 3/4 -> 2 * 0.5 * 0.75 / 1.25
    assert found.rougeL_f1 == pytest.approx(0.6)
    # ROUGE-1 does not mind the order: lima, peru both there; in order only one.
    assert rouge("Peru, Lima", "Lima, Peru") == pytest.approx((1.0, 0.5, 0.5))


def test_the_stemmer_is_what_tells_the_two_variants_apart() -> None:
    assert rouge("writer", "writers").rougeL_recall == 1
    assert rouge("writer", "writers", stem=False).rougeL_recall == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oslo. Question: And who", "Oslo."),
        ("Oslo\nQuestion 2: And who", "Oslo"),
        ("Oslo\n\nBergen", "Oslo"),
        ("Oslo\nBergen", "Oslo\nBergen"),
        ("Question: Who?", ""),
        ("", ""),
    ],
)
def test_muse_cuts_where_the_model_asks_on(text: str, expected: str) -> None:
    assert cut_at(text) == expected


def test_entropy_by_hand() -> None:
    # a b a b c: pairs ab ba ab bc -> 1/2, 1/4, 1/4 -> 1.5 bits; triples aba bab abc -> log2 3.
    assert ngram_entropy(["a", "b", "a", "b", "c"]) == pytest.approx((2 / 3 * 1.5 + 4 / 3 * np.log2(3)) / 2)
    assert ngram_entropy(["a", "a", "a", "a", "a", "a"]) == 0
    assert ngram_entropy(["a"]) == ngram_entropy([]) == 0


def test_repetition_by_hand() -> None:
    # Six runs of four in nine words a b c d a b c d a: abcd bcda cdab dabc abcd bcda -> four different.
    assert distinct(["a", "b", "c", "d", "a", "b", "c", "d", "a"], 4) == pytest.approx(4 / 6)
    assert distinct(["a", "a", "a", "a"], 2) == pytest.approx(1 / 3)
    assert distinct(["a"], 2) == 1


TWELVE = list("abcdefghijkl")


def slip(prefix: int) -> list[str]:
    """How a model writes on that knows the twelve tokens but for the seventh, which it writes as x unless given."""
    return ["x" if place == 6 else TWELVE[place] for place in range(prefix, 12)]


def test_extraction_likelihood_on_twelve_tokens() -> None:
    n = 3
    # The rest after t given tokens has 10 - t triples. Those with the slip at place 6 are lost: the ones that begin at
    # 4, 5 or 6, as far as they lie behind t.
    #   t = 0: 7/10   1: 6/9   2: 5/8   3: 4/7   4: 3/6   5: 3/5   6: 3/4   7, 8, 9: 1
    expected = [7 / 10, 6 / 9, 5 / 8, 4 / 7, 3 / 6, 3 / 5, 3 / 4, 1, 1, 1]
    found = [overlap(slip(t), TWELVE[t:], n) for t in range(12 - n + 1)]
    assert [of_rest for of_rest, _ in found] == pytest.approx(expected)
    # As long as what is left, so that both denominators are the same.
    assert [of_own for _, of_own in found] == pytest.approx(expected)
    assert extraction_likelihood([of_rest for of_rest, _ in found]) == pytest.approx(sum(expected) / 10)
    assert sum(expected) / 10 == pytest.approx(0.7413095, abs=1e-6)
    # MA and extraction strength of the same model: one of twelve tokens is wrong, and five follow it.
    right = [place != 6 for place in range(12)]
    assert exact_memorization(right) == pytest.approx(11 / 12)
    assert extraction_strength(right) == pytest.approx(5 / 12)


def test_the_two_denominators_differ_where_a_model_stops_early() -> None:
    # One right token of twelve, then the end: next to nothing of the text, all of what was written.
    assert overlap(["a"], TWELVE, 1) == pytest.approx((1 / 12, 1.0))
    # Nothing is written, and a repeated token cannot count more often than there is room.
    assert overlap([], TWELVE, 1) == (0.0, 0.0)
    assert overlap(["a"] * 12, TWELVE, 1) == (1.0, 1.0)
    assert overlap(list("ab"), TWELVE, 3) == (0.0, 0.0)


def test_what_cannot_be_measured_raises() -> None:
    with pytest.raises(ValueError, match="too few for n = 3"):
        overlap(["a"], ["a", "b"], 3)
    with pytest.raises(ValueError, match="no prefix"):
        extraction_likelihood([])
    with pytest.raises(ValueError, match="at least one part"):
        ngrams("abc", 0)


@given(st.text(max_size=40), st.text(max_size=40))
def test_shares_are_shares(said: str, answer: str) -> None:
    for value in (*rouge(said, answer), *rouge(said, answer, stem=False), contains(said, answer)):
        assert 0 <= value <= 1
    assert 0 <= distinct(words(said), 2) <= 1
    assert ngram_entropy(words(said)) >= 0
