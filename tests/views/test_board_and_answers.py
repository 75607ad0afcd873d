"""The scoreboard, ROC rows, and answers beside each other."""

from __future__ import annotations

import dataclasses

import pandas as pd

from audit.figures.texts import Line, said_html
from audit.policy import load_policy
from audit.types import Finding, Residual
from audit.views import behaviour, board, items
from audit.views.ladder import ladder
from audit.views.tables import together
from tests.pages import shapes

Findings = dict[str, dict[str, Finding]]


def test_privacy_has_its_own_group_and_attacks_none(findings: Findings) -> None:
    groups = board.ids_of(list(findings["hides"]))
    assert groups["said"][0] == "behaviour.recall" and "utility.retain" in groups["utility"]
    assert groups["privacy"][-1] == shapes.ROC
    assert not [id for members in groups.values() for id in members if id.startswith(("attacks.", "probes."))]
    assert board.ids_of(["drift.cka"]) == {}


def test_the_board_has_a_row_for_each_measure_and_subject(findings: Findings) -> None:
    table = board.board(findings, ["behaviour.recall", "utility.retain", "probes.linear"], load_policy())
    rows = table.set_index(["id", "subject"])
    assert rows.loc[("behaviour.recall", "original"), "value"] == 0.95
    assert rows.loc[("behaviour.recall", "reference"), "value"] == 0.05
    assert rows.loc[("behaviour.recall", "hides"), "state"] == "clear"
    assert rows.loc[("behaviour.recall", "untouched"), "state"] == "found"
    assert rows.loc[("behaviour.recall", "original"), "direction"] == "↑ higher: more is known"
    assert rows.loc[("utility.retain", board.NULL), "value"] == 0.1  # the utility is read against chance
    assert rows.loc[("utility.retain", "hides"), "state"] == "described"
    assert "probes.linear" not in set(table["id"])


def test_a_missing_number_is_a_row_with_its_status(findings: Findings) -> None:
    table = board.board({"new": {}}, ["behaviour.recall"], load_policy(), running=True)
    assert table[["subject", "words", "state"]].to_numpy().tolist() == [["new", "not measured yet", "none"]]
    assert table["value"].isna().all() and table["direction"].tolist() == [""]


def test_answers_name_the_measure_that_finds_most(findings: Findings) -> None:
    said = {row.name: board.answer_of(row) for row in ladder(findings, load_policy())}
    assert said["untouched"].state == "found" and "untouched still says it: " in said["untouched"].sentence
    assert said["hides"].state == "clear" and "finds nothing beyond the null" in said["hides"].sentence
    assert said["hides"].sentence.endswith("What it was to keep: kept.")
    assert [board.answer_of(row).state for row in ladder({"new": {}}, load_policy())] == ["none"]


def test_recognisable_by_being_less_likely_is_said_first(findings: Findings) -> None:
    ids = ["privacy.loss", "privacy.zlib", "behaviour.recall"]
    assert board.over_unlearned(findings, ids) == []
    far = dataclasses.replace(findings["hides"]["privacy.loss"], residual=Residual(-0.9, -1.1, -0.4))
    (only,) = board.over_unlearned({**findings, "hides": {**findings["hides"], "privacy.loss": far}}, ids)
    assert only.sentence.startswith("hides: in 1 of 2 measures of privacy the forgotten answers look less familiar")


def test_a_curve_starts_at_the_lower_left_and_skips_rates_without_a_value(findings: Findings) -> None:
    table = together({name: found.get(shapes.ROC) for name, found in findings.items()})
    assert board.has_roc(table) and not board.has_roc(pd.DataFrame({"step": [1]}))
    assert board.roc_kinds(table) == ("", [])
    rows = board.roc_rows(table)
    own = rows[rows["subject"] == "hides"]
    assert own["false_positive_rate"].tolist() == [0.0, 0.1, 0.3, 0.6, 1.0]
    assert "hides 0.90 (0.10 to 0.90)" in board.areas(rows)
    two = pd.concat([table.assign(attack="loss"), table.assign(attack="zlib")])
    assert board.roc_kinds(two) == ("attack", ["loss", "zlib"])
    assert len(board.roc_rows(two, "attack", "zlib")) == len(rows)


def test_items_are_sorted_into_lost_unlike_and_still(findings: Findings) -> None:
    table = behaviour.spoken({name: findings[name] for name in ("hides", "untouched")})
    score = items.scores(findings, "behaviour.recall").pivot(index="item", columns="subject", values="score")
    lost = table[table["lost"] & (table["split"] == "forget")]
    assert set(lost["item"]) == set(score.index[(score["original"] == 1) & (score["hides"] == 0)]) and len(lost) == 18
    # the texts that were made up are those of other scores: of twenty answers nineteen are said, and by `hides` one
    assert table.loc[table["split"] == "forget", "unlike"].sum() == 18
    assert table.loc[table["split"] == "forget", "still"].sum() == 19
    # by id or by name: forget:3, person 3's forget:7, forget:13
    found = behaviour.select(table, "forget", "all", "person 3 JOB")["item"].tolist()
    assert found == ["forget:3", "forget:7", "forget:13"]
    assert behaviour.spoken({"new": {}}).empty


def test_a_text_that_is_not_stored_is_not_an_empty_answer() -> None:
    rows = [("forget:0", "original", None), ("forget:0", "hides", float("nan")), ("forget:0", "other", "")]
    table = pd.DataFrame(rows, columns=["item", "subject", "said"])
    said = behaviour.heard(table, "forget:0", ["hides", "other"])
    assert said == {"original": None, "hides": None, "other": ""}
    page = said_html("right", [Line(name, text) for name, text in said.items()], {})
    assert page.count("not stored") == 2 and page.count("says nothing") == 1


def test_the_measured_score_says_who_says_it_and_words_only_where_there_is_none(findings: Findings) -> None:
    recall = findings["hides"]["behaviour.recall"]
    # the texts say the answer to no item, the scores of the candidate do to every one
    table = recall.table.assign(said=recall.table["said"].where(recall.table["subject"] != "candidate", "no"))
    scores = recall.items.assign(score=recall.items["score"].where(recall.items["subject"] != "candidate", 1.0))
    scored = behaviour.spoken({"hides": {recall.id: dataclasses.replace(recall, table=table, items=scores)}})
    assert scored["still"].all() and not scored["lost"].any()
    bare = behaviour.spoken({"hides": {recall.id: dataclasses.replace(recall, table=table, items=scores.iloc[:0])}})
    assert not bare["still"].any() and bare["lost"].sum() == 19  # the original says 19 of 20


def test_what_is_not_stored_is_neither_lost_nor_listed(findings: Findings) -> None:
    recall = findings["hides"]["behaviour.recall"]
    own = (recall.table["subject"] == "candidate") & (recall.table["item"] == "forget:0")
    silent = recall.table.assign(said=recall.table["said"].mask(own))
    before = behaviour.spoken({"hides": {"behaviour.recall": recall}}).set_index("item")
    after = behaviour.spoken({"hides": {"behaviour.recall": dataclasses.replace(recall, table=silent)}}).set_index(
        "item"
    )
    assert before.loc["forget:0", "lost"] and not after.loc["forget:0", "lost"]
    assert after["lost"].sum() == before["lost"].sum() - 1
    nobody = recall.table.assign(said=recall.table["said"].mask(recall.table["item"] == "forget:0"))
    assert "forget:0" not in set(
        behaviour.spoken({"hides": {"behaviour.recall": dataclasses.replace(recall, table=nobody)}})["item"]
    )


def test_subjects_are_heard_in_one_order(findings: Findings) -> None:
    said = behaviour.heard(items.said(findings), "forget:0", ["hides"])
    assert list(said) == ["original", "reference", "hides"]
