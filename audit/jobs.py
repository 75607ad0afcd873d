"""Starting, watching and stopping a run from outside: how it is run, apart from what it does.

A job is the command line in a process of its own. It outlives the page that started it; its state is read from the run
folder, so that a reloaded page, a second viewer and the terminal see the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audit.cache import locked
from audit.errors import StoreError
from audit.files import storage_error, write_json
from audit.progress import CANCEL, FILE, LOCK, Progress, read_progress

if TYPE_CHECKING:
    from audit.casefile import AuditPlan

_children: list[subprocess.Popen[bytes]] = []
STARTING_S = 120.0


def start(case: Path, out: Path, only: Sequence[str] | None = None, device: str = "auto") -> None:
    """Run or resume an audit in a process of its own; StoreError when one runs in that folder already."""
    arguments = ["run", str(case.resolve()), "--out", str(out.resolve()), "--device", device]
    launch([*arguments, *[part for id in only or () for part in ("--only", id)]], case, out)


def launch(arguments: Sequence[str], case: Path, out: Path) -> None:
    """A command that reports into `out`, in a process of its own; StoreError when one runs in that folder already."""
    if state(out).state == "running":
        raise StoreError(f"{out} is being written by a run already: watch it, cancel it, or choose another folder.")
    command = [sys.executable, "-m", "audit", *arguments]
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / CANCEL).unlink(missing_ok=True)
        with open(out / "job.log", "ab") as log:
            child = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=Path(__file__).parent.parent,
            )
    except OSError as error:
        raise storage_error(error, out) from error
    _children.append(child)
    if read_progress(out).pid != child.pid:
        write_json(out / FILE, asdict(Progress("running", message="starting", pid=child.pid, case=str(case))))


def cancel(out: Path) -> None:
    """Ask a run to stop at its next step; what was finished is kept. Without a run there is nothing to ask."""
    if state(out).state != "running":
        return
    try:
        (out / CANCEL).touch()
    except OSError as error:
        raise storage_error(error, out) from error


def kill(out: Path) -> None:
    """End a run that does not answer; nothing that was finished is lost."""
    progress = state(out)
    if progress.state == "running" and progress.pid:
        os.kill(progress.pid, signal.SIGKILL)


def state(out: Path) -> Progress:
    """How far a run is; `interrupted` when it says that it runs but no process does."""
    for child in list(_children):
        if child.poll() is not None:
            _children.remove(child)
    progress = read_progress(out)
    if progress.state == "running" and not _held(out) and not _starting(out, progress):
        progress.state, progress.eta_seconds = "interrupted", None
    return progress


def _held(out: Path) -> bool:
    """Whether a process holds the lock of a run folder."""
    if not (out / LOCK).exists():
        return False
    try:
        with locked(out / LOCK, wait=False):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _starting(out: Path, progress: Progress) -> bool:
    """Whether the process was started but has not taken the lock yet."""
    if progress.fraction > 0 or progress.message != "starting":
        return False
    try:
        fresh = time.time() - (out / FILE).stat().st_mtime < STARTING_S
        return fresh and Path(f"/proc/{progress.pid}").exists()
    except OSError:
        return False


@dataclass(frozen=True)
class Forecast:
    """What a run will roughly need: seconds, bytes of memory, and bytes that are free."""

    seconds: float
    bytes: int
    available: int


def estimate(plan: AuditPlan, device: str = "auto", only: Sequence[str] | None = None) -> Forecast:
    """Time and memory of a run before it starts, from model and corpus sizes and a short timing of this machine.

    The time is a guide within a factor of about three; the memory is the original with one candidate beside it.
    """
    from audit.catalogue import evidence_class
    from audit.run import chosen_ids
    from audit.subjects.load import resolve_device
    from audit.subjects.memory import available_memory, memory_estimate, stored_numbers
    from audit.workers import workers_for

    device = resolve_device(device)
    ids = chosen_ids(plan, only)
    number = workers_for(0, plan, device, len(ids) * len(plan.candidates))
    size = number * sum(memory_estimate(spec, device) for spec in (plan.original, *plan.candidates[:1]))
    characters = sum(
        len(item.prompt) * (1 + len(item.wrong_answers)) + len(item.answer) + sum(map(len, item.wrong_answers))
        for corpus in plan.corpora.values()
        for item in corpus.items
    )
    one_pass = 2.0 * stored_numbers(plan.original) * characters / 3.5 / _operations_per_second(device) + 0.5
    cost = sum(evidence_class(id).cost for id in ids) / number
    shared = 2.0 if plan.reference else 1.0
    seconds = one_pass * cost * (len(plan.candidates) + shared) + 10.0
    return Forecast(seconds, size, available_memory(device))


def _operations_per_second(device: str) -> float:
    """Floating-point operations per second of one matrix product on this machine."""
    import torch

    left = torch.randn(512, 512, device=device)
    best = float("inf")
    for _ in range(10):  # the fastest of ten, since a busy machine only ever makes it slower
        began = time.perf_counter()
        float((left @ left)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2 * 512**3 / max(best, 1e-9)
