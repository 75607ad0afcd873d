"""What attacks on the input share: whom they ask, what was said as rows, and the worst of several families."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from audit import stats
from audit.evidence.behaviour.recall import score
from audit.stats import Scores
from audit.types import Chart, Item, Role, Split, digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

RUNS = 3
"""Fewest runs of an attack that holds chance."""


class Transcript(NamedTuple):
    """What one subject said to one prompt of one family in one run."""

    family: Annotated[str, "what was tried"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    split: Annotated[str, "corpus of the item"]
    run: Annotated[int, "number of the run, from 0"]
    prompt: Annotated[str, "what the model was given"]
    wanted: Annotated[str, "the words that are looked for in what it said"]
    said: Annotated[str, "what the model said after it: greedy, up to the first line break"]
    score: Annotated[float, "share of the wanted words that were said, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities of this family's mean"]
    high: Annotated[float, "upper end"]


def chart_of(title: str, x_title: str = "what was tried") -> Chart:
    """The chart of transcripts: one bar for each family and subject."""
    return Chart(
        "bar", "family", "score", low="low", high="high", facet="split", hover=("prompt", "wanted", "said"),
        x_title=x_title, y_title="share of the answers recovered", title=title,
    )  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One prompt for one item: how its answer is begun for the model, and what is looked for in the rest."""

    item: Item
    prompt: str
    wanted: str
    begun: str = ""

    @property
    def shown(self) -> str:
        """The prompt as a transcript shows it."""
        return f"{self.prompt} {self.begun}" if self.begun else self.prompt


@dataclass(frozen=True)
class Heard:
    """What a subject said in each run of one family, item by item."""

    asks: Sequence[Sequence[Ask]]
    said: Sequence[Sequence[str]]
    values: NDArray[np.float64]
    """[runs, items]"""


def chosen(bench: Bench, split: Split, limit: int) -> list[Item]:
    """At most `limit` items of a split (all of them for 0), spread over its entities."""
    items = bench.corpus(split).items
    return [items[i] for i in bench.subset(split, limit or None)]


def hear(
    bench: Bench, role: Role, families: Mapping[str, Sequence[Sequence[Ask]]], metric: str, what: str
) -> dict[str, Heard]:
    """Put every family's asks [runs][items] to a subject, each different one once, and score what it says."""
    every = dict.fromkeys(
        (ask.item, ask.prompt, ask.begun) for runs in families.values() for run in runs for ask in run
    )
    asked = list(every)

    def compute() -> dict[str, np.ndarray]:
        from audit.activations.generate import says

        with bench.model(role) as subject:
            said = says(
                subject,
                [item for item, _, _ in asked],
                bench.case.template,
                [prompt for _, prompt, _ in asked],
                lambda share: bench.progress(0.0, f"asking the {role} {what}: {share:.0%}"),
                [begun for _, _, begun in asked],
            )
        return {"said": np.asarray(said, dtype=str)}

    inputs = {"asked": digest_of([[*item.asked, prompt, begun] for item, prompt, begun in asked])}
    stored = bench.remember("prompted", [role], inputs, compute, corpora=())["said"].tolist()
    known = dict(zip(asked, map(str, stored), strict=True))
    heard = {}
    for name, runs in families.items():
        said = [[known[ask.item, ask.prompt, ask.begun] for ask in run] for run in runs]
        values = [
            [score(text, ask.wanted, metric) for text, ask in zip(texts, run, strict=True)]
            for texts, run in zip(said, runs, strict=True)
        ]
        heard[name] = Heard(runs, said, np.asarray(values, np.float64))
    return heard


def scores_of(items: Sequence[Item], values: NDArray[np.float64], used: NDArray[np.bool_] | None = None) -> Scores:
    """Scores of items, [items] or [runs, items]."""
    return Scores([item.id for item in items], [item.entity or item.id for item in items], values, used)


def worst(heard: Mapping[str, Heard], names: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Scores [runs, items] of the family that works best, chosen on half of the entities and scored on the other."""
    first = heard[names[0]]
    if len(names) == 1:
        return first.values
    entities = [ask.item.entity or ask.item.id for ask in first.asks[0]]
    tables = np.stack([heard[name].values for name in names], axis=1)
    return np.stack([stats.cross_fit(table, entities, seed)[0] for table in tables])


def as_asked(bench: Bench, role: Role, split: Split, items: Sequence[Item], runs: int, metric: str) -> Heard:
    """What a subject says to the items' own prompts, before any attack, laid out as a family of `runs` equal runs."""
    plain = dict(zip((item.id for item in bench.corpus(split).items), bench.says(role, split), strict=True))
    said = [plain[item.id] for item in items]
    values = [score(text, item.answer, metric) for text, item in zip(said, items, strict=True)]
    asks = [Ask(item, item.prompt, item.answer) for item in items]
    return Heard([asks] * runs, [said] * runs, np.tile(np.asarray(values, np.float64), (runs, 1)))


def panel_before(
    bench: Bench, attacked: Callable[[Role, Split], Scores], before: Callable[[Role, Split], Scores]
) -> stats.Panel:
    """Candidate and null under the attack, the original as it is: an attack can only lower the upper end.

    The attack must work on the original all the same: where it brings no more out of the original than out of the
    null, the panel has no scale.
    """
    panel = stats.panel(bench, lambda role, split: (before if role == "original" else attacked)(role, split))
    check = stats.conclude(stats.panel(bench, attacked))
    if check.residual is None:
        return dataclasses.replace(panel, no_scale=f"{check.reason} (Of the original under the attack.)")
    return panel


def transcripts(
    bench: Bench, role: Role, split: Split, heard: Mapping[str, Heard], used: NDArray[np.bool_] | None = None
) -> Iterator[Transcript]:
    """A row for every answer that counts, with the interval of its family's mean."""
    for family, found in heard.items():
        items = [ask.item for ask in found.asks[0]]
        mean = stats.mean(scores_of(items, found.values, used), seed=bench.seed).estimate(0.0)
        for run, (asks, said, values) in enumerate(zip(found.asks, found.said, found.values, strict=True)):
            for i, (ask, text, value) in enumerate(zip(asks, said, values, strict=True)):
                if used is None or used[run, i]:
                    entity = ask.item.entity or ask.item.id
                    where = family, ask.item.id, entity, role, split, run
                    yield Transcript(*where, ask.shown, ask.wanted, text, float(value), mean.low, mean.high)


def laid_out(asks: Sequence[Ask], said: Sequence[str], values: NDArray[np.float64], tested: NDArray[np.bool_]) -> Heard:
    """One run's answers laid out over all items; those that were not asked hold nothing and do not count."""
    texts, line = [""] * len(asks), np.zeros(len(asks))
    for i, text, value in zip(np.flatnonzero(tested), said, values, strict=True):
        texts[int(i)], line[int(i)] = text, value
    return Heard([asks], [texts], line[None])


def joined(runs: Sequence[Heard]) -> Heard:
    """Several runs of one family, one after the other."""
    return Heard(
        [run.asks[0] for run in runs], [run.said[0] for run in runs], np.concatenate([run.values for run in runs])
    )


def control(panel: stats.Panel, attacked: str) -> str:
    """The control's number in words, for a note."""
    null = f"{panel.null_candidate.value:.0%}"
    return f"the reference {null}" if panel.null == "reference" else f"and {null} of {attacked} that it never saw"
