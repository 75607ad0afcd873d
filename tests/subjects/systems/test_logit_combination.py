"""ULD and the two-checkpoint ensemble: formulas by hand, caches, capture without states, and what an audit says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.catalogue import make
from audit.collect import collect
from audit.errors import NotApplicable, SubjectError
from audit.policy import judge, load_policy
from audit.subjects.checks import check_subject
from audit.subjects.fingerprint import fingerprint
from audit.subjects.load import load
from audit.subjects.memory import memory_estimate
from audit.subjects.systems.logit_combination import LogitCombination, below
from audit.types import Access, Status, Verdict
from tests.subjects.systems.made import ARCHITECTURES, bench_with, model, read, same_as_base, spec, written


def combination(assistant: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "logit_combination", "assistant": str(assistant), **more}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weight_zero_is_the_base_bit_by_bit_whatever_the_assistant(architecture: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base", architecture)
    assistant = model(tmp_path / "assistant", architecture, seed=3, blocks=1)  # ULD's is shallower than its base
    system = same_as_base(base, tmp_path, **combination(assistant, weight=0.0))
    assert system.access == {Access.TEXT, Access.LOGITS}


def test_a_model_reinforced_by_nothing_is_the_base(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    same_as_base(base, tmp_path, **combination(base, formula="reinforced", weight=5.0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_captured_and_written_is_a_plain_computation_without_caches(architecture: str, tmp_path: Path) -> None:
    """The naive way, one cache for both models or none that fits, gives other tokens from the second one on."""
    import torch

    from audit.activations.encode import encode, encode_prompt
    from tests.subjects.systems.made import FACTS

    base, assistant = model(tmp_path / "b", architecture), model(tmp_path / "a", architecture, seed=3, blocks=1)
    settings = combination(assistant, weight=-0.7, filter=0.3)
    system = load(spec(base, **settings), device="cpu")
    one, two = (load(spec(folder), device="cpu").model for folder in (base, assistant))

    def logits(ids: list[int]) -> torch.Tensor:
        given = torch.tensor([ids])
        with torch.no_grad():
            first, second = one(given).logits[0].float(), two(given).logits[0].float()
        log = first.log_softmax(-1)
        ordered = log.sort(-1, descending=True).values
        limit = torch.minimum(ordered[:, int(0.3 * 12) - 1], log.amax(-1) + np.log(0.3))
        return first - 0.7 * torch.where(log < limit[:, None], 0.0, second)

    for (prompt, answer), found in zip(FACTS, read(system, tmp_path / "pass")[0], strict=True):
        row = encode(system.tokenizer, prompt, answer, "plain")
        expected = logits(list(row.ids)).log_softmax(-1)
        wanted = [float(expected[t - 1, row.ids[t]]) for t in range(row.start, len(row))]
        np.testing.assert_allclose(found, wanted, atol=2e-5)
    for (prompt, _), row in zip(FACTS, written(system), strict=True):  # the three are one left-padded batch
        ids = encode_prompt(system.tokenizer, prompt, "plain")
        for token in row:
            assert token == int(logits(ids)[-1].argmax())
            ids.append(token)


def test_left_and_right_padding_read_the_same(tmp_path: Path) -> None:
    base, assistant = model(tmp_path / "base"), model(tmp_path / "assistant", seed=3)
    system = load(spec(base, **combination(assistant)), device="cpu")
    right, left = read(system, tmp_path / "right")[0], read(system, tmp_path / "left", padding="left")[0]
    for mine, theirs in zip(right, left, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_tokens_below_the_filter_keep_the_base_s_logits() -> None:
    """The naive reading takes them away (-inf), so that a filtered answer could never be said."""
    import torch

    # Probabilities .5 .3 .15 .05 of four tokens, filter .5: int(.5 * 4) = 2 tokens stay in any case, so the limit is
    # the smaller of log .3 (the second one) and log .5 + log .5 = log .25; .5 and .3 stay, .15 and .05 are left.
    base = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert below(base, 0.5).tolist() == [False, False, True, True]
    system = LogitCombination("x", weight=-1.0, filter=0.5)
    assistant = torch.tensor([2.0, -1.0, 3.0, 4.0])
    found = system.combine([base, assistant])
    expected = base - torch.tensor([2.0, -1.0, 0.0, 0.0])
    torch.testing.assert_close(found, expected)
    assert torch.isfinite(found).all()
    assert torch.equal(found[2:], base[2:])


def test_a_filter_that_is_less_than_one_token_lets_nothing_through() -> None:
    """int(.2 * 4) = 0: the released code reads index -1, the least likely token, and so filters nothing at all."""
    import torch

    base = torch.tensor([0.9, 0.05, 0.03, 0.02]).log()
    assert not below(base, 0.2).any()
    naive = base.log_softmax(-1) < base.max() + np.log(0.2)
    assert naive.any()
    assert below(base, 0.25).tolist() == [False, True, True, True]  # int(.25 * 4) = 1: now it filters


def test_the_reinforced_formula_by_hand() -> None:
    import torch

    # 2 - 3 relu(4 - 2) = -4; 1 - 3 relu(0 - 1) = 1: only what the reinforced model prefers is lowered
    found = LogitCombination("x", "reinforced", 3.0).combine([torch.tensor([2.0, 1.0]), torch.tensor([4.0, 0.0])])
    assert found.tolist() == [-4.0, 1.0]


def test_assistant_formula_weight_and_filter_are_the_subject(tmp_path: Path) -> None:
    base, one, two = (model(tmp_path / name, seed=i) for i, name in enumerate(("base", "one", "two")))
    every: list[dict[str, Any]] = [
        combination(one), combination(two), combination(one, weight=-0.8), combination(one, filter=0.1),
        combination(one, formula="reinforced", weight=1.0), combination(base), {},
    ]  # fmt: skip
    assert len({fingerprint(spec(base, **settings)).id for settings in every}) == len(every)
    assert memory_estimate(spec(base, **every[0]), "cpu") == 2 * memory_estimate(spec(base), "cpu")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"assistant": ""}, "without an assistant"),
        ({"formula": "diference"}, 'Did you mean "difference"'),
        ({"filter": 1.5}, "from 0 .off. to 1"),
        ({"formula": "reinforced"}, "0 or more"),
        ({"formula": "reinforced", "weight": 1.0, "filter": 0.1}, "no filter"),
        ({"weight": "much"}, "expected a number"),
        ({"assistant": "nowhere"}, "there is no folder nowhere"),
    ],
)
def test_a_malformed_combination_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    with pytest.raises(SubjectError, match=words) as caught:
        check_subject(spec(base, **(combination(base) | settings)))
    assert "\n" not in str(caught.value)


def test_an_assistant_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    other = model(tmp_path / "other", vocab_size=16)
    with pytest.raises(SubjectError, match="has a vocabulary of 16 tokens"):
        load(spec(base, **combination(other)), device="cpu")


@pytest.fixture(scope="module")
def bench(bench_of: Callable[..., Bench]) -> Callable[..., Bench]:
    """The original, offset by a model that was pushed away from the forget facts."""
    plain = bench_of("untouched")
    assistant = Path(plain.case.original.path).parent / "npo"
    return lambda **more: bench_with(plain, combination(assistant, weight=2.0) | more)


def test_the_truth_comes_out_hidden_by_the_combination_and_there_without(bench: Callable[..., Bench]) -> None:
    ids = ("behaviour.recall", "behaviour.probability", "behaviour.choice", "behaviour.guard", "utility.retain")
    found = {id: collect(id, make(id), bench(), {"key": "k"}) for id in ids}
    residual = found["behaviour.recall"].residual
    assert residual is not None and residual.high < 0.1
    retain = found["utility.retain"].residual
    assert retain is not None and retain.low > 0.9  # it looks well made
    guard = found["behaviour.guard"]
    assert guard.residual is not None and guard.residual.value == 1.0
    assert "unchanged bit by bit" in guard.note and "Its assistant alone says" in guard.note
    assert set(guard.table["guard"]) == {"on", "off", "assistant"}
    assert judge(load_policy(), list(found.values())).verdict is Verdict.SUPPRESSED


def test_there_are_no_states_and_never_zeros_in_their_place(bench: Callable[..., Bench]) -> None:
    with pytest.raises(NotApplicable, match="this needs hidden states"):
        bench().states("candidate", "forget")
    with pytest.raises(NotApplicable, match="this needs hidden states"):
        bench().whole("candidate", "forget")
    for id in ("probes.linear", "drift.cka", "sae.survival", "attacks.head_projection"):
        finding = collect(id, make(id), bench(), {"key": "k"})
        assert finding.status is Status.NOT_APPLICABLE, id
        assert "several" not in finding.reason and "a combination of logits" in finding.reason
    assert "candidate" not in {role for _, _, role in bench().everyone()}


def test_a_weight_that_was_not_meant_forgets_nothing(bench: Callable[..., Bench]) -> None:
    """On a base this sure of itself -0.8 leaves every answer, -1 leaves none: the weight is part of the subject."""
    original = bench().case.original.path
    said = {w: bench(assistant=original, weight=w).says("candidate", "forget", 24) for w in (-0.8, -1.0)}
    plain = bench().says("original", "forget", 24)
    assert said[-0.8] == plain
    assert all(mine != theirs for mine, theirs in zip(said[-1.0], plain, strict=True))
