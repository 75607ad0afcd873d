"""Differences between layers and rank of the answer: a three-layer example by hand, and models of known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from audit.bench import Bench
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.attacks._lens import differences
from audit.evidence.attacks.answer_rank import AnswerRank
from audit.evidence.attacks.lens_differences import LensDifferences, _places
from audit.stats import conclude

BenchOf = Callable[..., Bench]


def test_ranks_of_differences_by_hand() -> None:
    # One item whose answer begins with token 1 of 4; probabilities of input and three blocks:
    probabilities = [[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1]]
    logits = (torch.tensor([line]).log() for line in probabilities)
    found = differences(logits, torch.tensor([1]))
    # Block 1: .1 ties with two others and is below .7. Block 2: ties with .4. Block 3: the top.
    assert found["head"][:, 0].tolist() == [4, 2, 1]
    # d1 = (.45, -.15, -.15, -.15), d2 = (-.3, .3, 0, 0), d3 = (-.3, .2, .1, 0).
    assert found["first top"][:, 0].tolist() == [4, 1, 1]
    assert found["first bottom"][:, 0].tolist() == [3, 4, 4]
    # e2 = d2 - d1 = (-.75, .45, .15, .15), e3 = d3 - d2 = (0, -.1, .1, 0).
    assert found["second top"][:, 0].tolist() == [1, 4]
    assert found["second bottom"][:, 0].tolist() == [4, 1]


def test_places_of_blocks_in_the_differences() -> None:
    # Blocks 1 to 3 lie at 0 to 2 of the first differences; the second begin at block 2.
    assert _places("first top", [1, 3]) == [0, 2]
    assert _places("second top", [1, 2, 3]) == [0, 1]


@pytest.mark.parametrize("attack", [LensDifferences(k=1), AnswerRank()])
def test_what_one_block_hides_is_found_and_a_model_that_never_knew_stays_at_the_floor(
    bench_of: BenchOf, attack: LensDifferences | AnswerRank
) -> None:
    hidden = conclude(attack.measure(bench_of("last-block")).panel)
    assert hidden.original.value > 0.9 and hidden.reference is not None and hidden.reference.value < 0.4
    assert hidden.residual is not None and hidden.residual.low > 0.6
    never = conclude(attack.measure(bench_of("retrained")).panel).residual
    assert never is not None and never.low < 0.05 and never.value < 0.2


def test_what_the_plain_projection_misses(bench_of: BenchOf) -> None:
    """RMU scrambles the states: no hit in the head projection, but its blocks take the answer down visibly."""
    from audit.evidence.attacks.head_projection import HeadProjection

    plain = conclude(HeadProjection().measure(bench_of("rmu")).panel).residual
    assert plain is not None and plain.high < 0.3
    for attack in (LensDifferences(), AnswerRank()):
        found = conclude(attack.measure(bench_of("rmu")).panel).residual
        assert found is not None and found.low > 0.1


def test_rows_and_note(bench_of: BenchOf) -> None:
    reading = LensDifferences(k=2).measure(bench_of("last-block"))
    table = pd.DataFrame(reading.rows)
    layers = table.query("subject == 'candidate'").groupby("difference", sort=False)["layer"].agg(tuple).tolist()
    assert layers == [("1", "2", "3", "any")] * 2 + [("2", "3", "any")] * 2
    assert "a budget of 4" in reading.note and "the reference" in reading.note
    ranks = pd.DataFrame(AnswerRank().measure(bench_of("last-block")).rows)
    last = ranks.query("subject == 'original' and layer == 3").iloc[0]
    assert last["reciprocal"] > 0.9 and last["median_rank"] == 1 and last["log_rank"] < 0.1
    # A mean of 1 / rank is never above 1 / (the best rank), and at least 1 / exp(mean log rank) (Jensen).
    assert (ranks["reciprocal"] >= np.exp(-ranks["log_rank"]) - 1e-9).all()


def test_controls_and_settings(bench_of: BenchOf) -> None:
    reading = LensDifferences().measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout" and "never saw" in reading.note
    for attack in (LensDifferences(), AnswerRank()):
        with pytest.raises(NotIdentifiable):
            attack.measure(bench_of("last-block", reference=False, holdout=False))
    with pytest.raises(CaseError, match="models have 3"):
        LensDifferences(layers=(4,)).measure(bench_of("last-block"))
