"""TOFU's model utility: by hand, over the parts that there are, and from TOFU's own files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.corpora.check import check_corpora
from audit.corpora.read import read_corpus
from audit.errors import CorpusError
from audit.evidence.utility.model_utility import ALL, ModelUtility, combined
from audit.stats import Sample, conclude
from audit.types import CORPORA, SPLITS, Corpus, Item, Split

BenchOf = Callable[..., Bench]


def with_general_knowledge(bench: Bench) -> Bench:
    """Two more corpora, of facts that the models were trained on."""
    items = bench.corpus("retain").items
    extra: dict[Split, Corpus] = {}
    for begin, split in enumerate(CORPORA[3:]):
        some = items[begin::2][:20]
        extra[split] = Corpus(split, tuple(dataclasses.replace(i, id=f"{split}:{k}") for k, i in enumerate(some)), "")
    bench.case = dataclasses.replace(bench.case, corpora={**bench.case.corpora, **extra})
    return bench


def test_harmonic_mean_draw_by_draw() -> None:
    first = Sample(0.5, np.array([0.5, 1.0, 0.0]), 7)
    second = Sample(0.25, np.array([0.25, 1.0, 0.9]), 9)
    whole = combined([first, second])
    # 2 / (1/0.5 + 1/0.25) = 2 / 6; of the draws the second is 1, and one part of the third is 0.
    assert whole.value == pytest.approx(1 / 3)
    assert whole.draws.tolist() == pytest.approx([1 / 3, 1.0, 0.0])
    assert whole.n == 7


def test_three_parts_of_nine_are_named_so(bench_of: BenchOf) -> None:
    reading = ModelUtility().measure(bench_of("last-block"))
    table = pd.DataFrame(reading.rows)
    assert set(table["parts"]) == {"3 of 9"}
    assert "3 of nine parts (no corpus for real_authors and world_facts)" in reading.note
    assert "not comparable" in reading.note
    own = table[table["subject"] == "candidate"].set_index("part")["value"]
    parts = own.drop(ALL)
    assert own[ALL] == pytest.approx(len(parts) / (1 / parts).sum())
    assert reading.panel.null == "chance" and conclude(reading.panel).residual is not None


def test_nine_parts_where_the_case_has_the_corpora(bench_of: BenchOf) -> None:
    bench = with_general_knowledge(bench_of("last-block"))
    reading = ModelUtility().measure(bench)
    table = pd.DataFrame(reading.rows)
    assert set(table["parts"]) == {"9 of 9"} and "all nine parts" in reading.note
    assert len(table[table["subject"] == "original"]) == 10
    # The probability of general knowledge is taken among right and wrong answers, that of retain is not.
    likelihood = bench.likelihood("original", "world_facts")
    share = []
    for _, rows in likelihood.groupby("item"):
        p = np.exp(rows.set_index("variant")["mean_logprob"])
        share.append(p["answer"] / (p["answer"] + p["wrong"].sum()))
    found = table[(table["subject"] == "original") & (table["part"] == "world facts: probability")]["value"].item()
    assert found == pytest.approx(np.mean(share))


def test_a_wrecked_model_is_not_useful(bench_of: BenchOf) -> None:
    wrecked = conclude(ModelUtility().measure(bench_of("gradient-ascent")).panel).residual
    kept = conclude(ModelUtility().measure(bench_of("retrained")).panel).residual
    assert wrecked is not None and kept is not None
    assert wrecked.value < 0.7 < kept.value


def test_what_other_evidence_computed_does_not_depend_on_the_two_corpora(bench_of: BenchOf) -> None:
    plain, more = bench_of("last-block"), with_general_knowledge(bench_of("last-block"))

    def once() -> dict[str, np.ndarray]:
        return {"x": np.array([1.0])}

    def never() -> dict[str, np.ndarray]:
        raise AssertionError("computed again")

    plain.remember("general knowledge", ["original"], {}, once)
    assert more.remember("general knowledge", ["original"], {}, never)["x"] == 1
    assert SPLITS == ("forget", "retain", "holdout")


def test_tofu_s_own_files_read(shared: Path) -> None:
    base = shared / "data" / "tofu"
    names: list[tuple[Split, str]] = [
        ("forget", "forget10_perturbed.json"), ("retain", "retain_perturbed.json"),
        ("real_authors", "real_authors_perturbed.json"), ("world_facts", "world_facts_perturbed.json"),
    ]  # fmt: skip
    corpora = {split: read_corpus(name, split, base=base) for split, name in names}
    assert {split: len(corpus) for split, corpus in corpora.items()} == {
        "forget": 400, "retain": 400, "real_authors": 100, "world_facts": 117,
    }  # fmt: skip
    assert all(len(item.wrong_answers) == 3 for item in corpora["world_facts"].items)
    # General knowledge needs no entities, labels or paraphrases.
    assert not any("real_authors" in warning or "world_facts" in warning for warning in check_corpora(corpora))


def test_general_knowledge_must_not_be_what_is_to_be_forgotten() -> None:
    same = (Item("forget:0", "Where is Oslo?", "Norway"),)
    retain = Corpus("retain", (Item("retain:0", "Who?", "Ann", entity="Ann"),), "r")
    authors = Corpus("real_authors", same, "a")
    with pytest.raises(CorpusError, match="either to be forgotten or general knowledge"):
        check_corpora({"forget": Corpus("forget", same, "f"), "retain": retain, "real_authors": authors})
    # Between what is kept anyway there is no contradiction.
    both = Corpus("world_facts", same, "w")
    assert check_corpora({"retain": retain, "real_authors": authors, "world_facts": both})
