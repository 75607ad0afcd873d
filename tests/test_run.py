"""Run, resume, cancel and kill an audit of the tiny lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from audit import jobs
from audit.casefile import read_plan
from audit.errors import Cancelled, CaseError, StoreError, SubjectError
from audit.progress import CANCEL
from audit.run import run_audit
from audit.store import open_run
from audit.types import Status

ROOT = Path(__file__).parent.parent
QUICK = ["behaviour.recall", "behaviour.probability", "utility.retain"]


def case_with(tiny_lab: Path, tmp_path: Path, *candidates: str) -> Path:
    """A case file that names only some of the lab's candidates."""
    text = (tiny_lab / "case.toml").read_text()
    head, *blocks = text.split("[[subjects.candidates]]")
    last, _, tail = blocks[-1].partition("[corpora]")
    blocks[-1] = last
    kept = [block for block in blocks if any(f'name = "{name}"' in block for name in candidates)]
    text = head + "".join("[[subjects.candidates]]" + block for block in kept) + "[corpora]" + tail
    text = text.replace('path = "', f'path = "{tiny_lab}/')
    for split in ("forget", "retain", "holdout"):
        text = text.replace(f'"{split}.jsonl"', f'"{tiny_lab / (split + ".jsonl")}"')
    path = tmp_path / "case.toml"
    path.write_text(text)
    return path


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_resumes_without_repeating(tiny_lab: Path, tmp_path: Path) -> None:
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block"))
    out = tmp_path / "run"
    first = run_audit(plan, out, only=QUICK[:2], device="cpu")
    assert (first.computed, first.kept) == (2, 0)
    second = run_audit(plan, out, only=QUICK, device="cpu")
    assert (second.computed, second.kept) == (1, 2)
    run = open_run(out)
    assert run.complete
    assert [f.id for f in run.findings("last-block")] == QUICK
    assert all(f.status is Status.MEASURED for f in run.findings("last-block"))


def test_another_setting_is_measured_anew(tiny_lab: Path, tmp_path: Path) -> None:
    path = case_with(tiny_lab, tmp_path, "last-block")
    out = tmp_path / "run"
    run_audit(read_plan(path), out, only=QUICK[:1], device="cpu")
    path.write_text(path.read_text() + '\n[evidence."behaviour.recall"]\nmetric = "contains"\n')
    assert run_audit(read_plan(path), out, only=QUICK[:1], device="cpu").computed == 1


def test_cancel_keeps_what_was_finished(tiny_lab: Path, tmp_path: Path) -> None:
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block", "npo"))
    out = tmp_path / "run"

    def listen(progress: Any) -> None:
        if progress.subject == "npo":
            (out / CANCEL).touch()

    with pytest.raises(Cancelled):
        run_audit(plan, out, only=QUICK, device="cpu", listen=listen)
    assert jobs.state(out).state == "cancelled"
    assert not open_run(out).complete
    assert len(open_run(out).findings("last-block")) == 3
    again = run_audit(plan, out, only=QUICK, device="cpu")
    assert again.kept >= 3
    assert jobs.state(out).state == "done"


def test_a_killed_run_loses_and_repeats_nothing(tiny_lab: Path, tmp_path: Path) -> None:
    case = case_with(tiny_lab, tmp_path, "last-block", "npo", "rmu")
    out = tmp_path / "run"
    environment = {**os.environ, "PALIMPSEST_CACHE": str(tmp_path / "views")}
    command = [sys.executable, "-m", "audit", "run", str(case), "--out", str(out), "--device", "cpu"]
    command += [part for id in QUICK for part in ("--only", id)]
    victim = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("findings/*/*.json"))) < 2:
        assert time.monotonic() < deadline, "the run did not get going"
        assert victim.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    finished = {path: path.read_bytes() for path in out.glob("findings/*/*.json")}
    assert jobs.state(out).state == "interrupted"
    assert not (out / "manifest.json").exists()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = [(e["candidate"], e["id"]) for e in events(out) if e["event"] == "finding"]
    assert len(measured) == len(set(measured)) == 9
    assert {path: path.read_bytes() for path in finished} == finished
    assert open_run(out).complete


def test_side_by_side_finds_what_one_by_one_finds(tiny_lab: Path, tmp_path: Path) -> None:
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block", "npo"))
    asked = [*QUICK, "probes.linear"]
    alone = run_audit(plan, tmp_path / "alone", only=asked, device="cpu").run
    both = run_audit(plan, tmp_path / "both", only=asked, device="cpu", workers=2)
    assert both.computed == 8
    for name in ("last-block", "npo"):
        for one, other in zip(alone.findings(name), both.run.findings(name), strict=True):
            assert (one.id, one.residual, one.candidate) == (other.id, other.residual, other.candidate)
    assert jobs.state(tmp_path / "both").state == "done"


def test_a_process_that_dies_fails_its_step_and_no_other(
    tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.evidence.utility.retain import Retain

    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block"))
    # A process killed by the system, as for memory, says nothing more. What is sent to it is the instance.
    monkeypatch.setattr(Retain, "__reduce__", lambda self: (Deadly, ()), raising=False)
    outcome = run_audit(plan, tmp_path / "run", only=QUICK, device="cpu", workers=2)
    statuses = {finding.id: finding.status for finding in outcome.run.findings("last-block")}
    assert statuses == {**dict.fromkeys(QUICK, Status.MEASURED), "utility.retain": Status.FAILED}
    assert "ended with code -9" in outcome.failed[0]


class Deadly:
    """Stands in for an evidence in the other process, and kills it when asked."""

    place, cost, needs = "utility", 0.1, frozenset()

    def measure(self, bench: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_cancel_reaches_the_other_processes(tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "views"))  # nothing is known yet: there is work to stop
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block"))
    out = tmp_path / "run"

    def listen(progress: Any) -> None:
        if progress.message:
            (out / CANCEL).touch()

    with pytest.raises(Cancelled):
        run_audit(plan, out, only=QUICK, device="cpu", workers=2, listen=listen)
    assert not multiprocessing.active_children()
    assert jobs.state(out).state == "cancelled"


def test_small_models_share_the_cores_and_large_ones_take_them_all(
    tiny_lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit import workers

    plan = read_plan(tiny_lab / "case.toml")
    monkeypatch.setattr(workers, "cores", lambda: 4)
    monkeypatch.setattr("audit.subjects.memory.available_memory", lambda device: 100 * workers.OWN_BYTES)
    assert workers.workers_for(0, plan, "cpu", 100) == 4
    assert workers.workers_for(0, plan, "cuda", 100) == workers.workers_for(0, plan, "cpu", 3) == 1
    assert workers.workers_for(3, plan, "cuda", 100) == 3
    monkeypatch.setattr("audit.subjects.memory.available_memory", lambda device: 2.5 * workers.OWN_BYTES)
    assert workers.workers_for(0, plan, "cpu", 100) == 2  # tiny models: two processes fit, three do not
    monkeypatch.setattr(workers, "SMALL", 1)
    assert workers.workers_for(0, plan, "cpu", 100) == 1


def test_what_was_measured_on_another_model_is_taken_away(tiny_lab: Path, tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(tiny_lab / "models" / "npo", model)
    path = case_with(tiny_lab, tmp_path, "npo")
    path.write_text(path.read_text().replace(str(tiny_lab / "models" / "npo"), str(model)))
    run_audit(read_plan(path), tmp_path / "run", only=QUICK[:2], device="cpu")
    shutil.rmtree(model)
    shutil.copytree(tiny_lab / "models" / "rmu", model)  # trained again, in the same place
    outcome = run_audit(read_plan(path), tmp_path / "run", only=QUICK[:1], device="cpu")
    assert [finding.id for finding in outcome.run.findings("npo")] == QUICK[:1]
    assert (outcome.computed, outcome.kept) == (1, 0)


def test_rows_that_no_file_can_hold_fail_alone(tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.evidence.utility.retain import Retain
    from audit.types import Reading

    measure = Retain.measure

    def mixed(self: Retain, bench: Any) -> Reading:
        reading = measure(self, bench)
        first = type(reading.rows[0])
        rows = [first._make([{1}, *row[1:]] if k else [3, *row[1:]]) for k, row in enumerate(reading.rows)]
        return Reading(rows, reading.panel)

    monkeypatch.setattr(Retain, "measure", mixed)
    plan = read_plan(case_with(tiny_lab, tmp_path, "npo"))
    outcome = run_audit(plan, tmp_path / "run", only=QUICK, device="cpu")
    statuses = {finding.id: finding.status for finding in outcome.run.findings("npo")}
    assert statuses == {**dict.fromkeys(QUICK, Status.MEASURED), "utility.retain": Status.FAILED}
    assert "cannot be stored" in outcome.failed[0]


def test_two_runs_at_once_are_told_apart(tiny_lab: Path, tmp_path: Path) -> None:
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block"))
    out = tmp_path / "run"
    with open_hold(out), pytest.raises(StoreError, match="Another process"):
        run_audit(plan, out, only=QUICK[:1], device="cpu")


def open_hold(out: Path) -> Any:
    from audit.store import Run

    return Run(out).hold()


def test_an_unknown_id_is_suggested(tiny_lab: Path, tmp_path: Path) -> None:
    plan = read_plan(case_with(tiny_lab, tmp_path, "last-block"))
    with pytest.raises(CaseError, match='Did you mean "drift.cka"'):
        run_audit(plan, tmp_path / "run", only=["drift.cca"], device="cpu")


def test_a_broken_candidate_stops_itself_only(tiny_lab: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_lab / "models" / "npo", broken)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    path = case_with(tiny_lab, tmp_path, "last-block", "npo")
    path.write_text(path.read_text().replace(str(tiny_lab / "models" / "npo"), str(broken)))
    outcome = run_audit(read_plan(path), tmp_path / "run", only=QUICK[:1], device="cpu")
    run = open_run(tmp_path / "run")
    assert [f.status for f in run.findings("last-block")] == [Status.MEASURED]
    assert [f.status for f in run.findings("npo")] == [Status.FAILED]
    assert len(outcome.failed) == 1
    assert "npo" in outcome.failed[0]


def test_a_second_reference_is_measured_by_drift_alone_and_checked_first(tiny_lab: Path, tmp_path: Path) -> None:
    path, only = case_with(tiny_lab, tmp_path, "last-block"), ["behaviour.recall", "drift.neighbours"]
    run_audit(read_plan(path), tmp_path / "run", only=only, device="cpu")
    assert "second_reference" not in json.loads((tmp_path / "run" / "case.json").read_text())
    plain, folder = path.read_text(), tiny_lab / "models" / "retrained"
    path.write_text(f'{plain}\n[subjects.second_reference]\npath = "{folder}"\n')
    outcome = run_audit(read_plan(path), tmp_path / "run", only=only, device="cpu")
    assert (outcome.computed, outcome.kept) == (1, 1)
    assert json.loads((tmp_path / "run" / "case.json").read_text())["second_reference"]["fingerprint"]
    said, drift = open_run(tmp_path / "run").findings("last-block")
    assert "second reference" not in set(said.table["subject"])
    assert "second reference" in set(drift.table["subject"])
    assert run_audit(read_plan(path), tmp_path / "run", only=only, device="cpu").kept == 2
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    path.write_text(f'{plain}\n[subjects.second_reference]\npath = "{broken}"\n')
    with pytest.raises(SubjectError, match="broken.* is truncated"):
        run_audit(read_plan(path), tmp_path / "run", only=only, device="cpu")


def test_another_content_of_a_named_file_is_measured_anew(tiny_lab: Path, tmp_path: Path) -> None:
    path, file = case_with(tiny_lab, tmp_path, "last-block"), tmp_path / "concepts.json"
    path.write_text(path.read_text() + '\n[evidence."concepts.value_vectors"]\nfile = "concepts.json"\n')
    computed = []
    for dim in (1, 1, 2):
        file.write_text(json.dumps([{"Concept": "a", "Layer": 0, "Dim": dim}]))
        only = ["concepts.value_vectors"]
        computed.append(run_audit(read_plan(path), tmp_path / "run", only=only, device="cpu").computed)
    assert computed == [1, 0, 1]
    settings = json.loads((tmp_path / "run" / "case.json").read_text())["settings"]
    assert settings["concepts.value_vectors"]["file"] == "concepts.json"


def test_a_job_outlives_its_starter_and_can_be_cancelled(tiny_lab: Path, tmp_path: Path) -> None:
    case = case_with(tiny_lab, tmp_path, "last-block", "npo")
    out = tmp_path / "run"
    assert jobs.state(out).state == "none"
    jobs.start(case, out, only=["attacks.relearn"], device="cpu")
    assert jobs.state(out).state == "running"
    with pytest.raises(StoreError, match="already"):
        jobs.start(case, out)
    jobs.cancel(out)
    deadline = time.monotonic() + 120
    while jobs.state(out).state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert jobs.state(out).state == "cancelled"


def test_checkpoints_of_a_series_are_recorded_by_their_step(tiny_lab: Path, tmp_path: Path) -> None:
    case = case_with(tiny_lab, tmp_path, "untouched", "npo")
    text = case.read_text()
    text = text.replace('name = "npo"', 'name = "npo"\nseries = "npo"\nstep = 30')
    case.write_text(text.replace('name = "untouched"', 'name = "untouched"\nseries = "npo"\nstep = 0'))
    run = run_audit(read_plan(case), tmp_path / "run", only=["behaviour.recall"], device="cpu").run
    assert run.series == {"npo": {"untouched": 0, "npo": 30}}


@pytest.mark.parametrize(
    ("untouched", "npo", "complaint"),
    [
        ("", 'series = "npo"', "only one of series and step"),
        ('series = "npo"\nstep = 1', 'series = "npo"\nstep = 1', "both step 1 of the series"),
        ("", 'series = "npo"\nstep = -1', "step"),
    ],
)
def test_a_broken_series_is_one_sentence(
    tiny_lab: Path, tmp_path: Path, untouched: str, npo: str, complaint: str
) -> None:
    case = case_with(tiny_lab, tmp_path, "untouched", "npo")
    text = case.read_text().replace('name = "npo"', f'name = "npo"\n{npo}')
    case.write_text(text.replace('name = "untouched"', f'name = "untouched"\n{untouched}'))
    with pytest.raises(CaseError, match=complaint):
        read_plan(case)
