"""Representational drift: every measure at a glance, maps side by side on one scale, likeness over layers."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from audit.catalogue import CATALOGUE, evidence_class
from audit.figures.chart import draw
from audit.views import drift
from audit.views.methods import columns
from audit.views.tables import values_of
from pages.shared import kept, series, show
from pages.shared.opening import open_view
from pages.shared.state import View

MAP, CKA = "drift.map", "drift.cka"
MEASURES = [id for id in CATALOGUE if id.startswith("drift.")]
PICKED, SEEN = "drift-picked", "drift-seen"


@st.fragment
def draw_maps(view: View, table: pd.DataFrame) -> None:
    """The maps with their controls, and the list of what is picked in them; drawn anew without the rest of the page."""
    known = kept.layers(view, MAP)
    left, right = st.columns([2, 3])
    with left:
        method = st.segmented_control(
            "Map", list(known), format_func=lambda m: drift.METHODS.get(m, m), key="map", default=next(iter(known)),
            required=True, bind="query-params",
        )  # fmt: skip
    with right:
        layers = known[method]
        layer = st.select_slider("Layer", layers, value=layers[-1], key="map-layer", bind="query-params")
    layer = layer if layer in layers else layers[-1]
    scene = kept.scene(view, MAP, method, layer)
    order = scene.order
    picked = st.session_state.get(PICKED, [])
    show.plot(
        kept.map_figure(view, MAP, method, layer, picked),
        "maps",
        f"Maps of the hidden states at layer {layer}, one for each of {', '.join(order)}, on one scale. Forgotten "
        "items in the subject's colour, others grey.",
        partial(_picked, table, method, layer, order),
    )
    drawn = drift.drawn(scene.points, scene.total)
    st.caption(f"{drawn} Draw a box or a lasso in one map to ring the same items in all of them.")
    if picked:
        _list_picked(view, table, picked)
    if st.session_state.get(SEEN, (method, layer)) != (method, layer):
        kept.make_ready(view, MAP, method, layer)
    st.session_state[SEEN] = method, layer


def _picked(table: pd.DataFrame, method: str, layer: int, order: list[str]) -> None:
    """Remember what was caught; an empty selection comes also when the figure is redrawn, so it clears nothing."""
    ids = drift.picked_ids(st.session_state["maps"].selection, drift.on_layer(table, method, layer), order)
    if ids:
        st.session_state[PICKED] = ids


def _list_picked(view: View, table: pd.DataFrame, picked: list[str]) -> None:
    rows = kept.with_pictures(view, drift.listed(table, picked))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{len(rows)} items picked")
        st.button("Clear", key="clear-picked", on_click=_clear, icon=":material/close:")
    show.frame(rows, "picked", columns(MAP), "The items picked in the maps")


def _clear() -> None:
    st.session_state.pop(PICKED, None)


def draw_cka(view: View, table: pd.DataFrame) -> None:
    """Likeness over layers, forget beside retain, to the original or to the reference."""
    left, right = st.columns(2)
    with left:
        others = [name for name in ("original", "reference") if name in values_of(table, "against")]
        against = st.segmented_control(
            "Compared with", others, key="against", default=others[0], required=True, bind="query-params"
        )
    with right:
        debiased = st.toggle(
            "Debiased", value=True, key="debiased", bind="query-params",
            help="The usual estimate is too high when items are few; the debiased one is not, and has an interval.",
        )  # fmt: skip
    chart = drift.curve_chart(evidence_class(CKA).chart, "debiased" if debiased else "biased", against)
    show.plot(
        draw(chart, drift.curves(table, against), view.looks),
        "cka",
        show.alt(
            view,
            "drift.cka",
            f"Likeness (CKA) to the {against} by layer, one panel for each corpus, with 95 % intervals.",
        ),
    )


def maps_part(view: View) -> None:
    """The maps."""
    show.evidence(view, MAP, lambda table: draw_maps(view, table))


@st.fragment
def cka_part(view: View) -> None:
    """The curves."""
    show.evidence(view, CKA, lambda table: draw_cka(view, table))


@st.fragment
def others_part(view: View) -> None:
    """Any other measure."""
    show.one_of(
        view, "Other measures of drift", [id for id in MEASURES if id not in (MAP, CKA)],
        "drift-more",
    )  # fmt: skip


view = open_view(
    __file__, "Drift", "How the inside of each model moved. It describes an edit; no verdict rests on it.",
    show.glance(MEASURES),
)  # fmt: skip
st.session_state.pop(SEEN, None)
show.at_a_glance(view, MEASURES, "drift-glance")
maps_part(view)
cka_part(view)
others_part(view)
series.trajectory(view, ("drift.cka", "drift.rank", "drift.gap"))
if SEEN in st.session_state:
    kept.make_ready(view, MAP, *st.session_state[SEEN])
