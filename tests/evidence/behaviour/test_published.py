"""The numbers that count the end token, against what other tools' code computes, and only where it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.activations import states
from audit.activations.batch import NO_END, TOKEN
from audit.activations.encode import encode
from audit.bench import Bench
from audit.catalogue import make
from audit.metrics.auc import auc
from audit.metrics.tofu import harmonic_mean
from audit.stats import conclude

BenchOf = Callable[..., Bench]


def direct(bench: Bench, questions: list[tuple[str, str]]) -> list[float]:
    """Mean cross-entropy of answer and end token, one sequence at a time, by the model's own loss."""
    import torch

    found = []
    with bench.model("candidate") as subject, torch.no_grad():
        for prompt, answer in questions:
            row = encode(subject.tokenizer, prompt, answer, bench.case.template)
            ids = torch.tensor([[*row.ids, subject.tokenizer.eos_token_id]])
            labels = ids.clone()
            labels[0, : row.start] = -100
            found.append(float(subject.model(ids, labels=labels).loss))
    return found


def table_of(id: str, bench: Bench) -> pd.DataFrame:
    return pd.DataFrame(make(id).measure(bench).rows)


def test_probability_and_truth_ratio_of_each_item(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    items = bench.corpus("forget").items[:6]
    for id in ("behaviour.probability", "behaviour.truth_ratio"):
        table = table_of(id, bench).query("split == 'forget' and subject == 'candidate'").set_index("item")
        for item in items:
            right = direct(bench, [(item.prompt, item.answer)])[0]
            wrong = direct(bench, [(item.prompt, answer) for answer in item.wrong_answers])
            against = direct(bench, [(item.prompt, item.paraphrased_answer or item.answer)])[0]
            expected = np.exp(-right) if id == "behaviour.probability" else np.exp(against - np.mean(wrong))
            assert table.loc[item.id, "published"] == pytest.approx(expected, rel=2e-4)
    # The end token is one that the headline leaves out, so the two differ.
    assert (table["published"] / table["truth_ratio"] - 1).abs().max() > 1e-3


def test_forget_quality_is_the_test_on_the_published_ratios(bench_of: BenchOf) -> None:
    from scipy.stats import ks_2samp

    bench = bench_of("npo")
    ratios = table_of("behaviour.truth_ratio", bench).query("split == 'forget'").groupby("subject")["published"]
    reading = make("behaviour.forget_quality").measure(bench)
    table = pd.DataFrame(reading.rows).groupby("subject").first()
    for subject, values in ratios:
        expected = ks_2samp(values, ratios.get_group("reference"))
        found = table.loc[subject]
        assert (found["published_ks"], found["published"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert f"{table.loc['candidate', 'published']:.3g} with the end token" in reading.note


def test_areas_count_it_where_openunlearning_does(bench_of: BenchOf) -> None:
    bench = bench_of("npo")

    def log(role: Any, split: Any) -> np.ndarray:
        rows = bench.likelihood(role, split).query("variant == 'answer'")
        return rows["published_logprob"].to_numpy()

    found = table_of("privacy.loss", bench).groupby("subject")[["auc", "auc_published"]].first()
    for role in bench.roles:
        expected = auc(log(role, "forget"), log(role, "holdout"))
        assert found.loc[role, "auc_published"] == pytest.approx(expected, abs=1e-4)
    beside = table_of("privacy.reference", bench).groupby("subject")["auc_published"].first()
    gains = [log("candidate", split) - log("reference", split) for split in ("forget", "holdout")]
    assert beside["candidate"] == pytest.approx(auc(*gains), abs=1e-4)
    # It leaves the end token out of these: its number is ours.
    for id in ("privacy.min_k", "privacy.min_k_plus_plus"):
        table = table_of(id, bench)
        assert table["auc_published"].equals(table["auc"])


def test_utility_has_published_parts_and_whole(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = make("utility.model_utility").measure(bench)
    own = pd.DataFrame(reading.rows).query("subject == 'candidate'").set_index("part")
    rows = bench.likelihood("candidate", "retain").query("variant == 'answer'")
    chosen = bench.subset("retain", 300)
    expected = np.exp(rows["published_logprob"].to_numpy()[chosen]).mean()
    assert own.loc["retain: probability", "published"] == pytest.approx(expected)
    recall = own.loc["retain: ROUGE-L recall"]
    assert recall["published"] == recall["value"]
    assert own["published"].iloc[-1] == pytest.approx(harmonic_mean(own["published"].iloc[:-1]))
    assert f"{own['published'].iloc[-1]:.2f}" in reading.note
    # Each item once, not once a measure.
    assert own["items"].iloc[-1] == len(chosen)


LIKELIHOODS = (
    "behaviour.probability", "behaviour.truth_ratio", "behaviour.forget_quality", "utility.model_utility",
    "privacy.loss", "privacy.zlib", "privacy.reference",
)  # fmt: skip


@pytest.mark.parametrize("id", LIKELIHOODS)
def test_without_an_end_token_they_are_absent_and_the_headline_is_the_same(
    id: str, bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_of("last-block")
    before = make(id).measure(bench)
    read = states.read_ends
    states._scores.cache_clear()
    monkeypatch.setattr(states, "read_ends", lambda folder: np.full(len(read(folder)), NO_END, TOKEN))
    after = make(id).measure(bench)
    states._scores.cache_clear()  # what was read without the end token must not serve other tests
    table = pd.DataFrame(after.rows)
    column = "auc_published" if id.startswith("privacy") else "published"
    assert table[column].isna().all() and pd.DataFrame(before.rows)[column].notna().all()
    assert "end token" in before.note and "end token" not in after.note
    assert conclude(after.panel) == conclude(before.panel)


@pytest.mark.parametrize("id", ["behaviour.truth_ratio", "behaviour.forget_quality", "utility.model_utility"])
def test_a_likelihood_that_is_no_number_is_an_error_and_not_a_missing_item(
    id: str, bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_of("last-block")
    read = bench.likelihood

    def broken(role: Any, split: Any) -> pd.DataFrame:
        rows = read(role, split).copy()
        rows.loc[rows["item"] == rows["item"].iloc[0], "mean_logprob"] = np.nan
        return rows

    monkeypatch.setattr(bench, "likelihood", broken)
    with pytest.raises(ValueError, match="not a finite number"):
        make(id).measure(bench)


@pytest.mark.parametrize(
    ("id", "settings", "column"),
    [
        ("behaviour.recall", {}, "rougeL_recall"),
        ("behaviour.recall", {"metric": "contains"}, "contains"),
        ("behaviour.truth_ratio", {}, "prob_mean"),
        ("behaviour.truth_ratio", {"aggregator": "true_better"}, "true_better"),
        ("behaviour.familiarity", {"metric": "probability"}, "probability"),
        ("utility.retain", {"metric": "contains"}, "contains"),
    ],
)
def test_the_chart_shows_what_the_headline_counts(
    id: str, settings: dict[str, Any], column: str, bench_of: BenchOf
) -> None:
    question = make(id, settings)
    reading = question.measure(bench_of("last-block"))
    table = pd.DataFrame(reading.rows)
    assert question.chart.y == "score" and table["score"].equals(table[column].rename("score"))
    own = table[(table["subject"] == "candidate") & (table.get("split", "forget") == "forget")]
    values = reading.panel.items().query("subject == 'candidate' and split != 'holdout'")["score"]
    assert own["score"].mean() == pytest.approx(values.mean())


def test_a_note_on_refusals_has_its_control(bench_of: BenchOf) -> None:
    assert "the reference, which never saw the facts, 0% of" in make("behaviour.refusal").measure(bench_of()).note
    note = make("behaviour.refusal").measure(bench_of(reference=False)).note
    assert "on facts that it never saw 0%" in note
