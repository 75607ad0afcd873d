"""Hand the audit on: a report, a bundle that can be verified, and what another policy would say of it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from audit.errors import AuditError
from audit.policy import read_policy
from audit.report.files import WHAT, content, lacking, name_of
from audit.views import policies
from pages.shared import show
from pages.shared.opening import open_view
from pages.shared.state import View
from pages.shared.theme import literal

DRAFT = "policy-draft"


def draw_exports(view: View) -> None:
    """One button a format; a file is made when it is asked for."""
    st.subheader("Take it with you")
    st.text(
        "Each file holds the verdicts, every finding with its control and interval, what the audit was blind to, and "
        "where each number comes from. Nothing in it asks the network for anything."
    )
    with st.grid(4, min_column_width=240):
        for kind, what in WHAT.items():
            with st.container(border=True, key=f"export{kind.replace('.', '-')}"):
                st.text(what)
                st.download_button(
                    f"Download {kind.removeprefix('.').upper()}",
                    partial(content, view.run, view.policy, kind),
                    file_name=name_of(view.run, kind),
                    key=f"download{kind}",
                    icon=":material/download:",
                    on_click="ignore",
                    disabled=bool(missing := lacking(kind)),
                )
                if missing:
                    st.caption(literal(missing))
    st.caption(
        "Check a bundle anywhere, offline: `python -m audit verify FILE.zip`. It names every file of which one byte "
        "was altered."
    )


@st.fragment
def draw_policy(view: View) -> None:
    """The policy in force, and a draft with what it would change; a draft is never applied here."""
    st.subheader("What would another policy say?")
    st.text(f"In force: “{view.policy.name}”, version {view.policy.digest[:12]}.")
    draft = st.text_area(
        "Draft of a policy", view.policy.text, height=320, key=DRAFT,
        help="A policy is a file. Change limits or what is consulted and see whom it would change; to put it in force, "
        "save it and give it to `check`, `show` and `export` with --policy.",
    )  # fmt: skip
    try:
        policy = read_policy(draft, "The draft")
    except AuditError as error:
        st.error(literal(error), icon=":material/error:")
        return
    table = policies.preview(view.findings, view.policy, policy)
    with st.container(key="answer-described-policy"):
        st.text(policies.sentence(table, view.policy, policy))
    show.frame(table, "policy-preview", {}, "Verdict of every candidate by the policy in force and by the draft")
    st.download_button(
        "Save the draft", draft, file_name="policy.toml", key="save-draft", icon=":material/save:", on_click="ignore"
    )


view = open_view(__file__, "Report", "Hand the audit on, whole and checkable; see what another policy would say of it.")
draw_exports(view)
draw_policy(view)
