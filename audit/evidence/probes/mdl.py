"""Description length: how many bits does it take to learn and to write down the forgotten labels?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.errors import CaseError
from audit.evidence.probes._labelled import Fit, Labelled, Read, Reader, cut, labelled, trainable
from audit.stats import Panel, panel
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

PIECES = 16
"""Retained entities are cut into this many pieces, of which a smaller probe gets the first few."""
TEMPERATURES = np.geomspace(0.1, 100, 25)
FLOOR = 0.01


class MDLRow(NamedTuple):
    """One layer of one subject on one split."""

    layer: Annotated[int, "0 is the input of the first block, i the output of block i"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus whose items were read; on retain, each by training on the other half of its entities"]
    bits: Annotated[float, "code length in bits per item, mean over the probes of all sizes"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    uniform: Annotated[float, "bits per item of the uniform code, which knows the labels' names only"]
    compression: Annotated[float, "uniform bits over bits: 1 = nothing is known"]
    shuffled: Annotated[float, "bits per item of the same code trained on labels dealt to other entities"]
    items: Annotated[int, "number of items coded"]
    entities: Annotated[int, "number of entities among them"]


@dataclass(frozen=True)
class MDL:
    """The code length of the labels under probes trained on a growing share of the retained entities.

    Accuracy asks whether a label can be read at all, the code length also how sure and how easy: a probe that needs
    fewer examples has a shorter code. Online coding as published codes the training labels themselves; here the labels
    of other facts are coded, with the probe of every block in turn, for no forget entity may be trained on. No item
    costs more than under the uniform code: else a probe that is sure and wrong, as it is in a model that never knew,
    would cost more than states that say nothing, and those would look like knowledge beside it. What guessing gains by
    this is in the null and in the shuffled column too. The temperature of a probe is chosen on left-out entities.
    """

    title: ClassVar[str] = "Description length"
    question: ClassVar[str] = "How many bits do the hidden states save when the forgotten labels are written down?"
    blind_to: ClassVar[str] = (
        "Knowledge that is stored in another form than that of the retained facts or that is not linear; and labels "
        "that retained facts do not share."
    )
    formula: ClassVar[str] = (
        "score of an item = mean over parts b of log2 K - bits_b, bits_b = min(log2 K, -log2 p_b(y | x)), p_b the "
        "softmax of a linear probe trained on 1/8, 1/4, 1/2 and all of the retain entities, K labels; a part that "
        "cannot be trained on is coded uniformly; layer chosen on one half of the forget entities and scored on the "
        "other, both ways, blocks 1 to L"
    )
    source: ClassVar[str] = "Online code of Voita and Titov 2020 (arXiv:2003.12298)"
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = MDLRow
    chart: ClassVar[Chart] = Chart(
        "line", "layer", "bits", low="low", high="high", null="uniform", facet="split",
        hover=("compression", "shuffled", "items", "entities"), x_title="layer", y_title="bits per label",
        title="Bits that it takes to write down a label, layer by layer",
    )  # fmt: skip
    cost: ClassVar[float] = 1.5

    position: str = "prompt_last"
    shares: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Parts of the retained entities that the probes are trained on."""
    folds: int = 5
    nulls: int = 5

    def __post_init__(self) -> None:
        probing.check_settings(self.position, self.folds, self.nulls)
        if not self.shares or any(not 0 < share <= 1 for share in self.shares):
            raise CaseError(f"shares = {list(self.shares)}: expected parts of the retain entities, such as [0.5, 1.0].")

    def measure(self, bench: Bench) -> Reading:
        """Code every layer of every subject; raises NotApplicable when items have no labels."""
        made = labelled(bench, PIECES, self.nulls)
        read = {role: self._read(made, role) for role in bench.roles}
        found = panel(bench, made.score(read))
        rows = [row for role in bench.roles for row in self._rows(made, role, read[role])]
        return Reading(rows, found, f"Bits saved per forgotten label: {in_words(found)}.{made.unread}")

    def _read(self, made: Labelled, role: Role) -> Read:
        inputs = {"position": self.position, "shares": self.shares, "folds": self.folds, "nulls": self.nulls}
        fit = coder(self.shares, self.folds)
        return made.bench.remember("probes.mdl", [role], inputs, lambda: made.sweep(role, self.position, [role], fit))

    def _rows(self, made: Labelled, role: Role, read: Read) -> list[MDLRow]:
        rows = []
        for split in made.scored:
            places, entities, _ = made.places(split, read)
            if not len(places):
                continue
            uniform = uniform_bits(made, split)[places]
            null = (uniform - read[f"shuffled {split}"][:, places]).mean(1)
            points = probing.intervals(uniform - read[split][:, places], entities, made.bench.seed)
            for layer, (bits, low, high) in enumerate(points):
                about = (float(uniform.mean()), float(uniform.mean()) / bits, float(null[layer]))
                rows.append(MDLRow(layer, role, split, bits, low, high, *about, len(places), len(set(entities))))
        return rows


def coder(shares: Sequence[float], folds: int) -> Fit:
    """A reader that scores each row by the bits that it saves, mean over probes of growing parts of the rows."""

    def fit(train: Sequence[NDArray[np.float32]], task: probing.Task, attribute: str) -> Reader:
        pieces = int(task.fold.max()) + 1
        codes = []
        for share in shares:
            keep = task.fold < max(2, round(share * pieces))
            part = cut(task, keep)
            if trainable(part):
                part = replace(part, fold=part.fold % folds)
                probe = probing.fit(train[0][keep], part)
                codes.append((probe, temperatures(probe.held_out, part.labels)))

        def read(features: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.float64]:
            total = np.zeros((len(task.labels), len(features)))
            for probe, heat in codes:
                total += np.maximum(saved(probe.scores(features), np.broadcast_to(truth, total.shape), heat), 0.0)
            return total / len(shares)

        return read

    return fit


def saved(
    scores: NDArray[np.float32], labels: NDArray[np.intp], heat: NDArray[np.float64], floor: float = 0.0
) -> NDArray[np.float64]:
    """Bits that the softmax of scores [runs, rows, classes] saves over the uniform code for labels [runs, rows].

    `heat` is a temperature per run; `floor` the share of the uniform distribution that is mixed in.
    """
    classes = scores.shape[-1]
    own = np.take_along_axis(scores, labels[..., None], -1)
    # 1 / p of the label itself; infinite for a label that the probe was never shown, whose score is minus infinity.
    with np.errstate(over="ignore", invalid="ignore"):
        inverse = np.exp((scores - own).astype(np.float64) / heat[:, None, None]).sum(-1)
    inverse[np.isneginf(own[..., 0])] = np.inf
    return np.asarray(np.log2(np.maximum(classes * ((1 - floor) / inverse + floor / classes), 1e-300)))


def temperatures(held_out: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """The temperature of each run whose code of the left-out rows [runs, rows, classes] is shortest [runs]."""
    runs = len(held_out)
    gains = [saved(held_out, labels, np.full(runs, heat), FLOOR).mean(1) for heat in TEMPERATURES]
    return np.asarray(TEMPERATURES[np.argmax(gains, axis=0)])


def uniform_bits(made: Labelled, split: Split) -> NDArray[np.float64]:
    """Bits of the uniform code of each item's label [items]; NaN where none is read."""
    bits = np.full(len(made.bench.corpus(split)), np.nan)
    for group in made.groups.values():
        bits[group.rows[split]] = np.log2(len(group.task.classes))
    return bits


def in_words(found: Panel) -> str:
    """`2.1 in the original, 0.3 in the candidate, 0.2 in the reference`."""
    words = f"{found.original.value:.2f} in the original, {found.candidate.value:.2f} in the candidate, "
    where = "in the reference" if found.null == "reference" else "in the candidate on facts that no model saw"
    return f"{words}{found.null_candidate.value:.2f} {where}"
