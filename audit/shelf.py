"""The findings of a run, kept in memory: only what was written since is read again."""

from __future__ import annotations

import threading
from pathlib import Path

from audit.errors import StoreError
from audit.store import Run, open_run
from audit.types import Finding

Findings = dict[str, dict[str, Finding]]


class Shelf:
    """A run and what is known of it; many readers at once may look.

    Raises StoreError when the folder is no run.
    """

    def __init__(self, path: Path) -> None:
        self.run: Run = open_run(path)
        self._lock = threading.Lock()
        self._planned = 0
        self._seen: dict[tuple[str, str], tuple[int, Finding | str]] = {}
        self._look: tuple[tuple[object, ...], tuple[Findings, list[str], int]] = ((), ({}, [], 0))

    def look(self) -> tuple[Findings, list[str], int]:
        """Findings by candidate and id, a sentence for each that cannot be read, and a number that stands for all this.

        The same objects come back as long as nothing was written; nobody changes them.
        """
        with self._lock:
            self._open_again_if_written()
            written = {name: self.run.written(name) for name in self.run.candidates}
            key: tuple[object, ...] = (self._planned, *((n, *sorted(ids.items())) for n, ids in written.items()))
            if key != self._look[0]:
                self._look = (key, (*self._read(written), hash(key)))
            return self._look[1]

    def _open_again_if_written(self) -> None:
        planned = (self.run.path / "case.json").stat().st_mtime_ns if (self.run.path / "case.json").exists() else 0
        if planned != self._planned:
            self.run, self._planned = open_run(self.run.path), planned

    def _read(self, written: dict[str, dict[str, int]]) -> tuple[Findings, list[str]]:
        findings: Findings = {name: {} for name in written}
        damaged: list[str] = []
        seen: dict[tuple[str, str], tuple[int, Finding | str]] = {}
        for name, ids in written.items():
            for id in self.run.known_ids:
                if id not in ids:
                    continue
                stamp, found = self._seen.get((name, id), (0, ""))
                if stamp != ids[id]:
                    found = self._finding(name, id)
                seen[name, id] = (ids[id], found)
                if isinstance(found, Finding):
                    findings[name][id] = found
                else:
                    damaged.append(found)
        self._seen = seen
        return findings, damaged

    def _finding(self, name: str, id: str) -> Finding | str:
        """A finding that reads its tables when they are asked for, or a sentence that says why it cannot be read."""
        try:
            return self.run.finding(name, id, lazy=True) or f"{self.run.path / 'findings' / name / id}.json is gone."
        except StoreError as error:
            return str(error)
