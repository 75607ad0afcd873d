"""Results of other tools: the part of the page New audit that turns them into a run."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from audit.errors import AuditError
from audit.review.roles import Action
from audit.views import imported, intake
from pages.shared import who
from pages.shared.state import RUN, runs_root
from pages.shared.theme import literal


def draw(root: Path) -> None:
    """Results of other tools: where they lie, and the button."""
    typed = st.text_area(
        "Results", key="new-results", placeholder="saves/eval\nout.csv",
        help=f"Files or folders below {root}, one a line, recognised by what they hold: {imported.READABLE}.",
    )  # fmt: skip
    reference = st.text_input(
        "Results of a reference (optional)", key="new-results-reference",
        help="Of a model that never saw the forget set, for scores that compare with one, such as forget quality.",
    )  # fmt: skip
    paths, wrong = imported.chosen_paths(typed, root)
    references, more = imported.chosen_paths(reference, root)
    for sentence in [*wrong, *more]:
        st.error(literal(sentence), icon=":material/error:")
    st.button(
        "Import these results", key="new-import", type="primary", icon=":material/upload_file:",
        disabled=not paths or bool(wrong or more), on_click=_import, args=(paths, references),
    )  # fmt: skip
    if RUN in st.query_params and st.query_params[RUN] == st.session_state.get("imported-run"):
        st.page_link(
            "pages/overview.py", label="Open what was imported", icon=":material/stairs:",
            query_params={RUN: st.query_params[RUN]},
        )  # fmt: skip


def _import(paths: list[Path], references: list[Path]) -> None:
    """Import into a new run folder; what was left out is said above the form."""
    folder = intake.folder_for(f"imported-{paths[0].stem}", runs_root())
    try:
        who.require(Action.IMPORT)
        left_out = imported.run_import(paths, folder, references)
    except AuditError as error:
        st.session_state["refused"] = str(error)
        return
    if left_out:
        st.session_state["refused"] = "Left out: " + " ".join(left_out)
    st.query_params[RUN] = st.session_state["imported-run"] = folder.name
