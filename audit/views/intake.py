"""A new audit as a form holds it: checked field by field, then as a whole, before anything is loaded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit._caseevidence import placed
from audit._casepaths import below, place
from audit._caseseries import Checkpoint, check_series
from audit.casefile import AuditPlan, check_name, read_plan, write_plan
from audit.catalogue import CATALOGUE, by_default
from audit.corpora.files import READERS
from audit.errors import AuditError, CaseError
from audit.policy import load_policy
from audit.subjects.adapter import base_of
from audit.subjects.encoder import check_prompt
from audit.subjects.files import HUB, is_adapter
from audit.types import CORPORA, SubjectSpec
from audit.views import systems

REQUIRED = ("forget", "retain")


@dataclass(frozen=True)
class Draft:
    """What somebody typed."""

    name: str
    original: str
    reference: str
    candidates: tuple[tuple[str, str], ...]
    """Name and path of each."""
    corpora: Mapping[str, str]
    seed: int = 0
    template: str = "plain"
    only: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    second_reference: str = ""
    systems: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The entry of each candidate, by its name, that is no plain model: its kind and settings."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The candidates that are checkpoints of a series, with their steps."""
    embedding_prompt: str = ""
    """What texts are put into where language models are used as encoders; the same for every model."""
    scorers: Mapping[str, str] = field(default_factory=dict)
    """Of generators: `scorer`, `judge` and `images`, where given."""

    @property
    def empty(self) -> bool:
        """Whether nothing was typed yet."""
        return not any([self.original, self.reference, self.second_reference, self.candidates, *self.corpora.values()])


CHOICES = {"all": "everything", "verdict": "what the verdict rests on"}
FAMILIES = {
    "behaviour": "What it says", "utility": "What was to be kept", "drift": "Drift", "probes": "Probes",
    "sae": "SAE features", "privacy": "Privacy", "attacks": "Attacks", "concepts": "Concept vectors and weights",
}  # fmt: skip


def families() -> dict[str, list[str]]:
    """The catalogue by family, under the family's name in words."""
    found: dict[str, list[str]] = {}
    for id in CATALOGUE:
        found.setdefault(FAMILIES.get(id.split(".")[0], id.split(".")[0]), []).append(id)
    return found


def chosen_by(choice: str) -> list[str]:
    """The evidence that a choice of CHOICES stands for."""
    if choice == "verdict":
        return [id for rule in load_policy().rules.values() for id in rule.evidence]
    return by_default()


def problems(draft: Draft, root: Path) -> list[str]:
    """One sentence for each field that is wrong; every path must lie below `root`."""
    found: list[str] = []

    def attempt(check: Any, *arguments: Any) -> None:
        try:
            check(*arguments)
        except AuditError as error:
            found.append(str(error))

    if not draft.name.strip():
        found.append("The audit has no name; give it one that says what is audited.")
    attempt(_model, draft.original, "The original", root)
    if draft.reference:
        attempt(_model, draft.reference, "The reference", root)
    if draft.second_reference:
        attempt(_model, draft.second_reference, "The second reference", root)
        if not draft.reference:
            found.append("There is a second reference but no reference; give the first one too.")
    if draft.embedding_prompt:
        attempt(check_prompt, draft.embedding_prompt, "The audit")
    if not draft.candidates:
        found.append("There is no candidate; give at least one, with a name and a path.")
    seen: dict[str, str] = {}
    for number, (name, path) in enumerate(draft.candidates, start=1):
        attempt(check_name, name, dict(seen))
        seen[name.casefold()] = name
        attempt(_model, path, f"Candidate {name or number}", root)
        attempt(systems.placed, name, draft.systems.get(name, {}), root)
    attempt(check_series, draft.checkpoints)
    for checkpoint in draft.checkpoints:
        if (checkpoint.step or 0) < 0:
            found.append(f"The step of {checkpoint.name} is {checkpoint.step}; a series begins at step 0.")
    for name in ("scorer", "judge"):
        if draft.scorers.get(name):
            attempt(_model, draft.scorers[name], f"The {name}", root)
    if draft.scorers.get("images"):
        attempt(_corpus, draft.scorers["images"], "scorer's", root)
    for split in CORPORA:
        if draft.corpora.get(split) or split in REQUIRED:
            attempt(_corpus, draft.corpora.get(split, ""), split, root)
    for id, values in draft.settings.items():
        attempt(placed, id, values, root, root)
    return found


def _model(path: str, what: str, root: Path) -> None:
    if not path.strip():
        raise CaseError(f"{what} has no path; give a folder below {root} with config.json and safetensors files.")
    if not path.strip().startswith(HUB):
        found = below(root, root, path.strip(), what)
        if not found.exists():
            raise CaseError(f"{what} is not there: looked for {found}. A hub id is written as hub:owner/name.")
    place(path.strip(), what, root, root)


def _corpus(path: str, split: str, root: Path) -> None:
    what = f"The {split} corpus"
    if not path.strip():
        raise CaseError(f"{what} has no path; give a file ({', '.join(READERS)}) or an image folder below {root}.")
    if path.strip().startswith(HUB):
        return
    found = below(root, root, path.strip(), what)
    if not found.exists():
        raise CaseError(f"{what} is not there: looked for {found}.")


def case_data(draft: Draft, root: Path) -> dict[str, Any]:
    """The draft as the data of a case file, its paths absolute; call `problems` first."""

    def model(path: str, what: str) -> dict[str, str]:
        prompt = {"embedding_prompt": draft.embedding_prompt} if draft.embedding_prompt else {}
        return {"path": place(path.strip(), what, root, root), **prompt}

    subjects: dict[str, Any] = {"original": model(draft.original, "The original")}
    if draft.reference:
        subjects["reference"] = model(draft.reference, "The reference")
    if draft.second_reference:
        subjects["second_reference"] = model(draft.second_reference, "The second reference")
    for name in ("scorer", "judge"):
        if given := draft.scorers.get(name):
            subjects[name] = model(given, f"The {name}")
    if "scorer" in subjects and (images := draft.scorers.get("images")):
        subjects["scorer"]["images"] = str(below(root, root, images.strip(), "The images of the scorer"))
    subjects["candidates"] = [
        {
            "name": name,
            **model(path, name),
            **systems.placed(name, draft.systems.get(name, {}), root),
            **{
                key: value
                for c in draft.checkpoints
                if c.name == name
                for key, value in (("series", c.series), ("step", c.step))
            },
        }
        for name, path in draft.candidates
    ]
    corpora = {split: _file(path.strip(), split, root) for split, path in draft.corpora.items() if path.strip()}
    data: dict[str, Any] = {
        "name": draft.name.strip(),
        "seed": draft.seed,
        "template": draft.template,
        "subjects": subjects,
        "corpora": corpora,
    }
    evidence: dict[str, Any] = {id: placed(id, v, root, root) for id, v in draft.settings.items() if v}
    if draft.only:
        evidence["only"] = list(draft.only)
    return {**data, "evidence": evidence} if evidence else data


def _file(path: str, split: str, root: Path) -> str:
    return path if path.startswith(HUB) else str(below(root, root, path, f"The {split} corpus"))


def plan_of(draft: Draft, root: Path) -> AuditPlan:
    """The draft read as a case file would be; raises CaseError and CorpusError with a sentence."""
    return plan_from(case_data(draft, root), root)


def plan_from(data: Mapping[str, Any], root: Path) -> AuditPlan:
    """The data of a case file with absolute paths, read as that file would be; CaseError and CorpusError as there.

    The file itself lies outside of `root`, so what it names is checked here, the bases of adapters too.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.toml"
        write_plan(path, data)
        try:
            plan = read_plan(path)
        except CaseError as error:  # where the file lies for a moment tells nobody anything
            raise CaseError(str(error).removeprefix(f"{path}: ")) from error.__cause__
    for corpus in plan.corpora.values():
        for item in corpus.items:
            if item.image and item.image.path:
                below(root, root, item.image.path, f"An image of the {corpus.split} corpus")
    for spec in (part for one in subjects_of(plan) for part in (one, *systems.parts_of(one))):
        place(spec.path, f"The model of {spec.name}", root, root)
        if is_adapter(Path(spec.path)):
            place(base_of(spec, Path(spec.path)).path, f"The base that the adapter of {spec.name} names", root, root)
    return plan


def subjects_of(plan: AuditPlan) -> list[SubjectSpec]:
    """Original, the references that there are, and the candidates."""
    controls = [spec for spec in (plan.reference, plan.second_reference) if spec]
    return [plan.original, *controls, *plan.candidates]


def in_words(plan: AuditPlan) -> str:
    """Who will be asked what, for a last look before the run."""
    names = ", ".join(systems.in_words(candidate) for candidate in plan.candidates)
    corpora = "; ".join(
        f"{split}: {len(corpus)} items of {len(set(corpus.entities))} entities"
        for split, corpus in plan.corpora.items()
    )
    control = "with a reference" if plan.reference else "without a reference"
    return f"“{plan.name}”, {control}. Candidates: {names}. {corpora[:1].upper()}{corpora[1:]}."


def pair_problems(plan: AuditPlan) -> list[str]:
    """What keeps a subject from being compared with the original, a sentence each; reads the models' files."""
    from audit.subjects.checks import check_pair

    found: dict[str, None] = {}
    for spec in subjects_of(plan)[1:]:
        try:
            check_pair(spec, plan.original)
        except AuditError as error:
            found[str(error)] = None
    return list(found)


def stamps(plan: AuditPlan) -> tuple[int, ...]:
    """When the files of the models were changed last, in ns: what a check of them depends on."""
    folders = [Path(part.path) for one in subjects_of(plan) for part in (one, *systems.parts_of(one))]
    return tuple(max((f.stat().st_mtime_ns for f in folder.glob("*")), default=0) for folder in folders)


def changes(data: object, base: Path) -> tuple[tuple[str, int, int], ...]:
    """Every file, and every file of a folder, that a string in `data` names: path, time of change in ns, size."""
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, (list, tuple)):
        return tuple(one for value in data for one in changes(value, base))
    if not isinstance(data, str) or not data.strip():
        return ()
    try:
        path = base / data.strip()
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return tuple((str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files)
    except (OSError, ValueError):
        return ()  # no path, or none that is there


def folder_for(name: str, runs: Path) -> Path:
    """A run folder that does not exist yet, called like the audit."""
    slug = re.sub(r"[^\w-]+", "-", name.strip().lower()).strip("-")[:48] or "audit"
    candidates = (runs / (slug if number == 1 else f"{slug}-{number}") for number in range(1, 10_000))
    return next(path for path in candidates if not path.exists())
