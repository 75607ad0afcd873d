"""Results of other tools as one table: what the file says, the same recomputed, and how far apart they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from audit._casepaths import below
from audit.catalogue import evidence_class
from audit.errors import AuditError, CaseError
from audit.interop.cards import READABLE as READABLE
from audit.interop.cards import not_results
from audit.store import Run
from audit.types import Finding, Status

COLUMNS = ["candidate", "metric", "direction", "in the file", "recomputed", "difference", "n", "low", "high", "note"]
MEANING = {
    "candidate": "The model that the results are about",
    "metric": "The tool and its name of the number",
    "direction": "What a high or a low value means",
    "in the file": "The number that the file holds; empty where it holds none",
    "recomputed": "The same number from the file's per-item values; empty where it holds none",
    "difference": "Recomputed minus in the file",
    "n": "Entities behind the recomputed number: authors where they are known, else items",
    "low": "Lower end of the 95 % interval, bootstrap over entities",
    "high": "Upper end of the 95 % interval, bootstrap over entities",
    "note": "Gaps, differences and how it was computed",
}
Findings = Mapping[str, Mapping[str, Finding]]


def scoreboard(findings: Findings) -> pd.DataFrame:
    """Every imported number of the chosen candidates, columns COLUMNS; what holds none has its reason as note."""
    parts = []
    for name, found in findings.items():
        for id, finding in found.items():
            if not finding.provenance.get("imported"):
                continue
            table = finding.table
            tool = evidence_class(id).title.split(":")[0]
            if "in_file" in table:
                shown = table.rename(columns={"in_file": "in the file"}).assign(candidate=name)
                parts.append(shown.assign(metric=tool + ": " + shown["metric"].astype(str)))
            elif "value" in table:
                parts.append(_curve(table, f"{tool}: ", id, name))
    columns = pd.DataFrame(columns=COLUMNS)
    return pd.concat(parts, ignore_index=True)[COLUMNS].reset_index(drop=True) if parts else columns


def _curve(table: pd.DataFrame, tool: str, id: str, name: str) -> pd.DataFrame:
    """A curve along an attack, one line for each step."""
    direction = getattr(evidence_class(id), "direction", "")
    steps = table["metric"].astype(str) + ", step " + table["step"].astype(str)
    lines = {"candidate": name, "metric": tool + steps, "direction": direction, "in the file": table["value"],
             "note": table["note"]}  # fmt: skip
    return pd.DataFrame(lines).reindex(columns=COLUMNS)


def differing(table: pd.DataFrame) -> pd.DataFrame:
    """The lines in which a file's number is not that of its own items."""
    return table[table["note"].astype(str).str.startswith("Differs:")]


def in_a_sentence(findings: Findings) -> str:
    """What was imported, and whether the files agree with themselves."""
    table = scoreboard(findings)
    compared, differ = int(table["difference"].notna().sum()), len(differing(table))
    gaps = sum(finding.status is not Status.IMPORTED for found in findings.values() for finding in found.values())
    agree = "all agree" if differ == 0 else f"{differ} differ from what their own items give"
    start = f"{len(table)} imported numbers; {compared} could be recomputed from the items in the files and {agree}."
    return f"{start} {gaps} metrics hold no number." if gaps else start


def sources(run: Run) -> pd.DataFrame:
    """The files that an imported run was made from, and what was left out with the reason or the number."""
    told = run.plan.get("imported", {})
    rows = [(f["path"], f["tool"], f["kind"], f["candidate"], f["sha256"]) for f in told.get("files", [])]
    rows += [(f["path"], "", f"left out: {f['reason']}", "", "") for f in told.get("left_out", [])]
    if unknown := not_results(int(told.get("not_results", 0))):
        rows.append(("", "", unknown, "", ""))
    return pd.DataFrame(rows, columns=["file", "tool", "kind", "candidate", "sha256"])


def chosen_paths(text: str, root: Path) -> tuple[list[Path], list[str]]:
    """The paths of a field, one a line, each below a root; and one sentence for each that is not."""
    paths: list[Path] = []
    wrong: list[str] = []
    for typed in [line.strip() for line in re.split(r"[\n;]", text) if line.strip()]:
        try:
            path = below(root, root, typed, "The results")
            if not path.exists():
                raise CaseError(f"There is nothing at {path}; expected a results file or a folder that holds some.")
            paths.append(path)
        except AuditError as error:
            wrong.append(str(error))
    return paths, wrong


def run_import(paths: Sequence[Path], folder: Path, references: Sequence[Path] = (), name: str = "") -> list[str]:
    """Import into a new run folder; what was left out, in words. Raises AuditError."""
    from audit.interop.importer import import_results

    _, found = import_results(paths, folder, references, name)
    return [*found.left_out.values(), *([not_results(found.unknown)] if found.unknown else [])]
