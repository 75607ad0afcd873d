"""The index of runs: always what the folders say, whatever it held before."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from audit.policy import judge, load_policy
from audit.review import database, index
from audit.store import Run
from audit.types import Status
from tests.test_store import finding, new_run


def test_a_list_says_what_the_folders_say_and_reads_them_once(run: Run, kept_in: str, monkeypatch: Any) -> None:
    root, policy = run.path.parent, load_policy()
    new_run(root / "begun")
    (root / "bad").mkdir()
    (root / "bad" / "case.json").write_text("{")
    listed = {one.folder: one for one in index.runs(root)}
    assert set(listed) == {"people", "begun"}
    assert (listed["people"].complete, listed["begun"].complete) == (True, False)
    judgement = judge(policy, run.findings("npo"))
    assert listed["people"].candidates == [
        {"name": "npo", "verdict": str(judgement.verdict), "utility": str(judgement.utility)}
    ]
    monkeypatch.setattr(index, "_facts", lambda path, policy: pytest.fail("read again") if path.name != "bad" else None)
    assert {one.folder: one for one in index.runs(root)} == listed


def test_what_changed_in_a_folder_is_read_again(run: Run, kept_in: str) -> None:
    root = run.path.parent
    before = index.runs(root)[0].candidates[0]["verdict"]
    run.put("npo", finding("behaviour.recall", Status.FAILED))
    after = index.runs(root)[0].candidates[0]["verdict"]
    assert after == str(judge(load_policy(), run.findings("npo")).verdict) != before
    (run.path / "manifest.json").unlink()
    assert not index.runs(root)[0].complete
    shutil.rmtree(run.path)
    new_run(root / "other")
    assert [one.folder for one in index.runs(root)] == ["other"]
    with database.reading(kept_in) as connection:
        assert connection is not None
        from sqlalchemy import text

        assert list(connection.execute(text("SELECT folder FROM runs")).scalars()) == ["other"]


def test_an_index_that_was_altered_or_lost_changes_nothing(run: Run, kept_in: str) -> None:
    from sqlalchemy import text

    right = index.runs(run.path.parent)
    for statement in ("DELETE FROM runs", "UPDATE runs SET stamp = 'x', facts = '{}'", "UPDATE runs SET facts = '{'"):
        with database.writing(kept_in) as connection:
            connection.execute(text(statement))
        assert index.runs(run.path.parent) == right


def test_without_a_database_the_folders_are_read(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv(database.VARIABLE, "postgresql://nobody:secret@127.0.0.1:1/none")
    assert [one.folder for one in index.runs(run.path.parent)] == ["people"]


def test_a_database_that_cannot_be_reached_is_one_sentence_without_its_password(run: Run, monkeypatch: Any) -> None:
    from audit.errors import StoreError
    from audit.review import ledger

    monkeypatch.setenv(database.VARIABLE, "postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(StoreError, match="could not be read or written") as found:
        ledger.read(run)
    assert "secret" not in str(found.value)
    monkeypatch.setenv(database.VARIABLE, "mysql://x/y")
    with pytest.raises(StoreError, match="of the kind mysql; expected sqlite or postgresql"):
        ledger.read(run)
    monkeypatch.setenv(database.VARIABLE, "no url")
    with pytest.raises(StoreError, match="not the URL of a database"):
        ledger.read(run)


def test_the_newest_revision_is_the_last_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == database.REVISION
