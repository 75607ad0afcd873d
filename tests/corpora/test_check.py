"""What contradicts between splits stops; what limits an audit is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from audit.corpora.check import check_corpora
from audit.corpora.read import read_corpus
from audit.errors import CorpusError
from audit.types import Corpus, Item, Split


def corpus(split: Split, *pairs: tuple[str, str, str | None], full: bool = True) -> Corpus:
    extra = {"wrong_answers": ("w",), "label": "l", "paraphrases": ("p",)} if full else {}
    items = [Item(f"{split}:{i}", p, a, entity=e, **extra) for i, (p, a, e) in enumerate(pairs)]  # type: ignore[arg-type]
    return Corpus(split, tuple(items), f"{split}.jsonl")


FORGET = corpus("forget", ("Where was Ann born?", "Rome", "Ann"), ("What does Ann do?", "paint", "Ann"))
RETAIN = corpus("retain", ("Where was Ben born?", "Oslo", "Ben"))
HOLDOUT = corpus("holdout", ("Where was Eve born?", "Lima", "Eve"))


def test_sound_corpora_give_no_warning() -> None:
    assert check_corpora({"forget": FORGET, "retain": RETAIN, "holdout": HOLDOUT}) == []


def test_an_empty_split_stops() -> None:
    with pytest.raises(CorpusError, match="The retain corpus retain.jsonl holds no item"):
        check_corpora({"forget": FORGET, "retain": corpus("retain")})


@pytest.mark.parametrize("other", ["retain", "holdout"])
@pytest.mark.parametrize("prompt", ["Where was Ann born?", " Where  was Ann\nborn? "])
def test_one_prompt_in_two_splits_stops_and_names_both_places(other: Split, prompt: str) -> None:
    second = corpus(other, ("Where was Ben born?", "Oslo", "Ben"), (prompt, "Paris", "B"))
    words = re.escape(f"forget:0 (forget.jsonl) and item {other}:1 ({other}.jsonl)")
    with pytest.raises(CorpusError, match=words):
        check_corpora({"forget": FORGET, other: second})


def test_retain_and_holdout_contradict_too() -> None:
    with pytest.raises(CorpusError, match="either to be kept or never seen by any model"):
        check_corpora(
            {"forget": FORGET, "retain": RETAIN, "holdout": corpus("holdout", ("Where was Ben born?", "x", "B"))}
        )


def test_repeats_within_a_split_are_counted() -> None:
    twice = corpus("forget", ("p", "a", "E"), ("p", "a", "E"), ("p", "b", "E"), ("p", " a", "E"))
    (warning,) = check_corpora({"forget": twice, "retain": RETAIN})
    assert warning.startswith("2 items of the forget corpus repeat")
    assert "forget:1 repeats forget:0" in warning
    (one,) = check_corpora({"forget": corpus("forget", ("p", "a", "E"), ("p", "a", "E")), "retain": RETAIN})
    assert one.startswith("1 item of the forget corpus repeats")


def test_shared_entities_are_named() -> None:
    shared = corpus("retain", ("Where does Ann live?", "Oslo", "Ann"))
    (warning,) = check_corpora({"forget": FORGET, "retain": shared})
    assert warning.startswith('1 entity stands in both forget and retain ("Ann")')


def test_missing_entities_say_what_to_do() -> None:
    bare = corpus("retain", ("q1", "a", None), ("q2", "a", None), ("q3", "a", "Ben"))
    (warning,) = check_corpora({"forget": FORGET, "retain": bare})
    assert "2 of 3 in retain" in warning
    assert "entity_block" in warning


def test_what_no_item_has_is_said_for_the_splits_that_need_it() -> None:
    bare = {
        "forget": corpus("forget", ("q", "a", "E"), full=False),
        "retain": corpus("retain", ("r", "a", "F"), full=False),
    }
    (warning,) = check_corpora(bare)  # type: ignore[arg-type]
    assert warning.startswith("No item of the forget corpus has wrong answers, labels or paraphrases")


def test_tofu_is_sound_but_names_no_author(shared: Path) -> None:
    base = shared / "data" / "tofu"
    names: list[tuple[Split, str]] = [("forget", "forget10_perturbed.json"), ("retain", "retain90.json")]
    found = check_corpora({split: read_corpus(name, split, base=base) for split, name in names})
    assert len(found) == 2
    assert "400 of 400 in forget and 3600 of 3600 in retain" in found[0]
    blocks = check_corpora({split: read_corpus(name, split, base=base, entity_block=20) for split, name in names})
    assert blocks == [found[1]]


def test_tofu_full_contains_what_is_to_be_forgotten(shared: Path) -> None:
    base = shared / "data" / "tofu"
    with pytest.raises(CorpusError, match=r"forget:0 \(forget10.json\) and item retain:3600 \(full.json\)"):
        check_corpora(
            {
                "forget": read_corpus("forget10.json", "forget", base=base),
                "retain": read_corpus("full.json", "retain", base=base),
            }
        )
