"""Feature activity: every feature of the original's dictionary, where it fires, and what it means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np

from audit import probing
from audit.dictionaries.quality import insist
from audit.dictionaries.source import Dictionary
from audit.evidence.sae._features import Trained, activations
from audit.evidence.sae.clamp import answer_weights
from audit.evidence.sae.shared import overlap
from audit.stats import Scores, panel
from audit.types import Access, Chart, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.activations.states import WholeStates
    from audit.bench import Bench

CONTEXTS = 4
TOKENS = 6
BINS = 12


class FeatureRow(NamedTuple):
    """One feature of one dictionary in one subject."""

    layer: Annotated[int, "block whose output the dictionary reads"]
    feature: Annotated[int, "number of the feature in the dictionary"]
    subject: Annotated[str, "role of the model"]
    forget: Annotated[float, "mean activation at the last prompt token of forget items"]
    retain: Annotated[float, "mean activation at the last prompt token of retain items"]
    rate: Annotated[float, "share of the tokens of forget items at which it fires, 0 to 1"]
    carries: Annotated[float, "what it adds to the logit of the true answers in the original, mean over forget items"]
    histogram: Annotated[str, "counts of its activations over forget tokens in twelve equal bins up to `top`, as JSON"]
    top: Annotated[float, "highest activation in any subject, the upper end of the histogram"]
    promotes: Annotated[str, "tokens whose logit its direction raises most, as JSON; for the original's row only"]
    suppresses: Annotated[str, "tokens whose logit it lowers most, as JSON; for the original's row only"]
    contexts: Annotated[str, "its strongest contexts as JSON: item, tokens, and activation per token and subject"]


@dataclass(frozen=True)
class Features(Trained):
    """Reads the activity of every feature of the original's dictionaries in every subject.

    The number is the common part of a subject's and the original's activations on the forget items. The table is what
    the page of features is drawn from; contexts are kept for the features that carry the answers or changed most.
    """

    cards: int = 40
    """Features of each block whose contexts are kept."""

    title: ClassVar[str] = "SAE feature activity"
    question: ClassVar[str] = "Which features fire as in the original, and which fell silent?"
    blind_to: ClassVar[str] = (
        "Whether a feature carries an answer or only a name or a wording: most features of a prompt say what is asked, "
        "not what the answer is. A silent feature may have been replaced by another."
    )
    formula: ClassVar[str] = (
        "per item sum_j min(f_j, g_j) / sum_j max(f_j, g_j), f of the subject, g of the original, at the last prompt "
        "token under the original's dictionary; mean over items and blocks"
    )
    source: ClassVar[str] = (
        "Feature cards after Neuronpedia and SAEDashboard; promoted tokens by the logit lens (nostalgebraist 2020)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    row: ClassVar[type] = FeatureRow
    chart: ClassVar[Chart] = Chart(
        "scatter", "forget", "retain", hover=("feature", "layer", "rate", "carries"),
        x_title="activation on forget", y_title="activation on retain", title="Activity of every feature",
    )  # fmt: skip
    cost: ClassVar[float] = 0.5

    def measure(self, bench: Bench) -> Reading:
        """Encode every kept token of every subject; NotIdentifiable when the dictionary is bad."""
        found = self.dictionaries(bench)
        for dictionary in found:
            insist(bench, dictionary)

        def score(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            values = [
                overlap(activations(bench, d, role, split), activations(bench, d, "original", split)) for d in found
            ]
            return Scores([item.id for item in corpus.items], corpus.entities, np.mean(values, axis=0))

        result = panel(bench, score)
        rows = [row for dictionary in found for row in self._rows(bench, dictionary)]
        note = f"Common part of the features' activations on forgotten items: {probing.compared(result)}."
        return Reading(rows, result, note)

    def _rows(self, bench: Bench, dictionary: Dictionary) -> list[FeatureRow]:
        """A row for every feature that fires in some subject, and every subject."""
        bench.progress(0.5, f"describing the features of block {dictionary.layer}")
        at = {s: {r: activations(bench, dictionary, r, s) for r in bench.roles} for s in ("forget", "retain")}
        whole = {role: bench.whole(role, "forget") for role in bench.roles}
        tokens = {role: dictionary.encode(states.at(dictionary.layer)) for role, states in whole.items()}
        carries = answer_weights(bench, dictionary, "forget").mean(0)
        alive = np.flatnonzero(np.stack([(values > 0).any(0) for values in tokens.values()]).any(0))
        top = np.stack([values.max(0) for values in tokens.values()]).max(0)
        change = np.abs(at["forget"]["candidate"].mean(0) - at["forget"]["original"].mean(0))
        cards = self._cards(alive, carries, change)
        words = self._words(bench, dictionary, sorted(cards))
        shown = contexts(bench, whole["original"], tokens, sorted(cards))
        rows = []
        for j in alive:
            for role in bench.roles:
                counts, _ = np.histogram(tokens[role][:, j], BINS, (0.0, float(top[j]) or 1.0))
                first = role == "original"
                promotes, suppresses = words.get(int(j), ("", "")) if first else ("", "")
                rows.append(
                    FeatureRow(
                        dictionary.layer, int(j), role, float(at["forget"][role][:, j].mean()),
                        float(at["retain"][role][:, j].mean()), float((tokens[role][:, j] > 0).mean()),
                        float(carries[j]), json.dumps(counts.tolist()), float(top[j]), promotes, suppresses,
                        shown.get(int(j), "") if first else "",
                    )
                )  # fmt: skip
        return rows

    def _cards(
        self, alive: NDArray[np.intp], carries: NDArray[np.float64], change: NDArray[np.floating[Any]]
    ) -> set[int]:
        """The features that carry the answers most and those that changed most."""
        half = max(1, self.cards // 2)
        by_carries = alive[np.argsort(-carries[alive], kind="stable")[:half]]
        by_change = [j for j in alive[np.argsort(-change[alive], kind="stable")] if j not in set(by_carries.tolist())]
        return {int(j) for j in [*by_carries, *by_change[: self.cards - len(by_carries)]]}

    @staticmethod
    def _words(bench: Bench, dictionary: Dictionary, features: list[int]) -> dict[int, tuple[str, str]]:
        """Tokens that each feature's direction raises and lowers most under the original's unembedding."""
        with bench.model("original") as subject:
            unembedding = subject.model.get_output_embeddings().weight.detach().float().cpu().numpy()
            decode = subject.tokenizer.decode
            logits = dictionary.directions[features] @ (unembedding - unembedding.mean(0)).T
            found = {}
            for j, line in zip(features, np.argsort(logits, axis=1), strict=True):
                ends = (line[::-1][:TOKENS], line[:TOKENS])
                up, down = (json.dumps([decode([int(t)]) for t in end], ensure_ascii=False) for end in ends)
                found[j] = (up, down)
            return found


def contexts(
    bench: Bench, whole: WholeStates, tokens: dict[Role, NDArray[np.float32]], features: list[int]
) -> dict[int, str]:
    """The items in which each feature fires most in the original or the candidate, token by token, as JSON."""
    items = bench.corpus("forget").items
    with bench.model("original") as subject:
        words = [subject.tokenizer.decode([int(token)]) for token in whole.ids]
    kept, index = np.unique(whole.sequence, return_inverse=True)
    result = {}
    for j in features:
        peaks = np.zeros(len(kept))
        for role in ("original", "candidate"):
            np.maximum.at(peaks, index, tokens[role][:, j])  # type: ignore[index]
        chosen = [k for k in np.argsort(-peaks, kind="stable")[:CONTEXTS] if peaks[k] > 0]
        lines = []
        for k in chosen:
            mine = np.flatnonzero(index == k)
            line: dict[str, Any] = {"item": items[int(kept[k])].id, "tokens": [words[t] for t in mine]}
            line |= {role: [round(float(v), 2) for v in values[mine, j]] for role, values in tokens.items()}
            lines.append(line)
        result[j] = json.dumps(lines, ensure_ascii=False)
    return result
