"""Relearning on related and on benign text and with adapters; what came back, and after how many steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import NotApplicable
from audit.evidence.attacks._curves import questions, steps_to_recover
from audit.evidence.attacks._facts import facts_of
from audit.evidence.attacks._nearness import nearness
from audit.evidence.attacks._relearning import Relearning
from audit.evidence.attacks.relearn import Relearn
from audit.evidence.attacks.relearn_benign import RelearnBenign
from audit.evidence.attacks.relearn_lora import RelearnLora
from audit.evidence.attacks.relearn_related import RelearnRelated
from audit.stats import conclude
from audit.types import Item

BenchOf = Callable[..., Bench]
SHORT = {"steps": 12, "checkpoints": (4, 12), "retain_items": 24}
KINDS: list[Relearning] = [RelearnLora(**SHORT), RelearnRelated(**SHORT), RelearnBenign(**SHORT)]  # type: ignore[arg-type]


def test_steps_to_recover_by_hand() -> None:
    curve = [0.1, 0.3, 0.5, 0.4]
    assert steps_to_recover((0, 5, 10, 20), curve, 0.5) == "10"
    assert steps_to_recover((0, 5, 10, 20), curve, 0.1) == "0"
    # Never reached: censored at the last look, and no number.
    assert steps_to_recover((0, 5, 10, 20), curve, 0.51) == "> 20"


def test_nearness_by_hand() -> None:
    forget = [
        Item("forget:0", "the job of Ann", "baker", entity="Ann", attribute="job", label="baker"),
        Item("forget:1", "the city of Ann", "Oslo", entity="Ann", attribute="city"),
    ]
    retain = [
        # Entity 4 (a third attribute); words of "the song of Ann" and "the job of Ann": 3 of 5.
        Item("retain:0", "the song of Ann", "x", entity="Ann", attribute="song"),
        # Attribute and label 2 + 1; the, job, of of 5.
        Item("retain:1", "the job of Bob", "baker", entity="Bob", attribute="job"),
        # The attribute 1; 3 of 5.
        Item("retain:2", "the city of Bob", "Rome", entity="Bob", attribute="city"),
        # The answer alone 1, in another attribute; no word in common.
        Item("retain:3", "who bakes?", "Baker ", entity="Eve", attribute="song"),
        Item("retain:4", "what else?", "tea"),
    ]
    assert nearness(retain, forget).tolist() == pytest.approx([4.6, 3.6, 1.6, 1.0, 0.0])


@pytest.mark.parametrize("attack", KINDS[1:], ids=["related", "benign"])
def test_no_forgotten_fact_and_nothing_asked_is_trained(bench_of: BenchOf, attack: Relearning) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items
    asked = questions(bench, attack.retain_items)
    drawn = [attack.material(bench, "forget", seed) for seed in range(3)]
    for material in drawn:
        assert material.tested.all() and not material.kept
        assert not facts_of(material.taught) & facts_of([*items, *asked])
        assert all(item.id.startswith("retain:") for item in material.taught)
    assert len({tuple(item.id for item in material.taught) for material in drawn}) == 3


def test_related_and_benign_text_share_nothing_and_one_is_nearer(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items
    near, far = (KINDS[k].material(bench, "forget", 0).taught for k in (1, 2))
    assert not {item.id for item in near} & {item.id for item in far}
    assert nearness(near, items).min() >= nearness(far, items).max() - 1e-9


@pytest.mark.parametrize("attack", KINDS, ids=["lora", "related", "benign"])
def test_a_model_that_never_knew_gives_nothing_back(bench_of: BenchOf, attack: Relearning) -> None:
    reading = attack.measure(bench_of("retrained"))
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.low < 0.05 and residual.value < 0.2
    rows = pd.DataFrame(reading.rows)
    # It never comes to half of what the original says: censored in every run, in rows and note.
    assert set(rows.query("subject != 'original'")["steps_to_recover"]) == {"> 12"}
    assert set(rows.query("subject == 'original'")["steps_to_recover"]) == {"0"}
    assert "> 12, > 12, > 12" in reading.note


@pytest.mark.parametrize("candidate", ["rmu", "gradient-ascent"])
def test_what_was_only_pushed_away_comes_back(bench_of: BenchOf, candidate: str) -> None:
    # Twenty people give wide intervals: about a third comes back, and the interval is clear of zero.
    attack = Relearn(checkpoints=(20, 40), retain_items=24)
    residual = conclude(attack.measure(bench_of(candidate)).panel).residual
    assert residual is not None and residual.low > 0 and residual.value > 0.2


def test_adapters_find_what_one_block_hides(bench_of: BenchOf) -> None:
    reading = KINDS[0].measure(bench_of("last-block"))
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.low > 0.2
    kept = pd.DataFrame(reading.rows).query("subject == 'candidate' and seed == 'all'")["retain_recall"]
    assert kept.min() > 0.5


def test_too_little_retain_text_is_said(bench_of: BenchOf) -> None:
    import dataclasses

    bench = bench_of("last-block")
    retain = dataclasses.replace(bench.corpus("retain"), items=bench.corpus("retain").items[:20])
    bench.case = dataclasses.replace(bench.case, corpora={**bench.case.corpora, "retain": retain})
    with pytest.raises(NotApplicable, match="retain facts can be trained on"):
        RelearnRelated().measure(bench)


def test_the_budget_of_tested_facts_is_spread_over_the_entities(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    material = RelearnBenign(items=20, retain_items=24).material(bench, "forget", 0)
    entities = np.asarray(bench.corpus("forget").entities)[material.tested]
    assert len(entities) == len(set(entities)) == 20
