"""Latents in a corpus: seeds and vectors, their conditions, and what is wrong with one in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.corpora.check import check_corpora
from audit.corpora.read import read_corpus
from audit.errors import CorpusError
from audit.types import Corpus, Latent, Modality, Split


def read(folder: Path, *rows: dict[str, Any], split: Split = "forget") -> Corpus:
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_corpus(f"{split}.jsonl", split, base=folder)


def test_seeds_and_vectors_become_latents(tmp_path: Path) -> None:
    corpus = read(
        tmp_path, {"seed": 7, "label": "cross"}, {"latent": [1, -0.5], "answer": "circle"},
        {"latent": "[0.25, 2]", "label": "cross", "answer": "square"},
    )  # fmt: skip
    assert corpus.modality is Modality.LATENTS
    first, second, third = corpus.items
    assert (first.latent, first.label, first.answer) == (Latent(seed=7), "cross", "cross")
    assert first.prompt == "seed 7, asked for cross"
    assert (second.latent, second.label, second.answer) == (Latent(values=(1.0, -0.5)), None, "circle")
    assert (third.latent, third.answer) == (Latent(values=(0.25, 2.0)), "square")


def test_another_latent_is_another_corpus_and_texts_keep_their_digest(tmp_path: Path) -> None:
    one = read(tmp_path, {"latent": [1.0], "prompt": "p", "answer": "a"})
    other = read(tmp_path, {"latent": [2.0], "prompt": "p", "answer": "a"})
    assert one.digest != other.digest
    # A text corpus's digest names everything cached of it: it must not change because items can have latents.
    text = read(tmp_path, {"prompt": "p", "answer": "a", "seed": 3})
    assert text.modality is Modality.TEXT, "a seed beside a prompt is something else"
    assert text.digest == read(tmp_path, {"prompt": "p", "answer": "a"}).digest


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"seed": -1, "label": "a"}, '"seed" is -1, expected a whole number'),
        ({"seed": True, "label": "a"}, '"seed" is True'),
        ({"latent": [], "label": "a"}, '"latent" is \\[\\], expected a list of finite numbers'),
        ({"latent": "x", "label": "a"}, "expected a list of finite numbers"),
        ({"latent": "[1e999]", "label": "a"}, "expected a list of finite numbers"),
        ({"seed": 1}, "no answer, and no condition"),
    ],
)
def test_what_is_no_latent_is_one_sentence(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"line 1: .*{words}"):
        read(tmp_path, row)


def test_some_without_latent_are_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="forget:1 of forget.jsonl has neither latent nor seed"):
        read(tmp_path, {"seed": 1, "label": "a"}, {"prompt": "q", "answer": "a"})


def test_one_latent_under_one_condition_is_in_one_split(tmp_path: Path) -> None:
    forget = read(tmp_path, {"seed": 1, "label": "a"}, {"latent": [1.0], "label": "a"})
    other = read(tmp_path, {"seed": 1, "label": "b"}, {"latent": [2.0], "label": "a"}, split="retain")
    (warning,) = check_corpora({"forget": forget, "retain": other})[:1] or [""]
    assert "entity" not in warning, "a latent is one of its own"
    same = read(tmp_path, {"seed": 9, "label": "b"}, {"latent": [1.0], "label": "a"}, split="retain")
    with pytest.raises(CorpusError, match="either to be forgotten or to be kept"):
        check_corpora({"forget": forget, "retain": same})
