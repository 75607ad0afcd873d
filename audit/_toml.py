"""Plain data → TOML, for the case files that a page writes. Python reads TOML but does not write it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from audit.errors import CaseError

BARE = re.compile(r"[A-Za-z0-9_-]+")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dumps(data: Mapping[str, Any]) -> str:
    """TOML text that `tomllib` reads back to the same data; an absent value (None) is left out.

    Raises CaseError for a value that TOML does not have.
    """
    return "\n".join(_table(data, ())).lstrip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """The lines of a table: first its values, then its tables, so that no value falls into a table before it."""
    lines, below = [], []
    for key, value in table.items():
        if isinstance(value, Mapping):
            below += ["", f"[{_name((*path, key))}]", *_table(value, (*path, key))]
        elif isinstance(value, (list, tuple)) and value and all(isinstance(part, Mapping) for part in value):
            for part in value:
                below += ["", f"[[{_name((*path, key))}]]", *_table(part, (*path, key))]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    return lines + below


def _name(path: tuple[str, ...]) -> str:
    return ".".join(_key(part) for part in path)


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)) and not any(isinstance(part, Mapping) for part in value):
        return f"[{', '.join(_value(part) for part in value)}]"
    raise CaseError(f"A case file cannot hold {value!r:.60}; expected text, numbers, true, false and lists of them.")


def _text(text: str) -> str:
    """A basic string; every control character is escaped."""
    parts = []
    for character in text:
        code = ord(character)
        if 0xD800 <= code < 0xE000:
            raise CaseError(f"A case file cannot hold {text!r:.60}: half of a surrogate pair is not text.")
        plain = code >= 0x20 and code != 0x7F
        parts.append(ESCAPES.get(character, character if plain else f"\\u{code:04X}"))
    return f'"{"".join(parts)}"'
