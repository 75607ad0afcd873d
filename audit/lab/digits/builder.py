"""From a scale and a seed to a folder: images, corpora, models, case files and their truth tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from audit.lab.builder import THREADS, Plan, at_most
from audit.lab.digits.data import GROUPS, SCALES, Data, Scale, grey, kinds
from audit.lab.digits.label_agnostic import LabelAgnostic
from audit.lab.digits.recipes import GradientAscent, HeadOnly, RandomLabels, Recipe, SaliencyMasking, Train
from audit.lab.digits.truth import LIMITS, TRUTH
from audit.lab.train import Progress, part
from audit.lab.truth import check, truth_toml

RECIPES: dict[str, type] = {
    "head-only": HeadOnly, "gradient-ascent": GradientAscent, "random-labels": RandomLabels,
    "saliency-masking": SaliencyMasking, "label-agnostic": LabelAgnostic,
}  # fmt: skip
FILES = {"samples": "case.toml", "class": "class.toml", "semantic": "semantic.toml"}
MADE = {kind: tuple(RECIPES) for kind in ("samples", "class")} | {"semantic": ("head-only", "gradient-ascent")}
"""The recipes of a kind of forgetting: of the third those alone whose truth is known."""
TITLES = {
    "samples": "Digits: {n} images that were learnt under a wrong label",
    "class": f"Digits: every {GROUPS['class'][0]}, {{n}} images",
    "semantic": "Digits: all that have a closed loop, {n} images",
}


def build_digits(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the handwritten digits; `audit.lab.build` is the way in."""
    from audit.lab.models import write

    scale = SCALES[scale_name]
    data = kinds(scale, seed)
    progress(0.0, "writing the images")
    write_images(out / "images")
    with at_most(THREADS):
        found = _make(plans(scale, seed), data, out / "models", scale, progress)
    for kind, file in FILES.items():
        check({name: found[kind, name] for k, name in found if k == kind}, LIMITS[kind])
        for split in data[kind].splits:
            write(out / kind / f"{split}.jsonl", _jsonl(data[kind], split))
        write(out / file, case_toml(kind, seed, len(data[kind].splits["forget"].labels)))
        write(out / ("truth.toml" if kind == "samples" else f"{kind}-truth.toml"), truth_toml(TRUTH[kind]))
    progress(1.0, "done")
    return out / FILES["samples"]


def plans(scale: Scale, seed: int) -> dict[tuple[str, str], Plan]:
    """The models of a build by kind of forgetting and name: each original before what starts from it."""
    common = json.dumps(dataclasses.asdict(scale))
    made: dict[tuple[str, str], Plan] = {}
    for k, kind in enumerate(FILES):
        base = 1000 * seed + 100 * k

        def first(name: str, number: int, forget: bool = False, kind: str = kind, base: int = base) -> Plan:
            # Right labels are learnt sooner than wrong ones.
            steps = scale.steps if kind == "samples" else max(400, scale.steps // 2)
            training = Train(steps if forget else steps // 2, scale.batch, scale.lr, forget)
            return Plan(f"{kind}-{name}", training, base + number, None, f"{common} {kind}")  # type: ignore[arg-type]

        original = made[kind, "original"] = first("original", 0, forget=True)
        made[kind, "reference"], made[kind, "retrained"] = first("reference", 1), first("retrained", 2)
        for number, (name, recipe) in enumerate(RECIPES.items(), start=3):
            if name not in MADE[kind]:
                continue
            made[kind, name] = Plan(f"{kind}-{name}", recipe(), base + number, original, original.common)
    return made


def case_toml(kind: str, seed: int, number: int) -> str:
    """The case file of one kind of forgetting: every candidate against the original and the reference."""
    lines = [f'name = "{TITLES[kind].format(n=number)}"', f"seed = {seed}"]
    for role in ("original", "reference"):
        lines += ["", f"[subjects.{role}]", f'path = "models/{kind}-{role}"']
    for name, path in [("untouched", "original"), *((name, name) for name in ("retrained", *MADE[kind]))]:
        lines += ["", "[[subjects.candidates]]", f'name = "{name}"', f'path = "models/{kind}-{path}"']
    lines += ["", "[corpora]", *(f'{split} = "{kind}/{split}.jsonl"' for split in ("forget", "retain", "holdout"))]
    return "\n".join(lines) + "\n"


def _make(
    todo: dict[tuple[str, str], Plan], data: dict[str, Data], folder: Path, scale: Scale, progress: Progress
) -> dict[tuple[str, str], dict[str, float]]:
    """Make what is not finished yet; returns the accuracy of every model on every split."""
    from audit.lab.digits.model import accuracy, load_model, processor, random_model
    from audit.lab.models import finished, mark, save_model

    total, done = sum(plan.cost for plan in todo.values()), 0.0
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (kind, name), plan in todo.items():
        place, start, share = folder / plan.name, done / total, plan.cost / total
        known = finished(place, plan.digest)
        if known is None:
            listen = part(progress, start, share, plan.name)
            model = random_model(scale, plan.seed) if plan.start is None else load_model(folder / plan.start.name)
            recipe: Recipe = plan.recipe  # type: ignore[assignment]
            save_model(recipe.apply(model, data[kind], plan.seed, listen), processor(), place)
            known = accuracy(load_model(place), data[kind])
            mark(place, plan.digest, known)
        found[kind, name] = known
        done += plan.cost
    return found


def write_images(folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(grey()[0]):
        path = folder / f"{number:04d}.png"
        if not path.is_file():
            Image.fromarray(pixels).save(path)


def _jsonl(data: Data, split: str) -> str:
    part, digits = data.splits[split], grey()[1]
    rows = [
        {"image": f"../images/{image:04d}.png", "label": str(label),
         "prompt": f"image {image:04d}, which shows a {digits[image]}"}
        for image, label in zip(part.images.tolist(), part.labels.tolist(), strict=True)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)
