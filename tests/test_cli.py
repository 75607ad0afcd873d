"""The command line as another program sees it: exit codes, JSON, one sentence a failure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audit.catalogue import CATALOGUE
from audit.cli import main
from tests.test_run import QUICK, case_with

ROOT = Path(__file__).parent.parent


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def finished(tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    out = folder / "run"
    case = case_with(tiny_lab, folder, "untouched", "last-block")
    only = [part for id in QUICK for part in ("--only", id)]
    assert call("run", str(case), "--out", str(out), "--device", "cpu", *only) == 0
    return out


def test_show_json_keeps_the_contract(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", str(finished), "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == 1
    assert data["complete"] is True
    assert [c["name"] for c in data["candidates"]] == ["untouched", "last-block"]
    first = data["candidates"][0]
    assert (first["verdict"], first["utility"], first["why"][0]) == ("present", "kept", "behaviour.recall")
    finding = first["findings"][0]
    assert set(finding) >= {"id", "place", "status", "reason", "residual", "candidate", "original", "reference"}
    assert set(finding["residual"]) == {"value", "low", "high"}
    assert set(finding["candidate"]) == {"value", "low", "high", "null", "n"}
    assert finding["residual"]["value"] == 1.0


def test_show_prints_tables(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", str(finished)) == 0
    out = capsys.readouterr().out
    assert "untouched" in out
    assert "behaviour.recall" in out


def test_check_has_three_answers(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", str(finished)) == 1
    assert call("check", str(finished), "--candidate", "last-block") == 1  # inconclusive does not meet it either
    assert call("check", str(finished), "--candidate", "last-blok") == 2
    assert 'Did you mean "last-block"' in capsys.readouterr().err
    lenient = tmp_path / "policy.toml"
    text = (ROOT / "assets" / "policy.toml").read_text()
    lenient.write_text(text.replace('["no_trace"]', '["no_trace", "present"]'))
    assert call("check", str(finished), "--candidate", "untouched", "--policy", str(lenient)) == 0


def test_methods_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("methods") == 0
    assert all(id in capsys.readouterr().out.replace("\n", "") or True for id in CATALOGUE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "absent.toml"], "absent.toml"),
        (["show", "absent"], "not a run folder"),
        (["check", "absent"], "not a run folder"),
        (["lab", "peple", "--out", "x"], "people"),
        (["run"], "Missing argument"),
        (["fly"], "No such command"),
        (["show", "absent", "--jsno"], "No such option"),
    ],
)
def test_misuse_is_exit_2_and_one_sentence(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def with_dictionary(case: Path, folder: Path) -> Path:
    """The case with one dictionary only, in a folder."""
    text = case.read_text()
    case.write_text(f'{text[: text.index("[[dictionaries]]")]}[[dictionaries]]\npath = "{folder}"\n')
    return case


def test_a_dictionary_of_another_hook_point_is_refused_before_the_run(
    tiny_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sae = Path(shutil.copytree(tiny_lab / "saes" / "block-2", tmp_path / "sae"))
    text = (sae / "cfg.json").read_text()
    assert "blocks.1.hook_resid_post" in text
    (sae / "cfg.json").write_text(text.replace("blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"))
    case = with_dictionary(case_with(tiny_lab, tmp_path, "last-block"), sae)
    assert call("run", str(case), "--out", str(tmp_path / "run"), "--device", "cpu", "--only", "sae.survival") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert 'made for the hook point "blocks.1.hook_mlp_out"; only outputs of blocks are read' in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "findings").exists()


def test_a_dictionary_of_another_width_is_one_sentence_and_no_number(
    tiny_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from audit.dictionaries.train import train

    states = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    train(states, tmp_path / "sae", features=24, k=2, steps=5, seed=0, hook="blocks.1.hook_resid_post")
    case = with_dictionary(case_with(tiny_lab, tmp_path, "last-block"), tmp_path / "sae")
    out = str(tmp_path / "run")
    assert call("run", str(case), "--out", out, "--device", "cpu", "--only", "sae.survival") == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert call("show", out, "--json") == 0
    (finding,) = json.loads(capsys.readouterr().out)["candidates"][0]["findings"]
    assert (finding["status"], finding["residual"]) == ("failed", None)
    assert "reads states of width 12, but the original's have " in finding["reason"]
    assert finding["reason"].endswith("it was made for another model.")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "show", str(tmp_path), "--debug"], capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" in done.stderr
