"""From a scale and a seed to a folder: pictures, corpora, models, a case file and its truth table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from audit.lab.builder import THREADS, Plan, at_most
from audit.lab.builder import case_toml as case_of
from audit.lab.towers.data import SCALES, Data, Scale, Split, world
from audit.lab.towers.recipes import GradientAscent, ProjectionOnly, Recipe, Train, WrongPairs
from audit.lab.towers.truth import LIMITS, TRUTH
from audit.lab.train import Progress, part
from audit.lab.truth import check, truth_toml

RECIPES: dict[str, type] = {
    "projection-only": ProjectionOnly, "gradient-ascent": GradientAscent, "wrong-pairs": WrongPairs,
}  # fmt: skip


def build_towers(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the emblems; `audit.lab.build` is the way in."""
    from audit.lab.models import write
    from audit.lab.towers.model import encoded, tokenizer_of

    scale = SCALES[scale_name]
    splits = world(scale, seed)
    progress(0.0, "drawing the emblems")
    for name, split in splits.items():
        _write_images(out / "images" / name, split)
        write(out / f"{name}.jsonl", _jsonl(name, split))
    tokenizer = tokenizer_of(splits)
    with at_most(THREADS):
        found = _make(plans(scale, seed), encoded(tokenizer, splits), tokenizer, out / "models", scale, progress)
    check(found, LIMITS)
    write(out / "case.toml", case_toml(scale, seed))
    write(out / "truth.toml", truth_toml(TRUTH))
    progress(1.0, "done")
    return out / "case.toml"


def plans(scale: Scale, seed: int) -> dict[str, Plan]:
    """The models of a build by name: the original before what starts from it."""
    common = json.dumps(["towers", dataclasses.asdict(scale), seed])

    def first(name: str, number: int, forget: bool = False) -> Plan:
        training = Train(scale.steps, scale.batch, scale.lr, forget)
        return Plan(name, training, 1000 * seed + number, None, common)  # type: ignore[arg-type]

    made = {"original": first("original", 0, forget=True)}
    made |= {"reference": first("reference", 1), "retrained": first("retrained", 2)}
    for number, (name, recipe) in enumerate(RECIPES.items(), start=3):
        made[name] = Plan(name, recipe(), 1000 * seed + number, made["original"], common)
    return made


def case_toml(scale: Scale, seed: int) -> str:
    """The case file: every candidate against the original and the reference."""
    return case_of(f"Emblems: {scale.forget} people to forget, {scale.retain} to keep", seed, ("retrained", *RECIPES))


def _make(
    todo: dict[str, Plan], data: Data, tokenizer: object, folder: Path, scale: Scale, progress: Progress
) -> dict[str, dict[str, float]]:
    """Make what is not finished yet; returns, of every model and split, how often the right caption comes first."""
    from audit.lab.models import finished, mark, save_model
    from audit.lab.towers.model import found_first, load_model, processor, random_model

    total, done = sum(plan.cost for plan in todo.values()), 0.0
    found: dict[str, dict[str, float]] = {}
    for name, plan in todo.items():
        place, start, share = folder / name, done / total, plan.cost / total
        known = finished(place, plan.digest)
        if known is None:
            listen = part(progress, start, share, name)
            recipe: Recipe = plan.recipe  # type: ignore[assignment]
            fresh = plan.start is None
            model = random_model(scale, tokenizer, plan.seed) if fresh else load_model(folder / plan.start.name)  # type: ignore
            save_model(recipe.apply(model, data, plan.seed, listen), tokenizer, place)  # type: ignore[arg-type]
            processor().save_pretrained(place)
            known = found_first(load_model(place), data)
            mark(place, plan.digest, known)
        found[name] = known
        done += plan.cost
    return found


def _write_images(folder: Path, split: Split) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(split.grey):
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def _jsonl(name: str, split: Split) -> str:
    people = [split.people[k] for k in split.owner]
    seen: dict[str, int] = {}
    rows = []
    for number, person in enumerate(people):
        seen[person.name] = seen.get(person.name, 0) + 1
        rows.append(
            {"image": f"images/{name}/{number:04d}.png", "answer": person.caption, "entity": person.name,
             "attribute": "trade", "label": person.trade, "prompt": f"{person.name}, picture {seen[person.name]}"}
        )  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)
