"""What pages work out from the findings of a run, kept until a finding, the candidates or the policy change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from audit import drawings as drawn
from audit import thumbnails
from audit.figures.maps import Crowd, crowd_of, maps
from audit.figures.style import ORIGINAL, REFERENCE
from audit.views import behaviour, drift, examples, items, returned, shares, tables
from audit.views.returned import Count
from audit.views.words import Answer
from pages.shared.state import View
from pages.shared.theme import mode

PICTURE = "picture"
"""The column of pictures that a run keeps; no table of findings has one of this name."""
MOST = 40
MOST_TABLES = 200
"""Joined tables that are kept: two runs with all their measurements, or one that several people look at differently."""


def came_back(view: View) -> pd.DataFrame:
    """`returned.came_back` for the candidates that are drawn; shared by all sessions, so nobody changes it."""
    return _came_back(view, *_key(view))


def by_chance(view: View) -> dict[str, Count]:
    """`returned.by_chance` for the candidates that are drawn."""
    return _by_chance(view, *_key(view))


def index(view: View) -> pd.DataFrame:
    """`examples.index` for the candidates that are drawn."""
    return _index(view, *_key(view))


def texts(view: View, names: Sequence[str]) -> pd.DataFrame:
    """`items.texts` of some candidates."""
    return _texts(view, tuple(names), str(view.run.path), view.stamp)


def of_item(view: View, item: str) -> list[Answer]:
    """`examples.answers` to one item for the candidates that are drawn."""
    return _of_item(view, item, *_key(view))


def spoken(view: View) -> pd.DataFrame:
    """`behaviour.spoken` for the candidates that are drawn."""
    return _spoken(view, *_key(view))


def pictures(view: View) -> dict[str, str]:
    """The pictures of a run's items as addresses that hold them, by item; empty where no item has an image."""
    file = view.run.path / thumbnails.FILE
    return _pictures(str(view.run.path), file.stat().st_mtime_ns) if file.is_file() else {}


def drawings(view: View, item: str) -> dict[str, str]:
    """What original, reference and the candidates that are shown draw for an item, by name; empty where none draws."""
    file = view.run.path / drawn.FILE
    found = _drawings(str(view.run.path), file.stat().st_mtime_ns).get(item, {}) if file.is_file() else {}
    order = [ORIGINAL, *view.shown, REFERENCE]
    more = [name for own in order for name in found if name.startswith(f"{own}, ")]  # no candidate's name has a comma
    return {name: thumbnails.data_uri(found[name]) for name in [*order, *more] if name in found}


def with_pictures(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """A table of items with their pictures as its first column, where items have any."""
    found = pictures(view)
    if not found or "item" not in table:
        return table
    table = table.copy()
    table.insert(0, PICTURE, [found.get(item) for item in table["item"]])
    return table


def together(view: View, id: str) -> pd.DataFrame:
    """`tables.together` of one evidence for the candidates that are drawn."""
    return _together(view, id, *_key(view))


@dataclass(frozen=True)
class Scene:
    """One layer's maps: the points that are points, how many there are, the maps in order, and the crowd behind."""

    points: pd.DataFrame
    total: int
    order: list[str]
    crowd: Crowd | None


def layers(view: View, id: str) -> dict[str, list[int]]:
    """The kinds of map that one evidence holds, with the layers of each."""
    return _layers(view, id, *_key(view))


def scene(view: View, id: str, method: str, layer: int) -> Scene:
    """What the maps of one layer show, in the viewer's colours."""
    return _scene(view, id, method, layer, mode(), *_key(view))


def map_figure(view: View, id: str, method: str, layer: int, picked: Sequence[str] = ()) -> go.Figure:
    """The maps of one layer as they are drawn, with what is picked in them; shared, so nobody changes it."""
    return _map_figure(view, id, method, layer, tuple(picked), mode(), *_key(view))


def make_ready(view: View, id: str, method: str, layer: int) -> None:
    """Make the maps one step away from these, so that the next look waits for nothing; for when all else is drawn."""
    known = layers(view, id)
    own = known[method]
    beside = own[max(0, own.index(layer) - 1) : own.index(layer) + 2]
    steps = [(method, near) for near in beside] + [(other, layer) for other in known if layer in known[other]]
    for step in dict.fromkeys(steps):
        map_figure(view, id, *step)


def left(view: View, ids: Sequence[str]) -> pd.DataFrame:
    """`shares.shares` of some evidence for the candidates that are drawn."""
    return _left(view, tuple(ids), *_key(view))


def under(view: View, name: str, id: str) -> tuple[pd.DataFrame, Count]:
    """What came back in one candidate under one attack, and how many by chance."""
    return _under(view, name, id, *_key(view))


def _key(view: View) -> tuple[str, tuple[str, ...], int, str]:
    """Run, candidates, when its findings were written, policy."""
    return str(view.run.path), tuple(view.shown), view.stamp, view.policy.digest


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _pictures(path: str, stamp: int) -> dict[str, str]:
    return {item: thumbnails.data_uri(png) for item, png in thumbnails.read_thumbnails(Path(path)).items()}


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _drawings(path: str, stamp: int) -> dict[str, dict[str, bytes]]:
    return drawn.read_drawings(Path(path))


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _came_back(_view: View, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> pd.DataFrame:
    return returned.came_back(_view.chosen, _view.policy)


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _by_chance(_view: View, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> dict[str, Count]:
    return returned.by_chance(_view.chosen, _view.policy, back=came_back(_view))


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _index(_view: View, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> pd.DataFrame:
    return examples.index(texts(_view, _view.shown), came_back(_view))


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _texts(_view: View, names: tuple[str, ...], path: str, stamp: int) -> pd.DataFrame:
    return items.texts({name: _view.findings[name] for name in names})


@st.cache_resource(max_entries=10 * MOST_TABLES, show_spinner=False)
def _of_item(_view: View, item: str, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> list[Answer]:
    ids = returned.sources(_view.chosen, _view.policy)
    return examples.answers(_view.chosen, item, came_back(_view), ids)


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _spoken(_view: View, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> pd.DataFrame:
    return behaviour.spoken(_view.chosen)


@st.cache_resource(max_entries=MOST_TABLES, show_spinner=False)
def _together(_view: View, id: str, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> pd.DataFrame:
    return tables.together(_view.of(id))


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _layers(_view: View, id: str, path: str, shown: tuple[str, ...], stamp: int, policy: str) -> dict[str, list[int]]:
    table = together(_view, id)
    return {method: drift.layers(table, method) for method in drift.methods(table)}


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _map_figure(
    _view: View, id: str, method: str, layer: int, picked: tuple[str, ...], mode: str, path: str,
    shown: tuple[str, ...], stamp: int, policy: str,
) -> go.Figure:  # fmt: skip
    there = scene(_view, id, method, layer)
    return maps(there.points, there.order, _view.looks, picked, mode, pictures(_view), there.crowd)


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _scene(
    _view: View, id: str, method: str, layer: int, mode: str, path: str, shown: tuple[str, ...], stamp: int, policy: str
) -> Scene:
    table = together(_view, id)
    points, total = drift.points(table, method, layer)
    order = drift.subjects(points, _view.shown)
    full = total == len(points)
    return Scene(
        points, total, order, None if full else crowd_of(drift.crowd(table, method, layer), order, _view.looks)
    )


@st.cache_resource(max_entries=MOST_TABLES, show_spinner=False)
def _left(
    _view: View, ids: tuple[str, ...], path: str, shown: tuple[str, ...], stamp: int, policy: str
) -> pd.DataFrame:
    return shares.shares(_view.chosen, ids)


@st.cache_resource(max_entries=MOST_TABLES, show_spinner=False)
def _under(
    _view: View, name: str, id: str, path: str, shown: tuple[str, ...], stamp: int, policy: str
) -> tuple[pd.DataFrame, Count]:
    one = {name: _view.findings[name]}
    back = returned.came_back(one, _view.policy, [id])
    return back, returned.by_chance(one, _view.policy, [id], back)[name]
