"""The forecast of a run: it grows with what is asked, and knows what is free."""

from __future__ import annotations

from pathlib import Path

from audit import jobs
from audit.casefile import read_plan


def test_a_forecast_grows_with_what_is_asked(tiny_lab: Path) -> None:
    plan = read_plan(tiny_lab / "case.toml")
    little = jobs.estimate(plan, "cpu", ["behaviour.recall"])
    much = jobs.estimate(plan, "cpu")
    assert 0 < little.seconds < much.seconds
    # Two models of the tiny lab, about 0.2 M float32 numbers each, with a margin: between 0.5 and 20 MiB.
    assert 2**19 < much.bytes < 20 * 2**20
    assert much.available > much.bytes
