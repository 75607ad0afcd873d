"""Systems as tables and form entries, drawn from their classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from audit.casefile import read_plan, write_plan
from audit.errors import CaseError
from audit.subjects.systems.kinds import SYSTEMS, system_class
from audit.views import systems
from audit.views.intake import Draft, case_data, in_words, plan_of, problems

CORPORA = {split: f"{split}.jsonl" for split in ("forget", "retain", "holdout")}
GUARD = {"kind": "prompt_guard", "prefix": "x"}
DRAFT = Draft("Guards", "original", "reference", (("guarded", "original"),), CORPORA, systems={"guarded": GUARD})


@pytest.mark.parametrize("kind", SYSTEMS)
def test_every_setting_of_every_kind_has_a_meaning(kind: str) -> None:
    found = systems.settings(kind)
    assert {s.name: s.default for s in found} == {f.name: f.default for f in dataclasses.fields(system_class(kind))}
    assert all(s.meaning.endswith((".", ")", "scripts)")) for s in found), [s for s in found if not s.meaning]


def test_the_table_lists_every_kind_with_the_papers_it_covers() -> None:
    table = systems.table()
    assert list(table["kind"]) == list(SYSTEMS)
    assert table["covers"].str.len().min() > 10
    covered = " ".join(table["covers"])
    assert all(name in covered for name in ("ULD", "Harry Potter", "ECO", "SAUCE", "In-context unlearning".lower()))


def test_an_entry_holds_what_differs_from_the_defaults() -> None:
    assert systems.entry("", {"prefix": "x"}) == {}
    assert systems.entry("prompt_guard", {"prefix": "x", "suffix": ""}) == GUARD
    values: dict[str, Any] = {"entities": ("1984",), "dims": 1, "strength": 0.0}
    assert systems.entry("embedding_guard", values) == {
        "kind": "embedding_guard", "entities": ("1984",), "strength": 0.0,
    }  # fmt: skip
    assert systems.takes_texts("embedding_guard", "entities")
    assert not systems.takes_texts("sae_intervention", "features")


def test_a_draft_with_a_system_reads_back_and_says_what_it_is(case: Path, tmp_path: Path) -> None:
    assert problems(DRAFT, case) == []
    plan = plan_of(DRAFT, case)
    assert plan.candidates[0].settings == GUARD
    assert "guarded (a prompt guard on original)" in in_words(plan)
    write_plan(tmp_path / "out" / "case.toml", case_data(DRAFT, case))
    assert read_plan(tmp_path / "out" / "case.toml").digest == plan.digest


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "prompt_guard"}, "without any text"),
        ({"kind": "logit_combination", "assistant": "/etc"}, "outside"),
        ({"kind": "logit_combination", "assistant": "nothing"}, "The assistant of guarded is not there"),
        ({"kind": "embedding_guard", "classifier": "forget.jsonl"}, "is no folder that is there"),
    ],
)
def test_a_wrong_system_is_one_sentence(settings: dict[str, Any], words: str, case: Path) -> None:
    draft = dataclasses.replace(DRAFT, systems={"guarded": settings})
    found = problems(draft, case)
    assert len(found) == 1 and words in found[0]
    with pytest.raises(CaseError):
        case_data(draft, case)
