"""Live interventions on the tiny lab: what changes nothing changes nothing, what matters changes the answer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit.cache import Cache
from audit.errors import CaseError
from audit.live import COLUMNS, Live, case_file_of
from audit.store import Run
from tests.conftest import views


@pytest.fixture(scope="module")
def live(tiny_lab: Path) -> Live:
    return Live(tiny_lab / "case.toml", "last-block", root=tiny_lab, cache=Cache(views()))


def changed(table: pd.DataFrame) -> pd.DataFrame:
    """Probability before and after, one row per model."""
    halves = [table.iloc[start::2].set_index("subject")["probability"] for start in (0, 1)]
    return pd.DataFrame({"before": halves[0], "after": halves[1]})


def test_scale_one_changes_no_probability_and_zero_does(live: Live) -> None:
    layer = live.bench.case.dictionaries[0].layer
    every = range(256)
    table = live.features("forget:0", layer, every, 1.0)
    assert list(table.columns) == COLUMNS
    same, none = changed(table), changed(live.features("forget:0", layer, every, 0.0))
    assert (same["before"] == same["after"]).all()
    assert none.loc["original", "before"] > 0.5
    assert none.loc["original", "after"] < 0.5 * none.loc["original", "before"]


def test_an_answer_is_the_models_own(live: Live) -> None:
    row = live.vector("forget:0", 0, 0).query("subject == 'original' and change == 'as it is'").iloc[0]
    answer = live.bench.corpus("forget").items[0].answer
    assert answer.startswith(row["says first"])


def test_a_vector_whose_neuron_is_silent_changes_nothing(live: Live) -> None:
    import torch

    with live.bench.model("original") as subject:
        weight = subject.model.model.layers[0].mlp.down_proj.weight
        kept = weight[:, 3].clone()
        with torch.no_grad():
            weight[:, 3] = 0
        try:
            after = changed(live.vector("forget:1", 0, 3))
        finally:
            with torch.no_grad():
                weight[:, 3] = kept
    assert after.loc["original", "before"] == after.loc["original", "after"]


@pytest.mark.parametrize(("item", "layer", "words"), [("forget:9999", 2, "no item"), ("forget:0", 99, "no dictionary")])
def test_what_is_not_there_is_one_sentence(live: Live, item: str, layer: int, words: str) -> None:
    with pytest.raises(CaseError, match=words):
        live.features(item, layer, [0], 0.0)


def test_an_unknown_candidate_and_a_missing_case_file_are_one_sentence(tiny_lab: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no candidate"):
        Live(tiny_lab / "case.toml", "nobody", root=tiny_lab)
    run = Run(tmp_path / "run")
    run.write_plan({"case_file": "case.toml", "candidates": []})
    with pytest.raises(CaseError, match="not on this machine"):
        case_file_of(run)
    (tmp_path / "case.toml").write_text("")
    assert case_file_of(run) == tmp_path / "case.toml"
