"""Feature activity: what the cards are made of."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.dictionaries.source import dictionaries
from audit.evidence.sae.features import Features
from tests.evidence.sae.quick import QUICK

EVIDENCE = Features(**QUICK, cards=6)


@pytest.fixture(scope="module")
def table(bench_of: Callable[..., Bench]) -> pd.DataFrame:
    return pd.DataFrame(EVIDENCE.measure(bench_of("rmu")).rows)


def test_every_feature_has_a_row_for_every_subject(table: pd.DataFrame) -> None:
    assert set(table.groupby(["layer", "feature"])["subject"].nunique()) == {3}
    assert table["rate"].between(0, 1).all()


def test_histograms_count_every_token(table: pd.DataFrame, bench_of: Callable[..., Bench]) -> None:
    tokens = len(bench_of("rmu").whole("original", "forget").ids)
    assert {sum(json.loads(text)) for text in table["histogram"]} == {tokens}


def test_contexts_are_the_activations_themselves(table: pd.DataFrame, bench_of: Callable[..., Bench]) -> None:
    bench = bench_of("rmu")
    row = table[(table["contexts"] != "")].iloc[0]
    dictionary = next(d for d in dictionaries(bench, **QUICK) if d.layer == row["layer"])
    first = json.loads(row["contexts"])[0]
    place = [item.id for item in bench.corpus("forget").items].index(first["item"])
    whole = bench.whole("candidate", "forget")
    own = dictionary.encode(whole.at(int(row["layer"]))[whole.sequence == place])[:, row["feature"]]
    assert first["candidate"] == pytest.approx(np.round(own, 2).tolist(), abs=0.011)
    assert len(first["tokens"]) == len(first["original"]) == len(first["candidate"]) == len(first["reference"])
    item = bench.corpus("forget").items[place]
    assert item.answer.split()[-1] in "".join(first["tokens"])


def test_cards_are_kept_for_so_many_features_only(table: pd.DataFrame) -> None:
    cards = table[table["promotes"] != ""]
    assert (cards.groupby("layer").size() == 6).all()
    assert (cards["subject"] == "original").all()
    assert all(len(json.loads(text)) == 6 for text in cards["promotes"])
