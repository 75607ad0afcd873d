"""Everything about one item, found by the columns of tables."""

from __future__ import annotations

import pytest

from audit.catalogue import CATALOGUE, evidence_class
from audit.policy import load_policy
from audit.types import Finding
from audit.views import examples, items, returned
from tests.pages import shapes

Findings = dict[str, dict[str, Finding]]


@pytest.fixture(scope="module")
def index(findings: Findings):  # type: ignore[no-untyped-def]
    with shapes.registered():
        return examples.index(items.texts(findings), returned.came_back(findings, load_policy()))


def test_the_index_says_who_gives_an_item_back(index, findings: Findings) -> None:  # type: ignore[no-untyped-def]
    assert set(index["split"]) == {"forget", "retain"}
    assert len(index) == 40 and index["item"].is_unique
    back = index[index["came back"] != ""]
    assert back["came back"].str.contains("hides").all() and (back["split"] == "forget").all()


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        ({}, 40),
        ({"split": "forget"}, 20),
        ({"split": "forget", "attribute": "city"}, 10),
        ({"entity": "person 3"}, 4),
        ({"search": "JOB 3 person"}, 6),  # by id or by name: 3, 7 (person 3) and 13 of either split
        ({"search": "forget:1 city"}, 5),  # city: forget:10, 12, 14, 16, 18
        ({"search": ".*"}, 0),
        ({"search": "nobody"}, 0),
    ],
)
def test_filters(index, conditions: dict[str, str], number: int) -> None:  # type: ignore[no-untyped-def]
    assert len(examples.chosen(index, **conditions)) == number  # type: ignore[arg-type]


def test_only_what_came_back(index) -> None:  # type: ignore[no-untyped-def]
    found = examples.chosen(index, only_back=True)
    assert 0 < len(found) < 20 and (found["came back"] != "").all()


def test_one_item_beside_another() -> None:
    assert examples.beside(["a", "b", "c"], "b") == ("a", "c")
    assert examples.beside(["a", "b"], "a") == (None, "b")
    assert examples.beside(["a", "b"], "b") == ("a", None)
    assert examples.beside(["a", "b"], "elsewhere") == (None, "a")
    assert examples.beside([], "a") == (None, None)


def test_transcripts_are_found_by_their_columns(findings: Findings) -> None:
    assert shapes.TEXTS in examples.with_texts(findings)
    assert "behaviour.recall" not in examples.with_texts(findings)
    rows, most = examples.transcript(findings, shapes.TEXTS, "forget:3")
    assert most == 6  # two families of three runs
    assert list(dict.fromkeys(rows["subject"])) == ["original", "reference", *findings]
    assert (rows["subject"].value_counts() == examples.MOST_SAID).all()
    assert rows.groupby("subject")["score"].apply(lambda s: s.is_monotonic_decreasing).all()
    only, most = examples.transcript(findings, shapes.TEXTS, "forget:3", "role play")
    assert set(only["family"]) == {"role play"} and most == 3
    assert examples.families(findings, shapes.TEXTS, "forget:3") == ["prefix", "role play"]
    assert examples.transcript(findings, shapes.TEXTS, "no such item")[1] == 0
    assert len(examples.items_with_texts(findings, shapes.TEXTS)) == 20
    assert examples.has_texts(findings, shapes.TEXTS, "forget:3")
    assert not examples.has_texts(findings, shapes.TEXTS, "no such item")
    assert not examples.has_texts(findings, "drift.cka", "forget:3")


def test_a_remark_holds_what_the_row_holds_besides() -> None:
    row = {"item": "a", "subject": "b", "said": "c", "score": 0.5, "low": 0.1, "run": 2, "prompt": "Q", "answer": "x",
           "wanted": "x", "phrase": None, "rate": float("nan")}  # fmt: skip
    assert examples.remark(row, "Q") == "score 0.50; run 2"
    assert examples.remark({**row, "wanted": "other"}, "P") == "score 0.50; run 2; wanted other; asked: Q"
    assert "…" in examples.remark({"prompt": "x" * 1000}, "")


def test_curves_over_layers_are_found_by_their_columns(findings: Findings) -> None:
    ((id, chart, table),) = [c for c in examples.by_layer(findings, "forget:2") if c[0] == shapes.LENS]
    assert (id, chart.y) == (shapes.LENS, "rank")
    assert set(table["item"]) == {"forget:2"} and set(table["subject"]) == {"original", "reference", *findings}


def test_every_score_of_an_item(findings: Findings) -> None:
    back = returned.came_back(findings, load_policy())
    item = back.loc[back["id"] == "attacks.relearn", "item"].iloc[0]
    table = examples.scores(findings, item, back)
    assert list(table.columns) == ["family", "evidence", "original", "reference", *findings, "came back in"]
    row = table[table["evidence"] == "Relearning"].iloc[0]
    assert row["family"] == "under attack" and row["came back in"] == "hides"
    ids = returned.sources(findings, load_policy())
    assert [one.name for one in examples.answers(findings, item, back, ids)] == list(findings)
    assert examples.answers(findings, item, back, ids)[0].state == "found"


def test_answers_without_anything_say_so(findings: Findings) -> None:
    back = returned.came_back({}, load_policy())
    assert examples.answers({"new": {}}, "forget:0", back, [])[0].state == "none"
    ids = returned.sources(findings, load_policy())
    scores = findings["hides"]["behaviour.recall"].items.pivot(index="item", columns="subject", values="score")
    lost = scores[(scores["original"] == 1) & (scores["candidate"] == 0)].index[0]
    never = scores[scores["original"] == 0].index[0]
    hides = {"hides": findings["hides"]}
    (unmeasured,) = examples.answers(
        {"hides": {"behaviour.recall": findings["hides"]["behaviour.recall"]}}, lost, back, ids
    )
    assert unmeasured.state == "none" and "was not measured" in unmeasured.sentence
    (tried,) = examples.answers(hides, lost, back, ids)  # `back` is empty here: as if none of them had found it
    number = len(returned.telling(findings["hides"], ids, lost))
    assert number > 1 and tried.state == "clear" and f"none of {number} attacks and readings" in tried.sentence
    (nothing,) = examples.answers(hides, never, back, ids)
    assert nothing.state == "described" and "the original itself says 0" in nothing.sentence


def test_features_of_an_item(findings: Findings) -> None:
    table = examples.features(findings, "forget:0")
    assert list(table.columns) == ["block", "feature", "strongest at", "original", "reference", *findings]
    assert len(table) == 12 and table["original"].is_monotonic_decreasing
    assert table.loc[0, "hides"] == 0.9 and table.loc[0, "strongest at"] == "of"
    assert examples.features(findings, "forget:1").empty


def test_titles_are_unique_because_tables_show_them_as_names() -> None:
    titles = [evidence_class(id).title for id in CATALOGUE]
    assert len(set(titles)) == len(titles)
