"""ROC and AUC by hand and by brute force, published areas of other tools, and models of known truth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.catalogue import make
from audit.errors import CaseError, NotApplicable
from audit.evidence.privacy._attack import GRID, attack, detectability, low_rate
from audit.evidence.privacy._roc import area, curve
from audit.metrics.auc import auc, membership_auc, privleak, tpr_at_fpr
from audit.stats import Scores, conclude, entity_weights
from audit.types import Role, Split

BenchOf = Callable[..., Bench]
EVERY = [
    "privacy.loss", "privacy.zlib", "privacy.min_k", "privacy.min_k_plus_plus", "privacy.gradnorm",
    "privacy.reference", "privacy.privleak",
]  # fmt: skip
QUICK: dict[str, dict[str, Any]] = {"privacy.gradnorm": {"items": 20}}


def scores(values: Sequence[float], entities: Sequence[str] | None = None, split: str = "forget") -> Scores:
    names = [f"{split}:{i}" for i in range(len(values))]
    return Scores(names, entities or names, np.asarray(values, float))


def test_area_of_three_by_three_with_a_tie() -> None:
    # Members 3, 2, 1 against 2, 0, 4: 3 beats 2 and 0 (2), 2 ties with 2 and beats 0 (1.5), 1 beats 0 (1): 4.5 of 9.
    found = area(scores([3, 2, 1]), scores([2, 0, 4], split="holdout"), seed=0)
    assert found.value == pytest.approx(4.5 / 9)
    assert found.n == 3


def test_draws_are_areas_of_what_was_resampled() -> None:
    rng = np.random.default_rng(0)
    members = scores(rng.integers(0, 6, 14), [f"a{i % 5}" for i in range(14)])
    others = scores(rng.integers(0, 6, 11), [f"b{i % 4}" for i in range(11)], "holdout")
    found = area(members, others, seed=3, draws=40)
    rates = np.array([0.0, 0.2, 0.5, 1.0])
    drawn, whose = entity_weights(members.entities, 40, 3)
    drawn_others, whose_others = entity_weights(others.entities, 40, 3)
    resampled = [
        (
            np.repeat(members.values[0], drawn[i][whose].astype(int)),
            np.repeat(others.values[0], drawn_others[i][whose_others].astype(int)),
        )
        for i in range(40)
    ]
    assert found.n == 4
    np.testing.assert_allclose(found.draws, [auc(*pair) for pair in resampled])
    brute = np.array([[tpr_at_fpr(-a, -b, rate) for rate in rates] for a, b in resampled])
    value, low, high = curve(members, others, rates, seed=3, draws=40)
    np.testing.assert_allclose(value, [tpr_at_fpr(-members.values[0], -others.values[0], rate) for rate in rates])
    np.testing.assert_allclose(low, np.minimum(np.quantile(brute, 0.025, axis=0), value))
    np.testing.assert_allclose(high, np.maximum(np.quantile(brute, 0.975, axis=0), value))


def test_two_thousand_draws_of_200_by_200_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    members, others = scores(rng.normal(1, 1, 200)), scores(rng.normal(0, 1, 200), split="holdout")
    began = time.process_time()
    found = area(members, others, seed=0)
    assert time.process_time() - began < 1
    # Two normals that lie one deviation apart: AUC = Phi(1 / sqrt 2) = 0.760.
    assert found.draws.shape == (2000,)
    assert found.estimate(0.5).low < 0.760 < found.estimate(0.5).high


def test_a_rate_that_no_unseen_answer_stands_for_is_not_said() -> None:
    members, others = scores(np.arange(40.0)), scores(np.arange(-200.0, 0.0), split="holdout")
    # 200 * 0.1 % = 0.2 of an answer; 200 * 1 % = 2 answers.
    assert low_rate(members, others) == (
        "At 1% false alarms it finds 100% of the forgotten answers (200 unseen answers are too few for 0.1%)."
    )
    few = scores(np.arange(10.0), split="holdout")
    assert low_rate(members, few) == "10 unseen answers are too few for 0.1% and 1% and 5% false alarms."


@pytest.mark.parametrize("run", ["tofu_Llama-3.2-1B-Instruct_retain90", "tofu_Llama-3.2-1B-Instruct_retain99"])
def test_areas_that_open_unlearning_published(run: str, shared: Path) -> None:
    stored = json.loads((shared / "data" / "results" / "open_unlearning" / run / "TOFU_EVAL.json").read_text())
    seen = 0
    for name in (name for name in stored if name.startswith("mia_")):
        losses = {
            split: np.array([row["score"] for row in stored[name][split]["value_by_index"].values()])
            for split in ("forget", "holdout")
        }
        # Their scores are loss-like, ours are turned round; their AUC is 1 when forget is the likelier one, as ours is.
        found = area(scores(-losses["forget"]), scores(-losses["holdout"], split="holdout"), seed=0, draws=10)
        assert found.value == pytest.approx(stored[name]["agg_value"], abs=1e-6)
        assert membership_auc(losses["forget"], losses["holdout"]).muse == pytest.approx(1 - stored[name]["auc"])
        seen += 1
    assert seen == 5
    assert privleak(stored["mia_min_k"]["auc"]) == pytest.approx(stored["privleak"]["agg_value"], abs=1e-6)


@pytest.mark.parametrize("id", EVERY)
def test_finds_the_original_and_nothing_in_a_model_that_never_knew(id: str, bench_of: BenchOf) -> None:
    reading = make(id, QUICK.get(id)).measure(bench_of("retrained"))
    found = conclude(reading.panel)
    assert found.original.low > 0.6
    assert found.residual is not None, found.reason
    # What the policy asks: no trace above a tenth. Two models that never knew are as far apart as their seeds put them.
    assert found.residual.low < 0.1
    assert "retrained" in reading.note
    table = pd.DataFrame(reading.rows)
    assert (table["auc"] + table["auc_muse"]).to_numpy() == pytest.approx(1.0)
    assert table["detectability"].to_numpy() == pytest.approx(2 * (table["auc"] - 0.5).abs().to_numpy())
    items = reading.panel.items()
    assert set(items["split"]) == {"forget", "holdout"}
    own = items[items["subject"] == "original"]
    told = auc(*(own.loc[own["split"] == split, "score"] for split in ("forget", "holdout")))
    assert told == pytest.approx(table.loc[table["subject"] == "original", "auc"].iloc[0])


def planted(bench: Bench, shift: dict[Role, float]) -> Callable[[Bench, Role, Split], Scores]:
    """Scores of one noise for all, with the forget answers of each subject moved by so many deviations."""

    def score(bench: Bench, role: Role, split: Split) -> Scores:
        corpus = bench.corpus(split)
        noise = np.random.default_rng(len(split)).normal(size=len(corpus))
        return Scores(
            [i.id for i in corpus.items], corpus.entities, noise + (shift[role] if split == "forget" else 0.0)
        )

    return score


def test_over_unlearning_is_said_and_is_a_column(bench_of: BenchOf) -> None:
    bench = bench_of("npo")
    reading = attack(bench, "it", planted(bench, {"original": 9.0, "candidate": -9.0, "reference": 0.0}))
    found = conclude(reading.panel)
    assert found.candidate.value == 0.0
    assert found.residual is not None and found.residual.high < -0.5
    assert "Streisand" in reading.note and "100% of pairs" in reading.note
    own = pd.DataFrame(reading.rows).query("subject == 'candidate'")
    assert set(own["detectability"]) == {1.0} and set(own["auc_muse"]) == {1.0}
    assert detectability(0.5) == 0.0
    gone = attack(bench, "it", planted(bench, {"original": 9.0, "candidate": 0.0, "reference": 0.0}))
    assert "Over-unlearned" not in gone.note


def test_what_differs_without_having_been_learned_is_in_the_null(bench_of: BenchOf) -> None:
    # Forget answers of a kind that every model finds harder than the holdout's: the reference has an AUC far below 0.5.
    bench = bench_of("npo")
    shift: dict[Role, float] = {"original": 9.0, "candidate": -1.0, "reference": -1.0}
    found = conclude(attack(bench, "it", planted(bench, shift)).panel)
    assert found.reference is not None and found.reference.value < 0.4
    assert found.residual is not None and found.residual.value == 0.0


def test_without_reference_the_null_is_a_guess_and_without_holdout_there_is_no_question(bench_of: BenchOf) -> None:
    reading = make("privacy.loss").measure(bench_of("last-block", reference=False))
    panel = reading.panel
    assert (panel.null, panel.null_candidate.value, panel.reference) == ("chance", 0.5, None)
    assert "reference" not in reading.note
    for id in EVERY:
        with pytest.raises(NotApplicable, match="give a holdout corpus"):
            make(id).measure(bench_of("last-block", holdout=False))


def test_the_curve_has_a_row_for_each_rate_and_a_gap_for_what_cannot_be_told(bench_of: BenchOf) -> None:
    bench = bench_of("retrained")
    table = pd.DataFrame(make("privacy.loss").measure(bench).rows)
    unseen = len(bench.corpus("holdout"))
    for _, own in table.groupby("subject"):
        assert own["false_positive_rate"].tolist() == GRID.tolist()
        known = own.dropna(subset=["true_positive_rate"])
        assert known["true_positive_rate"].is_monotonic_increasing
        assert known["true_positive_rate"].iloc[-1] == 1.0
        assert (known["low"] <= known["true_positive_rate"]).all()
        assert (known["true_positive_rate"] <= known["high"]).all()
        missing = own.loc[own["true_positive_rate"].isna(), "false_positive_rate"]
        assert (missing * unseen < 1).all() and len(missing)


def test_a_share_of_no_token_is_a_case_error() -> None:
    for id in ("privacy.min_k", "privacy.min_k_plus_plus", "privacy.privleak"):
        for k in (0.0, 1.5):
            with pytest.raises(CaseError, match="expected a share"):
                make(id, {"k": k})
