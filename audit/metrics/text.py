"""Texts compared: ROUGE in its published variants, n-gram entropy, repetition, overlap of a continuation.

Only the standard library, numpy and (inside functions) rouge-score.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that put no space between words, or glue particles to them: each of their characters is a word here."""
KNOWMEM_STOPS = ("\n\n", "\nQuestion", "Question:")
"""Where MUSE cuts an answer: the model goes on with a question of its own."""


class Rouge(NamedTuple):
    """Shares from 0 to 1: of the answer's words that were said (recalls), and the F1 of the common subsequence."""

    rouge1_recall: float
    rougeL_recall: float
    rougeL_f1: float


@functools.lru_cache(maxsize=65536)
def rouge(said: str, answer: str, *, stem: bool = True) -> Rouge:
    """ROUGE (Lin 2004) of what was said against an answer.

    With the stemmer as in TOFU and OpenUnlearning, without as in MUSE. Scripts that rouge-score's tokenizer does not
    see are compared word by word without a stemmer; an answer without a single word is looked for as it stands.
    """
    if not words(answer):
        return Rouge(*[contains(said, answer)] * 3)
    scorer = _latin_scorer(stem) if _fits_rouge(answer) else _other_scorer()
    found = scorer.score(answer, said)
    return Rouge(float(found["rouge1"].recall), float(found["rougeL"].recall), float(found["rougeL"].fmeasure))


def contains(said: str, answer: str) -> float:
    """1 where the whole answer was said word for word, else 0."""
    wanted = words(answer)
    if not wanted:
        folded = unicodedata.normalize("NFKC", answer).casefold().strip()
        return float(bool(folded) and folded in unicodedata.normalize("NFKC", said).casefold())
    heard = words(said)
    return float(any(heard[i : i + len(wanted)] == wanted for i in range(len(heard) - len(wanted) + 1)))


def cut_at(text: str, stops: Sequence[str] = KNOWMEM_STOPS) -> str:
    """A text up to the first of some stop words, without space around it (MUSE's knowledge memorisation)."""
    ends = [text.find(stop) for stop in stops]
    return text[: min((end for end in ends if end >= 0), default=len(text))].strip()


def ngrams(sequence: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    """All runs of n in order, repeats included; ValueError for n below 1."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one part, not {n}")
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


def ngram_entropy(text: Sequence[Hashable]) -> float:
    """Weighted bi- and tri-gram entropy of one text in bits, the fluency of ROME and RWKU: (2/3 H_2 + 4/3 H_3) / 2.

    H_n = -sum p log2 p over the text's n-grams; 0 for fewer than three words, or for one word again and again.
    """
    return (2 / 3 * _entropy(ngrams(text, 2)) + 4 / 3 * _entropy(ngrams(text, 3))) / 2


def distinct(text: Sequence[Hashable], n: int) -> float:
    """Share of a text's n-grams that are different, 0 to 1 (Li et al. 2016): 1 without a repeat, also when it has none.

    1 - distinct is the repetition rate rep-n (seq-rep-4 of Welleck et al. 2020).
    """
    grams = ngrams(text, n)
    return len(set(grams)) / len(grams) if grams else 1.0


def overlap(generated: Sequence[Hashable], true: Sequence[Hashable], n: int) -> tuple[float, float]:
    """n-grams of a generation that stand in the true continuation, with repeats: OVERLAP_n of Jang et al. 2023.

    First as a share of the true continuation's n-grams, as in their code; then of the generation's own, as in their
    paper.
    The two differ where the generation stops early: one right word and silence is 1 by the paper and next to 0 by the
    code. ValueError when the continuation is shorter than n.
    """
    wanted, found = ngrams(true, n), ngrams(generated, n)
    if not wanted:
        raise ValueError(f"the continuation has {len(true)} tokens, too few for n = {n}")
    there = set(wanted)
    hits = sum(gram in there for gram in found)
    return min(1.0, hits / len(wanted)), hits / len(found) if found else 0.0


def extraction_likelihood(overlaps: Sequence[float]) -> float:
    """EL_n of one text: the mean of OVERLAP_n(generation from a prefix, true continuation) over its prefixes.

    Jang et al. 2023: all prefixes that leave at least n tokens. ValueError when there is none.
    """
    if not len(overlaps):
        raise ValueError("there is no prefix to continue from")
    return float(np.mean(overlaps))


def _entropy(grams: Sequence[Hashable]) -> float:
    if not grams:
        return 0.0
    share = np.array(list(Counter(grams).values()), np.float64) / len(grams)
    return float(-(share * np.log2(share)).sum())


def words(text: str) -> list[str]:
    """Casefolded words after NFKC: runs of letters, marks and digits; one each for characters of UNSPACED scripts."""
    found: list[str] = []
    open_word = False
    for character in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(character)[0]
        if kind not in "LNM" or (kind == "M" and not found):
            open_word = False
            continue
        alone = kind != "M" and unicodedata.name(character, "").startswith(UNSPACED)
        if kind == "M" or (open_word and not alone):
            found[-1] += character
        else:
            found.append(character)
        open_word = not alone and (kind != "M" or open_word)
    return found


def _fits_rouge(answer: str) -> bool:
    """Whether rouge-score's tokenizer, which keeps a-z and 0-9 only, sees the letters of this answer.

    Accented Latin letters are left to it, so that scores stay comparable with TOFU's.
    """
    folded = answer.lower()
    kept = any(character.isascii() and character.isalnum() for character in folded)
    foreign = any(
        not character.isascii()
        and unicodedata.category(character)[0] in "LN"
        and not unicodedata.name(character, "").startswith("LATIN")
        for character in folded
    )
    return kept and not foreign


@functools.cache
def _latin_scorer(stem: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)


@functools.cache
def _other_scorer() -> Any:
    """The same longest common subsequence over words of any script, without a stemmer."""
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import Tokenizer

    class Words(Tokenizer):  # type: ignore[misc]
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    return RougeScorer(["rouge1", "rougeL"], tokenizer=Words())
