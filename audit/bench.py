"""What an evidence may ask of a case: text, log-probabilities, hidden states, answers, images.

Every view is computed once, kept on disk under the hash of what it came from, and shared by all candidates of an audit:
three candidates against one original capture the original once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from audit.activations.reading import Variant, sequences_of
from audit.desk import Desk
from audit.errors import NotApplicable
from audit.subjects.modality import DO
from audit.subjects.systems.sight import hidden_from
from audit.types import LISTED, Access, Item, Modality, Role, Split, digest_of

if TYPE_CHECKING:
    from audit.activations.states import States, WholeStates

PROJECTED = {Modality.IMAGES: "visual", Modality.TEXT: "text"}


class Bench(Desk):
    """A case and its views."""

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
        """States of every token of prompt and true answer at the layers of dictionaries, of at most WHOLE_ITEMS items.

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
