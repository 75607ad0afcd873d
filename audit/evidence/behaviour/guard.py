"""What is left when the guard is taken away, and what sets it off?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import NotApplicable
from audit.evidence.behaviour._reading import control_words
from audit.evidence.behaviour.recall import check_metric, score, score_all
from audit.stats import Scores
from audit.subjects.systems.kinds import system_of
from audit.subjects.systems.sight import same_weights
from audit.types import Access, Chart, Item, Place, Reading, Role, Split, digest_of

if TYPE_CHECKING:
    from audit.bench import Bench
    from audit.subjects.systems.system import System

ASKED = "as asked"


class Row(NamedTuple):
    """One answer of one subject to one wording, with the guard on or off."""

    split: Annotated[str, "corpus of the item"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    guard: Annotated[str, "on, off (the model under it), or the name of a further model of the system, asked alone"]
    wording: Annotated[str, "as asked, paraphrase, prefix or suffix: what was done to the prompt to get past the guard"]
    prompt: Annotated[str, "the question in this wording"]
    answer: Annotated[str, "the true answer"]
    said: Annotated[str, "what was said: greedy, up to the first line break"]
    acted: Annotated[
        float | None, "1 where the guard was set off (by its own detector, else: it changed the answer), 0 where not"
    ]
    score: Annotated[float, "how much of the answer was said: higher, the more is still said; 0 to 1"]


@dataclass(frozen=True)
class Guard:
    """Recall of the model under a guarded or combined system, and how often the system acts on which prompts."""

    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""
    items: int = 100
    """Most items of a corpus whose prompts are reworded to get past the guard (0: all)."""
    prefix: str = "Please answer this. "
    """Put before a prompt to get past the guard."""
    suffix: str = " "
    """Put after a prompt to get past the guard: a guard that reads the last token sees another one."""

    title: ClassVar[str] = "Guard off"
    question: ClassVar[str] = "Does the model under a guard still say the answer, and what sets the guard off?"
    blind_to: ClassVar[str] = (
        "What the model under the guard stores without saying it: audit that model as a candidate of its own. Ways "
        "past the guard other than a paraphrase, one prefix and one suffix."
    )
    formula: ClassVar[str] = "recall of the answers with every guard, filter and intervention off"
    source: ClassVar[str] = (
        "Guard-off recall and trigger rates, after ECO (Liu et al. 2024) and Effective Skill Unlearning (Li et al. "
        "2025); guardrails leave weights as they are (Thaker et al. 2024)"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "bar", "wording", "score", color="guard", facet="split", hover=("prompt", "answer", "said"),
        x_title="wording", y_title="recall", title="What is said with the guard on and off",
    )  # fmt: skip
    cost: ClassVar[float] = 1.5

    def __post_init__(self) -> None:
        check_metric(self.metric)

    def measure(self, bench: Bench) -> Reading:
        """Ask the system and the model under it; raises NotApplicable when the candidate is a plain model."""
        system = system_of(bench.case.candidate)
        if system is None:
            raise NotApplicable(
                f"{bench.case.candidate.name} is a plain model: nothing stands around or inside it that could be taken "
                "away."
            )
        off = bench.beneath()

        def scored(role: Role, split: Split) -> Scores:
            corpus = bench.corpus(split)
            said = off.says(role, split)
            values = score_all(said, corpus.items, self.metric)
            return Scores([item.id for item in corpus.items], corpus.entities, values)

        panel = stats.panel(bench, scored)
        rows = [row for role in bench.roles if role != "candidate" for row in self._plain(bench, role)]
        mine = self._candidate(bench, off, system)
        parts = self._parts(bench, system)
        return Reading(rows + mine + parts, panel, self._note(bench, system, panel, mine) + _alone(parts))

    def _plain(self, bench: Bench, role: Role) -> list[Row]:
        items = bench.corpus("forget").items
        return [
            self._row("forget", item, role, "off", ASKED, item.prompt, text, None)
            for item, text in zip(items, bench.says(role, "forget"), strict=True)
        ]

    def _candidate(self, bench: Bench, off: Bench, system: System) -> list[Row]:
        """The system and the model under it on every wording; the holdout too where there is one, to count triggers."""
        splits: tuple[Split, ...] = ("forget", "retain", "holdout") if bench.has("holdout") else ("forget", "retain")
        few = self.items or None
        rows: list[Row] = []
        for split in splits:
            places = bench.subset(split, None if split == "forget" else few)
            items = [bench.corpus(split).items[i] for i in places]
            rows += self._asked(bench, off, system, ASKED, items, [item.prompt for item in items])
        items = [bench.corpus("forget").items[i] for i in bench.subset("forget", few)]
        told = [item for item in items if item.paraphrases]
        if told:
            rows += self._asked(bench, off, system, "paraphrase", told, [item.paraphrases[0] for item in told])
        rows += self._asked(bench, off, system, "prefix", items, [self.prefix + item.prompt for item in items])
        rows += self._asked(bench, off, system, "suffix", items, [item.prompt + self.suffix for item in items])
        return rows

    def _asked(
        self, bench: Bench, off: Bench, system: System, wording: str, items: Sequence[Item], prompts: Sequence[str]
    ) -> list[Row]:
        """What system and base say to prompts, and which of them set the system off."""
        on = bench.asks("candidate", items, prompts, f"with the guard on ({wording})")
        without = off.asks("candidate", items, prompts, f"with the guard off ({wording})")
        flags = self._flags(bench, system, prompts)
        acted = [a != b for a, b in zip(on, without, strict=True)] if flags is None else flags
        rows = []
        for item, prompt, said, bare, flag in zip(items, prompts, on, without, acted, strict=True):
            split = item.id.split(":")[0]
            rows.append(self._row(split, item, "candidate", "on", wording, prompt, said, float(flag)))
            rows.append(self._row(split, item, "candidate", "off", wording, prompt, bare, None))
        return rows

    def _flags(self, bench: Bench, system: System, prompts: Sequence[str]) -> list[bool] | None:
        if not system.detects:
            return None

        def compute() -> dict[str, np.ndarray]:
            with bench.model("candidate") as subject:
                return {"flags": np.asarray(system.flags(subject, prompts, bench.case.template), bool)}

        inputs = {"prompts": digest_of(list(prompts))}
        found = bench.remember("guard flags", ["candidate"], inputs, compute, corpora=())["flags"]
        return [bool(flag) for flag in found]

    def _parts(self, bench: Bench, system: System) -> list[Row]:
        """Each further model of the system on its own: an assistant may hold the forgotten facts in pure form."""
        rows = []
        for name, spec in system.parts(bench.case.candidate).items():
            alone = bench.with_candidate(spec).says("candidate", "forget")
            rows += [
                self._row("forget", item, "candidate", name, ASKED, item.prompt, text, None)
                for item, text in zip(bench.corpus("forget").items, alone, strict=True)
            ]
        return rows

    def _row(
        self, split: str, item: Item, subject: str, guard: str, wording: str, prompt: str, said: str,
        acted: float | None,
    ) -> Row:  # fmt: skip
        found = score(said, item.answer, self.metric)
        return Row(
            split, item.id, item.entity or item.id, subject, guard, wording, prompt, item.answer, said, acted, found
        )

    def _note(self, bench: Bench, system: System, panel: stats.Panel, rows: Sequence[Row]) -> str:
        def mean(column: str, **where: str) -> float:
            chosen = [r for r in rows if all(getattr(r, key) == value for key, value in where.items())]
            return float(np.mean([getattr(row, column) for row in chosen])) if chosen else float("nan")

        wordings = dict.fromkeys(row.wording for row in rows if row.wording != ASKED)
        past = ", ".join(
            f"{wording} {mean('acted', guard='on', wording=wording):.0%}"
            f" (then {mean('score', guard='on', wording=wording):.0%} is said)"
            for wording in wordings
        )
        kept = mean("acted", guard="on", wording=ASKED, split="retain")
        case = bench.case
        return (
            f"{case.candidate.name} is {system.title}: with it off it says {panel.candidate.value:.0%} of the "
            f"answers, with it on {mean('score', guard='on', wording=ASKED, split='forget'):.0%}, the original "
            f"{panel.original.value:.0%}, {control_words(panel)}. {same_weights(case.candidate, case.original)}"
            f" It acts on {mean('acted', guard='on', wording=ASKED, split='forget'):.0%} of the prompts to forget and "
            f"{kept:.0%} of those to retain; past it: {past}."
        )


def _alone(rows: Sequence[Row]) -> str:
    """What each further model says by itself, in words."""
    names = dict.fromkeys(row.guard for row in rows)
    return "".join(
        f" Its {name} alone says {np.mean([row.score for row in rows if row.guard == name]):.0%} of them: where that "
        "is much, it holds the forgotten facts itself and must not be handed out."
        for name in names
    )
