"""A relearning attack on one candidate, watched as it happens, beside the same attack on a model that never knew."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from audit import jobs
from audit.errors import AuditError
from audit.figures.panels import panels
from audit.live import case_file_of
from audit.live.folders import known_attacks, start_attack
from audit.progress import Progress
from audit.review.roles import Action
from audit.views import live_attack
from audit.views.live_attack import Attack
from audit.views.progress import summary
from audit.views.tables import csv
from pages.shared import show, who
from pages.shared.opening import open_view
from pages.shared.state import View, runs_root
from pages.shared.theme import literal

ATTACK = "attack"
REFUSED = "attack-refused"


def draw_form(view: View, case_file: Path) -> None:
    """Candidate and the attacker's means."""
    with st.container(border=True, key="attack-form"):
        names = view.candidates
        first = names.index(view.shown[0]) if view.shown else 0
        with st.container(horizontal=True):
            name = st.selectbox("Candidate", names, index=first, key="attacked", bind="query-params")
            steps = st.number_input("Training steps", 1, 400, 40, key="attack-steps", bind="query-params")
            every = st.number_input(
                "Ask after every … steps", 1, 100, 4, key="attack-every", bind="query-params",
                help="Fewer looks make it faster; what is trained is the same.",
            )  # fmt: skip
        with st.container(horizontal=True):
            facts = st.number_input(
                "Facts the attacker knows (0: all)", 0, 10_000, 0, key="attack-facts", bind="query-params",
                help="None of them is ever asked.",
            )  # fmt: skip
            lr = st.number_input(
                "Learning rate (0: by size)", 0.0, 1.0, 0.0, format="%g", key="attack-lr", bind="query-params",
                help="0 chooses it by the model's size, as the evidence does.",
            )  # fmt: skip
            seed = st.number_input(
                "Run", 0, 100, 0, key="attack-seed", bind="query-params",
                help="Which run of the evidence “Relearning”: each trains on other facts.",
            )  # fmt: skip
        settings = {"steps": steps, "lr": lr, "facts": facts, "every": every, "seed": seed}
        st.button(
            "Start the attack", key="attack-start", type="primary", icon=":material/bolt:", on_click=_start,
            args=(case_file, name, settings),
        )  # fmt: skip


def _start(case_file: Path, name: str, settings: dict[str, int | float]) -> None:
    """Start, and put the attack into the address, so that a reloaded page and a second viewer see the same."""
    try:
        who.require(Action.RUN)
        st.query_params[ATTACK] = start_attack(runs_root(), case_file, name, **settings)  # type: ignore[arg-type]
    except AuditError as error:
        st.session_state[REFUSED] = str(error)


def _cancel(folder: Path) -> None:
    try:
        who.require(Action.RUN)
        jobs.cancel(folder)
    except AuditError as error:
        st.session_state[REFUSED] = str(error)


def watch(view: View, id: str, folder: Path) -> None:
    """How far one attack is and what it found; it goes on when this page is closed."""
    running = jobs.state(folder).state == "running"
    st.session_state["attack-watched"] = running
    st.fragment(_watched, run_every="1s" if running else None)(view, id, folder)


def _watched(view: View, id: str, folder: Path) -> None:
    now = jobs.state(folder)
    if st.session_state["attack-watched"] and now.state != "running":
        st.rerun()
    try:
        found = live_attack.read_attack(folder)
    except AuditError as error:
        st.error(literal(error), icon=":material/error:")
        return
    with st.container(border=True, key="attack-watched-card"):
        st.text(f"{id}: {summary(now)}")
        st.progress(min(max(now.fraction, 0.0), 1.0))
        draw_state(folder, now)
    if found is not None:
        draw_attack(view, found, now)


def draw_state(folder: Path, now: Progress) -> None:
    """What it does now, with the button that ends it; or how it ended."""
    if now.state == "running":
        st.text(now.message or "starting: models are loaded")
        st.button("Cancel", key="attack-cancel", on_click=_cancel, args=(folder,), icon=":material/stop:")
    elif now.state == "cancelled":
        st.info(literal(now.error), icon=":material/info:")
    elif now.state != "done":
        st.error(literal(now.error or "The attack ended without a word."), icon=":material/error:")


def draw_attack(view: View, found: Attack, now: Progress) -> None:
    """The curves, the answers as they change, and what it comes to."""
    state = "described" if now.state != "running" else "none"
    with st.container(key=f"answer-{state}-attack"):
        st.text(live_attack.sentence(found))
    st.caption(literal(live_attack.setting(found)))
    names = live_attack.subjects(found)
    looks = {name: view.looks[look] for name, look in names.items() if look in view.looks}
    show.plot(
        panels(live_attack.panels_of(found), looks), "attack-curves",
        "Two line charts along the attack: the share of facts that come back although they were not trained on, for "
        f"candidate, control and original, and what each keeps of retained facts. {live_attack.sentence(found)}",
    )  # fmt: skip
    steps = found.steps
    if not steps:
        return
    step = steps[-1]
    if now.state != "running" and len(steps) > 1:
        step = st.select_slider("After step", steps, value=steps[-1], key=f"attack-step-{found.about['candidate']}")
    st.subheader("What do they say to facts that were never trained on?")
    show.frame(
        live_attack.answers(found, step), "attack-answers", {}, "Watched facts with what each model says before and "
        "during the attack",
    )  # fmt: skip
    st.caption(
        "✓ the true answer stands in it, ✗ it does not. These facts were chosen by their place among the tested ones, "
        "before the attack began."
    )
    with st.expander("All numbers", icon=":material/table:"):
        table = live_attack.curve(found)
        show.frame(table, "attack-table", live_attack.MEANING, "Recall along the attack with intervals")
        st.download_button(
            "Download as CSV", csv(table), file_name="live_attack.csv", mime="text/csv",
            key="attack-csv", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def draw(view: View) -> None:
    """The form, then the attack in the address, then those that can be opened."""
    if refused := st.session_state.pop(REFUSED, ""):
        st.error(literal(refused), icon=":material/error:")
    try:
        case_file = case_file_of(view.run)
    except AuditError as error:
        st.info(literal(error), icon=":material/cloud_off:")
        return
    draw_form(view, case_file)
    known = known_attacks(runs_root())
    asked = st.query_params.get(ATTACK, "")
    if asked in known:
        watch(view, asked, known[asked])
    elif asked:
        st.warning("The attack in this link is not here any more.", icon=":material/link_off:")
    others = [id for id in known if id != asked]
    if others:
        with st.expander("Earlier attacks", icon=":material/history:"):
            for id in others[: live_attack.MOST_LISTED]:
                st.page_link(
                    "pages/live_attack.py", label=f"{literal(id)}: {summary(jobs.state(known[id]))}",
                    icon=":material/bolt:", query_params={**view.link, ATTACK: id},
                )  # fmt: skip


view = open_view(
    __file__,
    "Live attack",
    "An attacker who knows a few of the forgotten facts trains on them. Do the others come back, and would they in a "
    "model that never knew?",
)
draw(view)
