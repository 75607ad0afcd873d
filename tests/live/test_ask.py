"""Questions to several models at once: what is streamed and read here is what the audit itself hears and measures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit import jobs
from audit.activations import generate
from audit.bench import Bench
from audit.cache import Cache
from audit.errors import CaseError
from audit.evidence.attacks._lens import first_token_ranks
from audit.live import Models
from audit.live.ask import Piece, Sampling, answers, question
from audit.live.changed import Changes
from audit.live.told import told
from audit.subjects import load
from audit.types import Item
from tests.conftest import views

LONG = "The question needs 15002 tokens, but rmu reads at most 256: shorten it."
NAMES = ["original", "reference", "last-block", "rmu"]


def whole(models: Models, names: list[str], item: Item, *rest: object) -> dict[str, str]:
    """What each model has said in the end."""
    found = {piece.name: piece for piece in answers(models, names, item, *rest)}  # type: ignore[arg-type]
    assert all(piece.done and not piece.problem for piece in found.values())
    return {name: piece.text for name, piece in found.items()}


def test_a_streamed_answer_is_the_generated_one(models: Models) -> None:
    items = models.case.corpora["forget"].items[:6]
    for name in NAMES:
        with models.lend(name) as subject:
            budget = generate.answer_budget(subject, items, "plain")
            expected = generate.says(subject, items, models.case.template)
        assert [whole(models, [name], item, Sampling(length=budget))[name] for item in items] == expected


def test_a_streamed_sample_is_the_audits_sample_and_another_seed_another(models: Models) -> None:
    items = models.case.corpora["forget"].items[:4]
    with models.lend("rmu") as subject:
        budget = generate.answer_budget(subject, items, "plain")
        given = generate.Sampling(3, 1.5, 0.95)
        expected = [one[0] for one in generate.samples(subject, items, models.case.template, 1, given)]
    found = [whole(models, ["rmu"], i, Sampling(1.5, 0.95, 3, budget))["rmu"] for i in items]
    other = [whole(models, ["rmu"], i, Sampling(1.5, 0.95, 4, budget))["rmu"] for i in items]
    assert found == expected
    assert found != other


def test_tokens_come_in_turn_and_only_ever_grow(models: Models) -> None:
    pieces = list(answers(models, NAMES, models.item("forget:0")))
    assert [piece.name for piece in pieces[: len(NAMES)]] == NAMES
    for name in NAMES:
        own = [piece.text for piece in pieces if piece.name == name]
        assert all(later.startswith(earlier) for earlier, later in zip(own, own[1:], strict=False))


def test_scale_one_changes_no_bit_and_zero_does(models: Models) -> None:
    item, layer = models.item("forget:0"), models.case.dictionaries[0].layer
    plain = told(models, "original", item)
    same = told(models, "original", item, Changes(layer, tuple(range(256)), 1.0))
    gone = told(models, "original", item, Changes(layer, tuple(range(256)), 0.0))
    assert same == plain
    assert gone.first is not None and plain.first is not None and gone.first < 0.5 * plain.first
    assert whole(models, NAMES, item, Sampling(), Changes(layer, (1, 2, 3), 1.0)) == whole(models, NAMES, item)
    assert told(models, "original", item) == plain  # no hook stays behind


def test_ranks_by_layer_are_those_of_the_evidence(models: Models, bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items
    for role, name in (("original", "original"), ("candidate", "last-block"), ("reference", "reference")):
        ranks = first_token_ranks(bench, role, "forget")
        for place in (0, 3, 11):
            blocks = told(models, name, items[place]).blocks
            assert [block.rank for block in blocks] == ranks[:, place].tolist()
            assert [block.block for block in blocks] == list(range(1, len(ranks) + 1))
            assert (blocks[-1].rank == 1) == (blocks[-1].token == items[place].answer.split()[0])


def test_probabilities_are_those_of_the_pass(models: Models, bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("last-block")
    rows = bench.likelihood("candidate", "forget").query("variant == 'answer'").reset_index(drop=True)
    for place in (0, 5):
        found = told(models, "last-block", bench.corpus("forget").items[place])
        row = rows.loc[place]
        assert found.whole == pytest.approx(np.exp(row["mean_logprob"] * row["tokens"]), rel=1e-4)
        assert found.first == pytest.approx(np.exp(row["first_logprob"]), rel=1e-4)
        shares = [share for _, share in found.alternatives]
        assert shares == sorted(shares, reverse=True) and len(shares) == 5


def test_a_question_without_an_answer_has_no_rank_and_no_probability(models: Models) -> None:
    found = told(models, "original", question("Who lives in"))
    assert found.whole is None and found.first is None
    assert all(block.rank is None and block.token for block in found.blocks)


def test_two_who_ask_at_once_get_what_each_would_get_alone(models: Models) -> None:
    item, layer = models.item("forget:1"), models.case.dictionaries[0].layer
    changes = Changes(layer, tuple(range(256)), 0.0)
    alone = [whole(models, NAMES, item), whole(models, NAMES, item, Sampling(), changes)]
    assert alone[0] != alone[1]
    found: dict[int, list[dict[str, str]]] = {0: [], 1: []}

    def ask(place: int) -> None:
        for _ in range(3):
            found[place].append(whole(models, NAMES, item, Sampling(), changes if place else Changes()))

    threads = [threading.Thread(target=ask, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {place: [alone[place]] * 3 for place in (0, 1)}


def test_nobody_waits_for_another_model_to_load_or_for_a_job(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Models(models.case_file, root=models.case_file.parent, cache=Cache(views()), device="cpu")
    asked = question("Who?")
    list(answers(own, ["original"], asked, Sampling(length=2)))
    begun, may_load, real = threading.Event(), threading.Event(), load.load

    def slow(*given: Any, **settings: Any) -> Any:
        begun.set()
        assert may_load.wait(60)
        return real(*given, **settings)

    monkeypatch.setattr(load, "load", slow)
    heard: dict[str, dict[str, str]] = {}
    tasks = {name: threading.Thread(target=lambda n=name: heard.update({n: whole(own, [n], asked, Sampling(length=2))}))
             for name in ("rmu", "original")}  # fmt: skip
    tasks["rmu"].start()
    assert begun.wait(30)
    jobs.start(models.case_file, tmp_path / "run", only=["behaviour.recall"], device="cpu")
    try:
        tasks["original"].start()
        tasks["original"].join(30)
        assert list(heard) == ["original"]  # while one model is not loaded yet and an audit has only begun
        assert jobs.state(tmp_path / "run").state == "running"
    finally:
        jobs.kill(tmp_path / "run")
        may_load.set()
        tasks["rmu"].join(60)
    assert heard["rmu"]["rmu"] is not None
    own.close()


def test_one_model_computes_alone_and_another_beside_it(models: Models) -> None:
    heard: dict[str, Any] = {}
    asked = models.item("forget:1")
    with models.lend("original") as held, models.alone(held):
        tasks = {name: threading.Thread(target=lambda n=name: heard.update({n: whole(models, [n], asked)}))
                 for name in ("untouched", "rmu")}  # fmt: skip
        for task in tasks.values():
            task.start()
        tasks["rmu"].join(30)
        tasks["untouched"].join(0.2)
        assert list(heard) == ["rmu"]  # `untouched` is the original's own folder, so the very same model
    tasks["untouched"].join(30)
    assert set(heard) == {"rmu", "untouched"}


def test_models_are_loaded_once_and_given_back_when_idle(models: Models) -> None:
    own = Models(models.case_file, root=models.case_file.parent, cache=Cache(views()), device="cpu", idle_s=0.2)
    assert own.garage.loads == 0
    list(answers(own, ["original", "untouched", "rmu"], question("Who?"), Sampling(length=2)))
    assert own.garage.loads == 2  # `untouched` is the original's own folder
    with own.lend("rmu"):
        own.close()
        assert len(own.garage._loaded) == 1  # what is lent stays
    for _ in range(100):
        if not own.garage._loaded:
            break
        threading.Event().wait(0.05)
    assert not own.garage._loaded
    assert whole(own, ["rmu"], question("Who?"), Sampling(length=2))["rmu"] is not None  # loaded again
    own.close()


def test_at_most_so_many_models_are_kept(models: Models) -> None:
    own = Models(models.case_file, root=models.case_file.parent, cache=Cache(views()), device="cpu")
    own.garage.most = 2
    list(answers(own, ["original"], question("Who?"), Sampling(length=1)))
    for name in ("npo", "rmu", "refusal"):
        told(own, name, question("Who?"))
    assert len(own.garage._loaded) == 2
    own.close()


def test_a_model_that_cannot_answer_says_why_and_the_others_answer(models: Models) -> None:
    broken = replace(models.case.candidate, name="broken", path=str(models.case_file.parent / "nowhere"))
    own = Models(models.case_file, root=models.case_file.parent, cache=Cache(views()), device="cpu")
    own.cases = (*own.cases, replace(own.case, candidate=broken))
    pieces = {p.name: p for p in answers(own, ["original", "broken", "rmu"], question("Who?"), Sampling(length=3))}
    assert pieces["broken"].problem and pieces["broken"].done
    assert pieces["original"].done and not pieces["original"].problem and not pieces["rmu"].problem
    assert told(own, "broken", question("Who?")).problem
    own.close()


def test_a_model_for_which_there_is_no_room_answers_when_the_others_have(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Models(models.case_file, root=models.case_file.parent, cache=Cache(views()), device="cpu")
    monkeypatch.setattr("audit.subjects.memory.memory_estimate", lambda spec, device: 1)
    monkeypatch.setattr("audit.subjects.memory.available_memory", lambda device: 2 - len(own.garage._loaded))
    pieces = list(answers(own, ["original", "npo", "rmu"], question("Who?"), Sampling(length=2)))
    assert [piece.name for piece in pieces if piece.done] == ["original", "npo", "rmu"]
    assert not any(piece.problem for piece in pieces)
    own.close()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda m: question("  "), "empty"),
        (lambda m: Sampling(length=0), "1 to 200"),
        (lambda m: list(answers(m, ["nobody"], question("Who?")))[0], "no model"),
        (lambda m: told(m, "rmu", question("Who?"), Changes(2, (10**6,), 0.0)), "no feature"),
        (lambda m: told(m, "rmu", question("Who?"), Changes(99, (1,), 0.0)), "no dictionary"),
        (lambda m: told(m, "rmu", question("Who?"), Changes(vectors=((0, 10**6),))), "no value vector"),
        (lambda m: list(answers(m, ["rmu"], question("word " * 5000)))[0], LONG),
        (lambda m: told(m, "rmu", question("word " * 5000, "yes")), LONG),
        (lambda m: told(m, "rmu", question("word " * 5000)), LONG),
        (
            lambda m: list(answers(m, ["rmu"], question("word " * 60), Sampling(length=200)))[0],
            "The question with 200 tokens of answer needs",
        ),
        (lambda m: m.item("forget:9999"), "no item"),
        (lambda m: m.item("nothing:1"), "no item"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(models: Models, asked: Callable[[Models], object], words: str) -> None:
    try:
        found = asked(models)
    except CaseError as error:
        assert words in str(error)
    else:
        assert words in getattr(found, "problem", ""), found
        assert isinstance(found, Piece) is hasattr(found, "text")
