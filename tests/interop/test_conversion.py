"""What must not be lost, merged or written elsewhere when files of several tools and folders are imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ResultsError, StoreError
from audit.interop.document import read
from audit.interop.importer import import_results, look
from audit.interop.names import plain
from audit.store import Run
from audit.types import Status
from tests.interop.conftest import write

ITEMS = {str(i): {"score": 0.5} for i in range(120)}
EVAL = {"exact_memorization": {"agg_value": 0.5, "value_by_index": ITEMS}}
RESULTS: dict[str, Any] = {"results": {"mmlu": {"acc,none": 0.6}}, "configs": {}, "versions": {}}


def reasons(run: Run) -> list[str]:
    return [entry["reason"] for entry in run.plan["imported"]["left_out"]]


def ids(run: Run, name: str) -> set[str]:
    return {finding.id for finding in run.findings(name)}


# ---- ids and folders


@pytest.mark.parametrize("name", ["../../escaped", "a/../b", "..", ".", "", "a\\b", "x" * 500, "..." * 9])
def test_a_name_from_a_file_cannot_lead_elsewhere(name: str) -> None:
    made = plain(name)
    assert made and ".." not in made and "/" not in made and "\\" not in made and len(made) <= 100
    assert not made.startswith(".") and not made.endswith(".")


def test_ids_of_a_file_stay_within_the_run(tmp_path: Path) -> None:
    data = {"eval_type_id": "../../../escaped", "eval_result_metrics": {"../x": {"/etc/y": 0.5}, "..": 1.0}}
    run, _ = import_results([write(tmp_path / "in" / "sae.json", data)], tmp_path / "runs" / "r")
    [name] = run.candidates
    assert len(ids(run, name)) == 2
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "runs" / "r")]
    assert outside == [tmp_path / "in" / "sae.json"]


@pytest.mark.parametrize("id", ["../x", "a/b", "a..b", "", "a b", "a\n"])
def test_the_store_refuses_such_ids_itself(tmp_path: Path, id: str) -> None:
    with pytest.raises(StoreError, match="id of a finding"):
        Run(tmp_path).finding("npo", id)


@pytest.mark.parametrize("candidate", ["../x", "a/b", "a\\b", "..", ".", ""])
def test_the_store_refuses_such_candidates_itself(tmp_path: Path, candidate: str) -> None:
    with pytest.raises(StoreError, match="name of a candidate"):
        Run(tmp_path).measured_on(candidate, "behaviour.recall")


# ---- what stands twice


def test_two_files_of_one_benchmark_in_a_folder_are_both_named(tmp_path: Path) -> None:
    first = write(tmp_path / "in" / "npo" / "TOFU_EVAL.json", EVAL)
    second = write(tmp_path / "in" / "npo" / "TOFU_EVAL_old.json", EVAL)
    write(tmp_path / "in" / "rmu" / "TOFU_EVAL.json", EVAL)
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    assert run.candidates == ["rmu"] and len(reasons(run)) == 2
    assert all(str(first) in reason and str(second) in reason for reason in reasons(run))
    with pytest.raises(ResultsError, match="both the eval file"):
        import_results([first, second], tmp_path / "other")


def test_equal_ids_of_one_candidate_name_both_files(tmp_path: Path) -> None:
    probe = {"query": "q", "level": "1", "type": "t", "subject": "S", "prediction": "a", "answer": "a"}
    data = {"level_1_rouge_l_r": 1.0, "level_2_rouge_l_r": None, "results": [probe]}
    one, two = (write(tmp_path / "in" / "S" / f"{n}.json", data) for n in ("neighbor", "neighbor_copy"))
    with pytest.raises(ResultsError, match="rwku.neighbor_level_1 of S stands twice") as stop:
        import_results([tmp_path / "in"], tmp_path / "run")
    assert str(one) in str(stop.value) and str(two) in str(stop.value)


def test_one_dictionary_rated_twice_keeps_one_rating(tmp_path: Path) -> None:
    data = {"eval_type_id": "unlearning", "eval_result_metrics": {"unlearning": {"unlearning_score": 0.5}},
            "sae_lens_release_id": "r", "sae_lens_id": "i"}  # fmt: skip
    one, two = (write(tmp_path / "in" / n / "x.json", data) for n in "ab")
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    [reason] = reasons(run)
    assert run.candidates == ["r i"] and str(one) in reason and str(two) in reason


def sample(doc: int, acc: float) -> str:
    return json.dumps({"doc_id": doc, "target": 0, "resps": [], "filtered_resps": [], "filter": "none", "acc": acc})


def test_of_several_runs_of_the_harness_each_task_is_the_newest(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "org__npo"
    old = {**RESULTS, "results": {"mmlu": {"acc,none": 0.1}, "arc": {"acc,none": 0.3}}, "model_name": "org/npo"}
    new = {**RESULTS, "model_name": "org/npo"}
    write(folder / "results_2026-01-02T00-00-00.5.json", new)  # the older one is read last
    write(folder / "results_2026-01-01T09-00-00.5.json", {**RESULTS, "model_name": "org/npo"})
    write(folder / "results_2026-01-01T00-00-00.5.json", old)
    write(folder / "samples_mmlu_2026-01-01T00-00-00.5.jsonl", sample(0, 0.0) + "\n")
    write(folder / "samples_mmlu_2026-01-02T00-00-00.5.jsonl", sample(0, 1.0) + "\n")
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    [name] = run.candidates
    found = {finding.id: finding.table for finding in run.findings(name)}
    assert found["lm_eval.mmlu.acc"]["in_file"].tolist() == [0.6]
    assert found["lm_eval.mmlu.acc"]["recomputed"].tolist() == [1.0]
    assert found["lm_eval.arc.acc"]["in_file"].tolist() == [0.3]  # in the older run only
    told = sorted(reasons(run))
    assert len(told) == 3 and all("_2026-01-02T00-00-00.5.json" in reason.split(", ")[-1] for reason in told)
    used = {Path(entry["path"]).name for entry in run.plan["imported"]["files"]}
    assert used == {"results_2026-01-02T00-00-00.5.json", "results_2026-01-01T00-00-00.5.json",
                    "samples_mmlu_2026-01-02T00-00-00.5.jsonl"}  # fmt: skip


def test_two_results_of_one_task_without_a_time_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.json", RESULTS)
    with pytest.raises(ResultsError, match=r"a\.json and .*b\.json both hold results of mmlu"):
        import_results([tmp_path / "in"], tmp_path / "run")


# ---- one bad entry


def test_a_bad_entry_leaves_out_its_file_and_not_the_tree(tmp_path: Path) -> None:
    good = {"prompt": "q", "ground_truth": "a", "responses": [{"response": "r", "ES": 1.0}]}
    bad = {"leak": [good, {"prompt": "q"}], "leak2": [good, {**good, "responses": ["r"]}], "leak3": [good, None]}
    for name, records in bad.items():
        write(tmp_path / "in" / name / "g.json", records)
    write(tmp_path / "in" / "tamper" / "x.json", [{"step": 0, "wmdp_bio_acc": 0.3}, None])
    write(tmp_path / "in" / "depth" / "x.json", [{"idx": 0, "uds": 1, "s1_deltas": [1.0], "s2_deltas": [1.0]}, "x"])
    write(tmp_path / "in" / "S" / "f.json", {"level_1_rouge_l_r": 1.0, "results": [{"level": "1"}, None]})
    huge = {"avg_gt_loss": {"0": -1e9}, "rougeL_recall": {"0": 1.0}, "avg_paraphrased_loss": {"0": 1.0},
            "average_perturb_loss": {"0": [1.0]}}  # fmt: skip
    write(tmp_path / "in" / "huge" / "eval_log_aggregated.json", {"eval_log_forget.json": huge})
    write(tmp_path / "in" / "good" / "g.json", [good] * 6)
    run, found = import_results([tmp_path / "in"], tmp_path / "run")
    assert run.candidates == ["good"] and len(found.left_out) == 7
    for path, reason in found.left_out.items():
        assert path in reason and len(reason) > len(path) + 10
    assert [entry["candidate"] for entry in run.plan["imported"]["files"]] == ["good"]
    with pytest.raises(ResultsError, match="record 1: no list of responses"):
        import_results([tmp_path / "in" / "leak" / "g.json"], tmp_path / "other")


def test_an_index_as_large_as_it_likes(tmp_path: Path) -> None:
    data = {"exact_memorization": {"agg_value": 0.5, "value_by_index": {"0": {"score": 0.5}, "10000000000": {}}}}
    run, _ = import_results([write(tmp_path / "npo" / "x.json", data)], tmp_path / "run")
    [note] = run.findings("npo")[0].table["note"]
    assert "9999999999 of 10000000001 indices are missing (1, 2, 3, 4, 5 and 9999999994 more)" in note


# ---- null


def test_one_null_metric_is_a_gap_and_the_file_is_still_read(tmp_path: Path) -> None:
    data = {"forget_quality": None, **EVAL}
    run, _ = import_results([write(tmp_path / "npo" / "TOFU_EVAL.json", data)], tmp_path / "run")
    found = {finding.id: finding for finding in run.findings("npo")}
    assert found["open_unlearning.exact_memorization"].status is Status.IMPORTED
    gap = found["open_unlearning.forget_quality"]
    assert gap.status is Status.NOT_APPLICABLE and "null" in gap.reason
    with pytest.raises(ResultsError, match="privleak is '3'; expected a metric"):
        import_results([write(tmp_path / "b" / "x.json", {"privleak": 3, **EVAL})], tmp_path / "other")


# ---- whose results


def test_two_folders_with_models_of_one_name_are_two_candidates(tmp_path: Path) -> None:
    for place in ("exp1/npo/evals", "exp2/npo/evals"):
        write(tmp_path / "in" / place / "TOFU_EVAL.json", EVAL)
    write(tmp_path / "in" / "exp2" / "npo" / "results_2026-01-01T00-00-00.json", RESULTS)
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    assert run.candidates == ["exp1-npo", "exp2-npo"]
    assert ids(run, "exp1-npo") == {"open_unlearning.exact_memorization"}
    assert ids(run, "exp2-npo") == {"open_unlearning.exact_memorization", "lm_eval.mmlu.acc"}


def test_a_table_above_two_models_of_its_name_is_of_neither(tmp_path: Path) -> None:
    for place in ("exp1/npo", "exp2/npo"):
        write(tmp_path / "in" / place / "TOFU_EVAL.json", EVAL)
    write(tmp_path / "in" / "out.csv", "name,verbmem_f,privleak\nnpo,50.0,1.0\n")
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    assert sorted(run.candidates) == ["exp1-npo", "exp2-npo", "npo"]
    assert ids(run, "npo") == {"muse.verbmem_f", "muse.privleak"}


# ---- where from


def test_files_of_one_name_keep_their_own_digests(tmp_path: Path) -> None:
    log = [{"question": "q", "gt": "a", "response": "a", "rougeL": 1.0}]
    for part in ("verbmem_f", "knowmem_f"):
        write(tmp_path / "in" / "npo" / part / "log.json", log * (2 if part == "verbmem_f" else 3))
    run, _ = import_results([tmp_path / "in"], tmp_path / "run")
    files = run.findings("npo")[0].provenance["imported"]["files"]
    assert set(files) == {"npo/verbmem_f/log.json", "npo/knowmem_f/log.json"}
    assert files == {f: read(tmp_path / "in" / f, tmp_path).sha256 for f in files}
    one, two = (tmp_path / "in" / "npo" / part / "log.json" for part in ("verbmem_f", "knowmem_f"))
    assert set(look([one, two]).shown().values()) == {str(one), str(two)}


def test_how_many_files_are_no_results_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from audit.cli import main
    from audit.views import imported

    write(tmp_path / "in" / "npo" / "TOFU_EVAL.json", EVAL)
    for name in ("config", "generation_config"):
        write(tmp_path / "in" / "npo" / f"{name}.json", {"model_type": "llama"})
    with pytest.raises(SystemExit):
        main(["import", str(tmp_path / "in"), "--out", str(tmp_path / "run")])
    assert "2 files are results of no known tool." in capsys.readouterr().err
    assert "2 files are results of no known tool." in imported.sources(Run(tmp_path / "run"))["kind"].tolist()
    assert imported.run_import([tmp_path / "in"], tmp_path / "b") == ["2 files are results of no known tool."]
