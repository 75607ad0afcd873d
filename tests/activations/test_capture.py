"""The one pass, against a plain forward pass of every sequence on its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audit.activations import capture as module
from audit.activations.batch import NO_END, TOKEN
from audit.activations.capture import POSITIONS, Whole, capture, plan_batches
from audit.activations.encode import Encoded, encode
from audit.activations.layers import dictionary_layers
from audit.activations.states import States, read_ends, read_tokens, read_whole
from audit.errors import CaptureError, StoreError

FACTS = [("who is ann?", "a baker"), ("b?", "c"), ("where does the old man live?", "in a town by the sea"), ("x", "yz")]


def sequences(subject: Any) -> list[Encoded]:
    return [encode(subject.tokenizer, prompt, answer, "plain") for prompt, answer in FACTS]


def one_by_one(subject: Any, rows: list[Encoded]) -> tuple[np.ndarray, list[np.ndarray]]:
    """States and token log-probabilities from `output_hidden_states`, one sequence at a time, no padding."""
    import torch

    states, logprobs = [], []
    for row in rows:
        # The last of HF's hidden states is after the final norm; capture keeps the one before, so hook the last block.
        seen: list[Any] = []
        handle = subject.model.model.layers[-1].register_forward_hook(lambda m, a, o, seen=seen: seen.append(o))
        with torch.no_grad():
            out = subject.model(torch.tensor([row.ids]), output_hidden_states=True)
        handle.remove()
        layers = torch.stack([*out.hidden_states[:-1], seen[0]])[:, 0]
        picks = [layers[:, row.start - 1], layers[:, row.start :].mean(1), layers[:, -1]]
        states.append(torch.stack(picks).numpy())
        log = torch.log_softmax(out.logits[0], -1)
        logprobs.append(np.array([float(log[t - 1, row.ids[t]]) for t in range(row.start, len(row))]))
    return np.stack(states, 2), logprobs


def test_mean_and_deviation_of_each_token_against_a_direct_computation(subject: Any, tmp_path: Path) -> None:
    import torch

    rows = sequences(subject)
    capture(subject, rows, tmp_path)
    for got, row in zip(read_tokens(tmp_path, [len(r) - r.start for r in rows]), rows, strict=True):
        with torch.no_grad():
            log = torch.log_softmax(subject.model(torch.tensor([row.ids])).logits[0, row.start - 1 : -1].double(), -1)
        # mu = sum_z p(z) log p(z), sigma^2 = sum_z p(z) log^2 p(z) - mu^2: as in the code of Min-K++
        mean = (log.exp() * log).sum(-1)
        variance = (log.exp() * log**2).sum(-1) - mean**2
        np.testing.assert_allclose(got["mean"], mean.numpy(), atol=2e-5)
        np.testing.assert_allclose(got["deviation"], variance.sqrt().numpy(), atol=2e-4)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_batched_equals_one_by_one(subject: Any, tmp_path: Path, padding: Any, budget: int) -> None:
    rows = sequences(subject)
    capture(subject, rows, tmp_path, padding=padding, token_budget=budget)
    expected, logprobs = one_by_one(subject, rows)
    n = len(rows)
    states = States(tmp_path, np.arange(n), [str(i) for i in range(n)], ["e"] * n, np.zeros(n))
    assert states.shape == (len(POSITIONS), 4, n, 16)
    np.testing.assert_allclose(states.array, expected, atol=2e-5)
    tokens = read_tokens(tmp_path, [len(r) - r.start for r in rows])
    for got, row, log in zip(tokens, rows, logprobs, strict=True):
        assert got["id"].tolist() == list(row.ids[row.start :])
        np.testing.assert_allclose(got["logprob"], log, atol=2e-5)


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_the_end_token_equals_a_pass_in_which_it_is_appended(
    subject: Any, tmp_path: Path, padding: Any, budget: int
) -> None:
    """As TOFU and OpenUnlearning score: end token appended to ids and labels, mean cross-entropy over the labels."""
    import torch

    rows = sequences(subject)
    capture(subject, rows, tmp_path, padding=padding, token_budget=budget)
    tokens, end = read_tokens(tmp_path, [len(r) - r.start for r in rows]), subject.tokenizer.eos_token_id
    for got, last, row in zip(tokens, read_ends(tmp_path), rows, strict=True):
        ids = torch.tensor([[*row.ids, end]])
        labels = ids.clone()
        labels[0, : row.start] = -100
        with torch.no_grad():
            out = subject.model(ids, labels=labels)
            log = torch.log_softmax(out.logits[0, -2].double(), -1)
        own = (len(got) * float(got["logprob"].mean()) + float(last["logprob"])) / (len(got) + 1)
        assert -own == pytest.approx(float(out.loss), abs=2e-5)
        assert (last["id"], last["top1"]) == (end, int(log.argmax()) == end)
        mean = float((log.exp() * log).sum())
        variance = float((log.exp() * log**2).sum()) - mean**2
        assert [float(last[name]) for name in ("logprob", "mean")] == pytest.approx([float(log[end]), mean], abs=2e-5)
        assert float(last["deviation"]) == pytest.approx(variance**0.5, abs=2e-4)


def test_a_model_sure_of_the_end_has_it_as_first_choice(subject: Any, tmp_path: Path) -> None:
    import torch

    rows, end = sequences(subject), subject.tokenizer.eos_token_id
    with torch.no_grad():  # every state points the way of the end token at the last position of one answer
        last = subject.model.model(torch.tensor([rows[0].ids])).last_hidden_state[0, -1]
        subject.model.lm_head.weight[end] = 100 * last
    capture(subject, rows, tmp_path)
    found = read_ends(tmp_path)[0]
    assert found["top1"] and found["logprob"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("end", [None, 40])
def test_without_an_end_token_there_is_no_number(subject: Any, tmp_path: Path, end: int | None) -> None:
    # The vocabulary of the model is 40: a token 40 is one that it cannot write.
    subject.tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=end)
    rows = [Encoded((5, 6, 7), 1), Encoded((5, 6), 1)]
    capture(subject, rows, tmp_path)
    found = read_ends(tmp_path)
    assert found["id"].tolist() == [NO_END["id"]] * 2 and not found["top1"].any()
    assert all(np.isnan(found[name]).all() for name in ("logprob", "mean", "deviation"))
    (tmp_path / "ends.bin").write_bytes(b"")
    with pytest.raises(StoreError, match="0 end tokens, expected 2"):
        read_ends(tmp_path)


def hidden(subject: Any, row: Encoded, block: int) -> np.ndarray:
    """Output of one block for one sequence [tokens, width]."""
    import torch

    seen: list[Any] = []
    handle = subject.model.model.layers[block - 1].register_forward_hook(lambda m, a, o: seen.append(o))
    with torch.no_grad():
        subject.model(torch.tensor([row.ids]))
    handle.remove()
    return np.asarray(seen[0][0].numpy())


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_whole_rows_hold_every_token_at_the_chosen_layers(
    subject: Any, tmp_path: Path, padding: Any, budget: int
) -> None:
    rows = sequences(subject)
    capture(subject, rows, tmp_path, padding=padding, token_budget=budget, whole=Whole((0, 2), (1, 3)))
    found = read_whole(tmp_path)
    assert (found.layers, set(found.sequence)) == ((1, 3), {0, 2})
    for k in (0, 2):
        mine = found.sequence == k
        assert found.ids[mine].tolist() == list(rows[k].ids)
        assert found.place[mine].tolist() == list(range(len(rows[k])))
        for layer in found.layers:
            np.testing.assert_allclose(found.at(layer)[mine], hidden(subject, rows[k], layer), atol=2e-5)
    with pytest.raises(KeyError):
        found.at(2)


@pytest.mark.parametrize(("blocks", "layers"), [(1, (1,)), (2, (1,)), (3, (2,)), (4, (2, 3)), (26, (13, 20))])
def test_dictionaries_are_for_a_middle_and_a_late_block(blocks: int, layers: tuple[int, ...]) -> None:
    assert dictionary_layers(blocks) == layers


def test_batches_are_sorted_and_within_budget() -> None:
    # Lengths 3, 1, 2, 9 and a budget of 6: sorted 1, 2, 3, 9. Two rows of length 2 are 4 tokens, three of length 3 are
    # 9 > 6, so [1, 2], then [3] (with 9 it would be 18), then the 9 goes alone although it is over the budget.
    rows = [Encoded((0,) * n, 1) for n in (3, 1, 2, 9)]
    plan = plan_batches(rows, 6)
    assert plan.order == (1, 2, 0, 3)
    assert plan.batches == ((0, 2), (2, 3), (3, 4))


def test_a_killed_pass_is_taken_up_where_it_stopped(subject: Any, tmp_path: Path, monkeypatch: Any) -> None:
    rows = sequences(subject)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    capture(subject, rows, whole, token_budget=1, whole=Whole((1, 2), (2,)))
    run, calls = module.run_batch, []

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*args, **kwargs)

    monkeypatch.setattr(module, "run_batch", failing)
    with pytest.raises(KeyboardInterrupt):
        capture(subject, rows, broken, token_budget=1, whole=Whole((1, 2), (2,)))
    capture(subject, rows, broken, token_budget=1, whole=Whole((1, 2), (2,)))
    assert len(calls) == 3 + (4 - 2)  # two of four batches were on disk
    assert (whole / "states.bin").read_bytes() == (broken / "states.bin").read_bytes()
    assert (whole / "whole.bin").read_bytes() == (broken / "whole.bin").read_bytes()
    assert (whole / "tokens.bin").read_bytes() == (broken / "tokens.bin").read_bytes()
    assert (whole / "ends.bin").read_bytes() == (broken / "ends.bin").read_bytes()


def test_a_hook_that_does_not_fire_is_an_error(subject: Any, tmp_path: Path) -> None:
    # A guard that clears all hooks at every call, as one published method does.
    from collections import OrderedDict

    def guard(*_: Any) -> None:
        for part in subject.model.modules():
            part._forward_hooks = OrderedDict()

    subject.model.model.layers[0].register_forward_pre_hook(guard)
    with pytest.raises(CaptureError, match="hooks fired"):
        capture(subject, sequences(subject), tmp_path)


def test_a_head_that_the_model_changes_is_an_error(subject: Any, tmp_path: Path) -> None:
    subject.model.register_forward_hook(lambda m, a, out: setattr(out, "logits", out.logits * 2 + 1))
    with pytest.raises(CaptureError, match="applied differently"):
        capture(subject, sequences(subject), tmp_path)


def test_an_overflow_is_an_error(subject: Any, tmp_path: Path) -> None:
    import torch

    with torch.no_grad():
        subject.model.model.layers[1].mlp.down_proj.weight.fill_(float("inf"))
    with pytest.raises(CaptureError, match=r"finite|differ"):
        capture(subject, sequences(subject), tmp_path)


def test_a_token_record_is_seventeen_bytes() -> None:
    assert TOKEN.itemsize == 17  # int32 + float32 + bool + 2 x float32, packed: a format on disk
