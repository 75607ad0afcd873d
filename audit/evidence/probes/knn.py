"""Nearest neighbours: do the forgotten items still lie among retained items of the same label?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import probing
from audit.errors import CaseError
from audit.evidence.probes._labelled import Fit, Labelled, LabelRow, Read, Reader, chart, labelled, right
from audit.stats import panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

STATES, OUTPUTS = "hidden states", "outputs"


@dataclass(frozen=True)
class KNN:
    """The label that most of the nearest retained items of the same subject have, by cosine.

    Published numbers called k-NN are of two kinds that are kept apart here: on the penultimate state (the output of the
    last block at the last prompt token) and on the outputs (what the unembedding makes of that state, for the first
    tokens of the retained answers). A change of the unembedding alone shows in the second and never in the first. The
    headline is made of hidden states; the outputs have rows of their own.
    """

    title: ClassVar[str] = "Nearest neighbours"
    question: ClassVar[str] = "Do the states of forgotten items still lie among retained items of the same label?"
    blind_to: ClassVar[str] = (
        "A label that is stored in few directions: neighbours follow whatever varies most, such as the wording of a "
        "prompt, and then find nothing where a linear probe still reads everything."
    )
    formula: ClassVar[str] = (
        "label = majority among the k = 5 retain items of the same attribute with the highest cos(x, x_i), a tie to "
        "the nearest; x the hidden state at the last prompt token; headline = accuracy on forget, layer chosen on one "
        "half of the forget entities and scored on the other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = "Are We Truly Forgetting? 2025 (arXiv:2503.06991): k-NN with k = 5 and cosine distance"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.LOGITS})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = LabelRow
    chart: ClassVar[Chart] = chart("What the nearest retained items say, layer by layer")
    cost: ClassVar[float] = 0.3

    k: int = 5
    position: str = "prompt_last"
    nulls: int = 20
    outputs: bool = True
    """Whether the subjects are loaded once more for what their unembedding makes of the last state."""

    def __post_init__(self) -> None:
        probing.check_settings(self.position, 2, self.nulls)
        if self.k < 1:
            raise CaseError(f"k = {self.k}: without neighbours nothing is read; expected at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Read every layer of every subject; raises NotApplicable when items have no labels."""
        made = labelled(bench, 5, self.nulls)
        read = {role: self._states(made, role) for role in bench.roles}
        last = len(read["original"]["forget"]) - 1
        rows = [row for role in bench.roles for row in made.rows(role, read[role], STATES)]
        if self.outputs:
            said = {role: self._outputs(made, role) for role in bench.roles}
            rows += [row for role in bench.roles for row in made.rows(role, said[role], OUTPUTS, last)]
        found = panel(bench, made.score(read))
        note = f"Share of forgotten labels that the nearest retained items have: {probing.compared(found)}."
        return Reading(rows, found, note + _apart(rows, last) + made.unread)

    def _states(self, made: Labelled, role: Role) -> Read:
        inputs = {"k": self.k, "position": self.position, "nulls": self.nulls}
        return made.bench.remember(
            "probes.knn", [role], inputs, lambda: made.sweep(role, self.position, [role], nearest(self.k))
        )

    def _outputs(self, made: Labelled, role: Role) -> Read:
        """As `_states`, on the logits of the last block: one layer."""

        def compute() -> dict[str, NDArray[np.float64]]:
            at = logits(made, role, self.position)
            result = made.blank(1)
            made.read(result, 0, [at["retain"]], at, nearest(self.k))
            return result

        inputs = {"k": self.k, "position": self.position, "nulls": self.nulls}
        return made.bench.remember("probes.knn outputs", [role], inputs, compute)


def nearest(k: int) -> Fit:
    """A reader that asks the k nearest training rows; fewer when there are fewer."""

    def fit(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
        from sklearn.neighbors import NearestNeighbors

        index = NearestNeighbors(n_neighbors=min(k, len(train[0])), metric="cosine", algorithm="brute").fit(train[0])

        def read(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            places = index.kneighbors(features, return_distance=False)
            return right(vote(task.labels[:, places], len(task.classes)), truth)

        return read

    return fit


def vote(labels: NDArray[np.intp], classes: int) -> NDArray[np.intp]:
    """The most frequent label [..., neighbours], nearest first → [...]; a tie goes to the nearest neighbour's side."""
    counts = np.zeros((*labels.shape[:-1], classes))
    for place in range(labels.shape[-1]):
        # Halves sum to less than one: they decide between equal counts and nothing else.
        counts += np.eye(classes)[labels[..., place]] * (1 + 0.5 ** (place + 2))
    return np.asarray(counts.argmax(-1))


def logits(made: Labelled, role: Role, position: str) -> dict[Split, NDArray[np.float32]]:
    """Logits of the first tokens of all retained answers after the last block [items, tokens], per split.

    Of a classifier the logits of its classes, of a generator its scorer's, of an encoder the vectors themselves.
    """
    if made.bench.modality in (
        Modality.IMAGES,
        Modality.LATENTS,
    ):  # the pass keeps the logits of classes, which are few
        return {split: made.bench.outputs(role, split) for split in made.scored}
    if made.bench.modality is Modality.VECTORS:
        return {split: made.bench.vectors(role, split)["queries"] for split in made.scored}
    import torch

    from audit.activations.capture import LOGIT_BUDGET
    from audit.activations.layers import head

    rows = made.bench.likelihood(role, "retain")
    tokens = np.unique(rows.loc[rows["variant"] == "answer", "first_token"].to_numpy(np.int64))
    found: dict[Split, NDArray[np.float32]] = {}
    with made.bench.model(role) as subject, torch.inference_mode():
        project = head(subject.model)
        step = max(1, LOGIT_BUDGET // int(subject.model.config.get_text_config().vocab_size))
        for split in made.scored:
            states = made.bench.states(role, split)
            last = torch.from_numpy(states.at(states.layers - 1, position)).to(subject.device)
            parts = [project(part)[:, tokens].float().cpu().numpy() for part in last.split(step)]
            found[split] = np.concatenate(parts)
    return found


def _apart(rows: Sequence[LabelRow], last: int) -> str:
    """The penultimate state beside the outputs, for the candidate, in words."""
    own = {r.kind: r.accuracy for r in rows if (r.subject, r.split, r.layer) == ("candidate", "forget", last)}
    words = f" In the candidate, on the penultimate state alone: {own[STATES]:.0%}"
    if OUTPUTS in own:
        words += f"; on the outputs: {own[OUTPUTS]:.0%}"
    return words.replace("%", " %") + "."
