"""Does rounding the weights bring it back?"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, cast

import numpy as np

from audit import stats
from audit.errors import CaseError, MissingDependency, suggest
from audit.evidence.behaviour.recall import check_metric, metric_of, score_all
from audit.stats import Scores
from audit.types import ANSWERING, Access, Chart, Item, Modality, Place, Reading, Role, Split, digest_of

if TYPE_CHECKING:
    from audit.bench import Bench

FORMATS = ("int8", "nf4")
NONE = "none"


class Row(NamedTuple):
    """One subject in one number format."""

    format: Annotated[str, "number format of the weights; `none` is the model as it is"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus that was asked"]
    recall: Annotated[float, "share of the answers that is said, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities"]
    high: Annotated[float, "upper end"]
    retain_recall: Annotated[float | None, "the same for what was to be kept, 0 to 1"]
    items: Annotated[int, "facts asked"]


@dataclass(frozen=True)
class Quantization:
    """Ask the quantised subject; rounding and greedy decoding are deterministic, so one run is all there is.

    Where there are several formats, the headline's is chosen on one half of the entities and scored on the other.
    """

    formats: tuple[str, ...] = FORMATS
    """Number formats of bitsandbytes: `int8`, `nf4`, or both."""
    retain_items: int = 100
    """Most retain facts asked in each format; 0 asks none."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Quantisation"
    question: ClassVar[str] = "Does rounding the weights to eight or four bits bring the answers back?"
    blind_to: ClassVar[str] = (
        "Other roundings (GPTQ, AWQ, fp4) and every attack that changes more than the number format. It works against "
        "unlearning that moved the weights less than the rounding step."
    )
    formula: ClassVar[str] = (
        "recall of forget answers by the quantised model; residual = (candidate quantised - reference quantised) / "
        "(original unquantised - reference quantised)"
    )
    source: ClassVar[str] = "Zhang et al. 2025, Catastrophic Failure of LLM Unlearning via Quantization; bitsandbytes"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = ANSWERING
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "format", "recall", low="low", high="high", facet="split", hover=("retain_recall", "items"),
        x_title="number format", y_title="recall", title="Recall after quantisation",
    )  # fmt: skip
    cost: ClassVar[float] = 0.6

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if not self.formats:
            raise CaseError(f"formats is empty; expected at least one of {', '.join(FORMATS)}.")
        for format in self.formats:
            if format not in FORMATS:
                raise CaseError(f'Unknown number format "{format}".{suggest(str(format), FORMATS)}')

    def measure(self, bench: Bench) -> Reading:
        """Ask candidate and null in every format; raises MissingDependency without bitsandbytes."""
        if importlib.util.find_spec("bitsandbytes") is None:
            raise MissingDependency("Quantising needs bitsandbytes, which is not installed: pip install bitsandbytes")
        splits: list[Split] = ["forget"] if bench.null == "reference" else ["forget", "holdout"]
        attacked: list[Role] = ["candidate", "reference"] if bench.null == "reference" else ["candidate"]
        asked = {split: list(bench.corpus(split).items) for split in splits}
        if bench.has("retain") and self.retain_items:
            asked["retain"] = [bench.corpus("retain").items[i] for i in bench.subset("retain", self.retain_items)]
        heard: dict[tuple[Role, str], dict[Split, Scores]] = {}
        for k, (role, format) in enumerate(wanted := [(role, format) for role in attacked for format in self.formats]):
            said = _says(bench, role, format, asked, k / len(wanted))
            heard[role, format] = self._scores(bench, asked, said)
        for role in bench.roles:
            said = {split: bench.says(role, split, len(items)) for split, items in asked.items()}
            heard[role, NONE] = self._scores(bench, asked, said)

        def score(role: Role, split: Split) -> Scores:
            if role == "original":
                return heard[role, NONE][split]
            found = [heard[role, format][split] for format in self.formats]
            if len(found) == 1:
                return found[0]
            best, _ = stats.cross_fit(np.concatenate([s.values for s in found]), found[0].entities, bench.seed)
            return Scores(found[0].items, found[0].entities, best)

        panel = stats.panel(bench, score)
        plain = stats.mean(heard["candidate", NONE]["forget"], seed=bench.seed).value
        return Reading(list(_rows(bench, heard)), panel, _note(bench, panel, plain))

    def _scores(
        self, bench: Bench, asked: dict[Split, list[Item]], said: dict[Split, list[str]]
    ) -> dict[Split, Scores]:
        return {
            split: Scores(
                [item.id for item in items],
                [item.entity or item.id for item in items],
                score_all(said[split], items, metric_of(bench, self.metric)),
            )
            for split, items in asked.items()
        }


def _rows(bench: Bench, heard: dict[tuple[Role, str], dict[Split, Scores]]) -> Iterator[Row]:
    for (role, format), found in sorted(heard.items(), key=lambda pair: [NONE, *FORMATS].index(pair[0][1])):
        means = {split: stats.mean(scores, seed=bench.seed).estimate(0.0) for split, scores in found.items()}
        kept = means["retain"].value if "retain" in means else None
        for split in means:
            if split != "retain":
                recall = means[split]
                items = len(found[split].items)
                yield Row(format, role, split, recall.value, recall.low, recall.high, kept, items)


def _note(bench: Bench, panel: stats.Panel, plain: float) -> str:
    null = f"{panel.null_candidate.value:.0%}"
    control = f"the quantised reference {null}" if panel.null == "reference" else f"and {null} of what it never saw"
    return (
        f"Quantised, {bench.case.candidate.name} says {panel.candidate.value:.0%} of the answers "
        f"({plain:.0%} as it is), {control}."
    )


def _says(bench: Bench, role: Role, format: str, asked: dict[Split, list[Item]], done: float) -> dict[Split, list[str]]:
    """Greedy answers of a quantised subject to the items of each split; loaded once, then remembered."""

    def compute() -> dict[str, np.ndarray]:
        from audit.activations.generate import says

        message = f"asking the {role} in {format}"
        with bench.model(role, quantize=cast(Literal["int8", "nf4"], format)) as subject, _quiet():
            return {
                split: np.asarray(
                    says(subject, items, bench.case.template, progress=lambda share: bench.progress(done, message)),
                    dtype=str,
                )
                for split, items in asked.items()
            }

    inputs = {
        "format": format,
        "asked": {split: digest_of([i.asked for i in items]) for split, items in asked.items()},
    }
    stored = bench.remember("quantized", [role], inputs, compute, corpora=())
    return {split: [str(text) for text in stored[split]] for split in asked}


@contextmanager
def _quiet() -> Iterator[None]:
    """bitsandbytes warns at every product that int8 casts its inputs; that is what int8 means."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
