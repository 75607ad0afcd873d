"""One run into one file, whose ending says of which kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.errors import CaseError
from audit.files import write_atomically, write_text
from audit.policy import Policy
from audit.report.summary import summary
from audit.store import Run

FORMATS = (".html", ".pdf", ".json", ".zip")


def export(run: Run, policy: Policy, to: Path) -> Path:
    """Write the report of a run; raises CaseError for an ending that is none of FORMATS, StoreError for a full disk."""
    writers: dict[str, Callable[[Run, Policy, Path], None]] = {
        ".html": _html,
        ".pdf": _pdf,
        ".json": _json,
        ".zip": _zip,
    }
    write = writers.get(to.suffix.lower())
    if write is None:
        raise CaseError(f'"{to.name}" does not say what to write; expected a name that ends in {", ".join(FORMATS)}.')
    write(run, policy, to)
    return to


def as_json(run: Run, policy: Policy) -> dict[str, Any]:
    """`show --json` with everything that was audited and the rows of every table."""
    data = summary(run, policy)
    for candidate in data["candidates"]:
        for finding in candidate["findings"]:
            found = run.finding(candidate["name"], finding["id"])
            if found is not None:
                # Through pandas' own JSON, which turns what is missing into null.
                finding["table"] = json.loads(found.table.to_json(orient="split", index=False))
                finding["provenance"] = {k: v for k, v in found.provenance.items() if k != "traceback"}
    return {**data, "case": run.plan}


def _json(run: Run, policy: Policy, to: Path) -> None:
    write_text(to, json.dumps(as_json(run, policy), ensure_ascii=False, allow_nan=False))


def _html(run: Run, policy: Policy, to: Path) -> None:
    from audit.report.page import page

    write_text(to, page(run, policy))


def _pdf(run: Run, policy: Policy, to: Path) -> None:
    from audit.report.page import page
    from audit.report.pdf import browser, printed

    browser()  # whether there is one is said before the page is made, which takes a while
    content = printed(page(run, policy, printing=True))

    def write(path: Path) -> None:
        path.write_bytes(content)

    write_atomically(to, write)


def _zip(run: Run, policy: Policy, to: Path) -> None:
    from audit.report.bundle import write_bundle

    write_atomically(to, lambda path: write_bundle(run, policy, path))
