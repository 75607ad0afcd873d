"""How far a run is, in words."""

from __future__ import annotations

from audit.catalogue import CATALOGUE, evidence_class
from audit.progress import Progress

STATES = {
    "running": "running",
    "done": "finished",
    "cancelled": "cancelled",
    "failed": "failed",
    "interrupted": "interrupted",
    "none": "not started",
}
RESUMABLE = ("cancelled", "failed", "interrupted")


def duration(seconds: float | None) -> str:
    """A time in words that promise no more than they know."""
    if seconds is None:
        return "not known yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes in words."""
    for unit, width in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"


def line(progress: Progress) -> str:
    """What a run is doing now: evidence, subject, message."""
    title = evidence_class(progress.evidence).title if progress.evidence in CATALOGUE else progress.evidence
    head = " on ".join(part for part in (title, progress.subject) if part)
    return ": ".join(part for part in (head, progress.message) if part) or "starting"


def summary(progress: Progress) -> str:
    """State, share and times on one line."""
    words = STATES.get(progress.state, progress.state)
    if progress.state == "running":
        left = f", time left: {duration(progress.eta_seconds)}"
        return f"{words}, {round(100 * progress.fraction)}\u202f% done{left}"
    if progress.state == "none":
        return words
    return f"{words} after {duration(progress.elapsed)}"
