"""Every candidate's verdict and its ladder: said, stored, recoverable."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from audit.figures.ladder import ladder_html
from audit.figures.panels import panels
from audit.figures.style import visible
from audit.types import Verdict
from audit.views import imported, items, overview
from audit.views.ladder import blind_spots, headline
from audit.views.tables import csv, unanswered
from audit.views.words import sentences
from pages.shared import pace, said, series, show, tour
from pages.shared.opening import open_view
from pages.shared.state import View

ITEM = "item"


def draw_ladder(view: View) -> None:
    """The whole audit in one sentence, then a line for each candidate."""
    with st.container(key="headline"):
        st.text(headline(view.rows, view.run.complete))
    pace.sentence_is_out()
    tour.invitation()
    st.html(ladder_html(view.rows, view.looks))
    st.caption(
        "● above the limit with its whole interval, ◐ the interval reaches over it, ○ below it, ∅ nothing measured. "
        "Bars: 0 at the left is as if never learned, the line at the right is the original, the dots are the limit. "
        f"Policy: {view.policy.name}."
    )
    pace.words_are_out()


def draw_gaps(view: View) -> None:
    """What has no number, and what even a clean reading does not rule out."""
    show.gaps(unanswered(view.findings))
    clean = [row.name for row in view.rows if row.judgement.verdict is Verdict.NO_TRACE]
    label = "What this audit is blind to"
    with st.expander(label, expanded=bool(clean), icon=":material/visibility_off:"):
        if clean:
            st.text(f"No trace was found in {', '.join(clean)}. That does not rule out:")
        with st.grid(3, min_column_width=280):
            for title, sentence in blind_spots(view.findings, view.policy):
                st.caption(f"**{title}.** {sentence}")


@st.fragment
def draw_imported(view: View) -> None:
    """Numbers of other tools: what the files say, the same recomputed, and where the two part."""
    st.subheader("What do the imported results say?")
    st.text(imported.in_a_sentence(view.chosen))
    table = imported.scoreboard(view.chosen)
    differ = imported.differing(table)
    if len(differ) and st.toggle(f"Only the {len(differ)} that differ", key="imported-differ"):
        table = differ
    show.frame(table, "imported", imported.MEANING, "Imported numbers, as filed and recomputed")
    made: dict[str, tuple[Callable[[], bytes], str]] = {
        "CSV": (lambda: csv(table), "text/csv"),
        "JSON": (lambda: table.to_json(orient="records", force_ascii=False).encode(), "application/json"),
    }
    for label, (make, mime) in made.items():
        st.download_button(
            f"Download as {label}", make, file_name=f"imported.{label.lower()}", mime=mime, key=f"imported-{label}",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    with st.expander("Where these results come from", icon=":material/folder_open:"):
        show.frame(imported.sources(view.run), "imported-sources", {}, "Imported files with their digests")


@st.fragment
def draw_panels(view: View) -> None:
    """Drift, probe and attack of the chosen candidates beside each other."""
    st.subheader("Three looks inside")
    inside = overview.inside(view.chosen, view.policy, view.running)
    show.say(inside, "inside")
    show.plot(
        panels(overview.three(view.chosen, view.running), view.looks),
        "panels",
        f"Three line charts for {', '.join(view.shown)} with original and reference: likeness of the hidden states "
        f"by layer, accuracy of the linear probe by layer, and recall along a relearning attack. {sentences(inside)}",
    )
    columns = st.columns(3)
    for column, (page, label) in zip(columns, overview.PAGES, strict=True):
        column.page_link(f"pages/{page}.py", label=label, icon=":material/arrow_forward:", query_params=view.link)


@st.fragment
def draw_items(view: View) -> None:
    """Every forgotten item and what each subject makes of it; a chosen row opens the item's card."""
    st.subheader("Item by item")
    measures = {items.SAID: items.SAID, **items.measures(view.chosen)}
    measure = st.selectbox(
        "Show", list(measures), format_func=lambda id: measures[id], key="measure", bind="query-params", width=360
    )
    table = items.by_subject(view.chosen, None if measure == items.SAID else measure)
    if table.empty:
        st.text("No item has been measured yet.")
        return
    asked = st.query_params.get(ITEM)
    places = [place for place, item in enumerate(table["item"]) if item == asked]
    event = show.frame(
        table,
        "items",
        {name: f"{measures[measure]}, {name}" for name in table.columns},
        "Forgotten items with what each subject says or scores",
        height=320,
        on_select=_item_chosen,
        selection_mode="single-row",
        selection_default={"selection": {"rows": places[:1]}},
    )
    rows = event.selection.rows
    st.session_state["items-shown"] = table["item"].tolist()
    chosen = [row for row in rows if row < len(table)] or places[:1]
    if chosen:
        draw_card(view, str(table["item"].iloc[chosen[0]]))
    else:
        st.caption("Choose a row to see everything that is known about one item.")


def _item_chosen() -> None:
    """The chosen item stands in the URL, so that a link leads to its card."""
    rows = st.session_state["items"].selection.rows
    shown = st.session_state.get("items-shown", [])
    if rows and rows[0] < len(shown):
        st.query_params[ITEM] = shown[rows[0]]
    else:
        st.query_params.pop(ITEM, None)


def draw_card(view: View, item: str) -> None:
    """One item: its texts, what each subject says, and its score in every evidence."""
    card = items.card(view.chosen, item)
    with st.container(border=True, key="item-card"):
        facts = card["facts"]
        st.text(items.named(item, facts))
        left, right = st.columns(2)
        with left:
            st.caption("Asked")
            st.text(visible(facts.get("prompt") or "not stored"))
            st.caption("Right answer")
            st.text(visible(facts.get("answer") or "not stored"))
        with right:
            for name, words in card["said"].items():
                st.text(
                    f"{name}: no answer is stored" if words is None else f"{name} says: {visible(words) or '(nothing)'}"
                )
        if not card["scores"].empty:
            st.caption("Score of this item in each measurement; empty: not measured for this subject")
            show.frame(card["scores"].reset_index(names="evidence"), "card-scores", {}, f"All scores of item {item}")
        said.link(view, item)


view = open_view(__file__, "Overview", "Is it forgotten, or only hidden? Still said, stored, recoverable.", draw_ladder)
series.trajectory(view)
draw_gaps(view)
if view.run.imported:
    draw_imported(view)
else:
    draw_panels(view)
draw_items(view)
