"""Soft prompts and suffix search: gradients that work, facts kept apart, and models of known truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.activations.encode import encode
from audit.bench import Bench
from audit.catalogue import CATALOGUE, by_default
from audit.errors import CaseError
from audit.evidence.attacks._gcg import Search, search
from audit.evidence.attacks._prompting import panel_before, scores_of
from audit.evidence.attacks._soft import Budget, answer_logprobs, embedded, optimise
from audit.evidence.attacks.gcg import GCG, unequal
from audit.evidence.attacks.soft_prompt import SoftPrompt
from audit.stats import Scores, conclude
from audit.types import Role, Split

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
    # The upper end is the original before the attack.
    plain = rows[(rows["family"] == "no soft prompt") & (rows["subject"] == "original")]
    assert conclusion.original.value == pytest.approx(plain["score"].mean()) and conclusion.original.value > 0.9


def test_probabilities_and_recall_share_no_column(bench_of: BenchOf) -> None:
    reading = SoftPrompt(per_item=True, items=12, steps=2).measure(bench_of("last-block"))
    assert {row.family for row in reading.rows} == {"soft prompt", "random answers"}  # type: ignore[attr-defined]


def test_an_attack_that_breaks_the_original_finds_nothing(bench_of: BenchOf) -> None:
    """The original is read before the attack, yet the attack must work on it."""
    bench = bench_of("last-block")
    items = bench.corpus("forget").items

    def scores(value: float) -> Callable[..., Scores]:
        return lambda role, split: scores_of(items, np.full(len(items), value if role == "original" else 0.1))

    works = panel_before(bench, scores(0.5), scores(0.9))
    assert works.original.value == pytest.approx(0.9) and not works.no_scale and conclude(works).residual is not None
    broken = panel_before(bench, scores(0.12), scores(0.9))
    assert broken.original.value == pytest.approx(0.9)
    assert "does not work here" in broken.no_scale and conclude(broken).residual is None


def test_unequal_searches_name_both_counts() -> None:
    assert unequal({"candidate (forget)": [5, 5], "reference (forget)": [5, 5]}) == ""
    words = unequal({"candidate (forget)": [100, 90], "reference (forget)": [100, 40]})
    assert "190 steps in all on the candidate (forget), 140 on the reference (forget)" in words


def test_searches_that_ran_out_of_time_unequally_have_no_scale(
    bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = GCG(steps=2, candidates=2, tokens=2, batch=2, items=12)
    bench = bench_of("last-block")
    assert "unequally" not in quick.measure(bench).panel.no_scale
    real = GCG._run

    def shorter(self: GCG, bench: Bench, role: Role, split: Split, run: int) -> Any:
        heard, tested, steps = real(self, bench, role, split, run)
        return heard, tested, steps - (role == "reference")

    monkeypatch.setattr(GCG, "_run", shorter)
    panel = quick.measure(bench).panel
    assert "6 steps in all on the" in panel.no_scale and "3 on the reference" in panel.no_scale
    assert conclude(panel).residual is None


def test_gcg_runs_only_when_asked_for() -> None:
    assert "attacks.gcg" in CATALOGUE and "attacks.gcg" not in by_default()
    assert set(CATALOGUE) - set(by_default()) == {"attacks.gcg"}


def test_settings() -> None:
    for attack in (SoftPrompt, GCG):
        for settings in ({"runs": 2}, {"steps": 0}):
            with pytest.raises(CaseError):
                attack(**settings)
