"""Reading files: JSON lines named .json, NaN tokens, what stands twice, what is cut off."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from audit.errors import ResultsError
from audit.interop.document import find, read
from audit.interop.values import by_index, number, whole
from tests.interop.conftest import write


def test_json_lines_named_json(tmp_path: Path) -> None:
    document = read(write(tmp_path / "x.json", '{"a": 1}\n\n{"a": "line\u2028separator"}\n'), tmp_path)
    assert document.format == "lines" and [record["a"] for record in document.records] == [1, "line\u2028separator"]


def test_nan_and_infinity_are_no_numbers(tmp_path: Path) -> None:
    data = read(write(tmp_path / "x.json", "[NaN, Infinity, -Infinity, 1e999, null, 1, true]"), tmp_path).data
    assert [number(value) for value in data] == [None, None, None, None, None, 1.0, None]
    assert number("0.5") == 0.5 and number("(0.5, 0.1)") is None and number("nan") is None
    assert whole("7") == 7 and whole(1e300) is None and whole(math.nan) is None


def test_a_key_that_stands_twice_is_located(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", '{"m": {"value_by_index": {"0": {"score": 1}, "17": {}, "17": {"score": 2}}}}')
    with pytest.raises(ResultsError, match=r'x\.json: the key "17" stands twice in m/value_by_index'):
        read(path, tmp_path)
    lines = write(tmp_path / "y.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n')
    with pytest.raises(ResultsError, match=r'y\.jsonl, line 2: the key "a" stands twice in the top'):
        read(lines, tmp_path)


def test_what_is_cut_off_is_located(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"x\.json, line 2, column \d+: not valid JSON .* cut off"):
        read(write(tmp_path / "x.json", '{"a":\n  {"b"'), tmp_path)
    with pytest.raises(ResultsError, match=r"y\.jsonl, line 2: not valid JSON"):
        read(write(tmp_path / "y.jsonl", '{"a": 1}\n{"a"'), tmp_path)
    with pytest.raises(ResultsError, match=r"z\.csv, line 3: 1 fields, but the head names 2"):
        read(write(tmp_path / "z.csv", "a,b\n1,2\n3\n"), tmp_path)
    with pytest.raises(ResultsError, match="the column 'a' stands twice"):
        read(write(tmp_path / "w.csv", "a,a\n1,2\n"), tmp_path)
    for name in ("e.json", "e.csv"):
        with pytest.raises(ResultsError, match="is empty"):
            read(write(tmp_path / name, ""), tmp_path)


def test_deep_nesting_and_other_bytes_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="nested too deeply"):
        read(write(tmp_path / "x.json", "[" * 100_000 + "]" * 100_000), tmp_path)
    (tmp_path / "y.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ResultsError, match="not UTF-8"):
        read(tmp_path / "y.json", tmp_path)


def test_only_files_that_can_hold_results_are_opened(tmp_path: Path) -> None:
    for name in (
        "a.json",
        "sub/b.jsonl",
        "c.csv",
        "tokenizer.json",
        "model.safetensors.index.json",
        ".git/d.json",
        "e.txt",
    ):
        write(tmp_path / name, "{}")
    assert [path.name for path in find(tmp_path)] == ["a.json", "c.csv", "b.jsonl"]
    with pytest.raises(ResultsError, match="nothing at"):
        list(find(tmp_path / "nowhere"))


def test_lists_by_index_and_by_place(tmp_path: Path) -> None:
    values = by_index({"1": [1.0, 3.0], "0": [1.0, math.nan], "2": [], "x": 4}, None, "here")
    assert values.keys == ("1", "x") and list(values.means) == [2.0, 4.0] and list(values.sums) == [4.0, 4.0]
    assert "2 of 4 items hold no number (0: NaN, 2: '[]')" in values.gaps
    with pytest.raises(ResultsError, match="here holds no items"):
        by_index({}, None, "here")
