"""Continuations as tokens agree with what is said, however they are batched."""

from __future__ import annotations

from collections.abc import Callable

from audit.activations import continuations
from audit.activations.encode import encode_prompt
from audit.bench import Bench

BenchOf = Callable[..., Bench]


def test_a_continuation_is_what_is_said(bench_of: BenchOf) -> None:
    bench = bench_of()
    items = bench.corpus("forget").items[:20]
    with bench.model("original") as subject:
        prefixes = [encode_prompt(subject.tokenizer, item.prompt, "plain") for item in items]
        found = continuations.continues(subject, prefixes, [12] * len(items))
        texts = [subject.tokenizer.decode(row).strip() for row in found]
        assert texts == bench.says("original", "forget")[:20]
        assert subject.tokenizer.eos_token_id not in {token for row in found for token in row}


def test_neither_batch_nor_budget_of_others_matters(bench_of: BenchOf) -> None:
    bench = bench_of()
    items = bench.corpus("retain").items[:12]
    seen: list[float] = []
    with bench.model("original") as subject:
        # Cut within the question, so that there is something to write on.
        prefixes = [encode_prompt(subject.tokenizer, item.prompt, "plain")[: 4 + k % 3] for k, item in enumerate(items)]
        budgets = [1 + k % 5 for k in range(len(items))]
        together = continuations.continues(subject, prefixes, budgets, seen.append)
        alone = [continuations.continues(subject, [p], [b])[0] for p, b in zip(prefixes, budgets, strict=True)]
    assert together == alone
    assert [len(row) for row in together] == budgets
    assert seen[-1] == 1.0
