"""Which run and which candidates are looked at: in the URL, so that a link restores the view; findings, read once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import streamlit as st

from audit import jobs
from audit.figures.style import Look, visible
from audit.policy import Policy, load_policy
from audit.progress import FILE as PROGRESS
from audit.progress import Progress
from audit.review import database
from audit.shelf import Shelf
from audit.store import Run, RunInfo, list_runs
from audit.types import Finding
from audit.views.ladder import LadderRow, ladder
from pages.shared import pace
from pages.shared.theme import looks_now

PROJECT = Path(__file__).parent.parent.parent
DEMO = PROJECT / "assets" / "demo" / "run"
RUN, CANDIDATES = "run", "candidates"
ROUTED = "routed"
ACTIVE = ("running",)
MOST_RUNS = 12
"""Runs whose findings are kept in memory."""


def runs_root() -> Path:
    """The folder that holds the runs: PALIMPSEST_RUNS, or `runs` where the app was started."""
    return database.runs_root()


def browse_root() -> Path:
    """The folder below which every path typed into the browser must lie: PALIMPSEST_ROOT, or where the app runs."""
    return Path(os.environ.get("PALIMPSEST_ROOT", ".")).resolve()


def known_runs() -> dict[str, RunInfo]:
    """Every run that can be opened, the newest first, by a short id that stands in the URL; the shipped demo last."""
    found = {info.path.resolve().name: info for info in list_runs(runs_root())}
    for info in list_runs(DEMO):
        found.setdefault("demo" if "demo" not in found else "shipped-demo", info)
    return found


def demo_id() -> str | None:
    """The id under which the shipped demo is opened; None where it is not there."""
    return next((id for id, info in known_runs().items() if info.path == DEMO), None)


def known_jobs() -> dict[str, Path]:
    """Every folder below the runs that a run was started in, whether it came far enough to hold findings or not."""
    root = runs_root()
    folders = [path for path in (root.iterdir() if root.is_dir() else []) if (path / PROGRESS).is_file()]
    return {path.name: path for path in sorted(folders, key=lambda p: -(p / PROGRESS).stat().st_mtime)}


@dataclass(frozen=True)
class View:
    """What a page shows: a run, the candidates chosen to be drawn, and the findings of all."""

    id: str
    run: Run
    candidates: list[str]
    shown: list[str]
    findings: dict[str, dict[str, Finding]]
    policy: Policy
    looks: dict[str, Look]
    progress: Progress
    damaged: list[str]
    rows: list[LadderRow]
    """The candidates as the policy judges them."""
    stamp: int
    """Differs when a finding was written since: what is computed from findings is kept under it."""

    @property
    def running(self) -> bool:
        """Whether a process still measures this run."""
        return self.progress.state in ACTIVE

    @property
    def ids(self) -> list[str]:
        """The evidence that was asked for or is there, in the order of the catalogue; what was imported last."""
        there = {id for found in self.findings.values() for id in found}
        return [id for id in self.run.known_ids if id in self.run.ids or id in there]

    @property
    def chosen(self) -> dict[str, dict[str, Finding]]:
        """The findings of the candidates that are drawn."""
        return {name: self.findings[name] for name in self.shown}

    def of(self, id: str) -> dict[str, Finding | None]:
        """One evidence's finding for each candidate that is drawn."""
        return {name: self.findings[name].get(id) for name in self.shown}

    @property
    def link(self) -> dict[str, str | list[str]]:
        """The query parameters that restore this choice on another page."""
        return {RUN: self.id, CANDIDATES: self.shown}


def head(file: str, title: str, lead: str) -> None:
    """The title of a page; `file` is the page's own path.

    The first request to a fresh server may name a page in its address. Streamlit then finds the folder `pages` and runs
    that file alone, past the router and its sign-in gate. Such a page shows nothing: it declares itself to
    `st.navigation`, which ends that behaviour for good, and starts again through the router.
    """
    if not st.session_state.get(ROUTED):
        start = st.Page(lambda: None, title="Palimpsest", url_path="start", default=True)
        st.navigation([start, st.Page(Path(file), url_path=Path(file).stem)], position="hidden")
        st.rerun()
    pace.opened(file)
    st.title(title)
    st.caption(lead)


def load(id: str, info: RunInfo) -> View:
    shelf, policy = _shelf(str(info.path)), load_policy()
    findings, damaged, stamp = shelf.look()
    rows = _judged(findings, str(info.path), stamp, policy)
    names, progress = list(findings), jobs.state(info.path)
    return View(id, shelf.run, names, names, findings, policy, looks_now(names), progress, damaged, rows, stamp)


@st.cache_resource(max_entries=MOST_RUNS, show_spinner=False)
def _shelf(path: str) -> Shelf:
    """What is known of a run; shared by all sessions, so nobody changes its findings or their tables."""
    return Shelf(Path(path))


def _judged(findings: dict[str, dict[str, Finding]], path: str, stamp: int, policy: Policy) -> list[LadderRow]:
    """The candidates as a policy judges them, worked out again only when a finding was written."""
    return _ladder(findings, policy, path, stamp, policy.digest)


@st.cache_resource(max_entries=2 * MOST_RUNS, show_spinner=False)
def _ladder(
    _findings: dict[str, dict[str, Finding]], _policy: Policy, path: str, stamp: int, policy: str
) -> list[LadderRow]:
    return ladder(_findings, _policy)


def run_label(id: str, info: RunInfo) -> str:
    """The id is part of the label, because two runs of one case have the same name and Streamlit would mix them up."""
    when = datetime.fromtimestamp(info.modified).strftime("%d %b %Y, %H:%M")
    return f"{visible(info.name)} ({id}, {when}{'' if info.complete else ', not complete'})"


def asked(key: str, options: Sequence[str], default: list[str]) -> list[str]:
    """What the URL asks for, else what this session chose last, else the default; unknown names are dropped."""
    linked = [value for value in st.query_params.get_all(key) if value in options]
    kept = [value for value in st.session_state.get(f"kept-{key}", []) if value in options]
    return linked or kept or default


def settled(key: str, options: Sequence[str], default: list[str], most: int | None = None) -> list[str]:
    """What is asked for, kept for the next page: known before there is anything to choose with."""
    chosen = asked(key, options, default)[:most]
    keep(key, chosen)
    return chosen


def keep(key: str, values: list[str]) -> None:
    """Write a choice into the URL and remember it: following a link of the navigation empties the URL."""
    st.session_state[f"kept-{key}"] = values
    if not values:
        st.query_params.pop(key, None)
    elif st.query_params.get_all(key) != values:
        st.query_params[key] = values
