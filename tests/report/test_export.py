"""A run handed on: one HTML page, JSON, and a bundle in which every altered byte is found."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.cli import main
from audit.errors import CaseError, MissingDependency, StoreError
from audit.policy import load_policy
from audit.report import export
from audit.report.bundle import faults
from audit.report.page import _subjects
from audit.store import Run
from tests.pages.synthetic import build

HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script> [a](javascript:alert(3)) {{ 7*7 }} \u202eright to left "
    + "\U0001f600" * 3 + " </script> " + "long" * 2500
)  # fmt: skip
PAIR = ("hides", "like-retrained")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(tmp_path_factory.mktemp("run") / "run", PAIR, prompt=HOSTILE)


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, load_policy(), tmp_path_factory.mktemp("bundle") / "run.zip")


@pytest.fixture(scope="module")
def text(bundle: Path) -> str:
    """The page as the bundle holds it: drawn once for all tests here."""
    with zipfile.ZipFile(bundle) as file:
        return file.read("report.html").decode()


FEW = ("behaviour.recall", "utility.retain", "probes.linear", "drift.map", "attacks.relearn")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one candidate and five kinds of evidence, one for each place and a map."""
    return build(tmp_path_factory.mktemp("small") / "run", PAIR[:1], prompt=HOSTILE, only=FEW)


def test_the_page_says_the_verdicts_first_and_what_it_was_blind_to(text: str) -> None:
    head = text[text.index("<main>") : text.index('<nav aria-label="Contents">')]
    assert all(name in head for name in PAIR)
    assert "What this audit is blind to" in head
    assert not re.search(r"\b(deleted|compliant)\b", head, re.IGNORECASE)


def test_the_page_asks_for_nothing_outside_itself(text: str) -> None:
    ours = text[: text.index("<script>/**") if "<script>/**" in text else text.rindex("</footer>")]
    assert "default-src 'none'" in ours
    assert not re.search(r"""(src|href)\s*=\s*["']https?:""", ours)


def test_hostile_text_is_shown_and_never_read(text: str) -> None:
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "{{ 7*7 }}" in text  # as it stands: the template reads none of it
    assert "&lt;img src=x onerror" in text
    assert "javascript:alert" not in re.sub(r"\[a\]\(javascript:alert\(3\)\)", "", text)


def test_the_figures_inside_are_json(text: str) -> None:
    parts = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert len(parts) > 20
    for part in parts:
        figure = json.loads(part)
        assert figure["data"]
        assert all(trace["type"] != "scattergl" for trace in figure["data"])


def test_a_picture_says_in_words_what_every_candidate_s_answer_is(text: str) -> None:
    (label,) = re.findall(r'<section id="behaviour.recall".*?role="img" aria-label="(.*?)"', text, re.DOTALL)
    assert all(f"{name}: " in label or f"{name} still" in label for name in PAIR)


def test_the_second_reference_is_among_the_subjects(run: Run) -> None:
    plan = {**run.plan, "second_reference": {"name": "second reference", "path": "models/again", "fingerprint": "f"}}
    given: Any = SimpleNamespace(plan=plan)
    roles = [row[0] for row in _subjects(given)["rows"]]
    assert roles == ["original", "reference", "second reference", "candidate", "candidate"]
    assert "second reference" not in [row[0] for row in _subjects(run)["rows"]]


def test_json_holds_every_finding_with_its_rows(small: Run, tmp_path: Path) -> None:
    run = small
    data = json.loads(export(run, load_policy(), tmp_path / "run.json").read_text())
    assert data["case"]["name"] == run.name
    assert {finding["id"] for finding in data["candidates"][0]["findings"]} >= set(FEW)
    for candidate in data["candidates"]:
        for finding in candidate["findings"]:
            stored = run.finding(candidate["name"], finding["id"])
            assert stored is not None
            assert len(finding["table"]["data"]) == len(stored.table)


def test_an_unknown_ending_is_one_sentence(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"\.html, \.pdf, \.json, \.zip"):
        export(run, load_policy(), tmp_path / "report.docx")


def test_a_pdf_without_a_browser_says_what_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="Chromium"):
        export(run, load_policy(), tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def test_a_bundle_is_intact_and_the_same_bytes_each_time(run: Run, small: Run, bundle: Path, tmp_path: Path) -> None:
    assert faults(bundle) == []
    once, again = (export(small, load_policy(), tmp_path / name).read_bytes() for name in ("once.zip", "again.zip"))
    assert once == again
    assert faults(run.path) == []


def rewritten(bundle: Path, out: Path, change: Any) -> Path:
    """The same bundle with `change(name, content)` applied to every member; None leaves a member out."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out


FINDING = "run/findings/hides/probes.linear.json"


@pytest.mark.parametrize(
    "name", [FINDING, "run/findings/hides/probes.linear.parquet", "run/case.json", "run/manifest.json",
             "policy.toml", "summary.json", "report.html"],
)  # fmt: skip
def test_one_altered_byte_is_found_and_located(bundle: Path, tmp_path: Path, name: str) -> None:
    def flip(member: str, content: bytes) -> bytes:
        middle = len(content) // 2
        return content if member != name else content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    found = faults(rewritten(bundle, tmp_path / "altered.zip", flip))
    assert [fault.file for fault in found if fault.file == name] == [name]
    assert {fault.file for fault in found} == {name}


def test_a_missing_and_an_added_file_are_found(bundle: Path, tmp_path: Path) -> None:
    gone = faults(rewritten(bundle, tmp_path / "gone.zip", lambda n, c: None if n == FINDING else c))
    assert [(fault.file, fault.what) for fault in gone] == [(FINDING, "is missing")]
    more = rewritten(bundle, tmp_path / "more.zip", lambda n, c: c)
    with zipfile.ZipFile(more, "a") as file:
        file.writestr("run/findings/hides/drift.new.json", "{}")
    assert [fault.file for fault in faults(more)] == ["run/findings/hides/drift.new.json"]


def test_a_finding_changed_before_the_bundle_was_made_is_seen_too(tmp_path: Path) -> None:
    run = build(tmp_path / "run", PAIR[:1], only=FEW)
    path = run.path / "findings" / "hides" / "probes.linear.json"
    path.write_text(path.read_text().replace('"probes.linear"', '"probes.linear" '))
    assert [fault.file for fault in faults(run.path)] == ["findings/hides/probes.linear.json"]
    late = export(run, load_policy(), tmp_path / "late.zip")
    assert [fault.file for fault in faults(late)] == ["run/findings/hides/probes.linear.json"]


def test_what_is_no_bundle_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(StoreError, match="neither a bundle nor a run folder"):
        faults(tmp_path / "text.zip")
    with pytest.raises(StoreError, match="no file"):
        faults(tmp_path / "absent.zip")


def test_verify_has_three_answers(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(path: Path) -> int:
        with pytest.raises(SystemExit) as stop:
            main(["verify", str(path)])
        return int(stop.value.code or 0)

    assert call(bundle) == 0
    assert call(rewritten(bundle, tmp_path / "a.zip", lambda n, c: c + b" " if n == FINDING else c)) == 1
    assert FINDING in capsys.readouterr().err
    assert call(tmp_path / "absent.zip") == 2
