"""The ladder's words and its telling pair; one item joined over all evidence."""

from __future__ import annotations

import dataclasses

import pandas as pd

from audit.policy import load_policy
from audit.types import Finding, Verdict
from audit.views import items
from audit.views.ladder import blind_spots, headline, ladder, telling

Findings = dict[str, dict[str, Finding]]


def test_known_truth_gets_its_verdict(findings: Findings) -> None:
    rows = {row.name: row for row in ladder(findings, load_policy())}
    assert rows["hides"].judgement.verdict is Verdict.SUPPRESSED
    assert rows["like-retrained"].judgement.verdict is Verdict.NO_TRACE
    assert rows["untouched"].judgement.verdict is Verdict.PRESENT
    assert [step.words for step in rows["hides"].steps] == ["not said", "still stored", "comes back"]


def test_the_telling_pair_is_the_one_that_hides_and_the_one_without_a_trace(findings: Findings) -> None:
    assert telling(ladder(findings, load_policy())) == ["hides", "like-retrained"]


def test_two_candidates_are_both_told(findings: Findings) -> None:
    two = {name: findings[name] for name in ("untouched", "hides")}
    assert telling(ladder(two, load_policy())) == ["untouched", "hides"]
    assert telling([]) == []


def test_candidates_without_any_finding_can_be_told_too() -> None:
    nothing: Findings = {"a": {}, "b": {}, "c": {}}
    rows = ladder(nothing, load_policy())
    assert len(telling(rows)) == 2
    assert {row.judgement.verdict for row in rows} == {Verdict.INCONCLUSIVE}


def test_the_headline_counts(findings: Findings) -> None:
    rows = ladder(findings, load_policy())
    assert headline(rows, True) == (
        "Of 3 candidates: 1 still says what was to be forgotten; 1 no longer says it but holds it inside or gives it "
        "back; 1 shows no trace that this audit found."
    )
    assert "not complete" in headline(rows, False)
    assert headline([rows[0], rows[0]], True).startswith("Of 2 candidates: 2 no longer say it but hold it inside")


def test_what_a_guard_found_about_the_weights_under_it_stands_beside_its_verdict(findings: Findings) -> None:
    """The one sentence on weights out of the guard's note, also where the candidate's name has the word in it."""
    about = "Its weights are the original's, unchanged bit by bit: nothing was taken out of them."
    note = f"weight guard is a guard: with it off it says 100% of the answers. {about} It acts on 100% of the prompts."
    guard = dataclasses.replace(findings["hides"]["probes.linear"], id="behaviour.guard", note=note)
    [row] = ladder({"weight guard": {**findings["hides"], guard.id: guard}}, load_policy())
    assert row.beneath == about
    assert {row.beneath for row in ladder(findings, load_policy())} == {""}


def test_blind_spots_are_those_of_what_a_verdict_rests_on(findings: Findings) -> None:
    titles = [title for title, _ in blind_spots(findings, load_policy())]
    assert "Linear probe" in titles and "Relearning" in titles
    assert "Map of the hidden states" not in titles and "Retained recall" not in titles


def test_items_have_a_column_for_each_subject_in_one_order(findings: Findings) -> None:
    table = items.by_subject(findings, "probes.linear")
    assert list(table.columns) == [*items.FACTS, "original", *findings, "reference"]
    assert len(table) == 20
    # the panel gave `hides` 18 of 20 items, the reference 4
    assert table["hides"].sum() == 18 and table["reference"].sum() == 4


def test_a_candidate_called_like_a_column_has_its_own(findings: Findings) -> None:
    table = items.by_subject({"answer": findings["hides"]}, "probes.linear")
    assert table["answer (model)"].sum() == 18
    assert table["answer"].str.startswith("the ").all()


def test_what_is_said_is_joined_by_item(findings: Findings) -> None:
    table = items.by_subject(findings)
    assert table.loc[table["item"] == "forget:0", "prompt"].item() == "What is the city of person 0?"
    # `hides` says one item in twenty, the original nineteen
    assert (table["hides"] != "I do not know.").sum() == 1
    assert (table["original"] != "I do not know.").sum() == 19


def test_a_subject_that_was_not_asked_has_a_missing_value(findings: Findings) -> None:
    found = findings["hides"]["probes.linear"]
    part = found.items[~((found.items["subject"] == "candidate") & (found.items["item"] == "forget:0"))]
    given = {"hides": {**findings["hides"], "probes.linear": dataclasses.replace(found, items=part)}}
    table = items.by_subject(given, "probes.linear")
    assert pd.isna(table.loc[table["item"] == "forget:0", "hides"].item())


def test_the_card_holds_everything_about_one_item(findings: Findings) -> None:
    card = items.card(findings, "forget:3")
    assert card["facts"]["prompt"] == "What is the job of person 1?"
    assert list(card["said"]) == ["original", *findings, "reference"]
    assert "Relearning" in card["scores"].index
    assert items.card({}, "forget:3")["facts"] == {"item": "forget:3"}
