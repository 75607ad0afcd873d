from __future__ import annotations

import tomllib

import pytest

from audit.errors import CaseError
from audit.lab.recipes import RECIPES
from audit.lab.truth import TRUTH, check, truth_toml
from audit.types import Utility, Verdict

GOOD = {
    "original": {"forget": 1.0, "retain": 1.0},
    "reference": {"forget": 0.1, "retain": 1.0},
    "retrained": {"forget": 0.1, "retain": 1.0},
    "last-block": {"forget": 0.1, "retain": 0.97},
    "gradient-ascent": {"forget": 0.0, "retain": 0.1},
}


def test_the_table_uses_the_words_of_the_design() -> None:
    table = tomllib.loads(truth_toml())
    assert table == TRUTH
    assert set(table) <= {"untouched", *RECIPES}
    for entries in table.values():
        assert set(entries) <= {"verdict", "verdict_not", "utility", "why"}
        verdicts = [*entries.get("verdict", []), *entries.get("verdict_not", [])]
        assert set(verdicts) <= set(Verdict) and set(entries.get("utility", [])) <= set(Utility)


def test_a_build_that_went_well_passes() -> None:
    check(GOOD)


@pytest.mark.parametrize(
    ("model", "split", "value"),
    [("original", "forget", 0.5), ("last-block", "forget", 0.5), ("gradient-ascent", "retain", 0.9)],
)
def test_a_build_that_went_wrong_is_named(model: str, split: str, value: float) -> None:
    with pytest.raises(CaseError, match=f'"{model}" says {value:.0%} of the {split} facts'):
        check({**GOOD, model: {**GOOD[model], split: value}})
