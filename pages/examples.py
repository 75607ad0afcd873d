"""One item and everything known about it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.catalogue import evidence_class
from audit.figures.chart import draw
from audit.figures.style import visible
from audit.views import behaviour, examples, items, returned
from audit.views.tables import values_of
from pages.shared import kept, said, show
from pages.shared.opening import open_view
from pages.shared.state import View
from pages.shared.theme import literal

ITEM, SEARCH, SPLIT, ENTITY, ATTRIBUTE, BACK = "item", "find", "of-split", "of-entity", "of-attribute", "came-back"
TURN = "examples-turn"


def choose(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """The filters, and the items that fit."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        only = st.toggle("Said no, but came back", key=BACK, bind="query-params", help=returned.RULE)
        search = st.text_input("Search", key=SEARCH, placeholder="words of question, answer, entity or id", width=300)
        split = _one(table, "split", SPLIT)
        entity = _one(table, "entity", ENTITY)
        attribute = _one(table, "attribute", ATTRIBUTE)
    return examples.chosen(table, search, split, entity, attribute, only)


def _one(table: pd.DataFrame, column: str, key: str) -> str | None:
    """A box for one value of a column; None for all."""
    values = [str(value) for value in values_of(table, column)]
    return st.selectbox(column.capitalize(), values, index=None, placeholder="all", key=key, width=180)


def draw_chance(view: View, only: bool) -> None:
    """How many items came back, beside how many do by chance."""
    if not only:
        return
    for name, count in kept.by_chance(view).items():
        st.text(returned.counted(name, count))
    st.caption("One item is an example, not a proof: with many measurements some items come back by chance. Verdicts "
               "rest on intervals over all entities.")  # fmt: skip


def pick(view: View, found: pd.DataFrame) -> str | None:
    """The list of what fits, and which item is open: a row of the list, the address, or the first."""
    ids = [str(item) for item in found["item"]]
    asked = st.query_params.get(ITEM)
    turn = st.session_state.get(TURN, 0)
    if ids:
        help = {"came back": "who gives it back (in how many measurements)"}
        show.frame(
            kept.with_pictures(view, found.drop(columns="split")), f"examples-{turn}", help,
            "The items that fit", height=248, on_select=lambda: _row_picked(turn, ids), selection_mode="single-row",
        )  # fmt: skip
    else:
        st.text("No item fits. Take a filter away.")
    item = asked or (ids[0] if ids else None)
    if item is None:
        return None
    before, after = examples.beside(ids, item)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", key="previous", icon=":material/chevron_left:", on_click=_turn_to, args=(before,),
                  disabled=before is None)  # fmt: skip
        st.button("Next", key="next", icon=":material/chevron_right:", on_click=_turn_to, args=(after,),
                  disabled=after is None)  # fmt: skip
        place = f"{ids.index(item) + 1} of {len(ids)}" if item in ids else f"not among the {len(ids)} that fit"
        st.text(f"{item}: {place}")
    return item


def _row_picked(turn: int, ids: list[str]) -> None:
    rows = st.session_state[f"examples-{turn}"].selection.rows
    if rows and rows[0] < len(ids):
        st.query_params[ITEM] = ids[rows[0]]


def _turn_to(item: str) -> None:
    """Open another item; the list gets a new key, so that it marks no row that is not open."""
    st.query_params[ITEM] = item
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1


def draw_item(view: View, item: str, back: pd.DataFrame) -> None:
    """One item: what became of it, what was said, the readings."""
    facts = items.facts_of(kept.texts(view, view.shown), item)
    with st.container(border=True, key="example"):
        st.text(items.named(item, facts))
        if drawn := kept.drawings(view, item):
            draw_drawings(drawn, item)
        else:
            show.picture(kept.pictures(view).get(item), item)
        with st.container(key="example-question"):
            st.text(visible(facts.get("prompt", "The question is not stored.")))
        if str(item).startswith("forget"):
            show.say(kept.of_item(view, item), f"example-{item}")
        said.plain(view, item, facts, behaviour.heard(items.said(view.chosen), item, view.shown))
        st.caption(said.MARKED)
    draw_texts(view, item, back)
    draw_scores(view, item, back)
    draw_layers(view, item)
    draw_features(view, item)


def draw_drawings(drawn: dict[str, str], item: str) -> None:
    """The same latent side by side."""
    with st.container(horizontal=True, key="example-drawings"):
        for name, picture in drawn.items():
            with st.container(width=112, gap="small"):
                st.image(picture, width=96, alt=f"What {name} draws for {item}")
                st.caption(literal(name))


def draw_texts(view: View, item: str, back: pd.DataFrame) -> None:
    """What was said under attack, sampled or asked otherwise."""
    known = [id for id in examples.with_texts(view.chosen) if examples.has_texts(view.chosen, id, item)]
    if not known:
        return
    st.subheader("Asked otherwise, sampled, attacked")
    first = next((id for id in back.loc[back["item"] == item, "id"] if id in known), known[0])
    id = st.selectbox("Transcript of", known, index=known.index(first), key=f"texts-of-{item}",
                      format_func=lambda i: evidence_class(i).title)  # fmt: skip
    said.transcript(view, view.chosen, id, item, "example-transcript")


def draw_scores(view: View, item: str, back: pd.DataFrame) -> None:
    """The item's score in every measurement that scores items."""
    table = examples.scores(view.chosen, item, back)
    if table.empty:
        return
    st.subheader("Its score in every measurement")
    families = list(dict.fromkeys(table["family"]))
    family = st.pills("Kind", families, key="example-family")
    shown = table[table["family"] == family] if family else table
    help = {"came back in": "candidates that no longer say it and are back at least halfway"}
    height = "content" if len(shown) < 14 else 480
    show.frame(shown, "example-scores", help, f"All scores of {item}", height=height)
    st.caption("Each on its own measurement's scale; empty: not measured for this subject.")


def draw_layers(view: View, item: str) -> None:
    """The item's curves over layers."""
    curves = examples.by_layer(view.chosen, item)
    if curves:
        st.subheader("Layer by layer")
    for place, (id, chart, table) in enumerate(curves):
        st.markdown(f"#### {evidence_class(id).title}")
        show.plot(draw(chart, table, view.looks), f"example-layers-{place}",
                  f"{chart.y_title} of {item} by layer for every subject.")  # fmt: skip


def draw_features(view: View, item: str) -> None:
    """The features that fire on the item."""
    table = examples.features(view.chosen, item)
    if table.empty:
        return
    st.subheader("Features that fire on it")
    show.frame(table, "example-features", {"strongest at": "token at which the original's activation is highest"},
               f"Features among whose strongest contexts {item} is")  # fmt: skip
    st.caption("Peak activation on this item, for features that keep it among their strongest contexts; empty: the "
               "same, not kept.")  # fmt: skip
    st.page_link("pages/sae_features.py", label="All features", icon=":material/arrow_forward:", query_params=view.link)


view = open_view(__file__, "Examples", "One item and everything known about it.")
back = kept.came_back(view)
table = kept.index(view)
if table.empty:
    st.text("No item is stored: neither recall nor a map was measured in this audit.")
else:
    found = choose(view, table)
    draw_chance(view, bool(st.session_state[BACK]))
    item = pick(view, found)
    if item is not None:
        draw_item(view, item, back)
