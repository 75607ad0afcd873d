"""What a reader of another tool's files hands over: for each metric what the file says and what its items give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd

from audit import stats
from audit.stats import ITEM_COLUMNS, MIN_ENTITIES, Sample, Scores
from audit.types import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from audit.interop.values import Values

TOLERANCE = 1e-6
"""Two numbers that differ by more, absolutely, are said to differ."""


class ImportedRow(NamedTuple):
    """One number of another tool, beside the same number computed here."""

    subject: Annotated[str, "candidate: the model that the results are about"]
    metric: Annotated[str, "the tool's name of the number"]
    direction: Annotated[str, "what a high or a low value means"]
    in_file: Annotated[float, "the number that the file holds; empty where it holds none"]
    recomputed: Annotated[float, "the same number from the file's per-item values; empty where it holds none"]
    difference: Annotated[float, "recomputed minus in the file"]
    n: Annotated[int, "entities behind the recomputed number: authors where they are known, else items"]
    low: Annotated[float, "lower end of the 95 % interval (bootstrap over entities)"]
    high: Annotated[float, "upper end of the 95 % interval (bootstrap over entities)"]
    note: Annotated[str, "gaps, differences and how it was computed"]


class TextRow(NamedTuple):
    """One answer of a model as another tool stored it."""

    item: Annotated[str, "split and index of the item"]
    entity: Annotated[str, "whom or what the item is about; the item itself where that is not known"]
    subject: Annotated[str, "candidate: the model that the results are about"]
    split: Annotated[str, "forget, retain, or another set of the tool"]
    prompt: Annotated[str, "what the model was asked"]
    answer: Annotated[str, "the right answer"]
    said: Annotated[str | None, "what the model said; empty where the tool stored no text"]
    score: Annotated[float, "the tool's score of it"]


class CurveRow(NamedTuple):
    """One point of a curve of another tool."""

    subject: Annotated[str, "candidate: the model that the results are about"]
    step: Annotated[int, "training step of the attack"]
    metric: Annotated[str, "the tool's name of the number"]
    value: Annotated[float, "the number that the file holds; empty where it holds none"]
    note: Annotated[str, "gaps and doubts"]


@dataclass(frozen=True)
class Metric:
    """One metric of one model; `id` is `<tool>.<metric>`."""

    id: str
    rows: tuple[tuple[Any, ...], ...]
    estimate: Estimate | None = None
    items: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=ITEM_COLUMNS))
    note: str = ""
    gap: str = ""
    """Why there is no number at all; empty when there is one."""
    kind: type[Any] = ImportedRow
    """What the rows are."""

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(list(self.rows), columns=list(self.kind._fields))


@dataclass(frozen=True)
class Result:
    """What one tool found for one model."""

    model: str
    """The model's name, as folder or file give it."""
    tool: str
    kind: str
    files: tuple[Path, ...]
    metrics: tuple[Metric, ...]


def mean_of(values: ArrayLike, items: Sequence[str], entities: Sequence[str]) -> Sample | None:
    """Mean over items with its bootstrap over entities; None without items."""
    array = np.asarray(values, dtype=np.float64)
    return stats.mean(Scores(items, entities, array)) if len(array) else None


def per_item(sample: Sample | None, split: str) -> pd.DataFrame:
    """The scores of a mean as a finding keeps them, columns ITEM_COLUMNS."""
    if sample is None or sample.scores is None:
        return pd.DataFrame(columns=ITEM_COLUMNS)
    scores = sample.scores
    return pd.DataFrame({"item": list(scores.items), "entity": list(scores.entities), "split": split,
                         "subject": "candidate", "score": scores.per_item()})  # fmt: skip


def row(
    name: str,
    direction: str,
    in_file: float | None,
    found: Sample | float | None,
    notes: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> tuple[Any, ...]:
    """One ImportedRow; a difference beyond the tolerance, and a missing interval, are said in its note."""
    said = [note for note in notes if note]
    value = found.value if isinstance(found, Sample) else found
    low = high = math.nan
    n = 0
    if isinstance(found, Sample):
        n = found.n
        if found.n < MIN_ENTITIES:
            said.append(f"No interval: it rests on {found.n} entities, and one needs {MIN_ENTITIES}.")
        else:
            estimate = found.estimate(math.nan)
            low, high = estimate.low, estimate.high
    difference = value - in_file if value is not None and in_file is not None else math.nan
    if value is not None and in_file is not None and abs(difference) > tolerance:
        said.insert(0, f"Differs: the file says {in_file:.6g}, its own items give {value:.6g}.")
    stated, computed = (math.nan if number is None else number for number in (in_file, value))
    return ImportedRow("candidate", name, direction, stated, computed, difference, n, low, high, " ".join(said))


def metric(
    id: str,
    rows: Sequence[tuple[Any, ...]],
    found: Sample | float | None = None,
    split: str = "forget",
    items: pd.DataFrame | None = None,
    gap: str = "",
) -> Metric:
    """A metric from its rows, the first of which is its headline."""
    estimate = None
    if isinstance(found, Sample) and found.n >= MIN_ENTITIES:
        estimate = found.estimate(math.nan)
    if items is None:
        items = per_item(found if isinstance(found, Sample) else None, split)
    head = rows[0]
    empty = all(math.isnan(line[3]) and math.isnan(line[4]) for line in rows)
    return Metric(id, tuple(rows), estimate, items, _words(head), (gap or head[-1] or "No number is stored.") if empty
                  else "")  # fmt: skip


def _words(line: tuple[Any, ...]) -> str:
    found = ImportedRow(*line)
    parts = []
    if not math.isnan(found.in_file):
        parts.append(f"{found.in_file:.4g} in the file")
    if not math.isnan(found.recomputed):
        reach = "" if math.isnan(found.low) else f" ({found.low:.4g} to {found.high:.4g}, n = {found.n})"
        parts.append(f"{found.recomputed:.4g} recomputed{reach}")
    sentence = ", ".join(parts) if parts else "no number"
    return f"{sentence}; {found.direction}." + (f" {found.note}" if found.note else "")


def only_in_file(id: str, name: str, direction: str, value: float | None, note: str = "") -> Metric:
    """A number without the items behind it: it is shown, and that nothing could be recomputed is said."""
    said = note or ("" if value is None else "No per-item values: it cannot be recomputed and has no interval.")
    return metric(id, [row(name, direction, value, None, [said])], gap=note)


def entities_of(keys: Sequence[str], split: str, block: int = 0) -> tuple[list[str], list[str]]:
    """Item ids `split:index`, and the entity of each: consecutive blocks of items where a file has them in blocks."""
    items = [f"{split}:{key}" for key in keys]
    if block and all(key.isdigit() for key in keys):
        return items, [f"{split} author {int(key) // block + 1}" for key in keys]
    return items, list(items)


def sample_of(values: Values, scores: NDArray[np.float64], split: str, block: int = 0) -> Sample | None:
    """Mean of one score for each item of `values`."""
    return mean_of(scores, *entities_of(values.keys, split, block))


def texts(id: str, lines: Sequence[tuple[Any, ...]]) -> Metric:
    """The answers that a tool stored, as a finding whose rows are TextRow."""
    return Metric(id, tuple(lines), note=f"{len(lines)} answers as the tool stored them.", kind=TextRow)
