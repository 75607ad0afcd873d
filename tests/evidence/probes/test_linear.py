"""The linear probe on planted states: it finds what is there, and nothing where nothing is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit import probing
from audit.collect import collect
from audit.errors import CaseError, NotApplicable
from audit.evidence.probes.linear import Linear
from audit.stats import conclude
from audit.types import Item, Status
from tests.evidence.probes.planted import PlantedBench, case_of, known, people

QUICK = Linear(nulls=3)
EVERYWHERE = (1, 2, 3)
WIDTH = 10


def world(
    candidate: tuple[int, ...], reference: bool = True, seed: int = 0, layers: int = 4, attributes: int = 2
) -> PlantedBench:
    """The original knows forget and retain in every block, the reference retain only; nobody knows the holdout.

    `candidate`: the layers at which the candidate still knows the forget items.
    """
    rng = np.random.default_rng(seed)
    corpora: Any = {
        "forget": people("forget", 12, 4, rng, attributes),
        "retain": people("retain", 24, 4, rng, attributes),
        "holdout": people("holdout", 12, 4, rng, attributes),
    }
    blocks = tuple(range(1, layers))
    knows = {
        "original": {"forget": blocks, "retain": blocks, "holdout": ()},
        "candidate": {"forget": candidate, "retain": blocks, "holdout": ()},
        "reference": {"forget": (), "retain": blocks, "holdout": ()},
    }
    states = {
        (role, split, "answer"): known(corpora[split], rng, layers, WIDTH, where)
        for role, splits in knows.items() for split, where in splits.items()
    }  # fmt: skip
    return PlantedBench(case_of(corpora, reference=reference, seed=seed), states)


def test_what_is_planted_is_read_and_what_is_not_is_at_chance() -> None:
    found = conclude(QUICK.measure(world(EVERYWHERE)).panel)
    assert found.original.value > 0.95
    assert found.candidate.value > 0.95
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.25, abs=0.2)  # 24 items of four labels: standard error 0.09
    assert found.residual is not None
    assert found.residual.low > 0.8
    assert found.original.n == 12


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(world(())).panel)
    assert found.residual is not None
    assert found.residual.low < 0.2
    assert found.residual.value < 0.4


def test_one_layer_is_enough_to_be_found() -> None:
    found = conclude(QUICK.measure(world((2,))).panel)
    assert found.residual is not None
    assert found.residual.low > 0.7


def test_without_a_reference_each_model_is_read_against_facts_that_none_saw() -> None:
    reading = QUICK.measure(world(EVERYWHERE, reference=False))
    assert reading.panel.null == "holdout"
    found = conclude(reading.panel)
    assert found.candidate.null == pytest.approx(0.25, abs=0.2)
    assert found.residual is not None
    assert found.residual.low > 0.7


def test_the_table_holds_every_layer_its_chance_and_its_shuffle() -> None:
    bench = world(EVERYWHERE)
    table = pd.DataFrame(QUICK.measure(bench).rows)
    # 4 layers x 3 subjects x 3 splits x (all + 2 attributes)
    assert len(table) == 4 * 3 * 3 * 3
    row = table.query("layer == 2 and subject == 'original' and split == 'forget' and attribute == 'all'").iloc[0]
    assert row.accuracy > 0.95
    assert (row["items"], row.entities) == (24, 12)
    assert row.low <= row.accuracy <= row.high
    assert row.shuffled < 0.5
    labels = [item.label for item in bench.corpus("retain").items]
    shares = [
        pd.Series([item.label for item in bench.corpus("retain").items if item.attribute == name]).value_counts(
            normalize=True
        ).iloc[0]
        for name in ("attribute 0", "attribute 1")
    ]  # fmt: skip
    assert row.chance == pytest.approx(np.mean(shares))
    assert len(set(labels)) == 4
    embedding = table.query("layer == 0 and split == 'forget' and attribute == 'all'")
    assert embedding.accuracy.max() < 0.6  # nothing is planted in state 0
    left_out = table.query("layer == 2 and split == 'retain' and attribute == 'all'")
    assert left_out.accuracy.min() > 0.95


def test_a_candidate_with_the_originals_states_has_a_residual_of_exactly_one() -> None:
    bench = world(EVERYWHERE)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]  # type: ignore[index]
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_the_best_of_many_layers_does_not_flag_a_model_that_never_knew() -> None:
    """24 layers, 6 seeds: the trap is there (the best layer looks like knowledge) and the headline avoids it."""
    headline, best, flagged = [], [], 0
    for seed in range(6):
        bench = world((), seed=seed, layers=25, attributes=1)
        reading = Linear(nulls=1, folds=2).measure(bench)
        found = conclude(reading.panel)
        headline.append(found.candidate.value)
        assert found.residual is not None
        flagged += found.residual.low > 0.2
        table = pd.DataFrame(reading.rows).query("subject == 'candidate' and split == 'forget' and attribute == 'all'")
        best.append(table.accuracy.max())
    assert np.mean(headline) == pytest.approx(0.25, abs=0.1)  # 12 items, 6 seeds: standard error 0.05
    assert np.mean(best) > np.mean(headline) + 0.1
    assert flagged == 0


def test_training_sees_retained_entities_only(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = world(EVERYWHERE)
    states = np.concatenate([bench.planted[role, "retain", "answer"].reshape(-1, WIDTH) for role in bench.roles])
    retain = {row.tobytes() for row in states}
    seen = []
    fit = probing.fit

    def watched(features: Any, task: Any) -> Any:
        seen.append(all(row.tobytes() in retain for row in features))
        return fit(features, task)

    monkeypatch.setattr(probing, "fit", watched)
    QUICK.measure(bench)
    assert len(seen) == 4 * 3 * 2  # layers, subjects, attributes
    assert all(seen)


def test_every_subject_gets_the_same_folds_shuffles_and_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[probing.Task] = []
    fit = probing.fit
    monkeypatch.setattr(probing, "fit", lambda x, task: tasks.append(task) or fit(x, task))
    QUICK.measure(world(EVERYWHERE))
    assert len({id(task) for task in tasks}) == 2  # one per attribute, whoever is probed


def test_labels_that_retain_does_not_have_are_not_scored_and_counted() -> None:
    bench = world(EVERYWHERE)
    corpus = bench.case.corpora["forget"]
    items = [dataclasses.replace(i, label="value 99") if k < 3 else i for k, i in enumerate(corpus.items)]
    case = dataclasses.replace(
        bench.case, corpora={**bench.case.corpora, "forget": dataclasses.replace(corpus, items=tuple(items))}
    )
    reading = QUICK.measure(PlantedBench(case, bench.planted))
    assert "3 of 24 forget items" in reading.note
    assert len(reading.panel.original.scores.items) == 21


def test_items_without_attributes_are_one_group() -> None:
    bench = world(EVERYWHERE)
    plain = {
        split: dataclasses.replace(c, items=tuple(dataclasses.replace(i, attribute=None) for i in c.items))
        for split, c in bench.case.corpora.items()
    }
    reading = QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=plain), bench.planted))
    assert {row.attribute for row in reading.rows} == {"all"}
    assert conclude(reading.panel).original.value > 0.9


def test_without_labels_the_question_does_not_apply() -> None:
    bench = world(EVERYWHERE)
    bare = {
        split: dataclasses.replace(c, items=tuple(dataclasses.replace(i, label=None) for i in c.items))
        for split, c in bench.case.corpora.items()
    }
    with pytest.raises(NotApplicable, match="has a label"):
        QUICK.measure(PlantedBench(dataclasses.replace(bench.case, corpora=bare), bench.planted))


def test_a_holdout_without_labels_is_no_control() -> None:
    bench = world(EVERYWHERE, reference=False)
    holdout = [Item(f"holdout:{i}", "?", "!", entity=str(i)) for i in range(24)]
    case = case_of({**{s: c.items for s, c in bench.case.corpora.items()}, "holdout": holdout}, reference=False)
    finding = collect("probes.linear", QUICK, PlantedBench(case, bench.planted), {})
    assert finding.status is Status.NOT_IDENTIFIABLE
    assert "holdout" in finding.reason


def test_a_wrong_position_is_found_before_any_work() -> None:
    with pytest.raises(CaseError, match="Unknown position"):
        Linear(position="middle")
