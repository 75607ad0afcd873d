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
        self._weight = 0.0
        self._worked = 0.0
        self._began = time.monotonic()
        self._last = 0.0
        self._listen = listen

    def begin(self, evidence: str, subject: str, weight: float) -> None:
        """A step of the run starts; `weight` is its share of the total work."""
        self.progress.evidence, self.progress.subject, self._weight = evidence, subject, weight
        self.step(0.0, "", force=True)

    def step(self, fraction: float, message: str = "", *, force: bool = False) -> None:
        """Within the step, 0 to 1; raises Cancelled when the run folder holds a request to stop."""
        now = time.monotonic()
        if not force and now - self._last < EVERY_S:
            return
        self._last = now
        worked = self._worked + self._weight * fraction
        share = (self._done + self._weight * fraction) / self._total
        progress = self.progress
        progress.fraction, progress.elapsed = min(max(share, progress.fraction), 1.0), now - self._began
        if message:
            progress.message = message
        if worked > 0:
            left = self._total - self._done - self._weight * fraction
            progress.eta_seconds = progress.elapsed * max(left, 0.0) / worked
        self._publish()
        if (self.folder / CANCEL).exists():
            raise Cancelled("Cancelled. What was finished is kept; run again to go on.")

    def end(self, *, skipped: bool = False) -> None:
        """The step is finished; a skipped one took no time and does not count for the time left."""
        self._done += self._weight
        if not skipped:
            self._worked += self._weight
        self._weight = 0.0

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
