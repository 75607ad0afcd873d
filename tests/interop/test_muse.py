"""MUSE's files. No real ones are at hand: these are written in the layout that its code documents."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from audit.errors import ResultsError
from audit.interop import muse
from audit.interop.result import ImportedRow
from tests.interop.conftest import convert, found, head, said, write


def answers(*scores: float) -> list[dict[str, object]]:
    return [{"question": "q", "gt": "right", "response": "said", "rougeL": s, "rougeL_recall": 1.0} for s in scores]


def privleak(folder: Path) -> list[Path]:
    """forget scores 1 2 4, holdout 2 3: OpenUnlearning's area is 3.5 / 6 (see tests/metrics), MUSE's 2.5 / 6."""
    scores = {"forget": [1.0, 2.0, 4.0], "holdout": [2.0, 3.0], "retain": [1.0]}
    losses = {split: [{"text": "t", "PPL": 1.0, "Min-40%": s} for s in each] for split, each in scores.items()}
    return [
        write(folder / "privleak/log.json", losses),
        write(folder / "privleak/auc.json", {"_".join(muse.KEY): 2.5 / 6}),
    ]


def test_table_logs_and_areas_are_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "temp" / "npo"
    leak = 100 * (2.5 / 6 - 0.5393) / 0.5393  # the constant of Books
    files = [
        write(tmp_path / "out.csv", f"name,verbmem_f,privleak,knowmem_f,knowmem_r\nnpo,50.0,{leak!r},25.0,40.0\n"),
        write(folder / "verbmem_f/log.json", answers(0.25, 0.75)),
        write(folder / "verbmem_f/agg.json", {"mean_rougeL": 0.5, "max_rougeL": 0.75}),
        write(folder / "knowmem_f/log.json", answers(0.5, 0.1)),
        *privleak(folder),
    ]
    [result] = convert(muse, tmp_path, *files)
    assert result.model == "npo"
    row = head(result, "muse.verbmem_f")
    assert row.recomputed == 50.0 == row.in_file  # percent here, shares in the log
    assert head(result, "muse.knowmem_f").note.startswith("Differs: the file says 25, its own items give 30.")
    assert head(result, "muse.knowmem_r").note == "No log: it cannot be recomputed."
    own, other = (ImportedRow(*row) for row in found(result, "muse.auc_min_40").rows)
    assert own.recomputed == pytest.approx(2.5 / 6) == pytest.approx(own.in_file)
    assert other.recomputed == pytest.approx(3.5 / 6) and "OpenUnlearning" in other.metric
    row = head(result, "muse.privleak")
    assert row.recomputed == pytest.approx(leak) and "Books" in row.note


def test_a_privleak_of_no_known_constant_is_not_made_up(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "out.csv", "name,verbmem_f,privleak\nnpo,1.0,33.0\n"),
        *privleak(tmp_path / "temp" / "npo"),
    ]
    [result] = convert(muse, tmp_path, *files)
    row = head(result, "muse.privleak")
    assert row.in_file == 33.0 and math.isnan(row.recomputed) and "constant of News" in row.note


def test_every_area_and_every_score_is_imported_in_both_orientations(tmp_path: Path) -> None:
    # forget 1 2 4 against holdout 2 3: 2.5 of 6 pairs are higher; of PPL, 9 against 1, all are
    folder = tmp_path / "temp" / "npo" / "privleak"
    scores = {"forget": [(1.0, 9.0), (2.0, 9.0), (4.0, 9.0)], "holdout": [(2.0, 1.0), (3.0, 1.0)]}
    losses = {s: [{"text": "t", "PPL": p, "PPL/zlib": p, "Min-5%": m} for m, p in each] for s, each in scores.items()}
    stated = {"forget_holdout_Min-5%": 0.1, "forget_retain_PPL/lower": 0.3, "forget_forget_PPL": 0.5}
    [result] = convert(muse, tmp_path, write(folder / "log.json", losses), write(folder / "auc.json", stated))
    areas = {m.id: [ImportedRow(*row) for row in m.rows] for m in result.metrics}
    assert set(areas) == {"muse.auc_ppl", "muse.auc_ppl_zlib", "muse.auc_min_5", "muse.auc_forget_retain_ppl_lower",
                          "muse.auc_forget_forget_ppl"}  # fmt: skip
    ours, theirs = areas["muse.auc_min_5"]
    assert (ours.in_file, ours.recomputed, theirs.recomputed) == pytest.approx((0.1, 2.5 / 6, 3.5 / 6))
    assert (
        "Differs" in ours.note and ours.direction.startswith("0: forget") and theirs.direction.startswith("1: forget")
    )
    assert [row.recomputed for row in areas["muse.auc_ppl"]] == [1.0, 0.0]
    ours, theirs = areas["muse.auc_forget_retain_ppl_lower"]
    assert ours.in_file == 0.3 and math.isnan(ours.recomputed) and theirs.recomputed == 0.7
    assert theirs.direction.startswith("1: forget texts are always likelier than retain ones")


def test_what_stands_twice_is_refused(tmp_path: Path) -> None:
    one, two = (write(tmp_path / "npo" / "verbmem_f" / f"{n}.json", answers(0.5)) for n in ("log", "log2"))
    with pytest.raises(ResultsError, match=r"log\.json and .*log2\.json are both the verbmem_f log of npo"):
        convert(muse, tmp_path, one, two)
    with pytest.raises(ResultsError, match="the model npo stands twice"):
        convert(muse, tmp_path, write(tmp_path / "out.csv", "name,verbmem_f,privleak\nnpo,1,2\nnpo,3,4\n"))


def test_null_is_no_answer(tmp_path: Path) -> None:
    log = [{**answers(0.5)[0], "response": None}, {**answers(0.5)[0], "response": ""}, "no entry"]
    [result] = convert(muse, tmp_path, write(tmp_path / "npo" / "verbmem_f" / "log.json", log))
    assert said(result) == [None, ""]
    assert "1 of 3 items hold no number" in head(result, "muse.verbmem_f").note


def test_a_key_with_a_stray_apostrophe(tmp_path: Path) -> None:
    path = write(tmp_path / "temp/npo/privleak/auc.json", {"forget_holdout_Min-40%'": 0.4})
    [result] = convert(muse, tmp_path, path)
    assert head(result, "muse.auc_min_40").in_file == 0.4


def test_tuples_and_nan_in_a_forks_table_are_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "output.csv", 'name,verbmem_f,knowmem_f,fac\nnpo,nan,12.5,"(0.5, 0.1)"\n')
    [result] = convert(muse, tmp_path, path)
    assert "'nan'" in found(result, "muse.verbmem_f").gap and "'(0.5, 0.1)'" in found(result, "muse.fac").gap
    assert head(result, "muse.knowmem_f").in_file == 12.5
