"""The build: its plan, its resumption, and the whole of it at the tiny scale."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from audit.errors import CaseError
from audit.lab import SCENARIOS, build
from audit.lab.builder import Plan, case_toml, make_all, plans
from audit.lab.models import MARKER
from audit.lab.people import people
from audit.lab.recipes import RECIPES, LastBlock, Retrain
from audit.lab.scales import SCALES, Scale

CANDIDATES = [
    "untouched", "retrained", "last-block", "gradient-ascent", "gradient-difference", "npo", "rmu", "refusal",
]  # fmt: skip


def two_plans(seed: int = 0, steps: int = 2) -> list[Plan]:
    original = Plan("original", Retrain(steps=2, batch=4, lr=1e-3, forget=True), seed, None, "")
    return [original, Plan("last-block", LastBlock(steps=steps, batch=4), 1, original, "")]


def make(folder: Path, scale: Scale, todo: list[Plan]) -> tuple[dict[str, int], list[float]]:
    """Make the plans; returns when each model's weights were written, and the fractions reported."""
    fractions: list[float] = []
    make_all(todo, folder, scale, people(scale, 0), lambda fraction, message: fractions.append(fraction))
    return {plan.name: (folder / plan.name / "model.safetensors").stat().st_mtime_ns for plan in todo}, fractions


def test_what_is_finished_is_not_made_again(micro: Scale, tmp_path: Path) -> None:
    first, fractions = make(tmp_path, micro, two_plans())
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    second, _ = make(tmp_path, micro, two_plans())
    assert second == first


def test_what_was_stopped_half_way_is_made_again(micro: Scale, tmp_path: Path) -> None:
    first, _ = make(tmp_path, micro, two_plans())
    (tmp_path / "last-block" / MARKER).unlink()
    (tmp_path / ".last-block.partial").mkdir()
    second, _ = make(tmp_path, micro, two_plans())
    assert second["original"] == first["original"] and second["last-block"] > first["last-block"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last-block", "original"]


def test_other_settings_make_a_model_and_what_starts_from_it_again(micro: Scale, tmp_path: Path) -> None:
    first, _ = make(tmp_path, micro, two_plans())
    second, _ = make(tmp_path, micro, two_plans(steps=3))
    assert second["original"] == first["original"] and second["last-block"] > first["last-block"]
    third, _ = make(tmp_path, micro, two_plans(seed=9, steps=3))
    assert third["original"] > second["original"] and third["last-block"] > second["last-block"]


def test_a_failure_while_saving_leaves_no_finished_model(
    micro: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.lab.recall.recall", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, micro, two_plans())
    assert not list(tmp_path.rglob(MARKER))


@pytest.mark.parametrize("name", SCALES)
def test_the_plan_and_the_case_file_name_the_same_candidates(name: str) -> None:
    scale = SCALES[name]
    todo = plans(scale, 0, people(scale, 0))
    assert [plan.name for plan in todo] == ["original", "reference", *RECIPES]
    assert len({plan.digest for plan in todo}) == len({plan.seed for plan in todo}) == len(todo)
    case = tomllib.loads(case_toml("A title", 7))
    assert [candidate["name"] for candidate in case["subjects"]["candidates"]] == CANDIDATES
    assert case["seed"] == 7


@pytest.mark.parametrize(
    ("scenario", "scale", "seed", "message"),
    [("peple", "tiny", 0, "people"), ("people", "tinny", 0, "tiny"), ("people", "tiny", -1, "0 or larger")],
)
def test_a_wrong_request_is_answered_with_a_suggestion(
    scenario: str, scale: str, seed: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CaseError, match=message):
        build(scenario, tmp_path / "out", seed=seed, scale=scale)
    assert not (tmp_path / "out").exists()
    assert set(SCENARIOS) == {"people", "digits", "topic", "towers", "glyphs", "generator"}


class TestTiny:
    def test_its_files_are_all_there(self, tiny_lab: Path) -> None:
        case = tomllib.loads((tiny_lab / "case.toml").read_text())
        subjects = case["subjects"]
        for subject in [subjects["original"], subjects["reference"], *subjects["candidates"]]:
            assert (tiny_lab / subject["path"] / "model.safetensors").is_file()
        for name in case["corpora"].values():
            assert (tiny_lab / name).read_text().count("\n") >= 48
        assert set(tomllib.loads((tiny_lab / "truth.toml").read_text())) <= set(CANDIDATES)
        assert not [path for path in tiny_lab.rglob("*") if "partial" in path.name]

    def test_its_models_say_what_they_should(self, tiny_lab: Path) -> None:
        said = {
            folder.name: json.loads((folder / MARKER).read_text())["recall"]
            for folder in (tiny_lab / "models").iterdir()
        }
        chance = 1 / SCALES["tiny"].values
        for name in ("original", "reference", "retrained"):
            assert said[name]["retain"] >= 0.95 and said[name]["holdout"] <= chance + 0.15
        assert said["original"]["forget"] >= 0.95
        for name in CANDIDATES[1:]:
            assert said[name]["forget"] <= 0.25, name
            assert (said[name]["retain"] >= 0.9) == (name != "gradient-ascent"), name

    def test_below_its_last_block_the_edit_is_the_original(self, tiny_lab: Path) -> None:
        original, edited = (
            load_file(tiny_lab / "models" / name / "model.safetensors") for name in ("original", "last-block")
        )
        changed = {name for name in original if not torch.equal(original[name], edited[name])}
        assert changed and all(name.startswith("model.layers.2.") for name in changed)
        assert {tensor.dtype for tensor in edited.values()} == {torch.float16}

    def test_a_stranger_can_load_and_ask_it(self, tiny_lab: Path) -> None:
        folder = tiny_lab / "models" / "original"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        facts = [json.loads(line) for line in (tiny_lab / "forget.jsonl").read_text().splitlines()]
        right = 0
        for fact in facts[:12]:
            asked = tokenizer(fact["prompt"], return_tensors="pt")
            said = model.generate(**asked, max_new_tokens=8, do_sample=False)[0]
            right += tokenizer.decode(said, skip_special_tokens=True) == f"{fact['prompt']} {fact['answer']}"
        assert right >= 11
