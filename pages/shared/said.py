"""What subjects said to one item, on a page: the true answer, every text with its differing words marked."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from audit.catalogue import evidence_class
from audit.figures.texts import Line, said_html
from audit.types import Finding
from audit.views import examples, items
from pages.shared import kept
from pages.shared.state import View
from pages.shared.theme import literal

Findings = Mapping[str, Mapping[str, Finding]]
MARKED = "Marked: words that are not the true answer's, compared in order, without case and punctuation."


def link(view: View, item: str) -> None:
    """A link to everything about an item."""
    st.page_link(
        "pages/examples.py", label=f"Everything about {literal(item)}", icon=":material/arrow_forward:",
        query_params={**view.link, "item": item},
    )  # fmt: skip


def plain(view: View, item: str, facts: Mapping[str, str], heard: Mapping[str, str | None]) -> None:
    """What each subject says to the plain question."""
    lines = [Line(name, items.stored(text)) for name, text in heard.items()]
    if lines:
        st.html(said_html(str(facts.get("answer") or "not stored"), lines, view.looks))
    else:
        st.text(f"What the models say to {item} is not stored.")


def transcript(view: View, findings: Findings, id: str, item: str, key: str) -> None:
    """What each subject said to one item in one evidence; the texts with the highest scores of each."""
    families = examples.families(findings, id, item)
    family = None
    if len(families) > 1:
        family = st.selectbox(
            "What was tried", families, index=None, placeholder="all: the highest scores of each subject",
            key=f"{key}-family-{id}",
        )  # fmt: skip
    rows, most = examples.transcript(findings, id, item, family)
    facts = kept.texts(view, list(findings))
    own = facts[facts["item"] == item]
    asked, answer = (str(own.iloc[0][name]) if len(own) else "" for name in ("prompt", "answer"))
    if not answer and "answer" in rows and len(rows):
        answer = str(rows["answer"].iloc[0])
    with st.container(border=True, key=key):
        st.caption(literal(f"{evidence_class(id).title}, {item}. Asked plainly: {asked or 'not stored'}"))
        if rows.empty:
            st.text("No text is stored for this item.")
            return
        lines = [
            Line(str(row["subject"]), items.stored(row["said"]), examples.remark(row, asked))
            for row in rows.to_dict("records")
        ]
        st.html(said_html(answer or "not stored", lines, view.looks))
        if most > examples.MOST_SAID:
            st.caption(
                f"Of up to {most} texts of each subject the {examples.MOST_SAID} with the highest scores are shown, "
                "of every subject alike; all are in the numbers."
            )
        st.caption(MARKED)
