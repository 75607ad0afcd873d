"""Said no, but came back: worked by hand on a few items."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from audit.policy import load_policy
from audit.stats import ITEM_COLUMNS
from audit.types import Chart, Estimate, Finding, Residual, Status
from audit.views import returned
from audit.views.returned import Count
from audit.views.words import STATUSES

Findings = dict[str, dict[str, Finding]]


def finding(id: str, scores: dict[str, list[float]], original: float, null: float, place: str = "said") -> Finding:
    rows = [
        (f"forget:{k}", f"e{k}", "forget", role, value)
        for role, values in scores.items()
        for k, value in enumerate(values)
    ]  # fmt: skip
    reference = Estimate(null, null, null, null, 3) if "reference" in scores else None
    return Finding(
        id, Status.MEASURED, "", {}, pd.DataFrame(), pd.DataFrame(rows, columns=ITEM_COLUMNS), Chart("bar", "a", "b"),
        Estimate(original, original, original, null, 3), Estimate(0.2, 0.1, 0.3, null, 3), reference,
        Residual(0.1, 0.0, 0.2), 0.0, {}, place,  # type: ignore[arg-type]
    )  # fmt: skip


def case(attack: dict[str, list[float]], *, recall: dict[str, list[float]] | None = None) -> Findings:
    said = recall or {"original": [1, 1, 1, 0], "candidate": [0, 1, 0, 0], "reference": [0, 0, 0, 0]}
    return {
        "c": {
            returned.RECALL: finding(returned.RECALL, said, 0.75, 0.0),
            "attacks.relearn": finding("attacks.relearn", attack, 0.75, 0.1, "recoverable"),
        }
    }


def test_an_item_comes_back_when_it_is_not_said_and_halfway_back() -> None:
    # average gap of the attack .75 - .1 = .65, so an item counts when its original lies .325 above its floor
    # item 0: not said, (.8 - .1) / (1 - .1) = .78 -> back.  item 1: still said.  item 2: (.3 - .1) / .9 = .22 -> not.
    # item 3: the original never said it, so the candidate forgot nothing
    attack = {"original": [1, 1, 1, 1], "candidate": [0.8, 1, 0.3, 1], "reference": [0.1, 0.1, 0.1, 0.1]}
    back = returned.came_back(case(attack), load_policy())
    assert back["item"].tolist() == ["forget:0"]
    assert back[["candidate", "id", "title", "place", "entity"]].iloc[0].tolist() == [
        "c", "attacks.relearn", "Relearning", "recoverable", "e0"
    ]  # fmt: skip
    assert back[["score", "original", "floor"]].iloc[0].tolist() == [0.8, 1.0, 0.1]


def test_what_the_reference_gives_too_did_not_come_back() -> None:
    # item 0: the reference scores .9 as well, and the original lies only .1 above it: nothing can be told
    attack = {"original": [1, 1, 1, 1], "candidate": [1, 1, 0, 1], "reference": [0.9, 0.1, 0.1, 0.1]}
    assert returned.came_back(case(attack), load_policy()).empty


def test_the_same_rule_exchanged_says_how_many_come_back_by_chance() -> None:
    # candidate and reference exchanged: item 2, where the reference scores .9 and the candidate .1
    attack = {"original": [1, 1, 1, 1], "candidate": [0.8, 1, 0.1, 1], "reference": [0.1, 0.1, 0.9, 0.1]}
    assert returned.by_chance(case(attack), load_policy()) == {"c": Count(1, 1)}
    assert "1 item that it no longer says came back" in returned.counted("c", Count(1, 1))


def test_without_a_reference_the_floor_is_the_null_and_chance_is_unknown() -> None:
    attack = {"original": [1, 1, 1, 1], "candidate": [0.8, 1, 0.3, 1]}
    recall = {"original": [1, 1, 1, 0], "candidate": [0, 1, 0, 0]}
    given = case(attack, recall=recall)
    assert returned.came_back(given, load_policy())["floor"].tolist() == [0.1]
    assert returned.by_chance(given, load_policy()) == {"c": Count(1, None)}
    assert "Without a reference" in returned.counted("c", Count(2, None))


@pytest.mark.parametrize("status", [Status.NOT_IDENTIFIABLE, Status.FAILED])
def test_an_instrument_that_does_not_work_brings_nothing_back(status: Status) -> None:
    attack = {"original": [1, 1, 1, 1], "candidate": [1, 1, 1, 1], "reference": [0, 0, 0, 0]}
    given = case(attack)
    given["c"]["attacks.relearn"] = dataclasses.replace(given["c"]["attacks.relearn"], status=status)
    assert returned.came_back(given, load_policy()).empty
    count = returned.by_chance(given, load_policy())["c"]
    assert count.items is None and count.chance is None
    assert f"cannot be told: relearning is {STATUSES[status]}." in returned.counted("c", count)


def test_without_recall_nothing_can_be_told_and_nothing_is_not_zero() -> None:
    attack = {"original": [1, 1, 1, 1], "candidate": [1, 1, 1, 1], "reference": [0, 0, 0, 0]}
    given = case(attack)
    del given["c"][returned.RECALL]
    sentence = returned.counted("c", returned.by_chance(given, load_policy())["c"])
    assert "cannot be told: recall" in sentence and "0 items" not in sentence
    assert "no attack was asked for" in returned.counted("c", returned.by_chance(case(attack), load_policy(), [])["c"])


def test_what_the_originals_own_block_brings_back_is_no_source() -> None:
    attack = {"original": [1, 1, 1, 1], "candidate": [1, 1, 1, 1], "reference": [0, 0, 0, 0]}
    given = case(attack)
    given["c"]["attacks.restore_layers"] = finding("attacks.restore_layers", attack, 1.0, 0.0, "recoverable")
    assert returned.sources(given, load_policy()) == ["attacks.relearn"]
    # asked for by name it is shown; the headline of all attacks leaves it out
    assert len(returned.came_back(given, load_policy(), ["attacks.restore_layers"])) == 2


def test_drift_and_what_no_policy_consults_is_no_source(findings: Findings) -> None:
    ids = returned.sources(findings, load_policy())
    assert "attacks.relearn" in ids and "probes.linear" in ids
    assert "drift.cka" not in ids and "behaviour.recall" not in ids and "utility.retain" not in ids


def test_the_made_up_candidates_are_told_apart(findings: Findings) -> None:
    counts = returned.by_chance(findings, load_policy())
    numbers = {name: (count.items, count.chance) for name, count in counts.items()}
    assert numbers["hides"][0] is not None and numbers["hides"][0] >= 15 and numbers["hides"][1] == 0
    assert numbers["like-retrained"][0] == 0
    assert numbers["untouched"][0] in (0, 1)
    assert returned.came_back({"new": {}}, load_policy()).empty
