"""Feature clamping: does the knowledge live in the features at all?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.activations.encode import encode_item
from audit.dictionaries.intervene import Add, first_token
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.errors import CaseError
from audit.evidence.sae._features import Trained, activations, both_ways
from audit.stats import Scores, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from audit.bench import Bench

CHOSEN, RANDOM = "chosen", "random"


class ClampRow(NamedTuple):
    """One dictionary, one subject, one kind of features."""

    layer: Annotated[int, "block whose output was changed"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the prompts"]
    features: Annotated[str, "chosen: those that carry the answers; random: as many others that fire there"]
    scale: Annotated[float, "what the features' activations were multiplied by; 1 changes nothing"]
    probability: Annotated[float, "probability of the answer's first token before, 0 to 1, mean over items"]
    fall: Annotated[float, "by how much it falls, mean over items"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end of the 95 % interval over entities"]
    items: Annotated[int, "number of items"]


@dataclass(frozen=True)
class Clamp(Trained):
    """Scales features at the last prompt token and watches the answer's first token.

    The features are chosen on one half of the forget entities (by activation in the original times what their direction
    adds to the true answer's logit there) and clamped on the other half, both ways. What the dictionary leaves
    unexplained stays as it is, so that a scale of 1 changes no bit. As many features that fire there as often, drawn at
    random, are the control, and what they do is taken off.
    """

    number: int = 32
    """Features that are clamped."""
    scale: float = 0.0
    """What their activations are multiplied by."""

    title: ClassVar[str] = "SAE feature clamping"
    question: ClassVar[str] = "Do the answers hang on the features that carry them?"
    blind_to: ClassVar[str] = (
        "Knowledge that does not pass through the chosen features of the last prompt token. A model that says nothing "
        "loses nothing when they are clamped, however much it stores: read it together with what survives."
    )
    formula: ClassVar[str] = (
        "p(first answer token) - p(with h + sum_j (scale - 1) f_j d_j at the last prompt token), less the same with "
        "random features that fire; mean over blocks"
    )
    source: ClassVar[str] = (
        "Feature steering with the error term kept: Templeton et al. 2024 (Scaling Monosemanticity); unlearning by "
        "clamping: Farrell et al. 2024 (arXiv:2410.19278)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = ClampRow
    chart: ClassVar[Chart] = Chart(
        "bar", "layer", "fall", low="low", high="high", facet="features", hover=("probability", "items"),
        x_title="block", y_title="fall of the answer's probability", title="What clamping takes away",
    )  # fmt: skip
    cost: ClassVar[float] = 0.4

    def __post_init__(self) -> None:
        if self.number < 1:
            raise CaseError("number = 0: clamping no feature changes nothing; expected at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Clamp in every subject; NotIdentifiable when the dictionary is bad."""
        found = self.dictionaries(bench)
        for dictionary in found:
            insist(bench, dictionary)
        splits: tuple[Split, ...] = ("forget",) if bench.null == "reference" else ("forget", "holdout")
        falls = {
            (role, split): [self._clamped(bench, d, role, split) for d in found]
            for role in bench.roles
            for split in splits
        }

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            values = np.mean([lines[CHOSEN] - lines[RANDOM] for lines in falls[role, split]], axis=0)
            return Scores([item.id for item in corpus.items], corpus.entities, values)

        result = panel(bench, score)
        rows = [
            self._row(bench, dictionary.layer, role, split, kind, lines)
            for (role, split), all_lines in falls.items()
            for dictionary, lines in zip(found, all_lines, strict=True)
            for kind in (CHOSEN, RANDOM)
        ]
        note = (
            f"Clamping {self.number} features to {self.scale:g} takes {result.original.value:.0%} of probability from "
            f"the original's answers more than as many random ones; {result.candidate.value:.0%} from the candidate's."
        )
        return Reading(rows, result, note)

    def _row(
        self, bench: Bench, layer: int, role: Role, split: Split, kind: str, lines: dict[str, NDArray[np.float64]]
    ) -> ClampRow:
        value, low, high = probing.intervals(lines[kind][None], bench.corpus(split).entities, bench.seed)[0]
        before = float(lines["before"].mean())
        return ClampRow(layer, role, split, kind, self.scale, before, value, low, high, len(lines[kind]))

    def _clamped(
        self, bench: Bench, dictionary: Dictionary, role: Role, split: Split
    ) -> dict[str, NDArray[np.float64]]:
        """Probability `before` and its fall for `chosen` and `random` features [items]."""

        def compute() -> dict[str, NDArray[np.float64]]:
            weights = answer_weights(bench, dictionary, split)
            active = activations(bench, dictionary, "original", split)
            corpus = bench.corpus(split)
            result = {name: np.zeros(len(corpus)) for name in ("before", CHOSEN, RANDOM)}
            rng = bench.rng("sae.clamp", dictionary.layer)
            with bench.model(role) as subject:
                rows = [encode_item(subject.tokenizer, i, bench.case.template) for i in corpus.items]
                result["before"] = first_token(subject, rows)[:, 0]
                for choose, score in both_ways(corpus.entities, bench.seed):
                    bench.progress(0.5, f"clamping features in block {dictionary.layer} of the {role}")
                    chosen, random = pick(weights[choose], active[choose], self.number, rng)
                    mine = np.flatnonzero(score)
                    for name, features in ((CHOSEN, chosen), (RANDOM, random)):
                        after = first_token(
                            subject, [rows[i] for i in mine], dictionary.layer,
                            scaled(dictionary, features, self.scale),
                        )[:, 0]  # fmt: skip
                        result[name][mine] = result["before"][mine] - after
            return result

        inputs = {
            "dictionary": dictionary.digest, "layer": dictionary.layer, "number": self.number, "scale": self.scale,
            "split": split,
        }  # fmt: skip
        return bench.remember("sae.clamp", ["original", role], inputs, compute)


def answer_weights(bench: Bench, dictionary: Dictionary, split: Split) -> NDArray[np.float64]:
    """What each feature adds to the true answer's logit in the original [items, features], by the logit lens.

    Its activation at the last prompt token times its direction's dot product with the unembedding of the answer's first
    token (less the mean over the vocabulary).
    """
    active = activations(bench, dictionary, "original", split)
    likelihood = bench.likelihood("original", split)
    tokens = likelihood.loc[likelihood["variant"] == "answer", "first_token"].to_numpy(np.int64)
    with bench.model("original") as subject:
        unembedding = subject.model.get_output_embeddings().weight.detach().float().cpu().numpy()
    gain = dictionary.directions @ (unembedding - unembedding.mean(0))[tokens].T
    return np.asarray(active * gain.T, np.float64)


def pick(
    weights: NDArray[np.float64], active: NDArray[np.float32], number: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The features that add most to the answers, and as many others at random among those that fire."""
    number = min(number, weights.shape[1] // 2)
    chosen = np.argsort(-weights.mean(0), kind="stable")[:number]
    fires = np.setdiff1d(np.flatnonzero((active > 0).any(0)), chosen)
    rest = fires if len(fires) >= number else np.setdiff1d(np.arange(weights.shape[1]), chosen)
    return chosen, np.sort(rng.choice(rest, number, replace=False))


def scaled(dictionary: Dictionary, features: NDArray[np.intp], scale: float) -> Add:
    """What to add to a state so that some features are scaled; exactly zero at scale 1."""
    import torch

    directions = torch.from_numpy(dictionary.directions[features])

    def add(states: Tensor, rows: Sequence[int]) -> Tensor:
        active = dictionary.sae.encode(states.float().cpu())[:, features]
        return (scale - 1.0) * active @ directions

    return add
