"""What the command line prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.catalogue import CATALOGUE, evidence_class
from audit.figures.style import visible
from audit.policy import KNOWLEDGE, Judgement, Policy, Rung, judge, load_policy
from audit.types import Finding, Residual, Status, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from audit.progress import Progress
    from audit.store import Run
    from audit.views.reviews import Reviews

VERDICT_WORDS = {
    Verdict.PRESENT: "present",
    Verdict.SUPPRESSED: "suppressed",
    Verdict.NO_TRACE: "no trace found by this audit",
    Verdict.INCONCLUSIVE: "inconclusive",
}


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160  # a log or a pipe has no width; eighty columns would break every table
    return console


def say(text: str) -> None:
    """Print a line; the text is never read as markup."""
    _console().print(visible(text), markup=False, emoji=False)


def complain(text: str) -> None:
    """Print a line on standard error."""
    _console(stderr=True).print(visible(text), markup=False, emoji=False)


def words(judgement: Judgement) -> str:
    """Verdict, utility and the reason on one line."""
    return f"{VERDICT_WORDS[judgement.verdict]}, utility {judgement.utility}. {judgement.sentence}"


def verdicts(run: Run, policy: Policy | None = None) -> None:
    """The ladder of every candidate."""
    from rich.table import Table
    from rich.text import Text

    policy = policy or load_policy()
    table = Table(title=Text(visible(run.name)), title_justify="left")
    for column in ("candidate", *KNOWLEDGE, "utility", "verdict", "why"):
        table.add_column(column, no_wrap=column != "why")
    for name in run.candidates:
        judgement = judge(policy, run.findings(name))
        rungs = [_rung(judgement.rungs[place]) for place in KNOWLEDGE]
        cells = (name, *rungs, str(judgement.utility), VERDICT_WORDS[judgement.verdict], judgement.sentence)
        table.add_row(*map(Text, cells))
    _console().print(table)
    if not run.complete:
        say("This run is not complete: what is missing counts as not examined.")


def findings(run: Run) -> None:
    """Every finding of every candidate, with its interval or the reason why there is none."""
    from rich.table import Table
    from rich.text import Text

    for name in run.candidates:
        table = Table(title=Text(name), title_justify="left")
        for column in ("evidence", "place", "status", "residual", "original", "candidate", "null", "n", "reason"):
            table.add_column(column, overflow="fold")
        for finding in run.findings(name):
            table.add_row(*map(Text, _row(finding)))
        _console().print(table)


def compared(told: Mapping[str, Any]) -> None:
    """Runs beside each other, and what changed between two."""
    _records("Compared", [_one_line(row) for row in told["candidates"]])
    say(told["sentence"])
    if "changes" in told:
        moved = [row for row in told["changes"]["findings"] if row["change"] not in ("intervals overlap", "unchanged")]
        shown = ("candidate", "evidence", "before", "after", "difference", "change", "conditions")
        _records("Changed findings", [{key: row[key] for key in shown} for row in moved])
        _records("What the runs do not share", told["changes"]["conditions"])
        say(told["changes"]["sentence"])


def _one_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the leaderboard for a terminal: each interval behind its number."""
    shown = {key: value for key, value in row.items() if key != "method" and not key.endswith(" interval")}
    for key, value in shown.items():
        if interval := row.get(f"{key} interval"):
            shown[key] = f"{value:.2f} ({interval})"
    return shown | {"run": Path(shown["run"]).name, "seconds": round(shown["seconds"])}


def _records(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v) for v in row.values())
        table.add_row(*map(Text, cells))
    _console().print(table)


def methods() -> None:
    """The catalogue as a table."""
    from rich.table import Table

    from audit.views.systems import models as system_models
    from audit.views.systems import table as system_table

    table = Table(show_lines=True)
    for column in ("id", "place", "asks", "cannot see", "source"):
        table.add_column(column, overflow="fold")
    for id in CATALOGUE:
        cls = evidence_class(id)
        table.add_row(id, cls.place, cls.question, cls.blind_to, cls.source)
    _console().print(table)
    kinds = Table(title="Kinds of system that a candidate may be", title_justify="left", show_lines=True)
    found = system_table()
    for column in found.columns:
        kinds.add_column(column, overflow="fold")
    for row in [*found.itertuples(index=False), *system_models().itertuples(index=False)]:
        kinds.add_row(*row)
    _console().print(kinds)


def frame(table: pd.DataFrame, title: str) -> None:
    """A table of texts and numbers; no text of it is read as markup."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left")
    for column in table.columns:
        drawn.add_column(Text(str(column)), overflow="fold")
    for row in table.astype(object).where(table.notna(), None).itertuples(index=False):
        drawn.add_row(*(Text(_cell(value)) for value in row))
    _console().print(drawn)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _rung(rung: Rung) -> str:
    mark = {"found": "!", "clear": "-", "unclear": "?", "unexamined": "n/a"}[rung.state]
    return f"{mark} {residual_text(rung.residual)}" if rung.residual else mark


def residual_text(residual: Residual | None) -> str:
    """A residual with its interval, as shares of what the original held."""
    return "" if residual is None else f"{residual.value:.2f} ({residual.low:.2f} to {residual.high:.2f})"


def _row(finding: Finding) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    original, candidate = finding.original, finding.candidate
    return [
        finding.id,
        finding.place,
        str(finding.status).replace("_", " "),
        residual_text(finding.residual),
        number(original.value if original else None),
        number(candidate.value if candidate else None),
        f"{number(candidate.null)} ({finding.null})" if candidate else "",
        str(candidate.n) if candidate else "",
        finding.note
        if finding.status is Status.IMPORTED
        else finding.reason
        if finding.status is not Status.MEASURED
        else "",
    ]


@contextmanager
def bar() -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error that takes a fraction and a message."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=_console(stderr=True)) as display:
        task = display.add_task("", total=1.0)
        yield lambda fraction, message: display.update(task, completed=fraction, description=message)


@contextmanager
def following() -> Iterator[Callable[[Progress], None]]:
    """A progress bar that follows a run."""
    with bar() as update:
        yield lambda progress: update(progress.fraction, f"{progress.subject} {progress.evidence} {progress.message}")


def reviews(found: Reviews) -> None:
    """How far a review is, every entry, and which signatures hold."""
    say(found.sentence)
    for fault in found.faults:
        complain(f"Line {fault.line} of the ledger {fault.what}.")
    for entry in found.entries:
        about = " ".join(part for part in (entry.candidate or "whole audit", entry.evidence, entry.decision) if part)
        say(f"{entry.sequence}. {entry.time[:19]} {entry.author} ({entry.role}), {entry.kind}, {about}: {entry.text}")
    for mark, _, sentence, _ in found.signed:
        say(f"{mark} {sentence}")
