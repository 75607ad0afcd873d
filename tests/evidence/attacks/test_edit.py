"""Edits that are taken back to the bit, what is cut by hand, and hooks that leave nothing behind."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from audit.evidence.attacks._contrast import contrast, contrasted, inner_block, other_model
from audit.evidence.attacks._edit import block_matrices, changed, outputs
from audit.evidence.attacks.direction_ablation import places, without
from audit.evidence.attacks.early_exit import EarlyExit, leaving_at
from audit.evidence.attacks.pruning import activation_norms, difference
from audit.evidence.attacks.restore_layers import ENDS, parts
from audit.evidence.attacks.weight_noise import _noisy
from audit.types import Item
from tests.activations.conftest import letters_tokenizer, small_model


@pytest.fixture
def subject() -> Any:
    return SimpleNamespace(
        model=small_model(), tokenizer=letters_tokenizer(True), device=torch.device("cpu"), classes=()
    )


def bits(model: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


IDS = torch.tensor([[5, 6, 7, 8]])


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=ids).logits


def test_edits_are_taken_back_to_the_bit_also_after_an_error(subject: Any) -> None:
    before = bits(subject.model)
    names = list(block_matrices(subject.model))
    with pytest.raises(RuntimeError), changed(subject.model, dict.fromkeys(names, torch.zeros_like)):
        assert all(not dict(subject.model.named_parameters())[name].any() for name in names)
        raise RuntimeError
    assert all(torch.equal(a, b) for a, b in zip(before, bits(subject.model), strict=True))
    # Only matrices within blocks: seven in each block of this Llama, neither embedding nor head.
    assert len(names) == 7 * len(subject.model.model.layers)


def test_set_difference_by_hand() -> None:
    weight = torch.tensor([[1.0, -4.0], [3.0, 2.0]])
    # Scores on forget (norms 1, 2): 1, 8, 3, 4. Top half: -4, 2. On retain (5, 1): 5, 4, 15, 2. Top quarter: 3.
    mine, rest = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 1.0])
    assert difference(weight, mine, rest, 0.5, 0.25).tolist() == [[False, True], [False, True]]
    # Top three quarters of forget: -4, 2 and 3; the 3 is spared.
    assert difference(weight, mine, rest, 0.75, 0.25).tolist() == [[False, True], [False, True]]
    assert difference(weight, mine, rest, 0.75, 0.1).tolist() == [[False, True], [True, True]]
    # GPT-2's Conv1D holds the transpose.
    conv = difference(weight.T.contiguous(), mine, rest, 0.5, 0.25, conv=True)
    assert conv.T.tolist() == [[False, True], [False, True]]


def test_norms_leave_padding_out(subject: Any) -> None:
    items = [Item("forget:0", "abc", "x"), Item("forget:1", "abcdefgh", "x")]
    both = activation_norms(subject, items, "plain")
    alone = [activation_norms(subject, [item], "plain") for item in items]
    for name, norm in both.items():
        expected = (alone[0][name] ** 2 + alone[1][name] ** 2).sqrt()
        assert torch.allclose(norm, expected, rtol=1e-4)
    assert set(both) == set(block_matrices(subject.model))


def test_noise_follows_the_spread_of_its_matrix() -> None:
    weight = torch.randn(200, 100, generator=torch.Generator().manual_seed(0)) * 3
    noise = _noisy(0.1, 1)(weight) - weight
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(_noisy(0.1, 1)(weight), _noisy(0.1, 1)(weight))
    # Another scale is the same draw, scaled.
    assert torch.allclose(_noisy(0.2, 1)(weight) - weight, 2 * noise, atol=1e-5)
    assert _noisy(0.1, 1)(weight.bfloat16()).dtype == torch.bfloat16


def test_parts_cover_every_parameter_once(subject: Any) -> None:
    found = parts(subject.model)
    names = [name for part in found.values() for name in part]
    assert sorted(names) == sorted(name for name, _ in subject.model.named_parameters())
    assert list(found)[0] == ENDS and len(found) == 1 + len(subject.model.model.layers)


def test_a_direction_is_gone_while_the_hook_is_there(subject: Any) -> None:
    plain = logits(subject.model)
    width = subject.model.config.hidden_size
    direction = np.zeros(width)
    direction[3] = 1.0
    seen: list[torch.Tensor] = []
    with without(subject, {1: direction}), outputs(subject.model, {1: lambda hidden: seen.append(hidden) or None}):
        assert not torch.equal(logits(subject.model), plain)
    assert seen[0][..., 3].abs().max() < 1e-6 and seen[0][..., 4].abs().max() > 1e-6
    with without(subject, {1: np.zeros(width)}):
        assert torch.equal(logits(subject.model), plain)
    assert torch.equal(logits(subject.model), plain)


def test_no_hook_stays_where_a_block_is_missing(subject: Any) -> None:
    blocks = subject.model.model.layers
    with (
        pytest.raises(IndexError),
        outputs(subject.model, {1: lambda hidden: None, len(blocks) + 1: lambda hidden: None}),
    ):
        pass
    assert not any(block._forward_hooks for block in blocks)


def test_places_of_directions() -> None:
    assert places(4) == {"middle block": [2], "last half": [3, 4], "all blocks": [1, 2, 3, 4]}
    # What is the same set of blocks is tried once.
    assert places(1) == {"middle block": [1]}


def test_leaving_early_is_a_model_without_its_last_blocks(subject: Any) -> None:
    plain = logits(subject.model)
    with leaving_at(subject, 1):
        early = logits(subject.model)
    short = small_model()
    short.load_state_dict(subject.model.state_dict())
    short.model.layers = short.model.layers[:1]
    assert torch.allclose(early, logits(short), atol=1e-6) and not torch.allclose(early, plain)
    assert torch.equal(logits(subject.model), plain)


def test_inner_blocks_left_at() -> None:
    # Of 4 blocks the half from 2 on without the last; of 32 at most four, evenly spread from 16 to 31.
    assert EarlyExit().inner(4) == [2, 3]
    assert EarlyExit().inner(32) == [16, 21, 26, 31]
    assert EarlyExit(blocks=(3, 1)).inner(4) == [1, 3]


def test_contrast_by_hand() -> None:
    own, other = torch.tensor([0.5, 0.4, 0.09, 0.01]).log(), torch.tensor([0.8, 0.1, 0.05, 0.05]).log()
    found = contrast(own, other, 1.0, 0.1)
    # p^2 / q: .25 / .8 = .3125, .16 / .1 = 1.6, .0081 / .05 = .162; .01 lies below .1 x .5.
    assert torch.allclose(found[:3].exp(), torch.tensor([0.3125, 1.6, 0.162]), atol=1e-5)
    assert found[3] == float("-inf")


def test_an_amateur_reads_the_same_tokens_with_a_cache_of_its_own(subject: Any) -> None:
    torch.manual_seed(7)
    amateur = SimpleNamespace(model=small_model(), device=torch.device("cpu"))
    for p in amateur.model.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    asked: list[torch.Tensor] = []
    read = other_model(amateur)  # type: ignore[arg-type]

    def listen(inputs: dict[str, Any], positions: int) -> torch.Tensor:
        asked.append(read(inputs, positions))
        return asked[-1]

    with contrasted(subject, listen, 0.5, 1e-6):
        for _ in range(2):  # the second prompt begins a new cache
            asked.clear()
            out = subject.model.generate(IDS, max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
            direct = logits(amateur.model, out[:, :-1])[:, IDS.shape[1] - 1 :]
            assert torch.allclose(torch.cat(asked, 1)[:, -3:], direct, atol=1e-4)
    # Against a copy of itself nothing changes.
    copy = SimpleNamespace(model=deepcopy(subject.model), device=torch.device("cpu"))
    plain = subject.model.generate(IDS, max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
    with contrasted(subject, other_model(copy), 2.0, 1e-6):
        same = subject.model.generate(IDS, max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert torch.equal(plain, same)


def test_an_inner_block_as_amateur_reads_what_an_early_exit_says(subject: Any) -> None:
    with leaving_at(subject, 1):
        early = logits(subject.model)
    with inner_block(subject, 1) as amateur:
        logits(subject.model)
        assert torch.allclose(amateur({}, IDS.shape[1]), early, atol=1e-6)
