"""From a scale and a seed to a folder: images, latents, scorers, generators, a case file and its truth table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audit.lab.builder import THREADS, Plan, at_most
from audit.lab.builder import case_toml as case_of
from audit.lab.digits.builder import write_images
from audit.lab.generator.data import FORGOTTEN, SCALES, Data, Scale, corpora, data_of
from audit.lab.generator.recipes import RECIPES, Recipe, Train
from audit.lab.generator.truth import LIMITS, TRUTH
from audit.lab.train import Progress, part
from audit.lab.truth import check, truth_toml

CANDIDATES = "[[subjects.candidates]]"
LOOKERS = """[subjects.scorer]
path = "models/scorer"
images = "real.jsonl"

[subjects.judge]
path = "models/judge"

"""
"""Who looks at what is drawn, between the references and the candidates."""
SCORERS = {"scorer": "scorer", "judge": "judge"}
"""Name → the part of the images that it learns from."""


@dataclasses.dataclass(frozen=True)
class Learning:
    """How a classifier is made: what its digest depends on."""

    steps: int
    part: str


def build_generator(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the generators; `audit.lab.build` is the way in."""
    from audit.lab.models import write

    scale = SCALES[scale_name]
    data, rows = data_of(seed), corpora(scale, seed)
    progress(0.0, "writing the images")
    write_images(out / "images")
    for split, found in rows.items():
        write(out / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in found))
    write(out / "real.jsonl", _labelled(data))
    with at_most(THREADS):
        shares = _make(plans(scale, seed), data, rows, out / "models", scale, progress)
    check(shares, LIMITS)
    write(out / "truth.toml", truth_toml(TRUTH))
    write(out / "case.toml", case_toml(seed, scale))
    progress(1.0, "done")
    return out / "case.toml"


def plans(scale: Scale, seed: int) -> dict[str, Plan]:
    """The models of a build by name: scorers first, the original before what starts from it."""
    common, base = json.dumps(dataclasses.asdict(scale)), 1000 * seed
    made: dict[str, Plan] = {}

    def add(name: str, recipe: Any, number: int, start: Plan | None = None) -> None:
        made[name] = Plan(name, recipe, base + number, start, common)

    for number, (name, half) in enumerate(SCORERS.items()):
        add(name, Learning(scale.scorer_steps, half), number)
    add("original", Train(scale.steps, scale.batch, scale.lr, forget=True), 10)
    add("reference", Train(scale.steps, scale.batch, scale.lr), 11)
    add("retrained", Train(scale.steps, scale.batch, scale.lr), 12)
    for number, (name, recipe) in enumerate(RECIPES.items(), start=13):
        add(name, recipe(), number, made["original"])
    return made


def case_toml(seed: int, scale: Scale) -> str:
    """The case file: every candidate against the original and the reference, seen by scorer and judge."""
    text = case_of(f"Generator: the digit {FORGOTTEN}, {scale.forget} latents", seed, ("retrained", *RECIPES))
    return text.replace(CANDIDATES, LOOKERS + CANDIDATES, 1)


def _make(
    todo: Mapping[str, Plan],
    data: Data,
    rows: Mapping[str, list[dict[str, object]]],
    folder: Path,
    scale: Scale,
    progress: Progress,
) -> dict[str, dict[str, float]]:
    """Make what is not finished yet; of scorers the accuracy on real images, of generators the share drawn as asked."""
    from audit.lab.models import finished, mark

    total, done = sum(plan.cost for plan in todo.values()), 0.0
    found: dict[str, dict[str, float]] = {}
    for name, plan in todo.items():
        place = folder / name
        known = finished(place, plan.digest)
        if known is None:
            listen = part(progress, done / total, plan.cost / total, name)
            if name in SCORERS:
                known = _classifier(plan, data, place, scale, listen)
            else:
                known = _generator(plan, data, rows, folder, scale, listen)
            mark(place, plan.digest, known)
        found[name] = known
        done += plan.cost
    return found


def _classifier(plan: Plan, data: Data, place: Path, scale: Scale, progress: Progress) -> dict[str, float]:
    from audit.lab.digits.model import processor
    from audit.lab.generator import scorers
    from audit.lab.models import save_model

    model = getattr(scorers, plan.name)(scale, plan.seed)
    model = scorers.train_classifier(model, data, SCORERS[plan.name], scale, plan.seed, progress)
    save_model(model, processor(), place)
    return {"test": scorers.accuracy(scorers.load_classifier(place), data)}


def _generator(
    plan: Plan, data: Data, rows: Mapping[str, Any], folder: Path, scale: Scale, progress: Progress
) -> dict[str, float]:
    from audit.lab.generator.model import load_pair, random_pair, save_pair

    pair = random_pair(scale, plan.seed) if plan.start is None else load_pair(folder / plan.start.name, scale)
    recipe: Recipe = plan.recipe  # type: ignore[assignment]
    save_pair(recipe.apply(pair, data, plan.seed, progress), scale, folder / plan.name)
    return _drawn_as_asked(folder / plan.name, folder, rows)


def _drawn_as_asked(place: Path, models: Path, rows: Mapping[str, Any]) -> dict[str, float]:
    """Share of the latents of each corpus in whose image scorer and judge see the digit that was asked for, 0 to 1."""
    from audit.activations.drawing import says
    from audit.corpora.rows import item_of
    from audit.subjects.load import load
    from audit.types import SubjectSpec

    subject = load(
        SubjectSpec(place.name, "candidate", str(place), {name: str(models / name) for name in SCORERS}), device="cpu"
    )
    shares = {}
    for split, found in rows.items():
        items = [item_of(row, split, f"{split}:{k}") for k, row in enumerate(found)]
        shares[split] = float(np.mean([s == i.answer for s, i in zip(says(subject, items), items, strict=True)]))
    return shares


def _labelled(data: Data) -> str:
    """The real images that scorer and judge are tested on; nobody was trained on them."""
    rows = [
        {"image": f"images/{image:04d}.png", "label": str(data.digits[image])} for image in data.parts["test"].tolist()
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)
