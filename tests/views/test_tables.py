"""Tables of several candidates as one: names for roles, controls once, statuses beside numbers."""

from __future__ import annotations

import io
import math

import pandas as pd

from audit.catalogue import CATALOGUE, evidence_class
from audit.errors import NotIdentifiable
from audit.policy import load_policy
from audit.types import Finding
from audit.views.tables import FOREST, alike, csv, in_place, residuals, together, unanswered, values_of, where
from tests.pages import synthetic

Findings = dict[str, dict[str, Finding]]


def one(findings: Findings, id: str) -> dict[str, Finding | None]:
    return {name: found.get(id) for name, found in findings.items()}


def test_roles_become_names_and_controls_are_taken_once(findings: Findings) -> None:
    table = together(one(findings, "probes.linear"))
    # 5 layers, 2 splits, 3 attributes for each of original, reference and three candidates
    assert table["subject"].value_counts().to_dict() == dict.fromkeys(["original", "reference", *findings], 30)


def test_what_a_subject_is_compared_with_becomes_a_name_too(findings: Findings) -> None:
    table = together(one(findings, "drift.cka"))
    assert set(values_of(table, "subject")) == {"reference", *findings}
    assert len(where(table, subject="reference", against="original", split="forget")) == synthetic.LAYERS
    assert len(where(table, subject="hides", against="reference")) == 2 * synthetic.LAYERS


def test_nothing_measured_is_an_empty_table_with_columns(findings: Findings) -> None:
    failed = synthetic.found("probes.linear", "hides", fails=NotIdentifiable("no"))
    table = together({"hides": failed, "untouched": None})
    assert table.empty and "accuracy" in table.columns
    assert together({}).empty


def test_where_ignores_a_column_that_is_not_there(findings: Findings) -> None:
    table = together(one(findings, "probes.linear"))
    assert len(where(table, nothing="x")) == len(table)
    assert set(where(table, layer=[0, 1])["layer"]) == {0, 1}


def test_residuals_hold_a_row_for_everything_asked(findings: Findings) -> None:
    policy = load_policy()
    part = {"hides": {k: v for k, v in findings["hides"].items() if k != "attacks.relearn"}}
    failed = synthetic.found("attacks.quantization", "hides", fails=NotIdentifiable("Only 3 entities."))
    part["hides"]["attacks.quantization"] = failed
    table = residuals(part, ["attacks.relearn", "attacks.quantization", "attacks.head_projection"], policy)
    assert list(table.columns) == FOREST
    assert list(table["state"]) == ["not measured", "not identifiable", "found"]
    assert math.isnan(table["value"][0]) and math.isnan(table["value"][1])
    assert table["reason"][1] == "Only 3 entities."


def test_unanswered_lists_only_what_has_no_number(findings: Findings) -> None:
    assert unanswered(findings).empty
    failed = synthetic.found("probes.truth", "hides", fails=NotIdentifiable("no"))
    listed = unanswered({"hides": {**findings["hides"], "probes.truth": failed}})
    assert listed.to_dict("records") == [
        {"candidate": "hides", "evidence": "Truth probe", "status": "not identifiable", "reason": "no"}
    ]


def test_in_place_keeps_the_order_of_the_catalogue() -> None:
    attacks = in_place(list(CATALOGUE), "recoverable")
    assert attacks == [id for id in CATALOGUE if evidence_class(id).place == "recoverable"]


def test_no_text_of_a_spreadsheet_is_a_formula() -> None:
    said = ['=cmd|"/c calc"!A1', "@SUM(1)", "-0.04 (-0.23 to 0.12)", "plain"]
    table = pd.DataFrame({"said": said, "score": [-1.5, 2, 3, 4]})
    read = pd.read_csv(io.BytesIO(csv(table)))
    assert list(read["said"]) == ['\'=cmd|"/c calc"!A1', "'@SUM(1)", "-0.04 (-0.23 to 0.12)", "plain"]
    assert list(read["score"]) == [-1.5, 2, 3, 4]


def test_what_is_alike_stands_in_one_row() -> None:
    rows = [("a", "Recall", "skipped", "a is no language model."),
            ("b", "Recall", "skipped", "b is no language model."),
            ("b", "Recall", "failed", "It broke.")]  # fmt: skip
    found = alike(pd.DataFrame(rows, columns=["candidate", "evidence", "status", "reason"]))
    assert found.to_dict("list") == {
        "evidence": ["Recall", "Recall"], "candidates": ["a, b", "b"], "status": ["skipped", "failed"],
        "reason": ["The candidate is no language model.", "It broke."],
    }  # fmt: skip
