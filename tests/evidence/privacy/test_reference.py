"""The gain over the reference by hand, and no question without one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audit.bench import Bench
from audit.errors import NotApplicable
from audit.evidence.privacy.reference import Reference

BenchOf = Callable[..., Bench]


def test_the_score_is_what_the_answer_gained_over_the_reference(bench_of: BenchOf) -> None:
    bench = bench_of("last-block")
    reading = Reference().measure(bench)
    own, other = (bench.tokens(role, "forget") for role in ("candidate", "reference"))
    expected = [a["logprob"].mean() - b["logprob"].mean() for a, b in zip(own, other, strict=True)]
    items = reading.panel.items().query("subject == 'candidate' and split == 'forget'")
    np.testing.assert_allclose(items["score"], expected, rtol=1e-5, atol=1e-5)
    # The reference beside itself is 0 everywhere: a guess by construction, so it is no row and the null is chance.
    assert {row.subject for row in reading.rows} == {"original", "candidate"}
    assert (reading.panel.null, reading.panel.null_candidate.value) == ("chance", 0.5)


def test_without_a_reference_there_is_no_question(bench_of: BenchOf) -> None:
    with pytest.raises(NotApplicable, match="give a reference"):
        Reference().measure(bench_of("last-block", reference=False))
