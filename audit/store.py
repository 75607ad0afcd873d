"""A run on disk: `case.json`, `findings/<candidate>/<id>.json` + `.parquet`, `log.jsonl` and, last, `manifest.json`.

A finding's JSON is written after its tables, the manifest after everything: what can be read is complete. Nothing is
pickled. Reading needs pandas only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from audit._findingjson import finding_from, finding_json
from audit.cache import locked
from audit.catalogue import CATALOGUE
from audit.errors import StoreError
from audit.files import storage_error, write_atomically, write_json
from audit.lazy import TABLES, lazily
from audit.progress import LOCK
from audit.types import Finding, Status

SCHEMA = 1
ID = re.compile(r"[\w.+-]+")


class Run:
    """One audit of one case file: everything that was found so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was audited: name, subjects with fingerprints, corpora with digests, settings, versions."""
        try:
            plan = json.loads((self.path / "case.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise StoreError(f"{self.path} is not a run folder: it holds no case.json.") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path / 'case.json'} cannot be read: {error}.") from error
        schema = plan.get("schema") if isinstance(plan, dict) else None
        if schema != SCHEMA:
            raise StoreError(f"{self.path} was written in format {schema}; this version reads {SCHEMA}.")
        return dict(plan)

    @property
    def name(self) -> str:
        """The case's name."""
        return str(self.plan["name"])

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates, in the order of the case file."""
        return [subject["name"] for subject in self.plan["candidates"]]

    @property
    def series(self) -> dict[str, dict[str, int]]:
        """Candidates that are checkpoints, by the name of their series: name → step, by step."""
        found: dict[str, dict[str, int]] = {}
        for subject in sorted(self.plan["candidates"], key=lambda subject: subject.get("step", 0)):
            if subject.get("series"):
                found.setdefault(str(subject["series"]), {})[str(subject["name"])] = int(subject["step"])
        return found

    @property
    def ids(self) -> list[str]:
        """Evidence ids that this run asks for, in the order of the catalogue."""
        return list(self.plan["evidence"])

    @property
    def known_ids(self) -> list[str]:
        """Every id that a finding of this run can have: the catalogue, then what was imported.

        What another version measured and this one does not know is left out.
        """
        return [*CATALOGUE, *(id for id in self.ids if id not in CATALOGUE and self.imported)]

    @property
    def imported(self) -> bool:
        """Whether the findings are another tool's, and none was measured here."""
        return "imported" in self.plan

    @property
    def complete(self) -> bool:
        """Whether the run was finished: the manifest is written last."""
        return (self.path / "manifest.json").exists()

    def written(self, candidate: str) -> dict[str, int]:
        """When each finding of a candidate was written, in nanoseconds, by its id; one look at the folder."""
        folder = self._stem(candidate, "x").parent
        try:
            with os.scandir(folder) as entries:
                return {e.name.removesuffix(".json"): e.stat().st_mtime_ns for e in entries if e.name.endswith(".json")}
        except OSError:
            return {}

    def finding(self, candidate: str, id: str, *, lazy: bool = False) -> Finding | None:
        """One finding with its tables, or None when there is none yet; StoreError when it is damaged.

        A lazy one reads a table when it is first asked for; damage within a table is then found no earlier.
        """
        path = self._stem(candidate, id)
        try:
            data = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}.json cannot be read: {error}.") from error
        try:
            if lazy:
                for ending in TABLES.values():
                    if not path.with_name(path.name + ending).is_file():
                        raise StoreError(f"{path}{ending} is missing.")
                return lazily(lambda table, items: finding_from(data, table, items), partial(self._table, path))
            return finding_from(data, self._table(path, ".parquet"), self._table(path, ".items.parquet"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StoreError(f"{path}.json is not a finding: {type(error).__name__} {error}.") from error

    def findings(self, candidate: str) -> list[Finding]:
        """What is known of a candidate, in the order of the catalogue; what was imported last."""
        if candidate not in self.candidates:
            raise StoreError(f'{self.path} has no candidate "{candidate}". Known: {", ".join(self.candidates)}.')
        found = (self.finding(candidate, id) for id in self.known_ids)
        return [finding for finding in found if finding is not None]

    def measured_on(self, candidate: str, id: str) -> Mapping[str, Any] | None:
        """The provenance of a stored finding, or None when it must be computed (absent, failed or unreadable)."""
        path = self._stem(candidate, id)
        try:
            data = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
            return None if data["status"] == Status.FAILED else dict(data["provenance"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, candidate: str, finding: Finding) -> None:
        """Store a finding, tables first; StoreError when the disk is full, with what was there intact."""
        path = self._stem(candidate, finding.id)
        write_atomically(path.with_name(path.name + ".parquet"), lambda p: _parquet(finding.table, p))
        write_atomically(path.with_name(path.name + ".items.parquet"), lambda p: _parquet(finding.items, p))
        write_json(path.with_name(path.name + ".json"), finding_json(finding))

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Start or resume: the manifest of an earlier state is taken away first."""
        (self.path / "manifest.json").unlink(missing_ok=True)
        write_json(self.path / "case.json", {"schema": SCHEMA, **plan})
        self.__dict__.pop("plan", None)

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """Finish: the digest of every file of the run."""
        files = {
            str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and (path.name == "case.json" or "findings" in path.relative_to(self.path).parts)
        }
        write_json(self.path / "manifest.json", {"schema": SCHEMA, **facts, "files": files})

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to the run's log."""
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts}, ensure_ascii=False)
        try:
            with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise storage_error(error, self.path / "log.jsonl") from error

    def drop(self, candidate: str, id: str) -> None:
        """Take a finding away that no longer says what it was measured on; its JSON goes first."""
        path = self._stem(candidate, id)
        for ending in (".json", ".parquet", ".items.parquet"):
            path.with_name(path.name + ending).unlink(missing_ok=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only process that writes this run; raises StoreError when another one does."""
        with ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path / LOCK, wait=False))
            except BlockingIOError as error:
                raise StoreError(
                    f"Another process is writing {self.path}: wait for it, cancel it, or give --out."
                ) from error
            except OSError as error:
                raise storage_error(error, self.path) from error
            yield

    def _stem(self, candidate: str, id: str) -> Path:
        """Where a finding lies; StoreError for a name that could lead out of the run's folder."""
        if not ID.fullmatch(id) or ".." in id:
            raise StoreError(f"{id!r} cannot be the id of a finding: letters, digits, and _ . + - only.")
        if not candidate.strip(". ") or re.search(r"[/\\\x00]", candidate):
            raise StoreError(f"{candidate!r} cannot be the name of a candidate: it is a folder's name.")
        return self.path / "findings" / candidate / id

    def _table(self, path: Path, suffix: str) -> pd.DataFrame:
        try:
            return pd.read_parquet(path.with_name(path.name + suffix))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}{suffix} cannot be read: {error}.") from error


@dataclass(frozen=True)
class RunInfo:
    """A run as a list shows it."""

    path: Path
    name: str
    complete: bool
    modified: float


def open_run(path: Path | str) -> Run:
    """A run that exists; StoreError when the folder is not one."""
    run = Run(Path(path))
    _ = run.plan
    return run


def list_runs(root: Path | str) -> list[RunInfo]:
    """The runs right below a folder (or the folder itself), the newest first; unreadable ones are left out."""
    root = Path(root)
    found = []
    for path in [root, *(root.iterdir() if root.is_dir() else [])]:
        try:
            written = (path / "case.json").stat()
            name = _name(path, written.st_mtime_ns)
        except (StoreError, OSError, KeyError):
            continue
        found.append(RunInfo(path, name, (path / "manifest.json").exists(), written.st_mtime))
    return sorted(found, key=lambda info: -info.modified)


@lru_cache(maxsize=4096)
def _name(path: Path, written: int) -> str:
    """A run's name as it was at `written`: a list of many runs is drawn at every click."""
    return open_run(path).name


def _parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)
