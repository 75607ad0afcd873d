"""What can be downloaded: a line on each kind of file, its name, and its bytes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from audit.errors import MissingDependency
from audit.policy import Policy
from audit.report.export import export
from audit.report.pdf import browser
from audit.store import Run

WHAT = {
    ".html": "A report for any browser: one file, interactive, opens from disk with the network off.",
    ".pdf": "The same report on paper. Printed by a Chromium on the server, which takes a minute.",
    ".json": "Everything for programs: verdicts, findings and the rows of every table.",
    ".zip": "The bundle: all evidence, policy, log and report, with a digest of every file.",
}


def name_of(run: Run, kind: str) -> str:
    """A file name from the name of the case."""
    stem = re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")[:60] or "audit"
    return f"{stem}{kind}"


def content(run: Run, policy: Policy, kind: str) -> bytes:
    """The bytes of one kind of file; raises what `export` raises."""
    with tempfile.TemporaryDirectory(prefix="palimpsest-") as folder:
        return export(run, policy, Path(folder) / name_of(run, kind)).read_bytes()


def lacking(kind: str) -> str:
    """What this machine lacks to make a kind of file, in words; empty when nothing."""
    try:
        if kind == ".pdf":
            browser()
    except MissingDependency as error:
        return str(error)
    return ""
