"""The index of runs: which there are, and every candidate's verdict under the default policy, so that lists are fast.

The folders are the truth: an entry whose folder differs from what it was read from is read again, one whose folder is
gone is dropped. Without a database that can be written the folders are read every time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit._findingjson import outline
from audit.errors import StoreError
from audit.policy import Policy, judge, load_policy
from audit.review import database
from audit.review.chain import canonical, sha256
from audit.store import Run, open_run
from audit.types import Finding


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it."""

    folder: str
    name: str
    complete: bool
    modified: float
    candidates: list[dict[str, str]]
    """name, verdict and utility of each."""


def runs(root: Path, policy: Policy | None = None) -> list[Listed]:
    """The runs right below a folder, the newest first, by the default policy; unreadable ones are left out."""
    policy, root = policy or load_policy(), root.resolve()
    stamps = {
        path.name: _stamp(path, policy)
        for path in (root.iterdir() if root.is_dir() else ())
        if (path / "case.json").is_file()
    }
    if not stamps:
        return []
    url = database.url_for(root)
    known = {folder: facts for folder, (stamp, facts) in _stored(url, root).items() if stamps.get(folder) == stamp}
    fresh = {folder: facts for folder in stamps if folder not in known if (facts := _facts(root / folder, policy))}
    _keep(url, root, stamps, fresh)
    found = [Listed(**(fresh.get(folder) or known[folder])) for folder in stamps if folder in fresh or folder in known]
    return sorted(found, key=lambda run: -run.modified)


def _stamp(path: Path, policy: Policy) -> str:
    """Changes whenever a file of the run is put in its place, because that touches the folder that holds it."""
    findings = path / "findings"
    folders = [findings, *(findings.iterdir() if findings.is_dir() else ())]
    places = [path / "case.json", path / "manifest.json", *sorted(folders)]
    return sha256([policy.digest, [(p.name, p.stat().st_mtime_ns if p.exists() else 0) for p in places]])


def _facts(path: Path, policy: Policy) -> dict[str, Any] | None:
    """What the list shows of a run, read from its folder; None when it cannot be read."""
    try:
        run = open_run(path)
        candidates = []
        for name in run.candidates:
            judgement = judge(policy, _outlines(run, name))
            candidates.append({"name": name, "verdict": str(judgement.verdict), "utility": str(judgement.utility)})
        modified = (path / "case.json").stat().st_mtime
        return asdict(Listed(path.name, run.name, run.complete, modified, candidates))
    except (StoreError, OSError, KeyError, TypeError):
        return None


def _outlines(run: Run, candidate: str) -> list[Finding]:
    found = []
    for id in run.known_ids:
        path = run.path / "findings" / candidate / f"{id}.json"
        try:
            found.append(outline(path.read_bytes()))
        except (OSError, StoreError):
            continue
    return found


def _stored(url: str, root: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    from sqlalchemy import text

    try:
        with database.reading(url) as connection:
            if connection is None:
                return {}
            rows = connection.execute(
                text("SELECT folder, stamp, facts FROM runs WHERE root = :root"), {"root": str(root)}
            )
            return {folder: (stamp, json.loads(facts)) for folder, stamp, facts in rows}
    except (StoreError, ValueError):
        return {}


def _keep(url: str, root: Path, stamps: dict[str, str], fresh: dict[str, dict[str, Any]]) -> None:
    """Put what was read anew into the index and drop what is gone; a database that refuses costs speed only."""
    from sqlalchemy import text

    gone = [folder for folder in _stored(url, root) if folder not in stamps]
    if not fresh and not gone:
        return
    try:
        with database.writing(url, lock=f"runs {root}") as connection:
            for folder in (*gone, *fresh):
                connection.execute(
                    text("DELETE FROM runs WHERE root = :root AND folder = :folder"),
                    {"root": str(root), "folder": folder},
                )
            for folder, facts in fresh.items():
                connection.execute(
                    text("INSERT INTO runs (root, folder, stamp, facts) VALUES (:root, :folder, :stamp, :facts)"),
                    {"root": str(root), "folder": folder, "stamp": stamps[folder], "facts": canonical(facts)},
                )
    except StoreError:
        return
