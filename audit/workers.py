"""The steps of a run: measured one after the other here, or side by side in processes of their own.

Each process has its own loaded models. What serves several candidates goes through the cache, where whoever comes
second waits for the first. Only the process that holds the run writes to it: the others send their findings back.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit import __version__
from audit.bench import Bench
from audit.cache import Cache
from audit.collect import collect, without_number
from audit.errors import AuditError, Cancelled, StoreError, SubjectError
from audit.types import Case, Evidence, Finding, Status

if TYPE_CHECKING:
    from audit.casefile import AuditPlan
    from audit.progress import Reporter

    Found = Generator[tuple["Step", Finding]]

SMALL = 50_000_000
"""Numbers in a model up to which one core serves it as well as several do."""
FEWEST_STEPS = 20
"""Below this many steps, starting processes costs more than it saves."""
OWN_BYTES = 2**30
"""What a process takes before it holds a model: libraries, and the views of one measurement."""
READY = "ready"
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PATIENCE_S = 3.0
"""How long a process that was asked to stop may take to come to its next step."""


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


def provenance(step: Step, number_format: str) -> dict[str, Any]:
    """What a finding says of where it comes from."""
    measured = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return {
        "key": step.key, "identity": step.identity, "measured": measured, "version": __version__,
        "device": number_format,
    }  # fmt: skip


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


def cores() -> int:
    """Cores that this process may use: of the machine, of its affinity, and of the quota of its container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(found, int(quota) // int(period)))
    except (OSError, ValueError):
        return found


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
    lanes = [_Lane(number, work, workers) for number in range(workers)]
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


def _ready(lanes: Sequence[_Lane]) -> list[_Lane]:
    """The lanes that have something to say; waits half a second for one at most, so that a wish to stop is heard."""
    found = wait([lane.connection for lane in lanes], timeout=0.5)
    return [lane for lane in lanes if lane.connection in found]


def _hand(lane: _Lane, left: deque[Step], reporter: Reporter) -> None:
    """Give a lane its next step, if there is one."""
    if left:
        step = left.popleft()
        reporter.begin(step.id, lane.work.name(step), lane.work.weight(step), lane.number)
        lane.give(step)


class _Lane:
    """One process that measures step by step; a process that died is replaced, and its step says so."""

    def __init__(self, number: int, work: Work, workers: int) -> None:
        self.number, self.work, self._workers = number, work, workers
        self.step: Step | None = None
        self._start()

    def _start(self) -> None:
        self._ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        threads = max(1, cores() // self._workers)
        work = Work(self.work.cases, self.work.evidence, _own_device(self.work.device, self.number))
        self._process = context.Process(target=_serve, args=(theirs, work, threads), daemon=True)
        with _limited(threads):
            self._process.start()
        theirs.close()

    def give(self, step: Step) -> None:
        """Start on a step; a process that died between two steps is replaced."""
        self.step = step
        try:
            self.connection.send(step)
        except OSError:
            self._start()
            self.connection.send(step)

    def receive(self, reporter: Reporter) -> Finding | None:
        """The finding, when that is what the process has to say; progress is passed on. Raises what it raised."""
        try:
            if not self.connection.poll():
                reporter.step(0.0, lane=self.number)
                return None
            said = self.connection.recv()
        except (EOFError, ConnectionError):
            return self._died()
        if said == READY:
            self._ready = True
            return None
        if isinstance(said, AuditError):
            raise said
        if isinstance(said, Finding):
            self.step = None
            return said
        reporter.step(*said, lane=self.number)
        return None

    def _died(self) -> Finding:
        self._process.join()
        code = self._process.exitcode
        if not self._ready:
            raise AuditError(f"A process that measures does not start (it ended with code {code}); try --workers 1.")
        step, self.step = self.step, None
        assert step is not None
        why = " as it does when the system takes its memory back" if code == -signal.SIGKILL else ""
        reason = f"The process that measured this ended with code {code}{why}: try --workers 1, or a larger machine."
        self._start()
        evidence = self.work.evidence[step.id]
        return without_number(step.id, evidence, Status.FAILED, reason, provenance(step, self.work.device))

    def ask_to_stop(self) -> None:
        """Let the process end at its next word."""
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def end(self, deadline: float) -> None:
        """Wait for the process until a moment (time.monotonic), then end it."""
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    """What a process that starts now may use at once: its libraries read this when they are loaded, and only then.

    Set later, from within, it does not reach the threads that a library starts for itself: training a dictionary then
    took twice as long as it does on its own core.
    """
    given = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update({name: str(threads) for name, value in given.items() if value is None})
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                os.environ.pop(name, None)


def _own_device(device: str, number: int) -> str:
    """Processes share the GPUs out among themselves."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{number % torch.cuda.device_count()}"


def _serve(connection: Connection, work: Work, threads: int) -> None:
    """The life of a process that measures: steps come in, findings go out, None ends it."""
    import torch
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever holds the run is asked, and stops all
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    measure = Measurer(work)
    connection.send(READY)

    def tick(share: float, message: str) -> None:
        if connection.poll():
            raise Cancelled("Cancelled. What was finished is kept; run again to go on.")
        connection.send((share, message))

    with threadpool_limits(threads):
        while (step := connection.recv()) is not None:
            try:
                connection.send(measure(step, tick))
            except Cancelled:
                return
            except StoreError as error:
                connection.send(error)


def _end_with_parent() -> None:
    """A process whose run was killed must not go on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
