"""The scoreboard as an HTML table: a row for each measure, a column for each subject, value over interval.

A table, because a reviewer reads it and a screen reader can. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from audit.figures.style import GREY, Look, escape, percent
from audit.views.board import GROUPS, NULL
from audit.views.words import MARKS

NULL_NAME = "floor"


def board_html(board: pd.DataFrame, looks: Mapping[str, Look]) -> str:
    """`board` as `audit.views.board.board` makes it; its classes are styled by `assets/style.css`."""
    present = set(board["subject"])
    if "reference" in present:  # one column for what a score is read against
        board = board.assign(subject=board["subject"].replace(NULL, "reference"))
        present.discard(NULL)
    subjects = [name for name in ("original", "reference", NULL) if name in present]
    subjects += [name for name in looks if name in present and name not in subjects]
    heads = "".join(_head(name, looks) for name in subjects)
    body = "".join(_group(board, group, subjects) for group in GROUPS if group in set(board["group"]))
    return f'<table class="board"><thead><tr><th scope="col">Measure</th>{heads}</tr></thead>{body}</table>'


def _head(name: str, looks: Mapping[str, Look]) -> str:
    colour = looks[name].colour if name in looks else GREY
    shown = NULL_NAME if name == NULL else name
    return f'<th scope="col"><span class="swatch" style="background:{colour}"></span>{escape(shown)}</th>'


def _group(board: pd.DataFrame, group: str, subjects: Sequence[str]) -> str:
    part = board[board["group"] == group]
    title = f'<tr class="group"><th colspan="{len(subjects) + 1}" scope="rowgroup">{escape(GROUPS[group])}</th></tr>'
    rows = "".join(_row(part[part["id"] == id], subjects) for id in dict.fromkeys(part["id"]))
    return f"<tbody>{title}{rows}</tbody>"


def _row(rows: pd.DataFrame, subjects: Sequence[str]) -> str:
    first = rows.iloc[0]
    direction = f"<small>{escape(first['direction'])}</small>" if first["direction"] else ""
    cells = {row["subject"]: _cell(row) for row in rows.to_dict("records")}
    shown = "".join(cells.get(name, "<td></td>") for name in subjects)
    return f'<tr><th scope="row">{escape(first["metric"])}{direction}</th>{shown}</tr>'


def _cell(row: Mapping[str, object]) -> str:
    """Value, interval and, for a candidate, its state as a shape with its residual; or the status in words."""
    state = str(row["state"])
    mark = f'<span class="mark">{MARKS[state]}</span> ' if state else ""
    value, low, high, residual = (row[name] for name in ("value", "low", "high", "residual"))
    if pd.isna(value):
        return f'<td class="{state}">{mark}{escape(row["words"])}</td>'
    interval = "" if pd.isna(low) else f"<small>{number(low)} to {number(high)}</small>"
    left = "" if pd.isna(residual) else f"<small>left: {percent(float(residual))}</small>"  # type: ignore[arg-type]
    words = f"<small>{escape(row['words'])}</small>" if row["words"] else ""
    return f'<td class="{state}">{mark}{number(value)}{interval}{left}{words}</td>'


def number(value: object) -> str:
    """Three significant figures for what is small or large, two decimals between; a real minus sign."""
    amount = float(value)  # type: ignore[arg-type]
    text = f"{amount:.2f}" if amount == 0 or 0.01 <= abs(amount) < 1000 else f"{amount:.2g}"
    return text.replace("-", "−")
