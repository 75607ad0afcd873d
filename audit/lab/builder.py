"""From a scale and a seed to a folder: corpora, models, case file and truth table, in the order they are needed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audit.errors import CaseError, suggest
from audit.lab.dictionaries import SIZES, add_dictionaries
from audit.lab.people import Corpora, Fact, people
from audit.lab.recipes import RECIPES
from audit.lab.recipes.recipe import Recipe
from audit.lab.recipes.retrain import Retrain
from audit.lab.scales import SCALES, Scale
from audit.lab.train import Progress, part
from audit.lab.truth import check, truth_toml
from audit.lab.words import REFUSALS

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

    from audit.lab.data import Data

THREADS = 2
"""At most; in models this small more threads only wait for each other."""


@dataclass(frozen=True)
class Plan:
    """One model to be made: its name, its recipe, its seed, and the model it starts from."""

    name: str
    recipe: Recipe
    seed: int
    start: Plan | None
    common: str
    """What all models of the build depend on, as text."""

    @property
    def digest(self) -> str:
        """A fingerprint of everything that the model depends on."""
        settings = dataclasses.asdict(self.recipe)  # type: ignore[call-overload]
        start = self.start.digest if self.start else ""
        parts = [self.common, type(self.recipe).__name__, settings, self.seed, start]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def cost(self) -> float:
        """How long it takes, relative to the others."""
        return float(self.recipe.steps) * (2 if self.start else 1)


def checked(scenario: str, scenarios: Iterable[str], scale: str, seed: int) -> None:
    """Raise CaseError, with a suggestion, for a request that no build can answer."""
    if scenario not in scenarios:
        raise CaseError(f'Unknown scenario "{scenario}".{suggest(scenario, scenarios)}')
    if scale not in SCALES:
        raise CaseError(f'Unknown scale "{scale}".{suggest(scale, SCALES)}')
    if seed < 0:
        raise CaseError(f"The seed is {seed}; it must be 0 or larger.")


def build_people(out: Path, *, seed: int, scale_name: str, progress: Progress) -> Path:
    """Build the scenario of the fictitious people; `audit.lab.build` is the way in."""
    scale = SCALES[scale_name]
    title = f"People: {scale.forget} to forget, {scale.retain} to keep"
    return build_facts(out, seed, scale_name, scale, people(scale, seed), title, progress)


def build_facts(
    out: Path,
    seed: int,
    scale_name: str,
    scale: Scale,
    corpora: Corpora,
    title: str,
    progress: Progress,
    recipes: Mapping[str, type[Recipe]] = RECIPES,
    sizes: Mapping[str, Mapping[str, int]] = SIZES,
) -> Path:
    """Build a scenario of facts in words: corpora, models, truth table, dictionaries and case file below `out`."""
    from audit.lab.models import write

    progress(0.0, "writing the corpora")
    for split, facts in corpora.items():
        write(out / f"{split}.jsonl", _jsonl(facts))
    with at_most(THREADS):
        recall = make_all(plans(scale, seed, corpora, recipes), out / "models", scale, corpora, progress)
    check(recall)
    write(out / "truth.toml", truth_toml())
    case = out / "case.toml"
    write(case, case_toml(title, seed, recipes))
    with at_most(THREADS):
        saes = add_dictionaries(case, sizes[scale_name], lambda share, message: progress(1.0, message))
    write(case, case_toml(title, seed, recipes, saes))
    progress(1.0, "done")
    return case


def plans(scale: Scale, seed: int, corpora: Corpora, recipes: Mapping[str, type[Recipe]] = RECIPES) -> list[Plan]:
    """The models of a build: the original first, then the reference and the candidates in order."""
    common = json.dumps([dataclasses.asdict(scale), corpora], sort_keys=True)
    original = Plan("original", _training(scale, forget=True), 1000 * seed, None, common)
    made = [original, Plan("reference", _training(scale), 1000 * seed + 1, None, common)]
    for i, (name, recipe) in enumerate(recipes.items(), start=2):
        if recipe is Retrain:
            made.append(Plan(name, _training(scale), 1000 * seed + i, None, common))
        else:
            made.append(Plan(name, recipe(), 1000 * seed + i, original, common))
    return made


def case_toml(title: str, seed: int, candidates: Iterable[str] = RECIPES, dictionaries: Sequence[str] = ()) -> str:
    """The case file: every candidate of the build against the original and the reference."""
    lines = [
        f'name = "{title}"',
        f"seed = {seed}",
        "",
        "[subjects.original]",
        'path = "models/original"',
        "",
        "[subjects.reference]",
        'path = "models/reference"',
    ]
    for name, path in [("untouched", "original"), *((name, name) for name in candidates)]:
        lines += ["", "[[subjects.candidates]]", f'name = "{name}"', f'path = "models/{path}"']
    lines += ["", "[corpora]", *(f'{split} = "{split}.jsonl"' for split in ("forget", "retain", "holdout"))]
    for path in dictionaries:
        lines += ["", "[[dictionaries]]", f'path = "{path}"']
    return "\n".join(lines) + "\n"


def _training(scale: Scale, forget: bool = False) -> Retrain:
    return Retrain(steps=scale.steps, batch=scale.batch, lr=scale.lr, forget=forget)


def make_all(
    todo: list[Plan], folder: Path, scale: Scale, corpora: Corpora, progress: Progress
) -> dict[str, dict[str, float]]:
    """Make what is not finished yet; returns the recall of every model on every split."""
    from audit.lab.models import finished

    recalls: dict[str, dict[str, float]] = {}
    kitchen: Kitchen | None = None
    total, done = sum(plan.cost for plan in todo), 0.0
    for plan in todo:
        found = finished(folder / plan.name, plan.digest)
        if found is None:
            progress(done / total, f"{plan.name}: getting ready")
            kitchen = kitchen or Kitchen.open(folder, scale, corpora)
            found = kitchen.make(plan, part(progress, done / total, plan.cost / total, plan.name))
        recalls[plan.name] = found
        done += plan.cost
        progress(done / total, f"{plan.name}: finished")
    return recalls


@dataclass(frozen=True)
class Kitchen:
    """What every recipe of a build needs at hand."""

    folder: Path
    scale: Scale
    corpora: Corpora
    tokenizer: PreTrainedTokenizerBase
    data: Data

    @staticmethod
    def open(folder: Path, scale: Scale, corpora: Corpora) -> Kitchen:
        """Train the tokenizer and encode the corpora."""
        from audit.lab.data import encode_corpora
        from audit.lab.tokenizer import train_tokenizer

        tokenizer = train_tokenizer(corpora, scale.vocabulary)
        return Kitchen(folder, scale, corpora, tokenizer, encode_corpora(tokenizer, corpora, REFUSALS))

    def make(self, plan: Plan, progress: Progress) -> dict[str, float]:
        """Make one model, save it, measure what was saved, and only then mark it as finished."""
        from audit.lab.models import load_model, mark, save_model
        from audit.lab.recall import recall

        model = plan.recipe.apply(self._start(plan), self.data, plan.seed, progress)
        folder = self.folder / plan.name
        save_model(model, self.tokenizer, folder)
        saved = load_model(folder)
        said = {split: recall(saved, self.tokenizer, facts) for split, facts in self.corpora.items()}
        mark(folder, plan.digest, said)
        return said

    def _start(self, plan: Plan) -> LlamaForCausalLM:
        from audit.lab.models import load_model, model_config, random_model

        if plan.start is None:
            return random_model(model_config(self.scale, self.tokenizer), plan.seed)
        return load_model(self.folder / plan.start.name)


def _jsonl(facts: list[Fact]) -> str:
    return "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Compute with at most so many threads, and put back what was set before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
