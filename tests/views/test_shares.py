"""Every measure at a glance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from audit.figures.shares import shares as draw
from audit.views.shares import COLUMNS, answers, in_words, layered, shares


def finding(rows: list[tuple[Any, ...]], columns: list[str], works: bool = True) -> Any:
    return SimpleNamespace(table=pd.DataFrame(rows, columns=columns), residual=object() if works else None)


def test_shares_by_hand() -> None:
    # Layer 1: original 0.9, reference 0.1, candidate 0.3: (0.3 - 0.1) / (0.9 - 0.1) = 0.25. Layer 2: original and
    # reference differ by 0.02 < 0.05: empty. Layer 0 is the surface and is left out, and so is the retain split.
    columns = ["layer", "subject", "split", "attribute", "accuracy"]
    rows = [
        (layer, role, split, "all", value)
        for layer, values in ((0, (0.5, 0.5, 0.5)), (1, (0.9, 0.3, 0.1)), (2, (0.12, 0.5, 0.10)))
        for role, value in zip(("original", "candidate", "reference"), values, strict=True)
        for split in ("forget", "retain")
    ]
    found = shares({"npo": {"probes.linear": finding(rows, columns)}}, ["probes.linear", "attacks.relearn"])
    assert found["layer"].tolist() == [1, 2]
    assert found["left"].iloc[0] == pytest.approx(0.25)
    assert pd.isna(found["left"].iloc[1])


def test_the_original_is_as_like_itself_as_can_be() -> None:
    # CKA compares with the original only: 0.6 against a reference of 0.2 is (0.6 - 0.2) / (1 - 0.2) = 0.5.
    columns = ["layer", "subject", "against", "split", "debiased"]
    rows = [(1, "candidate", "original", "forget", 0.6), (1, "reference", "original", "forget", 0.2),
            (1, "candidate", "reference", "forget", 0.3), (1, "original", "reference", "forget", 0.2)]  # fmt: skip
    found = shares({"npo": {"drift.cka": finding(rows, columns)}}, ["drift.cka"])
    assert found["left"].tolist() == pytest.approx([0.5])


def test_an_instrument_that_does_not_work_says_nothing() -> None:
    rows = [(1, "original", "forget", 0.9), (1, "candidate", "forget", 0.5), (1, "reference", "forget", 0.1)]
    columns = ["layer", "subject", "split", "accuracy"]
    for works, empty in ((True, False), (False, True)):
        found = shares({"a": {"probes.truth": finding(rows, columns, works)}}, ["probes.truth"])
        assert found["left"].isna().all() == empty


def test_without_a_reference_nothing_is_said() -> None:
    rows = [(1, "candidate", "original", "forget", 0.6)]
    found = shares(
        {"a": {"drift.cka": finding(rows, ["layer", "subject", "against", "split", "debiased"])}}, ["drift.cka"]
    )
    assert found["left"].isna().all()


def test_a_panel_per_candidate_with_its_share_written_in_each_cell() -> None:
    table = pd.DataFrame(
        [("a", "CKA", 1, 0.5, 0, 1, 0), ("a", "CKA", 2, None, 0, 1, 1), ("<b>", "CKA", 1, -0.1, 0, 1, 0)],
        columns=["candidate", "measure", "layer", "left", "value", "original", "reference"],
    )
    figure = draw(table, ["a", "<b>"])
    written = [list(trace.text) for trace in figure.data if trace.type == "scatter"]
    assert written == [["50\u202f%", ""], ["−10\u202f%", ""]]
    # a word lies over the cell that it belongs to
    assert [list(t.x) for t in figure.data] == [["1", "2"]] * 4 and list(figure.data[1].y) == ["CKA", "CKA"]
    assert figure.layout.coloraxis.cmin == 0
    assert figure.layout.coloraxis.cmax == 1
    assert any("&lt;b&gt;" in a.text for a in figure.layout.annotations)


def test_the_shares_in_words_name_the_least_and_the_most_of_each() -> None:
    rows = [("npo", "m", 1, 0.2, 0, 0, 0), ("npo", "m", 2, 0.9, 0, 0, 0), ("rmu", "m", 1, None, 0, 0, 0)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert in_words(table).replace("\u202f", " ") == "npo: 20 % to 90 %."
    first, second = answers(table)
    assert first.state == "described" and first.sentence.replace("\u202f", " ").startswith("npo: 20 % to 90 % of")
    assert (second.name, second.state) == ("rmu", "none")  # no share is said to be none, not left out
    assert answers(table[table["candidate"] == "rmu"]) == []


def test_only_curves_over_layers_are_shown() -> None:
    assert layered(["drift.cka", "probes.linear", "attacks.relearn", "concepts.weight_delta"]) == [
        "drift.cka", "probes.linear",
    ]  # fmt: skip
