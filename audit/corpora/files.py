"""Files of rows: every row comes with its place in words, so that a bad one can be named."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from audit.errors import CorpusError

Row = tuple[str, Any]
"""Where a row stands ("people.jsonl, line 4") and what it holds."""


def json_lines(path: Path) -> Iterator[Row]:
    """One JSON value a line; blank lines are passed over."""
    return _lines(path, path.read_bytes())


def json_any(path: Path) -> Iterator[Row]:
    """A JSON array or JSON lines, whichever the content is."""
    content = path.read_bytes()
    if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return _array(path, content)
    return _lines(path, content)


def comma_separated(path: Path) -> Iterator[Row]:
    """A CSV file with a header; an empty cell is an absent value, and the word NaN is a word."""
    text = _text(path, path.read_bytes(), 1)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        if reader.fieldnames is not None and len(set(reader.fieldnames)) < len(reader.fieldnames):
            raise CorpusError(f"{path}, header: a column appears twice; expected different names.")
        for number, row in enumerate(reader, 1):
            if None in row:
                raise CorpusError(f"{path}, row {number}: more cells than the header has columns.")
            yield f"{path}, row {number}", {name: value for name, value in row.items() if value not in ("", None)}
    except csv.Error as error:
        raise CorpusError(f"{path}, row {number + 1}: not readable as CSV ({error}).") from error


def parquet(path: Path) -> Iterator[Row]:
    """A Parquet file, row by row; an absent value is None."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CorpusError(f"{path} is not readable as Parquet ({_first_line(error)}).") from error


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": json_lines,
    ".json": json_any,
    ".csv": comma_separated,
    ".parquet": parquet,
}


def _lines(path: Path, content: bytes) -> Iterator[Row]:
    # Cut at the newline byte alone: a text may hold U+2028 and the like, which str.splitlines would cut at.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = _text(path, line, number)
        if text.strip():
            yield f"{path}, line {number}", _parse(path, text, number)


def _parse(path: Path, text: str, number: int) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}, line {number}: not valid JSON ({_first_line(error)}).") from error


def _array(path: Path, content: bytes) -> Iterator[Row]:
    """Decode an array value by value, so that each value keeps its line."""
    text = _text(path, content, 1)
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at, line = _skip(text, text.index("[") + 1, text.count("\n", 0, text.index("[")) + 1)
    first = True
    while text[at : at + 1] != "]":
        if not first:
            if text[at : at + 1] != ",":
                raise CorpusError(f'{path}, line {line}: expected "," or "]" after a value of the array.')
            at, line = _skip(text, at + 1, line)
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}, line {line}: not valid JSON ({_first_line(error)}).") from error
        yield f"{path}, line {line}", value
        at, line = _skip(text, end, line + text.count("\n", at, end))
        first = False
    if text[at + 1 :].strip():
        raise CorpusError(f"{path}, line {line}: there is more text after the end of the array.")


def _skip(text: str, at: int, line: int) -> tuple[int, int]:
    """Past white space: the new place and its line."""
    while at < len(text) and text[at] in " \t\r\n":
        line += text[at] == "\n"
        at += 1
    return at, line


def _text(path: Path, content: bytes, number: int) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = number + content.count(b"\n", 0, error.start)
        raise CorpusError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8.") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
