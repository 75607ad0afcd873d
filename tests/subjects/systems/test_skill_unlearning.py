"""Effective Skill Unlearning: neurons and keys, as published and as released, against plain computations."""

from __future__ import annotations

import math
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
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.subjects.systems import statistics
from audit.subjects.systems.key_space import FORCED
from audit.subjects.systems.neuron_adjust import HELD, adjusted
from audit.types import Access, Verdict
from tests.subjects.systems.made import (
    ARCHITECTURES,
    FACTS,
    PROMPTS,
    bench_with,
    model,
    read,
    same_as_base,
    spec,
    written,
)


def nothing(tmp_path: Path) -> Path:
    """Statistics of no neuron at all."""
    import torch

    held = {name: torch.zeros(0, dtype=torch.long if name == "neurons" else torch.float32) for name in HELD}
    statistics.write(tmp_path / "none.safetensors", {1: held, 2: held})
    return tmp_path / "none.safetensors"


def neurons(base: Path, tmp_path: Path, share: float = 0.5) -> Path:
    subject = load(spec(base), device="cpu")
    found = statistics.neurons(subject, PROMPTS[1:], PROMPTS[:1], share)
    statistics.write(tmp_path / "neurons.safetensors", found)
    return tmp_path / "neurons.safetensors"


def keys(base: Path, tmp_path: Path, prompts: list[str]) -> Path:
    statistics.write(tmp_path / "keys.safetensors", statistics.boxes(load(spec(base), device="cpu"), prompts))
    return tmp_path / "keys.safetensors"


def adjust(file: Path | str, **more: Any) -> dict[str, Any]:
    return {"kind": "neuron_adjust", "statistics": str(file), **more}


def detect(file: Path | str, **more: Any) -> dict[str, Any]:
    return {"kind": "key_space", "statistics": str(file), "answer": "a novel", **more}


# -- neurons


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_neuron_is_the_base_bit_by_bit(architecture: str, tmp_path: Path) -> None:
    same_as_base(model(tmp_path / "base", architecture), tmp_path, **adjust(nothing(tmp_path)))


def held(forget: tuple[float, float], retain: tuple[float, float]) -> dict[str, Any]:
    import torch

    values = (*forget, *retain)
    return dict(zip(HELD[1:], (torch.tensor([value]) for value in values), strict=True))


def test_the_published_formula_by_hand() -> None:
    import torch

    # Forget N(4, 1), retain N(0, 2), x = 5: mirrored 2*0 - (0 + 2*(5 - 4)/1) = -2.
    # p_f = e^-.5/sqrt(2 pi) = .2420, p_r = e^-3.125/(2 sqrt(2 pi)) = .00876: moved where the coin is at least
    # p_r / (p_r + p_f) = .0349. x = 0 is likelier under retain and stays whatever the coin.
    table = held((4.0, 1.0), (0.0, 2.0))
    values, coins = torch.tensor([[5.0], [5.0], [0.0]]), torch.tensor([[0.034], [0.036], [0.9]])
    assert adjusted(values, table, coins, "paper")[:, 0].tolist() == [5.0, -2.0, 0.0]


def test_the_released_code_takes_the_mean_for_the_deviation_and_variances() -> None:
    """Whoever audits the paper's formula under the released name, or the reverse, audits another model."""
    import torch

    # As released: forget deviation = its mean 4, retain deviation = 2 squared = 4. x = 5:
    # mirrored 0 - (0 + 4 * (5 - 4) / 4) = -1, where the published one gives -2.
    table = held((4.0, 1.0), (0.0, 2.0))
    released = adjusted(torch.tensor([[5.0]]), table, torch.tensor([[0.99]]), "released")
    assert released.tolist() == [[-1.0]]
    assert adjusted(torch.tensor([[5.0]]), table, torch.tensor([[0.99]]), "paper").tolist() == [[-2.0]]
    # A negative mean is a negative deviation: its density is below zero, so nothing is ever moved.
    negative = held((-4.0, 1.0), (0.0, 2.0))
    assert adjusted(torch.tensor([[-5.0]]), negative, torch.tensor([[0.99]]), "released").tolist() == [[-5.0]]
    assert adjusted(torch.tensor([[-5.0]]), negative, torch.tensor([[0.99]]), "paper").tolist() != [[-5.0]]
    # A mean of zero divides by it: the value stays, and nothing that is no number goes on.
    assert math.isfinite(adjusted(torch.tensor([[1.0]]), held((0.0, 1.0), (3.0, 2.0)), torch.ones(1, 1), "released"))


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("at", ["keys", "gates"])
def test_reading_and_writing_agree_whatever_the_batch(variant: str, at: str, tmp_path: Path) -> None:
    import torch

    base = model(tmp_path / "base")
    system = load(spec(base, **adjust(neurons(base, tmp_path), variant=variant, at=at)), device="cpu")
    right, left = read(system, tmp_path / "right"), read(system, tmp_path / "left", padding="left")
    np.testing.assert_allclose(right[1], left[1], atol=2e-5)
    assert not np.allclose(right[1], read(load(spec(base), device="cpu"), tmp_path / "plain")[1])
    assert [written(system, [prompt])[0] for prompt in PROMPTS] == written(system)
    for (prompt, answer), found in zip(FACTS, right[0], strict=True):  # token by token, cache on
        row, past = encode(system.tokenizer, prompt, answer, "plain"), None
        given = torch.tensor([row.ids[: row.start]])
        for t in range(row.start, len(row)):
            with torch.no_grad():
                out = system.model(input_ids=given, past_key_values=past, use_cache=True)
            assert float(out.logits[0, -1].log_softmax(-1)[row.ids[t]]) == pytest.approx(found[t - row.start], abs=2e-5)
            given, past = torch.tensor([[row.ids[t]]]), out.past_key_values


def test_variants_places_and_coins_are_the_subject(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    file = neurons(base, tmp_path)
    other = tmp_path / "other.safetensors"
    statistics.write(other, statistics.neurons(load(spec(base), device="cpu"), PROMPTS[:1], PROMPTS[1:], 0.5))
    every: list[dict[str, Any]] = [
        adjust(file), adjust(file, variant="released"), adjust(file, at="gates"), adjust(file, seed=1), adjust(other)
    ]  # fmt: skip
    assert len({fingerprint(spec(base, **settings)).id for settings in every}) == len(every)


# -- keys


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_box_that_holds_nothing_leaves_the_base_bit_by_bit(architecture: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base", architecture)
    subject = load(spec(base), device="cpu")
    found = statistics.boxes(subject, PROMPTS)
    statistics.write(tmp_path / "keys.safetensors", {b: {**box, "mean": box["mean"] + 1e3} for b, box in found.items()})
    system = same_as_base(base, tmp_path, **detect(tmp_path / "keys.safetensors"))
    assert system.access == {Access.TEXT, Access.LOGITS}
    assert system.system is not None
    assert system.system.flags(system, PROMPTS, "plain") == [False] * 3


def test_the_box_covers_every_forget_key_by_construction_and_shrinks(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    file = keys(base, tmp_path, PROMPTS)
    full, none = (load(spec(base, **detect(file, factor=factor)), device="cpu") for factor in (1.0001, 0.0))
    assert full.system is not None and none.system is not None
    assert full.system.flags(full, PROMPTS, "plain") == [True] * 3
    assert none.system.flags(none, PROMPTS, "plain") == [False] * 3
    longer = load(spec(base, **detect(file, factor=1.0001)), device="cpu")
    assert longer.system is not None
    evaded = longer.system.flags(longer, [prompt + " Ben" for prompt in PROMPTS], "plain")
    assert not all(evaded)  # one more token, another last key: the guard's report must ask for this


def test_an_abstention_is_what_is_written_and_what_is_read(tmp_path: Path) -> None:
    """The naive way, a flag beside the base's own logits, would show the answer as likely as ever."""
    base = model(tmp_path / "base")
    file = keys(base, tmp_path, PROMPTS[1:])
    system = load(spec(base, **detect(file, factor=1.0001)), device="cpu")
    assert system.system is not None
    flags = system.system.flags(system, PROMPTS, "plain")
    assert flags[1:] == [True, True]
    said = encode_prompt(system.tokenizer, "a novel", "plain")
    plain = load(spec(base), device="cpu")
    for flag, mine, theirs in zip(flags, written(system), written(plain), strict=True):
        assert mine == (said if flag else theirs)
    found, before = read(system, tmp_path / "system")[0], read(plain, tmp_path / "plain")[0]
    assert FACTS[2][1] == "a novel"
    np.testing.assert_allclose(found[2], 0.0, atol=1e-6)  # it is what the abstention says
    assert (found[1] < -FORCED / 2).all() and np.isfinite(found[1]).all()
    if not flags[0]:
        np.testing.assert_array_equal(found[0], before[0])


def test_as_released_a_token_that_is_written_later_sets_it_off_too(tmp_path: Path) -> None:
    import torch

    base = model(tmp_path / "base")
    plain = load(spec(base), device="cpu")
    first = written(plain, PROMPTS[:1])[0]
    assert first
    # A box around the key of the first token that the base writes, and around no key of a prompt.
    after = statistics.keys_of(plain, [PROMPTS[0]], "plain", last=True)
    ids = [*encode_prompt(plain.tokenizer, PROMPTS[0], "plain"), first[0]]
    seen: dict[int, torch.Tensor] = {}
    from audit.activations.mlp import mlp_outputs

    handles = [
        m.register_forward_pre_hook(lambda m, a, b=b: seen.__setitem__(b, a[0][0, -1]))
        for b, m in enumerate(mlp_outputs(plain.model), 1)
    ]
    with torch.no_grad():
        plain.model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    box = {b: {"mean": key.clone(), "std": torch.full_like(key, 1e-3), "k": torch.ones(1)} for b, key in seen.items()}
    assert all(not torch.allclose(after[b][0], seen[b], atol=1e-3) for b in seen)
    statistics.write(tmp_path / "later.safetensors", box)
    paper, released = (
        load(spec(base, **detect(tmp_path / "later.safetensors", variant=variant)), device="cpu")
        for variant in ("paper", "released")
    )
    said = encode_prompt(plain.tokenizer, "a novel", "plain")
    assert written(paper, PROMPTS[:1]) == [first]
    assert written(released, PROMPTS[:1]) == [said]


# -- both


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (adjust(""), "without statistics"),
        (adjust("none.pkl"), "a pickled one is never read"),
        (adjust("nothing.safetensors"), "cannot be read"),
        (adjust("FILE", variant="papr"), 'Did you mean "paper"'),
        (adjust("FILE", at="key"), 'Did you mean "keys"'),
        (adjust("KEYS"), r'hold "block\.\d\.\w+"; expected block.N with neurons'),
        (detect(""), "without statistics"),
        (detect("FILE"), "expected block.N with mean, std, k"),
        (detect("KEYS", factor=-1.0), "0 or more"),
        (detect("KEYS", answer=" "), "says nothing when it abstains"),
        (detect("SHORT"), "its statistics lack block.1.k"),
        (detect("DEEP"), "are of block 9, but the model has 2"),
    ],
)
def test_a_malformed_one_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    import torch

    base = model(tmp_path / "base")
    one = {"mean": torch.zeros(32), "std": torch.ones(32), "k": torch.ones(1)}
    statistics.write(tmp_path / "SHORT", {1: {"mean": one["mean"], "std": one["std"]}})
    statistics.write(tmp_path / "DEEP", {9: one})
    files = {"FILE": neurons(base, tmp_path), "KEYS": keys(base, tmp_path, PROMPTS)}
    for name in ("SHORT", "DEEP"):
        files[name] = (tmp_path / name).rename(tmp_path / f"{name}.safetensors")
    given = settings["statistics"]
    with pytest.raises(SubjectError, match=words) as caught:
        check_subject(spec(base, **(settings | {"statistics": str(files.get(given, given))})))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def bench(bench_of: Callable[..., Bench], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bench]:
    """The lab's original with a detector around the keys of what is to be forgotten."""
    plain, folder = bench_of("untouched"), tmp_path_factory.mktemp("keys")
    with plain.model("original") as subject:
        prompts = [item.prompt for item in plain.corpus("forget").items]
        statistics.write(folder / "keys.safetensors", statistics.boxes(subject, prompts))
    return lambda **more: bench_with(plain, detect(folder / "keys.safetensors", answer="I do not know.") | more)


def test_the_truth_comes_out_suppressed_and_what_sets_it_off_is_counted(bench: Callable[..., Bench]) -> None:
    ids = ("behaviour.recall", "behaviour.probability", "behaviour.guard", "utility.retain")
    found = {id: collect(id, make(id), bench(), {"key": "k"}) for id in ids}
    residual = found["behaviour.recall"].residual
    assert residual is not None and residual.high < 0.1
    assert found["behaviour.probability"].residual is not None
    guard = found["behaviour.guard"]
    assert guard.residual is not None and guard.residual.value == 1.0
    assert "unchanged bit by bit" in guard.note
    on = guard.table[guard.table["guard"] == "on"]
    rates = on[on["wording"] == "as asked"].groupby("split")["acted"].mean()
    assert rates["forget"] == 1.0  # by construction
    assert 0.1 < rates["retain"] < 1.0  # and much else falls into so large a box
    evading = on[(on["split"] == "forget") & (on["wording"] == "prefix")]["acted"].mean()
    assert evading < 1.0  # the box was drawn around other wordings
    assert judge(load_policy(), list(found.values())).verdict is Verdict.SUPPRESSED


def test_a_smaller_box_lets_prompts_through(bench: Callable[..., Bench]) -> None:
    small = collect("behaviour.recall", make("behaviour.recall"), bench(factor=0.5), {"key": "k"})
    assert small.residual is not None and small.residual.low > 0.4
