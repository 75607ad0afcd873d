"""Tokenizers: loading one, hashing one, comparing two."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import SubjectError
from audit.subjects.files import read_object
from audit.types import digest_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""One of these holds the vocabulary."""
OTHERS = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja")
COSMETIC = frozenset({"name_or_path", "tokenizer_file", "padding_side", "local_files_only", "is_local", "backend"})
PROBES = (
    "Question: In which city was Basil Mahfouz Al-Kuwaiti born in 1956? Answer: Kuwait City.",
    "  two spaces, a tab\tand a line\nbreak; naïve café, 東京, Ελλάδα, 🙂",
    "def f(x): return x**2 + 3.14159  # [INST] <s> </s> <|endoftext|>",
)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a vocabulary."""
    return any((folder / name).is_file() for name in VOCABULARIES)


def tokenizer_digest(folder: Path, name: str) -> str:
    """Hash of everything in a folder that decides how text becomes tokens; SubjectError when there is no vocabulary."""
    if not has_tokenizer(folder):
        raise SubjectError(
            f"{name}: {folder} holds no tokenizer ({', '.join(VOCABULARIES)}); save it beside the model with "
            "tokenizer.save_pretrained."
        )
    try:
        parts: dict[str, Any] = {
            file: hashlib.blake2b((folder / file).read_bytes(), digest_size=16).hexdigest()
            for file in (*VOCABULARIES, *OTHERS)
            if (folder / file).is_file()
        }
    except OSError as error:
        raise SubjectError(f"{name}: the tokenizer in {folder} cannot be read ({error.strerror or error}).") from error
    if (folder / "tokenizer_config.json").is_file():
        config = read_object(folder / "tokenizer_config.json", name)
        parts["config"] = {key: value for key, value in config.items() if key not in COSMETIC}
    return digest_of(parts)


def load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; raises SubjectError when it is missing, broken or wants to run its own code."""
    return _load(folder, name, tokenizer_digest(folder, name))


@lru_cache(maxsize=32)
def _load(folder: Path, name: str, _digest: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises its own, the Rust tokenizer's and the file system's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SubjectError(f"{name}: the tokenizer in {folder} cannot be loaded ({line[:200]}).") from error


def difference(mine: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> str:
    """One example of what two tokenizers turn into different tokens, or nothing when they agree."""
    first, second = mine.get_vocab(), other.get_vocab()
    for token in sorted(first.keys() | second.keys(), key=lambda t: (first.get(t, -1), second.get(t, -1))):
        if first.get(token) != second.get(token):
            return f"the token {token!r} is {_number(first, token)} instead of {_number(second, token)}"
    for text in PROBES:
        mine_ids, other_ids = mine(text)["input_ids"], other(text)["input_ids"]
        if mine_ids != other_ids:
            return f"{text[:30]!r}… becomes {mine_ids[:6]}… instead of {other_ids[:6]}…"
    return ""


def _number(vocabulary: dict[str, int], token: str) -> str:
    return f"number {vocabulary[token]}" if token in vocabulary else "absent"
