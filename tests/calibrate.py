"""What `make calibrate` runs after the slow tests: lab truth against what is measured, three seeds, as Markdown tables.

The first compares verdicts with what is true by construction, the second shows every attack on the retrained model,
which never knew what is asked for: nothing can come back.

python -m tests.calibrate [--seeds 3] [--scale small] [--out runs/calibrate]
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from audit.policy import Judgement, judge, load_policy
from audit.store import Run


def agrees(truth: dict[str, Any], judgement: Judgement) -> bool:
    """Whether a judgement says what is true by construction; `truth` is one table of truth.toml."""
    verdict, utility = str(judgement.verdict), str(judgement.utility)
    return (
        verdict in truth.get("verdict", [verdict])
        and verdict not in truth.get("verdict_not", [])
        and utility in truth.get("utility", [utility])
    )


def expected(truth: dict[str, Any]) -> str:
    """The truth in words."""
    parts = []
    if "verdict" in truth:
        parts.append(" or ".join(truth["verdict"]))
    if "verdict_not" in truth:
        parts.append("never " + " or ".join(truth["verdict_not"]))
    if "utility" in truth:
        parts.append("utility " + " or ".join(truth["utility"]))
    return "; ".join(parts) or "nothing by construction"


def audited(folder: Path, seed: int, scale: str, *, reference: bool = True, device: str = "auto") -> Run:
    """Build (or take over) the lab of a seed; measure all that a verdict consults, with or without its reference."""
    from audit.casefile import read_plan
    from audit.lab import build
    from audit.run import run_audit
    from audit.terminal import bar, following

    lab = folder / f"lab-{scale}-{seed}"
    with bar() as update:
        case = build("people", lab, seed=seed, scale=scale, progress=update)
    if not reference:
        text = case.read_text()
        begin = text.index("[subjects.reference]")
        case = lab / "case-without-reference.toml"
        case.write_text(text[:begin] + text[text.index("[[subjects.candidates]]") :])
    out = folder / f"run-{scale}-{seed}{'' if reference else '-holdout'}"
    consulted = [id for rule in load_policy().rules.values() for id in rule.evidence]
    with following() as listen:
        return run_audit(read_plan(case), out, only=consulted, device=device, workers=0, listen=listen).run


def table(folder: Path, seeds: int, scale: str) -> str:
    """A Markdown table: one row a candidate, one column a seed and kind of null."""
    policy = load_policy()
    columns = [(seed, reference) for reference in (True, False) for seed in range(seeds)]
    runs = {column: audited(folder, column[0], scale, reference=column[1]) for column in columns}
    truth = tomllib.loads((folder / f"lab-{scale}-0" / "truth.toml").read_text())
    heads = [f"seed {seed}, {'reference' if reference else 'holdout'}" for seed, reference in columns]
    lines = [f"| candidate | true by construction | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 2)]
    wrong = 0
    for name in runs[columns[0]].candidates:
        cells = []
        for column in columns:
            judgement = judge(policy, runs[column].findings(name))
            right = agrees(truth.get(name, {}), judgement)
            wrong += not right
            mark = "" if right else " **(wrong)**"
            damage = ", damaged" if judgement.utility == "damaged" else ""
            cells.append(f"{judgement.verdict}{damage}{mark}".replace("_", " "))
        lines.append(f"| {name} | {expected(truth.get(name, {}))} | {' | '.join(cells)} |")
    known = sum(name in truth for name in runs[columns[0]].candidates) * len(columns)
    lines.append(f"\n{known - wrong} of {known} verdicts of which something is true by construction agree with it.")
    return "\n".join(lines)


def floors(folder: Path, seeds: int, scale: str, name: str = "retrained") -> str:
    """A Markdown table of every attack on a model that never knew: one row an attack, one column a seed."""
    from audit.casefile import read_plan
    from audit.catalogue import by_default, evidence_class
    from audit.run import run_audit
    from audit.terminal import following

    attacks = [id for id in by_default() if id.startswith("attacks.")]
    limit = load_policy().rules["recoverable"].limit
    runs = []
    for seed in range(seeds):
        plan = read_plan(folder / f"lab-{scale}-{seed}" / "case.toml")
        plan = dataclasses.replace(plan, candidates=tuple(c for c in plan.candidates if c.name == name))
        with following() as listen:
            out = folder / f"attacks-{scale}-{seed}"
            runs.append(run_audit(plan, out, only=attacks, workers=0, listen=listen).run)
    lines = [
        "| attack on the retrained model | " + " | ".join(f"seed {seed}" for seed in range(seeds)) + " |",
        "|" + "---|" * (seeds + 1),
    ]
    found = []
    for id in attacks:
        findings = [run.finding(name, id) for run in runs]
        residuals = [finding.residual if finding else None for finding in findings]
        found += [residual for residual in residuals if residual]
        cells = [
            f"{r.value:.0%} ({r.low:.0%} to {r.high:.0%})".replace("%", " %") if r
            else str(f.status if f else "missing").replace("_", " ")
            for r, f in zip(residuals, findings, strict=True)
        ]  # fmt: skip
        lines.append(f"| {evidence_class(id).title} | {' | '.join(cells)} |")
    at_zero, above = sum(r.low <= 0 for r in found), sum(r.low > limit for r in found)
    lines.append(
        f"\n{at_zero} of {len(found)} intervals reach 0; {above} lie whole above the limit of {limit:.0%}.".replace(
            "%", " %"
        )
    )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", default="small")
    parser.add_argument("--out", type=Path, default=Path("runs/calibrate"))
    options = parser.parse_args()
    print(table(options.out, options.seeds, options.scale), flush=True)
    print("\n" + floors(options.out, options.seeds, options.scale))
