"""What single pages choose from: maps, curves, attacks, methods, progress."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from audit.catalogue import CATALOGUE, evidence_class, settings_of
from audit.policy import load_policy
from audit.progress import Progress
from audit.stats import GRID
from audit.types import Finding, Residual
from audit.views import attacks, drift, methods, overview, progress
from audit.views.tables import together

Findings = dict[str, dict[str, Finding]]


def one(findings: Findings, id: str) -> dict[str, Finding | None]:
    return {name: found.get(id) for name, found in findings.items()}


def test_layers_are_those_of_the_method(findings: Findings) -> None:
    table = together(one(findings, "drift.map"))
    assert drift.layers(table, "pca") == [0, 1, 2, 3, 4]
    assert drift.layers(table, "umap") == [2, 4]
    assert drift.subjects(table, ["untouched"]) == ["original", "reference", "untouched"]


def test_a_crowded_map_keeps_the_same_items_in_every_map(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    table = together(one(findings, "drift.map"))
    found, total = drift.points(table, "pca", 4)
    assert (len(found), total) == (200, 200)  # 40 items, five subjects
    monkeypatch.setattr(drift, "MOST", 199)
    monkeypatch.setattr(drift, "SOME", 120)
    found, total = drift.points(table, "pca", 4)
    assert (len(found), total) == (120, 200)  # 40 * 120 / 200 = 24 items in five maps
    assert found.groupby("subject")["item"].agg(frozenset).nunique() == 1
    crowd = drift.crowd(table, "pca", 4)
    assert len(crowd) == 200 and set(crowd) == set(drift.CROWD)  # the picture behind holds them all


@pytest.mark.parametrize("customdata", ["forget:1", ["forget:1"]])
def test_picked_items_are_read_from_customdata_once(customdata: object) -> None:
    points = [{"customdata": customdata}, {"customdata": customdata}, {"x": 1}, {"customdata": 7}]
    assert drift.picked_ids({"points": points}, pd.DataFrame(), []) == ["forget:1"]
    assert drift.picked_ids({}, pd.DataFrame(), []) == []


def test_a_box_and_a_lasso_catch_by_their_shape_what_lies_in_their_own_map() -> None:
    points = pd.DataFrame(
        [("a", "in", 1.0, 1.0), ("a", "out", 3.0, 1.0), ("a", "notch", 1.0, 0.2), ("b", "other", 1.0, 1.0)],
        columns=["subject", "item", "x", "y"],
    )
    box = {"xref": "x", "yref": "y", "x": [2.0, 0.0], "y": [0.0, 2.0]}
    assert drift.picked_ids({"box": [box]}, points, ["a", "b"]) == ["in", "notch"]
    assert drift.picked_ids({"box": [{**box, "xref": "x2"}]}, points, ["a", "b"]) == ["other"]
    notched = {"xref": "x", "x": [0.0, 1.0, 2.0, 2.0, 0.0], "y": [0.0, 0.5, 0.0, 2.0, 2.0]}  # a roof turned down
    assert drift.picked_ids({"lasso": [notched]}, points, ["a", "b"]) == ["in"]


def test_only_the_debiased_estimate_has_an_interval() -> None:
    chart = evidence_class("drift.cka").chart
    assert drift.curve_chart(chart, "debiased", "original").low == "low"
    assert drift.curve_chart(chart, "biased", "original").low is None


def test_the_original_is_at_one_from_itself(findings: Findings) -> None:
    curve = overview.drift_curve(together(one(findings, "drift.cka")))
    assert set(curve.loc[curve["subject"] == "original", "debiased"]) == {1.0}
    assert overview.drift_curve(curve.iloc[:0]).empty


def test_the_original_before_the_attack_is_drawn_along_the_curve(findings: Findings) -> None:
    curve = attacks.run_of(together(one(findings, "attacks.relearn")))
    level = curve[curve["subject"] == "original"]
    assert list(level["step"]) == [0, 40]
    assert set(level["recovery"]) == {0.95}
    assert set(curve["seed"]) == {"all"}
    assert list(attacks.seeds(together(one(findings, "attacks.relearn")))) == ["all", "0", "1", "2"]


def test_recovery_shows_floor_and_ceiling(findings: Findings) -> None:
    table = attacks.recovery(findings, ["attacks.relearn"])
    row = table[table["candidate"] == "hides"].iloc[0]
    assert row["floor"].startswith("0.10") and row["floor"].endswith("reference")
    assert row["original"].startswith("0.95")
    assert attacks.recovery({"hides": {}}, ["attacks.relearn"]).empty


def test_what_applies_to_no_candidate_is_named_instead_of_drawn() -> None:
    cells = pd.DataFrame(
        [("a", "A", "one", "not applicable"), ("a", "A", "two", "not applicable"), ("b", "B", "one", "found"),
         ("b", "B", "two", "not applicable"), ("c", "C", "one", "not identifiable")],
        columns=["id", "title", "candidate", "state"],
    )  # fmt: skip
    drawn, words = attacks.applying(cells)
    assert list(drawn["id"]) == ["b", "b", "c"]
    assert words == "Left out, for they apply to no candidate: A."
    assert attacks.applying(drawn)[1] == "" and len(attacks.applying(drawn)[0]) == 3


def test_the_matrix_has_a_cell_for_every_attack_and_candidate(findings: Findings) -> None:
    ids = attacks.ids_of(list(findings["hides"]))
    cells = attacks.matrix(findings, ids, load_policy())
    assert len(cells) == len(ids) * 3
    cell = cells[(cells["id"] == "attacks.relearn") & (cells["candidate"] == "hides")].iloc[0]
    assert (cell["score"], cell["original"], cell["floor"], cell["floor_is"]) == (0.85, 0.95, 0.1, "reference")
    assert cell["value"] == pytest.approx(0.75 / 0.85)
    empty = attacks.matrix({"new": {}}, ["attacks.relearn"], load_policy(), running=True)
    assert empty[["state", "reason"]].iloc[0].tolist() == ["not measured", "not yet"]
    assert attacks.answers(empty, ["new"], 0.1)[0].state == "none"


def test_one_sentence_answers_for_all_attacks(findings: Findings) -> None:
    cells = attacks.matrix(findings, ["attacks.relearn", "attacks.quantization"], load_policy())
    hides, like = attacks.answers(cells, ["hides", "like-retrained"], 0.1)
    assert hides.state == "found" and hides.sentence.startswith("hides gives it back in 2 of 2 attacks; most under")
    assert like.state == "clear" and "none of 2 attacks brings it back" in like.sentence
    cells.loc[cells["id"] == "attacks.relearn", ["value", "low", "high"]] = float("nan")
    cells.loc[cells["id"] == "attacks.relearn", ["state", "above"]] = ["failed", False]
    assert attacks.answers(cells, ["hides"], 0.1)[0].sentence.endswith("Without a number: relearning (failed).")
    assert attacks.first_choice(cells, ["hides"]) == ("attacks.quantization", "hides")
    assert attacks.first_choice(cells, []) is None


def test_a_diagnosis_is_shown_but_counts_as_no_attack(findings: Findings) -> None:
    ids = attacks.ids_of(["attacks.restore_layers", "attacks.relearn", "probes.linear"])
    assert ids == ["attacks.relearn", "attacks.restore_layers"]
    cells = attacks.matrix(findings, ids, load_policy())
    assert set(cells["id"]) == set(ids)
    (hides,) = attacks.answers(cells, ["hides"], 0.1)
    assert "in 1 of 1 attacks; most under relearning" in hides.sentence
    cells.loc[cells["id"] == "attacks.restore_layers", "value"] = 2.0
    assert attacks.first_choice(cells, ["hides"]) == ("attacks.relearn", "hides")
    kinds = attacks.recovery(findings, ids).drop_duplicates("attack").set_index("attack")["kind"]
    assert kinds.tolist() == ["attack", "diagnosis"]


def test_one_of_many_attacks_just_above_the_limit_is_not_found(findings: Findings) -> None:
    # 2 % of the bootstrap lies at or below the limit: p = .02 passes alone (.025), but not among three
    # attacks (.025 / 3 = .0083), of which the other two find nothing
    grid = np.array(GRID)
    just = Residual(0.2, 0.101, 0.3, tuple(np.interp(grid, [0, 0.02, 1], [0.05, 0.1, 0.4])))
    nothing = Residual(0.0, -0.05, 0.05, tuple(np.interp(grid, [0, 1], [-0.06, 0.06])))
    ids = ["attacks.relearn", "attacks.quantization", "attacks.head_projection"]
    found = {id: dataclasses.replace(findings["hides"][id], residual=nothing) for id in ids}
    found["attacks.relearn"] = dataclasses.replace(found["attacks.relearn"], residual=just)
    alone = attacks.matrix({"c": found}, ids[:1], load_policy())
    assert alone["above"].tolist() == [True] and attacks.answers(alone, ["c"], 0.1)[0].state == "found"
    among = attacks.matrix({"c": found}, ids, load_policy())
    assert not among["above"].any() and attacks.answers(among, ["c"], 0.1)[0].state == "unclear"


@pytest.mark.parametrize("customdata", [["attacks.relearn", "npo"], ("attacks.relearn", "npo")])
def test_a_clicked_cell_names_attack_and_candidate(customdata: object) -> None:
    assert attacks.picked_cell({"points": [{"x": 1}, {"customdata": customdata}]}) == ("attacks.relearn", "npo")
    assert attacks.picked_cell({"points": [{"customdata": "one"}]}) is None
    assert attacks.picked_cell({}) is None


def test_any_attack_can_be_drawn_on_one_axis(findings: Findings) -> None:
    blocks = attacks.drawn(
        evidence_class("attacks.head_projection").chart, together(one(findings, "attacks.head_projection"))
    )
    assert sorted(blocks.table["layer"].unique()) == [1, 2, 3, 4] and blocks.level is None
    assert blocks.chart.facet == "split"
    table = together(one(findings, "attacks.quantization"))
    table = table[(table["subject"] != "original") | (table["format"] == "none")]
    formats = attacks.drawn(evidence_class("attacks.quantization").chart, table)
    assert formats.level == 0.95 and "original" not in set(formats.table["subject"])
    curve = together(one(findings, "attacks.relearn"))
    curve = curve[curve["seed"] == "all"]
    assert attacks.is_curve(curve) and not attacks.is_curve(table)
    steps = attacks.drawn(evidence_class("attacks.relearn").chart, curve)
    assert steps.table.loc[steps.table["subject"] == "original", "step"].tolist() == [0, 40]
    panels = attacks.curve_panels(evidence_class("attacks.relearn").chart, steps.table)
    assert [panel.y for panel in panels] == ["recovery", "retain_recall"]


def test_inside_says_the_worst_of_the_two(findings: Findings) -> None:
    answers = {a.name: a for a in overview.inside(findings, load_policy())}
    assert answers["hides"].state == "found"
    assert answers["like-retrained"].state == "clear"
    assert overview.inside({"new": {}}, load_policy(), running=True)[0].sentence.count("not measured yet") == 2


@pytest.mark.parametrize("id", list(CATALOGUE))
def test_methods_know_every_setting_and_every_column(id: str) -> None:
    assert {s.name: s.default for s in methods.settings(id)} == settings_of(evidence_class(id))
    assert set(methods.columns(id)) == set(evidence_class(id).row._fields)  # type: ignore[attr-defined]
    assert methods.access(id)


def test_a_meaning_is_the_string_below_the_field() -> None:
    meanings = {s.name: s.meaning for s in methods.settings("attacks.relearn")}
    assert meanings["steps"] == "Training steps."


def test_every_evidence_is_in_one_place() -> None:
    assert sorted(id for ids in methods.by_place().values() for id in ids) == sorted(CATALOGUE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "not known yet"), (0.2, "about 1 s"), (80, "about 80 s"), (100, "about 2 min"), (5400, "about 1.5 h")],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert progress.duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(2**30, "1.0 GiB"), (3 * 2**20, "3.0 MiB"), (2048, "2 KiB")])
def test_size(count: int, words: str) -> None:
    assert progress.size(count) == words


def test_progress_in_words() -> None:
    now = Progress("running", 0.431, "attacks.relearn", "npo", "step 3", 200.0)
    assert progress.summary(now) == "running, 43\u202f% done, time left: about 3 min"
    assert progress.line(now) == "Relearning on npo: step 3"
    assert progress.line(Progress("running")) == "starting"
    assert progress.summary(Progress("failed", elapsed=120.0)) == "failed after about 2 min"
    assert progress.summary(Progress()) == "not started"
