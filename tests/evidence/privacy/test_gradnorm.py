"""Gradient norms against a direct computation; the shared model is given back as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.privacy._gradients import mean_norms
from audit.evidence.privacy.gradnorm import GradNorm

BenchOf = Callable[..., Bench]


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_norms_against_a_direct_computation(p: float, bench_of: BenchOf) -> None:
    import torch

    from audit.activations.encode import encode

    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:3]
    with bench.private_model("candidate") as subject:
        found = mean_norms(subject, items, bench.case.template, p, lambda share: None)
        assert not any(weight.requires_grad or weight.grad is not None for weight in subject.model.parameters())
        subject.model.requires_grad_(True)
        for item, norm in zip(items, found, strict=True):
            row = encode(subject.tokenizer, item.prompt, item.answer, bench.case.template)
            ids = torch.tensor([row.ids], device=subject.device)
            labels = ids.clone()
            labels[0, : row.start] = -100
            loss = subject.model(input_ids=ids, labels=labels).loss
            gradients = torch.autograd.grad(loss, list(subject.model.parameters()))
            expected = np.mean([float((g.abs() ** p).sum() ** (1 / p)) for g in gradients])
            assert norm == pytest.approx(expected, rel=1e-4)


def test_a_model_is_given_back_also_when_it_breaks(bench_of: BenchOf) -> None:
    def stop(share: float) -> None:
        raise InterruptedError

    bench = bench_of("last-block")
    with bench.model("candidate") as subject:
        with pytest.raises(InterruptedError):
            mean_norms(subject, bench.corpus("forget").items[:1], bench.case.template, 2.0, stop)
        assert not any(weight.requires_grad for weight in subject.model.parameters())


def test_an_answer_whose_gradient_is_no_number_is_named(bench_of: BenchOf) -> None:
    from audit.activations.encode import encode

    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:3]
    with bench.private_model("candidate") as subject:
        second = list(encode(subject.tokenizer, items[1].prompt, items[1].answer, bench.case.template).ids)

        def break_one(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            if kwargs["input_ids"][0].tolist() == second:
                output.logits = output.logits * float("nan")

        subject.model.register_forward_hook(break_one, with_kwargs=True)
        with pytest.raises(NotIdentifiable, match=f"for {items[1].id}"):
            mean_norms(subject, items, bench.case.template, 2.0, lambda share: None)


def test_scores_a_part_spread_over_the_entities(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = GradNorm(items=20).measure(bench)
    items = reading.panel.items()
    counts = items.groupby(["subject", "split"]).size()
    assert set(counts) == {20} and len(counts) == 6
    assert (items["score"] < 0).all()
    entities = items.query("subject == 'original' and split == 'forget'")["entity"].nunique()
    assert entities == min(20, len(set(bench.corpus("forget").entities)))


def test_settings_that_read_nothing_are_refused() -> None:
    for settings in ({"items": 1}, {"p": 0.5}):
        with pytest.raises(CaseError, match="expected at least 2 items"):
            GradNorm(**settings)  # type: ignore[arg-type]
