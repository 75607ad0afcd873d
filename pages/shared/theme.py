"""The look of subjects on the page that is shown now, and text that is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from audit.figures.style import Look, looks, visible

ASSETS = Path(__file__).parent.parent.parent / "assets"
READ_LATE = re.compile(
    r"(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=\w)|(?<=:)(?=[\w+/-]+:)|(?<=[<>=~-])(?=[<>=~-])",
    re.IGNORECASE,
)
"""Within links, icons, emoji and arrows: what is found in a text after its Markdown was read, escaped or not."""


def style() -> None:
    """The style sheet of every page."""
    st.html(ASSETS / "style.css")


def mode() -> str:
    """`light` or `dark`, as the viewer has it."""
    return st.context.theme.type or "light"


def looks_now(candidates: Sequence[str]) -> dict[str, Look]:
    """Every subject's look in the viewer's mode; by place in the run, so that choosing others changes none."""
    return looks(candidates, mode())


def literal(text: object) -> str:
    """Text for a place that reads Markdown, shown as it is: no link, image or formula of somebody else's making."""
    parted = READ_LATE.sub("\u200b", visible(text))  # a space of no width
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", parted)
