"""Does a query still find its answer among all answers, and an answer its query?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError
from audit.stats import Scores
from audit.types import SPLITS, VECTORS_ONLY, Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

FORTH, BACK = "query to answer", "answer to image"
A, B = 0.55, 1.5
"""Of the propensity, as Jain et al. 2016 fitted them and as the field uses them where nothing else is known."""


class Row(NamedTuple):
    """One subject on the queries of one split, among the first k found."""

    direction: Annotated[str, "what was asked, and what was searched"]
    split: Annotated[str, "corpus of the queries; all corpora are searched"]
    subject: Annotated[str, "role of the model"]
    k: Annotated[int, "how many of the nearest count as found"]
    recall: Annotated[float, "R@k: share of a query's right ones among its k nearest, mean over queries, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    chance: Annotated[float, "R@k of an order drawn at random"]
    hit: Annotated[float, "share of queries with at least one right one among the k nearest, R@k of CLIP's papers"]
    precision: Annotated[float, "P@k: right ones among the k nearest over k, mean over queries, 0 to 1"]
    propensity: Annotated[float, "PSP@k: rare right ones weigh more; over the largest possible value, 0 to 1"]
    queries: Annotated[int, "queries"]
    entities: Annotated[int, "entities behind them"]
    view: Annotated[str, "split and direction in one: a panel of the chart"]


@dataclass(frozen=True)
class Search:
    """The queries of one split and direction: scores [queries, entries], right entries, and who they are about."""

    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    weights: NDArray[np.float64]
    """One over the propensity of each entry [entries]."""
    ids: Sequence[str]
    entities: Sequence[str]

    def found(self) -> NDArray[np.float64]:
        """Rank of each right entry, 1 the nearest, others NaN [queries, entries]; equal scores share a mean rank."""
        ordered = np.sort(self.scores, 1)
        above = np.stack([len(o) - np.searchsorted(o, s, "right") for o, s in zip(ordered, self.scores, strict=True)])
        reach = np.stack([len(o) - np.searchsorted(o, s, "left") for o, s in zip(ordered, self.scores, strict=True)])
        return np.where(self.right, (above + 1 + reach) / 2, np.nan)


@dataclass(frozen=True)
class Retrieval:
    """Recall, precision and propensity-scored precision among the k nearest, in one index of all corpora.

    A query may have several right answers, as an image with five captions has: every answer that any item gives to the
    very same query counts as right. Entries of equal score share their mean rank, so that a model whose vectors have
    collapsed to one point finds nothing rather than whatever stands first. Two-tower models are asked both ways.
    """

    title: ClassVar[str] = "Retrieval"
    question: ClassVar[str] = (
        "Does a forgotten query still find its answer among all answers, and the answer its query?"
    )
    blind_to: ClassVar[str] = (
        "Everything below the last projection, and right pairs that are pushed just behind the first k. The index "
        "holds the corpora's own answers alone: in a larger one everything ranks lower."
    )
    formula: ClassVar[str] = (
        "R@k = |right among the k nearest| / |right|; P@k = the same / k; PSP@k = sum over right ones among the k "
        "nearest of 1 / p over its largest possible sum, p = 1 / (1 + C (N + B)^-A), C = (log n - 1) (B + 1)^A, N "
        "items with that answer, n items, A = 0.55, B = 1.5"
    )
    source: ClassVar[str] = (
        "R@k as for CLIP (Radford et al. 2021) and UniME 2025 (arXiv:2504.17432); P@k and PSP@k: Jain et al. 2016, as "
        "in DEXML (Gupta et al. 2024, arXiv:2310.10636)"
    )
    place: ClassVar[Place] = "said"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = VECTORS_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "line", "k", "recall", low="low", high="high", null="chance", facet="view",
        hover=("hit", "precision", "propensity", "queries"), x_title="nearest that count (k)", y_title="found (R@k)",
        title="Right ones among the k nearest",
    )  # fmt: skip
    cost: ClassVar[float] = 0.1

    k: int = 5
    """The R@k that the residual is made of."""
    ks: tuple[int, ...] = (1, 5, 10)
    """The rows of the table; k is always among them."""

    def __post_init__(self) -> None:
        if any(type(k) is not int or k < 1 for k in (self.k, *self.ks)):
            raise CaseError(f"k = {self.k}, ks = {list(self.ks)}: expected whole numbers of at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Search for every subject and split, both ways where the queries are images."""
        splits = [split for split in SPLITS if bench.has(split)]
        made: dict[tuple[str, Role, Split], Search] = {}
        for role in bench.roles:
            for split in splits:
                made[FORTH, role, split] = forth(bench, role, split)
                if bench.corpus(split).pictured:
                    made[BACK, role, split] = back(bench, role, split)
        ranks = {key: search.found() for key, search in made.items()}

        def score(role: Role, split: Split) -> Scores:
            key = FORTH, role, split
            return Scores(made[key].ids, made[key].entities, recall(ranks[key], self.k))

        panel = stats.panel(bench, score)
        rows = [
            _row(bench, key, search, ranks[key], k)
            for key, search in made.items()
            for k in sorted({*self.ks, self.k})
        ]  # fmt: skip
        return Reading(rows, panel, self._note(bench, panel, rows))

    def _note(self, bench: Bench, panel: stats.Panel, rows: Sequence[Row]) -> str:
        entries, null = len(bench.gallery), f"{panel.null_candidate.value:.0%}"
        control = f"the reference {null}" if panel.null == "reference" else f"and {null} of what it never saw"
        text = (
            f"{bench.case.candidate.name} finds {panel.candidate.value:.0%} of the forgotten answers among the "
            f"{self.k} nearest of {entries}, the original {panel.original.value:.0%}, {control}; a guess "
            f"{min(1.0, self.k / entries):.0%}."
        )
        other = {r.subject: r.recall for r in rows if (r.direction, r.split, r.k) == (BACK, "forget", self.k)}
        if other:
            text += f" From the text to the image: {other['candidate']:.0%}, the original {other['original']:.0%}"
            text += f", the reference {other['reference']:.0%}." if "reference" in other else "."
        return text


def forth(bench: Bench, role: Role, split: Split) -> Search:
    """Each item's query among the gallery's answers."""
    corpus, place = bench.corpus(split), {text: k for k, text in enumerate(bench.gallery)}
    answers: dict[str, set[int]] = {}
    counts = np.zeros(len(place))
    for part in (bench.corpus(s) for s in SPLITS if bench.has(s)):
        for item in part.items:
            answers.setdefault(asked(item), set()).add(place[item.answer])
            counts[place[item.answer]] += 1
    right = np.zeros((len(corpus), len(place)), bool)
    for row, item in enumerate(corpus.items):
        right[row, sorted(answers[asked(item)])] = True
    ids = [item.id for item in corpus.items]
    return Search(bench.outputs(role, split), right, over_propensity(counts), ids, corpus.entities)


def back(bench: Bench, role: Role, split: Split) -> Search:
    """Each different answer of a split among the images of all corpora."""
    parts = [s for s in SPLITS if bench.has(s)]
    every = [item for s in parts for item in bench.corpus(s).items]
    place = {text: k for k, text in enumerate(bench.gallery)}
    first: dict[str, Item] = {}
    for item in bench.corpus(split).items:
        first.setdefault(item.answer, item)
    columns = [place[text] for text in first]
    scores = np.concatenate([bench.outputs(role, s)[:, columns] for s in parts]).T
    right = np.array(columns)[:, None] == np.array([place[item.answer] for item in every])
    ids, entities = [i.id for i in first.values()], [i.entity or i.id for i in first.values()]
    return Search(scores, right, over_propensity(right.sum(0).clip(1)), ids, entities)


def asked(item: Item) -> str:
    """What makes two queries the very same: the image's bytes, else the prompt."""
    return item.image.digest if item.image else item.prompt


def over_propensity(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over the propensity of entries that so many items have: 1 + C (N + B)^-A; at least 1."""
    c = max(0.0, np.log(max(2.0, counts.sum())) - 1) * (B + 1) ** A
    return np.asarray(1 + c * (counts + B) ** -A)


def recall(ranks: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Share of each query's right entries whose rank is k or better [queries]."""
    return np.asarray((ranks <= k).sum(1) / (~np.isnan(ranks)).sum(1))


def propensity(search: Search, ranks: NDArray[np.float64], k: int) -> float:
    """PSP@k: what was found, each over its propensity, as a share of the most that could be."""
    got = (search.weights * (ranks <= k)).sum()
    most = np.sort(search.weights * search.right, 1)[:, ::-1][:, :k].sum()
    return float(got / most)


def _row(bench: Bench, key: tuple[str, Role, Split], search: Search, ranks: NDArray[np.float64], k: int) -> Row:
    direction, role, split = key
    mean = stats.mean(Scores(search.ids, search.entities, recall(ranks, k)), seed=bench.seed).estimate(0.0)
    inside = (ranks <= k).sum(1)
    return Row(
        direction, split, role, k, mean.value, mean.low, mean.high, min(1.0, k / search.scores.shape[1]),
        float((inside > 0).mean()), float((inside / k).mean()), propensity(search, ranks, k), len(search.ids), mean.n,
        f"{split}, {direction}",
    )  # fmt: skip
