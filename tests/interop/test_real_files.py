"""Every aggregate that others published is met from the per-item values of their own files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from audit.interop import depth_score, importer, open_unlearning, tofu
from audit.interop.result import ImportedRow, Result
from audit.interop.values import number
from tests.interop.conftest import found, head

TOL = 1e-6


@pytest.fixture(scope="module")
def results(shared: Path) -> dict[str, Result]:
    look = importer.look([shared / "data" / "results"])
    assert not look.left_out
    made = [r for reader in (open_unlearning, tofu) for r in reader.convert(look.by_tool[reader.TOOL])]
    return {result.model: result for result in made}


EVALS = {
    "tofu_Llama-3.2-1B-Instruct_full evals_forget10": "tofu_Llama-3.2-1B-Instruct_full/evals_forget10",
    "tofu_Llama-3.2-1B-Instruct_full evals_forget01": "tofu_Llama-3.2-1B-Instruct_full/evals_forget01",
    "tofu_Llama-3.2-1B-Instruct_retain90": "tofu_Llama-3.2-1B-Instruct_retain90",
    "tofu_Llama-3.2-1B-Instruct_retain99": "tofu_Llama-3.2-1B-Instruct_retain99",
}


@pytest.mark.parametrize("model", EVALS)
def test_every_aggregate_of_open_unlearning_is_met(results: dict[str, Result], shared: Path, model: str) -> None:
    folder = shared / "data" / "results" / "open_unlearning" / EVALS[model]
    filed = json.loads((folder / "TOFU_EVAL.json").read_text())
    summary = json.loads((folder / "TOFU_SUMMARY.json").read_text())
    for name, block in filed.items():
        row = head(results[model], f"open_unlearning.{name}")
        stated = number(block["agg_value"])
        if stated is None:
            assert name == "forget_quality" and math.isnan(row.in_file) and math.isnan(row.recomputed)
            continue
        assert row.in_file == stated
        tolerance = 1e-4 * stated if name == "forget_quality" else TOL
        assert abs(row.recomputed - stated) <= tolerance, name
        assert "Differs" not in row.note
        if name in summary:
            assert abs(summary[name] - row.recomputed) <= tolerance
    assert len(filed) >= 29


def test_forget_quality_is_against_the_model_that_never_saw_that_forget_set(results: dict[str, Result]) -> None:
    for split, retained in (("forget10", "retain90"), ("forget01", "retain99")):
        row = head(results[f"tofu_Llama-3.2-1B-Instruct_full evals_{split}"], "open_unlearning.forget_quality")
        assert retained in row.note
    own = found(results["tofu_Llama-3.2-1B-Instruct_retain90"], "open_unlearning.forget_quality")
    assert "null" in own.gap and "compared with itself" in own.gap


def test_both_orientations_of_an_area_are_labelled(results: dict[str, Result]) -> None:
    metric = found(results["tofu_Llama-3.2-1B-Instruct_full evals_forget10"], "open_unlearning.mia_min_k")
    ou, muse = (ImportedRow(*row) for row in metric.rows)
    assert (ou.metric, muse.metric) == ("mia_min_k (OpenUnlearning)", "mia_min_k (MUSE)")
    assert ou.recomputed == pytest.approx(0.99665) and muse.recomputed == pytest.approx(1 - 0.99665)
    assert ou.low < ou.recomputed < ou.high and ou.n == 20  # authors


def test_privleak_of_a_summary_alone_follows_from_its_own_areas(results: dict[str, Result]) -> None:
    for model in ("tofu_Llama-2-7b-chat-hf_full evals_forget10", "muse_Llama-2-7b-hf_News_target",
                  "muse_Llama-2-7b-hf_News_retrain", "tofu_Llama-2-7b-chat-hf_retain90"):  # fmt: skip
        row = head(results[model], "open_unlearning.privleak")
        assert abs(row.difference) < TOL, model
        assert head(results[model], "open_unlearning.exact_memorization").note.startswith("No per-item values")


def test_authors_are_resampled_and_two_are_too_few(results: dict[str, Result]) -> None:
    ten = head(results["tofu_Llama-3.2-1B-Instruct_full evals_forget10"], "open_unlearning.forget_Q_A_Prob")
    assert ten.n == 20 and ten.low < ten.recomputed < ten.high
    one = head(results["tofu_Llama-3.2-1B-Instruct_full evals_forget01"], "open_unlearning.forget_Q_A_Prob")
    assert one.n == 2 and math.isnan(one.low) and "2 entities" in one.note


def test_tofus_stored_ratios_are_those_of_the_losses(results: dict[str, Result], shared: Path) -> None:
    """No published aggregates stand in these files; by hand from the raw losses, in the tool's own orientation."""
    name = "ft_epoch5_lr1e-05_llama2-7b_full_wd0.01"
    log = json.loads((shared / "data/results/tofu" / name / "eval_log_aggregated.json").read_text())[
        "eval_log_forget.json"
    ]
    indices = sorted(log["avg_gt_loss"], key=int)
    probability = sum(math.exp(-log["avg_gt_loss"][i]) for i in indices) / len(indices)
    ratios = [
        math.exp(sum(log["average_perturb_loss"][i]) / 5 - log["avg_paraphrased_loss"][i]) for i in indices
    ]  # aggregate_eval_stat.py's curr_stat_1, p_right / p_wrong
    truth = sum(min(r, 1 / r) for r in ratios) / len(ratios)
    assert head(results[name], "tofu.probability_forget").recomputed == pytest.approx(probability, abs=1e-9)
    row = head(results[name], "tofu.truth_ratio_forget")
    assert row.recomputed == pytest.approx(truth, abs=1e-9) and "stored ratios are those of the losses" in row.note
    assert "40" in found(results[name], "tofu.forget_quality").gap, "retain99 answered 40 items, this model 300"


def test_the_method_table_is_met_for_all_models(shared: Path) -> None:
    look = importer.look([shared / "data" / "results" / "unlearning_depth_score"])
    made = depth_score.convert(look.by_tool["depth_score"])
    models = [result for result in made if result.kind == "methods"]
    assert len(models) == 152
    compared = 0
    for result in models:
        for row in (ImportedRow(*row) for row in result.metrics[0].rows):
            if not math.isnan(row.recomputed):
                compared += 1
                assert abs(row.difference) <= TOL, (result.model, row)
    assert compared > 1000
    robust = [ImportedRow(*row) for row in next(r for r in made if r.kind == "meta").metrics[0].rows]
    assert max(abs(row.difference) for row in robust if not math.isnan(row.difference)) < 1e-4  # filed with 4 decimals


def test_answers_come_with_the_question_alone(results: dict[str, Result]) -> None:
    texts = found(results["tofu_Llama-3.2-1B-Instruct_full evals_forget10"], "open_unlearning.generations").table
    first = texts[texts["item"] == "forget:0"].iloc[0]
    assert first["prompt"].startswith("What is the full name of the author born in Tai")
    assert first["said"] == first["answer"] == "The author's full name is Hsiao Yun-Hwa."
    assert set(texts["split"]) == {"forget", "retain", "real authors", "world facts"}
