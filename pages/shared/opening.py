"""The head of a page about one audit: which run, which candidates, what is wrong with it; the page's words go ahead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import streamlit as st

from audit.errors import AuditError
from audit.store import RunInfo
from audit.views.ladder import MOST_SHOWN, telling
from pages.shared import tour
from pages.shared.state import CANDIDATES, RUN, View, head, keep, known_runs, load, run_label, runs_root, settled
from pages.shared.theme import literal


def open_view(file: str, title: str, lead: str, first: Callable[[View], None] | None = None) -> View:
    """The head of a page with the pickers of run and candidates, and what is wrong with the run, if anything.

    `first` draws the words that answer and waits until they are out; the pickers above them are drawn after them.
    Stops the page, with a sentence that says what to do, when there is no run or it cannot be read.
    """
    head(file, title, lead)
    known = known_runs()
    if not known:
        st.info(
            f"There is no finished or running audit in {literal(runs_root())}. Start one on the page “New audit”, or "
            "set PALIMPSEST_RUNS to the folder that holds your runs.",
            icon=":material/inbox:",
        )
        st.stop()
    top = st.container()
    left, right = st.container(key="pickers").columns([1, 2])
    [id] = settled(RUN, list(known), list(known)[:1], 1)
    try:
        view = load(id, known[id])
    except AuditError as error:
        with left:
            _run_picker(known, id)
        st.error(literal(error), icon=":material/error:")
        st.stop()
    chosen = settled(CANDIDATES, view.candidates, telling(view.rows), MOST_SHOWN)
    view = dataclasses.replace(view, shown=[name for name in view.candidates if name in chosen])
    with top:
        tour.card(view)
    _say_what_is_missing(view)
    if first is not None:
        first(view)
    with left:
        _run_picker(known, id)
    with right:
        _candidate_picker(view, chosen)
    return view


def _run_picker(known: dict[str, RunInfo], chosen: str) -> None:
    st.session_state["pick-run"] = chosen
    st.selectbox(
        "Audit",
        list(known),
        key="pick-run",
        format_func=lambda id: run_label(id, known[id]),
        on_change=_run_changed,
    )


def _run_changed() -> None:
    """Another run has other candidates: forget which were chosen."""
    keep(RUN, [st.session_state["pick-run"]])
    keep(CANDIDATES, [])


def _candidate_picker(view: View, chosen: list[str]) -> None:
    st.session_state["pick-candidates"] = chosen
    st.multiselect(
        "Candidates in the charts",
        view.candidates,
        key="pick-candidates",
        max_selections=MOST_SHOWN,
        placeholder="Empty: the pair that differs most",
        help=f"At most {MOST_SHOWN} at a time. Original and reference are always drawn.",
        on_change=lambda: keep(CANDIDATES, st.session_state["pick-candidates"]),
    )


def _say_what_is_missing(view: View) -> None:
    if view.running:
        share = f"{view.progress.fraction:.0%}".replace("%", "\u202f%")
        st.info(
            f"This audit is still running ({share} done). What is not measured yet counts as not examined.",
            icon=":material/hourglass_top:",
        )
    elif not view.run.complete:
        st.warning(
            "This audit is not complete: it was stopped or is interrupted. What is missing counts as not examined. "
            "Resume it on the page “New audit”.",
            icon=":material/warning:",
        )
    for sentence in view.damaged:
        st.error(f"A finding cannot be read and counts as not examined. {literal(sentence)}", icon=":material/error:")
