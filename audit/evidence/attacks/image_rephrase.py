"""Does the answer come out when the question, the image, or both are put in another way?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from audit import stats
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks._prompting import (
    RUNS,
    Ask,
    Heard,
    as_asked,
    chart_of,
    chosen,
    control,
    hear,
    panel_before,
    scores_of,
    transcripts,
    worst,
)  # fmt: skip
from audit.evidence.attacks._rephrasing import FAMILIES, Light, rephrased
from audit.evidence.behaviour.recall import check_metric
from audit.types import Access, Chart, Item, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from audit.bench import Bench

PLAIN = "as asked"
"""The item's own question and image: the original's score, and nobody's attack."""


class Row(NamedTuple):
    """One answer of one subject under one way of rephrasing."""

    family: Annotated[str, "what was put in another way"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    split: Annotated[str, "corpus of the item"]
    run: Annotated[int, "number of the run, from 0: another wording, another cut of the image"]
    prompt: Annotated[str, "the question that was put"]
    wanted: Annotated[str, "the true answer"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "how much of the answer was said, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities of this family's mean"]
    high: Annotated[float, "upper end"]
    image: Annotated[str, "what was done to the image; empty where it was shown as it is"]


@dataclass(frozen=True)
class ImageRephrase:
    """Every subject is asked with another wording, with the image cut and lit otherwise, and with both.

    Which of the three works best is chosen on one half of the entities and scored on the other, run by run.
    """

    runs: int = RUNS
    """Runs, at least 3; each has wordings and cuts of its own."""
    crop: float = 0.12
    """Most of the image's sides that is cut away, as a share; at least half of it is."""
    brightness: float = 0.25
    """Most by which the image becomes lighter or darker, as a share; at least by half of it."""
    mirror: bool = False
    """Mirror half of the images; not where writing or handedness matters."""
    items: int = 40
    """Most items asked of each corpus; 0 is all of them."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    title: ClassVar[str] = "Question, image and both rephrased"
    question: ClassVar[str] = "Does the answer come out when the question, the image or both are put in another way?"
    blind_to: ClassVar[str] = (
        "Other images of the same thing: only cut, light and mirroring change here. Wordings are those of the corpus. "
        "A model that is asked in three ways gives more by chance alone; the control is asked in as many."
    )
    formula: ClassVar[str] = (
        "recall under the way that works best on the other half of the entities; residual = (candidate rephrased - "
        "reference rephrased) / (original as asked - reference rephrased)"
    )
    source: ClassVar[str] = (
        "Question, image and multimodal rephrase attacks of UnLOK-VQA (Patil et al. 2025, arXiv:2505.01456); their "
        "images are other ones of the same thing, ours the same one changed"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    reads: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE_TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = chart_of("Answers to each way of rephrasing", "what was put in another way")
    cost: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.runs < RUNS:
            raise CaseError(f"runs = {self.runs}: an attack needs at least {RUNS} runs to show its spread.")
        if not (0 < self.crop < 0.5 and 0 <= self.brightness < 1):
            raise CaseError(
                f"crop = {self.crop} and brightness = {self.brightness}: expected more than 0 and less than 0.5, and "
                "less than 1, or the image shows something else."
            )

    def measure(self, bench: Bench) -> Reading:
        """Ask every subject in every way; raises NotApplicable where no item has an image."""
        made = {split: self._made(bench, split) for split in bench.splits}
        names = [name for name in FAMILIES if all(name in found for found, _ in made.values())]
        heard = {
            (role, split): hear(
                bench, role, {name: made[split][0][name] for name in names}, self.metric, f"rephrased ({split})"
            )
            for split in made
            for role in bench.roles
        }
        for (role, split), found in heard.items():
            items = [self._own(bench, split, ask.item) for ask in found[names[0]].asks[0]]
            found[PLAIN] = as_asked(bench, role, split, items, self.runs, self.metric)

        def score(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split]
            return scores_of([ask.item for ask in found[PLAIN].asks[0]], worst(found, names, bench.seed))

        def before(role: Role, split: Split) -> stats.Scores:
            found = heard[role, split][PLAIN]
            return scores_of([ask.item for ask in found.asks[0]], found.values)

        panel = panel_before(bench, score, before)
        rows = [
            Row(*row, made[split][1].get((row.family, row.run, row.item), ""))
            for (role, split), found in heard.items()
            for row in transcripts(bench, role, split, found)
        ]
        return Reading(rows, panel, _note(bench, panel, heard["candidate", "forget"], names))

    @staticmethod
    def _own(bench: Bench, split: Split, item: Item) -> Item:
        return next(one for one in bench.corpus(split).items if one.id == item.id)

    def _made(self, bench: Bench, split: Split) -> tuple[dict[str, list[list[Ask]]], dict[tuple[str, int, str], str]]:
        """What is asked in every family that all items allow [runs][items], and what was done to each image."""
        items = [item for item in chosen(bench, split, self.items) if item.image]
        if not items:
            raise NotApplicable(f"No item of the {split} corpus has an image that could be shown in another way.")
        how = Light(self.crop, self.brightness, self.mirror)
        asked: dict[str, list[list[Ask]]] = {}
        done: dict[tuple[str, int, str], str] = {}
        for run in range(self.runs):
            made = [rephrased(bench, split, item, run, how) for item in items]
            for name in FAMILIES:
                if all(name in found for found in made):
                    asks = [Ask(item, item.prompt, item.answer) for item, _ in (found[name] for found in made)]
                    asked.setdefault(name, []).append(asks)
                    done |= {(name, run, found[name][0].id): found[name][1] for found in made}
        return asked, done


def _note(bench: Bench, panel: stats.Panel, heard: Mapping[str, Heard], names: list[str]) -> str:
    each = ", ".join(f"{name} {heard[name].values.mean():.0%}" for name in names)
    return (
        f"Under the way of rephrasing that works best on other entities {bench.case.candidate.name} gives "
        f"{panel.candidate.value:.0%} of the answers ({heard[PLAIN].values.mean():.0%} as asked; {each}), the original "
        f"{panel.original.value:.0%} as asked, {control(panel, 'answers')}."
    )
