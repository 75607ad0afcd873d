"""The steps of a run: measured one after the other here, or side by side in processes of their own.

Only the process that holds the run writes to it: the others send their findings back.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from audit.errors import SubjectError
from audit.lanes import Lane
from audit.measuring import Measurer, Step, Work, cores
from audit.types import Finding

if TYPE_CHECKING:
    from audit.casefile import AuditPlan
    from audit.progress import Reporter

    Found = Generator[tuple[Step, Finding]]

SMALL = 50_000_000
"""Numbers in a model up to which one core serves it as well as several do."""
FEWEST_STEPS = 20
"""Below this many steps, starting processes costs more than it saves."""
OWN_BYTES = 2**30
"""What a process takes before it holds a model: libraries, and the views of one measurement."""
PATIENCE_S = 3.0
"""How long a process that was asked to stop may take to come to its next step."""


def workers_for(wanted: int, plan: AuditPlan, device: str, steps: int) -> int:
    """How many processes measure: as many as are wanted, or, for 0, what suits the models and this machine.

    On a GPU one, since each process loads its own models. On a CPU one per core for small models, as far as memory
    reaches; else one that uses every core.
    """
    from audit.subjects.memory import available_memory, memory_estimate, stored_numbers

    if wanted > 0:
        return max(1, min(wanted, steps))
    if device != "cpu" or steps < FEWEST_STEPS:
        return 1
    specs = [spec for spec in (plan.original, plan.reference, *plan.candidates) if spec is not None]
    numbers, room = [0], [0]
    for spec in specs:
        with contextlib.suppress(SubjectError, OSError):  # a candidate that cannot be read is left to its own failure
            numbers.append(stored_numbers(spec))
            room.append(memory_estimate(spec, device))
    if max(numbers) > SMALL:
        return 1
    return max(1, min(cores(), available_memory(device) // (OWN_BYTES + 3 * max(room))))


def measured(work: Work, steps: Sequence[Step], workers: int, reporter: Reporter) -> Found:
    """Every step with its finding, as they come; raises Cancelled when the user asked to stop."""
    return _side_by_side(work, steps, workers, reporter) if workers > 1 else _one_by_one(work, steps, reporter)


def _one_by_one(work: Work, steps: Sequence[Step], reporter: Reporter) -> Found:
    measure = Measurer(work) if steps else None
    for step in steps:
        reporter.begin(step.id, work.name(step), work.weight(step))
        assert measure is not None
        yield step, measure(step, reporter.step)
        reporter.end()


def _side_by_side(work: Work, steps: Sequence[Step], workers: int, reporter: Reporter) -> Found:
    left = deque(steps)
    lanes = [Lane(number, work, workers) for number in range(workers)]
    try:
        for lane in lanes:
            _hand(lane, left, reporter)
        while busy := [lane for lane in lanes if lane.step is not None]:
            for lane in busy if not (ready := _ready(busy)) else ready:
                step, finding = lane.step, lane.receive(reporter)
                if step is None or finding is None:
                    continue
                reporter.end(lane.number)
                yield step, finding
                _hand(lane, left, reporter)
    finally:
        for lane in lanes:
            lane.ask_to_stop()
        patience = time.monotonic() + PATIENCE_S
        for lane in lanes:
            lane.end(patience)


def _ready(lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes that have something to say; waits half a second for one at most, so that a wish to stop is heard."""
    found = wait([lane.connection for lane in lanes], timeout=0.5)
    return [lane for lane in lanes if lane.connection in found]


def _hand(lane: Lane, left: deque[Step], reporter: Reporter) -> None:
    """Give a lane its next step, if there is one."""
    if left:
        step = left.popleft()
        reporter.begin(step.id, lane.work.name(step), lane.work.weight(step), lane.number)
        lane.give(step)
