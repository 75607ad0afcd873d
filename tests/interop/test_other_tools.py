"""leak@k, lm-eval, tamper curves, SAEBench. No real files are at hand: layouts as their code documents them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ResultsError
from audit.interop import leak_at_k, lm_eval, saebench, tamper
from audit.interop.cards import card
from audit.interop.result import ImportedRow
from tests.interop.conftest import convert, found, head, said, write


def lines(*records: dict[str, Any]) -> str:
    return "\n".join(json.dumps(record) for record in records) + "\n"


def sampled(*leaks: float | None, field: str = "ES") -> dict[str, Any]:
    return {"prompt": "q", "ground_truth": "a",
            "responses": [{"response": "r", "rougeL_recall": 0.5, field: leak} for leak in leaks]}  # fmt: skip


def test_leak_at_k_by_hand_from_json_lines_named_json(tmp_path: Path) -> None:
    # 1 of 4 and 0 of 4 leak: leak@1 = (1/4 + 0) / 2, leak@2 = (1 - C(3,2)/C(4,2)) / 2 = (1 - 3/6) / 2, leak@4 = 1/2
    folder = tmp_path / "NPO" / "forget" / "temperature=1.0top_p=1.0"
    path = write(folder / "generations_n200_evaluated.json", lines(sampled(1.0, 0, 0, 0), sampled(0, 0, 0, 0)))
    table = write(tmp_path / "model_evaluation_metrics.csv", "Model,Leak@1,Leak@2,Leak@8\nNPO,0.125,0.3,0.0\n")
    [result] = convert(leak_at_k, tmp_path, path, table)
    rows = {row[1]: ImportedRow(*row) for row in found(result, "leak_at_k.entailment").rows}
    assert [rows[f"leak@{k}"].recomputed for k in (1, 2, 4)] == pytest.approx([0.125, 0.25, 0.5])
    assert rows["leak@1"].difference == pytest.approx(0) and "Differs" in rows["leak@2"].note
    beyond = rows["leak@8"]
    assert math.isnan(beyond.recomputed) and math.isnan(beyond.in_file) and "the tool writes 0 there" in beyond.note


def test_a_response_without_a_judgement_is_a_gap(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "x.json", lines(sampled(1.0, 1.0), sampled(None, 0.0), {**sampled(), "responses": [
        {"response": "r"}]}))  # fmt: skip
    [result] = convert(leak_at_k, tmp_path, path)
    row = head(result, "leak_at_k.entailment")
    assert row.recomputed == 1.0 and "2 of 3 items hold no number (1: null, 2: null)" in row.note


def test_missing_in_the_table_is_a_gap_and_one_line_is_a_file_too(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "Model,Leak@1,Leak@2\nGA,Missing,Missing\n")
    [result] = convert(leak_at_k, tmp_path, table)
    assert "'Missing'" in found(result, "leak_at_k.entailment").gap
    path = write(tmp_path / "m" / "one.json", lines(sampled(1, 0, field="LLM_judge")))
    [result] = convert(leak_at_k, tmp_path, path)
    assert head(result, "leak_at_k.llm_judge").metric == "leak@2"


def test_responses_that_are_not_stored_and_what_stands_twice(tmp_path: Path) -> None:
    record = sampled(1.0, 0.0)
    record["responses"][1]["response"] = None
    path = write(tmp_path / "m" / "x.json", lines(record, {**record, "responses": []}, record))
    [result] = convert(leak_at_k, tmp_path, path)
    table = found(result, "leak_at_k.generations").table
    assert said(result) == ["[1] r", None] * 2
    assert set(table["item"]) == set(found(result, "leak_at_k.entailment").items["item"]) == {"forget:0", "forget:2"}
    with pytest.raises(ResultsError, match=r"x\.json and .*y\.json both hold ES"):
        convert(leak_at_k, tmp_path, path, write(tmp_path / "m" / "y.json", lines(record)))
    table_ = write(tmp_path / "t.csv", "Model,Leak@1\nGA,0.1\nGA,0.2\n")
    with pytest.raises(ResultsError, match="GA stands twice"):
        convert(leak_at_k, tmp_path, table_)


@pytest.mark.parametrize(
    ("id", "meaning", "place"),
    [
        ("wikitext.word_perplexity", "low: better kept", "utility"),
        ("wikitext.bits_per_byte", "low: better kept", "utility"),
        ("truthfulqa_gen.brier_score", "low: better kept", "utility"),
        ("wmt16.ter", "low: better kept", "utility"),
        ("wmt16.ter_strict", "low: better kept", "utility"),
        ("wmt16.terseness", "high: better kept", "utility"),
        ("mmlu.acc", "high: better kept", "utility"),
        ("wmdp_bio.word_perplexity", "low: still known", "said"),
        ("wmdp_bio.acc_norm", "high: still known", "said"),
    ],
)
def test_which_way_round_a_task_is(id: str, meaning: str, place: str) -> None:
    words = card(f"lm_eval.{id}")
    assert words is not None and (words.direction, words.place) == (meaning, place)


def test_the_file_says_itself_which_way_round_it_is(tmp_path: Path) -> None:
    data = task({"acc,none": 0.6, "odd_error,none": 0.2, "new,none": 0.1},
                higher_is_better={"wmdp_bio": {"acc": True, "odd_error": False, "new": None}})  # fmt: skip
    [result] = convert(lm_eval, tmp_path, write(tmp_path / "m" / "x.json", data))
    assert head(result, "lm_eval.wmdp_bio.acc").direction == "high: still known"
    assert head(result, "lm_eval.wmdp_bio.odd_error").direction == "low: still known"
    assert head(result, "lm_eval.wmdp_bio.new").direction == "high: still known"


def test_a_curve_of_stand_ins_alone_has_no_headline(tmp_path: Path) -> None:
    path = write(tmp_path / "lens" / "x.json", [{"step": s, "wmdp_bio_acc": 0.25} for s in (0, 5)])
    [result] = convert(tamper, tmp_path, path)
    curve = found(result, "tamper.wmdp_bio_acc")
    assert curve.gap.startswith("Exactly 0.25") and curve.table["value"].tolist() == [0.25, 0.25]


def task(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"results": {"wmdp_bio": values}, "configs": {}, "versions": {}, **more}


def sample(doc: int, acc: float, filter: str = "none") -> dict[str, Any]:
    return {
        "doc_id": doc,
        "target": 0,
        "resps": [],
        "filtered_resps": [],
        "filter": filter,
        "acc": acc,
        "doc_hash": "x",
    }


def test_lm_eval_is_recomputed_from_its_samples(tmp_path: Path) -> None:
    folder = tmp_path / "org__npo"
    results = write(folder / "results_2026-01-01T00-00-00.json",
                    task({"alias": "x", "acc,none": 0.6, "acc_stderr,none": 0.1}, model_name="org/npo"))  # fmt: skip
    samples = write(folder / "samples_wmdp_bio_2026-01-01T00-00-00.1.jsonl",
                    lines(sample(1, 1.0), sample(0, 0.0), sample(3, 1.0)))  # fmt: skip
    [result] = convert(lm_eval, tmp_path, results, samples)
    row = head(result, "lm_eval.wmdp_bio.acc")
    assert result.model == "org/npo" and row.recomputed == pytest.approx(2 / 3)
    assert row.note.startswith("Differs") and "1 of 4 indices are missing (2)" in row.note


def test_lm_eval_without_samples_has_the_files_own_interval(tmp_path: Path) -> None:
    data = task({"acc,none": 0.6, "acc_stderr,none": 0.1, "em,strict-match": "N/A"},
                **{"n-samples": {"wmdp_bio": {"original": 30, "effective": 25}}})  # fmt: skip
    [result] = convert(lm_eval, tmp_path, write(tmp_path / "m" / "x.json", data))
    metric = found(result, "lm_eval.wmdp_bio.acc")
    assert metric.estimate is not None and metric.estimate.n == 25
    assert metric.estimate.low == pytest.approx(0.6 - 0.196, abs=1e-4)
    assert found(result, "lm_eval.wmdp_bio.em_strict-match").gap


def test_a_sample_that_stands_twice_is_located_but_filters_are_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "samples_a.jsonl", lines(sample(5, 1), sample(5, 0)))
    with pytest.raises(ResultsError, match="a: item 5 stands twice with the filter none"):
        convert(lm_eval, tmp_path, path)
    path = write(tmp_path / "n" / "samples_a.jsonl", lines(sample(5, 1), sample(5, 0, "strict")))
    [result] = convert(lm_eval, tmp_path, path)
    assert {m.id for m in result.metrics} == {"lm_eval.a.acc", "lm_eval.a.acc_strict"}


def test_a_tamper_curve_is_sorted_and_its_stand_ins_named(tmp_path: Path) -> None:
    points = [{"step": 500, "wmdp_bio_acc": 0.41, "mmlu_acc": 0.44}, {"step": 0, "wmdp_bio_acc": 0.26},
              {"step": 1000, "wmdp_bio_acc": 0.25, "mmlu_acc": math.nan}]  # fmt: skip
    [result] = convert(tamper, tmp_path, write(tmp_path / "lens" / "x.json", points))
    curve = found(result, "tamper.wmdp_bio_acc")
    assert list(curve.table["step"]) == [0, 500, 1000]
    assert "from 0.260 at step 0 to 0.410 at step 500, at most 0.410 (step 500)" in curve.note  # not the stand-in
    assert "1 of 3 points are missing or in doubt and not counted here" in curve.note
    assert "missing" in curve.table["note"].iloc[2]
    mmlu = found(result, "tamper.mmlu_acc").table
    assert list(mmlu["value"].isna()) == [True, False, True] and list(mmlu["note"])[::2] == [
        "Not evaluated at this step.", "The file holds NaN."]  # fmt: skip
    with pytest.raises(ResultsError, match="point 1: step 5 stands twice"):
        convert(tamper, tmp_path, write(tmp_path / "b" / "x.json", [{"step": 5, "wmdp_bio_acc": 0.3}] * 2))


def test_single_steps_make_a_curve(tmp_path: Path) -> None:
    paths = [write(tmp_path / "lens" / "eval_results" / f"step_{s}.json", {"wmdp_bio_acc": a})
             for s, a in ((100, 0.4), (20, 0.3))]  # fmt: skip
    [result] = convert(tamper, tmp_path, *paths)
    assert result.model == "lens" and list(found(result, "tamper.wmdp_bio_acc").table["value"]) == [0.3, 0.4]


def test_saebench(tmp_path: Path) -> None:
    scores = {"unlearning": {"unlearning_score": 0.3, "x": math.nan}}
    data = {"eval_type_id": "unlearning", "eval_result_metrics": scores,
            "sae_lens_release_id": "gemma-scope", "sae_lens_id": "layer_7/width_16k", "eval_config": {}}  # fmt: skip
    [result] = convert(saebench, tmp_path, write(tmp_path / "x.json", data))
    assert head(result, "saebench.unlearning_score").in_file == 0.3
    assert "NaN" in found(result, "saebench.x").gap
