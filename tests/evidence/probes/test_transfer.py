"""The original's probe on other subjects: it reads what stayed where it was, and nothing that was moved or removed."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.errors import CaseError
from audit.evidence.probes.linear import Linear
from audit.evidence.probes.transfer import Transfer
from audit.stats import conclude
from tests.evidence.probes.test_linear import WIDTH, world

QUICK = Transfer(nulls=2, folds=3)  # with fewer than four folds retain items are not read
WITH_RETAIN = Transfer(nulls=2, folds=4)
BLOCKS = (1, 2)
small = partial(world, layers=3)


@cache
def all_known() -> Any:
    """Measured once for several tests."""
    return WITH_RETAIN.measure(small(BLOCKS))


def same_states(bench: Any) -> None:
    """The candidate becomes the original."""
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["original", split, "answer"]


def test_what_stayed_is_read_and_what_nobody_knew_is_not() -> None:
    found = conclude(all_known().panel)
    assert found.original.value > 0.95
    assert found.residual is not None
    assert found.residual.low > 0.6
    assert found.reference is not None
    assert found.reference.value == pytest.approx(0.25, abs=0.2)  # 24 items of four labels: standard error 0.09


def test_what_was_removed_is_not_read() -> None:
    found = conclude(QUICK.measure(small(())).panel)
    assert found.residual is not None
    assert found.residual.value < 0.4
    assert found.residual.low < 0.2


def test_the_original_against_itself_is_exactly_one() -> None:
    bench = small(BLOCKS)
    same_states(bench)
    residual = conclude(QUICK.measure(bench).panel).residual
    assert residual is not None
    assert (residual.value, residual.low, residual.high) == (1.0, 1.0, 1.0)


def test_by_hand_a_mirrored_subject_is_read_exactly_wrong() -> None:
    """Two labels; coordinate 0 is +8 for one and -8 for the other, nothing else varies.

    The original's probe says "value 0" where coordinate 0 is positive. In the candidate the sign is turned: it says
    the other label for every item, accuracy 0 of 24, although the candidate's own probe reads all of them.
    """
    bench = small(BLOCKS)
    bench.planted = {
        key: np.stack([_signs(bench, key[1], -1.0 if key[0] == "candidate" else 1.0)] * 2) for key in bench.planted
    }
    _two_labels(bench)
    table = pd.DataFrame(QUICK.measure(bench).rows).query("layer == 1 and split == 'forget'").set_index("subject")
    assert table.accuracy["original"] == 1.0
    assert table.accuracy["candidate"] == 0.0
    own = pd.DataFrame(Linear(nulls=1).measure(bench).rows)
    assert own.query("layer == 1 and subject == 'candidate' and attribute == 'all'").accuracy.min() == 1.0


def _value(item: Any) -> int:
    return int(item.label.split()[1]) % 2


def _signs(bench: Any, split: str, sign: float) -> np.ndarray:
    states = np.zeros((len(bench.corpus(split)), WIDTH), np.float32)
    states[:, 0] = [sign * (8.0 if _value(item) == 0 else -8.0) for item in bench.corpus(split).items]
    return states


def _two_labels(bench: Any) -> None:
    import dataclasses

    corpora = {
        split: dataclasses.replace(c, items=tuple(dataclasses.replace(i, label=f"value {_value(i)}") for i in c.items))
        for split, c in bench.case.corpora.items()
    }
    bench.case = dataclasses.replace(bench.case, corpora=corpora)


def test_a_rotated_subject_is_not_followed_and_the_retain_rows_show_it() -> None:
    bench = small(BLOCKS)
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    for split in ("forget", "retain", "holdout"):
        bench.planted["candidate", split, "answer"] = bench.planted["candidate", split, "answer"] @ turn  # type: ignore[index]
    reading = WITH_RETAIN.measure(bench)
    found = conclude(reading.panel)
    assert found.candidate.value < 0.6  # the candidate knows everything, in another basis
    table = pd.DataFrame(reading.rows).query("split == 'retain' and layer > 0").groupby("subject").accuracy.mean()
    assert table["original"] > 0.7
    assert table["candidate"] < 0.5
    assert "On retained facts it reads" in reading.note
    assert conclude(Linear(nulls=1).measure(bench).panel).candidate.value > 0.9


def test_without_a_reference_the_holdout_is_the_null() -> None:
    reading = QUICK.measure(small(BLOCKS, reference=False))
    found = conclude(reading.panel)
    assert reading.panel.null == "holdout"
    assert found.residual is not None
    assert found.residual.low > 0.5


def test_the_table_shows_shuffle_and_chance_beside_every_layer() -> None:
    table = pd.DataFrame(all_known().rows)
    assert len(table) == 3 * 3 * 3  # layers, subjects, splits
    row = table.query("layer == 2 and subject == 'candidate' and split == 'forget'").iloc[0]
    assert row.shuffled < 0.5
    assert row.chance < 0.5
    assert row.low <= row.accuracy <= row.high


def test_a_wrong_position_is_found_before_any_work() -> None:
    with pytest.raises(CaseError, match="Unknown position"):
        Transfer(position="middle")
