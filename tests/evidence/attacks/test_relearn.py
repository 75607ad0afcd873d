"""Relearning on models of known truth: what comes back, what does not, and what is trained only once."""

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
from audit.errors import Cancelled, CaseError, NotIdentifiable
from audit.evidence.attacks._curves import Material, Run
from audit.evidence.attacks.relearn import Relearn
from audit.stats import conclude

BenchOf = Callable[..., Bench]
SHORT = Relearn(steps=12, checkpoints=(4, 12), retain_items=40)


def count_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows with every model handed out for training."""
    trained: list[str] = []
    real = bench.private_model

    @contextmanager
    def private(role: Any) -> Iterator[Any]:
        trained.append(role)
        with real(role) as subject:
            yield subject

    monkeypatch.setattr(bench, "private_model", private)
    return trained


def test_what_one_block_hides_comes_back(bench_of: BenchOf) -> None:
    reading = SHORT.measure(bench_of("last-block"))
    conclusion = conclude(reading.panel)
    # The original is taken before the attack.
    assert conclusion.original.value > 0.95
    assert conclusion.residual is not None and conclusion.residual.low > 0.3
    rows = pd.DataFrame(reading.rows).query("seed == 'all' and subject == 'candidate'").set_index("step")
    assert list(rows.index) == [0, 4, 12]
    assert rows["recovery"].max() > rows.loc[0, "recovery"] + 0.15
    assert (rows["low"] <= rows["recovery"]).all() and (rows["recovery"] <= rows["high"]).all()
    assert rows["retain_recall"].min() > 0.7


def test_a_model_that_never_knew_gives_nothing_back(bench_of: BenchOf) -> None:
    conclusion = conclude(SHORT.measure(bench_of("retrained")).panel)
    assert conclusion.residual is not None
    assert conclusion.residual.low < 0.1 and conclusion.residual.value < 0.2


def test_rows_cover_every_run_and_their_mean(bench_of: BenchOf) -> None:
    rows = pd.DataFrame(SHORT.measure(bench_of("last-block")).rows)
    counts = rows.groupby(["subject", "seed"])["step"].agg(tuple)
    for subject, steps in (("original", (0,)), ("candidate", (0, 4, 12)), ("reference", (0, 4, 12))):
        assert counts[subject].to_dict() == {"0": steps, "1": steps, "2": steps, "all": steps}
    # Tiny lab: three attributes of twenty people, one trained in each run, so over three runs each fact is tested.
    assert set(rows.query("seed == '0'")["items"]) == {40}
    assert set(rows.query("seed == 'all'")["items"]) == {60}
    assert set(rows["entities"]) == {20}


def test_only_untrained_facts_count(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    used = SHORT.measure(bench).panel.candidate.scores.used
    items = bench.corpus("forget").items
    for run, attribute in enumerate(sorted({item.attribute for item in items})):  # type: ignore[type-var]
        trained = np.array([item.attribute == attribute for item in items])
        assert (used[run] == ~trained).all()


def test_trained_once_and_shared(bench_of: BenchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = Relearn(steps=2, checkpoints=(), retain_items=10, batch=8)
    bench = bench_of("last-block")
    bench.cache = Cache(tmp_path)
    trained = count_training(bench, monkeypatch)
    first = attack.measure(bench)
    assert sorted(trained) == ["candidate"] * 3 + ["reference"] * 3
    assert attack.measure(bench).rows == first.rows
    # Another metric reads the same answers again.
    dataclasses.replace(attack, metric="contains").measure(bench)
    assert len(trained) == 6
    # Another candidate shares the reference's runs.
    other = bench_of("npo")
    other.cache = bench.cache
    trained = count_training(other, monkeypatch)
    attack.measure(other)
    assert trained == ["candidate"] * 3


def test_a_cancelled_run_keeps_what_was_finished(
    bench_of: BenchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Relearn(steps=3, checkpoints=(), retain_items=10, batch=8)
    bench = bench_of("last-block")
    bench.cache = Cache(tmp_path)
    trained = count_training(bench, monkeypatch)
    real = bench.progress

    def stop(fraction: float, message: str = "") -> None:
        if "attack 2 of 3 on the candidate" in message and "step 2" in message:
            raise Cancelled("stop")
        real(fraction, message)

    monkeypatch.setattr(bench, "progress", stop)
    with pytest.raises(Cancelled):
        attack.measure(bench)
    assert len(trained) == 2
    monkeypatch.setattr(bench, "progress", real)
    attack.measure(bench)
    # The first run was finished: it is not trained again. The second was not.
    assert len(trained) == 2 + 2 + 3


def test_progress_grows_from_0_to_1(bench_of: BenchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block")
    bench.cache = Cache(tmp_path)
    seen: list[float] = []
    monkeypatch.setattr(
        bench, "progress", lambda fraction, message="": seen.append(fraction) if "attack" in message else None
    )
    Relearn(steps=2, checkpoints=(), retain_items=4, batch=4).measure(bench)
    assert seen == sorted(seen) and 0 < seen[0] < 0.2 and seen[-1] == pytest.approx(1)


def test_without_reference_the_same_attack_on_the_holdout_is_the_null(bench_of: BenchOf) -> None:
    reading = SHORT.measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout"
    assert reading.panel.null_candidate.value < 0.35
    rows = pd.DataFrame(reading.rows)
    found = set(map(tuple, rows[["subject", "split"]].drop_duplicates().to_numpy()))
    assert found == {(s, split) for s in ("original", "candidate") for split in ("forget", "holdout")}
    residual = conclude(reading.panel).residual
    assert residual is not None and residual.low > 0.3


def test_the_holdout_has_no_level_of_its_own(bench_of: BenchOf) -> None:
    rows = pd.DataFrame(SHORT.measure(bench_of("last-block", reference=False)).rows)
    # The original says next to nothing of the holdout: measured by a share of that, the control would be back at once.
    back = rows.query("seed == 'all' and step == 0").set_index(["subject", "split"])["steps_to_recover"]
    assert (back["candidate", "holdout"], back["original", "holdout"]) == ("> 12", "> 0")
    assert back["original", "forget"] == "0" and back["candidate", "forget"] in {"4", "12", "> 12"}


def test_steps_to_recover_count_from_the_floor_by_hand() -> None:
    def run(*curve: float) -> Run:
        material = Material([], [], np.array([True, False]), "")
        return Run(material, np.array([[value, 0.0] for value in curve]), [])

    # Null 0.2, original 1.0: half of the way is 0.6, which half of the original's recall, 0.5, would not show.
    assert SHORT._recovered([run(0.2, 0.55, 0.61)], [run(1.0)], [run(0.2, 0.3, 0.9)]) == "12"
    assert SHORT._recovered([run(0.2, 0.55, 0.59)], [run(1.0)], [run(0.2, 0.3, 0.9)]) == "> 12"
    # Where the original says no more than the null there is no level.
    assert SHORT._recovered([run(0.2, 0.55, 0.6)], [run(0.2)], [run(0.2)]) == "none"


def test_without_any_control_nothing_is_trained(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block", reference=False, holdout=False)
    trained = count_training(bench, monkeypatch)
    with pytest.raises(NotIdentifiable):
        SHORT.measure(bench)
    assert trained == []


def test_without_retain_corpus_the_note_warns(bench_of: BenchOf) -> None:
    bench = bench_of("last-block", holdout=False)
    bench.case = dataclasses.replace(bench.case, corpora={"forget": bench.corpus("forget")})
    reading = Relearn(steps=2, checkpoints=(), batch=8).measure(bench)
    assert {row.retain_recall for row in reading.rows} == {None}
    assert "no retain corpus" in reading.note


def test_items_without_entity_or_attribute_are_halved(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    forget = bench.corpus("forget")
    items = tuple(dataclasses.replace(item, entity=None, attribute=None) for item in forget.items)
    bench.case = dataclasses.replace(
        bench.case, corpora={**bench.case.corpora, "forget": dataclasses.replace(forget, items=items)}
    )
    reading = Relearn(steps=2, checkpoints=(), batch=8, retain_items=10).measure(bench)
    assert "half of the entities" in reading.note
    # Runs 0 and 1 swap the halves: together they test all sixty.
    used = reading.panel.candidate.scores.used
    assert (used[0] ^ used[1]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "Lora"}, 'Did you mean "lora"'),
        ({"seeds": 1}, "at least 3 runs"),
        ({"retain_share": 1.0}, "below 1"),
        ({"checkpoints": (0, "5")}, "whole steps"),
        ({"metric": "rouge"}, "Unknown recall metric"),
    ],
)
def test_wrong_settings_are_case_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        Relearn(**settings)


def test_the_first_and_the_last_step_are_always_looked_at() -> None:
    assert Relearn(steps=12).looks == (0, 5, 10, 12)
    assert Relearn(steps=40, checkpoints=()).looks == (0, 40)
