"""A relearning attack on one candidate, watched: the evidence `attacks.relearn` itself, told step by step.

An attack is a folder: `attack.json` says what is attacked and how, `steps.jsonl` holds a record for every look, and
`progress.json` how far it is. Every write replaces the whole file, so a reader never sees half a record.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.cache import Cache, locked
from audit.errors import AuditError, Cancelled, CaseError, NotApplicable, StoreError, suggest
from audit.evidence.attacks._curves import Material, Run, stack
from audit.evidence.attacks._finetune import BYTES_PER_WEIGHT, resolve, weights_of
from audit.evidence.attacks.relearn import Relearn
from audit.evidence.behaviour.recall import metric_of, score_all
from audit.files import write_json, write_text
from audit.progress import CANCEL, LOCK, Progress, Reporter
from audit.stats import mean
from audit.subjects.systems.sight import hidden_from
from audit.types import Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.types import Case

SCHEMA = 1
ABOUT, STEPS = "attack.json", "steps.jsonl"
WATCHED = 6
"""Facts whose answers are shown as they change; chosen by their place alone, before anything is attacked."""


@dataclass(frozen=True)
class Watched(Relearn):
    """The attack of `attacks.relearn` with an attacker who knows at most so many facts."""

    facts: int = 0
    """Facts that the attacker knows; 0 means all of the attribute (or half of the entities) that the evidence trains
    on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.facts < 0:
            raise CaseError(f"facts = {self.facts}: expected 0 for all, or how many facts the attacker knows.")

    def material(self, bench: Bench, split: Split, seed: int) -> Material:
        """The evidence's own material, of which the attacker knows only some facts."""
        found = super().material(bench, split, seed)
        if not self.facts or self.facts >= len(found.taught):
            return found
        order = bench.rng("facts of the attacker", split, seed).permutation(len(found.taught))
        return dataclasses.replace(found, taught=[found.taught[i] for i in sorted(order[: self.facts])])


def watched(steps: int = 40, lr: float = 0.0, facts: int = 0, every: int = 2) -> Watched:
    """The settings of an attack that is looked at every few steps; CaseError for what cannot be attacked so."""
    if steps < 1 or every < 1:
        raise CaseError("An attack needs at least 1 step, and a look every 1 step or more.")
    return Watched(steps=steps, lr=lr, facts=facts, checkpoints=tuple(range(0, steps + 1, every)))


def run_attack(
    case_file: Path,
    candidate: str,
    out: Path,
    settings: Watched,
    *,
    seed: int = 0,
    device: str = "auto",
    cache: Cache | None = None,
    root: Path | None = None,
    listen: Callable[[Progress], None] | None = None,
) -> None:
    """Attack a candidate and its control, and write what each says along the way into a folder.

    Raises CaseError for a candidate that is not there, NotApplicable for a system, whose weights are not its own, and
    when nothing can be trained on, NotIdentifiable when the attack breaks or there is no control, Cancelled when the
    folder holds a request to stop, StoreError when another process writes it. What was heard until then stays.
    """
    from audit.bench import Bench
    from audit.casefile import read_plan
    from audit.subjects.garage import Garage

    with ExitStack() as held:
        out.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(locked(out / LOCK, wait=False))
        except BlockingIOError as error:
            raise StoreError(f"Another process is writing {out}: wait for it, cancel it, or give --out.") from error
        reporter = Reporter(out, 1.0, str(case_file), listen)
        try:
            reporter.begin("attacks.relearn", candidate, 1.0)
            cases = read_plan(case_file, root=root).cases()
            garage = Garage(device)
            case = _case(cases, candidate)
            if reason := hidden_from(case.candidate, settings.needs, case.original):
                raise NotApplicable(reason)
            bench = Bench(case, garage, cache, reporter.step, cases)
            _attack(bench, settings, seed, out, garage.device)
            reporter.end()
            reporter.finish("done")
        except (Cancelled, KeyboardInterrupt):
            reporter.finish("cancelled", "Cancelled. What was heard until then is kept.")
            raise
        except Exception as error:
            words = str(error) if isinstance(error, AuditError) else f"Unexpected {type(error).__name__}: {error}"
            reporter.finish("failed", words)
            raise
        finally:
            (out / CANCEL).unlink(missing_ok=True)


def _case(cases: Sequence[Case], candidate: str) -> Case:
    names = [case.candidate.name for case in cases]
    if candidate not in names:
        raise CaseError(f'The case file has no candidate "{candidate}".{suggest(candidate, names)}')
    return cases[names.index(candidate)]


class Lane:
    """One model under the attack, the facts that it is asked, and what it said so far."""

    def __init__(self, bench: Bench, settings: Watched, name: str, role: Role, split: Split, seed: int) -> None:
        self.bench, self.settings, self.seed = bench, settings, seed
        self.name, self.role, self.split = name, role, split
        self.before = settings.before(bench, split, seed, role)
        self.tested, self.asked = settings.asked(bench, split, self.before.material)
        places = np.linspace(0, len(self.tested) - 1, min(WATCHED, len(self.tested)))
        self.places = sorted({int(place) for place in places})
        self.step = 0

    @property
    def shown(self) -> list[dict[str, str]]:
        """The facts whose answers are shown: spread evenly over those that are tested."""
        facts = [self.tested[place] for place in self.places]
        return [{"item": fact.id, "prompt": fact.prompt, "answer": fact.answer} for fact in facts]

    def records(self, tell: Callable[[], None]) -> Iterator[dict[str, Any] | None]:
        """Attack: what it says before and after each look, None after every other step."""
        said = self.bench.says(self.role, self.split)
        before = [said[i] for i in np.flatnonzero(self.before.material.tested)]
        yield self._record(before, self.before.recovery[0], self.before.retained)
        metric, material = metric_of(self.bench, self.settings.metric), self.before.material

        def stepped(step: int) -> None:
            self.step = step
            tell()

        for _, heard, kept in self.settings.attacking(self.bench, self.role, self.split, self.seed, material, stepped):
            if not heard:
                yield None
                continue
            retained = [float(score_all(kept, self.asked, metric).mean())] if self.asked else []
            yield self._record(heard, self.settings.scored(self.bench, self.before, self.tested, heard), retained)

    def _record(self, heard: Sequence[str], values: NDArray[np.float64], retained: Sequence[float]) -> dict[str, Any]:
        shown = [heard[place] for place in self.places]
        numbers = numbers_of(self.bench, self.split, self.before, values, retained)
        return {"lane": self.name, "step": self.step, **numbers, "said": shown}


def numbers_of(
    bench: Bench, split: Split, run: Run, values: NDArray[np.float64], retained: Sequence[float]
) -> dict[str, Any]:
    """Recall of the facts that were not trained on, with its interval, as `attacks.relearn` has it for one run."""
    found = mean(stack(bench, split, [run], [values]), seed=bench.seed).estimate(0.0)
    return {
        "recovery": found.value, "low": found.low, "high": found.high, "entities": found.n,
        "retained": retained[0] if retained else None,
    }  # fmt: skip


def _attack(bench: Bench, settings: Watched, seed: int, out: Path, device: str) -> None:
    """Attack candidate and control: side by side where there is room, else one after the other."""
    name = bench.case.candidate.name
    null = bench.null
    control: tuple[str, Role, Split] = (
        ("reference", "reference", "forget")
        if null == "reference"
        else (f"{name}, facts it never saw", "candidate", "holdout")
    )
    lanes = [Lane(bench, settings, name, "candidate", "forget", seed), Lane(bench, settings, *control, seed)]

    def tell() -> None:
        done = sum(lane.step for lane in lanes) / settings.steps / len(lanes)
        bench.progress(done, ", ".join(f"{lane.name} at step {lane.step} of {settings.steps}" for lane in lanes))

    (out / STEPS).unlink(missing_ok=True)
    write_json(out / ABOUT, about(bench, settings, lanes, null))
    ways = [lane.records(tell) for lane in lanes]
    every = _in_turn(ways) if _fit_together(bench, settings, lanes, device) else chain(*ways)
    records: list[dict[str, Any]] = []
    for record in every:
        if record is not None:
            records.append(record)
            write_text(out / STEPS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in records))


def about(bench: Bench, settings: Watched, lanes: Sequence[Lane], null: str) -> dict[str, Any]:
    """Everything about an attack that does not change along it."""
    first = lanes[0]
    original = settings.before(bench, "forget", first.seed)
    recipe = resolve(settings.recipe(bench, "candidate"), weights_of(bench.case.candidate))
    return {
        "schema": SCHEMA,
        "case": bench.case.name,
        "candidate": first.name,
        "null": null,
        "lanes": [lane.name for lane in lanes],
        "settings": {**asdict(recipe), "facts": len(first.before.material.taught), "seed": first.seed},
        "looks": list(settings.looks),
        "by": first.before.material.by,
        "tested": len(first.tested),
        "asked": len(first.asked),
        "original": numbers_of(bench, "forget", original, original.recovery[0], original.retained),
        "watched": {lane.name: lane.shown for lane in lanes},
    }


def _in_turn(ways: Sequence[Iterator[dict[str, Any] | None]]) -> Iterator[dict[str, Any] | None]:
    """One of each, again and again; all of them end together."""
    for turn in zip(*ways, strict=True):
        yield from turn


def _fit_together(bench: Bench, settings: Watched, lanes: Sequence[Lane], device: str) -> bool:
    """Whether all lanes can be trained at once; adapters need hardly more than the weights."""
    from audit.subjects.memory import available_memory, memory_estimate

    needed = 0
    for lane in lanes:
        spec = bench.case.subject(lane.role)
        full = settings.recipe(bench, lane.role).method == "full"
        needed += BYTES_PER_WEIGHT * weights_of(spec) if full else 2 * memory_estimate(spec, device)
    return needed <= available_memory(device) // 2
