"""Run or resume an audit: every candidate, every evidence, one finding after the other."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit import __version__
from audit.bench import Bench
from audit.cache import Cache
from audit.catalogue import CATALOGUE, by_default, evidence_class, make, settings_of
from audit.collect import collect, without_number
from audit.errors import AuditError, Cancelled, SubjectError
from audit.files import digest_of_folder
from audit.progress import CANCEL, Progress, Reporter
from audit.store import Run
from audit.types import Case, Evidence, Status, SubjectSpec, digest_of

if TYPE_CHECKING:
    from audit.casefile import AuditPlan
    from audit.subjects.garage import Garage

LIBRARIES = ("torch", "transformers", "umap-learn", "scikit-learn", "bitsandbytes", "peft", "sae-lens", "numpy")


@dataclass
class Outcome:
    """What a run did: how many findings it measured anew or took over, and which failed."""

    run: Run
    computed: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


def run_audit(
    plan: AuditPlan,
    out: Path,
    *,
    only: Sequence[str] | None = None,
    device: str = "auto",
    listen: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Audit every candidate of a plan into a run folder, taking over what is there already.

    Raises CaseError and SubjectError for what stops the whole audit, Cancelled when the user asked to stop, StoreError
    when another process writes the folder or the disk is full. Findings that were finished stay in every case.
    """
    from audit.subjects.checks import check_subject
    from audit.subjects.garage import Garage

    cases = plan.cases()
    check_subject(plan.original)
    evidence = {id: make(id, plan.settings.get(id)) for id in chosen_ids(plan, only)}
    run = Run(out)
    with run.hold():
        total = sum(e.cost for e in evidence.values()) * len(cases)
        reporter = Reporter(out, total, str(plan.path), listen)
        try:
            garage = Garage(device)
            outcome = Outcome(run)
            run.write_plan(describe(plan, evidence, garage.device))
            run.log("started", device=garage.device, candidates=len(cases), evidence=list(evidence))
            for case in cases:
                _audit_candidate(case, cases, evidence, garage, reporter, outcome)
            run.write_manifest({"finished": _now(), "failed": outcome.failed})
            run.log("finished", computed=outcome.computed, kept=outcome.kept, failed=outcome.failed)
            reporter.finish("done")
            return outcome
        except (Cancelled, KeyboardInterrupt) as error:
            reporter.finish("cancelled", str(error) or "Cancelled.")
            (out / CANCEL).unlink(missing_ok=True)  # only now: a request may come before the run has begun
            raise
        except AuditError as error:
            reporter.finish("failed", str(error))
            raise
        except Exception as error:
            reporter.finish("failed", f"Unexpected {type(error).__name__}: {error}")
            raise


def chosen_ids(plan: AuditPlan, only: Sequence[str] | None) -> list[str]:
    """The evidence to collect, in the order of the catalogue; CaseError with a suggestion for an unknown id."""
    wanted = list(only or plan.only or by_default())
    for id in wanted:
        evidence_class(id)
    return [id for id in CATALOGUE if id in wanted]


def describe(plan: AuditPlan, evidence: dict[str, Evidence], device: str) -> dict[str, Any]:
    """What `case.json` records: everything that a reader needs to know what was audited.

    Paths below the case file's folder are given from there, so that a folder can be moved or shipped as a whole.
    """
    base = plan.path.parent
    return {
        "name": plan.name,
        "seed": plan.seed,
        "template": plan.template,
        "device": device,
        "started": _now(),
        "case_file": plan.path.name,
        "original": _subject(plan.original, base),
        "reference": _subject(plan.reference, base) if plan.reference else None,
        "candidates": [_subject(candidate, base) for candidate in plan.candidates],
        "corpora": {
            split: {
                "source": _from(base, corpus.source),
                "digest": corpus.digest,
                "items": len(corpus),
                "entities": len(set(corpus.entities)),
            }
            for split, corpus in plan.corpora.items()
        },
        "dictionaries": [
            {"path": _from(base, d.path), "release": d.release, "id": d.id, "layer": d.layer} for d in plan.dictionaries
        ],
        "evidence": list(evidence),
        "settings": {id: settings_of(e) for id, e in evidence.items()},
        "warnings": [warning.replace(f"{base}/", "") for warning in plan.warnings],
        "versions": {"palimpsest": __version__, "python": platform.python_version(), **_versions()},
    }


def _from(base: Path, path: str) -> str:
    """A path as seen from a folder, when it lies below it."""
    return str(Path(path).relative_to(base)) if Path(path).is_relative_to(base) else path


def _audit_candidate(
    case: Case,
    cases: Sequence[Case],
    evidence: dict[str, Evidence],
    garage: Garage,
    reporter: Reporter,
    outcome: Outcome,
) -> None:
    name, run = case.candidate.name, outcome.run
    problem = _problem(case)
    bench = Bench(case, garage, Cache(), lambda share, message: reporter.step(share, message), cases)
    identity = None if problem else _identity(bench)
    for id, question in evidence.items():
        key = digest_of(["finding", __version__, id, settings_of(question), identity])
        reporter.begin(id, name, question.cost)
        if problem is None and run.key(name, id) == key:
            outcome.kept += 1
            reporter.end(skipped=True)
            continue
        provenance = {"key": key, "measured": _now(), "version": __version__, "device": garage.number_format}
        if problem:
            finding = without_number(id, question, Status.FAILED, problem, provenance)
        else:
            finding = collect(id, question, bench, provenance)
        run.put(name, finding)
        run.log(
            "finding",
            candidate=name,
            id=id,
            status=finding.status,
            seconds=round(finding.seconds, 2),
            reason=finding.reason,
            traceback=finding.provenance.get("traceback", ""),
        )
        outcome.computed += 1
        if finding.status is Status.FAILED:
            outcome.failed.append(f"{name}: {id}: {finding.reason}")
        reporter.end()


def _problem(case: Case) -> str | None:
    """Why this candidate cannot be audited, or None; a broken original or reference stops the audit instead."""
    from audit.subjects.checks import check_pair

    if case.reference is not None:
        check_pair(case.reference, case.original)
    try:
        check_pair(case.candidate, case.original)
    except SubjectError as error:
        return str(error)
    return None


def _identity(bench: Bench) -> dict[str, Any]:
    """Everything that every finding of this case depends on."""
    return {
        "subjects": {role: bench.fingerprint(role).id for role in bench.roles},
        "corpora": {split: corpus.digest for split, corpus in bench.case.corpora.items()},
        "template": bench.case.template,
        "dictionaries": [digest_of_folder(d.path) or [d.release, d.id] for d in bench.case.dictionaries],
        "seed": bench.seed,
    }


def _subject(spec: SubjectSpec, base: Path) -> dict[str, Any]:
    from audit.subjects.fingerprint import fingerprint

    try:
        id = fingerprint(spec).id
    except SubjectError:
        if spec.role != "candidate":
            raise
        id = ""
    return {"name": spec.name, "path": _from(base, spec.path), "fingerprint": id, "settings": dict(spec.settings)}


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
