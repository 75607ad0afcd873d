"""The form of a new audit, the button that starts it, and the card that watches it; no model is run here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from audit import jobs
from audit.casefile import read_plan
from audit.progress import FILE, Progress
from tests.pages.conftest import Open, texts

FIELDS = {
    "original": "models/original",
    "reference": "models/reference",
    "forget": "forget.jsonl",
    "retain": "retain.jsonl",
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked to start, instead of starting it."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(jobs, "start", lambda case, out, only=None, device="auto": calls.append((case, out, device)))
    return calls


def fill(app: AppTest, candidate: str = "models/npo") -> AppTest:
    app.text_input(key="new-name").set_value("Ten people")
    for field, value in FIELDS.items():
        app.text_input(key=f"new-{field}").set_value(value)
    app.session_state["new-candidates-table"] = {
        "edited_rows": {}, "added_rows": [{"name": "npo", "path": candidate}], "deleted_rows": [],
    }  # fmt: skip
    return app.run()


def test_an_empty_form_accuses_nobody(open_page: Open) -> None:
    app = open_page("new_audit")
    assert not app.error
    assert "Fill in the fields" in texts(app)


def test_what_is_missing_is_said_field_by_field(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tmp_path))
    app = open_page("new_audit", runs=tmp_path / "runs")
    app.text_input(key="new-original").set_value("nowhere").run()
    said = " ".join(error.value for error in app.error)
    for words in (
        "has no name",
        "The original is not there",
        "There is no candidate",
        "forget corpus",
        "retain corpus",
    ):
        assert words in said
    assert not app.exception


def test_a_path_outside_the_root_is_refused(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tmp_path))
    app = open_page("new_audit", runs=tmp_path / "runs")
    app.segmented_control(key="new-how").set_value("From a case file").run()
    app.text_input(key="new-case-file").set_value("../../../../etc/passwd").run()
    assert not app.exception
    assert "outside" in app.error[0].value
    assert not [button for button in app.button if button.key == "new-run-audit"]


def test_a_good_form_starts_a_run_and_the_url_leads_to_it(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tiny_lab))
    app = fill(open_page("new_audit", runs=tmp_path / "runs"))
    assert not app.exception and not app.error
    assert "Will take" in texts(app)
    app.button(key="new-run-audit").click().run()
    assert not app.exception
    ((case, out, device),) = started
    assert (out, device) == (tmp_path / "runs" / "ten-people", "auto")
    plan = read_plan(case)
    assert plan.name == "Ten people"
    assert [candidate.path for candidate in plan.candidates] == [str((tiny_lab / "models/npo").resolve())]
    assert app.query_params["run"] == "ten-people"


def test_a_candidate_that_cannot_be_compared_is_named_before_the_run(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tmp_path))
    for part in ("models", "forget.jsonl", "retain.jsonl"):
        source = tiny_lab / part
        copied = tmp_path / part
        if source.is_dir():
            import shutil

            shutil.copytree(source, copied)
        else:
            copied.write_bytes(source.read_bytes())
    config = tmp_path / "models" / "npo" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden_size": 8}), encoding="utf-8")
    app = fill(open_page("new_audit", runs=tmp_path / "runs"))
    assert not app.exception
    assert any("npo" in error.value for error in app.error)


def test_a_system_s_settings_are_drawn_for_its_kind_and_reach_the_case_file(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tiny_lab))
    app = open_page("new_audit", runs=tmp_path / "runs")
    fill(app, "models/original")
    row = {"name": "npo", "path": "models/original", "kind": "logit_combination"}
    app.session_state["new-candidates-table"] = {"edited_rows": {}, "added_rows": [row], "deleted_rows": []}
    app.run()
    assert not app.exception
    assert any("without an assistant" in error.value for error in app.error)
    app.text_input(key="set-system-npo-logit_combination-assistant").set_value("models/nowhere").run()
    assert any("The assistant of npo is not there" in error.value for error in app.error)
    app.text_input(key="set-system-npo-logit_combination-assistant").set_value("../../etc").run()
    assert any("outside" in error.value for error in app.error)
    app.text_input(key="set-system-npo-logit_combination-assistant").set_value("models/npo")
    app.number_input(key="set-system-npo-logit_combination-weight").set_value(-0.8).run()
    assert not app.exception and not app.error
    assert "npo (a combination of logits on original)" in texts(app)
    app.button(key="new-run-audit").click().run()
    candidate = read_plan(started[0][0]).candidates[0]
    assistant = str((tiny_lab / "models/npo").resolve())
    assert candidate.settings == {"kind": "logit_combination", "assistant": assistant, "weight": -0.8}


def watched(folder: Path, **facts: Any) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(asdict(Progress(**facts))), encoding="utf-8")


def test_an_interrupted_run_can_be_resumed(open_page: Open, tmp_path: Path, started: list[tuple[Any, ...]]) -> None:
    watched(tmp_path / "runs" / "old", state="running", fraction=0.4, elapsed=200.0, pid=2**22, case="/lab/case.toml")
    app = open_page("new_audit", runs=tmp_path / "runs", run="old")
    assert not app.exception
    assert "old: interrupted after about 3 min" in texts(app)
    app.button(key="new-resume").click().run()
    assert started == [(Path("/lab/case.toml"), tmp_path / "runs" / "old", "auto")]


def test_a_failed_run_shows_its_sentence(open_page: Open, tmp_path: Path) -> None:
    watched(tmp_path / "runs" / "old", state="failed", error="The original is not there: looked for *x*.", case="c")
    app = open_page("new_audit", runs=tmp_path / "runs", run="old")
    assert not app.exception
    assert "The original is not there" in app.error[0].value
    assert "\\*x\\*" in app.error[0].value


def test_a_running_run_is_found_without_its_name_and_can_be_cancelled(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Progress("running", 0.25, "attacks.relearn", "npo", "step 3", 90.0, 30.0, pid=1, case="c")
    watched(tmp_path / "runs" / "live", **asdict(now))
    monkeypatch.setattr(jobs, "state", lambda out: now)
    app = open_page("new_audit", runs=tmp_path / "runs")
    assert not app.exception
    assert "live: running, 25\u202f% done, time left: about 2 min" in texts(app)
    assert "Relearning on npo: step 3" in texts(app)
    app.button(key="new-cancel").click().run()
    assert (tmp_path / "runs" / "live" / "cancel").exists()


def test_a_refusal_is_said(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.errors import StoreError

    def refuse(*arguments: Any, **more: Any) -> None:
        raise StoreError("Another process is writing it.")

    monkeypatch.setattr(jobs, "start", refuse)
    watched(tmp_path / "runs" / "old", state="cancelled", error="Cancelled.", case="c")
    app = open_page("new_audit", runs=tmp_path / "runs", run="old")
    app.button(key="new-resume").click().run()
    assert not app.exception
    assert any("Another process" in error.value for error in app.error)


def test_settings_are_drawn_from_the_dataclass_fields(open_page: Open) -> None:
    app = open_page("new_audit")
    app.multiselect(key="set-of").set_value(["attacks.relearn", "drift.map", "probes.mdl"]).run()
    assert not app.exception
    assert app.number_input(key="set-attacks.relearn-steps").value == 40
    assert app.text_input(key="set-attacks.relearn-checkpoints").value == "0, 5, 10, 20, 40"
    assert app.toggle(key="set-drift.map-umap").value is True
    app.number_input(key="set-attacks.relearn-seeds").set_value(1).run()
    assert not app.exception


def test_checkpoints_of_a_series_reach_the_case_file(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tiny_lab))
    app = fill(open_page("new_audit", runs=tmp_path / "runs"))
    rows: list[dict[str, Any]] = [
        {"name": "early", "path": "models/npo", "series": "npo", "step": 20},
        {"name": "late", "path": "models/rmu", "series": "npo"},
        {"name": "other", "path": "models/refusal"},
    ]

    def typed() -> None:
        app.session_state["new-candidates-table"] = {"edited_rows": {}, "added_rows": rows, "deleted_rows": []}
        app.run()
        assert not app.exception

    typed()
    assert len(app.error) == 1 and "has only one of series and step" in app.error[0].value
    rows[1]["step"] = 20
    typed()
    assert any("are both step 20" in error.value for error in app.error)
    rows[1]["step"] = 0
    typed()
    assert not app.error
    app.button(key="new-run-audit").click().run()
    found = {one.name: (one.series, one.step) for one in read_plan(started[0][0]).candidates}
    assert found == {"early": ("npo", 20), "late": ("npo", 0), "other": ("", 0)}


def test_a_case_file_is_uploaded_or_pasted(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[Any, ...]]
) -> None:
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tiny_lab))
    app = open_page("new_audit", runs=tmp_path / "runs", **{"new-how": "From a case file"})
    assert not app.error and any("A candidate with a kind is a system" in caption.value for caption in app.caption)
    text = (
        '[subjects.original]\npath = "models/original"\n[subjects.reference]\npath = "models/reference"\n'
        '[[subjects.candidates]]\nname = "uld"\npath = "models/original"\nkind = "logit_combination"\n'
        'assistant = "models/npo"\nweight = -0.8\n[corpora]\nforget = "forget.jsonl"\nretain = "retain.jsonl"\n'
        '[[dictionaries]]\npath = "saes/block-2"\n[evidence]\nonly = ["behaviour.recall"]\n'
    )
    for wrong, words in (
        ("name = ", "This is not valid TOML"),
        (text, "name"),
        (f'name = "Sent"\n{text}'.replace("models/npo", "models/nowhere"), "The assistant of uld is not there"),
        (f'name = "Sent"\n{text}'.replace("forget.jsonl", "../../etc/passwd"), "outside of"),
    ):
        app.text_area(key="new-case-text").set_value(wrong).run()
        assert not app.exception
        assert words in app.error[0].value and str(tmp_path) not in app.error[0].value
    app.text_area(key="new-case-text").set_value(f'name = "Sent"\n{text}').run()
    assert not app.exception and not app.error
    assert "uld (a combination of logits on original)" in texts(app)
    sent = f'name = "Sent by file"\n{text}'.replace("\n", "\r\n")
    app.file_uploader(key="new-case-upload").upload("case.toml", sent.encode(), "application/toml").run()
    assert not app.exception and not app.error
    app.button(key="new-run-audit").click().run()
    plan = read_plan(started[0][0])
    assert started[0][1] == tmp_path / "runs" / "sent-by-file" and plan.name == "Sent by file"
    assert plan.candidates[0].settings["assistant"] == str((tiny_lab / "models/npo").resolve())
    assert plan.dictionaries[0].path == str((tiny_lab / "saes/block-2").resolve()) and plan.only
