"""Reviews in what is handed on: report, JSON and bundle; whatever was altered in them is found offline, and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from audit.cli import main
from audit.policy import load_policy
from audit.report import export, summary
from audit.report.bundle import faults
from audit.report.page import page
from audit.review import ledger
from audit.review.roles import Identity, Role
from audit.store import Run
from tests.pages import synthetic
from tests.report.test_export import HOSTILE, rewritten

PAULA = Identity("paula@example.org", Role.APPROVER, "signed in at https://id.example.org as p1")
LINES = "run/reviews.jsonl"
IDS = ("behaviour.recall", "probes.linear")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of one candidate with two findings, a comment, a decision and a signature."""
    run, policy = Run(tmp_path / "runs" / "people"), load_policy()
    run.write_plan({**synthetic.plan(["hides"]), "evidence": list(IDS)})
    for id in IDS:
        run.put("hides", synthetic.found(id, "hides"))
    run.write_manifest({"failed": []})
    ledger.write(run, PAULA, "comment", policy, candidate="hides", evidence=IDS[1], text=HOSTILE[:2000])
    ledger.write(run, PAULA, "decision", policy, candidate="hides", evidence=IDS[1], decision="accept")
    ledger.write(run, PAULA, "signature", policy, candidate="hides", text="I read both findings.", decision="reject")
    return run


@pytest.fixture
def bundle(run: Run, tmp_path: Path) -> Path:
    return export(run, load_policy(), tmp_path / "people.zip")


def test_the_report_says_who_signed_what_and_whether_it_holds(run: Run) -> None:
    text = page(run, load_policy())
    section = text[text.index('<section id="reviews"') : text.index('<nav aria-label="Contents">')]
    assert "1 signature holds, 0 are void" in section
    assert "paula@example.org (approver" in section and "valid: what was signed is what is there" in section
    assert load_policy().digest[:12] in section
    assert "<img src=x" not in section and "&lt;img src=x onerror" in section
    run.put("hides", synthetic.found(IDS[1], "untouched"))
    text = page(run, load_policy())
    assert f"void: changed since: {IDS[1]}." in text
    assert "accepted, but it has changed since" in text


def test_the_summary_names_signatures_and_the_head_of_the_chain(run: Run) -> None:
    found = summary(run, load_policy())["reviews"]
    entries, _ = ledger.read(run)
    assert (found["entries"], found["head"], found["intact"]) == (3, entries[-1].hash, True)
    ((signature,), (decision,)) = found["signatures"], found["decisions"]
    assert (signature["author"], signature["decision"], signature["valid"], signature["changed"]) == (
        PAULA.author, "reject", True, [],
    )  # fmt: skip
    assert (decision["evidence"], decision["current"]) == (IDS[1], True)
    assert json.loads(json.dumps(found)) == found


def test_a_reviewed_bundle_and_its_run_are_intact(run: Run, bundle: Path) -> None:
    assert faults(bundle) == []
    assert faults(run.path) == []


@pytest.mark.parametrize("line", [1, 2, 3])
def test_an_altered_line_is_named(bundle: Path, tmp_path: Path, line: int) -> None:
    def flip(name: str, content: bytes) -> bytes:
        if name != LINES:
            return content
        parts = content.split(b"\n")
        parts[line - 1] = parts[line - 1].replace(b"paula", b"pavla")
        return b"\n".join(parts)

    found = faults(rewritten(bundle, tmp_path / "altered.zip", flip))
    assert {fault.file for fault in found} == {LINES}
    assert any(fault.what.startswith(f"line {line} was altered") for fault in found)


def whole(bundle: Path, out: Path, change: object) -> Path:
    """An altered bundle whose forger also wrote the digests anew."""
    import hashlib
    import zipfile

    changed = rewritten(bundle, out, change)
    with zipfile.ZipFile(changed) as file:
        digests = {n: hashlib.sha256(file.read(n)).hexdigest() for n in file.namelist() if n != "digests.json"}
    text = json.dumps({"schema": 1, "files": digests}).encode()
    return rewritten(changed, out.with_suffix(".2.zip"), lambda n, c: text if n == "digests.json" else c)


def test_a_line_that_was_removed_is_named_though_the_digests_were_written_anew(bundle: Path, tmp_path: Path) -> None:
    def without(line: int) -> object:
        def cut(name: str, content: bytes) -> bytes:
            lines = content.splitlines(keepends=True)
            return content if name != LINES else b"".join(lines[: line - 1] + lines[line:])

        return cut

    for line, what in ((1, "line 1 does not follow"), (2, "line 2 does not follow"), (3, "ends at line 2")):
        found = faults(whole(bundle, tmp_path / f"{line}.zip", without(line)))
        assert [(f.file, f.what.startswith(what)) for f in found] == [(LINES, True)], found


def test_a_finding_changed_with_every_digest_written_anew_still_voids_the_signature(run: Run, tmp_path: Path) -> None:
    run.put("hides", synthetic.found(IDS[1], "untouched"))
    run.write_manifest({"failed": []})
    forged = export(run, load_policy(), tmp_path / "forged.zip")
    for path, file in ((forged, LINES), (run.path, ledger.EXPORT)):
        ((fault),) = faults(path)
        assert fault.file == file
        assert f"line 3 holds a void signature by {PAULA.author}: changed since: {IDS[1]}" in fault.what
    ledger.write(run, PAULA, "signature", load_policy(), candidate="hides", text="I read it again.", decision="reject")
    assert faults(run.path) == []  # signed again: the older signature is void, and nothing is hidden


def test_a_bundle_taken_apart_verifies_where_it_lies(bundle: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(bundle, tmp_path / "apart")
    folder = tmp_path / "apart" / "run"
    assert faults(folder) == []
    lines = (folder / ledger.EXPORT).read_bytes()
    (folder / ledger.EXPORT).write_bytes(lines.replace(b'"accept"', b'"reject"', 1))
    assert [(fault.file, fault.what[:18]) for fault in faults(folder)] == [(ledger.EXPORT, "line 2 was altered")]


def test_review_on_the_command_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    main_exits(["review", str(run.path), "--comment", "From the [bold]terminal", "--candidate", "hides"], 0)
    assert "From the [bold]terminal" in capsys.readouterr().out
    main_exits(["review", str(run.path), "--sign", "I read all of it once more.", "--decision", "accept"], 0)
    assert ledger.read(run)[0][-1].how.startswith("not signed in")
    assert "valid: what was signed is what is there" in " ".join(capsys.readouterr().out.split())
    main_exits(["review", str(run.path), "--sign", "I read all of it once more."], 2)
    assert "no decision for a signature" in " ".join(capsys.readouterr().err.split())
    assert len(ledger.read(run)[0]) == 5


def main_exits(arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert int(stop.value.code or 0) == code
