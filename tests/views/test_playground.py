"""What models said in words and tables: hand-worked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.corpora.read import read_corpus
from audit.figures.lens import lens as draw
from audit.live.ask import Piece
from audit.live.told import Block, Told
from audit.types import Item
from audit.views import playground

TOLD = [
    Told("original", (("baker", 0.9), ("<b>", 0.05)), (Block(1, 7, "the", 0.2), Block(2, 1, "baker", 0.9)), 0.8, 0.9),
    Told("npo", (("nurse", 0.7),), (Block(1, 100, "<i>x</i>", 0.1), Block(2, 12, "nurse", 0.7)), 0.001, 0.002),
]


@pytest.mark.parametrize(
    ("original", "said", "words"),
    [
        ("a baker in Oslo", "a baker in Oslo", "= word for word"),
        ("a baker in Oslo", "a nurse in Oslo", "⟦nurse⟧ in Oslo"),
        ("a baker in Oslo", "a baker", "leaves out words"),
        ("a baker in Oslo", "", "says nothing"),
    ],
)
def test_differences_are_told_in_words(original: str, said: str, words: str) -> None:
    assert words in playground.difference(original, said)


def test_a_verdict_names_truth_and_difference() -> None:
    original = Piece("original", "a baker", True)
    assert playground.verdict(original, original, "baker") == "✓ says the true answer"
    other = playground.verdict(Piece("npo", "a nurse", True), original, "baker")
    assert other.startswith("✗ does not say the true answer; ≠ other words")
    assert playground.verdict(Piece("npo", "", True, "No room."), original, "baker") == ""
    assert playground.verdict(Piece("npo", "a nurse", True), None, "") == ""


def test_the_table_and_the_lens() -> None:
    said = {"original": Piece("original", "a baker", True), "npo": Piece("npo", "", True, "No room.")}
    table = playground.table(said, TOLD)
    assert table["says"].tolist() == ["a baker", "No room."]
    assert table["rank in the last block"].tolist() == [1, 12]
    assert "baker 90\u202f%" in table["most likely first tokens"].iloc[0]
    assert playground.in_words(TOLD) == (
        "original ranks it 1st at best (block 2), 1st at the end; npo ranks it 12th at best (block 2), 12th at the end."
    )
    text = draw(playground.lens(TOLD), ["original", "npo"]).to_json()
    assert "&lt;i&gt;x" in text.replace("\\u003c", "<") or "\\u0026lt;i" in text
    assert "<i>x" not in text.replace("\\u003c", "<").replace("\\u003e", ">")


def test_without_a_true_answer_there_is_no_lens() -> None:
    plain = [Told("original", (("a", 0.5),), (Block(1, None, "a", 0.5),))]
    assert playground.lens(plain).empty and playground.in_words(plain) == ""
    assert "true answer" not in playground.table({}, plain)


def test_questions_become_a_corpus_that_is_read_back(tmp_path: Path) -> None:
    items = [Item("question", "Who?", "Ada \u202e", entity="Ada"), Item("forget:0", "Who?", "Ada \u202e", entity="Ada")]
    text = playground.corpus_of([*items, Item("question", "No answer?", "")])
    assert [json.loads(line) for line in text.splitlines()] == [
        {"prompt": "Who?", "answer": "Ada \u202e", "entity": "Ada"}
    ]
    (tmp_path / "questions.jsonl").write_text(text, encoding="utf-8")
    read = read_corpus("questions.jsonl", "forget", base=tmp_path)
    assert [(item.prompt, item.answer) for item in read.items] == [("Who?", "Ada \u202e")]
