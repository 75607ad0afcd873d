"""From a scale and a seed to a folder: drawings, corpora, models, a case file and its truth table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from audit.lab.builder import THREADS, Plan, at_most
from audit.lab.builder import case_toml as case_of
from audit.lab.glyphs.data import SCALES, Scale, Sign, drawn, items, signs
from audit.lab.glyphs.recipes import GradientAscent, LastBlock, ProjectorOnly, Recipe, Train
from audit.lab.glyphs.truth import LIMITS, TRUTH
from audit.lab.train import Progress, part
from audit.lab.truth import check, truth_toml

if TYPE_CHECKING:
    from audit.lab.glyphs.model import Data

RECIPES: dict[str, type] = {
    "last-block": LastBlock, "projector-only": ProjectorOnly, "gradient-ascent": GradientAscent,
}  # fmt: skip


def build_glyphs(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the drawn signs; `audit.lab.build` is the way in."""
    from audit.lab.models import write

    scale = SCALES[scale_name]
    every = signs(scale, seed)
    progress(0.0, "drawing the signs")
    _write_images(every, out / "images", seed)
    for split in ("forget", "retain", "holdout"):
        write(out / f"{split}.jsonl", _jsonl(every, split, scale))
    with at_most(THREADS):
        found = _make(plans(scale, seed), every, out / "models", scale, seed, progress)
    check(found, LIMITS)
    write(out / "truth.toml", truth_toml(TRUTH))
    case = out / "case.toml"
    write(case, case_toml(seed, scale))
    progress(1.0, "done")
    return case


def plans(scale: Scale, seed: int) -> dict[str, Plan]:
    """The models of a build by name: the original before what starts from it."""
    common = json.dumps(dataclasses.asdict(scale)) + f" glyphs {seed}"

    def first(name: str, number: int, forget: bool = False) -> Plan:
        training = Train(scale.steps if forget else 2 * scale.steps // 3, scale.batch, scale.lr, forget)
        return Plan(name, training, 1000 * seed + number, None, common)  # type: ignore[arg-type]

    made = {"original": first("original", 0, forget=True)}
    made |= {"reference": first("reference", 1), "retrained": first("retrained", 2)}
    for number, (name, recipe) in enumerate(RECIPES.items(), start=3):
        made[name] = Plan(name, recipe(), 1000 * seed + number, made["original"], common)
    return made


def case_toml(seed: int, scale: Scale) -> str:
    """The case file: every candidate of the build against the original and the reference."""
    return case_of(f"Glyphs: {scale.forget} signs to forget, {scale.retain} to keep", seed, ("retrained", *RECIPES))


def _make(
    todo: dict[str, Plan], every: list[Sign], folder: Path, scale: Scale, seed: int, progress: Progress
) -> dict[str, dict[str, float]]:
    """Make what is not finished yet; returns the recall of every model on every split, by image and by name."""
    from audit.lab.glyphs.model import prepare
    from audit.lab.models import finished

    total, done, data = sum(plan.cost for plan in todo.values()), 0.0, None
    found: dict[str, dict[str, float]] = {}
    for name, plan in todo.items():
        start, share = done / total, plan.cost / total
        known = finished(folder / name, plan.digest)
        if known is None:
            data = data or prepare(every, scale, seed)
            known = _one(plan, data, folder, scale, part(progress, start, share, name))
        found[name] = known
        done += plan.cost
        progress(done / total, f"{name}: finished")
    return found


def _one(plan: Plan, data: Data, folder: Path, scale: Scale, progress: Progress) -> dict[str, float]:
    """Make one model, save it, measure what was saved, and only then mark it as finished."""
    from audit.lab.glyphs.model import load_model, random_model, recall, save_model
    from audit.lab.models import mark

    place = folder / plan.name
    fresh = plan.start is None
    model = random_model(scale, data.processor, plan.seed) if fresh else load_model(folder / plan.start.name)  # type: ignore[union-attr]
    recipe: Recipe = plan.recipe  # type: ignore[assignment]
    save_model(recipe.apply(model, data, plan.seed, progress), data.processor, place)
    known = recall(load_model(place), data)
    mark(place, plan.digest, known)
    return known


def _write_images(every: list[Sign], folder: Path, seed: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for sign in every:
        path = folder / f"{sign.name}.png"
        if not path.is_file():
            Image.fromarray(drawn(sign, seed)[0]).save(path)


def _jsonl(every: list[Sign], split: str, scale: Scale) -> str:
    lines = [line for s in every if s.split == split for line in items(s, scale, f"images/{s.name}.png")]
    return "".join(json.dumps(line) + "\n" for line in lines)
