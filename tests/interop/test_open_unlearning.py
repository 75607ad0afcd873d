"""Traps of OpenUnlearning's files, on small ones written in its layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ResultsError
from audit.interop import open_unlearning as ou
from audit.interop.cards import card, direction
from audit.interop.document import read
from audit.interop.result import ImportedRow
from tests.interop.conftest import convert, found, head, said, write

LN2 = math.log(2)


def block(values: dict[str, Any], agg: float | None, key: str = "value_by_index") -> dict[str, Any]:
    return {"agg_value": agg, key: values}


def probabilities(*losses: float | list[float]) -> dict[str, Any]:
    def p(loss: float | list[float]) -> Any:
        return [math.exp(-x) for x in loss] if isinstance(loss, list) else math.exp(-loss)

    return {str(i): {"prob": p(loss), "avg_loss": loss} for i, loss in enumerate(losses)}


def evaluation() -> dict[str, Any]:
    """Two forget items with R = 0.5 and 2 (see tests/metrics), so min(R, 1/R) is 0.5 for both."""
    return {
        "forget_Q_A_PARA_Prob": block(probabilities(LN2, 2 * LN2), 0.375),
        "forget_Q_A_PERT_Prob": block(probabilities([LN2, 3 * LN2], [0.0, 2 * LN2]), 0.46875),
        "forget_truth_ratio": block({"0": {"score": 0.5}, "1": {"score": 2.0}}, 0.5),
        "forget_quality": {"agg_value": None},
    }


def test_truth_ratio_from_losses_by_hand(tmp_path: Path) -> None:
    [result] = convert(ou, tmp_path, write(tmp_path / "model" / "TOFU_EVAL.json", evaluation()))
    row = head(result, "open_unlearning.forget_truth_ratio")
    assert row.recomputed == pytest.approx(0.5, abs=1e-9) and row.in_file == 0.5
    # mean of exp(-loss) over options, then items: (0.5 + 0.125) / 2 = 0.3125, (1 + 0.25) / 2 = 0.625
    assert head(result, "open_unlearning.forget_Q_A_PERT_Prob").recomputed == pytest.approx(0.46875)


@pytest.mark.parametrize("key", ["value_by_index", "values_by_index"])
@pytest.mark.parametrize("name", ["forget_truth_ratio", "forget_Truth_Ratio"])
def test_both_spellings_of_keys_and_of_the_ratio(tmp_path: Path, key: str, name: str) -> None:
    data = {name: block({"0": {"score": 0.5}, "1": {"score": 4.0}}, 0.375, key)}
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", data))
    row = head(result, "open_unlearning.forget_truth_ratio")
    assert row.recomputed == pytest.approx((0.5 + 0.25) / 2) == pytest.approx(row.in_file)


def test_retained_ratio_is_better_when_true(tmp_path: Path) -> None:
    data = {"retain_Truth_Ratio": block({"0": {"score": 0.25}, "1": {"score": 3.0}}, 0.375)}
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", data))
    assert head(result, "open_unlearning.retain_Truth_Ratio").recomputed == 0.375  # (0.75 + 0) / 2


def test_null_without_a_reference_is_a_gap_with_its_reason(tmp_path: Path) -> None:
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "TOFU_EVAL.json", evaluation()))
    gap = found(result, "open_unlearning.forget_quality").gap
    assert "null" in gap and "--reference" in gap
    assert found(result, "open_unlearning.forget_quality").estimate is None


def test_a_given_reference_fills_the_null(tmp_path: Path) -> None:
    write(tmp_path / "m" / "TOFU_EVAL.json", evaluation())
    other = evaluation()
    other["forget_Q_A_PARA_Prob"] = block(probabilities(0.1, 0.1), None)
    reference = write(tmp_path / "r" / "TOFU_EVAL.json", other)
    results = convert(ou, tmp_path, tmp_path / "m" / "TOFU_EVAL.json", references=(reference,))
    [result] = results  # the reference itself is no candidate
    row = head(result, "open_unlearning.forget_quality")
    # ratios 0.5 and 2 against 0.25 e^0.1 and 0.5 e^0.1 = 0.276, 0.553: D = 1/2, p = 1 for two against two
    assert row.recomputed == pytest.approx(1.0) and "Against r." in row.note
    assert ImportedRow(*found(result, "open_unlearning.forget_quality").rows[1]).recomputed == pytest.approx(0.5)


def test_a_reference_on_other_items_is_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "TOFU_EVAL.json", evaluation())
    other = {"forget_truth_ratio": block({str(i): {"score": 1.0} for i in range(5)}, 1.0)}
    reference = write(tmp_path / "r" / "TOFU_EVAL.json", other)
    results = convert(ou, tmp_path, path, references=(reference,))
    assert found(results[-1], "open_unlearning.forget_quality").gap


def test_missing_reordered_null_and_nan_items_are_counted_and_named(tmp_path: Path) -> None:
    text = ('{"exact_memorization": {"agg_value": NaN, "value_by_index": {"10": {"score": 0.5}, "2": {"score": NaN},'
            '"0": {"score": 1.0}, "3": {"score": null}, "1": {}, "4": {"score": Infinity}}}}')  # fmt: skip
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", text))
    metric = found(result, "open_unlearning.exact_memorization")
    row = ImportedRow(*metric.rows[0])
    assert row.recomputed == 0.75 and row.n == 2 and math.isnan(row.in_file)
    assert "The file's aggregate is NaN" in row.note
    assert '4 of 6 items hold no number (1: no "score", 2: NaN, 3: null, 4: Infinity)' in row.note
    assert "5 of 11 indices are missing (5, 6, 7, 8, 9)" in row.note
    assert list(metric.items["item"]) == ["forget:0", "forget:10"] and list(metric.items["score"]) == [1.0, 0.5]


def test_items_are_joined_by_index_and_not_by_place(tmp_path: Path) -> None:
    data = evaluation()
    data["forget_Q_A_PERT_Prob"]["value_by_index"] = dict(
        reversed(data["forget_Q_A_PERT_Prob"]["value_by_index"].items())
    )
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", data))
    assert head(result, "open_unlearning.forget_truth_ratio").recomputed == pytest.approx(0.5, abs=1e-9)
    del data["forget_Q_A_PERT_Prob"]["value_by_index"]["0"]
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "y.json", data))
    assert "1 items are not in every part (0)" in head(result, "open_unlearning.forget_truth_ratio").note


def test_nothing_but_gaps_is_a_gap_and_not_0(tmp_path: Path) -> None:
    data = {"exact_memorization": block({"0": {"score": None}}, None)}
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", data))
    metric = found(result, "open_unlearning.exact_memorization")
    assert math.isnan(metric.rows[0][4]) and "1 of 1 items hold no number" in metric.gap


def test_an_aggregate_that_contradicts_its_items_is_shown(tmp_path: Path) -> None:
    data = {"exact_memorization": block({"0": {"score": 0.5}, "1": {"score": 1.0}}, 0.8)}
    path = write(tmp_path / "m" / "TOFU_EVAL.json", data)
    write(tmp_path / "m" / "TOFU_SUMMARY.json", {"exact_memorization": 0.9})
    [result] = convert(ou, tmp_path, path, tmp_path / "m" / "TOFU_SUMMARY.json")
    row = head(result, "open_unlearning.exact_memorization")
    assert row.difference == pytest.approx(-0.05)
    assert row.note.startswith("Differs: the file says 0.8, its own items give 0.75.")
    assert "SUMMARY says 0.9, EVAL says 0.8" in row.note


def test_areas_by_hand_in_both_orientations(tmp_path: Path) -> None:
    side = {k: {"agg_value": 0, "value_by_index": {str(i): {"score": s} for i, s in enumerate(v)}}
            for k, v in (("forget", [1.0, 2.0, 4.0]), ("holdout", [2.0, 3.0]))}  # fmt: skip
    data = {"mia_loss": {**side, "auc": 3.5 / 6, "agg_value": 3.5 / 6}, "mia_min_k": {**side, "agg_value": 3.5 / 6},
            "privleak": {"agg_value": -100 / 6}}  # fmt: skip
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", data))
    rows = [ImportedRow(*row) for row in found(result, "open_unlearning.mia_loss").rows]
    assert [row.recomputed for row in rows] == pytest.approx([3.5 / 6, 2.5 / 6])
    assert rows[0].direction.startswith("1: forget") and rows[1].direction.startswith("0: forget")
    # (1 - 3.5/6 - 0.5) / 0.5 = -1/6, without a reference against 0.5
    row = head(result, "open_unlearning.privleak")
    assert row.recomputed == pytest.approx(-100 / 6) and "0.5" in row.note


def test_a_summary_alone_has_no_interval_and_converts_its_areas(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "SUMMARY.json", {"mia_loss": 0.75, "model_utility": 0.5, "forget_quality": None})
    [result] = convert(ou, tmp_path, path)
    rows = [ImportedRow(*row) for row in found(result, "open_unlearning.mia_loss").rows]
    assert rows[0].in_file == 0.75 and rows[1].recomputed == 0.25 and math.isnan(rows[0].low)
    assert found(result, "open_unlearning.forget_quality").gap.startswith("The file holds null")


def test_an_entry_that_is_no_metric_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "x.json", {"exact_memorization": {"agg_value": 1.0, "value_by_index": []}})
    with pytest.raises(ResultsError, match=r"x\.json, exact_memorization holds no items"):
        convert(ou, tmp_path, path)


def test_muse_takes_f1_and_tofu_recall(tmp_path: Path) -> None:
    entry = {"rouge1_recall": 0.9, "rougeL_f1": 0.25, "rougeL_recall": 0.5, "input": "q", "ground_truth": "a",
             "generation": "b"}  # fmt: skip
    for name, value in (("forget_knowmem_ROUGE", 0.25), ("forget_Q_A_ROUGE", 0.5)):
        [result] = convert(ou, tmp_path, write(tmp_path / name / "x.json", {name: block({"0": entry}, value)}))
        assert head(result, f"open_unlearning.{name}").recomputed == value


def test_lm_eval_tasks_of_open_unlearning(tmp_path: Path) -> None:
    sample = {"target": 0, "filtered_resps": [], "resps": []}
    data = {"wmdp": {task: [{**sample, "doc_id": i, "acc": a} for i, a in enumerate(accs)]
                     for task, accs in (("wmdp_bio", [1.0, 0.0, 1.0]), ("wmdp_cyber", [0.0]))}}  # fmt: skip
    path = write(tmp_path / "m" / "LMEval_EVAL.json", data)
    summary = write(tmp_path / "m" / "LMEval_SUMMARY.json", {"wmdp/acc": 0.5})
    [result] = convert(ou, tmp_path, path, summary)
    assert head(result, "open_unlearning.wmdp.acc").recomputed == 0.5  # over all four samples
    assert head(result, "open_unlearning.wmdp_bio.acc").recomputed == pytest.approx(2 / 3)


def test_tasks_have_the_harness_place_and_direction() -> None:
    mmlu, wmdp = card("open_unlearning.mmlu.acc"), card("open_unlearning.wmdp_bio.acc")
    assert mmlu is not None and (mmlu.place, mmlu.direction) == ("utility", "high: better kept")
    assert wmdp is not None and (wmdp.place, wmdp.direction) == ("said", "high: still known")
    assert direction("open_unlearning.wikitext.word_perplexity") == "low: better kept"


def test_a_null_answer_is_not_what_the_model_said(tmp_path: Path) -> None:
    entry = {"rougeL_recall": 0.5, "input": None, "ground_truth": "a"}
    index = {str(i): {**entry, "generation": said} for i, said in enumerate([None, math.nan, "", "None"])}
    [result] = convert(ou, tmp_path, write(tmp_path / "m" / "x.json", {"forget_Q_A_ROUGE": block(index, 0.5)}))
    table = found(result, "open_unlearning.generations").table
    assert said(result) == [None, None, "", "None"] and set(table["prompt"]) == {""}


def test_a_metric_in_two_spellings_is_one(tmp_path: Path) -> None:
    ratio = block({"0": {"score": 0.5}}, 0.5)
    path = write(tmp_path / "m" / "EVAL.json", {"forget_Truth_Ratio": ratio})
    summary = write(tmp_path / "m" / "SUMMARY.json", {"forget_truth_ratio": 0.5})
    [result] = convert(ou, tmp_path, path, summary)
    assert [m.id for m in result.metrics] == ["open_unlearning.forget_truth_ratio", "open_unlearning.forget_quality"]
    with pytest.raises(ResultsError, match="forget_truth_ratio stands twice, in two spellings"):
        convert(ou, tmp_path, write(path, {"forget_Truth_Ratio": ratio, "forget_truth_ratio": ratio}))


def test_other_files_are_not_taken_for_results(tmp_path: Path) -> None:
    for number, data in enumerate([{}, [], {"a": 1}, {"model_type": "llama", "layers": 3}, {"x": {"y": 1}}, "1"]):
        document = read(write(tmp_path / f"{number}.json", data), tmp_path)
        assert ou.recognise(document) == ""
