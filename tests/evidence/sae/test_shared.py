"""The shared dictionary on the tiny lab."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from audit.bench import Bench
from audit.evidence.sae.shared import Shared
from audit.stats import conclude
from tests.evidence.sae.quick import QUICK

EVIDENCE = Shared(**QUICK)


def test_the_same_states_share_all_and_another_start_shares_little(bench_of: Callable[..., Bench]) -> None:
    for name, low, high in (("untouched", 1.0, 1.0), ("last-block", 1.0, 1.0), ("retrained", -0.2, 0.3)):
        reading = EVIDENCE.measure(bench_of(name))
        found = conclude(reading.panel).residual
        assert found is not None
        assert low <= found.value <= high, name
        table = pd.DataFrame(reading.rows)
        alone = table[table["subject"] == "original"]
        assert (alone[["only_original", "only_here"]] == 0).all(axis=None)
        assert table[["overlap", "only_original", "only_here"]].stack().between(0, 1).all()
