"""Head projection: ranks by hand, and models of known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.attacks._lens import first_token_ranks
from audit.evidence.attacks.head_projection import HeadProjection
from audit.stats import conclude
from tests.activations.conftest import small_model

BenchOf = Callable[..., Bench]


def planted(states: np.ndarray, first_tokens: list[int]) -> Any:
    """A bench around states [layers, rows, 16] and a model whose unembedding reads coordinate i as token i."""
    model = small_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.weight[:16] = torch.eye(16)
    frame = pd.DataFrame({"variant": "answer", "first_token": first_tokens})

    @contextmanager
    def lend(role: str) -> Iterator[Any]:
        yield SimpleNamespace(model=model, device=torch.device("cpu"))

    return SimpleNamespace(
        states=lambda role, split: SimpleNamespace(layers=len(states), at=lambda layer, position: states[layer]),
        likelihood=lambda role, split: frame,
        model=lend,
        remember=lambda name, roles, inputs, compute, corpora: compute(),
        progress=lambda fraction, message="": None,
    )


def test_ranks_by_hand() -> None:
    states = np.zeros((3, 3, 16), np.float32)
    # Block 1: token 5 first, 7 second, 2 third for every row. Norms keep the order.
    states[1, :, [5, 7, 2]] = np.array([3.0, 2.0, 1.0])[:, None]
    # Block 2, row 0: 7 alone.
    states[2, 0, 7] = 1.0
    ranks = first_token_ranks(planted(states, [5, 7, 2]), "candidate", "forget")
    assert ranks.shape == (2, 3)
    assert ranks[0].tolist() == [1, 2, 3]
    # Row 0 of block 2: token 7 is above, the other 39 of 40 tie with token 5 and count against it.
    assert ranks[1, 0] == 40
    # A state of zeros says nothing and hits nothing.
    assert ranks[1, 1] == ranks[1, 2] == 40


def test_unembedding_of_the_last_state_is_what_the_model_says(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    for role in bench.roles:
        last = first_token_ranks(bench, role, "forget")[-1]
        rows = bench.likelihood(role, "forget").query("variant == 'answer' and tokens == 1")
        first = rows["top1"].to_numpy() == 1
        places = [int(item.split(":")[1]) for item in rows["item"]]
        assert ((last[places] == 1) == first).all()


def test_tells_the_original_from_the_reference(bench_of: BenchOf) -> None:
    conclusion = conclude(HeadProjection(k=1).measure(bench_of("last-block")).panel)
    assert conclusion.original.value > 0.95
    assert conclusion.reference is not None and conclusion.reference.value < 0.4
    # Only the last block was changed: the blocks before it give the answers away.
    assert conclusion.residual is not None and conclusion.residual.low > 0.4


def test_a_model_that_never_knew_is_at_the_floor(bench_of: BenchOf) -> None:
    residual = conclude(HeadProjection(k=1).measure(bench_of("retrained")).panel).residual
    assert residual is not None and residual.low < 0.1 and residual.value < 0.25


def test_rows_and_budget(bench_of: BenchOf) -> None:
    reading = HeadProjection(k=2, layers=(1, 3)).measure(bench_of("last-block"))
    rows = pd.DataFrame(reading.rows)
    assert rows.groupby("subject")["layer"].agg(tuple).to_dict() == dict.fromkeys(
        ("original", "candidate", "reference"), ("1", "2", "3", "any")
    )
    assert "a budget of 4" in reading.note and "different first tokens" in reading.note
    # A hit in any of the chosen blocks is at least as likely as in each.
    table = rows.pivot(index="subject", columns="layer", values="hit_rate")
    assert (table["any"] >= table[["1", "3"]].max(axis=1)).all()


def test_by_default_the_last_blocks_within_half_and_a_budget_of_twenty() -> None:
    attack = HeadProjection()
    # 4 tokens in 5 blocks make 20: of 32 blocks the last five, as in UnLOK-VQA; of 4 and 3 blocks the last two.
    assert attack.chosen(32) == [28, 29, 30, 31, 32]
    assert attack.chosen(4) == [3, 4]
    assert attack.chosen(3) == [2, 3]
    assert HeadProjection(k=10).chosen(32) == [31, 32]
    assert HeadProjection(k=50).chosen(32) == [32]
    assert HeadProjection(layers=(3, 1, 3)).chosen(3) == [1, 3]


def test_no_model_is_loaded_for_states_that_are_cached(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of("last-block")
    attack = HeadProjection()
    attack.measure(bench)

    def refuse(role: str, **settings: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(bench, "model", refuse)
    HeadProjection(k=9).measure(bench)


def test_controls_and_settings(bench_of: BenchOf) -> None:
    assert HeadProjection().measure(bench_of("last-block", reference=False)).panel.null == "holdout"
    with pytest.raises(NotIdentifiable):
        HeadProjection().measure(bench_of("last-block", reference=False, holdout=False))
    with pytest.raises(CaseError, match="models have 3"):
        HeadProjection(layers=(4,)).measure(bench_of("last-block"))
    with pytest.raises(CaseError, match="from 1"):
        HeadProjection(layers=(0,))
    with pytest.raises(CaseError, match="k = 0"):
        HeadProjection(k=0)
