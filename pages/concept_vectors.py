"""Concept vectors and parameter traces: what the weights still hold, and what changed where."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from audit.figures.chart import draw
from audit.views import concepts
from audit.views.methods import columns
from pages.shared import live, series, show
from pages.shared.opening import open_view
from pages.shared.state import View

VECTORS, WEIGHTS, PATCHING = "concepts.value_vectors", "concepts.weight_delta", "concepts.patching"
OTHERS = ("concepts.directions", "concepts.transplant")


def draw_vectors(view: View, table: pd.DataFrame) -> None:
    """All vectors by block, and the card of one."""
    show.chart(view, VECTORS, table)
    known = concepts.vectors(table)
    if not known:
        return
    name = st.selectbox(
        "Vector, as block:dimension (those that write most of the answers first)", known, key="vector",
        bind="query-params",
    )  # fmt: skip
    card = concepts.vector_card(table, name)
    with st.container(border=True, key="vector-card"):
        st.text(f"Value vector {card.name}")
        st.text(card.sentence)
        show.frame(
            card.models, "vector-models", columns(VECTORS), f"Value vector {card.name} in each model, with the "
            "tokens that it promotes",
        )  # fmt: skip
    if view.shown:
        draw_live(view, name)


def draw_weights(view: View, table: pd.DataFrame) -> None:
    """Layer by module, one map for each model."""
    rows = concepts.weight_rows(table)
    show.plot(
        draw(concepts.WEIGHT_MAP, rows, view.looks),
        "weights",
        show.alt(
            view,
            "concepts.weight_delta",
            "Relative change of the weights, parts of the model against modules, one map for each model.",
        ),
    )


def draw_live(view: View, vector: str) -> None:
    """Take the vector out of the loaded models and see the answer change."""
    st.markdown("#### Try it")
    name = st.segmented_control("Candidate", view.shown, key="vector-candidate", default=view.shown[0], required=True)
    models = live.bench(view, name, "vectors")
    if models is None:
        return
    prompts = {item.id: item.prompt for item in models.bench.corpus("forget").items}
    item = st.selectbox("Item", list(prompts), format_func=lambda i: f"{i}: {prompts[i]}", key="vector-item")
    block, dim = concepts.numbers_of(vector)
    live.answers(lambda: models.vector(item, block, dim), "vectors")


@st.fragment
def vectors_part(view: View) -> None:
    """Value vectors."""
    show.evidence(view, VECTORS, lambda table: draw_vectors(view, table))


@st.fragment
def weights_part(view: View) -> None:
    """The weights."""
    show.evidence(view, WEIGHTS, lambda table: draw_weights(view, table))


@st.fragment
def patching_part(view: View) -> None:
    """Patching curves."""
    show.evidence(view, PATCHING, lambda table: show.chart(view, PATCHING, table))


@st.fragment
def others_part(view: View) -> None:
    """Directions and transplants."""
    show.one_of(view, "More about what the weights hold", OTHERS, "concepts-more")


view = open_view(
    __file__, "Concept vectors", "What single vectors, layers and weights still hold of what was to be forgotten."
)
vectors_part(view)
weights_part(view)
patching_part(view)
others_part(view)
series.trajectory(view, ("concepts.value_vectors", "concepts.patching"))
