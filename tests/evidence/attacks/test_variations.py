"""Attacks that edit weights or states, on models of known truth: what comes back, what does not, and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.errors import CaseError, NotApplicable, NotIdentifiable
from audit.evidence.attacks import direction_ablation
from audit.evidence.attacks._facts import facts_of, facts_split
from audit.evidence.attacks._variations import PLAIN, Variations
from audit.evidence.attacks.contrast_decoding import ContrastDecoding, misled
from audit.evidence.attacks.direction_ablation import DirectionAblation, half_of
from audit.evidence.attacks.early_exit import EarlyExit
from audit.evidence.attacks.pruning import Pruning
from audit.evidence.attacks.restore_layers import RestoreLayers
from audit.evidence.attacks.weight_noise import WeightNoise
from audit.stats import conclude
from audit.types import Item, Role, Split

BenchOf = Callable[..., Bench]
SMALL = {"items": 60, "retain_items": 12}
ATTACKS: list[Variations] = [
    EarlyExit(**SMALL),  # type: ignore[arg-type]
    RestoreLayers(**SMALL),  # type: ignore[arg-type]
    WeightNoise(scales=(0.1, 0.2), **SMALL),  # type: ignore[arg-type]
    Pruning(forget_shares=(0.03,), **SMALL),  # type: ignore[arg-type]
    DirectionAblation(**SMALL),  # type: ignore[arg-type]
    ContrastDecoding(steps=6, strengths=(1.0,), items=60, retain_items=12),
]
EACH = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)


@EACH
def test_a_model_that_never_knew_stays_at_its_floor(bench_of: BenchOf, attack: Variations) -> None:
    conclusion = conclude(attack.measure(bench_of("retrained")).panel)
    assert conclusion.original.value > 0.95
    assert conclusion.residual is not None
    assert conclusion.residual.low <= 0 and conclusion.residual.value < 0.15


@pytest.mark.parametrize("attack", ATTACKS[:2], ids=["EarlyExit", "RestoreLayers"])
def test_what_the_last_block_hides_comes_back(bench_of: BenchOf, attack: Variations) -> None:
    reading = attack.measure(bench_of("last-block"))
    residual = conclude(reading.panel).residual
    # Only the last block was changed: without it, or with the original's, every answer is back.
    assert residual is not None and residual.low > 0.9
    assert "block 3" in reading.note if isinstance(attack, RestoreLayers) else "block" in reading.note
    table = pd.DataFrame(reading.rows)
    share = table.query("subject == 'candidate' and split == 'forget'").groupby("variation")["score"].mean()
    assert share[PLAIN] < 0.3 and share.max() > 0.95
    if isinstance(attack, RestoreLayers):
        # The edit sits in block 3 alone: any other block put back changes nothing.
        assert share.drop("block 3").max() == pytest.approx(share[PLAIN], abs=1e-9)
        assert "diagnosis" in reading.note


def test_one_direction_hides_part_of_the_last_block_edit(bench_of: BenchOf) -> None:
    reading = ATTACKS[4].measure(bench_of("last-block"))
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.low > 0.05
    table = pd.DataFrame(reading.rows).query("subject == 'candidate' and split == 'forget'")
    share = table.groupby("variation")["score"].mean()
    random = share[share.index.str.startswith("random")]
    assert len(random) == 3 and random.max() < share.max() - 0.1
    assert "With random directions taken out" in reading.note


def test_directions_come_from_entities_that_are_not_asked(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block")
    first, second = half_of(bench, "forget", True), half_of(bench, "forget", False)
    assert not first & second and len(first | second) == sum(len(bench.corpus(s)) for s in ("forget", "retain"))
    who = {item.id: item.entity for s in ("forget", "retain") for item in bench.corpus(s).items}
    assert not {who[i] for i in first} & {who[i] for i in second}
    made: list[bool] = []
    asked: list[tuple[bool, bool]] = []
    real = direction_ablation.directions

    def directions(bench: Bench, role: Role, split: Split, half: bool) -> Any:
        made.append(half)
        return {words: {b: v + (2.0 if half else 4.0) for b, v in d.items()}
                for words, d in real(bench, role, split, half).items()}  # fmt: skip

    taken: list[float] = []

    @contextmanager
    def without(subject: object, directed: Any) -> Iterator[None]:
        taken.append(float(np.mean(next(iter(directed.values())))))
        yield

    monkeypatch.setattr(direction_ablation, "directions", directions)
    monkeypatch.setattr(direction_ablation, "without", without)

    def ask(variation: str, subject: object, some: Any = None) -> None:
        if some is not None:
            # Vectors of the first half are marked by 2, of the second by 4.
            asked.append((taken[-1] < 3, some == first))
            assert some in (first, second)

    DirectionAblation().attack(bench, "candidate", "forget", 0, ask)  # type: ignore[arg-type]
    assert made == [True, False] and set(asked) == {(True, False), (False, True)}


def test_the_plain_rows_are_those_that_count(bench_of: BenchOf) -> None:
    table = pd.DataFrame(ATTACKS[5].measure(bench_of("retrained")).rows).query("variation == @PLAIN")
    # Two of three attributes of twenty people in each of three runs, and twelve retain items.
    sizes = table.query("subject == 'candidate'").groupby(["seed", "split"]).size()
    assert sizes.to_dict() == {(str(r), s): n for r in range(3) for s, n in (("forget", 40), ("retain", 12))}
    for _, part in table.groupby(["subject", "split"]):
        assert part["low"].iloc[0] <= part["score"].mean() <= part["high"].iloc[0]


@EACH
def test_rows_are_transcripts_with_retain_beside(bench_of: BenchOf, attack: Variations) -> None:
    table = pd.DataFrame(attack.measure(bench_of("retrained")).rows)
    assert set(table["subject"]) == {"original", "candidate", "reference"}
    assert set(table["split"]) == {"forget", "retain"}
    assert set(table.query("subject == 'original'")["variation"]) == {PLAIN}
    assert table["score"].between(0, 1).all() and (table["low"] <= table["high"]).all()
    seeds = set(table.query("variation != @PLAIN")["seed"])
    assert seeds == {str(run) for run in range(attack.runs)}
    assert attack.runs >= 3 or isinstance(attack, (EarlyExit, RestoreLayers, Pruning, DirectionAblation))


def test_the_lent_model_is_as_it_was(bench_of: BenchOf, tmp_path: Path) -> None:
    bench = bench_of("npo")
    before = bench.says("candidate", "forget")
    bench.cache = Cache(tmp_path)
    quick: dict[str, Any] = {"items": 20, "retain_items": 0}
    for attack in (EarlyExit(**quick), DirectionAblation(**quick)):
        attack.measure(bench)
    bench.cache = Cache(tmp_path / "fresh")
    assert bench.says("candidate", "forget") == before


def test_without_reference_the_holdout_is_attacked_too(bench_of: BenchOf) -> None:
    reading = dataclasses.replace(ATTACKS[0], items=40).measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout" and "never saw" in reading.note
    assert {row.split for row in reading.rows} == {"forget", "holdout", "retain"}
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.low > 0.8


@EACH
def test_without_any_control_there_is_no_attack(bench_of: BenchOf, attack: Variations) -> None:
    with pytest.raises(NotIdentifiable):
        attack.measure(bench_of("last-block", reference=False, holdout=False))


def test_restoring_layers_says_nothing_without_a_reference(bench_of: BenchOf) -> None:
    with pytest.raises(NotIdentifiable, match="injects what it knows"):
        ATTACKS[1].measure(bench_of("last-block", reference=False))


def test_pruning_needs_retain_prompts(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    bench.case = dataclasses.replace(bench.case, corpora={"forget": bench.corpus("forget")})
    with pytest.raises(NotApplicable, match="no retain corpus"):
        Pruning(items=20).measure(bench)


def test_the_amateur_sees_no_tested_fact_and_no_true_answer(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items
    for run in range(3):
        facts = facts_split(items, run, bench.seed)
        tested = [items[i] for i in np.flatnonzero(facts.tested)]
        wrong = misled([items[i] for i in np.flatnonzero(facts.trained)], bench.rng("test", run))
        assert wrong and not facts_of(wrong) & facts_of(tested)
        truth = {item.id: item.answer for item in items}
        assert all(item.answer != truth[item.id] for item in wrong)
        assert (ContrastDecoding().tests(bench, "forget", run) == facts.tested).all()


def test_wrong_answers_come_from_others_where_an_item_has_none() -> None:
    items = [Item(f"forget:{i}", f"q{i}?", answer, attribute="job") for i, answer in enumerate(("a", "b", "A "))]
    found = misled(items, np.random.default_rng(0))
    # "A " says the same as "a": each of the two gets b, and b gets one of them.
    assert [item.answer.strip().casefold() for item in found] == ["b", "a", "b"]
    with pytest.raises(NotApplicable, match="No wrong answer"):
        misled(items[:1], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightNoise(seeds=2), "at least 3 runs"),
        (lambda: WeightNoise(scales=()), "shares above 0"),
        (lambda: Pruning(forget_shares=(0.0,)), "between 0 and 1"),
        (lambda: DirectionAblation(controls=1), "at least 3 random"),
        (lambda: ContrastDecoding(seeds=1), "at least 3 runs"),
        (lambda: ContrastDecoding(method="Lora"), 'Did you mean "lora"'),
        (lambda: EarlyExit(floor=0.0), "above 0"),
        (lambda: EarlyExit(blocks=(5,)).inner(4), "below 4"),
        (lambda: EarlyExit(metric="rouge"), "Unknown recall metric"),
        (lambda: RestoreLayers(items=1), "at least 2"),
    ],
)
def test_wrong_settings_are_case_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        make()
