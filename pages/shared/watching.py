"""Runs that are on their way: the part of the page New audit that shows how far they are, stops and resumes them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from audit import jobs
from audit.errors import AuditError
from audit.progress import Progress
from audit.review.roles import Action
from audit.views import progress
from audit.views.progress import RESUMABLE
from pages.shared import show, who
from pages.shared.state import RUN, known_jobs, runs_root
from pages.shared.theme import literal


def watch(id: str, folder: Path) -> None:
    """How far one run is; it goes on when this page is closed, and any page that knows its name can watch it."""
    running = jobs.state(folder).state == "running"
    st.session_state["watched-state"] = "running" if running else ""
    st.fragment(_card, run_every="1s" if running else None)(id, folder)


def _card(id: str, folder: Path) -> None:
    now = jobs.state(folder)
    if st.session_state["watched-state"] == "running" and now.state != "running":
        st.rerun()
    with st.container(border=True, key="watched"):
        st.text(f"{id}: {progress.summary(now)}")
        st.progress(min(max(now.fraction, 0.0), 1.0))
        if now.state == "running":
            st.text(progress.line(now))
        elif now.error:
            say = st.info if now.state == "cancelled" else st.error
            say(literal(now.error), icon=":material/info:" if now.state == "cancelled" else ":material/error:")
        _buttons(id, folder, now)


def _buttons(id: str, folder: Path, now: Progress) -> None:
    with st.container(horizontal=True):
        if now.state == "running":
            st.button("Cancel", key="new-cancel", on_click=_attempt, args=(jobs.cancel, folder), icon=":material/stop:")
        elif now.state in RESUMABLE and now.case:
            st.button(
                "Resume", key="new-resume", on_click=_attempt, args=(jobs.start, Path(now.case), folder),
                type="primary", icon=":material/play_arrow:", help="What was finished is not measured again.",
            )  # fmt: skip
        if (folder / "case.json").exists():
            st.page_link(
                "pages/overview.py", label="Open the findings", icon=":material/stairs:", query_params={RUN: id}
            )


def _attempt(action: object, *arguments: object) -> None:
    """Do something that may be refused, and say why on the next run of the page."""
    try:
        who.require(Action.RUN)
        action(*arguments)  # type: ignore[operator]
    except AuditError as error:
        st.session_state["refused"] = str(error)


def draw_runs() -> None:
    """The runs that can be watched, the one in the URL above."""
    known = known_jobs()
    asked = st.query_params.get(RUN, "")
    running = [id for id, folder in known.items() if jobs.state(folder).state == "running"]
    watched = asked if asked in known else running[0] if running else ""
    if watched:
        watch(watched, known[watched])
    if not known:
        return
    with st.expander(f"Audits in {literal(runs_root())}", expanded=not watched, icon=":material/folder:"):
        states = {id: jobs.state(folder) for id, folder in known.items()}
        table = pd.DataFrame([(id, progress.summary(now), now.error) for id, now in states.items()],
                             columns=["audit", "state", "error"])  # fmt: skip
        event = show.frame(table, "jobs", {}, "Audits with their state", on_select="rerun", selection_mode="single-row")
        if event.selection.rows and table["audit"].iloc[event.selection.rows[0]] != asked:
            st.query_params[RUN] = table["audit"].iloc[event.selection.rows[0]]
            st.rerun()
