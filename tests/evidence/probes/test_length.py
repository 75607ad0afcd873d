"""The length check: lengths that go with labels are found and warned of, and never become a number about a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.collect import collect
from audit.errors import CaseError
from audit.evidence.probes.length import FEATURES, Length, lengths
from audit.stats import conclude
from audit.types import Item, Status
from tests.evidence.probes.planted import PlantedBench, case_of, people

QUICK = Length(nulls=3)


def bench(told: tuple[str, ...] = (), reference: bool = True) -> PlantedBench:
    """Questions of random lengths; on the splits in `told` the length goes with the label instead."""
    rng = np.random.default_rng(0)
    corpora: Any = {}
    for split, count in (("forget", 24), ("retain", 60), ("holdout", 24)):
        items = people(split, count, 4, rng)  # type: ignore[arg-type]
        sizes = [int(str(i.label).split()[1]) if split in told else int(rng.integers(4)) for i in items]
        corpora[split] = [
            dataclasses.replace(i, prompt="Who is it" + " really" * (3 * n) + "?")
            for i, n in zip(items, sizes, strict=True)
        ]
    return PlantedBench(case_of(corpora, reference=reference), {})


def test_by_hand_the_lengths_of_a_question() -> None:
    """`Who is Ada Byron?` has 17 characters, 4 words, the longest of which is `Byron?` with 6; 17 squared is 289.

    The paraphrases have 7 and 9 characters: mean 8.
    """
    item = Item("x", "Who is Ada Byron?", "a countess", paraphrases=("Ada is ", "Ada who??"))
    assert dict(zip(FEATURES, lengths(item).tolist(), strict=True)) == {
        "characters": 17, "words": 4, "longest word": 6, "characters squared": 289, "characters of the paraphrases": 8,
    }  # fmt: skip


def test_the_answer_is_not_seen() -> None:
    item = Item("x", "Who?", "short", wrong_answers=("a", "b"), label="short")
    other = dataclasses.replace(item, answer="something much longer", wrong_answers=("quite another",), label="long")
    assert lengths(item).tolist() == lengths(other).tolist()


def test_lengths_that_say_nothing_are_no_instrument_and_no_warning() -> None:
    finding = collect("probes.linear", QUICK, bench(), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "does not work here" in finding.reason
    assert finding.candidate == finding.original
    assert "do not tell" in finding.note
    forget = finding.table.query("split == 'forget'")
    assert not forget.above.any()
    assert forget.accuracy.nunique() == 1  # the same for every subject


def test_lengths_that_tell_the_label_are_warned_of_in_words() -> None:
    reading = QUICK.measure(bench(told=("forget", "retain")))
    table = pd.DataFrame(reading.rows)
    assert table.query("split == 'forget'").accuracy.min() > 0.9
    assert table.query("split == 'forget'").above.all()
    assert not table.query("split == 'holdout'").above.any()
    assert reading.note.startswith("Warning")
    assert "forget and retain" in reading.note
    found = conclude(reading.panel)
    assert found.residual is None
    assert "does not work here" in found.reason


def test_lengths_that_tell_forget_from_holdout_never_become_a_residual() -> None:
    finding = collect("probes.linear", QUICK, bench(told=("forget", "retain"), reference=False), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert finding.residual is None
    assert "the same for every model" in finding.reason
    assert "Warning" in finding.reason


def test_without_a_reference_and_with_plain_lengths_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(bench(reference=False))
    assert reading.panel.null == "holdout"
    assert conclude(reading.panel).residual is None


def test_the_shuffle_is_at_chance_where_lengths_tell_the_label() -> None:
    table = pd.DataFrame(QUICK.measure(bench(told=("forget", "retain"))).rows).query("split == 'forget'")
    assert table.shuffled.max() == pytest.approx(0.25, abs=0.2)  # 24 items, three shuffles


def test_no_state_and_no_model_is_needed() -> None:
    assert bench().planted == {}
    assert len(QUICK.measure(bench()).rows) == 9  # three subjects, three splits


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(CaseError, match="at least 2"):
        Length(folds=1)
