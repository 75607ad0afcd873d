"""The ladder as an HTML table: what every candidate still says, stores and gives back, in words, shapes and intervals.

A table, because a reviewer reads it and a screen reader can. Every text is escaped; no script, no external resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.figures.style import GREY, Look, escape, percent
from audit.types import Residual, Utility
from audit.views.ladder import LadderRow, Step
from audit.views.words import MARKS, PLACES, UTILITIES, VERDICTS

END = 1.2
"""Right end of the bars on the residual scale; 1 is the original."""
UTILITY_MARKS = {Utility.KEPT: "✓", Utility.DAMAGED: "✕", Utility.UNKNOWN: "?"}


def ladder_html(rows: Sequence[LadderRow], looks: Mapping[str, Look]) -> str:
    """A table with a row for each candidate; its classes are styled by `assets/style.css`."""
    heads = ["Candidate", *(PLACES[step.place] for step in rows[0].steps), "Verdict", "Utility"] if rows else []
    header = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(_row(row, looks[row.name]) for row in rows)
    return f'<table class="ladder"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>'


def _row(row: LadderRow, look: Look) -> str:
    judgement = row.judgement
    gaps = f'<small class="gaps">{MARKS["none"]} {row.gaps} without a number</small>' if row.gaps else ""
    name = f'<th scope="row"><span class="swatch" style="background:{look.colour}"></span>{escape(row.name)}{gaps}</th>'
    verdict = (
        f'<td class="verdict {judgement.verdict}"><strong>{VERDICTS[judgement.verdict]}</strong>'
        f"<span>{escape(' '.join(filter(None, (judgement.sentence, row.beneath))))}</span></td>"
    )
    kept = judgement.utility
    utility = f'<td class="utility {kept}">{UTILITY_MARKS[kept]} {UTILITIES[kept]}</td>'
    return f"<tr>{name}{''.join(_rung(step, look) for step in row.steps)}{verdict}{utility}</tr>"


def _rung(step: Step, look: Look) -> str:
    words = f'<span class="mark">{MARKS[step.state]}</span> <strong>{escape(step.words)}</strong>'
    if step.residual is None:
        return f'<td class="rung {step.state}">{words}</td>'
    residual = step.residual
    numbers = f"{percent(residual.value)} <small>({percent(residual.low)} to {percent(residual.high)})</small>"
    return (
        f'<td class="rung {step.state}">{words}<div class="numbers">{numbers}</div>'
        f"{_bar(residual, step.limit, look)}<small>{escape(step.title)}</small></td>"
    )


def _bar(residual: Residual, limit: float, look: Look) -> str:
    """The interval on a scale from never learned to the original, with the policy's limit as a tick."""
    low, high, value = (_place(x) for x in (residual.low, residual.high, residual.value))
    return (
        f'<div class="bar" aria-hidden="true"><i class="limit" style="left:{_place(limit):.1f}%"></i>'
        f'<i class="end" style="left:{_place(1.0):.1f}%"></i>'
        f'<i class="interval" style="left:{low:.1f}%;width:{max(high - low, 0.8):.1f}%;background:{look.colour}"></i>'
        f'<i class="value" style="left:{value:.1f}%;border-color:{GREY}"></i></div>'
    )


def _place(value: float) -> float:
    """Where a residual lies on the bar, in per cent of its width; what lies outside is shown at the edge."""
    return 100 * min(max(value, 0.0), END) / END
