"""Run or resume an audit: every candidate, every evidence, one finding after the other."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit import __version__
from audit.activations.eyes import PLACE
from audit.catalogue import CATALOGUE, by_default, check_id, evidence_class, files_of, make, settings_of
from audit.collect import without_number
from audit.drawings import FILE as DRAWINGS
from audit.drawings import write_drawings
from audit.errors import AuditError, Cancelled, SubjectError
from audit.files import digest_of_file, digest_of_folder
from audit.measuring import Measurer, Step, Work, provenance
from audit.progress import CANCEL, Progress, Reporter
from audit.store import Run
from audit.subjects.modality import modality_of, readable
from audit.thumbnails import write_thumbnails
from audit.types import Case, Evidence, Finding, Modality, Status, SubjectSpec, digest_of
from audit.workers import measured, workers_for

if TYPE_CHECKING:
    from audit.casefile import AuditPlan

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
    workers: int = 1,
    listen: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Audit every candidate of a plan into a run folder, taking over what is there already.

    With several workers, that many processes measure side by side; 0 chooses by models and machine. Raises CaseError
    and SubjectError for what stops the whole audit, Cancelled when the user asked to stop, StoreError when another
    process writes the folder or the disk is full. Findings that were finished stay in every case.
    """
    from audit.subjects.checks import check_subject
    from audit.subjects.load import resolve_device

    device = resolve_device(device)
    check_subject(plan.original)
    evidence = {id: make(id, plan.settings.get(id)) for id in chosen_ids(plan, only)}
    work = Work(plan.cases(), evidence, device)
    run = Run(out)
    with run.hold():
        total = sum(e.cost for e in evidence.values()) * len(work.cases)
        reporter = Reporter(out, total, str(plan.path), listen)
        try:
            outcome = Outcome(run)
            run.write_plan(describe(plan, evidence, device))
            write_thumbnails(out, plan.corpora)
            run.log("started", device=device, candidates=len(work.cases), evidence=list(evidence))
            steps = _steps(work, reporter, outcome)
            number = workers_for(workers, plan, device, len(steps))
            with closing(measured(work, steps, number, reporter)) as found:
                for step, finding in found:
                    _keep(work.name(step), finding, outcome)
            if outcome.computed or not (out / DRAWINGS).is_file():
                write_drawings(out, Measurer(work).benches(), evidence.values())
            run.write_manifest({"finished": _now(), "failed": outcome.failed})
            run.log("finished", computed=outcome.computed, kept=outcome.kept, failed=outcome.failed)
            reporter.finish("done")
            return outcome
        except (Cancelled, KeyboardInterrupt) as error:
            reporter.finish("cancelled", str(error) or "Cancelled.")
            raise
        except AuditError as error:
            reporter.finish("failed", str(error))
            raise
        except Exception as error:
            reporter.finish("failed", f"Unexpected {type(error).__name__}: {error}")
            raise
        finally:
            (out / CANCEL).unlink(missing_ok=True)  # only now: a request may come before the run has begun


def chosen_ids(plan: AuditPlan, only: Sequence[str] | None) -> list[str]:
    """The evidence to collect, in the order of the catalogue; CaseError with a suggestion for an unknown id.

    Unless it is asked for, what cannot be put to such subjects at all (texts, images) is left out.
    """
    asked = list(only or plan.only or ())
    for id in asked:
        check_id(id)
    if asked:
        return [id for id in CATALOGUE if id in asked]
    modality = modality_of(plan.original)
    return [id for id in by_default() if readable(evidence_class(id), modality)]


def describe(plan: AuditPlan, evidence: dict[str, Evidence], device: str) -> dict[str, Any]:
    """What `case.json` records: everything that a reader needs to know what was audited.

    Paths below the case file's folder are given from there, so that a folder can be moved or shipped as a whole.
    """
    base = plan.path.parent
    return {
        "name": plan.name,
        "seed": plan.seed,
        "template": plan.template,
        **({"image": PLACE} if modality_of(plan.original) is Modality.IMAGE_TEXT else {}),
        "device": device,
        "started": _now(),
        "case_file": plan.path.name,
        "original": _subject(plan.original, base),
        "reference": _subject(plan.reference, base) if plan.reference else None,
        **({"second_reference": _subject(plan.second_reference, base)} if plan.second_reference else {}),
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
        "settings": {id: _settings(e, base) for id, e in evidence.items()},
        "warnings": [warning.replace(f"{base}/", "") for warning in plan.warnings],
        "versions": {"palimpsest": __version__, "python": platform.python_version(), **_versions()},
    }


def _from(base: Path, path: str) -> str:
    """A path as seen from a folder, when it lies below it."""
    return str(Path(path).relative_to(base)) if Path(path).is_relative_to(base) else path


def _settings(evidence: Evidence, base: Path) -> dict[str, Any]:
    values = settings_of(evidence)
    return values | {name: _from(base, values[name]) for name in files_of(evidence) if values[name]}


def _steps(work: Work, reporter: Reporter, outcome: Outcome) -> list[Step]:
    """What is left to measure, by candidate; what is there already is taken over, a broken candidate fails.

    A finding of another model, corpus or setting is taken away before anything is measured: it must not be judged
    together with the new ones, however the run ends.
    """
    steps = []
    for number, case in enumerate(work.cases):
        name, problem = case.candidate.name, _problem(case)
        identity = None if problem else _identity(case)
        for id in CATALOGUE:
            question, stored = work.evidence.get(id), outcome.run.measured_on(name, id)
            if question is None:
                if stored is not None and stored.get("identity") != _digest(identity):
                    outcome.run.drop(name, id)
                continue
            more = [] if problem else _more(case, id, question)
            key = digest_of(["finding", __version__, id, settings_of(question), identity, *more])
            step = Step(number, id, key, _digest(identity))
            if stored is not None and stored.get("key") != key:
                outcome.run.drop(name, id)
            if problem is None and (stored is None or stored.get("key") != key):
                steps.append(step)
                continue
            reporter.begin(id, name, question.cost)
            if problem is None:
                outcome.kept += 1
            else:
                _keep(
                    name, without_number(id, question, Status.FAILED, problem, provenance(step, work.device)), outcome
                )
            reporter.end(skipped=True)
    return steps


def _digest(identity: Mapping[str, Any] | None) -> str:
    return digest_of(["identity", identity])


def _keep(name: str, finding: Finding, outcome: Outcome) -> None:
    """Store a finding and say so in the log; one whose rows no file can hold fails, and no other with it."""
    try:
        outcome.run.put(name, finding)
    except (ValueError, TypeError) as error:
        reason = f"What was measured cannot be stored: {error}"[:500]
        outcome.run.drop(name, finding.id)
        finding = replace(
            finding, status=Status.FAILED, reason=reason, table=finding.table.iloc[:0], items=finding.items.iloc[:0],
            original=None, candidate=None, reference=None, residual=None,
        )  # fmt: skip
        outcome.run.put(name, finding)
    outcome.run.log(
        "finding",
        candidate=name,
        id=finding.id,
        status=finding.status,
        seconds=round(finding.seconds, 2),
        reason=finding.reason,
        traceback=finding.provenance.get("traceback", ""),
    )
    outcome.computed += 1
    if finding.status is Status.FAILED:
        outcome.failed.append(f"{name}: {finding.id}: {finding.reason}")


def _problem(case: Case) -> str | None:
    """Why this candidate cannot be audited, or None; a broken original or reference stops the audit instead."""
    from audit.subjects.checks import check_pair

    for control in (case.reference, case.second_reference):
        if control is not None:
            check_pair(control, case.original)
    try:
        check_pair(case.candidate, case.original)
    except SubjectError as error:
        return str(error)
    return None


def _identity(case: Case) -> dict[str, Any]:
    """Everything that every finding of this case depends on."""
    from audit.subjects.fingerprint import fingerprint

    return {
        "subjects": {role: fingerprint(case.subject(role)).id for role in case.roles},
        "corpora": {split: corpus.digest for split, corpus in case.corpora.items()},
        "template": case.template,
        "dictionaries": [digest_of_folder(d.path) or [d.release, d.id] for d in case.dictionaries],
        "seed": case.seed,
    }


def _more(case: Case, id: str, question: Evidence) -> list[str]:
    """What only some findings depend on: drift on the second reference, others on what is in a file that they name."""
    from audit.subjects.fingerprint import fingerprint

    second = case.second_reference if id.startswith("drift.") else None
    files = [str(path) for name in files_of(question) if (path := getattr(question, name))]
    return [*([fingerprint(second).id] if second else []), *(digest_of_file(path) for path in files)]


def _subject(spec: SubjectSpec, base: Path) -> dict[str, Any]:
    from audit.subjects.fingerprint import fingerprint

    try:
        id = fingerprint(spec).id
    except SubjectError:
        if spec.role != "candidate":
            raise
        id = ""
    settings = {key: _from(base, value) if isinstance(value, str) else value for key, value in spec.settings.items()}
    place = {"series": spec.series, "step": spec.step} if spec.series else {}
    return {"name": spec.name, "path": _from(base, spec.path), "fingerprint": id, "settings": settings, **place}


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
