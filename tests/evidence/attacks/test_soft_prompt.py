"""Soft prompts and suffix search: gradients that work, facts kept apart, and models of known truth."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch

from audit.activations.encode import encode
from audit.bench import Bench
from audit.catalogue import CATALOGUE, by_default
from audit.errors import CaseError
from audit.evidence.attacks._gcg import Search, search
from audit.evidence.attacks._soft import Budget, answer_logprobs, embedded, optimise
from audit.evidence.attacks.gcg import GCG
from audit.evidence.attacks.soft_prompt import SoftPrompt
from audit.stats import conclude

BenchOf = Callable[..., Bench]


def test_log_probabilities_are_the_models_own(bench_of: BenchOf) -> None:
    """A soft prompt of real embeddings is a hard prompt, in a batch of any lengths."""
    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:5]
    with bench.model("original") as subject, torch.inference_mode():
        rows = [encode(subject.tokenizer, item.prompt, item.answer, "plain") for item in items]
        middle = [7, 11]
        soft = embedded(subject, torch.tensor([middle]).numpy())
        found = answer_logprobs(subject, rows, soft)
        for row, value in zip(rows, found, strict=True):
            ids = torch.tensor([[*row.ids[: row.start], *middle, *row.ids[row.start :]]])
            every = subject.model(input_ids=ids).logits[0].log_softmax(-1)
            places = range(row.start + 2, ids.shape[1])
            assert float(value) == pytest.approx(
                sum(float(every[p - 1, ids[0, p]]) for p in places) / len(places), abs=1e-4
            )


def test_optimising_lowers_the_loss_and_leaves_the_model_as_it_was(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:8]
    with bench.model("original") as subject:
        rows = [encode(subject.tokenizer, item.prompt, item.answer, "plain") for item in items]
        before = {name: p.clone() for name, p in subject.model.named_parameters()}
        start = optimise(subject, rows, Budget(3, 1, 8, 1e-9), 0, False)
        soft = optimise(subject, rows, Budget(3, 20, 8, 0.2), 0, False)
        with torch.inference_mode():
            assert answer_logprobs(subject, rows, soft).mean() > answer_logprobs(subject, rows, start).mean() + 0.5
        won = search(subject, rows, Search(3, 8, 16, 32, 8, 60), 0, lambda step, loss: None)
        assert won.steps == 8 and won.after < won.before
        assert (
            search(subject, rows, Search(3, 8, 16, 32, 8, 60), 0, lambda step, loss: None).ids.tolist()
            == won.ids.tolist()
        )
        assert all(torch.equal(p, before[name]) and p.grad is None for name, p in subject.model.named_parameters())


def test_models_of_known_truth(bench_of: BenchOf) -> None:
    reading = SoftPrompt().measure(bench_of("retrained"))
    conclusion = conclude(reading.panel)
    rows = pd.DataFrame(reading.rows)
    assert conclusion.original.value > 0.6
    assert conclusion.residual is not None and conclusion.residual.low <= 0
    assert set(rows["family"]) == {"soft prompt", "random answers", "no soft prompt"} and rows["run"].nunique() == 3


def test_gcg_runs_only_when_asked_for() -> None:
    assert "attacks.gcg" in CATALOGUE and "attacks.gcg" not in by_default()
    assert set(CATALOGUE) - set(by_default()) == {"attacks.gcg"}


def test_settings() -> None:
    for attack in (SoftPrompt, GCG):
        for settings in ({"runs": 2}, {"steps": 0}):
            with pytest.raises(CaseError):
                attack(**settings)
