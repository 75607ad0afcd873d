"""Checkpoints on a page: how much is left at each step, of the forgotten and of what was to be kept."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from audit.figures.series import series as draw_series
from audit.policy import KNOWLEDGE
from audit.views import series
from pages.shared import show
from pages.shared.state import View


def trajectory(view: View, own: Sequence[str] = ()) -> None:
    """The candidates that the case file calls checkpoints, over their steps; nothing where there are none.

    Of a page's `own` measurements, or of those that the verdict rests on; what was to be kept stands beside them.
    """
    known = view.run.series
    if not known:
        return
    ids = [*own, *view.policy.rules["utility"].evidence] if own else series.consulted(view.policy)
    table = series.trajectory(view.findings, known, [id for id in ids if id in view.ids])
    if table.empty:
        return
    judged = [place for place in KNOWLEDGE if set(view.policy.rules[place].evidence) & set(ids)]
    limit = max((view.policy.rules[place].limit for place in judged), default=None)
    sentences = series.sentences(table, limit)
    st.subheader("How did it go, checkpoint by checkpoint?")
    for number, sentence in enumerate(sentences):
        with st.container(key=f"answer-described-series-{number}"):
            st.text(sentence)
    show.plot(
        draw_series(table, limit), "series",
        f"What is left at each checkpoint, with 95 % intervals. {' '.join(sentences)}",
    )  # fmt: skip
    st.caption(
        "100 % as in the original, 0 % as if never learned. What falls under “kept” was not to be forgotten: it is "
        "collateral damage, not forgetting. Checkpoints of one run resemble each other; their intervals are not "
        "independent."
    )
    with st.expander("Numbers", icon=":material/table:"):
        show.frame(table, "series-table", {}, "Residual of every checkpoint and measurement")
