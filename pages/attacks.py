"""What comes back under attack, with the floor that a model which never knew sets."""

from __future__ import annotations

import dataclasses

import pandas as pd
import streamlit as st

from audit.catalogue import evidence_class
from audit.figures.chart import draw
from audit.figures.curves import add_level
from audit.figures.forest import forest
from audit.figures.panels import panels
from audit.views import attacks
from audit.views.methods import columns
from audit.views.tables import in_place, values_of, where
from pages.shared import show
from pages.shared.state import View, open_view

RELEARN, QUANTIZED, HEAD = "attacks.relearn", "attacks.quantization", "attacks.head_projection"


@st.fragment
def draw_all(view: View) -> None:
    """Every attack on every candidate; a chosen row opens what was measured."""
    ids = in_place(view.ids, "recoverable")
    st.subheader("What does each attack bring back?")
    if not ids:
        st.text("No attack was asked for in this audit.")
        return
    titles = {id: evidence_class(id).title for id in ids}
    limit = view.policy.rules["recoverable"].limit
    rows = attacks.forest_rows(view.findings, ids, view.policy, view.running)
    show.plot(
        forest(rows, view.candidates, list(titles.values()), view.looks, dict.fromkeys(titles.values(), limit)),
        "forest",
        "Residual of every attack for every candidate with 95 % interval; 0 is the reference under the same attack, "
        "1 the original, the limit is dotted. The same numbers are in the table below.",
    )
    st.caption(
        "0: what the reference gives under the same attack. 1: what the original says before any attack. Dots: the "
        "policy's limit. A full point lies above it with its whole interval, an open one below, a diamond across it."
    )
    table = attacks.recovery(view.findings, ids)
    event = show.frame(
        table, "recovery", {}, "Every attack on every candidate, with floor, ceiling and interval",
        on_select="rerun", selection_mode="single-row",
    )  # fmt: skip
    chosen = [row for row in event.selection.rows if row < len(table)]
    if chosen:
        row = table.iloc[chosen[0]]
        draw_detail(view, next(id for id in ids if titles[id] == row["attack"]), str(row["candidate"]))


def draw_detail(view: View, id: str, name: str) -> None:
    """One attack on one candidate: its rows, its note, how it was run."""
    finding = view.findings[name][id]
    with st.container(border=True, key="attack-card"):
        st.text(f"{evidence_class(id).title} on {name}")
        st.text(finding.note or finding.reason or "No note was stored.")
        if not finding.table.empty:
            show.frame(where(finding.table, subject="candidate"), "attack-rows", columns(id), f"Rows of {id}")


def draw_relearn(view: View, table: pd.DataFrame) -> None:
    """Recall of facts that were not trained on, and of what was to be kept, along the attack."""
    left, right = st.columns(2)
    with left:
        runs = attacks.seeds(table)
        seed = st.selectbox("Run", list(runs), format_func=lambda s: runs[s], key="attack-run", bind="query-params")
    with right:
        splits = values_of(table, "split")
        split = st.segmented_control(
            "Facts", splits, key="relearn-split", default=splits[0], required=True, bind="query-params"
        )
    show.plot(
        panels(attacks.relearn_panels(attacks.run_of(table, seed, split)), view.looks),
        "relearn",
        "Two line charts along the attack: recall of facts that were not trained on, and of what was to be kept. When "
        "the second falls, the attack breaks the model.",
    )


def draw_quantized(view: View, table: pd.DataFrame) -> None:
    """Recall in each number format."""
    figure = draw(evidence_class(QUANTIZED).chart, attacks.without_original(table), view.looks)
    level = attacks.original_level(table, "recall")
    if level is not None:
        add_level(figure, level, view.looks["original"], "original, not quantised")
    show.plot(figure, "quantized", "Recall in each number format by subject, with the level of the original.")


def draw_head(view: View, table: pd.DataFrame) -> None:
    """Answers that surface when the head reads the layers between."""
    chart = dataclasses.replace(evidence_class(HEAD).chart, facet="split")
    show.plot(
        draw(chart, attacks.by_block(table), view.looks), "head", "Share of answers among the top tokens by block."
    )


@st.fragment
def relearn_part(view: View) -> None:
    """Relearning."""
    show.evidence(view, RELEARN, lambda table: draw_relearn(view, table))


@st.fragment
def quantized_part(view: View) -> None:
    """Quantisation."""
    show.evidence(view, QUANTIZED, lambda table: draw_quantized(view, table))


@st.fragment
def head_part(view: View) -> None:
    """Head projection."""
    show.evidence(view, HEAD, lambda table: draw_head(view, table))


view = open_view(__file__, "Attacks", "What comes back under cheap attacks, beside what a model that never knew gives.")
draw_all(view)
relearn_part(view)
quantized_part(view)
head_part(view)
