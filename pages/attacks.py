"""What comes back under attack: all attacks and candidates in one table, from which curve, facts and texts open."""

from __future__ import annotations

import dataclasses
import functools

import pandas as pd
import streamlit as st

from audit.catalogue import evidence_class
from audit.figures.chart import draw
from audit.figures.curves import add_level
from audit.figures.forest import forest
from audit.figures.matrix import matrix
from audit.figures.panels import panels
from audit.views import attacks, examples, returned
from audit.views.tables import is_diagnosis, residuals, values_of, where
from audit.views.words import sentences
from pages.shared import kept, said, series, show
from pages.shared.opening import open_view
from pages.shared.state import View

ATTACK, ON = "attack", "attack-on"
MOST_COLUMNS = 10
CELLS = "attack-cells"


def draw_all(view: View, ids: list[str]) -> tuple[str, str] | None:
    """The recovery table; what is chosen in it, or below it, is returned."""
    cells = attacks.matrix(view.findings, ids, view.policy, view.running)
    limit = view.policy.rules["recoverable"].limit
    show.say(attacks.answers(cells, view.shown, limit), "attacks")
    first = attacks.first_choice(cells, view.shown or view.candidates)
    if first is None:
        return None
    chosen = _chosen(ids, view.candidates, first)
    applying, left_out = attacks.applying(cells)
    for start in range(0, len(view.candidates), MOST_COLUMNS):
        names = view.candidates[start : start + MOST_COLUMNS]
        show.plot(
            matrix(applying, names, chosen),
            f"{CELLS}-{start}",
            "Every attack (rows) on every candidate (columns): what came back as a share of what the original held, "
            "beside the score of the original before the attack and the floor. The numbers are in the table below. "
            + sentences(attacks.answers(cells, names, limit)),
            functools.partial(_cell_picked, start),
            ("points",),
        )
    st.caption(
        "Percentages: what comes back, where 0\u202f% is what a model that never knew gives under the same attack and "
        "100\u202f% what the original says before any. Small numbers, original and floor: scores on the attack's own "
        "scale. ● above the policy's limit with its whole interval, ◐ across it, ○ below it, □ no verdict rests on "
        f"it, ∅ no number. Click a cell to open it. {left_out}"
    )
    with st.expander("All numbers with intervals, floors and reasons", icon=":material/table:"):
        show.frame(
            attacks.recovery(view.findings, ids), "recovery", {},
            "Every attack on every candidate, with floor, ceiling and interval",
        )  # fmt: skip
    return chosen


def _chosen(ids: list[str], candidates: list[str], first: tuple[str, str]) -> tuple[str, str]:
    """Attack and candidate as the boxes below the table, or the address, say."""
    wanted = [
        st.session_state.get(key) or st.query_params.get(key) or default
        for key, default in zip((ATTACK, ON), first, strict=True)
    ]
    id, name = (
        value if value in options else default
        for value, options, default in zip(wanted, (ids, candidates), first, strict=True)
    )
    st.session_state[ATTACK], st.session_state[ON] = id, name
    return id, name


def _cell_picked(start: int) -> None:
    """A click in the table sets both boxes."""
    picked = attacks.picked_cell(st.session_state[f"{CELLS}-{start}"].selection)
    if picked:
        st.session_state[ATTACK], st.session_state[ON] = picked


def draw_one(view: View, ids: list[str]) -> None:
    """One attack on one candidate: the curve, every candidate's interval, the facts that came back, the texts."""
    st.header("One attack")
    left, right = st.columns(2)
    with left:
        id = st.selectbox(
            "Attack", ids, format_func=lambda i: evidence_class(i).title, key=ATTACK, bind="query-params"
        )  # fmt: skip
    with right:
        name = st.selectbox("Candidate", view.candidates, key=ON, bind="query-params")
    narrowed = dataclasses.replace(view, shown=[n for n in view.candidates if n in {*view.shown, name}])
    show.evidence(narrowed, id, lambda table: draw_chart(narrowed, id, table))
    draw_intervals(view, id)
    draw_returned(view, id, name)


def draw_chart(view: View, id: str, table: pd.DataFrame) -> None:
    """The attack's chart: a curve along its steps with what it breaks, or bars and lines as the evidence has them."""
    chart = evidence_class(id).chart
    if "seed" in table and attacks.ALL in set(table["seed"].astype(str)):
        runs = attacks.seeds(table)
        seed = st.selectbox("Run", list(runs), format_func=lambda s: runs[s], key=f"run-{id}")
        table = table[table["seed"].astype(str) == seed]
    if attacks.is_curve(table) and chart.x == "step":
        splits = values_of(table, "split")
        if len(splits) > 1:
            split = st.segmented_control("Facts", splits, key=f"split-{id}", default=splits[0], required=True)
            table = where(table, split=split)
        parts = attacks.curve_panels(chart, attacks.drawn(chart, table).table)
        show.plot(panels(parts, view.looks), f"curve-{id}",
                  show.alt(view, id, "Two line charts along the attack: what comes back, and what was to be kept. When "
                           "the second falls, the attack breaks the model."))  # fmt: skip
        return
    ready = attacks.drawn(chart, table)
    figure = draw(ready.chart, ready.table, view.looks)
    if ready.level is not None:
        add_level(figure, ready.level, view.looks["original"], "original, not attacked")
    show.plot(figure, f"chart-{id}", show.alt(view, id, f"{chart.title}: {chart.y_title} by {chart.x_title}."))


def draw_intervals(view: View, id: str) -> None:
    """Every candidate under one attack, with its interval."""
    title = evidence_class(id).title
    limit = view.policy.rules["recoverable"].limit
    st.markdown("#### Every candidate under this attack")
    show.plot(
        forest(residuals(view.findings, [id], view.policy, view.running), view.candidates, [title], view.looks,
               {title: limit}),
        f"forest-{id}",
        show.alt(view, id, f"Residual of every candidate under {title} with 95 % interval; 0 is the reference under "
                 "the same attack, 1 the original, the limit is dotted.", view.candidates),
    )  # fmt: skip
    st.caption("Dots: the policy's limit. A full point lies above it with its whole interval, an open one below, a "
               "diamond across it.")  # fmt: skip


def draw_returned(view: View, id: str, name: str) -> None:
    """The facts that came back under one attack on one candidate, and what was said to them where texts are kept."""
    st.markdown("#### The facts that came back")
    one = {name: view.findings[name]}
    back, count = kept.under(view, name, id)
    st.text(returned.counted(name, count))
    if is_diagnosis(id):
        st.caption("A diagnosis: what comes back may come from the original's own weights, so it counts nowhere else.")
    table = kept.texts(view, [name])
    known = examples.with_texts(one)
    if len(back):
        back = back.sort_values("score", ascending=False, kind="stable")
        facts = back.merge(table, on="item", how="left", suffixes=("", " "))
        event = show.frame(
            facts[["item", "entity", "prompt", "answer", "score", "original", "floor"]], f"back-{id}-{name}", {},
            "Facts that came back", height=240, on_select="rerun", selection_mode="single-row",
        )  # fmt: skip
        rows = [row for row in event.selection.rows if row < len(facts)]
        picked = str(facts["item"].iloc[rows[0]]) if rows else str(facts["item"].iloc[0])
        said.link(view, picked)
    else:
        picked = str(table["item"].iloc[0]) if len(table) else ""
    if id in known:
        draw_transcript(view, id, name, picked)
    else:
        st.caption("This attack keeps scores, no texts.")


def draw_transcript(view: View, id: str, name: str, picked: str) -> None:
    """What each subject said to one item under the attack."""
    st.markdown("#### Transcript")
    one = {name: view.findings[name]}
    options = examples.items_with_texts(one, id)
    if not options:
        st.text("No text is stored for this candidate.")
        return
    item = st.selectbox("Item", options, index=options.index(picked) if picked in options else 0,
                        key=f"transcript-{id}-{name}-{picked}")  # fmt: skip
    said.transcript(view, one, id, item, "attack-transcript")


view = open_view(__file__, "Attacks", "What comes back under attack, beside what a model that never knew gives.")
asked = attacks.ids_of(view.ids)
if not asked:
    st.text("No attack was asked for in this audit.")
elif draw_all(view, asked):
    draw_one(view, asked)
series.trajectory(view, ("attacks.relearn", "attacks.quantization", "attacks.head_projection"))
