"""The nouns of Palimpsest: item, corpus, subject, case, evidence, finding, verdict.

Standard library, numpy and pandas only, so that a page or a script can read findings without loading a model library.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from audit.bench import Bench

Split = Literal["forget", "retain", "holdout", "real_authors", "world_facts"]
SPLITS: tuple[Split, ...] = ("forget", "retain", "holdout")
"""What every evidence may look at; the other corpora are general knowledge, which model utility alone asks for."""
CORPORA: tuple[Split, ...] = get_args(Split)
Role = Literal["original", "candidate", "reference", "second reference"]
ROLES: tuple[Role, ...] = ("original", "candidate", "reference")
SECOND: Role = "second reference"
"""Another model that never knew: only measures of drift look at it, to show how far two such models lie apart."""
RESERVED = frozenset(
    {
        *ROLES, SECOND, "null", "floor", "chance", "evidence", "family", "feature", "block",
        "layer", "item", "entity", "attribute", "prompt", "answer", "split", "subject", "score", "measure",
        "strongest at", "came back", "came back in",
    }
)  # fmt: skip
"""What columns of tables are called that have one for each candidate too, so that no candidate can be; casefolded."""
Place = Literal["said", "stored", "recoverable", "utility"]
PLACES: tuple[Place, ...] = get_args(Place)


class Access(StrEnum):
    """How deep an evidence must look into a subject."""

    TEXT = "text"
    LOGITS = "logits"
    HIDDEN = "hidden states"
    WEIGHTS = "weights"


class Status(StrEnum):
    """Whether a finding holds a number, and if not, why not."""

    MEASURED = "measured"
    NOT_APPLICABLE = "not_applicable"
    NOT_IDENTIFIABLE = "not_identifiable"
    SKIPPED = "skipped"
    FAILED = "failed"
    IMPORTED = "imported"
    """Another tool's number: it has no control of ours, and no verdict counts it."""


class Verdict(StrEnum):
    """What a policy concludes about a candidate's knowledge."""

    PRESENT = "present"
    SUPPRESSED = "suppressed"
    NO_TRACE = "no_trace"
    INCONCLUSIVE = "inconclusive"


class Modality(StrEnum):
    """What a subject is shown, and so which questions can be put to it."""

    TEXT = "text"
    IMAGES = "images"
    """Images that are sorted into classes."""
    VECTORS = "vectors"
    """Texts, or images and texts, that are turned into vectors and found again by nearness."""
    IMAGE_TEXT = "images and text"
    """An image and a question about it, answered in words."""
    LATENTS = "latents"
    """Vectors from which images are made."""


BOTH = frozenset({Modality.TEXT, Modality.IMAGES, Modality.VECTORS, Modality.LATENTS})
"""What an evidence reads that looks at a subject through the views of the bench alone."""
ANSWERING = frozenset({Modality.TEXT, Modality.IMAGES, Modality.VECTORS})
"""What an evidence reads that needs the subject's own answer, to train on it or to weigh it; of what a generator draws
another model says what it is."""
LATENTS_ONLY = frozenset({Modality.LATENTS})
IMAGES_ONLY = frozenset({Modality.IMAGES})
SORTING = frozenset({Modality.IMAGES, Modality.VECTORS})
"""Kinds whose answers are one of a known list, so that a pass holds the scores of all of them."""
LISTED = SORTING | {Modality.LATENTS}
"""Those, and generators, of whose images a scorer says which of its classes they show."""
VECTORS_ONLY = frozenset({Modality.VECTORS})


class Utility(StrEnum):
    """What a policy concludes about everything that was to be kept."""

    KEPT = "kept"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Picture:
    """The image of an item: a hash of its bytes, and where these are; pixels are read when they are wanted."""

    digest: str
    place: str
    """Where it stands in the corpus, for the sentence on an image that cannot be read."""
    path: str = ""
    data: bytes = field(default=b"", repr=False)
    """The bytes themselves where the corpus holds them; else empty, and `path` names the file."""


@dataclass(frozen=True)
class Latent:
    """What a generator draws an image from: a seed, or the vector itself where there is one."""

    seed: int = 0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Item:
    """One fact: a prompt and the answer that was to be forgotten, kept, or never seen."""

    id: str
    """`<split>:<index>`, the key that joins every table."""
    prompt: str
    answer: str
    paraphrases: tuple[str, ...] = ()
    paraphrased_answer: str | None = None
    wrong_answers: tuple[str, ...] = ()
    entity: str | None = None
    attribute: str | None = None
    label: str | None = None
    image: Picture | None = None
    """What is shown instead of the prompt to a model that reads images; the answer is then the name of its class."""
    worded: bool = False
    """Whether the image is shown with the prompt, and the answer to both is put in words."""
    text_prompt: str | None = None
    """The same question without the image, which names what the image shows."""
    latent: Latent | None = None
    """What a generator draws from, under the condition `label`; the answer is the class that a scorer should see."""

    @property
    def asked(self) -> list[str]:
        """Question, answer and image, as they enter the key of what is remembered of an item."""
        return [self.prompt, self.answer, *([self.image.digest] if self.image else [])]


LATER = frozenset({"image", "worded", "text_prompt", "latent"})
"""Fields that enter a digest only where an item has them, so that digests of older corpora stay."""


@dataclass(frozen=True)
class Corpus:
    """The items of one split, in file order."""

    split: Split
    items: tuple[Item, ...]
    source: str

    def __len__(self) -> int:
        return len(self.items)

    @property
    def entities(self) -> list[str]:
        """The entity of each item; an item without one is its own entity."""
        return [item.entity or item.id for item in self.items]

    @property
    def modality(self) -> Modality:
        """What its items are: images or latents where every one has such, questions about images, else texts."""
        if any(item.worded for item in self.items):
            return Modality.IMAGE_TEXT
        if self.items and all(item.latent for item in self.items):
            return Modality.LATENTS
        return Modality.IMAGES if self.items and all(item.image for item in self.items) else Modality.TEXT

    @property
    def pictured(self) -> bool:
        """Whether every item has an image, whatever it has besides."""
        return bool(self.items) and all(item.image for item in self.items)

    @cached_property
    def digest(self) -> str:
        """Hash of everything that a measurement could depend on."""
        names = [name for name in Item.__dataclass_fields__ if name not in LATER]
        rows = [
            [
                *(getattr(item, name) for name in names),
                *([item.image.digest] if item.image else []),
                *([["worded", item.text_prompt]] if item.worded or item.text_prompt else []),
                *([item.latent.seed, list(item.latent.values)] if item.latent else []),
            ]
            for item in self.items
        ]
        return digest_of([self.split, rows])


@dataclass(frozen=True)
class SubjectSpec:
    """How to find and load one model; `name` is what people read."""

    name: str
    role: Role
    path: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    series: str = ""
    """The run or the sequence of requests that a candidate is a checkpoint of; empty where it stands alone."""
    step: int = 0
    """Its place in the series: steps of unlearning, or requests so far."""


@dataclass(frozen=True)
class DictionarySpec:
    """How to find a dictionary of features, a folder or a release and id, and the block whose output it reads."""

    layer: int
    path: str = ""
    release: str = ""
    id: str = ""


@dataclass(frozen=True)
class Case:
    """One candidate with its original, reference and corpora."""

    name: str
    seed: int
    original: SubjectSpec
    candidate: SubjectSpec
    reference: SubjectSpec | None
    corpora: Mapping[Split, Corpus]
    template: str = "plain"
    dictionaries: tuple[DictionarySpec, ...] = ()
    second_reference: SubjectSpec | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that are filled, in the order in which every table shows them."""
        return tuple(role for role in ROLES if getattr(self, role) is not None)

    @property
    def compared(self) -> tuple[Role, ...]:
        """The filled roles of which measures of drift have rows: the second reference too, where there is one."""
        return (*self.roles, SECOND) if self.second_reference is not None else self.roles

    def subject(self, role: Role) -> SubjectSpec:
        """The subject in a role; KeyError when the case has none."""
        spec = getattr(self, role.replace(" ", "_"))
        if spec is None:
            raise KeyError(role)
        return spec  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, the null it is read against, and the number of entities behind it."""

    value: float
    low: float
    high: float
    null: float
    n: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high)):
            raise ValueError(f"an estimate must be finite, found {self}")


@dataclass(frozen=True)
class Residual:
    """What is left on the scale 1 = as in the original, 0 = as if never learned."""

    value: float
    low: float
    high: float
    quantiles: tuple[float, ...] = ()
    """Quantiles of the bootstrap distribution at `stats.GRID`; a policy of any limit reads its p-value from them."""


@dataclass(frozen=True)
class Chart:
    """A plot as data: which columns go where; `audit.figures` draws it."""

    kind: Literal["line", "bar", "scatter", "heat"]
    x: str
    y: str
    color: str = "subject"
    low: str | None = None
    high: str | None = None
    null: str | None = None
    """Column that holds chance or another null, drawn as a dotted line."""
    facet: str | None = None
    hover: tuple[str, ...] = ()
    x_title: str = ""
    y_title: str = ""
    title: str = ""


@dataclass(frozen=True)
class Reading:
    """What an evidence returns: the table people read, and the panel that the statistics are made from."""

    rows: Sequence[tuple[Any, ...]]
    panel: Any
    """`audit.stats.Panel`."""
    note: str = ""
    """One sentence that the page shows above the table: what was found, in words."""


class Evidence(Protocol):
    """One question put to a case; fields are settings, class variables describe it, `measure` answers."""

    title: ClassVar[str]
    question: ClassVar[str]
    blind_to: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    place: ClassVar[Place]
    needs: ClassVar[frozenset[Access]]
    row: ClassVar[type]
    chart: ClassVar[Chart]
    # `reads: ClassVar[frozenset[Modality]]`, where an evidence has it, says which subjects it can be put to; without it
    # language models alone (`audit.subjects.modality.readable`).
    cost: ClassVar[float]
    """Rough work for one subject in units of one forward pass over the corpora; only for estimates of time."""

    def measure(self, bench: Bench) -> Reading:
        """Answer the question; raises NotApplicable or NotIdentifiable when there is no number."""
        ...


@dataclass(frozen=True)
class Finding:
    """A stored, self-describing answer."""

    id: str
    status: Status
    reason: str
    settings: Mapping[str, Any]
    table: pd.DataFrame
    items: pd.DataFrame
    """Per-item scores of every subject, columns of `stats.ITEM_COLUMNS`; empty where the evidence is not per item."""
    chart: Chart
    original: Estimate | None
    candidate: Estimate | None
    reference: Estimate | None
    residual: Residual | None
    seconds: float
    provenance: Mapping[str, Any]
    place: Place = "stored"
    null: str = ""
    """Which null the numbers are read against: reference, holdout or chance."""
    note: str = ""


def digest_of(value: Any) -> str:
    """A short, stable hash of anything that JSON can hold."""
    text = json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"cannot hash a {type(value).__name__}")
