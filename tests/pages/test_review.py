"""The page Review, and that the server refuses what a role may not, whatever the widgets offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from audit import jobs
from audit.review import ledger, roles
from audit.review.roles import Identity, Role
from audit.store import Run
from pages.shared import importing, watching
from tests.pages import synthetic
from tests.pages.conftest import Open, texts
from tests.pages.test_new_audit import fill

ID = "probes.linear"
SENTENCE = "I read the findings and the verdict."


def be(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    """Every request comes from somebody with this role."""
    person = Identity("x@example.org", role, "not signed in, test")
    monkeypatch.setattr(roles, "on_this_machine", lambda *arguments, **more: person)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "people")
    run.write_plan({**synthetic.plan(["hides"]), "evidence": [ID]})
    run.put("hides", synthetic.found(ID, "hides"))
    run.write_manifest({"failed": []})
    return run


def press(app: AppTest, kind: str) -> AppTest:
    """Write a comment, a decision or a signature on the page."""
    if kind == "signature":
        app.text_area(key="sign-text").set_value(SENTENCE)
        app.session_state["sign-decision"] = "reject"
        return app.button(key="sign").click().run()
    app.text_area(key=f"review-text-hides-{ID}").set_value("Why *so* <b>high</b>?")
    app.session_state[f"review-decision-hides-{ID}"] = "needs_work"
    return app.button(key=f"{'comment' if kind == 'comment' else 'decide'}-hides-{ID}").click().run()


def test_from_a_comment_to_a_signature_and_a_changed_finding_voids_it(open_page: Open, run: Run) -> None:
    where: dict[str, Any] = {"runs": run.path.parent, "run": "people", "of": "hides", "finding": ID}
    app = open_page("review", **where)
    assert "Nobody has reviewed or signed this audit." in texts(app)
    for kind in ("comment", "decision", "signature"):
        app = press(app, kind)
        assert not app.exception and not app.error
    entries, faults = ledger.read(run)
    assert faults == []
    assert [(e.kind, e.evidence, e.decision) for e in entries] == [
        ("comment", ID, ""), ("decision", ID, "needs_work"), ("signature", "", "reject"),
    ]  # fmt: skip
    assert entries[2].how.startswith("not signed in")
    assert "Why *so* <b>high</b>?" in texts(app)
    assert "State: needs work." in texts(app)
    assert "1 signature holds, 0 are void" in texts(app)
    path = run.path / "findings" / "hides" / f"{ID}.json"
    path.write_text(path.read_text().replace('"seconds"', '"seconds" '))
    app = open_page("review", **where)
    assert f"void: changed since: {ID}" in texts(app)
    assert "State: needs work, but it has changed since." in texts(app)


@pytest.mark.parametrize(("role", "allowed"), [(Role.VIEWER, 0), (Role.AUDITOR, 1)])
def test_what_is_forbidden_is_refused_though_the_button_is_pressed(
    open_page: Open, run: Run, monkeypatch: pytest.MonkeyPatch, role: Role, allowed: int
) -> None:
    app = open_page("review", runs=run.path.parent, run="people", of="hides", finding=ID)
    for place, kind in enumerate(("comment", "decision", "signature")):
        be(monkeypatch, role)  # the page that was drawn offers everything, as a forged message would
        app = press(app, kind)
        assert not app.exception
        assert len(ledger.read(run)[0]) == min(place + 1, allowed)
        assert bool(app.error) == (place >= allowed)
        if place >= allowed:
            assert "that needs the role" in app.error[0].value
        buttons = (f"comment-hides-{ID}", f"decide-hides-{ID}", "sign")
        assert [app.button(key=key).disabled for key in buttons].count(False) == allowed
        be(monkeypatch, Role.APPROVER)
        app.run()


def test_a_viewer_starts_resumes_cancels_and_imports_nothing(
    open_page: Open, tiny_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", lambda *arguments, **more: pytest.fail("started"))
    monkeypatch.setattr(jobs, "cancel", lambda *arguments: pytest.fail("cancelled"))
    monkeypatch.setattr("audit.views.imported.run_import", lambda *arguments: pytest.fail("imported"))
    monkeypatch.setenv("PALIMPSEST_ROOT", str(tiny_lab))
    app = fill(open_page("new_audit", runs=tmp_path / "runs"))
    be(monkeypatch, Role.VIEWER)
    app.button(key="new-run-audit").click().run()
    assert "start or stop runs" in app.error[0].value
    assert app.button(key="new-run-audit").disabled
    assert not (tmp_path / "runs" / "ten-people").exists()
    for write in (
        lambda: watching._attempt(jobs.start, tmp_path, tmp_path),
        lambda: watching._attempt(jobs.cancel, tmp_path),  # the functions themselves, without a widget
        lambda: importing._import([tmp_path / "x.json"], []),
    ):
        st.session_state.pop("refused", None)
        write()
        assert "needs the role auditor or approver" in st.session_state["refused"]


def test_an_altered_ledger_is_named_on_top(open_page: Open, run: Run) -> None:
    where: dict[str, Any] = {"runs": run.path.parent, "run": "people", "of": "hides", "finding": ID}
    press(open_page("review", **where), "comment")
    (run.path / ledger.EXPORT).write_bytes(ledger.raw(run).replace(b"high", b"low!"))
    (run.path.parent / "palimpsest.db").unlink()
    app = open_page("review", **where)
    assert "The ledger was altered: line 1" in app.error[0].value
