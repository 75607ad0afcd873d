"""The form of a new audit: one sentence for each wrong field, and a case file that reads back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from audit.casefile import read_plan, write_plan
from audit.errors import CaseError
from audit.views.intake import Draft, case_data, changes, folder_for, plan_of, problems, subjects_of

CORPORA = {split: f"{split}.jsonl" for split in ("forget", "retain", "holdout")}
GOOD = Draft("Ten people", "original", "reference", (("npo", "a"),), CORPORA, 7, "qa", ("probes.linear",), {})


def test_a_good_draft_has_no_problem_and_reads_back(case: Path) -> None:
    assert problems(GOOD, case) == []
    plan = plan_of(dataclasses.replace(GOOD, settings={"probes.linear": {"folds": 3}}), case)
    assert (plan.name, plan.seed, plan.template, plan.only) == ("Ten people", 7, "qa", ("probes.linear",))
    assert plan.settings == {"probes.linear": {"folds": 3}}
    assert [c.name for c in plan.candidates] == ["npo"]
    assert plan.candidates[0].path == str(case / "a")
    assert len(plan.corpora["forget"]) == 3


def test_a_second_reference_and_a_file_of_concepts_read_back(case: Path) -> None:
    (case / "concepts.json").write_text('[{"Concept": "Poland", "Layer": 1, "Dim": 2}]', encoding="utf-8")
    vectors = {"concepts.value_vectors": {"file": "concepts.json", "concept": "Poland"}}
    draft = dataclasses.replace(GOOD, second_reference="a", settings=vectors)
    assert problems(draft, case) == []
    plan = plan_of(draft, case)
    assert plan.second_reference is not None and plan.second_reference.path == str(case / "a")
    assert plan.second_reference in subjects_of(plan)
    assert plan.settings["concepts.value_vectors"]["file"] == str(case / "concepts.json")


def test_a_written_case_is_the_checked_one(case: Path, tmp_path: Path) -> None:
    write_plan(tmp_path / "out" / "case.toml", case_data(GOOD, case))
    assert read_plan(tmp_path / "out" / "case.toml").digest == plan_of(GOOD, case).digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": " "}, "has no name"),
        ({"original": ""}, "The original has no path"),
        ({"original": "nothing/here"}, "The original is not there"),
        ({"original": "forget.jsonl"}, "expected a folder"),
        ({"reference": "../"}, "outside"),
        ({"candidates": ()}, "There is no candidate"),
        ({"candidates": (("", "a"),)}, "cannot be the name of a folder"),
        ({"candidates": (("reference", "a"),)}, "the name of a role"),
        ({"candidates": (("npo", ""),)}, "Candidate npo has no path"),
        ({"candidates": (("npo", "/etc"),)}, "outside"),
        ({"second_reference": "nothing/here"}, "The second reference is not there"),
        ({"reference": "", "second_reference": "a"}, "a second reference but no reference"),
        ({"settings": {"concepts.value_vectors": {"file": "/etc/passwd"}}}, "outside"),
        ({"settings": {"concepts.value_vectors": {"file": "none.json"}}}, "names no file"),
        ({"corpora": {**CORPORA, "forget": ""}}, "The forget corpus has no path"),
        ({"corpora": {**CORPORA, "retain": "/etc/passwd"}}, "outside"),
        ({"corpora": {**CORPORA, "holdout": "none.jsonl"}}, "The holdout corpus is not there"),
        ({"corpora": {**CORPORA, "world_facts": "none.json"}}, "The world_facts corpus is not there"),
    ],
)
def test_each_wrong_field_has_one_sentence(case: Path, change: dict[str, object], words: str) -> None:
    found = problems(dataclasses.replace(GOOD, **change), case)  # type: ignore[arg-type]
    assert len(found) == 1
    assert words in found[0]


def test_two_candidates_of_one_name(case: Path) -> None:
    (found,) = problems(dataclasses.replace(GOOD, candidates=(("npo", "a"), ("NPO", "a"))), case)
    assert "Two candidates" in found


def test_a_link_that_leads_out_of_the_root_is_refused(case: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "config.json").write_text("{}", encoding="utf-8")
    (case / "sly").symlink_to(outside)
    (found,) = problems(dataclasses.replace(GOOD, original="sly"), case)
    assert "outside" in found


def test_the_base_of_an_adapter_must_lie_below_the_root(case: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("base")
    (outside / "config.json").write_text("{}", encoding="utf-8")
    adapter = case / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{outside}"}}', encoding="utf-8")
    with pytest.raises(CaseError, match="outside"):
        plan_of(dataclasses.replace(GOOD, candidates=(("npo", "adapter"),)), case)


def test_what_a_form_names_is_read_again_when_it_changes(case: Path) -> None:
    first = changes(dataclasses.asdict(GOOD), case)
    assert {Path(path).name for path, _, _ in first} == {"config.json", *CORPORA.values()}
    assert changes(dataclasses.asdict(GOOD), case) == first
    with (case / "retain.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": "more?", "answer": "more", "entity": "e"}\n')
    assert changes(dataclasses.asdict(GOOD), case) != first
    assert changes({"a": "no\0path", "b": ["x" * 5000, 3, None]}, case) == ()


def test_an_empty_form_is_empty() -> None:
    assert Draft("", "", "", (), {}).empty
    assert not GOOD.empty


def test_run_folders_never_collide(tmp_path: Path) -> None:
    first = folder_for("Ten people: NPO & co.", tmp_path)
    assert first.name == "ten-people-npo-co"
    first.mkdir()
    assert folder_for("Ten people: NPO & co.", tmp_path).name == "ten-people-npo-co-2"
    assert folder_for("///", tmp_path).name == "audit"
