"""One look for each subject, in every figure: colour, dash and marker, so that colour is never the only carrier.

The hues are Okabe and Ito's colour-blind-safe palette (2008) and, since black is the original's, one violet. Those that
would fade on a light page are darkened until every one has a contrast of at least 3 to 1 against both the light and the
dark page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

ORIGINAL, REFERENCE, SECOND = "original", "reference", "second reference"
INK = {"light": "#1F1D1A", "dark": "#F2EEE4"}
GREY = "#7F7B74"
"""The reference, and every null."""
HUES = ("#D55E00", "#0072B2", "#009E73", "#C2699A", "#B88100", "#3E94C9", "#938B00", "#9467BD")
DASHES = ("solid", "dashdot", "dot", "longdash", "longdashdot")
PATTERNS = ("\\", "x", "-", ".", "|", "+")
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Embeddings, overrides and isolates of the bidirectional algorithm, which reach beyond the text that holds them."""
SYMBOLS = ("diamond", "triangle-up", "cross", "star", "triangle-down", "hexagon", "x")
CONFIG: dict[str, Any] = {
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d"],
}
"""Plotly 7 offers to upload a figure to its cloud unless it is told not to; every figure is shown with this."""


@dataclass(frozen=True)
class Look:
    """How one subject is drawn everywhere."""

    colour: str
    dash: str
    symbol: str
    pattern: str = ""
    """Of bars; none for the original."""
    width: float = 2.2
    """Of lines."""


SPLIT_LOOKS = {
    "forget": Look(HUES[0], "solid", "circle"),
    "retain": Look(GREY, "dash", "circle-open"),
    "holdout": Look(GREY, "dot", "x-thin-open"),
}


def looks(candidates: Sequence[str], mode: str = "light") -> dict[str, Look]:
    """A look for original, both references and each candidate, by its place in the run: choosing others changes none.

    Eight hues, seven symbols: combinations repeat only after fifty-six candidates.
    """
    found = {
        ORIGINAL: Look(INK["dark" if mode == "dark" else "light"], "solid", "circle"),
        REFERENCE: Look(GREY, "dash", "square", "/"),
        SECOND: Look(GREY, "dash", "square-open", "+", 1.0),
    }
    for place, name in enumerate(candidates):
        hue, turn = place % len(HUES), place // len(HUES)
        symbol, pattern = SYMBOLS[place % len(SYMBOLS)], PATTERNS[place % len(PATTERNS)]
        found[name] = Look(HUES[hue], DASHES[turn % len(DASHES)], symbol, pattern)
    return found


def visible(text: object) -> str:
    """Text whose marks of direction are shown as code points: unseen they would turn round what stands beside them."""
    return TURNING.sub(lambda mark: f"⟨U+{ord(mark[0]):04X}⟩", str(text))


def escape(text: object) -> str:
    """Text that Plotly shows as it is: it reads titles, labels and hover texts as HTML."""
    return html.escape(visible(text), quote=False)


def ink_on(share: float) -> str:
    """The ink that can be read on the colour of a share of the scale Cividis, 0 to 1: at least 4 to 1 everywhere."""
    return INK["light"] if share >= 0.5 else "#FFFFFF"


def percent(value: float) -> str:
    """A share in words: `81 %`, with a real minus sign."""
    rounded = round(value * 100)
    return f"{'−' if rounded < 0 else ''}{abs(rounded)}\u202f%"


def faded(colour: str, opacity: float) -> str:
    """A hex colour as `rgba(...)`, for interval bands."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


X_AXIS = {"zeroline": False, "showline": True, "linecolor": GREY, "linewidth": 1, "ticks": "outside", "tickcolor": GREY}
Y_AXIS = {"zeroline": False, "gridcolor": faded(GREY, 0.25)}


def layout(*, height: int, legend: bool = True, titles: bool = True) -> dict[str, Any]:
    """What every figure shares: margins, legend above, no decoration, zoom kept while a control changes the data."""
    return {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 24 + 24 * legend + 30 * titles, "b": 48},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top", "title": {"text": ""}},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "uirevision": "kept",
        "bargap": 0.35,
    }


def finish(figure: go.Figure, *, height: int, legend: bool = True, titles: bool = True) -> go.Figure:
    """The layout and the axes that every figure shares."""
    figure.update_layout(layout(height=height, legend=legend, titles=titles))
    figure.update_xaxes(X_AXIS)
    figure.update_yaxes(Y_AXIS)
    return figure
