"""An attack reads the checkpoint that the case names, not whichever model happens to be loaded.

UnLOK-VQA's code hands the model before the edit to the attack after it, which is right only while the edit was made in
place: with a checkpoint of its own for each, the unedited one would be attacked twice.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.evidence.attacks.answer_rank import AnswerRank
from audit.evidence.attacks.head_projection import HeadProjection
from audit.evidence.attacks.lens_differences import LensDifferences
from audit.subjects.garage import Garage
from audit.types import SubjectSpec

BenchOf = Callable[..., Bench]
ATTACKS = [HeadProjection(k=1), LensDifferences(), AnswerRank()]


def lines(bench: Bench, attack: Any, subject: str) -> list[tuple[Any, ...]]:
    """What an attack's table says of one subject on the forget corpus."""
    table = pd.DataFrame(attack.measure(bench).rows)
    mine = table[(table["subject"] == subject) & (table.get("split", "forget") == "forget")]
    return list(mine.drop(columns=["subject"]).itertuples(index=False, name=None))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)
def test_exchanged_in_the_case_their_numbers_are_exchanged(bench_of: BenchOf, attack: Any, tmp_path: Path) -> None:
    bench = bench_of("last-block")
    case = bench.case
    other = bench_of("last-block")
    other.case = dataclasses.replace(
        case,
        original=dataclasses.replace(case.candidate, role="original"),
        candidate=dataclasses.replace(case.original, role="candidate"),
    )
    before, after = lines(bench, attack, "original"), lines(bench, attack, "candidate")
    assert before != after
    assert lines(other, attack, "candidate") == before
    assert lines(other, attack, "original") == after


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)
def test_the_naive_way_attacks_the_unedited_model_twice(
    bench_of: BenchOf, attack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked for, the model that was loaded first: nothing says so, and nothing seems to be forgotten."""
    bench = bench_of("last-block")
    bench.cache, lend = Cache(tmp_path), bench.model
    monkeypatch.setattr(bench, "model", lambda role, **settings: lend("original", **settings))
    assert lines(bench, attack, "candidate") == lines(bench, attack, "original")


def test_a_checkpoint_that_was_written_again_is_read_again(bench_of: BenchOf, tiny_lab: Path, tmp_path: Path) -> None:
    """The naive way, a loaded model known by its name or its folder, goes on to attack what was there before."""
    bench, place = bench_of("last-block"), tmp_path / "edited"
    garage, attack = Garage("cpu"), ATTACKS[0]
    case = dataclasses.replace(bench.case, candidate=SubjectSpec("edited", "candidate", str(place)))
    found = []
    for name in ("last-block", "rmu"):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tiny_lab / "models" / name, place)
        one = Bench(case, garage, bench.cache)  # type: ignore[arg-type]
        found.append(lines(one, attack, "candidate"))
        assert found[-1] == lines(bench_of(name), attack, "candidate")
        with one.model("candidate") as edited, bench_of(name).model("candidate") as named:
            for mine, its in zip(edited.model.parameters(), named.model.parameters(), strict=True):
                assert bool((mine == its).all())
    assert found[0] != found[1]
    garage.clear()
