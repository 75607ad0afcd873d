"""TOFU's own files, on small ones in its layout: orientation, tables, missing parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ResultsError
from audit.interop import tofu
from audit.interop.result import ImportedRow
from tests.interop.conftest import convert, found, head, said, write

LN2 = math.log(2)


def log(right: list[float], wrong: list[list[float]], truth: str = "a") -> dict[str, Any]:
    keys = [str(i) for i in range(len(right))]
    means = [sum(w) / len(w) for w in wrong]
    return {
        "avg_gt_loss": dict(zip(keys, right, strict=True)),
        "rougeL_recall": dict.fromkeys(keys, 0.5),
        "avg_paraphrased_loss": dict(zip(keys, right, strict=True)),
        "average_perturb_loss": dict(zip(keys, wrong, strict=True)),
        "truth_ratio": {k: math.exp(r - m) for k, r, m in zip(keys, right, means, strict=True)},
        "generated_text": {k: ["[INST] q [/INST]", "said", f"{truth}{k}"] for k in keys},
    }


def logs() -> dict[str, Any]:
    return {
        "eval_log.json": log([LN2, 2 * LN2], [[2 * LN2], [LN2]]),  # R = 1/2 and 2
        "eval_log_forget.json": log([LN2, 2 * LN2], [[2 * LN2], [3 * LN2]]),  # R = 1/2 and 1/2
        "eval_real_author_wo_options.json": log([LN2], [[2 * LN2, 2 * LN2]]),
        "eval_real_world_wo_options.json": log([0.0], [[math.log(3)]]),
    }


def test_scores_by_hand(tmp_path: Path) -> None:
    [result] = convert(tofu, tmp_path, write(tmp_path / "m" / "anything.json", logs()))
    expected = {
        "probability_retain": 0.375,  # (1/2 + 1/4) / 2
        "truth_ratio_retain": 0.25,  # max(0, 1 - 1/2) and max(0, 1 - 2), halved
        "truth_ratio_forget": 0.5,  # min(r, 1/r) of r = 2 and 2
        "probability_ra": 0.5,  # 1/2 of 1/2 + 1/4 + 1/4
        "probability_wf": 0.75,  # 1 of 1 + 1/3
        "truth_ratio_wf": 2 / 3,  # 1 - (1/3) / 1
    }
    for name, value in expected.items():
        assert head(result, f"tofu.{name}").recomputed == pytest.approx(value), name
    # the nine parts: 0.375 .5 .25, .5 .5 .5, .75 .5 2/3
    parts = [0.375, 0.5, 0.25, 0.5, 0.5, 0.5, 0.75, 0.5, 2 / 3]
    assert head(result, "tofu.model_utility").recomputed == pytest.approx(9 / sum(1 / part for part in parts))


def test_a_stored_ratio_in_the_other_orientation_is_named(tmp_path: Path) -> None:
    data = logs()
    data["eval_log.json"]["truth_ratio"] = {"0": 2.0, "1": 0.5}  # p_right / p_wrong
    [result] = convert(tofu, tmp_path, write(tmp_path / "m" / "x.json", data))
    assert "2 of 2 stored ratios are not those of the losses (first: 0)" in head(result, "tofu.truth_ratio_retain").note


def test_single_logs_of_a_folder_are_one_model_and_the_table_is_compared(tmp_path: Path) -> None:
    folder = tmp_path / "ft_llama2-7b_NPO" / "eval_results" / "ds_size300"
    paths = [write(folder / name, data) for name, data in logs().items()]
    head_ = ["ROUGE Retain", "Prob. Retain", "Truth Ratio Retain", "Model Utility", "Forget Quality", "Method"]
    table = write(folder / "aggr_result.csv", ",".join(head_) + "\n0.5,0.4,0.25,,nan,NPO\n")
    [result] = convert(tofu, tmp_path, *paths, table)
    assert result.model == "ft_llama2-7b_NPO"
    assert head(result, "tofu.rouge_retain").difference == pytest.approx(0)
    row = head(result, "tofu.probability_retain")
    assert row.difference == pytest.approx(-0.025) and row.note.startswith("Differs")
    assert math.isnan(head(result, "tofu.model_utility").in_file)


def test_a_log_beside_the_aggregated_one_must_be_the_same(tmp_path: Path) -> None:
    whole = write(tmp_path / "m" / "eval_log_aggregated.json", logs())
    part = write(tmp_path / "m" / "eval_log_forget.json", logs()["eval_log_forget.json"])
    [result] = convert(tofu, tmp_path, whole, part)
    assert head(result, "tofu.truth_ratio_forget").recomputed == pytest.approx(0.5)
    write(part, log([LN2], [[LN2]]))
    with pytest.raises(ResultsError, match=r"aggregated\.json and .*eval_log_forget\.json hold two different logs"):
        convert(tofu, tmp_path, whole, part)


def test_an_answer_that_is_not_stored_is_none(tmp_path: Path) -> None:
    data = logs()
    data["eval_log_forget.json"]["generated_text"]["0"][1] = None
    data["eval_log_forget.json"]["generated_text"]["1"][1] = math.nan
    [result] = convert(tofu, tmp_path, write(tmp_path / "m" / "x.json", data))
    assert said(result) == ["said", "said", None, None, "said", "said"]


def test_a_table_alone_is_one_model_a_line(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "ROUGE Retain,Model Utility,Forget Quality,Method\n0.5,0.6,0.01,NPO\n0.4,x,,GA\n")
    first, second = convert(tofu, tmp_path, table)
    assert (first.model, second.model) == ("NPO", "GA")
    assert head(first, "tofu.model_utility").in_file == 0.6 and "missing" in head(first, "tofu.model_utility").note
    assert found(second, "tofu.model_utility").gap


def test_forget_quality_does_not_depend_on_the_orientation(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "x.json", logs())
    other = logs()
    other["eval_log_forget.json"] = log([LN2, 2 * LN2], [[LN2], [LN2]])
    reference = write(tmp_path / "r" / "x.json", other)
    [result] = convert(tofu, tmp_path, path, references=(reference,))
    row, distance = (ImportedRow(*row) for row in found(result, "tofu.forget_quality").rows)
    # 1/2 and 1/2 against 1 and 2: D = 1; of C(4, 2) = 6 orders 2 are as far apart: p = 1/3
    assert distance.recomputed == pytest.approx(1.0) and row.recomputed == pytest.approx(1 / 3)


def test_other_forget_items_are_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "x.json", logs())
    other = logs()
    other["eval_log_forget.json"] = log([LN2, LN2], [[LN2], [LN2]], truth="something else ")
    reference = write(tmp_path / "r" / "x.json", other)
    [result] = convert(tofu, tmp_path, path, references=(reference,))
    assert "other forget items" in found(result, "tofu.forget_quality").gap


def test_gaps_and_missing_fields_are_named(tmp_path: Path) -> None:
    data = logs()
    data["eval_log.json"]["avg_gt_loss"]["1"] = math.nan
    [result] = convert(tofu, tmp_path, write(tmp_path / "m" / "x.json", data))
    row = head(result, "tofu.probability_retain")
    assert row.recomputed == pytest.approx(0.5) and "1 of 2 items hold no number (1: NaN)" in row.note
    del data["eval_log.json"]["average_perturb_loss"]
    with pytest.raises(ResultsError, match=r"x\.json, retain/average_perturb_loss is missing"):
        convert(tofu, tmp_path, write(tmp_path / "m" / "x.json", data))
    data = {"what_is_this.json": log([LN2], [[LN2]])}
    with pytest.raises(ResultsError, match="its name says what it is about"):
        convert(tofu, tmp_path, write(tmp_path / "n" / "x.json", data))
