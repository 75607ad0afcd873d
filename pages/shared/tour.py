"""The card of the guided tour at the top of a page; which step it is stands in the address."""

from __future__ import annotations

import streamlit as st

from audit.views.tour import stops
from pages.shared.state import CANDIDATES, RUN, View, demo_id

TOUR = "tour"
LIVE_STEP = 4


def invitation() -> None:
    """The way into the tour, on the demo; nothing where the demo is not there or the tour is on."""
    demo = demo_id()
    if demo is not None and TOUR not in st.query_params:
        st.page_link(
            "pages/overview.py", label="Take the tour: what is this about, in five steps", icon=":material/tour:",
            query_params={RUN: demo, TOUR: "1"},
        )  # fmt: skip


def card(view: View) -> None:
    """The step of the tour that the address names, with the ways on, back and out."""
    asked = st.query_params.get(TOUR, "")
    if not asked.isdecimal() or view.run.imported or not view.candidates:
        return
    name, steps = stops(view.run.plan, view.findings, view.rows)
    number = int(asked)
    if not 1 <= number <= len(steps):
        return
    step = steps[number - 1]
    kept = {RUN: view.id, CANDIDATES: view.shown if name in view.shown else [name, *view.shown][:4]}

    def to(place: int, label: str, icon: str) -> None:
        stop = steps[place - 1]
        st.page_link(
            f"pages/{stop.page}.py", label=label, icon=icon, query_params={**kept, **stop.query, TOUR: str(place)}
        )

    with st.container(border=True, key="tour-card"):
        with st.container(key="tour-title"):
            st.text(f"Tour, step {number} of {len(steps)}: {step.title}")
        st.text(step.text)
        with st.container(horizontal=True):
            if number > 1:
                to(number - 1, "Back", ":material/arrow_back:")
            if number < len(steps):
                to(number + 1, f"Next: {steps[number].title}", ":material/arrow_forward:")
            if number == LIVE_STEP:
                st.page_link(
                    "pages/live_attack.py", label="Watch such an attack live", icon=":material/bolt:",
                    query_params={**kept, "attacked": name, TOUR: str(number)},
                )  # fmt: skip
            st.page_link(
                "pages/overview.py", label="Leave the tour", icon=":material/close:",
                query_params={RUN: view.id, CANDIDATES: kept[CANDIDATES]},
            )  # fmt: skip
