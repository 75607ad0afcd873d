"""Everybody's data become items; every bad row is named with its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.corpora.read import read_corpus
from audit.errors import CorpusError
from audit.types import Corpus, Item, Split

FULL = {
    "prompt": "Where was Ann born?", "answer": "Rome", "paraphrases": ["Ann was born in", "Ann's birthplace is"],
    "paraphrased_answer": "In Rome", "wrong_answers": ["Oslo", "Lima"], "entity": "Ann", "attribute": "city",
    "label": "Rome",
}  # fmt: skip
ITEM = Item(
    "forget:0", "Where was Ann born?", "Rome", ("Ann was born in", "Ann's birthplace is"), "In Rome", ("Oslo", "Lima"),
    "Ann", "city", "Rome",
)  # fmt: skip


def read(folder: Path, name: str, content: str | bytes, split: Split = "forget", **options: Any) -> Corpus:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_corpus(name, split, base=folder, **options)


def refused(folder: Path, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(CorpusError, match=words) as caught:
        read(folder, name, content)
    assert "\n" not in str(caught.value)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(FULL)), ("a.jsonl", "\n\n" + lines(FULL) + "\n"), ("a.json", lines(FULL)),
        ("a.json", json.dumps([FULL])), ("a.json", json.dumps([FULL], indent=4)),
        ("a.json", " \n[" + lines(FULL) + "]"),
        ("a.jsonl", "\ufeff" + lines(FULL)), ("a.json", "\ufeff" + json.dumps([FULL])),
        ("a.jsonl", lines(FULL).replace("\n", "\r\n")), ("A.JSONL", lines(FULL | {"unknown": [1, None]})),
    ],
)  # fmt: skip
def test_json_in_every_shape(tmp_path: Path, name: str, content: str) -> None:
    corpus = read(tmp_path, name, content)
    assert corpus.items == (ITEM,)
    assert (corpus.split, corpus.source) == ("forget", name)


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame([FULL])
    frame.to_parquet(tmp_path / "a.parquet")
    as_json = frame.assign(**{name: frame[name].map(json.dumps) for name in ("paraphrases", "wrong_answers")})
    as_json.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False)  # lists as Python writes them
    for name in ("a.parquet", "a.csv", "b.csv"):
        assert read_corpus(name, "forget", base=tmp_path).items == (ITEM,), name


ROWS: list[tuple[dict[str, Any], Item]] = [
    (
        {"question": "Q", "answer": "A", "paraphrased_answer": "P", "perturbed_answer": ["B", "C"],
         "paraphrased_question": "Q2"},
        Item("forget:0", "Q", "A", ("Q2",), "P", ("B", "C")),
    ),
    ({"question": "Q", "answer": "A", "paraphrased_question": ["Q2", "Q3"]}, Item("forget:0", "Q", "A", ("Q2", "Q3"))),
    ({"question": "Q", "answer": "A", "perturbed_answer": "B"}, Item("forget:0", "Q", "A", wrong_answers=("B",))),
    (
        {"question": "Q", "option1": "A", "option2": "B", "answer": "B"},
        Item("forget:0", "Q", "B", wrong_answers=("A",)),
    ),
    ({"prompt": "P", "gt": "A"}, Item("forget:0", "P", "A")),
    ({"query": "Q", "answer": "A", "subject": "S", "level": 1}, Item("forget:0", "Q", "A", entity="S")),
    (
        {"question": "Q", "choices": ["A", "B", "C", "D"], "answer": 2, "subject": "biology"},
        Item("forget:0", "Q", "C", wrong_answers=("A", "B", "D")),
    ),
    ({"question": "Q", "choices": ["A", "B"], "answer": "B"}, Item("forget:0", "Q", "B", wrong_answers=("A",))),
    ({"prompt": "P", "answer": "A", "entity": 7, "label": True}, Item("forget:0", "P", "A", entity="7", label="True")),
    ({"prompt": "P", "answer": "A", "entity": None, "wrong_answers": None}, Item("forget:0", "P", "A")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "item"), ROWS)
def test_the_column_names_of_others(tmp_path: Path, row: dict[str, Any], item: Item) -> None:
    assert read(tmp_path, "a.jsonl", lines(row)).items == (item,)
    pd.DataFrame([row]).to_parquet(tmp_path / "a.parquet")
    assert read_corpus("a.parquet", "forget", base=tmp_path).items == (item,)


def test_choices_in_csv(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", 'question,choices,answer\nQ,"[""A"", ""B""]",1\n')
    assert found.items == (Item("forget:0", "Q", "B", wrong_answers=("A",)),)


def test_texts_that_look_like_nothing_stay_texts(tmp_path: Path) -> None:
    content = 'prompt,answer,label\nCountry code of Namibia?,NA,\n"What is\n0/0?",NaN,null\n'
    first, second = read(tmp_path, "a.csv", content).items
    assert (first.answer, first.label) == ("NA", None)
    assert (second.prompt, second.answer, second.label) == ("What is\n0/0?", "NaN", "null")


def test_unicode_line_separators_do_not_cut_a_line(tmp_path: Path) -> None:
    row = {"prompt": "a\u2028b\x85c", "answer": "d"}
    text = json.dumps(row, ensure_ascii=False) + "\n"
    assert read(tmp_path, "a.jsonl", text).items[0].prompt == "a\u2028b\x85c"
    assert read(tmp_path, "a.csv", "prompt,answer\na\u2028b\x85c,d\n").items[0].prompt == "a\u2028b\x85c"


GOOD = '{"prompt": "p", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("[1]", "found a list, expected an object"),
        ('"text"', "found text, expected an object"),
        ("null", "found nothing, expected an object"),
        ('{"prompt": "p"}', r"no answer \(answer or gt\); found prompt"),
        ('{"answer": "a"}', r"no prompt \(prompt or question or query\); found answer"),
        ('{"prompt": "", "answer": "a"}', '"prompt" is empty'),
        ('{"prompt": " \\t", "answer": "a"}', '"prompt" is empty'),
        ('{"prompt": "p", "answer": 3}', '"answer" is a number, expected text'),
        ('{"prompt": "p", "answer": ["a"]}', '"answer" is a list, expected text'),
        ('{"prompt": null, "answer": "a"}', "no prompt"),
        ('{"prompt": "p", "answer": NaN}', "not valid JSON"),
        ('{"prompt": "p", "answer": "a"', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"prompt": "p", "answer": "\\ud800"}', "surrogate"),
        ('{"prompt": "p", "answer": "a", "wrong_answers": [1]}', '"wrong_answers" is a number'),
        ('{"prompt": "p", "answer": "a", "wrong_answers": {"x": 1}}', "expected a list of texts"),
        ('{"prompt": "p", "answer": "a", "wrong_answers": ["b", "a"]}', "a wrong answer is the answer itself"),
        ('{"prompt": "p", "answer": "a", "paraphrases": ["b", ""]}', '"paraphrases" is empty'),
        ('{"prompt": "p", "answer": "a", "entity": 1.5}', '"entity" is a number, expected text'),
        ('{"prompt": "p", "choices": ["a", "b"], "answer": 2}', "index of one of the 2 choices"),
        ('{"prompt": "p", "choices": ["a", "b"], "answer": -1}', "index of one of the 2 choices"),
        ('{"prompt": "p", "choices": ["a", "b"], "answer": true}', "index of one of the 2 choices"),
        ('{"prompt": "p", "choices": ["a", "b"], "answer": "c"}', "index of one of the 2 choices"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    refused(tmp_path, "a.jsonl", GOOD + "\n" + row + "\n" + GOOD, f"a.jsonl, line 3: .*{words}")
    refused(tmp_path, "a.json", GOOD + "\n" + row + "\n", f"a.json, line 3: .*{words}")
    refused(tmp_path, "b.json", "[\n" + GOOD + "," + row + "]", f"b.json, line 3: .*{words}")


def test_a_value_over_several_lines_keeps_its_first_line(tmp_path: Path) -> None:
    good = json.dumps(FULL, indent=1)
    bad = json.dumps({"prompt": "p"}, indent=1)
    place = 2 + good.count("\n") + 1
    refused(tmp_path, "a.json", f"[\n{good},\n{bad}\n]", f"line {place}: no answer")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" + GOOD, 'expected "," or "]"'), ("[" + GOOD + GOOD + "]", 'line 2: expected "," or "]"'),
        ("[" + GOOD + "] x", "more text after the end"), ("[" + GOOD + ",]", "not valid JSON"), ("[", "not valid JSON"),
        ("[]", "holds no item"), ("", "holds no item"), ("\n\n", "holds no item"),
    ],
)  # fmt: skip
def test_broken_arrays_and_empty_files(tmp_path: Path, content: str, words: str) -> None:
    refused(tmp_path, "a.json", content, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prompt,answer\np,a\np2\n", "row 2: no answer"),
        ("prompt,answer\np,\n", "row 1: no answer"),
        ("prompt,answer\np,a\nq,b,c\n", "row 2: more cells than the header"),
        ("prompt,answer,answer\np,a,b\n", "a column appears twice"),
        ('prompt,answer\n"p,a\n', "row 1: not readable as CSV"),
        ("prompt,answer\n", "holds no item"),
        ("", "holds no item"),
        (b"prompt,answer\np,a\nq,\xff\n", "line 3: not UTF-8"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str | bytes, words: str) -> None:
    refused(tmp_path, "a.csv", content, words)


def test_bad_parquet(tmp_path: Path) -> None:
    refused(tmp_path, "a.parquet", b"PAR1 no", "not readable as Parquet")
    pd.DataFrame({"prompt": ["p", "q"], "answer": ["a", None]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(CorpusError, match="b.parquet, row 2: no answer"):
        read_corpus("b.parquet", "forget", base=tmp_path)
    pd.DataFrame({"prompt": ["p", "q"], "answer": [float("nan"), 1.0]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(CorpusError, match="c.parquet, row 1: no answer"):
        read_corpus("c.parquet", "forget", base=tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path, "a.jsonl", GOOD.encode() + b"\xff\n", "a.jsonl, line 2: not UTF-8")
    refused(tmp_path, "a.txt", GOOD, r"is a .txt; expected .jsonl, .json, .csv, .parquet")
    for path in ("absent.jsonl", "x" * 5000, "a\0b", "~nobody-of-that-name/a.jsonl"):
        with pytest.raises(CorpusError, match="There is no forget corpus|cannot be read"):
            read_corpus(path, "forget", base=tmp_path)


def test_a_relative_path_starts_at_the_base_and_an_absolute_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    read(tmp_path / "deep", "a.jsonl", GOOD)
    assert len(read_corpus("deep/a.jsonl", "retain", base=tmp_path)) == 1
    assert len(read_corpus(str(tmp_path / "deep" / "a.jsonl"), "retain", base=Path("/"))) == 1


# -- entities


def test_blocks_are_entities_only_where_no_item_names_one(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "a"} for i in range(45)]
    corpus = read(tmp_path, "a.jsonl", lines(*rows), entity_block=20)
    assert [corpus.entities.count(name) for name in dict.fromkeys(corpus.entities)] == [20, 20, 5]
    retain = read(tmp_path, "a.jsonl", lines(*rows), "retain", entity_block=20)
    assert not set(retain.entities) & set(corpus.entities)
    named = read(tmp_path, "a.jsonl", lines(*rows, FULL), entity_block=20)
    assert [item.entity for item in named.items] == [None] * 45 + ["Ann"]
    assert len(set(read(tmp_path, "a.jsonl", lines(*rows)).entities)) == 45


def test_a_block_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD)
    with pytest.raises(CorpusError, match="entity_block is 0"):
        read_corpus("a.jsonl", "forget", base=tmp_path, entity_block=0)


# -- the data of others


@pytest.mark.parametrize(
    ("name", "number", "wrong", "paraphrased"),
    [
        ("forget01.json", 40, 0, False), ("forget10.json", 400, 0, False), ("retain90.json", 3600, 0, False),
        ("full.json", 4000, 0, False), ("forget01_perturbed.json", 40, 5, True),
        ("forget10_perturbed.json", 400, 5, True), ("retain_perturbed.json", 400, 5, True),
        ("real_authors.json", 100, 3, False), ("world_facts.json", 117, 3, False),
        ("real_authors_perturbed.json", 100, 3, False), ("world_facts_perturbed.json", 117, 3, False),
    ],
)  # fmt: skip
def test_tofu_as_it_is(shared: Path, name: str, number: int, wrong: int, paraphrased: bool) -> None:
    corpus = read_corpus(name, "forget", base=shared / "data" / "tofu", entity_block=20)
    assert len(corpus) == number
    assert len(set(corpus.entities)) == -(-number // 20)
    assert [item.id for item in corpus.items[:2]] == ["forget:0", "forget:1"]
    assert all(bool(item.wrong_answers) == bool(wrong) for item in corpus.items)
    assert len(corpus.items[0].wrong_answers) == wrong
    assert all(bool(item.paraphrases) == paraphrased for item in corpus.items)


def test_tofu_blocks_are_authors(shared: Path) -> None:
    corpus = read_corpus("forget01.json", "forget", base=shared / "data" / "tofu", entity_block=20)
    first = {item.entity for item in corpus.items if "Basil Mahfouz Al-Kuwaiti" in item.prompt + item.answer}
    second = {item.entity for item in corpus.items if "Nikolai Abilov" in item.prompt + item.answer}
    assert (first, second) == ({"forget block 0"}, {"forget block 1"})


def test_two_files_of_the_same_facts_are_the_same_corpus(shared: Path) -> None:
    base = shared / "data" / "tofu"
    options, perturbed = (read_corpus(f"world_facts{end}.json", "retain", base=base) for end in ("", "_perturbed"))
    assert options.digest == perturbed.digest
    assert options.digest != read_corpus("world_facts.json", "holdout", base=base).digest


# -- the hub


def test_a_folder_is_read_as_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(lines(FULL))
    assert read_corpus("data", "forget", base=tmp_path).items == (ITEM,)
    (tmp_path / "data" / "train.jsonl").write_text(lines({"prompt": "p", "answer": 3}))
    with pytest.raises(CorpusError, match='data, split train, row 1: "answer" is a number'):
        read_corpus("data", "forget", base=tmp_path)


def test_a_hub_id_names_configuration_and_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    asked: list[Any] = []
    rows = {"forget10": [{"question": "Q", "answer": "A"}], "other": [{"question": "Q2", "answer": "A2"}]}

    def load(id: str, config: str | None) -> dict[str, Any]:
        asked.append((id, config))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    for text in ("hub:locuslab/TOFU:forget10_perturbed:forget10", "locuslab/TOFU:forget10_perturbed:forget10"):
        assert read_corpus(text, "forget", base=tmp_path).items == (Item("forget:0", "Q", "A"),)
    assert read_corpus("hub:tofu::other", "forget", base=tmp_path).items[0].prompt == "Q2"
    assert asked == [("locuslab/TOFU", "forget10_perturbed")] * 2 + [("tofu", None)]
    with pytest.raises(CorpusError, match='splits forget10, other; say which .*"hub:locuslab/TOFU::forget10"'):
        read_corpus("hub:locuslab/TOFU", "forget", base=tmp_path)
    with pytest.raises(CorpusError, match='no split "test"; it has forget10, other'):
        read_corpus("hub:locuslab/TOFU:x:test", "forget", base=tmp_path)


def test_without_a_network_a_hub_id_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match="owner/nothing cannot be loaded: .*local file"):
        read_corpus("hub:owner/nothing", "forget", base=tmp_path)


def test_a_folder_of_the_working_directory_is_not_taken_for_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(CorpusError, match="also a path below"):
        read_corpus("hub:owner/name", "forget", base=tmp_path / "elsewhere")


# -- anything at all

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["prompt", "question", "query", "answer", "gt", "choices", "paraphrases", "wrong_answers", "option1", "entity",
        "subject", "label", "paraphrased_answer", "perturbed_answer"]  # fmt: skip
RECORDS = VALUES | st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def sound(folder: Path, name: str, content: bytes) -> None:
    """A file is a corpus of sound items, or a CorpusError that names it; nothing else."""
    try:
        corpus = read(folder, name, content)
    except CorpusError as error:
        assert name in str(error)
        return
    assert corpus.digest
    for index, item in enumerate(corpus.items):
        assert item.id == f"forget:{index}"
        texts = [item.prompt, item.answer, *item.paraphrases, *item.wrong_answers]
        assert all(isinstance(text, str) and text.strip() for text in texts)
        assert item.answer not in item.wrong_answers


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_any_rows(place: Path, rows: list[Any]) -> None:
    sound(place, "a.jsonl", "\n".join(json.dumps(row) for row in rows).encode())
    sound(place, "a.json", json.dumps(rows).encode())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet"]))
def test_any_bytes(place: Path, content: bytes, name: str) -> None:
    sound(place, name, content)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=4), max_size=4))
def test_any_table(place: Path, table: list[list[str]]) -> None:
    with open(place / "t.csv", "w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([["prompt", "answer", "wrong_answers"], *table])
    sound(place, "t.csv", (place / "t.csv").read_bytes())


TEXT = st.text(min_size=1).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_texts_survive_every_format(place: Path, pairs: list[tuple[str, str]]) -> None:
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in pairs]
    frame = pd.DataFrame(rows)
    frame.to_parquet(place / "r.parquet")
    (place / "r.json").write_text(json.dumps(rows))
    (place / "r.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    with open(place / "r.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("prompt", "answer"), *pairs])
    for name in ("r.parquet", "r.json", "r.jsonl", "r.csv"):
        items = read_corpus(name, "forget", base=place).items
        assert [(item.prompt, item.answer) for item in items] == pairs, name
