"""What the model says: the scoreboard, how well membership shows, and answers beside each other."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.figures.board import board_html
from audit.figures.roc import roc
from audit.figures.style import visible
from audit.views import behaviour, board, items
from audit.views.tables import csv
from pages.shared import kept, said, series, show
from pages.shared.opening import open_view
from pages.shared.state import View
from pages.shared.theme import literal

CHOSEN = "answers-of"
FEW = 3
ROC = "ROC curve for each subject: share of forgotten items recognised against false alarms, guessing dotted."


def draw_board(view: View, ids: list[str]) -> None:
    """Every measure and subject."""
    st.subheader("What does each model score?")
    table = board.board(view.chosen, ids, view.policy, view.running)
    with st.container(key="board"):
        st.html(board_html(table, view.looks))
    st.caption(
        "Each cell: score, 95\u202f% interval over entities, and for candidates what is left of the original's, where "
        "0\u202f% is the reference or the floor. ● above the policy's limit with its whole interval, ◐ across it, ○ "
        "below it, □ no verdict rests on it, ∅ no number."
    )
    st.download_button(
        "Download as CSV, all candidates", lambda: _file(view, ids), file_name="scoreboard.csv", mime="text/csv",
        key="csv-board", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _file(view: View, ids: list[str]) -> bytes:
    """The board of all candidates, made when it is asked for."""
    table = board.board(view.findings, ids, view.policy, view.running)
    return csv(board.plain(table))


def draw_measure(view: View, id: str, table: pd.DataFrame) -> None:
    """The chart of one measure; a ROC curve where its table holds one."""
    if not board.has_roc(table):
        show.chart(view, id, table)
        return
    left, right = st.columns([3, 1])
    column, kinds = board.roc_kinds(table)
    kind = ""
    if kinds:
        with left:
            kind = st.selectbox(column.replace("_", " "), kinds, key=f"roc-kind-{id}")
    with right:
        logarithmic = st.toggle("Logarithmic", key=f"roc-log-{id}", help="Shows what happens at few false alarms.")
    rows = board.roc_rows(table, column, kind)
    words = board.areas(rows)
    show.plot(
        roc(rows, view.looks, logarithmic=logarithmic),
        f"roc-{id}",
        f"{show.alt(view, id, ROC)} {words}".strip(),
    )
    if words:
        st.caption(literal(words))


@st.fragment
def measures_part(view: View, title: str, ids: list[str], key: str) -> None:
    """Some measures, of which one is opened."""
    show.one_of(view, title, ids, key, lambda id, table: draw_measure(view, id, table))


@st.fragment
def answers_part(view: View) -> None:
    """What every subject says to chosen items, with what differs from the true answer marked."""
    st.header("Answers beside each other")
    table = kept.spoken(view)
    if table.empty:
        st.text("No answer is stored: recall was not measured in this audit.")
        return
    left, middle, right = st.columns([2, 3, 2])
    with left:
        splits = list(dict.fromkeys(table["split"]))
        split = st.segmented_control("Items", splits, key="answers-split", default=splits[0], required=True,
                                     bind="query-params")  # fmt: skip
    with middle:
        kind = st.selectbox("Which", list(behaviour.KINDS), format_func=lambda k: behaviour.KINDS[k],
                            key="answers-kind", bind="query-params", help=behaviour.RULE)  # fmt: skip
    with right:
        search = st.text_input("Search", key="answers-search", placeholder="words of question, answer or entity")
    found = behaviour.select(table, split, kind, search)
    label = {row["item"]: f"{row['item']}: {row['prompt']}" for row in found.to_dict("records")}
    st.session_state.setdefault(CHOSEN, [])
    picked = st.multiselect(
        "Items to show", list(label), format_func=lambda i: label.get(i, i), key=CHOSEN,
        placeholder=f"Empty: the first {FEW} of {len(found)}", max_selections=12,
    )  # fmt: skip
    shown = picked or list(label)[:FEW]
    if not shown:
        st.text("No item fits.")
    heard = items.said(view.chosen)
    for place, item in enumerate(shown):
        draw_answers(
            view, table[table["item"] == item].iloc[0].to_dict(), behaviour.heard(heard, item, view.shown), place
        )
    st.caption(said.MARKED)


def draw_answers(view: View, facts: dict[str, str], heard: dict[str, str | None], place: int) -> None:
    """One item: question, true answer, what each subject says."""
    with st.container(border=True, key=f"answers-{place}"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.text(visible(facts["prompt"]))
            said.link(view, facts["item"])
        said.plain(view, facts["item"], facts, heard)


view = open_view(__file__, "Behaviour", "What each model says when it is asked, scored, and in its own words.")
show.say([board.answer_of(row) for row in view.rows if row.name in view.shown], "behaviour")
if over := board.over_unlearned(view.chosen, view.ids):
    show.say(over, "over-unlearned")
groups = board.ids_of(view.ids)
asked = [id for ids in groups.values() for id in ids]
if asked:
    draw_board(view, asked)
else:
    st.text("Nothing of what the models say was measured in this audit.")
answers_part(view)
measures_part(view, "Measures of what is said", groups.get("said", []), "said-more")
measures_part(view, "Privacy", groups.get("privacy", []), "privacy-more")
measures_part(view, "What was to be kept", groups.get("utility", []), "utility-more")
series.trajectory(view, ("behaviour.recall", "behaviour.probability"))
