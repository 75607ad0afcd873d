"""A watched attack tells what the evidence `attacks.relearn` itself measures, step by step, and can be stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit import jobs
from audit.bench import Bench
from audit.cache import Cache
from audit.errors import Cancelled, CaseError, StoreError
from audit.evidence.attacks.relearn import Relearn
from audit.live.attack import ABOUT, STEPS, run_attack, watched
from audit.live.folders import known_attacks, start_attack
from audit.progress import CANCEL, read_progress
from audit.views import live_attack
from audit.views.live_attack import answers, curve, read_attack, sentence, subjects
from tests.conftest import views

BenchOf = Callable[..., Bench]
EVIDENCE = Relearn(steps=8, checkpoints=(0, 4, 8), retain_items=40)
SETTINGS = dataclasses.replace(watched(steps=8, every=4), retain_items=40)


@pytest.fixture(scope="module")
def attacked(tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One attack on a candidate that hides what it knows, to its end."""
    out = tmp_path_factory.mktemp("attack")
    run_attack(tiny_lab / "case.toml", "last-block", out, SETTINGS, device="cpu", cache=Cache(views()))
    return out


def test_its_curve_is_the_evidences_own(attacked: Path, bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    rows = pd.DataFrame(EVIDENCE.measure(bench).rows).query("seed == '0' and split == 'forget'")
    found = read_attack(attacked)
    assert found is not None
    table = curve(found)
    for lane, role in (("last-block", "candidate"), ("reference", "reference"), ("original", "original")):
        mine = table[table["subject"] == lane].drop_duplicates("recovery" if role == "original" else "step")
        theirs = rows[rows["subject"] == role]
        assert mine["step"].tolist() == theirs["step"].tolist()
        for name, column in (("recovery", "recovery"), ("low", "low"), ("high", "high"), ("retained", "retain_recall")):
            assert np.allclose(mine[name], theirs[column].astype(float), atol=1e-12), (lane, name)
        assert mine["entities"].tolist() == theirs["entities"].tolist()


def test_no_watched_fact_is_one_that_the_attacker_knows(attacked: Path, bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    about = json.loads((attacked / ABOUT).read_text())
    material = SETTINGS.material(bench, "forget", 0)
    known = {item.id for item in material.taught}
    assert about["settings"]["facts"] == len(known) == 20
    for facts in about["watched"].values():
        assert len(facts) == 6
        assert not known & {fact["item"] for fact in facts}
    tested = [item.answer for item, yes in zip(bench.corpus("forget").items, material.tested, strict=True) if yes]
    assert all(fact["answer"] in tested for fact in about["watched"]["last-block"])


def test_an_attacker_with_fewer_facts_knows_some_of_the_same(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    every = SETTINGS.material(bench, "forget", 0)
    some = dataclasses.replace(SETTINGS, facts=5).material(bench, "forget", 0)
    assert len(some.taught) == 5
    assert {item.id for item in some.taught} < {item.id for item in every.taught}
    assert (some.tested == every.tested).all()


def test_its_words(attacked: Path) -> None:
    found = read_attack(attacked)
    assert found is not None
    said = sentence(found)
    level = f"{found.about['original']['recovery']:.0%}".replace("%", "\u202f%")
    assert "After 8 steps last-block gives" in said
    assert "reference, which never knew them" in said
    assert f"the original, not attacked, {level}" in said
    table = answers(found, 8)
    assert list(table.columns) == [
        "question", "true answer", "last-block, before", "last-block, after 8 steps", "reference, before",
        "reference, after 8 steps",
    ]  # fmt: skip
    assert len(table) == 6
    for row in table.to_dict("records"):
        text = row["last-block, after 8 steps"]
        assert text.startswith("✓") == (row["true answer"].casefold() in text.casefold())
    assert subjects(found) == {"original": "original", "reference": "reference", "last-block": "last-block"}
    assert [panel.title for panel in live_attack.panels_of(found)] == ["What comes back", "What was to be kept"]


def test_without_a_reference_the_control_is_what_no_model_saw(tiny_lab: Path, tmp_path: Path) -> None:
    case = (tiny_lab / "case.toml").read_text().replace("[subjects.reference]", "[unused]", 1)
    head, _, tail = case.partition("[unused]")
    path = tiny_lab / "case-no-reference.toml"
    path.write_text(head + tail.partition("\n\n")[2])
    quick = dataclasses.replace(watched(steps=1, every=1), retain_items=10, items=10)
    run_attack(path, "last-block", tmp_path, quick, device="cpu", cache=Cache(views()))
    found = read_attack(tmp_path)
    assert found is not None and found.about["null"] == "holdout"
    assert found.about["lanes"][1] == "last-block, facts it never saw"
    assert {fact["item"].split(":")[0] for fact in found.about["watched"][found.about["lanes"][1]]} == {"holdout"}
    assert len(answers(found, 1)) == sum(len(facts) for facts in found.about["watched"].values())  # no fact is shared
    assert subjects(found)["last-block, facts it never saw"] == "reference"


def test_cancelled_it_keeps_what_was_heard(tiny_lab: Path, tmp_path: Path) -> None:
    def listen(progress: object) -> None:
        if (tmp_path / STEPS).is_file():
            (tmp_path / CANCEL).touch()

    long = dataclasses.replace(watched(steps=400, every=1), retain_items=10, items=10)
    with pytest.raises(Cancelled):
        run_attack(tiny_lab / "case.toml", "rmu", tmp_path, long, device="cpu", cache=Cache(views()), listen=listen)
    assert read_progress(tmp_path).state == "cancelled"
    assert not (tmp_path / CANCEL).exists()
    found = read_attack(tmp_path)
    assert found is not None and found.records
    assert max(found.steps) < 400
    assert sentence(found)


def test_what_cannot_be_attacked_is_one_sentence(tiny_lab: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no candidate"):
        run_attack(tiny_lab / "case.toml", "nobody", tmp_path, SETTINGS, device="cpu")
    assert read_progress(tmp_path).state == "failed"
    for wrong in ({"steps": 0}, {"every": 0}, {"facts": -1}):
        with pytest.raises(CaseError):
            watched(**wrong)
    assert read_attack(tmp_path / "nowhere") is None
    (tmp_path / ABOUT).write_text('{"schema": 99}')
    with pytest.raises(StoreError, match="not written by this version"):
        read_attack(tmp_path)
    assert sentence(None) == "Nothing was measured yet."


def test_only_so_many_are_started_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def launch(arguments: list[str], case: Path, out: Path) -> None:
        started.append(arguments)
        (out / "progress.json").write_text('{"state": "running"}')

    monkeypatch.setattr(jobs, "launch", launch)
    monkeypatch.setattr(jobs, "state", read_progress)
    given = {"steps": 3, "lr": 0.0, "facts": 2, "every": 1, "seed": 1}
    ids = [start_attack(tmp_path, tmp_path / "case.toml", "npo", **given) for _ in range(2)]
    assert len(set(ids)) == 2 and set(known_attacks(tmp_path)) == set(ids)
    assert started[0][:4] == ["attack", str(tmp_path / "case.toml"), "--candidate", "npo"]
    assert "--facts 2" in " ".join(started[0])
    with pytest.raises(StoreError, match="2 attacks are running"):
        start_attack(tmp_path, tmp_path / "case.toml", "npo", **given)
    assert not any(path.name == ".attacks" for path in tmp_path.glob("*/case.json"))


@pytest.mark.parametrize(
    ("mine", "control", "words"),
    [
        # low of one above high of the other, the other way round, and overlapping
        ((0.5, 0.4, 0.6), (0.1, 0.0, 0.2), "in this run knowledge came back"),
        ((0.1, 0.0, 0.2), (0.5, 0.4, 0.6), "nothing came back"),
        ((0.2, 0.1, 0.3), (0.1, 0.0, 0.2), "overlap"),
    ],
)
def test_what_the_two_curves_mean(mine: tuple[float, ...], control: tuple[float, ...], words: str) -> None:
    def record(lane: str, step: int, values: tuple[float, ...], kept: float) -> dict[str, object]:
        numbers = dict(zip(("recovery", "low", "high"), values, strict=True))
        return {"lane": lane, "step": step, **numbers, "entities": 20, "retained": kept, "said": []}

    about = {"lanes": ["npo", "reference"], "null": "reference", "original": {"recovery": 1.0}}
    records = [record("npo", 0, (0, 0, 0), 0.9), record("npo", 4, mine, 0.4), record("reference", 4, control, 0.9)]
    said = sentence(live_attack.Attack(about, records))
    assert words in said
    assert "damaged the model: it says 40\u202f% of retained facts, 90\u202f% before" in said
