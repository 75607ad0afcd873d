"""Does it still say the answer?"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, suggest
from audit.stats import Scores
from audit.types import Access, Chart, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

METRICS = ("rougeL_recall", "contains")
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
"""Scripts that put no space between words, or glue particles to them: each of their characters is a word here."""


class Row(NamedTuple):
    """One answer of one subject."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    attribute: Annotated[str | None, "what is asked about the entity"]
    subject: Annotated[str, "role of the model that answered"]
    prompt: Annotated[str, "the question"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    rougeL_recall: Annotated[float, "share of the true answer's words that were said in order, 0 to 1"]
    contains: Annotated[float, "1 where the whole true answer was said word for word, else 0"]


@dataclass(frozen=True)
class Recall:
    """Greedy answers compared with the true ones; deterministic, so it needs no seeds."""

    metric: str = "rougeL_recall"
    """The headline: `rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Recall"
    question: ClassVar[str] = "Does the model still say the answer when it is asked?"
    blind_to: ClassVar[str] = (
        "Knowledge that greedy decoding does not show: an answer that comes only when sampled, rephrased, attacked "
        "or asked in another language, and a right answer in other words."
    )
    formula: ClassVar[str] = "LCS(words of the answer, words said) / number of words of the answer, words stemmed"
    source: ClassVar[str] = "ROUGE-L recall (Lin 2004) with stemmer, as in TOFU (Maini et al. 2024) and OpenUnlearning"
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "subject", "rougeL_recall", facet="split", hover=("prompt", "answer", "said"),
        x_title="subject", y_title="ROUGE-L recall", title="How much of each answer is said",
    )  # fmt: skip
    cost: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject about forget, and about the holdout where there is one."""
        splits: tuple[Split, ...] = ("forget", "holdout") if bench.has("holdout") else ("forget",)
        asked = {(role, split): bench.says(role, split) for split in splits for role in bench.roles}

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            values = score_all(asked[role, split], corpus.items, self.metric)
            return Scores([item.id for item in corpus.items], corpus.entities, values)

        panel = stats.panel(bench, score)
        rows = [
            row for (role, split), said in asked.items() for row in _rows(role, split, bench.corpus(split).items, said)
        ]
        return Reading(rows, panel, _note(bench, panel))


def _rows(role: Role, split: Split, items: Sequence[Item], said: Sequence[str]) -> list[Row]:
    return [
        Row(
            split, item.id, item.entity or item.id, item.attribute, role, item.prompt, item.answer, text,
            score(text, item.answer, "rougeL_recall"), score(text, item.answer, "contains"),
        )
        for item, text in zip(items, said, strict=True)
    ]  # fmt: skip


def _note(bench: Bench, panel: stats.Panel) -> str:
    null = f"{panel.null_candidate.value:.0%}"
    control = f"the reference {null}" if panel.null == "reference" else f"and {null} of answers that it never saw"
    return (
        f"{bench.case.candidate.name} says {panel.candidate.value:.0%} of the answers, the original "
        f"{panel.original.value:.0%}, {control}."
    )


def check_metric(metric: str) -> None:
    """Raises CaseError for a metric that `score` does not know."""
    if metric not in METRICS:
        raise CaseError(f'Unknown recall metric "{metric}".{suggest(metric, METRICS)}')


def score_all(said: Sequence[str], items: Sequence[Item], metric: str) -> NDArray[np.float64]:
    """`score` of what was said to each item [items]."""
    return np.array([score(text, item.answer, metric) for text, item in zip(said, items, strict=True)], np.float64)


def score(said: str, answer: str, metric: str = "rougeL_recall") -> float:
    """How much of an answer was said, 0 to 1: its words in order (`rougeL_recall`), or all or nothing (`contains`).

    An answer without a single word (a sign, an emoji) is looked for as it stands.
    """
    wanted = words(answer)
    if metric == "contains" or not wanted:
        return float(_contains(said, answer, wanted))
    scorer = _latin_scorer() if _fits_rouge(answer) else _other_scorer()
    return float(scorer.score(answer, said)["rougeL"].recall)


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


def _contains(said: str, answer: str, wanted: list[str]) -> bool:
    if not wanted:
        folded = unicodedata.normalize("NFKC", answer).casefold().strip()
        return bool(folded) and folded in unicodedata.normalize("NFKC", said).casefold()
    heard = words(said)
    return any(heard[i : i + len(wanted)] == wanted for i in range(len(heard) - len(wanted) + 1))


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
def _latin_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


@functools.cache
def _other_scorer() -> Any:
    """The same longest common subsequence over words of any script, without a stemmer."""
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import Tokenizer

    class Words(Tokenizer):  # type: ignore[misc]
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    return RougeScorer(["rougeL"], tokenizer=Words())
