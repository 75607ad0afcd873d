"""The statistics that every evidence shares, so that none can forget a rule.

An evidence hands over a `Panel`: what it found in the original, the candidate and the null, unit by unit. From there on
this module alone decides: entities are resampled (never tokens or paraphrases), subjects are resampled together because
they answered the same items, the instrument is checked before the candidate is read, and a missing control or too few
entities end in NOT_IDENTIFIABLE with the numbers that say why.

The bootstrap treats the entities as a sample of entities like them (percentile interval, 2,000 draws). When an
evidence repeats itself over seeds, seeds are resampled too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from audit.errors import NotApplicable, NotIdentifiable
from audit.types import Estimate, Residual, Role, Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from audit.bench import Bench

DRAWS = 2000
ALPHA = 0.05
MIN_ENTITIES = 5
MIN_GAP = 0.05
"""The interval of original minus null, on the evidence's own scale, must lie above this: a residual is a share of that
difference, and a share of next to nothing can be anything."""
TAIL = (0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.0167, 0.02, 0.025)
GRID: NDArray[np.float64] = np.array([*TAIL, *np.arange(0.05, 0.96, 0.05), *(1 - p for p in reversed(TAIL))])
ITEM_COLUMNS = ["item", "entity", "split", "subject", "score"]
Null = Literal["reference", "holdout", "chance"]


@dataclass(frozen=True)
class Scores:
    """One number per item for one subject; `values` is [items] or [seeds, items].

    `used` (same shape) marks the items that count: an attack never scores the facts that it trained on.
    Raises ValueError on a NaN that is used: a missing number is never a number.
    """

    items: Sequence[str]
    entities: Sequence[str]
    values: NDArray[np.float64]
    used: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.values, dtype=np.float64))
        used = np.ones(values.shape, bool) if self.used is None else np.atleast_2d(np.asarray(self.used, bool))
        if values.shape[1] != len(self.items) or len(self.items) != len(self.entities) or used.shape != values.shape:
            raise ValueError(
                f"scores disagree in shape: {values.shape} values, {used.shape} used, "
                f"{len(self.items)} items, {len(self.entities)} entities"
            )
        if not np.isfinite(values[used]).all():
            raise ValueError("a score that counts is not a finite number")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "used", used)

    def per_item(self) -> NDArray[np.float64]:
        """Mean over seeds of each item [items]; NaN where no seed scored it."""
        counts = self._used.sum(0)
        sums = np.where(self._used, self.values, 0.0).sum(0)
        return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)

    @property
    def _used(self) -> NDArray[np.bool_]:
        assert self.used is not None
        return self.used


@dataclass(frozen=True)
class Sample:
    """A statistic of one subject on one split, with its bootstrap draws [draws] and its number of entities."""

    value: float
    draws: NDArray[np.float64]
    n: int
    scores: Scores | None = None

    def estimate(self, null: float) -> Estimate:
        """The value with its 95 % percentile interval, which always holds the value."""
        low, high = np.quantile(self.draws, [ALPHA / 2, 1 - ALPHA / 2])
        return Estimate(self.value, min(float(low), self.value), max(float(high), self.value), null, self.n)


@dataclass(frozen=True)
class Panel:
    """What one evidence found: the original and the candidate on forget, and the null of each."""

    original: Sample
    candidate: Sample
    null_original: Sample
    null_candidate: Sample
    null: Null
    reference: Sample | None = None
    split: Split = "forget"
    no_scale: str = ""
    """Why what was counted is no measure of knowledge, so that no residual may be made from it; else empty."""

    def items(self) -> pd.DataFrame:
        """Per-item scores of every subject and null that has them, columns ITEM_COLUMNS."""
        parts: list[tuple[Sample | None, str, str]] = [
            (self.original, self.split, "original"),
            (self.candidate, self.split, "candidate"),
            (self.reference, self.split, "reference"),
        ]
        if self.null == "holdout":
            parts += [(self.null_original, "holdout", "original"), (self.null_candidate, "holdout", "candidate")]
        frames = [
            pd.DataFrame(
                {
                    "item": list(sample.scores.items),
                    "entity": list(sample.scores.entities),
                    "split": split,
                    "subject": subject,
                    "score": sample.scores.per_item(),
                }
            )
            for sample, split, subject in parts
            if sample is not None and sample.scores is not None
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=ITEM_COLUMNS)


@dataclass(frozen=True)
class Conclusion:
    """A panel read by the rules: estimates always, a residual only if the instrument works here."""

    original: Estimate
    candidate: Estimate
    reference: Estimate | None
    residual: Residual | None
    reason: str = field(default="")


def seed_of(*names: object) -> int:
    """A seed that depends on the names alone, so that no result depends on the order of the run."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def entity_weights(
    entities: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """How often each entity is drawn [draws, entities], and the entity index of each item [items].

    The same set of entities gives the same draws, so that subjects who answered the same items are resampled together.
    Nobody changes the weights: they are kept for whoever asks next.
    """
    names, index = np.unique(np.asarray(entities, dtype=str), return_inverse=True)
    return _weights(tuple(names.tolist()), draws, seed), index


@lru_cache(maxsize=4)  # the corpora of an audit; of many thousand entities each is large
def _weights(names: tuple[str, ...], draws: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed_of("entities", seed, *names))
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def mean(scores: Scores, draws: int = DRAWS, seed: int = 0) -> Sample:
    """The mean score, with a cluster bootstrap over entities and, where there are several, over seeds."""
    used = np.asarray(scores.used)
    if not used.any():
        raise NotApplicable("No item could be scored.")
    weights, index = entity_weights(scores.entities, draws, seed)
    sums, counts = (
        np.stack([np.bincount(index, row, weights.shape[1]) for row in block])
        for block in (np.where(used, scores.values, 0.0), used.astype(np.float64))
    )
    seeds = len(sums)
    rng = np.random.default_rng(seed_of("seeds", seed, seeds))
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    total = (seed_weights @ sums * weights).sum(1)
    number = (seed_weights @ counts * weights).sum(1)
    value = float(sums.sum() / counts.sum())
    safe = np.divide(total, number, out=np.full(draws, value), where=number > 0)
    n = int((counts.sum(0) > 0).sum())
    return Sample(value, safe, n, scores)


def constant(value: float, like: Sample) -> Sample:
    """A null that is known rather than measured (chance, or zero)."""
    return Sample(value, np.full_like(like.draws, value), like.n)


def panel(bench: Bench, score: Callable[[Role, Split], Scores], draws: int = DRAWS) -> Panel:
    """Score forget on every subject, and the null on the reference or, without one, on the holdout.

    Raises NotIdentifiable when the case has neither: a number without a control means nothing.
    """

    def sample(role: Role, split: Split) -> Sample:
        return mean(score(role, split), draws, bench.seed)

    return panel_of(bench, sample)


def panel_of(bench: Bench, sample: Callable[[Role, Split], Sample]) -> Panel:
    """As `panel`, for a statistic that is not a mean over items and brings its own draws."""
    null = bench.null
    original, candidate = sample("original", "forget"), sample("candidate", "forget")
    if null == "reference":
        reference = sample("reference", "forget")
        return Panel(original, candidate, reference, reference, "reference", reference)
    return Panel(original, candidate, sample("original", "holdout"), sample("candidate", "holdout"), "holdout")


def against_chance(original: Sample, candidate: Sample, chance: float, split: Split) -> Panel:
    """A panel for what was to be kept: no model-based null exists, the floor is what a guesser scores."""
    floor = constant(chance, original)
    return Panel(original, candidate, floor, floor, "chance", split=split)


def conclude(panel: Panel) -> Conclusion:
    """Check the instrument, then read the candidate on the residual scale.

        residual = (candidate - its null) / (original - its null)

    With a reference both nulls are the reference on the same items; with a holdout each model is measured against
    itself on facts that it never saw.
    """
    original = panel.original.estimate(panel.null_original.value)
    candidate = panel.candidate.estimate(panel.null_candidate.value)
    reference = panel.reference.estimate(panel.reference.value) if panel.reference else None

    def stop(reason: str) -> Conclusion:
        return Conclusion(original, candidate, reference, None, reason)

    if panel.no_scale:
        return stop(panel.no_scale)
    entities = min(panel.original.n, panel.candidate.n, panel.null_original.n, panel.null_candidate.n)
    if entities < MIN_ENTITIES:
        return stop(f"Only {entities} entities: an interval needs at least {MIN_ENTITIES}.")
    gap = panel.original.value - panel.null_original.value
    gap_draws = panel.original.draws - panel.null_original.draws
    gap_low = float(np.quantile(gap_draws, ALPHA / 2))
    if gap_low < MIN_GAP:
        return stop(
            f"This instrument does not work here: it reads {panel.original.value:.3f} from the original and "
            f"{panel.null_original.value:.3f} from the {panel.null}, and that difference ({gap:.3f}, at least "
            f"{gap_low:.3f}) is too small to read a candidate against."
        )
    value = (panel.candidate.value - panel.null_candidate.value) / gap
    draws = (panel.candidate.draws - panel.null_candidate.draws) / np.where(gap_draws > 0, gap_draws, np.nan)
    draws = np.where(np.isfinite(draws), draws, value)
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    quantiles = tuple(float(q) for q in np.quantile(draws, GRID))
    residual = Residual(float(value), min(float(low), value), max(float(high), value), quantiles)
    return Conclusion(original, candidate, reference, residual)


def cross_fit(values: ArrayLike, entities: Sequence[str], seed: int = 0) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Choose the best of many on one half of the entities and score it on the other half, both ways.

    `values` is [choices, items] (a layer, a step, a threshold each). Returns the scores [items] and the two choices:
    the first was made on the second half and scores the first, the other the reverse. Ties go to the earliest choice.
    The best of twelve layers, chosen and scored on the same items, finds knowledge in 29 % of models that never had it.
    """
    table = np.asarray(values, dtype=np.float64)
    first = halves(entities, seed)
    if first.all() or not first.any():
        raise NotIdentifiable("A choice needs at least two entities: one to choose on, one to score.")
    chosen_for_first = int(np.argmax(table[:, ~first].mean(1)))
    chosen_for_second = int(np.argmax(table[:, first].mean(1)))
    return np.where(first, table[chosen_for_first], table[chosen_for_second]), (chosen_for_first, chosen_for_second)


def halves(entities: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """True for the items of a random half of the entities [items]; the same for every subject of a case."""
    names, index = np.unique(np.asarray(entities, dtype=str), return_inverse=True)
    order = np.random.default_rng(seed_of("halves", seed, *names)).permutation(len(names))
    in_first = np.zeros(len(names), bool)
    in_first[order[: len(names) // 2]] = True
    return np.asarray(in_first[index])


def p_above(residual: Residual, limit: float) -> float:
    """One-sided p-value of `residual <= limit`: how much of the bootstrap lies at or below the limit."""
    quantiles = np.asarray(residual.quantiles)
    if quantiles[0] > limit:
        return float(GRID[0])
    return float(np.interp(limit, quantiles, GRID, right=1.0))


def holm(p_values: Sequence[float], alpha: float = ALPHA / 2) -> list[bool]:
    """Which hypotheses are rejected by Holm's step-down procedure (Holm 1979)."""
    rejected = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > alpha / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected
