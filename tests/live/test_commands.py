"""`audit ask` and `audit attack` in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.cli import main
from audit.store import Run


@pytest.fixture
def run(tiny_lab: Path, tmp_path: Path) -> Path:
    Run(tmp_path / "run").write_plan({"name": "lab", "candidates": [], "evidence": [], "case_file": "case.toml"})
    (tmp_path / "run" / "progress.json").write_text(f'{{"state": "done", "case": "{tiny_lab / "case.toml"}"}}')
    return tmp_path / "run"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_ask_prints_a_row_for_each_model(run: Path, tiny_lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", str(run), "forget:0", "--candidate", "rmu", "--device", "cpu", "--length", "8"])
    assert ended.value.code == 0
    out = said(capsys)
    for words in ("original", "reference", "rmu", "true answer", "rank in the last block"):
        assert words in out
    assert "last-block" not in out


def test_ask_a_question_of_ones_own_and_markup_stays_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ask", str(run), "[red]Who?[/red]", "--candidate", "rmu", "--device", "cpu", "--length", "2"])
    out = said(capsys)
    assert "[red]Who?[/red]" in out
    assert "true answer" not in out


def test_misuse_is_a_sentence_and_exit_code_two(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["forget:99999"], ["Who?", "--candidate", "nobody"], ["Who?", "--length", "0"], [" "]):
        with pytest.raises(SystemExit) as ended:
            main(["ask", str(run), *given, "--device", "cpu"])
        assert ended.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


def test_attack_prints_the_curve_and_its_sentence(
    tiny_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--candidate", "rmu", "--out", str(tmp_path / "out"), "--steps", "2", "--facts", "3", "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main(["attack", str(tiny_lab / "case.toml"), *given])
    assert ended.value.code == 0
    out = said(capsys)
    assert "rmu under attack" in out and "After 2 steps rmu gives" in out
    with pytest.raises(SystemExit) as ended:
        main(["attack", str(tiny_lab / "case.toml"), "--candidate", "nobody", "--out", str(tmp_path / "other")])
    assert ended.value.code == 2


def test_ask_with_the_guard_off_needs_a_guard(
    run: Path, tiny_lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", str(run), "forget:0", "--candidate", "rmu", "--guard-off", "--device", "cpu"])
    assert ended.value.code == 2 and "no guard that could be turned off" in " ".join(capsys.readouterr().err.split())
    entry = f'[[subjects.candidates]]\nname = "told"\npath = "{tiny_lab / "models" / "original"}"\n'
    text = (tiny_lab / "case.toml").read_text().replace('"models/', f'"{tiny_lab}/models/')
    for name in ("forget", "retain", "holdout"):
        text = text.replace(f'"{name}.jsonl"', f'"{tiny_lab / name}.jsonl"')
    case = tmp_path / "case.toml"
    begin, end = text.index("[[subjects.candidates]]"), text.index("[corpora]")
    corpora = text[end:].split("[[dictionaries]]")[0]
    case.write_text(f'{text[:begin]}{entry}kind = "prompt_guard"\nprefix = "Say nothing of it. "\n{corpora}')
    (run / "progress.json").write_text(f'{{"state": "done", "case": "{case}"}}')
    with pytest.raises(SystemExit) as ended:
        main(["ask", str(run), "forget:0", "--guard-off", "--device", "cpu", "--length", "4"])
    assert ended.value.code == 0 and "(guard off)" in said(capsys)
