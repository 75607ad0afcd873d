"""Scorer, judge and their images in the case file and in the form: one place, known to every subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.casefile import read_plan
from audit.errors import CaseError, CorpusError
from audit.views import intake


def changed(lab: Path, folder: Path, old: str, new: str) -> Path:
    """The lab's case file with absolute paths and one change."""
    text = (lab / "case.toml").read_text().replace('"models/', f'"{lab}/models/')
    for split in ("forget", "retain", "holdout", "real"):
        text = text.replace(f'"{split}.jsonl"', f'"{lab}/{split}.jsonl"')
    assert old in text
    (folder / "case.toml").write_text(text.replace(old, new))
    return folder / "case.toml"


def test_every_subject_knows_who_looks(generator_lab: Path) -> None:
    plan = read_plan(generator_lab / "case.toml")
    assert plan.reference
    for spec in (plan.original, plan.reference, *plan.candidates):
        assert spec.settings["scorer"] == str((generator_lab / "models/scorer").resolve())
        assert spec.settings["judge"] == str((generator_lab / "models/judge").resolve())
        assert spec.settings["scorer_images"] == str((generator_lab / "real.jsonl").resolve())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[subjects.scorer]", "[subjects.scorers]", 'Unknown key "subjects.scorers"'),
        ("models/scorer", "models/nobody", "The scorer is not there"),
        ("models/judge", "models/nobody", "The judge is not there"),
        ("real.jsonl", "forget.jsonl", "no labelled images"),
        ("real.jsonl", "nothing.jsonl", "There is no holdout corpus|nothing.jsonl"),
    ],
)
def test_what_is_wrong_is_one_sentence(old: str, new: str, words: str, generator_lab: Path, tmp_path: Path) -> None:
    with pytest.raises((CaseError, CorpusError), match=words):
        read_plan(changed(generator_lab, tmp_path, old, new))


def test_a_judge_alone_is_refused(generator_lab: Path, tmp_path: Path) -> None:
    case = changed(generator_lab, tmp_path, "[subjects.scorer]\n", "")
    text = case.read_text()
    begin, end = text.index(f'path = "{generator_lab}/models/scorer"'), text.index("[subjects.judge]")
    case.write_text(text[:begin] + text[end:])
    with pytest.raises(CaseError, match=r"no \[subjects.scorer\]; the judge is the second classifier"):
        read_plan(case)


def test_the_form_reads_back_as_the_case_file_does(generator_lab: Path) -> None:
    corpora = {split: f"{split}.jsonl" for split in ("forget", "retain", "holdout")}
    draft = intake.Draft(
        "Threes", "models/original", "models/reference", (("hidden", "models/condition-only"),), corpora,
        scorers={"scorer": "models/scorer", "judge": "models/judge", "images": "real.jsonl"},
    )  # fmt: skip
    assert intake.problems(draft, generator_lab) == []
    plan = intake.plan_of(draft, generator_lab)
    assert plan.original.settings == read_plan(generator_lab / "case.toml").original.settings
    assert intake.pair_problems(plan) == []
