"""Models loaded by a page, on request: shared among visitors, bounded in number, given back when nobody asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from audit.live import Live, Models, case_file_of
from pages.shared import show
from pages.shared.state import View, browse_root
from pages.shared.theme import literal

MOST = 2
"""Case files whose models are kept, `audit.live.models.MOST` models each; the one not used longest makes room."""


@st.cache_resource(max_entries=MOST, show_spinner="Opening the case…", on_release=lambda models: models.close())
def _models(case_file: str, stamp: int, root: str | None) -> Models:
    """One for all visitors, until the case file is written anew."""
    return Models(Path(case_file), root=Path(root) if root else None)


def models(view: View) -> Models | None:
    """The models of a run's case file, none of them loaded yet; None, and a sentence, when they are not here."""
    try:
        case_file = case_file_of(view.run)
        inside = case_file.resolve().is_relative_to(browse_root())
        return _models(str(case_file), case_file.stat().st_mtime_ns, str(browse_root()) if inside else None)
    except AuditError as error:
        st.info(literal(error), icon=":material/cloud_off:")
        return None


def bench(view: View, candidate: str, key: str) -> Live | None:
    """The models of a candidate's case once the reader has asked for them; a button, or a sentence, until then."""
    try:
        case_file = case_file_of(view.run)
    except AuditError as error:
        st.caption(literal(error))
        return None
    if not st.session_state.get(f"live-{key}"):
        st.button(
            "Load the models and try it", key=f"load-{key}", icon=":material/play_arrow:", on_click=_ask, args=(key,)
        )
        return None
    found = models(view)
    try:
        return None if found is None else Live(case_file, candidate, models=found)
    except AuditError as error:
        st.error(literal(error), icon=":material/error:")
        return None


def answers(ask: Callable[[], pd.DataFrame], key: str) -> None:
    """What the models answer, as a table; one sentence when they cannot be asked."""
    try:
        table = ask()
    except AuditError as error:
        st.error(literal(error), icon=":material/error:")
        return
    help = {
        "probability": "probability of the true answer's first token",
        "says first": "the most likely first token",
        "others": "the next most likely ones",
    }
    show.frame(table, f"live-table-{key}", help, "What each model answers, as it is and changed")


def _ask(key: str) -> None:
    st.session_state[f"live-{key}"] = True
