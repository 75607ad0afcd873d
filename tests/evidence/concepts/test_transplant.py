"""Transplants: hooks against weights edited by hand, and subjects whose matrices are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.activations.mlp import mlp_outputs
from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._mlp import writing
from audit.evidence.concepts._swap import columns, projections, whole
from audit.evidence.concepts.transplant import ALL, CARRIED, NOTHING, PUT_BACK, VECTORS, Transplant
from audit.stats import conclude
from tests.evidence.concepts.edited import edited, tiny

BenchOf = Callable[..., Bench]
IDS = torch.tensor([[5, 6, 7, 8], [9, 5, 4, 3]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["llama", "neox", "gpt2", "opt", "phi"])
def test_a_transplant_is_the_same_as_an_edit_of_the_weights(name: str) -> None:
    body, donor = tiny(name), tiny(name)
    given, before = projections(donor), logits(body)
    with writing(body, whole({1: given[1]})):
        hooked = logits(body)
    pool = np.array([[0, 3], [1, 5], [0, 7]])
    with writing(body, columns(given, pool)):
        few = logits(body)
    assert torch.equal(logits(body), before)

    by_hand = copy.deepcopy(body)
    mine, theirs = mlp_outputs(by_hand), mlp_outputs(donor)
    with torch.no_grad():
        mine[1].weight.copy_(theirs[1].weight)  # type: ignore
        if mine[1].bias is not None:
            mine[1].bias.copy_(theirs[1].bias)  # type: ignore
    torch.testing.assert_close(logits(by_hand), hooked)
    assert not torch.allclose(hooked, before)

    by_hand = copy.deepcopy(body)
    mine = mlp_outputs(by_hand)
    with torch.no_grad():
        for block, neuron in pool.tolist():
            place: Any = neuron if name == "gpt2" else (slice(None), neuron)
            mine[block].weight[place] = theirs[block].weight[place]  # type: ignore
    torch.testing.assert_close(logits(by_hand), few)
    assert not torch.allclose(few, before)


@pytest.mark.parametrize("name", ["llama", "neox", "gpt2"])
def test_a_models_own_matrices_change_not_one_bit(name: str) -> None:
    model = tiny(name)
    before, given = logits(model), projections(model)
    with writing(model, whole(dict(enumerate(given)))):
        assert torch.equal(logits(model), before)
    with writing(model, columns(given, np.array([[0, 1], [1, 2]]))):
        assert torch.equal(logits(model), before)


def test_subjects_of_known_truth(bench_of: BenchOf) -> None:
    same = conclude(Transplant().measure(bench_of("untouched")).panel).residual
    assert same is not None
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    reading = Transplant().measure(bench_of("retrained"))
    never = conclude(reading.panel).residual
    assert never is not None
    assert never.value == pytest.approx(0.0, abs=0.1)
    assert "do not fit the original" in reading.note
    suppressed = conclude(Transplant().measure(bench_of("last-block")).panel).residual
    assert suppressed is not None
    assert suppressed.low > 0.5


def test_the_table_shows_every_stage_both_ways(bench_of: BenchOf) -> None:
    reading = Transplant().measure(bench_of("last-block"))
    table = pd.DataFrame(reading.rows)
    forget = table.query("split == 'forget'").set_index(["subject", "direction", "stage"]).sort_index()
    stages = [NOTHING, VECTORS, "block 0", "block 1", "block 2", ALL]
    assert table.query("split == 'forget'").stage.unique().tolist() == stages
    # Blocks 0 and 1 are the original's: they change nothing, so block 2 does all there is to do.
    for direction in (CARRIED, PUT_BACK):
        mine = forget.loc["candidate", direction]
        assert (mine.loc[["block 0", "block 1"], "change"] == 0.0).all()
        assert mine.loc["block 2", "logprob"] == mine.loc[ALL, "logprob"]
    assert forget.loc[("candidate", PUT_BACK, ALL), "top1"] > forget.loc[("candidate", PUT_BACK, NOTHING), "top1"] + 0.3
    # Before any transplant the body is what it is: the original in one direction, the subject in the other.
    assert forget.loc[("reference", CARRIED, NOTHING), "top1"] == forget.loc[("original", CARRIED, NOTHING), "top1"]
    assert forget.loc[("reference", PUT_BACK, NOTHING), "top1"] < 0.3
    assert set(table.query("split == 'retain'").stage) == {NOTHING, ALL}


def test_matrices_removed_and_matrices_kept_by_hand(bench_of: BenchOf) -> None:
    bench = bench_of("untouched")

    def without(model: Any) -> None:
        for module in mlp_outputs(model):
            module.weight.zero_()  # type: ignore

    def only(model: Any) -> None:
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()

    evidence = Transplant(by_block=False)
    removed, kept = evidence.measure(edited(bench, candidate=without)), evidence.measure(edited(bench, candidate=only))
    gone, there = conclude(removed.panel).residual, conclude(kept.panel).residual
    # Without any MLP the original still guesses among the answers of the right kind; a misfit does not even that.
    assert gone is not None
    assert gone.value < 0.3
    # All else was wrecked, but the matrices are the original's: in the original they work as before.
    assert there is not None
    assert there.value == 1.0
    shares = pd.DataFrame(removed.rows).set_index(["subject", "direction", "stage", "split"]).top1
    assert shares["candidate", PUT_BACK, ALL, "forget"] == shares["original", PUT_BACK, ALL, "forget"]
    assert shares["candidate", PUT_BACK, NOTHING, "forget"] < 0.3


def test_controls_and_settings(bench_of: BenchOf) -> None:
    reading = Transplant(by_block=False).measure(bench_of("last-block", reference=False))
    found = conclude(reading.panel)
    assert reading.panel.null == "holdout"
    assert found.residual is not None
    assert found.residual.low > 0.5
    assert "no model saw" in reading.note
    with pytest.raises(NotIdentifiable, match="no control"):
        Transplant().measure(bench_of("last-block", reference=False, holdout=False))
    with pytest.raises(CaseError, match="at least 1 vector"):
        Transplant(count=0)
    capped = pd.DataFrame(Transplant(items=20, by_block=False).measure(bench_of("last-block")).rows)
    assert set(capped["items"]) == {20}
