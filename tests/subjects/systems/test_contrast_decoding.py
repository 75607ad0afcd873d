"""Contrastive decoding: by hand, as its expert when it takes nothing away, and what an audit says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.bench import Bench
from audit.catalogue import make
from audit.collect import collect
from audit.errors import SubjectError
from audit.subjects.checks import check_subject
from audit.subjects.load import load
from audit.subjects.systems.contrast_decoding import OUT, ContrastDecoding
from audit.types import Status
from tests.subjects.systems.made import ARCHITECTURES, bench_with, model, read, same_as_base, spec, written


def contrast(amateur: Path | str, **more: Any) -> dict[str, Any]:
    return {"kind": "contrast_decoding", "amateur": str(amateur), **more}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_taken_away_is_the_expert_bit_by_bit(architecture: str, tmp_path: Path) -> None:
    expert, amateur = model(tmp_path / "expert", architecture), model(tmp_path / "amateur", architecture, seed=2)
    same_as_base(expert, tmp_path, **contrast(amateur, strength=0.0, plausible=0.0))
    taken = load(spec(expert, **contrast(amateur, strength=2.0)), device="cpu")
    assert written(taken) != written(load(spec(expert), device="cpu"))


def test_by_hand() -> None:
    import torch

    # Expert .6 .3 .1, amateur .5 .1 .4, strength 1, plausible .4: .1 < .4 * .6 is ruled out; the others by ratio:
    # 2 log .6 - log .5 = log .72, 2 log .3 - log .1 = log .9: the second token wins.
    expert, amateur = torch.tensor([0.6, 0.3, 0.1]).log(), torch.tensor([0.5, 0.1, 0.4]).log()
    found = ContrastDecoding("x", 1.0, 0.4).combine([expert, amateur])
    torch.testing.assert_close(found[:2].exp(), torch.tensor([0.72, 0.9]))
    assert found[2] == OUT
    # Logits that are shifted by a constant are the same distribution, and stay it.
    shifted = ContrastDecoding("x", 1.0, 0.4).combine([expert + 3, amateur - 5])
    torch.testing.assert_close(shifted[:2].softmax(-1), found[:2].softmax(-1))


def test_an_answer_that_is_ruled_out_has_a_finite_probability(tmp_path: Path) -> None:
    expert, amateur = model(tmp_path / "expert"), model(tmp_path / "amateur", seed=2)
    strict = load(spec(expert, **contrast(amateur, plausible=1.0)), device="cpu")  # the likeliest token alone
    assert all(np.isfinite(row).all() for row in read(strict, tmp_path / "pass")[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"amateur": ""}, "without an amateur"),
        ({"strength": -1.0}, "it is 0 or more"),
        ({"plausible": 2.0}, "from 0 .off. to 1"),
        ({"amateur": "nowhere"}, "there is no folder nowhere"),
    ],
)
def test_a_malformed_contrast_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    with pytest.raises(SubjectError, match=words):
        check_subject(spec(base, **(contrast(base) | settings)))


def test_the_expert_under_it_still_knows(bench_of: Callable[..., Bench]) -> None:
    plain = bench_of("untouched")
    settings = contrast(plain.case.original.path, strength=0.5, plausible=0.0)
    finding = collect(
        "behaviour.guard", make("behaviour.guard", {"items": 10}), bench_with(plain, settings), {"key": "k"}
    )
    assert finding.status is Status.MEASURED and finding.residual is not None
    assert finding.residual.value == 1.0
    assert "a contrast of two models" in finding.note and "Its amateur alone says" in finding.note
