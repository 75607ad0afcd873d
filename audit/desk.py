"""What stands under the views of a case: its subjects and corpora, the cache, the one forward pass, live models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from audit import __version__
from audit.cache import Cache
from audit.errors import NotApplicable, NotIdentifiable
from audit.stats import seed_of
from audit.subjects.modality import modality_of
from audit.subjects.systems.kinds import access_of, base_spec
from audit.types import SPLITS, Access, Case, Corpus, Modality, Role, Split, SubjectSpec, digest_of

if TYPE_CHECKING:
    from audit.subjects.fingerprint import Fingerprint
    from audit.subjects.garage import Garage
    from audit.subjects.load import Subject

WHOLE_ITEMS = 2000
"""Items of a corpus of which every token is kept for dictionaries of features."""
Tick = Callable[[float, str], None]


class Desk:
    """A case at work. Evidence asks its `Bench`, which adds the views."""

    def __init__(
        self,
        case: Case,
        garage: Garage,
        cache: Cache | None = None,
        tick: Tick | None = None,
        audit: Sequence[Case] = (),
    ) -> None:
        self.case = case
        self.seed = case.seed
        self.cache = cache or Cache()
        self._garage = garage
        self._tick: Tick = tick or (lambda fraction, message: None)
        self._audit = tuple(audit) or (case,)

    # -- what the case holds

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that are filled."""
        return self.case.roles

    @property
    def compared(self) -> tuple[Role, ...]:
        """The filled roles and, last, the second reference where there is one: whom measures of drift compare."""
        return self.case.compared

    @property
    def null(self) -> Literal["reference", "holdout"]:
        """What the candidate is read against; raises NotIdentifiable when the case has no control at all."""
        if self.case.reference is not None:
            return "reference"
        if self.has("holdout"):
            return "holdout"
        raise NotIdentifiable(
            "There is no control: give a reference (a model trained without the forget set) or a holdout corpus "
            "(facts of the same kind that no model ever saw). Without one, no number would mean anything."
        )

    @property
    def splits(self) -> tuple[Split, ...]:
        """The corpora that a panel is made from: the holdout only where it is the null; raises as `null`."""
        return ("forget",) if self.null == "reference" else ("forget", "holdout")

    @cached_property
    def modality(self) -> Modality:
        """What the subjects of the case are shown."""
        return modality_of(self.case.original)

    def has(self, split: Split) -> bool:
        """Whether the case has a corpus for a split."""
        return split in self.case.corpora

    def corpus(self, split: Split) -> Corpus:
        """The corpus of a split; raises NotApplicable when the case has none."""
        if split not in self.case.corpora:
            raise NotApplicable(f"This case has no {split} corpus.")
        return self.case.corpora[split]

    def subset(self, split: Split, limit: int | None = None) -> np.ndarray:
        """Indices of at most `limit` items, spread evenly over the entities, in corpus order; the same every time."""
        corpus = self.corpus(split)
        if limit is None or len(corpus) <= limit:
            return np.arange(len(corpus))
        order = self.rng("subset", split).permutation(len(corpus))
        entities = np.asarray(corpus.entities)
        turn = pd.Series(entities[order]).groupby(entities[order]).cumcount().to_numpy()
        return np.sort(order[np.argsort(turn, kind="stable")][:limit])

    def everyone(self) -> list[tuple[str, Self, Role]]:
        """Every subject of the whole audit with a bench that knows it: original, reference, then each candidate.

        Candidates that show no hidden states (several models that answer as one) are left out.
        """
        first: list[tuple[str, Self, Role]] = [(role, self, role) for role in self.roles if role != "candidate"]
        return first + [
            (case.candidate.name, self if case is self.case else self._beside(case), "candidate")
            for case in self._audit
            if Access.HIDDEN in access_of(case.candidate)
        ]

    def beneath(self) -> Self:
        """A bench whose candidate is the plain model under the system that the candidate is."""
        return self.with_candidate(base_spec(self.case.candidate))

    def with_candidate(self, spec: SubjectSpec) -> Self:
        """A bench on the same case with another model as candidate."""
        return self._beside(replace(self.case, candidate=spec))

    def with_corpora(self, corpora: Mapping[Split, Corpus]) -> Self:
        """A bench on the same subjects with other corpora."""
        return self._beside(replace(self.case, corpora=corpora))

    def _beside(self, case: Case) -> Self:
        return type(self)(case, self._garage, self.cache, self._tick, self._audit)

    @cached_property
    def gallery(self) -> tuple[str, ...]:
        """Every different answer of the case's corpora: what an encoder's queries are searched in."""
        from audit.activations.vectors import gallery_of

        return gallery_of([self.corpus(split) for split in SPLITS if self.has(split)])

    def fingerprint(self, role: Role) -> Fingerprint:
        """The hash that names the subject in a role."""
        from audit.subjects.fingerprint import fingerprint

        return fingerprint(self.case.subject(role))

    # -- what is computed once

    def remember(
        self,
        name: str,
        roles: Sequence[Role],
        inputs: Mapping[str, Any],
        compute: Callable[[], Mapping[str, np.ndarray]],
        corpora: Sequence[Split] | None = None,
    ) -> dict[str, np.ndarray]:
        """Arrays computed once for these subjects, corpora (the SPLITS of the case unless named) and inputs."""
        used = [split for split in SPLITS if self.has(split)] if corpora is None else corpora
        key = digest_of(
            [
                "view",
                __version__,
                name,
                [self.fingerprint(role).id for role in roles],
                dict(inputs),
                self.seed,
                {split: self.corpus(split).digest for split in used},
                self.case.template,
                self._garage.number_format,
            ]
        )
        return self.cache.arrays(key, compute)

    def _pass(self, role: Role, split: Split) -> Path:
        """The folder of the one forward pass of a subject over a corpus."""
        corpus = self.corpus(split)
        fingerprint = self.fingerprint(role)
        key = digest_of(
            [
                "pass",
                sorted({d.layer for d in self.case.dictionaries}),
                __version__,
                fingerprint.id,
                fingerprint.tokenizer,
                corpus.digest,
                self.case.template,
                self._garage.number_format,
                *([digest_of(self.gallery)] if self.modality is Modality.VECTORS else []),
            ]
        )

        def fill(partial: Path) -> None:
            from audit.activations.reading import read_corpus

            whole = tuple(int(i) for i in self.subset(split, WHOLE_ITEMS))
            named = tuple(sorted({d.layer for d in self.case.dictionaries}))
            with self.model(role) as subject:
                read_corpus(
                    subject,
                    corpus,
                    self.case.template,
                    partial,
                    whole=whole,
                    layers=named,
                    progress=lambda share: self.progress(0.0, f"reading the {role} on {split}: {share:.0%}"),
                )

        return self.cache.folder(key, fill)

    # -- live models

    @contextmanager
    def model(self, role: Role, *, quantize: Literal["int8", "nf4"] | None = None) -> Iterator[Subject]:
        """A loaded subject that must not be changed; it stays loaded as long as there is room."""
        with self._garage.lend(self._named(role), quantize=quantize) as subject:
            yield replace(subject, classes=self.gallery) if subject.encoding else subject

    def lend(self, spec: SubjectSpec) -> AbstractContextManager[Subject]:
        """A loaded model beside the subjects, such as the judge of what a generator draws; not to be changed either."""
        return self._garage.lend(spec)

    @contextmanager
    def private_model(self, role: Role) -> Iterator[Subject]:
        """A fresh copy that may be trained or edited; its memory is given back on leaving."""
        with self._garage.private(self._named(role)) as subject:
            if subject.encoding:
                subject.classes = self.gallery
            yield subject

    def _named(self, role: Role) -> SubjectSpec:
        return self.case.subject(role)

    # -- the run around it

    def progress(self, fraction: float, message: str = "") -> None:
        """Report progress within this evidence, 0 to 1; raises Cancelled when the user asked to stop."""
        self._tick(fraction, message)

    def rng(self, *names: object) -> np.random.Generator:
        """A random generator that depends on the case's seed and the names alone."""
        return np.random.default_rng(self.torch_seed(*names))

    def torch_seed(self, *names: object) -> int:
        """A seed for torch that depends on the case's seed and the names alone."""
        return seed_of(self.seed, *names) % 2**63
