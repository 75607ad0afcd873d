"""What can be read out of each layer, beside the original, the reference, chance and shuffled labels."""

from __future__ import annotations

import dataclasses

import pandas as pd
import streamlit as st

from audit.catalogue import CATALOGUE, evidence_class
from audit.figures.chart import draw
from audit.views import probes
from audit.views.tables import values_of, where
from pages.shared import series, show
from pages.shared.opening import open_view
from pages.shared.state import View
from pages.shared.theme import literal

LINEAR, TRUTH = "probes.linear", "probes.truth"
PROBES = [id for id in CATALOGUE if id.startswith("probes.")]


def draw_linear(view: View, table: pd.DataFrame) -> None:
    """Accuracy over layers for one attribute or all, on forget or on what was kept."""
    attributes, splits = values_of(table, "attribute"), values_of(table, "split")
    with st.container(horizontal=True):
        attribute = st.segmented_control(
            "Attribute", attributes, key="attribute", default=probes.first_attribute(attributes), required=True,
            bind="query-params", format_func=literal,
        )  # fmt: skip
        split = st.segmented_control(
            "Items", splits, key="probe-split", default=splits[0], required=True, bind="query-params"
        )
        null = st.segmented_control(
            "Floor", list(probes.NULLS), format_func=lambda n: probes.NULLS[n], key="floor", default="chance",
            required=True, bind="query-params",
        )  # fmt: skip
    chart = dataclasses.replace(evidence_class(LINEAR).chart, null=null, facet=None)
    show.plot(
        draw(chart, where(table, attribute=attribute, split=split), view.looks),
        "linear",
        show.alt(
            view,
            LINEAR,
            f"Accuracy of the linear probe by layer on {split} items, with 95 % intervals and "
            f"{probes.NULLS[null]} dotted.",
        ),
    )


def draw_truth(view: View, table: pd.DataFrame) -> None:
    """Right against wrong answers over layers."""
    show.plot(
        draw(evidence_class(TRUTH).chart, table, view.looks),
        "truth",
        show.alt(
            view,
            TRUTH,
            "Share of wrong answers ranked below the right one by layer, one panel for each corpus, "
            "with chance dotted.",
        ),
    )


@st.fragment
def linear_part(view: View) -> None:
    """The linear probe."""
    show.evidence(view, LINEAR, lambda table: draw_linear(view, table))


@st.fragment
def truth_part(view: View) -> None:
    """The truth probe."""
    show.evidence(view, TRUTH, lambda table: draw_truth(view, table))


@st.fragment
def others_part(view: View) -> None:
    """Any other probe."""
    show.one_of(view, "Other probes", [id for id in PROBES if id not in (LINEAR, TRUTH)], "probe-more")


view = open_view(
    __file__, "Probes", "What can still be read out of the hidden states, layer by layer.", show.glance(PROBES)
)
show.at_a_glance(view, PROBES, "probe-glance")
linear_part(view)
truth_part(view)
others_part(view)
series.trajectory(view, ("probes.linear", "probes.truth", "probes.transfer"))
