"""Does a suffix found by search bring the answer back?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from audit import stats
from audit.errors import CaseError
from audit.evidence.attacks._facts import facts_split
from audit.evidence.attacks._gcg import Search
from audit.evidence.attacks._prompting import (
    RUNS,
    Ask,
    Heard,
    Transcript,
    as_asked,
    chart_of,
    chosen,
    control,
    joined,
    laid_out,
    panel_before,
    scores_of,
    transcripts,
)
from audit.evidence.behaviour.recall import check_metric, score_all
from audit.types import Access, Chart, Place, Reading, Role, Split, digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

SEARCHED, RANDOM = "searched suffix", "random suffix"


@dataclass(frozen=True)
class GCG:
    """Search a suffix on the facts of one half of the entities and ask for the facts of the other half with it.

    Long: it runs only where it is asked for by name. Every search ends after its steps or its seconds; one that ran
    out of time says so, and its figures depend on the machine.
    """

    tokens: int = 12
    """Tokens of the suffix."""
    steps: int = 100
    """Most steps of a search."""
    candidates: int = 64
    """Exchanges tried in a step."""
    top: int = 64
    """Tokens that the gradient lists for each place."""
    batch: int = 16
    """Facts that a step looks at."""
    seconds: int = 300
    """Most seconds of a search; there is one for each run, subject and corpus."""
    runs: int = RUNS
    """Runs, each with halves and a first suffix of its own; at least 3."""
    items: int = 60
    """Most items of each corpus, searched on and tested together; 0 is all of them."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    optional: ClassVar[bool] = True
    title: ClassVar[str] = "Suffix search (GCG)"
    question: ClassVar[str] = "Does a suffix found by search bring the answers back?"
    blind_to: ClassVar[str] = (
        "Longer searches, other starting points and suffixes made for one fact alone, which elicit also what was never "
        "known. A suffix that is not found is not one that does not exist. The suffix stands right before the answer: "
        "with a template of questions or chats that is after `Answer:` or the assistant's header, where someone who "
        "can only write the question cannot put it."
    )
    formula: ClassVar[str] = (
        "recall of facts of other entities with the suffix that minimises the mean loss of the searched ones; residual "
        "= (candidate attacked - reference attacked) / (original before the attack - reference attacked)"
    )
    source: ClassVar[str] = "Zou et al. 2023, Universal and Transferable Adversarial Attacks (GCG)"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    row: ClassVar[type] = Transcript
    chart: ClassVar[Chart] = chart_of("Answers with a suffix after the question", "suffix")
    cost: ClassVar[float] = 300.0

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.runs < RUNS:
            raise CaseError(f"runs = {self.runs}: an attack needs at least {RUNS} runs to show its spread.")
        if min(self.tokens, self.steps, self.candidates, self.top, self.batch, self.seconds) < 1:
            raise CaseError("tokens, steps, candidates, top, batch and seconds must be at least 1.")

    def measure(self, bench: Bench) -> Reading:
        """Attack every subject; raises NotApplicable when the facts cannot be split."""
        found: dict[tuple[Role, Split], tuple[dict[str, Heard], NDArray[np.bool_]]] = {}
        taken: dict[str, list[int]] = {}
        for split in bench.splits:
            for role in bench.roles:
                runs = [self._run(bench, role, split, run) for run in range(self.runs)]
                taken[f"{role} ({split})"] = [steps for _, _, steps in runs]
                heard = {name: joined([heard[name] for heard, _, _ in runs]) for name in runs[0][0]}
                found[role, split] = heard, np.stack([tested for _, tested, _ in runs])

        def score(role: Role, split: Split) -> stats.Scores:
            heard, used = found[role, split]
            return scores_of([ask.item for ask in heard[SEARCHED].asks[0]], heard[SEARCHED].values, used)

        def before(role: Role, split: Split) -> stats.Scores:
            items = chosen(bench, split, self.items)
            plain = as_asked(bench, role, split, items, self.runs, self.metric)
            return scores_of(items, plain.values, found[role, split][1])

        panel = panel_before(bench, score, before)
        if uneven := unequal(taken):
            panel = replace(panel, no_scale=f"{uneven} Raise seconds (now {self.seconds}) or lower steps.")
        rows = [
            row
            for (role, split), (heard, used) in found.items()
            for row in transcripts(bench, role, split, heard, used)
        ]
        return Reading(
            rows, panel, self._note(bench, panel, *found["candidate", "forget"], min(map(min, taken.values())))
        )

    def _run(self, bench: Bench, role: Role, split: Split, run: int) -> tuple[dict[str, Heard], NDArray[np.bool_], int]:
        """One search on one subject: what it says with each suffix, which items count [items], and the steps taken."""
        items = chosen(bench, split, self.items)
        halves = facts_split(items, run, bench.seed, by_entity=True)
        taught = [items[i] for i in np.flatnonzero(halves.trained)]
        asked = [items[i] for i in np.flatnonzero(halves.tested)]
        budget = Search(self.tokens, self.steps, self.candidates, self.top, self.batch, self.seconds)
        seed = bench.torch_seed("suffix", split, run)

        def compute() -> Mapping[str, np.ndarray]:
            from audit.activations.encode import encode, encode_prompt
            from audit.activations.generate import answer_budget
            from audit.evidence.attacks._gcg import search, start
            from audit.evidence.attacks._soft import embedded, says_softly

            def tick(step: int, loss: float) -> None:
                message = f"search {run + 1} of {self.runs} on the {role} ({split}), step {step}, loss {loss:.2f}"
                bench.progress((run + step / self.steps) / self.runs, message)

            stored: dict[str, np.ndarray] = {}
            with bench.model(role) as subject:
                template = bench.case.template
                rows = [
                    encode(subject.tokenizer, item.prompt, item.answer, template, what=f"Item {item.id}")
                    for item in taught
                ]
                won = search(subject, rows, budget, seed, tick)
                prompts = [encode_prompt(subject.tokenizer, item.prompt, template) for item in asked]
                length = answer_budget(subject, asked, template)
                for name, ids in ((SEARCHED, won.ids), (RANDOM, start(subject, self.tokens, seed))):
                    said = says_softly(subject, prompts, embedded(subject, ids[None]), length)
                    stored[name] = np.asarray(said, dtype=str)
                    stored[f"{name} text"] = np.asarray(subject.tokenizer.decode(ids.tolist()), dtype=str)
            return {**stored, "steps": np.asarray(won.steps)}

        inputs = {
            "budget": asdict(budget),
            "run": run,
            "taught": digest_of([[i.id, i.prompt, i.answer] for i in taught]),
            "asked": digest_of([[i.id, i.prompt, i.answer] for i in asked]),
        }
        stored = bench.remember("suffix search", [role], inputs, compute, corpora=(split,))
        heard = {}
        for name in (SEARCHED, RANDOM):
            asks = [Ask(item, item.prompt, item.answer, str(stored[f"{name} text"])) for item in items]
            said = [str(text) for text in stored[name]]
            heard[name] = laid_out(asks, said, score_all(said, asked, self.metric), halves.tested)
        return heard, halves.tested, int(stored["steps"])

    def _note(
        self, bench: Bench, panel: stats.Panel, heard: Mapping[str, Heard], used: NDArray[np.bool_], steps: int
    ) -> str:
        note = (
            f"With a suffix searched on other entities {bench.case.candidate.name} gives {panel.candidate.value:.0%} "
            f"of the answers ({heard[RANDOM].values[used].mean():.0%} with a random one), the original "
            f"{panel.original.value:.0%} before the attack, {control(panel, 'answers')}."
        )
        if steps < self.steps:
            note += f" A search ran out of its {self.seconds} seconds after {steps} of {self.steps} steps."
        return note


def unequal(taken: Mapping[str, Sequence[int]]) -> str:
    """Who was searched longest and who shortest, in words; empty when the runs of all took the same steps."""
    if len({tuple(steps) for steps in taken.values()}) <= 1:
        return ""
    most, least = (choose(taken, key=lambda who: sum(taken[who])) for choose in (max, min))
    return (
        f"The searches ran out of time unequally: {sum(taken[most])} steps in all on the {most}, "
        f"{sum(taken[least])} on the {least}; what differs may be the search."
    )
