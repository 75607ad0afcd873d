"""Clamping: scale 1 changes no bit, random features take little, and a model that says nothing loses nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.activations.encode import encode
from audit.bench import Bench
from audit.dictionaries.intervene import first_token
from audit.dictionaries.source import dictionaries
from audit.errors import CaseError
from audit.evidence.sae.clamp import Clamp, answer_weights, scaled
from audit.stats import conclude
from tests.evidence.sae.quick import QUICK

EVIDENCE = Clamp(**QUICK)


def test_scale_one_is_bit_equal_and_scale_zero_is_not(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("untouched")
    dictionary = dictionaries(bench, **QUICK)[-1]
    features = np.argsort(-answer_weights(bench, dictionary, "forget").mean(0))[:8]
    with bench.model("original") as subject:
        rows = [encode(subject.tokenizer, i.prompt, i.answer, "plain") for i in bench.corpus("forget").items]
        plain = first_token(subject, rows)
        same = first_token(subject, rows, dictionary.layer, scaled(dictionary, features, 1.0))
        none = first_token(subject, rows, dictionary.layer, scaled(dictionary, features, 0.0))
    assert np.array_equal(plain, same)
    assert not np.array_equal(plain, none)


def test_first_token_is_the_models_own_probability(bench_of: Callable[..., Bench]) -> None:
    import torch

    bench = bench_of("untouched")
    items = bench.corpus("forget").items[:3]
    with bench.model("original") as subject, torch.no_grad():
        rows = [encode(subject.tokenizer, i.prompt, i.answer, "plain") for i in items]
        found = first_token(subject, rows)
        for row, (probability, top) in zip(rows, found, strict=True):
            logits = subject.model(torch.tensor([row.ids[: row.start]])).logits[0, -1]
            assert probability == pytest.approx(float(logits.softmax(-1)[row.ids[row.start]]), rel=1e-3)
            assert top == float(logits.argmax() == row.ids[row.start])


def test_a_scale_of_one_takes_nothing_away(bench_of: Callable[..., Bench]) -> None:
    table = pd.DataFrame(Clamp(**QUICK, scale=1.0).measure(bench_of("last-block")).rows)
    assert (table["fall"] == 0).all()


def test_the_originals_answers_hang_on_the_features_and_not_on_random_ones(bench_of: Callable[..., Bench]) -> None:
    reading = Clamp(**QUICK, scale=-2.0).measure(bench_of("retrained"))
    table = pd.DataFrame(reading.rows)
    own = table[table["subject"] == "original"].groupby("features")["fall"].mean()
    assert own["chosen"] > 0.1
    assert own["chosen"] > 2 * own["random"]
    found = conclude(reading.panel).residual
    assert found is not None
    assert found.value == pytest.approx(0.0, abs=0.2)


def test_clamping_no_feature_is_refused() -> None:
    with pytest.raises(CaseError, match="number"):
        Clamp(number=0)
    assert EVIDENCE.scale == 0.0
