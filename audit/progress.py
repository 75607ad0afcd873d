"""How far a run is: one small file that the terminal and the page read alike."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit.errors import Cancelled, StoreError
from audit.files import write_json

EVERY_S = 0.4
FILE = "progress.json"
CANCEL = "cancel"
LOCK = ".lock"


@dataclass
class Progress:
    """The state of a run at one moment."""

    state: str = "none"
    """none, running, done, cancelled, failed, or interrupted (it says running, but no process holds the run)."""
    fraction: float = 0.0
    evidence: str = ""
    subject: str = ""
    message: str = ""
    eta_seconds: float | None = None
    elapsed: float = 0.0
    error: str = ""
    pid: int = 0
    case: str = ""


class Reporter:
    """Writes progress, passes it on to a listener, and stops the run when the user has asked for that."""

    def __init__(self, folder: Path, total: float, case: str = "", listen: Callable[[Progress], None] | None = None):
        self.folder = folder
        self.progress = Progress(state="running", pid=os.getpid(), case=case)
        self._total = max(total, 1e-9)
        self._done = 0.0
        self._worked = 0.0
        self._open: dict[int, tuple[float, float]] = {}
        """Weight and fraction of the step that each lane is at; a run of one process has one lane."""
        self._began = time.monotonic()
        self._last = 0.0
        self._listen = listen

    def begin(self, evidence: str, subject: str, weight: float, lane: int = 0) -> None:
        """A step of the run starts; `weight` is its share of the total work."""
        self.progress.evidence, self.progress.subject = evidence, subject
        self._open[lane] = (weight, 0.0)
        self.step(0.0, "", lane=lane, force=True)

    def step(self, fraction: float, message: str = "", *, lane: int = 0, force: bool = False) -> None:
        """Within the step, 0 to 1; raises Cancelled when the run folder holds a request to stop."""
        if lane in self._open:
            weight, before = self._open[lane]
            self._open[lane] = (weight, max(fraction, before))
        now = time.monotonic()
        if not force and now - self._last < EVERY_S:
            return
        self._last = now
        begun = sum(weight * part for weight, part in self._open.values())
        progress = self.progress
        share = (self._done + begun) / self._total
        progress.fraction, progress.elapsed = min(max(share, progress.fraction), 1.0), now - self._began
        if message:
            progress.message = message
        if self._worked + begun > 0:
            left = self._total - self._done - begun
            progress.eta_seconds = progress.elapsed * max(left, 0.0) / (self._worked + begun)
        self._publish()
        if (self.folder / CANCEL).exists():
            raise Cancelled("Cancelled. What was finished is kept; run again to go on.")

    def end(self, lane: int = 0, *, skipped: bool = False) -> None:
        """The step is finished; a skipped one took no time and does not count for the time left."""
        weight, _ = self._open.pop(lane, (0.0, 0.0))
        self._done += weight
        if not skipped:
            self._worked += weight

    def finish(self, state: str, error: str = "") -> None:
        """The run ends: done, cancelled or failed."""
        progress = self.progress
        progress.state, progress.error, progress.eta_seconds = state, error, None
        progress.elapsed = time.monotonic() - self._began
        if state == "done":
            progress.fraction, progress.message = 1.0, ""
        try:
            self._publish()
        except StoreError:
            # The reason why the run ends may be that nothing can be written any more.
            if not error:
                raise

    def _publish(self) -> None:
        write_json(self.folder / FILE, asdict(self.progress))
        if self._listen:
            self._listen(self.progress)


def read_progress(folder: Path) -> Progress:
    """The last state that a run wrote; state `none` when there is no such file."""
    try:
        data: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Progress(**{name: data[name] for name in Progress.__dataclass_fields__ if name in data})
    except (OSError, ValueError, TypeError):
        return Progress()
