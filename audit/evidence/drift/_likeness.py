"""What the drift evidences share: the items compared, one array per layer, headline, table lines.

Every evidence here compares a subject's states with the original's on the same items, layer by layer, and gives a
likeness of 1 where nothing changed. The original goes through the same comparison as every other subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from audit import probing
from audit.activations.capture import POSITIONS
from audit.errors import CaseError, NotApplicable, NotIdentifiable, suggest
from audit.evidence.drift.cka import still
from audit.stats import ALPHA, Panel, Sample, Scores, panel, panel_of
from audit.types import SPLITS, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

    Clouds = Mapping[Split, NDArray[np.float32]]
    """States of one subject at one layer and position, by split [items, width]."""
    Compare = Callable[[Clouds, Clouds], Mapping[str, NDArray[np.float64]]]
    Found = Mapping[Role, Mapping[str, NDArray[np.float64]]]
    """What was found in every subject; a split's name leads to [layers, items] or to [layers, 1 + draws]."""
    Line = tuple[int, Role, Split, float, float, float, int, int]
    """Layer, subject, split, value, low, high, items, entities."""


@dataclass(frozen=True)
class Sampled:
    """The items that are compared, by split."""

    rows: Mapping[Split, NDArray[np.intp]]
    ids: Mapping[Split, list[str]]
    entities: Mapping[Split, list[str]]

    @property
    def splits(self) -> list[Split]:
        """The splits of the case, in the order of every table."""
        return list(self.rows)

    def only(self, places: Mapping[Split, NDArray[np.intp]]) -> Sampled:
        """Some of the items of some of the splits; `places` counts within the items compared."""
        return Sampled(
            {s: self.rows[s][chosen] for s, chosen in places.items()},
            {s: [self.ids[s][i] for i in chosen] for s, chosen in places.items()},
            {s: [self.entities[s][i] for i in chosen] for s, chosen in places.items()},
        )


def check_settings(position: str, items: int, least: int) -> None:
    """Raise CaseError for an unknown position or a budget of too few items."""
    if position not in POSITIONS:
        raise CaseError(f'Unknown position "{position}".{suggest(position, POSITIONS)}')
    if items < least:
        raise CaseError(f"At least {least} items of each split are compared; found a budget of {items}.")


def sampled(bench: Bench, items: int, least: int) -> Sampled:
    """At most `items` items of each split; raises NotApplicable when forget or retain has fewer than `least`."""
    rows = {split: bench.subset(split, items) for split in SPLITS if bench.has(split)}
    for split in ("forget", "retain"):
        if len(rows.get(split, ())) < least:
            raise NotApplicable(
                f"This comparison needs at least {least} {split} items; the case has {len(rows.get(split, ()))}."
            )
    return Sampled(
        rows,
        {s: [bench.corpus(s).items[i].id for i in chosen] for s, chosen in rows.items()},
        {s: [bench.corpus(s).entities[i] for i in chosen] for s, chosen in rows.items()},
    )


def by_layer(
    bench: Bench, name: str, sample: Sampled, position: str, inputs: Mapping[str, Any], compare: Compare
) -> dict[Role, dict[str, NDArray[np.float64]]]:
    """`compare(original, subject)` at every layer for every subject, stacked over layers; computed once each."""

    def measure(role: Role) -> dict[str, NDArray[np.float64]]:
        states = {who: {s: bench.states(who, s) for s in sample.splits} for who in ("original", role)}
        layers = states[role]["forget"].layers
        lines: dict[str, list[NDArray[np.float64]]] = {}
        for layer in range(layers):
            bench.progress((bench.compared.index(role) + layer / layers) / len(bench.compared), f"comparing the {role}")
            first, second = (
                {s: states[who][s].at(layer, position)[rows] for s, rows in sample.rows.items()}
                for who in ("original", role)
            )
            for key, line in compare(first, second).items():
                lines.setdefault(key, []).append(np.asarray(line, np.float64))
        return {key: np.stack(line) for key, line in lines.items()}

    key = {**inputs, "position": position, "items": {s: len(rows) for s, rows in sample.rows.items()}}
    return {role: bench.remember(name, [role, "original"], key, partial(measure, role)) for role in bench.compared}


def same(first: Clouds, second: Clouds) -> bool:
    """Whether two subjects have the same states bit by bit on all splits."""
    return all(np.array_equal(x, second[split]) for split, x in first.items())


def pooled(clouds: Clouds) -> NDArray[np.float32]:
    """The forget items followed by the retain items [items, width]."""
    return np.concatenate([clouds["forget"], clouds["retain"]])


def undefined(first: Clouds, second: Clouds) -> bool:
    """Whether the states of one of them do not vary between the forget and retain items: nothing can be compared."""
    return still(pooled(first)) or still(pooled(second))


def over_blocks(values: NDArray[np.float64], role: Role, position: str) -> NDArray[np.float64]:
    """Mean over the outputs of all blocks, never the best [layers, ...] -> [...]; layer 0 is no output of a block.

    Raises NotIdentifiable where a block has no number because its states do not vary between items.
    """
    finite = np.isfinite(values[1:]).reshape(len(values) - 1, -1).all(1)
    if not finite.all():
        raise NotIdentifiable(
            f"The states of the {role} or the original hardly vary between items at {position} in block "
            f"{int(np.argmin(finite)) + 1}, so there is no likeness to measure there."
        )
    return np.asarray(values[1:].mean(0))


def item_panel(bench: Bench, sample: Sampled, found: Found, position: str) -> Panel:
    """The panel of an evidence with a number for each item."""

    def score(role: Role, split: Split) -> Scores:
        if split not in sample.rows:
            raise NotIdentifiable(f"No {split} item can be scored here, so there is no control.")
        values = over_blocks(found[role][split], role, position)
        return Scores(sample.ids[split], sample.entities[split], values)

    return panel(bench, score)


def draw_panel(bench: Bench, sample: Sampled, found: Found, position: str) -> Panel:
    """The panel of a statistic of all items, which brings its own draws over entities."""

    def draws(role: Role, split: Split) -> Sample:
        values = over_blocks(found[role][split], role, position)
        return Sample(float(values[0]), values[1:], len(set(sample.entities[split])))

    return panel_of(bench, draws)


def item_lines(bench: Bench, sample: Sampled, found: Found, suffix: str = "") -> list[Line]:
    """Mean over items with its interval for every layer that has numbers, subject and split."""
    lines: list[Line] = []
    for split in sample.splits:
        entities = sample.entities[split]
        for role in bench.compared:
            values = found[role][split + suffix]
            kept = np.flatnonzero(np.isfinite(values).all(1))
            if len(kept):
                places = zip(kept.tolist(), probing.intervals(values[kept], entities, bench.seed), strict=True)
                lines += [(layer, role, split, *ends, len(entities), len(set(entities))) for layer, ends in places]
    return lines


def draw_lines(bench: Bench, sample: Sampled, found: Found, suffix: str = "") -> list[Line]:
    """The value with its interval for every layer that has numbers, subject and split."""
    lines: list[Line] = []
    for split in sample.splits:
        entities = sample.entities[split]
        for role in bench.compared:
            for layer, values in enumerate(found[role][split + suffix]):
                if np.isfinite(values).all():
                    low, high = np.quantile(values[1:], [ALPHA / 2, 1 - ALPHA / 2])
                    value = float(values[0])
                    ends = (value, min(float(low), value), max(float(high), value))
                    lines.append((layer, role, split, *ends, len(entities), len(set(entities))))
    return lines


def in_words(what: str, found: Panel, retain: float | None = None) -> str:
    """The headline of a likeness as a sentence."""
    text = f"{what}: {found.candidate.value:.2f} in the candidate on forget"
    if found.null == "reference":
        text += f", {found.null_candidate.value:.2f} in the reference"
    return f"{text}, {retain:.2f} in the candidate on retain." if retain is not None else f"{text}."


def on_retain(found: Found) -> float | None:
    """The candidate's headline on retain, for the note; None where a block has no number."""
    values = found["candidate"]["retain"][1:]
    if not np.isfinite(values).all():
        return None
    return float(values.mean()) if values.shape[1:] else None
