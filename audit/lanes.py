"""Processes that measure side by side: each gets one step after the other and sends the findings back.

Each has its own loaded models. What serves several candidates goes through the cache, where whoever comes second waits
for the first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from audit.collect import without_number
from audit.errors import AuditError, Cancelled, StoreError
from audit.measuring import Measurer, Step, Work, cores, provenance
from audit.types import Finding, Status

if TYPE_CHECKING:
    from audit.progress import Reporter

READY = "ready"
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Lane:
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
        with limited(threads):
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
def limited(threads: int) -> Iterator[None]:
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
