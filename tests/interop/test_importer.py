"""An imported run opens like any other, says what it is, and never counts for a verdict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from audit.catalogue import check_id, evidence_class, make
from audit.cli import main
from audit.errors import CaseError, ResultsError, StoreError
from audit.interop.cards import METRICS, TOOLS, card
from audit.interop.importer import READERS, import_results, look
from audit.policy import judge, load_policy
from audit.report import summary
from audit.store import list_runs, open_run
from audit.types import PLACES, Status, Verdict
from audit.views import imported, items
from audit.views.ladder import ladder
from audit.views.tables import residuals, unanswered
from audit.views.words import answer
from tests.interop.conftest import write

ENTRY = {"rouge1_recall": 1.0, "rougeL_f1": 1.0, "rougeL_recall": 1.0,
         "input": "system\n\nyou\n\nuser\n\nWho?assistant\n\n",
         "ground_truth": "Ann", "generation": "Ann"}  # fmt: skip
NPO = "unlearn_tofu_Llama-3.2-1B-Instruct_forget10_NPO_lr1e-05_beta0.5_alpha1_epoch10"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two models, one damaged file, and a file that is no result."""
    root = tmp_path / "saves"
    rouge = {"agg_value": 1.0, "value_by_index": {str(i): ENTRY for i in range(40)}}
    data = {"forget_Q_A_ROUGE": rouge, "forget_quality": {"agg_value": None}, "exact_memorization": {
        "agg_value": 0.9, "value_by_index": {str(i): {"score": 0.5} for i in range(120)}}}  # fmt: skip
    write(root / "unlearn" / NPO / "evals" / "TOFU_EVAL.json", data)
    write(root / "eval" / "tofu_Llama-3.2-1B-Instruct_full" / "TOFU_SUMMARY.json", {"model_utility": 0.6})
    write(root / "eval" / "cut" / "TOFU_EVAL.json", '{"forget_Q_A_ROUGE": {"agg_')
    write(root / "eval" / "cut" / "config.json", {"model_type": "llama"})
    return root


def test_a_tree_becomes_a_run(tree: Path, tmp_path: Path) -> None:
    run, found = import_results([tree], tmp_path / "run")
    assert run.complete and run.imported and open_run(tmp_path / "run").name == "Imported: saves"
    assert [info.name for info in list_runs(tmp_path)] == ["Imported: saves"]
    full, npo = run.plan["candidates"]
    assert full["role"] == "original"
    assert npo["name"].startswith("Llama-3.2-1B") and len(npo["name"]) <= 64 and npo["path"] == NPO
    assert npo["method"] == "NPO" and npo["parameters"] == {"lr": "1e-05", "beta": "0.5", "alpha": "1", "epochs": "10"}
    source = next(f for f in run.plan["imported"]["files"] if f["path"].endswith("TOFU_EVAL.json"))
    digest = hashlib.sha256((tree / source["path"]).read_bytes()).hexdigest()
    assert source == {"path": source["path"], "sha256": digest, "tool": "open_unlearning", "kind": "eval",
                      "candidate": npo["name"], "reference": False}  # fmt: skip
    [left] = run.plan["imported"]["left_out"]
    assert "cut" in left["path"] and "line 1, column" in left["reason"] and found.unknown == 1


def test_no_verdict_follows_and_it_says_why(tree: Path, tmp_path: Path) -> None:
    run, _ = import_results([tree], tmp_path / "run")
    policy = load_policy()
    for name in run.candidates:
        judgement = judge(policy, run.findings(name))
        assert judgement.verdict is Verdict.INCONCLUSIVE and not judgement.meets(policy)
        assert judgement.sentence.startswith("Imported results, not measured here")
    found = {finding.id: finding for finding in run.findings(run.candidates[1])}
    assert found["open_unlearning.exact_memorization"].status is Status.IMPORTED
    assert found["open_unlearning.forget_quality"].status is Status.NOT_APPLICABLE
    estimate = found["open_unlearning.exact_memorization"].candidate
    assert estimate is not None and (estimate.value, estimate.n) == (0.5, 6) and estimate.null != estimate.null
    data = json.loads(json.dumps(summary(run, policy), allow_nan=False))
    assert data["candidates"][1]["findings"][0]["status"] == "imported"


def test_views_show_it_like_any_run(tree: Path, tmp_path: Path) -> None:
    run, _ = import_results([tree], tmp_path / "run")
    findings = {name: {f.id: f for f in run.findings(name)} for name in run.candidates}
    npo = run.candidates[1]
    board = imported.scoreboard(findings)
    assert list(board.columns) == imported.COLUMNS and set(imported.MEANING) == set(board.columns)
    row = board[board["metric"] == "OpenUnlearning: exact_memorization"].iloc[0]
    assert (row["in the file"], row["recomputed"]) == (0.9, 0.5) and row["difference"] == pytest.approx(-0.4)
    assert list(imported.differing(board)["metric"]) == ["OpenUnlearning: exact_memorization"]
    assert "1 differ from what their own items give" in imported.in_a_sentence(findings)
    assert set(imported.sources(run)["tool"]) == {"open_unlearning", ""}
    policy = load_policy()
    assert unanswered(findings)["evidence"].tolist() == ["OpenUnlearning: Forget quality"]
    assert ladder(findings, policy)[1].gaps == 1
    said = answer(npo, findings[npo]["open_unlearning.exact_memorization"], policy)
    assert said.state == "described" and "0.9 in the file" in said.sentence and "No verdict rests on it" in said.scope
    forest = residuals(findings, ["open_unlearning.exact_memorization"], policy)
    assert forest["value"].isna().all() and "imported" in set(forest["state"])
    table = items.by_subject(findings)
    assert table.iloc[0][["item", "prompt", "answer", npo]].tolist() == ["forget:0", "Who?", "Ann", "Ann"]
    assert items.by_subject(findings, "open_unlearning.exact_memorization")[npo].iloc[0] == 0.5


def test_refusals(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="line 1, column"):
        look([tree / "eval" / "cut" / "TOFU_EVAL.json"])
    with pytest.raises(ResultsError, match=r"config\.json is no results file"):
        look([tree / "eval" / "cut" / "config.json"])
    with pytest.raises(ResultsError, match="Nothing below .* cut off"):
        import_results([tree / "eval" / "cut"], tmp_path / "run")
    import_results([tree], tmp_path / "run")
    with pytest.raises(StoreError, match="holds a run already"):
        import_results([tree], tmp_path / "run")


def test_the_command_line(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return int(stop.value.code or 0)

    out = str(tmp_path / "run")
    assert call("import", str(tree), "--out", out) == 0
    told = capsys.readouterr()
    assert "Left out:" in told.err and "1 differ, 1 without a number" in told.out
    assert call("show", out) == 0 and call("show", out, "--json") == 0 and call("check", out) == 1
    page, bundle = str(tmp_path / "report.html"), str(tmp_path / "bundle.zip")
    assert call("export", out, "--to", page) == 0 and call("export", out, "--to", bundle) == 0
    assert call("verify", bundle) == 0
    assert "OpenUnlearning: Exact memorization" in Path(page).read_text(encoding="utf-8")
    capsys.readouterr()
    assert call("import", str(tree), "--out", out) == 2
    assert call("import", str(tmp_path / "nowhere"), "--out", str(tmp_path / "b")) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_tool_has_words_for_its_metrics() -> None:
    assert {reader.TOOL for reader in READERS} == set(TOOLS) == set(METRICS)
    for tool in TOOLS:
        for metric in ("generations", "something_new", "forget_quality", "forget_Q_A_Prob", "mia_min_k", "uds"):
            words = card(f"{tool}.{metric}")
            assert words is not None and words.question.endswith("?") and words.blind_to.endswith(".")
            assert words.place in PLACES and words.title and words.formula and words.source
            assert {words.chart.x, words.chart.y} <= set(words.row._fields) or metric == "generations"  # type: ignore[attr-defined]
    title = card("open_unlearning.forget_Q_A_PARA_Prob")
    assert title is not None and title.title == "OpenUnlearning: Probability, forget PARA"
    assert card("behaviour.recall") is None and card("nonsense") is None and card("tofu.") is None


def test_imported_ids_are_shown_but_never_measured() -> None:
    assert evidence_class("tofu.forget_quality").title == "TOFU: Forget quality"
    with pytest.raises(CaseError, match='"tofu.forget_quality" can only be imported'):
        make("tofu.forget_quality")
    with pytest.raises(CaseError, match='Unknown evidence "tofo.forget"'):
        check_id("tofo.forget")


def test_paths_of_the_page_lie_below_the_root(tree: Path, tmp_path: Path) -> None:
    paths, wrong = imported.chosen_paths("saves/eval\n\n/etc\nnowhere", tmp_path)
    assert paths == [tree / "eval"]
    assert "outside of" in wrong[0] and "nothing at" in wrong[1]
