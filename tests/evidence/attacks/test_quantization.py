"""Quantisation: what it must and must not change, and what stands between weights and rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError, MissingDependency, NotIdentifiable
from audit.evidence.attacks.quantization import Quantization
from audit.evidence.behaviour.recall import Recall
from audit.stats import conclude

BenchOf = Callable[..., Bench]


def test_reads_candidate_and_reference_in_every_format(bench_of: BenchOf) -> None:
    reading = Quantization().measure(bench_of("last-block"))
    rows = pd.DataFrame(reading.rows)
    found = set(map(tuple, rows[["format", "subject"]].to_numpy()))
    attacked = {(f, s) for f in ("none", "int8", "nf4") for s in ("candidate", "reference")}
    assert found == attacked | {("none", "original")}
    conclusion = conclude(reading.panel)
    assert conclusion.original.value > 0.9
    assert conclusion.reference is not None and conclusion.reference.value < 0.35
    # Rounding to eight bits is far finer than what these models learned by.
    recall = rows[rows["subject"] != "original"].pivot(index="subject", columns="format", values="recall")
    assert (recall["int8"] - recall["none"]).abs().max() < 0.15


def test_the_upper_end_is_the_original_as_it_is(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    attacked, plain = Quantization(formats=("nf4",)).measure(bench), Recall().measure(bench)
    assert attacked.panel.original.value == plain.panel.original.value


def test_a_rounding_that_undoes_the_unlearning_is_found(bench_of: BenchOf) -> None:
    """Positive control: a candidate that is the original gives everything in every format."""
    bench = bench_of("last-block")
    same = dataclasses.replace(bench.case.original, role="candidate")
    bench.case = dataclasses.replace(bench.case, candidate=same)
    residual = conclude(Quantization().measure(bench).panel).residual
    assert residual is not None and residual.value > 0.85


def test_a_model_that_never_knew_gives_nothing_back(bench_of: BenchOf) -> None:
    residual = conclude(Quantization().measure(bench_of("retrained")).panel).residual
    assert residual is not None and abs(residual.value) < 0.2


def test_without_reference_the_holdout_is_asked(bench_of: BenchOf) -> None:
    reading = Quantization(formats=("int8",), retain_items=0).measure(bench_of("last-block", reference=False))
    assert reading.panel.null == "holdout" and reading.panel.null_candidate.value < 0.35
    rows = pd.DataFrame(reading.rows)
    assert set(rows["split"]) == {"forget", "holdout"}
    assert rows["retain_recall"].isna().all()


def test_without_any_control_there_is_no_number(bench_of: BenchOf) -> None:
    with pytest.raises(NotIdentifiable):
        Quantization().measure(bench_of("last-block", reference=False, holdout=False))


def test_missing_library_comes_with_its_command(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install bitsandbytes"):
        Quantization().measure(bench_of("last-block"))


def test_wrong_formats_are_case_errors() -> None:
    with pytest.raises(CaseError, match='Did you mean "int8"'):
        Quantization(formats=("int4",))
    with pytest.raises(CaseError, match="formats is empty"):
        Quantization(formats=())
