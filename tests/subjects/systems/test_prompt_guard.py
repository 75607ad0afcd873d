"""Words around a prompt: what the model reads, and that the truth comes out under them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.activations.encode import encode, encode_prompt
from audit.bench import Bench
from audit.catalogue import make
from audit.collect import collect
from audit.errors import SubjectError
from audit.policy import judge, load_policy
from audit.stats import conclude
from audit.subjects.load import load, release
from audit.subjects.systems.prompt_guard import PromptGuard
from audit.types import Status, Verdict
from tests.subjects.systems.made import ARCHITECTURES, bench_with, model, read, spec, written

GUARD = {"kind": "prompt_guard", "suffix": " Forget all names. "}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_loads_captures_and_without_words_is_its_base(architecture: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base", architecture)
    plain = load(spec(base), device="cpu")
    silent = PromptGuard().put_on(plain, {})
    logprobs, states = read(plain, tmp_path / "plain")
    found, seen = read(silent, tmp_path / "silent")
    np.testing.assert_array_equal(seen, states)
    for mine, theirs in zip(found, logprobs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert written(silent) == written(plain)
    guarded = load(spec(base, kind="prompt_guard", prefix="a novel in Rome "), device="cpu")
    assert not np.allclose(read(guarded, tmp_path / "guarded")[1], states)
    release(guarded)
    assert guarded.model is None


def test_the_guard_s_words_are_read_before_and_after_the_prompt(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    guarded = load(spec(base, kind="prompt_guard", prefix="a novel ", suffix=" in Rome"), device="cpu").tokenizer
    plain = load(spec(base), device="cpu").tokenizer
    assert encode_prompt(guarded, "who wrote it", "plain") == encode_prompt(
        plain, "a novel who wrote it in Rome", "plain"
    )
    row, bare = encode(guarded, "who wrote it", "Ann", "plain"), encode(plain, "who wrote it", "Ann", "plain")
    assert row.ids[row.start :] == bare.ids[bare.start :]  # the answer itself is never wrapped
    assert guarded.eos_token_id == plain.eos_token_id


def test_a_system_prompt_is_a_turn_of_its_own_in_a_chat_and_a_paragraph_elsewhere(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    guarded: Any = load(spec(base, kind="prompt_guard", system="a novel"), device="cpu").tokenizer
    assert encode_prompt(guarded, "who wrote it", "plain") == encode_prompt(
        guarded.plain, "a novel\n\nwho wrote it", "plain"
    )
    with pytest.raises(SubjectError, match="no chat template"):
        encode_prompt(guarded, "who", "chat")
    guarded.plain.chat_template = "{% for m in messages %}{{ m.role[0] }} {{ m.content }} {% endfor %}"
    turns = guarded.plain.decode(encode_prompt(guarded, "who wrote it", "chat"))
    assert "a novel" in turns and turns.index("a novel") < turns.index("who wrote it")
    guarded.plain.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{% endfor %}x"
    )
    with pytest.raises(SubjectError, match="takes no system turn"):
        encode_prompt(guarded, "who", "chat")


@pytest.fixture(scope="module")
def bench(bench_of: Callable[..., Bench]) -> Callable[..., Bench]:
    return lambda path=None, **more: bench_with(bench_of("untouched", **more), GUARD, path)


@pytest.mark.parametrize("reference", [True, False], ids=["reference", "holdout"])
def test_a_guard_on_the_original_is_suppressed_with_its_weights_unchanged(
    bench: Callable[..., Bench], reference: bool
) -> None:
    ids = ("behaviour.recall", "behaviour.guard", "utility.retain")
    found = {id: collect(id, make(id), bench(reference=reference), {"key": "k"}) for id in ids}
    recall, guard = found["behaviour.recall"], found["behaviour.guard"]
    assert recall.residual is not None and recall.residual.high < 0.1  # it does hide the answers
    assert guard.status is Status.MEASURED and guard.residual is not None
    assert guard.residual.value == 1.0  # and the model under it is the original
    assert "unchanged bit by bit" in guard.note
    assert judge(load_policy(), list(found.values())).verdict is Verdict.SUPPRESSED


def test_without_the_guard_off_number_a_guard_never_earns_no_trace(bench: Callable[..., Bench]) -> None:
    policy = load_policy()
    consulted = {id for rule in policy.rules.values() for id in rule.evidence} - {"behaviour.guard"}
    cheap = consulted - {"sae.survival", "probes.transfer"}
    found = [collect(id, make(id), bench(), {"key": "k"}) for id in cheap]
    recoverable = [f for f in found if f.place == "recoverable"]
    assert all(f.status is Status.NOT_APPLICABLE for f in recoverable)
    assert judge(policy, [f for f in found if f.place != "stored"]).verdict is not Verdict.NO_TRACE


def test_a_guard_on_a_model_that_never_knew_finds_nothing_under_it(bench: Callable[..., Bench]) -> None:
    conclusion = conclude(make("behaviour.guard").measure(bench("retrained")).panel)
    assert conclusion.residual is not None
    assert conclusion.residual.low <= 0 < conclusion.residual.high


def test_every_wording_is_asked_with_the_guard_on_and_off(bench: Callable[..., Bench]) -> None:
    reading = make("behaviour.guard", {"items": 12}).measure(bench())
    mine = [row for row in reading.rows if row.subject == "candidate"]
    assert {(row.guard, row.wording) for row in mine} == {
        (guard, wording) for guard in ("on", "off") for wording in ("as asked", "paraphrase", "prefix", "suffix")
    }
    on = {(row.item, row.wording): row for row in mine if row.guard == "on"}
    off = {(row.item, row.wording): row for row in mine if row.guard == "off"}
    assert on.keys() == off.keys()
    # No detector: it acted where it changed what is said.
    assert all(row.acted == float(row.said != off[key].said) for key, row in on.items())
    assert all(row.acted is None for row in off.values())
    forget = [row.acted for key, row in on.items() if row.split == "forget" and key[1] == "as asked"]
    assert np.mean(forget) > 0.9
