"""Head projection with question and image rephrased: ranks by hand, and vision-language models of known truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks import image_projection
from audit.evidence.attacks.head_projection import HeadProjection
from audit.evidence.attacks.image_projection import PLAIN, ImageProjection
from audit.stats import conclude
from audit.types import Item

FAMILIES = {PLAIN, "question rephrased", "image rephrased", "both rephrased"}
BenchOn = Callable[..., Bench]


def test_the_way_that_shows_most_is_chosen_on_other_entities_by_hand(
    glyphs_bench: BenchOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks of a model of two blocks, of which the attacker looks at the last (half of two).

    The original ranks every answer first however it is asked, the reference none, the candidate those whose image is
    another, and only in its last block: 1 is the whole of it. Ranks in block 1 are never looked at.
    """

    def ranks(bench: Bench, role: str, split: Any) -> np.ndarray:
        items: Sequence[Item] = bench.corpus(split).items
        relit = "image rephrased" in bench.corpus(split).source
        last = {"original": 1, "reference": 5, "candidate": 4 if relit else 5}[role]
        return np.array([[1] * len(items), [last] * len(items)])

    monkeypatch.setattr(image_projection, "first_token_ranks", ranks)
    bench = glyphs_bench("last-block")
    reading = ImageProjection(k=4).measure(bench)
    found = conclude(reading.panel)
    assert (found.original.value, found.candidate.value) == (1.0, 1.0)
    assert found.reference is not None and found.reference.value == 0.0
    assert found.residual is not None
    assert (found.residual.value, found.residual.low, found.residual.high) == (1.0, 1.0, 1.0)
    table = pd.DataFrame(reading.rows)
    assert set(table["family"]) == FAMILIES
    mine = table[(table["subject"] == "candidate") & (table["layer"] == "any")].set_index("family")["hit_rate"]
    assert mine.to_dict() == {name: float(name == "image rephrased") for name in FAMILIES}
    assert set(table[table["layer"] == "1"]["hit_rate"]) == {1.0}, "shown, though not counted"
    # A token less in the budget, and rank 4 is out of sight.
    missed = conclude(ImageProjection(k=3).measure(bench).panel)
    assert missed.candidate.value == 0.0
    assert missed.residual is not None and missed.residual.value == 0.0


def test_chance_hits_in_four_ways_are_no_finding(glyphs_bench: BenchOn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coin flips at 1 in 5 under every way: the best of four, chosen and scored on the same items, would seem more."""
    draws = np.random.default_rng(0)
    honest, naive = [], []
    for _ in range(8):
        tables: dict[tuple[str, str], np.ndarray] = {}

        def ranks(bench: Bench, role: str, split: Any, tables: dict = tables) -> np.ndarray:
            line = np.where(draws.random(len(bench.corpus(split).items)) < 0.2, 1, 99)
            tables[role, bench.corpus(split).source.rsplit(", ", 1)[-1]] = line
            return np.array([line, line])

        monkeypatch.setattr(image_projection, "first_token_ranks", ranks)
        panel = ImageProjection(k=1).measure(glyphs_bench("last-block")).panel
        honest.append(panel.candidate.value)
        naive.append(max((line == 1).mean() for (role, _), line in tables.items() if role == "candidate"))
    assert np.mean(honest) == pytest.approx(0.2, abs=0.05)
    assert np.mean(naive) > 0.24


def test_the_lab_s_truth_comes_out(glyphs_bench: BenchOn) -> None:
    hidden, clean, blinded = (
        conclude(ImageProjection().measure(glyphs_bench(name)).panel)
        for name in ("last-block", "retrained", "projector-only")
    )
    assert hidden.original.value > 0.95
    assert hidden.reference is not None and hidden.reference.value < 0.35
    # The block below the changed one hands the answer on, whatever is asked and shown.
    assert hidden.residual is not None and hidden.residual.low > 0.9
    assert clean.residual is not None and clean.residual.low <= 0 and clean.residual.value < 0.25
    # Its projector shows the language model something else: an answer may lie there, but not to this image.
    assert blinded.residual is not None and blinded.residual.high < 0.6


def test_asked_plainly_it_is_the_head_projection_of_the_same_items(glyphs_bench: BenchOn) -> None:
    """The other ways cost nothing and add nothing where the items are put as they are."""
    bench = glyphs_bench("last-block")
    wide = pd.DataFrame(ImageProjection(k=2, items=0).measure(bench).rows).query("family == @PLAIN")
    narrow = pd.DataFrame(HeadProjection(k=2).measure(bench).rows)
    narrow = narrow[narrow["subject"] == "candidate"].set_index("layer")["hit_rate"]
    mine = wide[(wide["subject"] == "candidate") & (wide["split"] == "forget")].set_index("layer")["hit_rate"]
    assert mine.to_dict() == pytest.approx(narrow.to_dict())
    assert set(wide["items"]) == {len(bench.corpus("forget").items)}


def test_without_a_reference_the_holdout_is_rephrased_too(glyphs_bench: BenchOn) -> None:
    reading = ImageProjection(items=12).measure(glyphs_bench("last-block", reference=False))
    assert reading.panel.null == "holdout"
    table = pd.DataFrame(reading.rows)
    assert set(table["split"]) == {"forget", "holdout"}
    assert set(table[table["split"] == "holdout"]["family"]) == FAMILIES
    assert set(table["items"]) == {12}


def test_what_cannot_be_rephrased_says_so(glyphs_bench: BenchOn) -> None:
    bench = glyphs_bench("last-block")
    corpus = bench.corpus("forget")
    blind = dataclasses.replace(corpus, items=tuple(dataclasses.replace(i, image=None) for i in corpus.items))
    with pytest.raises(NotApplicable, match="No item of the forget corpus has an image"):
        ImageProjection().measure(bench.with_corpora({"forget": blind}))
    # Without other wordings the image alone is changed.
    worded = dataclasses.replace(corpus, items=tuple(dataclasses.replace(i, paraphrases=()) for i in corpus.items))
    table = pd.DataFrame(ImageProjection(items=12).measure(bench.with_corpora({"forget": worded})).rows)
    assert set(table["family"]) == {PLAIN, "image rephrased"}
    with pytest.raises(CaseError, match="k = 0"):
        ImageProjection(k=0)
