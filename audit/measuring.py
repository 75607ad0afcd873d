"""One step of a run: one evidence put to one case, by whoever measures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import __version__
from audit.bench import Bench
from audit.cache import Cache
from audit.collect import collect
from audit.types import Case, Evidence, Finding


@dataclass(frozen=True)
class Step:
    """One evidence put to one case of the plan.

    `key` is what its finding is computed from, `identity` the part of that which all findings of the case share.
    """

    case: int
    id: str
    key: str
    identity: str


@dataclass(frozen=True)
class Work:
    """What whoever measures must know."""

    cases: Sequence[Case]
    evidence: Mapping[str, Evidence]
    device: str

    def weight(self, step: Step) -> float:
        """The step's share of the work, in the units of `Evidence.cost`."""
        return self.evidence[step.id].cost

    def name(self, step: Step) -> str:
        """The candidate's name."""
        return self.cases[step.case].candidate.name


class Measurer:
    """Puts one question after the other, with models that stay loaded in between."""

    def __init__(self, work: Work) -> None:
        from audit.subjects.garage import Garage

        self.work = work
        self.garage = Garage(work.device)

    def __call__(self, step: Step, tick: Callable[[float, str], None]) -> Finding:
        """The finding of one step; Cancelled and StoreError pass through."""
        bench = Bench(self.work.cases[step.case], self.garage, Cache(), tick, self.work.cases)
        return collect(step.id, self.work.evidence[step.id], bench, provenance(step, self.garage.number_format))

    def benches(self) -> list[Bench]:
        """A bench for each case, on models that are loaded already."""
        return [Bench(case, self.garage, Cache(), audit=self.work.cases) for case in self.work.cases]


def provenance(step: Step, number_format: str) -> dict[str, Any]:
    """What a finding says of where it comes from."""
    measured = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return {
        "key": step.key, "identity": step.identity, "measured": measured, "version": __version__,
        "device": number_format,
    }  # fmt: skip


def cores() -> int:
    """Cores that this process may use: of the machine, of its affinity, and of the quota of its container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(found, int(quota) // int(period)))
    except (OSError, ValueError):
        return found
