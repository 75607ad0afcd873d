"""Words before pictures: a browser draws all that it was sent in one go, and a chart takes it longer than a page."""

from __future__ import annotations

import time

import streamlit as st

from pages.shared.theme import style

LOADING = 0.45
"""Seconds in which a visitor's browser fetches what it draws a table with; the sentence above it stands alone."""
FIRST = (0.4, 0.6)
"""Seconds that it is left alone with the words of the first page that a visitor opens, then with what follows them."""
LATER = (0.25,)
"""The same on a page that is opened later: everything is fetched by then."""
OPENED, WAITS = "opened-page", "waits"


def opened(file: str) -> None:
    """A page begins; when it is not the one that was shown before, its words go ahead."""
    if st.session_state.get(OPENED) != file:
        st.session_state[WAITS] = LATER if OPENED in st.session_state else FIRST
        st.session_state[OPENED] = file


def sentence_is_out() -> None:
    """On the first page that a visitor opens, wait until the browser has drawn the one sentence that answers.

    It fetched meanwhile what it draws the style sheet and tables with, but shows what waited for that a second late: a
    second style sheet takes effect at once, so that what follows is never seen without.
    """
    if st.session_state.get(WAITS) is FIRST:
        time.sleep(LOADING)
        style()


def words_are_out() -> None:
    """Wait until the browser has drawn what it has; once for each page that is opened, twice on the first."""
    now, *then = st.session_state.get(WAITS) or (0.0,)
    st.session_state[WAITS] = tuple(then)
    time.sleep(now)
