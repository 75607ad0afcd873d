"""`make demo`: build the lab that is shipped, audit it, and put both under assets/demo.

Everything is rebuilt from nothing, so that the demo never shows what this version of the code would not measure.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from audit.casefile import read_plan
from audit.lab import build
from audit.run import run_audit
from audit.terminal import bar, following, verdicts

DEMO = Path(__file__).parent.parent / "assets" / "demo"
NEEDLESS = ("progress.json", ".lock", "log.jsonl", "job.log")


def main() -> None:
    """Build, audit, and leave only what a reader needs."""
    with bar() as update:
        case = build("people", DEMO, scale="small", progress=update)
    run = DEMO / "run"
    with following() as listen:
        outcome = run_audit(read_plan(case), run, device="cpu", workers=0, listen=listen)
    for name in NEEDLESS:
        (run / name).unlink(missing_ok=True)
    for folder in DEMO.glob("models/*/checkpoint*"):
        shutil.rmtree(folder)
    verdicts(outcome.run)
    if outcome.failed:
        raise SystemExit("\n".join(outcome.failed))


if __name__ == "__main__":
    main()
