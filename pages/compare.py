"""Any runs and candidates beside each other, and what changed from one run to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from audit.errors import AuditError
from audit.figures.compare import before_after, tradeoff
from audit.policy import Policy, load_policy
from audit.views import changes, compare
from audit.views.compare import Compared
from audit.views.tables import csv
from pages.shared import pace, show
from pages.shared.state import View, head, keep, known_runs, load, run_label, runs_root, settled
from pages.shared.theme import literal, looks_now

RUNS, BEFORE, AFTER = "runs", "before", "after"
MOST_RUNS = 8
# What each axis may show: its key in the URL → kind of measure, label.
MEASURES = {
    "forgetting": ("knowledge", "Forgetting: what is left"),
    "utility": ("utility", "Utility: what was kept"),
}
FILTERS = ("candidate", "method", "verdict", "source")
Key = tuple[str, str, int, str]  # what a run is kept under: id, folder, when a finding was written, policy
MEANING = {
    "candidate": "The unlearned model",
    "run": "The audit it comes from",
    "method": "The unlearning method that its name speaks of, else its name",
    "verdict": "By the policy in force; none for what was imported",
    "utility is": "Whether it kept what it was to keep, by the policy",
    "Utility": "Share of the original's ability that is left, or the file's own number if it was imported",
    "seconds": "What measuring this candidate took",
    "source": "measured here with controls, or imported from another tool's files",
}


def choose_runs() -> dict[Key, Compared]:
    """The runs that are compared, from the URL, each read once; what cannot be read is said and left out."""
    known = known_runs()
    if not known:
        st.info(
            f"There is no audit in {literal(runs_root())}. Start one, or import results, on the page “New audit”.",
            icon=":material/inbox:",
        )
        st.stop()
    st.session_state["pick-runs"] = settled(RUNS, list(known), list(known)[:1], MOST_RUNS)
    chosen = st.multiselect(
        "Audits", list(known), key="pick-runs", format_func=lambda id: run_label(id, known[id]),
        max_selections=MOST_RUNS, on_change=lambda: keep(RUNS, st.session_state["pick-runs"]),
        help=f"At most {MOST_RUNS} at a time, imported ones too.",
    )  # fmt: skip
    found = {}
    for id in chosen:
        try:
            view = load(id, known[id])
        except AuditError as error:
            st.error(literal(error), icon=":material/error:")
            continue
        for sentence in view.damaged:
            st.error(f"{literal(id)}: {literal(sentence)}", icon=":material/error:")
        key = (id, str(view.run.path), view.stamp, view.policy.digest)
        found[key] = _compared(view, *key)
    if not found:
        st.info("Choose one or more audits.", icon=":material/compare_arrows:")
        st.stop()
    return found


@st.cache_resource(max_entries=4 * MOST_RUNS, show_spinner=False)
def _compared(_view: View, id: str, path: str, stamp: int, policy: str) -> Compared:
    """A run as it is compared; what it reads from imported files is read once."""
    return Compared(id, _view.run, _view.findings, _view.rows)


@dataclass(frozen=True)
class Board:
    """What can be chosen and what is chosen, by its key in the URL; the points and the leaderboard of that choice."""

    policy: Policy
    options: Mapping[str, Mapping[str, str]]
    chosen: Mapping[str, str]
    points: pd.DataFrame
    table: pd.DataFrame
    filters: Mapping[str, list[str]]
    wanted: Mapping[str, list[str]]


def board_of(runs: list[Compared], known: tuple[Key, ...]) -> Board:
    """What the URL asks for, so that the answer can be given before there is anything to choose with."""
    found = {key: _measures(runs, place, known) for key, (place, _) in MEASURES.items()}
    options = {key: names for key, (names, _) in found.items()}
    chosen = {key: settled(key, list(names), [first])[0] for key, (names, first) in found.items()}
    policy = load_policy()
    points, table = _points(runs, policy, chosen["forgetting"], chosen["utility"], known)
    filters = {column: list(dict.fromkeys(table[column])) for column in FILTERS}
    wanted = {column: settled(f"only-{column}", there, []) for column, there in filters.items()}
    return Board(policy, options, chosen, points, table, filters, wanted)


@st.cache_resource(max_entries=4 * MOST_RUNS, show_spinner=False)
def _measures(_runs: list[Compared], place: str, known: tuple[Key, ...]) -> tuple[dict[str, str], str]:
    """What can be drawn, and which of it unless another is asked for."""
    options = compare.measures(_runs, place)
    return options, list(options)[compare.first_of(list(options), _runs, place)]


@st.cache_resource(max_entries=4 * MOST_RUNS, show_spinner=False)
def _points(
    _runs: list[Compared], _policy: Policy, measure: str, utility: str, known: tuple[Key, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points and leaderboard; nobody changes them."""
    points = compare.points(_runs, _policy, measure, utility)
    return points, compare.board(_runs, points)


def draw_pickers(board: Board) -> None:
    """What is drawn, and for which candidates; an empty filter excludes nothing."""
    for column, (key, (_, label)) in zip(st.columns(len(MEASURES)), MEASURES.items(), strict=True):
        names = board.options[key]
        st.session_state[f"pick-{key}"] = board.chosen[key]
        column.selectbox(
            label, list(names), format_func=names.__getitem__, key=f"pick-{key}", on_change=_picked, args=(key,)
        )
    with st.grid(len(FILTERS), min_column_width=220):
        for name in FILTERS:
            st.session_state[f"pick-only-{name}"] = board.wanted[name]
            st.multiselect(
                name.capitalize(), board.filters[name], key=f"pick-only-{name}", placeholder="all",
                on_change=_picked, args=(f"only-{name}",),
            )  # fmt: skip


def _picked(key: str) -> None:
    chosen = st.session_state[f"pick-{key}"]
    keep(key, chosen if isinstance(chosen, list) else [chosen])


def draw_board(runs: list[Compared], known: tuple[Key, ...]) -> None:
    """The leaderboard and its picture; the sentence that answers goes ahead of the pickers above it."""
    pickers = st.container(key="board-pickers")
    board = board_of(runs, known)
    table = compare.filtered(board.table, **board.wanted)
    keys = pd.MultiIndex.from_frame(table[["run", "candidate"]])
    drawn = board.points[pd.MultiIndex.from_frame(board.points[["run", "candidate"]]).isin(keys)]
    words = compare.sentence(runs, drawn)
    if len(table):
        with st.container(key="answer-described-compare"):
            st.text(words)
        pace.words_are_out()
    with pickers:
        draw_pickers(board)
    if table.empty:
        st.info("No candidate passes these filters. Empty one of them.", icon=":material/filter_alt_off:")
        return
    draw_tradeoff(runs, board, drawn, words)
    show.frame(table, "leaderboard", MEANING, f"Leaderboard. {words}")
    _download(table, "leaderboard")
    missing = drawn[drawn["value"].isna() | drawn["x"].isna()]
    if len(missing):
        with st.expander(f"∅ {len(missing)} points without a number", icon=":material/table:"):
            show.frame(missing[["run", "candidate", "panel", "reason"]], "no-points", {}, "What is not drawn, and why")


def draw_tradeoff(runs: list[Compared], board: Board, drawn: pd.DataFrame, words: str) -> None:
    """Forgetting against utility."""
    measure, utility = board.chosen["forgetting"], board.chosen["utility"]
    names = list(dict.fromkeys(name for run in runs for name in run.findings))
    panel_limits, utility_limit = compare.limits(board.policy, measure, utility)
    what = (f"kept: {compare.title_of(utility)}", f"left: {compare.title_of(measure)}")
    show.plot(
        tradeoff(drawn, looks_now(names), panel_limits, utility_limit, what),
        "tradeoff",
        f"Forgetting against utility, one panel for each of {', '.join(dict.fromkeys(drawn['panel']))}, "
        f"with 95 % intervals and the policy's limits. {words} {compare.spoken(drawn)}",
    )
    st.caption(
        "Good is at the bottom right: little left of what was to be forgotten, all kept of the rest. 1 is as in the "
        "original, 0 as if never learned; dotted are the policy's limits. Later audits are drawn open, imported "
        "numbers as ×: they are the files' own, have no control here and are in no verdict."
    )


@st.fragment
def draw_changes(runs: list[Compared]) -> None:
    """Two of the runs, finding by finding."""
    st.subheader("What changed since?")
    ids = [run.id for run in runs]
    if len(ids) < 2:
        st.text("Choose a second audit above to compare two, finding by finding.")
        return
    left, right = st.columns(2)
    with left:
        before = st.selectbox("Before", ids, index=1, key=BEFORE, bind="query-params")
    with right:
        after = st.selectbox("After", ids, index=0, key=AFTER, bind="query-params")
    if before == after:
        st.info("These are the same audit. Choose two different ones.", icon=":material/compare_arrows:")
        return
    old, new = (next(run for run in runs if run.id == id) for id in (before, after))
    judged, others, table = changes.verdicts(old, new), changes.conditions(old, new), changes.findings(old, new)
    words = changes.sentence(judged, table, others)
    with st.container(key="answer-described-changes"):
        st.text(words)
    show.frame(judged, "changed-verdicts", {}, f"Verdicts before and after. {words}")
    if table["difference_low"].notna().any():
        names = list(dict.fromkeys([*old.findings, *new.findings]))
        show.plot(
            before_after(table, looks_now(names), (f"before: {before}", f"after: {after}")), "before-after",
            f"Residual of every finding before and after; on the diagonal nothing changed. {words} "
            f"{changes.spoken(table)}",
        )  # fmt: skip
        st.caption(
            "Filled, with both intervals: the intervals of the two runs lie apart. Open: they overlap. A difference's "
            "interval takes the runs as independent, so on the same entities it is rather too wide."
        )
    order = [c for c in table.columns if c not in ("change", "conditions")]
    order[4:4] = ["change", "conditions"]
    show.frame(table, "changed-findings", changes.MEANING, f"Finding by finding. {words}", column_order=order)
    _download(table, "changes")
    if len(others):
        st.text("What the two audits do not share")
        show.frame(others, "conditions", {}, "Checkpoints, corpora, settings and versions that differ")


def _download(table: pd.DataFrame, name: str) -> None:
    made: Callable[[], bytes] = lambda: csv(table)  # noqa: E731
    st.download_button(
        "Download as CSV", made, file_name=f"{name}.csv", mime="text/csv", key=f"csv-{name}",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip


@st.fragment
def board_part(runs: list[Compared], known: tuple[Key, ...]) -> None:
    """A fragment, so that a filter redraws nothing else."""
    draw_board(runs, known)


head(__file__, "Compare", "Any audits and candidates beside each other: what is left, what was kept, what changed.")
found = choose_runs()
compared = list(found.values())
board_part(compared, tuple(found))
draw_changes(compared)
