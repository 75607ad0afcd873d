"""The Unlearning Depth Score's run files, in the layout of compute_uds.py (its tables are real: test_real_files.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.errors import ResultsError
from audit.interop import depth_score
from tests.interop.conftest import convert, found, head, said, write


def entry(idx: int, first: list[Any], second: list[Any], uds: float | None) -> dict[str, Any]:
    return {"idx": idx, "question": "q", "entity": "e", "gt_entity": "e", "unlearn_gen": "said", "uds": uds,
            "layer_records": [], "s1_deltas": first, "s2_deltas": second}  # fmt: skip


def test_by_hand_with_layers_below_the_threshold(tmp_path: Path) -> None:
    # item 0: layer 0 does not count (0.05); 1.0 with 0.5, 3.0 with 6.0 clipped: (0.5 + 3) / 4 = 0.875
    # item 1: -1 is clipped to 0: 0 / 1; item 2 has no layer above the threshold
    results = [entry(0, [0.05, 1.0, 3.0], [9, 0.5, 6.0], 0.875), entry(1, [0, 1, 0], [0, -1, 0], 0.0),
               entry(2, [0.01, 0, 0], [0, 0, 0], None)]  # fmt: skip
    summary = {"avg_uds": 0.4375, "delta_threshold": 0.05, "unlearn_model": "npo", "skipped_count": 2}
    [result] = convert(depth_score, tmp_path, write(tmp_path / "a" / "results.json", results),
                       write(tmp_path / "a" / "summary.json", summary))  # fmt: skip
    row = head(result, "depth_score.uds")
    assert result.model == "npo" and row.recomputed == pytest.approx(0.4375) and row.n == 2
    assert "1 items have no layer above the threshold 0.05 and no score (2)" in row.note and "skipped 2" in row.note
    assert list(found(result, "depth_score.uds").items["score"]) == pytest.approx([0.875, 0.0])


def test_an_item_that_contradicts_its_layers_and_a_gap_in_a_layer(tmp_path: Path) -> None:
    results = [entry(0, [1.0], [0.5], 0.9), entry(1, [1.0], [None], 0.5)]
    [result] = convert(depth_score, tmp_path, write(tmp_path / "a" / "x.json", results))
    note = head(result, "depth_score.uds").note
    assert "1 items hold no number in some layer (1)" in note and "1 items is not that of their layers (0)" in note


def test_layers_of_the_csv_stand_in_for_the_results(tmp_path: Path) -> None:
    table = "idx,layer,s1_delta,s2_delta,uds\n3,0,1.0,0.25,0.25\n3,1,0.0,0.0,0.25\n"
    [result] = convert(depth_score, tmp_path, write(tmp_path / "run" / "layer_details.csv", table))
    assert head(result, "depth_score.uds").recomputed == 0.25


def test_what_stands_twice_is_located(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "x.json", [entry(7, [1.0], [1.0], 1.0)] * 2)
    with pytest.raises(ResultsError, match="entry 1: item 7 stands twice"):
        convert(depth_score, tmp_path, path)
    path = write(tmp_path / "b" / "x.csv", "idx,layer,s1_delta,s2_delta,uds\n3,0,1,1,1\n3,0,1,1,1\n")
    with pytest.raises(ResultsError, match="line 3: layer 0 of item 3 stands twice"):
        convert(depth_score, tmp_path, path)


def test_two_results_of_one_run_and_texts_that_are_not_stored(tmp_path: Path) -> None:
    one, two = (write(tmp_path / "a" / f"{n}.json", [entry(0, [1.0], [1.0], 1.0)]) for n in "xy")
    with pytest.raises(ResultsError, match=r"x\.json and .*y\.json are both the results of one run"):
        convert(depth_score, tmp_path, one, two)
    data = [entry(0, [1.0], [1.0], 1.0), {**entry(1, [1.0], [1.0], 1.0), "entity": None, "unlearn_gen": None}]
    [result] = convert(depth_score, tmp_path, write(tmp_path / "b" / "x.json", data))
    table = found(result, "depth_score.generations").table
    assert said(result) == ["said", None] and table["entity"].tolist() == ["e", "forget:1"]


def test_a_missing_part_of_the_table_is_a_gap(tmp_path: Path) -> None:
    line = {"model": "npo", "epoch": "ep5", "method": "npo", "uds": None, "mem": 0.5, "one_minus_es": 0.5}
    path = write(tmp_path / "x.json", {"models": [line], "method_counts": {}, "full_utility": {}})
    [result] = convert(depth_score, tmp_path, path)
    table = found(result, "depth_score.method_table").table.set_index("metric")
    assert table.loc["uds"].isna()["in_file"] and "null" in table.loc["uds", "note"]
    assert table.loc["mem"].isna()["recomputed"]  # its other three parts are missing
