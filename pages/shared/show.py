"""A finding on a page: the sentence that answers, the picture with its control, what it cannot tell, the numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from audit.catalogue import evidence_class
from audit.figures.chart import draw as draw_chart
from audit.figures.shares import shares as draw_shares
from audit.figures.style import CONFIG, visible
from audit.types import Finding, Status
from audit.views.methods import columns
from audit.views.shares import answers as left_of
from audit.views.shares import in_words
from audit.views.tables import csv
from audit.views.words import MARKS, STATUSES, Answer, answer, sentences
from pages.shared import kept, pace
from pages.shared.state import View
from pages.shared.theme import literal

MOST_ROWS = 2000
"""Rows of a table that are sent to the browser; the file to download holds all."""
CARD = 400
"""Least width of an answer beside another, in pixels."""


def evidence(view: View, id: str, draw: Callable[[pd.DataFrame], None] | None = None, *, rows: bool = True) -> None:
    """The whole block of one evidence; `draw` puts the chart with its controls, given the joined table.

    Nothing is drawn when no candidate that is shown has rows; the sentences then say why. Without `rows` the table is
    only there to be downloaded: it is long, and the chart shows what is in it.
    """
    cls = evidence_class(id)
    st.subheader(cls.question)
    if id not in view.ids:
        say([Answer("", "none", "This evidence was not asked for in this audit.")], id)
        return
    say(answers(view, id), id)
    table = kept.together(view, id)
    if draw is not None and not table.empty:
        draw(table)
    blind(cls.blind_to, id)
    numbers(view, id, table, rows=rows)


def answers(view: View, id: str, names: Iterable[str] | None = None) -> list[Answer]:
    """What one evidence says about each candidate that is drawn, or about those named."""
    found = {name: view.findings[name].get(id) for name in (view.shown if names is None else names)}
    return [answer(name, finding, view.policy, running=view.running) for name, finding in found.items()]


def alt(view: View, id: str, what: str, names: Iterable[str] | None = None) -> str:
    """The alternative text of a picture: what is drawn, and what it finds in each candidate."""
    return f"{what} {sentences(answers(view, id, names))}"


def chart(view: View, id: str, table: pd.DataFrame) -> None:
    """The evidence's own chart of the joined table."""
    spec = evidence_class(id).chart
    what = f"{spec.title}: {spec.y_title} by {spec.x_title}."
    plot(draw_chart(spec, table, view.looks), f"chart-{id}", alt(view, id, what))


def glance(ids: Sequence[str]) -> Callable[[View], None]:
    """The words of a page that opens with all its measures: how much each candidate has left."""

    def say_it(view: View) -> None:
        found = left_of(kept.left(view, [id for id in ids if id in view.ids]))
        if found:
            st.subheader("What is left, at a glance?")
            say(found, "glance")

    return say_it


def at_a_glance(view: View, ids: Sequence[str], key: str) -> None:
    """Every measure with a curve, layer by layer, for the candidates that are drawn, below its words."""
    table = kept.left(view, [id for id in ids if id in view.ids])
    if table["left"].isna().all():
        return
    plot(
        draw_shares(table, [name for name in view.shown if name in set(table["candidate"])]),
        key,
        "Share of the original that is left in each candidate, measure by layer: 100 % as in the original, 0 % as in "
        f"the reference. Empty where original and reference hardly differ. {in_words(table)}",
    )
    st.caption(
        "On forget items: 100 % as in the original, 0 % as in the reference; a cell is empty where these two hardly "
        "differ, or where the instrument does not work, so that there is nothing of which a share could be left."
    )


def one_of(
    view: View,
    title: str,
    ids: Sequence[str],
    key: str,
    draw: Callable[[str, pd.DataFrame], None] | None = None,
) -> None:
    """Several measurements, of which the reader opens one; nothing when none was asked for.

    `draw` puts the chart of an evidence, given its id and joined table; without it the evidence's own chart is drawn.
    """
    asked = [id for id in ids if id in view.ids]
    if not asked:
        return
    st.header(title)
    id = asked[0]
    if len(asked) > 1:
        id = st.segmented_control(
            "Measurement", asked, format_func=lambda i: evidence_class(i).title, key=key, default=asked[0],
            required=True, bind="query-params",
        )  # fmt: skip
    evidence(view, id, lambda table: draw(id, table) if draw else chart(view, id, table))


def say(answers: Iterable[Answer], id: str) -> None:
    """One sentence for each candidate, its state as a shape at its head; plain text, because reasons quote data."""
    cards = st.grid(2, min_column_width=CARD)
    for place, one in enumerate(answers):
        with cards.container(key=f"answer-{one.state}-{_slug(id)}-{place}"):
            st.text(visible(f"{MARKS[one.state]} {one.sentence}"))
            if one.scope:
                st.caption(literal(one.scope))
    pace.words_are_out()


def blind(sentence: str, id: str) -> None:
    """The line below every chart: what a clean reading does not rule out."""
    with st.container(key=f"blind-{_slug(id)}"):
        st.text(f"What this cannot tell: {sentence}")


def plot(
    figure: go.Figure,
    key: str,
    alt: str,
    picked: Callable[[], None] | None = None,
    modes: Iterable[Literal["points", "box", "lasso"]] = ("box", "lasso"),
) -> None:
    """A figure with the configuration that keeps it from offering an upload; `picked` is called after a selection."""
    pace.words_are_out()
    if picked is None:
        st.plotly_chart(figure, width="stretch", key=key, config=CONFIG, alt=alt)
    else:
        st.plotly_chart(
            figure, width="stretch", key=key, config=CONFIG, alt=alt, on_select=picked, selection_mode=tuple(modes)
        )


def numbers(view: View, id: str, table: pd.DataFrame, *, rows: bool = True) -> None:
    """The table one click away, with what its columns mean, its notes and how it was measured."""
    with st.expander("Numbers, notes and settings", icon=":material/table:"):
        for name, finding in view.of(id).items():
            if finding is not None and finding.note:
                with st.container(key=f"note-{_slug(id)}-{view.candidates.index(name)}"):
                    st.text(visible(f"{name}: {finding.note}"))
        if table.empty:
            st.text("There is no table: nothing was measured for the candidates that are shown.")
        else:
            if rows:
                few = table.head(MOST_ROWS)
                frame(few, f"table-{id}", columns(id), f"{evidence_class(id).title}, {_rows(table)}")
                if len(few) < len(table):
                    st.caption(f"Of {_rows(table)} the first {len(few)} are shown; all are in the CSV.")
            st.download_button(
                "Download as CSV",
                lambda: csv(table),
                file_name=f"{id}.csv",
                mime="text/csv",
                key=f"csv-{id}",
                icon=":material/download:",
                on_click="ignore",
            )
        with st.container(key=f"note-{_slug(id)}-method"):
            st.text(_method(id, next((f for f in view.of(id).values() if f is not None), None)))


def frame(table: pd.DataFrame, key: str, help: Mapping[str, str], alt: str, **settings: Any) -> Any:
    """A table whose columns say what they mean; texts are shown as they are, never as Markdown or HTML."""
    shown = {
        column: st.column_config.NumberColumn(column, help=help.get(column), format="%.3f")
        if pd.api.types.is_float_dtype(table[column])
        else st.column_config.ImageColumn(column, width="small")
        if column == kept.PICTURE
        else st.column_config.Column(column, help=help.get(column))
        for column in table.columns
    }
    return st.dataframe(table, hide_index=True, column_config=shown, key=key, alt=alt, placeholder="", **settings)


def picture(address: str | None, item: str) -> None:
    """The image of an item, if it has one: the small one that the run keeps."""
    if address is not None:
        st.image(address, width=96, alt=f"Image of {item}")


def gaps(table: pd.DataFrame) -> None:
    """What holds no number, with the reason, as loudly as what does."""
    if table.empty:
        return
    count = len(table)
    failed = int((table["status"] == STATUSES[Status.FAILED]).sum())
    head = f"{MARKS['none']} {count} finding{'' if count == 1 else 's'} without a number"
    with st.expander(f"{head}, {failed} of them failed" if failed else head, expanded=failed > 0):
        frame(table, "gaps", {}, "Findings that hold no number, with status and reason")


def _method(id: str, finding: Finding | None) -> str:
    cls = evidence_class(id)
    lines = [f"Formula: {cls.formula}.", f"After: {cls.source}."]
    if finding is not None:
        settings = ", ".join(f"{name} = {value}" for name, value in finding.settings.items())
        lines += [f"Settings: {settings or 'none'}.", f"Measured in {finding.seconds:.1f} s."]
    return "\n".join(lines)


def _rows(table: pd.DataFrame) -> str:
    return f"{len(table)} rows"


def _slug(id: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", id.lower())
