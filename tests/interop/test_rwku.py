"""RWKU's files. No real ones are at hand: these are written in the layout that its code documents."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from audit.interop import rwku
from tests.interop.conftest import convert, found, head, said, write


def probe(level: str, prediction: str, answer: str, type: str = "simple") -> dict[str, str]:
    return {"query": "q", "level": level, "type": type, "subject": "S", "prediction": prediction, "answer": answer}


def test_recall_by_hand() -> None:
    # answer "stephen edwin king": 2 of 3 words in order; two sentences: the union counts each different word once
    assert rwku.recall("stephen king wrote it", "stephen edwin king") == pytest.approx(2 / 3)
    assert rwku.recall("king stephen", "stephen king") == pytest.approx(1 / 2)
    assert rwku.recall("a b. c d", "a c") == 1.0  # a from the first sentence, c from the second
    assert rwku.recall("the the", "the the the") == 1.0  # different words: one of one
    assert math.isnan(rwku.recall("", "x")) and math.isnan(rwku.recall("x", "."))


def test_levels_are_recomputed_and_probes_told_apart(tmp_path: Path) -> None:
    data = {
        "level_1_rouge_l_r": 0.75,
        "level_2_rouge_l_r": 0.9,
        "level_3_rouge_l_r": 0.5,
        "results": [
            probe("1", "a b", "a b"), probe("1", "a", "a b"), probe("2", "x", "x"), probe("2", "", "x"),
            probe("3", "a", "a", "prefix injection"), probe("3", "b", "a", "role play"),
        ],
    }  # fmt: skip
    [result] = convert(rwku, tmp_path, write(tmp_path / "1_Stephen_King" / "any.json", data))
    assert result.model == "1_Stephen_King"
    assert head(result, "rwku.forget_level_1").difference == pytest.approx(0)
    row = head(result, "rwku.forget_level_2")
    assert (
        row.recomputed == 1.0 and "1 of 2 items have no prediction or answer (3)" in row.note and "Differs" in row.note
    )
    assert (
        "By probe: prefix injection 1.000 (n = 1), role play 0.000 (n = 1)" in head(result, "rwku.forget_level_3").note
    )
    assert list(found(result, "rwku.generations").table["score"].iloc[:2]) == [1.0, 0.5]


def test_a_prediction_that_is_not_stored(tmp_path: Path) -> None:
    results = [{**probe("1", "a", "a"), "prediction": None, "subject": None}, probe("1", "", "a")]
    data = {"level_1_rouge_l_r": 1.0, "level_2_rouge_l_r": None, "results": results}
    [result] = convert(rwku, tmp_path, write(tmp_path / "t" / "neighbor.json", data))
    table = found(result, "rwku.generations").table
    assert said(result) == [None, ""] and table["entity"].tolist() == ["neighbor:0", "S"]
    assert table["score"].isna().all()


def test_mink20_is_min_k_plus_plus_and_lists_hold_gaps(tmp_path: Path) -> None:
    scores = {"loss": [-2.0, -1.0], "zlib": [-0.1, None], "mink_0.2": [9.0, 9.0], "mink++_0.2": [-0.5, -1.5]}
    path = write(
        tmp_path / "t" / "forget_mia.json", {"loss": -1.5, "zlib": math.nan, "mink20": -1.0, "results": scores}
    )
    [result] = convert(rwku, tmp_path, path)
    row = head(result, "rwku.forget_mia_min_k_plus_plus_20")
    assert row.recomputed == -1.0 == row.in_file and "Min-K++" in row.note
    row = head(result, "rwku.forget_mia_zlib")
    assert math.isnan(row.in_file) and "NaN" in row.note and "1 of 2 items hold no number (1: null)" in row.note


def test_neighbours_accuracies_and_fluency(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    files = [
        write(folder / "neighbor.json", {"level_1_rouge_l_r": 1.0, "level_2_rouge_l_r": 1.0,
                                         "results": [probe("1", "a", "a"), probe("2", "a", "a")]}),
        write(folder / "mmlu.json", {"acc": 0.5, "all_acc": [True, False, 1, 0], "results": []}),
        write(folder / "fluency.json", {"entropy": 7.1, "results": []}),
    ]  # fmt: skip
    [result] = convert(rwku, tmp_path, *files)
    assert head(result, "rwku.neighbor_level_1").recomputed == 1.0
    assert head(result, "rwku.mmlu").recomputed == 0.5 and head(result, "rwku.mmlu").n == 4
    assert head(result, "rwku.fluency_entropy").in_file == 7.1
