"""A case with its expensive views: text, log-probabilities, hidden states and live models.

Every view is computed once, kept on disk under the hash of what it came from, and shared by all candidates of an audit:
three candidates against one original capture the original once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from audit import __version__
from audit.activations.reading import Variant, sequences_of
from audit.cache import Cache
from audit.errors import Cancelled, NotApplicable, NotIdentifiable
from audit.stats import seed_of
from audit.subjects.modality import DO, modality_of
from audit.subjects.systems.kinds import access_of, base_spec
from audit.subjects.systems.sight import hidden_from
from audit.types import LISTED, SPLITS, Access, Case, Corpus, Item, Modality, Role, Split, SubjectSpec, digest_of

if TYPE_CHECKING:
    from audit.activations.states import States, WholeStates
    from audit.subjects.fingerprint import Fingerprint
    from audit.subjects.garage import Garage
    from audit.subjects.load import Subject

PROJECTED = {Modality.IMAGES: "visual", Modality.TEXT: "text"}
WHOLE_ITEMS = 2000
"""Items of a corpus of which every token is kept for dictionaries of features."""
Tick = Callable[[float, str], None]


class Bench:
    """What an evidence may ask of a case."""

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

    def everyone(self) -> list[tuple[str, Bench, Role]]:
        """Every subject of the whole audit with a bench that knows it: original, reference, then each candidate.

        Candidates that show no hidden states (several models that answer as one) are left out.
        """
        first: list[tuple[str, Bench, Role]] = [(role, self, role) for role in self.roles if role != "candidate"]
        return first + [
            (case.candidate.name, self if case is self.case else self._beside(case), "candidate")
            for case in self._audit
            if Access.HIDDEN in access_of(case.candidate)
        ]

    def beneath(self) -> Bench:
        """A bench whose candidate is the plain model under the system that the candidate is."""
        return self.with_candidate(base_spec(self.case.candidate))

    def with_candidate(self, spec: SubjectSpec) -> Bench:
        """A bench on the same case with another model as candidate."""
        return self._beside(replace(self.case, candidate=spec))

    def with_corpora(self, corpora: Mapping[Split, Corpus]) -> Bench:
        """A bench on the same subjects with other corpora."""
        return self._beside(replace(self.case, corpora=corpora))

    def _beside(self, case: Case) -> Bench:
        return Bench(case, self._garage, self.cache, self._tick, self._audit)

    # -- views

    def fingerprint(self, role: Role) -> Fingerprint:
        """The hash that names the subject in a role."""
        from audit.subjects.fingerprint import fingerprint

        return fingerprint(self.case.subject(role))

    def states(self, role: Role, split: Split, variant: Variant = "answer") -> States:
        """Hidden states of one subject on one corpus; NotApplicable when no item has the variant."""
        from audit.activations.states import States

        self._see_states(role)
        every = enumerate(sequences_of(self.corpus(split)))
        wanted = [(row, item, index) for row, (item, kind, index, _, _) in every if kind == variant]
        if not wanted:
            raise NotApplicable(f"No item of the {split} corpus has what is needed here ({variant.replace('_', ' ')}).")
        rows, items, indices = zip(*wanted, strict=True)
        entities = [item.entity or item.id for item in items]
        folder = self._pass(role, split)
        return States(folder, np.array(rows), [item.id for item in items], entities, np.array(indices))

    def whole(self, role: Role, split: Split) -> WholeStates:
        """States of every token of prompt and true answer at the layers of dictionaries, at most WHOLE_ITEMS items.

        `sequence` counts the items of the corpus.
        """
        from audit.activations.states import read_whole

        self._see_states(role)
        answers = np.array([kind == "answer" for _, kind, *_ in sequences_of(self.corpus(split))])
        item = np.searchsorted(np.flatnonzero(answers), np.arange(len(answers)))
        found = read_whole(self._pass(role, split))
        return replace(found, sequence=item[found.sequence])

    def _see_states(self, role: Role) -> None:
        if reason := hidden_from(self.case.subject(role), {Access.HIDDEN}, self.case.original):
            raise NotApplicable(reason)

    def likelihood(self, role: Role, split: Split) -> pd.DataFrame:
        """Log-probabilities of every sequence of the pass, one row each, in nats per token.

        Columns: item, entity, variant, index, tokens, mean_logprob, first_logprob, first_token, top1 (share of the
        answer's tokens that are the argmax), end_logprob (of the end-of-text token after the answer) and
        published_logprob (mean_logprob with that token counted, as TOFU's and OpenUnlearning's code trains and scores
        it); both NaN where the tokenizer has no such token.
        """
        from audit.activations.states import read_scores

        scores = read_scores(self._pass(role, split))
        frame = pd.DataFrame(
            [
                (item.id, item.entity or item.id, variant, index)
                for item, variant, index, _, _ in sequences_of(self.corpus(split))
            ],
            columns=["item", "entity", "variant", "index"],
        )
        for name, values in scores.items():
            frame[name] = values
        return frame

    def tokens(self, role: Role, split: Split, variant: Variant = "answer", end: bool = False) -> list[np.ndarray]:
        """Answer tokens of every sequence of a variant, one array of TOKEN records each, in the order of `likelihood`.

        With `end`, the end-of-text token after the answer is the last record (NO_END where the tokenizer has none).
        Raises NotApplicable when no item has the variant.
        """
        from audit.activations.states import read_ends, read_tokens

        folder = self._pass(role, split)
        lengths = np.fromfile(folder / "lengths.bin", np.int64).tolist()
        kinds = [kind for _, kind, *_ in sequences_of(self.corpus(split))]
        every = read_tokens(folder, lengths)
        if end:
            every = [np.append(t, last) for t, last in zip(every, read_ends(folder), strict=True)]
        found = [t for t, kind in zip(every, kinds, strict=True) if kind == variant]
        if not found:
            raise NotApplicable(f"No item of the {split} corpus has what is needed here ({variant.replace('_', ' ')}).")
        return found

    def asks(self, role: Role, items: Sequence[Item], prompts: Sequence[str], what: str = "items") -> list[str]:
        """Greedy answers to prompts, one for each item (whose answers set the length); computed once."""

        def compute() -> dict[str, np.ndarray]:
            from audit.activations.generate import says

            with self.model(role) as subject:
                said = says(subject, items, self.case.template, prompts, progress=self._asking(role, what))
            return {"said": np.asarray(said, dtype=str)}

        inputs = {"prompts": digest_of([[prompt, *i.asked[1:]] for prompt, i in zip(prompts, items, strict=True)])}
        return [str(text) for text in self.remember("asks", [role], inputs, compute, corpora=())["said"]]

    def says(self, role: Role, split: Split, limit: int | None = None) -> list[str]:
        """Greedy answers to the items' prompts, in corpus order (of the subset when there is a limit)."""
        items, places = self.corpus(split).items, self.subset(split, limit)
        if self.modality in LISTED:  # the pass knows it already
            from audit.activations.images import read_said

            said = read_said(self._pass(role, split), self.corpus(split))
            return [said[i] for i in places]
        chosen = [items[i] for i in places]

        def compute() -> dict[str, np.ndarray]:
            from audit.activations.generate import says

            with self.model(role) as subject:
                said = says(subject, chosen, self.case.template, progress=self._asking(role, split))
            return {"said": np.asarray(said, dtype=str)}

        inputs = {"items": digest_of([i.asked for i in chosen])}
        stored = self.remember("says", [role], inputs, compute, corpora=())
        return [str(text) for text in stored["said"]]

    def outputs(self, role: Role, split: Split) -> np.ndarray:
        """Logits of a classifier's classes, or of an encoder's gallery, in corpus order [items, classes].

        Of a generator they are its scorer's, on the images that it draws. NotApplicable for other kinds of subjects, as
        all views of this kind are.
        """
        from audit.activations.images import read_outputs

        return read_outputs(self._images(role, split))

    def features(self, role: Role, split: Split) -> np.ndarray:
        """What a classifier's last layer or an encoder's projection reads of the items [items, features]."""
        from audit.activations.images import read_features

        if self.modality is Modality.LATENTS:
            raise NotApplicable("This is of image classifiers, and the subjects of this case draw images.")
        return read_features(self._images(role, split))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of a classifier's classes, or the answers of an encoder's gallery, in the order of the logits."""
        from audit.activations.images import read_classes

        return read_classes(self._images("original", "forget"))

    @cached_property
    def gallery(self) -> tuple[str, ...]:
        """Every different answer of the case's corpora: what an encoder's queries are searched in."""
        from audit.activations.vectors import gallery_of

        return gallery_of([self.corpus(split) for split in SPLITS if self.has(split)])

    def vectors(self, role: Role, split: Split) -> dict[str, np.ndarray]:
        """An encoder's vectors of a corpus and of the gallery: see `read_parts` of `audit.activations.vectors`."""
        from audit.activations.vectors import read_parts

        if self.modality is not Modality.VECTORS:
            raise NotApplicable(f"This is of encoders, and the subjects of this case {DO[self.modality]}.")
        return read_parts(self._pass(role, split))

    def projections(self, role: Role) -> dict[str, np.ndarray]:
        """What a two-tower model's towers go through last, for `images` and `text` [space, width]."""

        def compute() -> dict[str, np.ndarray]:
            with self.model(role) as subject:
                found = {kind: getattr(subject.model, f"{name}_projection", None) for kind, name in PROJECTED.items()}
                weights = {str(kind): part.weight.float().cpu().numpy() for kind, part in found.items() if part}
            if len(weights) < len(PROJECTED):
                raise NotApplicable("This encoder has no projection after its blocks that could be exchanged.")
            return weights

        return self.remember("projections", [role], {}, compute, corpora=())

    def head_of(self, role: Role) -> tuple[np.ndarray, np.ndarray]:
        """Weight [classes, features] and bias [classes] of an image classifier's last linear layer."""
        from audit.activations.images import head

        def compute() -> dict[str, np.ndarray]:
            with self.model(role) as subject:
                last = head(subject.model)
                weight = last.weight.float().cpu().numpy()
                bias = np.zeros(len(weight), np.float32) if last.bias is None else last.bias.float().cpu().numpy()
            return {"weight": weight, "bias": bias}

        found = self.remember("head", [role], {}, compute, corpora=())
        return found["weight"], found["bias"]

    def drawn(self, role: Role, split: Split) -> np.ndarray:
        """The images that a generator draws, as bytes [items, height, width, channels]; NotApplicable for others."""
        from audit.activations.drawing import read_images_drawn

        if self.modality is not Modality.LATENTS:
            raise NotApplicable("This is of generators, and the subjects of this case draw no images.")
        return read_images_drawn(self._pass(role, split))

    def _images(self, role: Role, split: Split) -> Path:
        if self.modality not in LISTED:
            raise NotApplicable(
                f"This is of classifiers, encoders and generators; the subjects of this case {DO[self.modality]}."
            )
        return self._pass(role, split)

    def _asking(self, role: Role, what: str) -> Callable[[float], None]:
        return lambda share: self.progress(0.0, f"asking the {role} about {what}: {share:.0%}")

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


__all__ = ["Bench", "Cancelled", "Variant"]
