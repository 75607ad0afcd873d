"""Ask a subject under several variations of one attack; the one that counts is chosen on one half of the entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Protocol

import numpy as np

from audit import stats
from audit.errors import CaseError
from audit.evidence.behaviour.recall import check_metric, score_all
from audit.stats import Scores
from audit.types import Access, Chart, Estimate, Item, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench
    from audit.subjects.load import Subject

PLAIN = "as it is"


class Ask(Protocol):
    """`ask(variation, subject)` hears what the subject, as it now stands, says to every question."""

    def __call__(self, variation: str, subject: Subject, some: Set[str] | None = None) -> None:
        """With `some`, only these items, by id; the same variation is then asked again for the others."""


class VariationRow(NamedTuple):
    """One answer of one subject under one variation of the attack."""

    variation: Annotated[str, "what was done to the subject; `as it is` is nothing"]
    seed: Annotated[str, "number of the run"]
    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who or what the item is about; the item itself where the corpus does not say"]
    subject: Annotated[str, "role of the model that answered"]
    split: Annotated[str, "corpus of the item; retain shows what the attack breaks"]
    prompt: Annotated[str, "the question"]
    said: Annotated[str, "what the model said: greedy, up to the first line break"]
    score: Annotated[float, "how much of the true answer was said, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval of this variation's mean, over entities and runs"]
    high: Annotated[float, "upper end of that interval"]


@dataclass(frozen=True)
class Heard:
    """What one subject said to the same questions under every variation, over all runs."""

    items: list[Item]
    tested: list[NDArray[np.bool_]]
    """Which of the items count in each run [runs][items]; retain items always do."""
    said: dict[str, list[list[str]]]
    """variation → [runs][items], PLAIN first."""


@dataclass(frozen=True)
class Variations:
    """The settings and the measurement that attacks with several variations share; `attack` tries them."""

    items: int = 100
    """Most facts of a corpus that are asked, spread evenly over its entities."""
    retain_items: int = 50
    """Most retain facts that are asked under each variation, to see what it breaks; 0 asks none."""
    metric: str = "rougeL_recall"
    """`rougeL_recall` or `contains`."""

    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    row: ClassVar[type] = VariationRow
    chart: ClassVar[Chart] = Chart(
        "bar", "variation", "score", low="low", high="high", facet="split",
        x_title="variation", y_title="recall", title="Recall under each variation of the attack",
    )  # fmt: skip
    runs: ClassVar[int] = 1
    """How often the attack is repeated with another seed; 1 for what is deterministic."""
    WORDS: ClassVar[str] = "Attacked"
    """Begins the note: `Pruned, npo says ...`."""

    COMPUTED: ClassVar[str] = ""
    """Names a change of what `attack` does, so that no answer from before it is read again."""

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if self.items < 2:
            raise CaseError(f"items = {self.items}: expected at least 2.")

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Put a subject into every variation and `ask` it."""
        raise NotImplementedError

    def tests(self, bench: Bench, split: Split, run: int) -> NDArray[np.bool_]:
        """Which items of a corpus a run may test [items of the corpus]."""
        return np.ones(len(bench.corpus(split)), bool)

    def is_control(self, variation: str) -> bool:
        """Whether a variation is shown beside the attack and never chosen as its result."""
        return False

    def measure(self, bench: Bench) -> Reading:
        """Attack candidate and null; the original is taken as it is."""
        null: tuple[Role, Split] = ("reference", "forget") if bench.null == "reference" else ("candidate", "holdout")
        heard: dict[tuple[Role, Split], Heard] = {}
        for k, (role, split) in enumerate((("candidate", "forget"), null)):
            heard["original", split] = self._hear(bench, "original", split, None)
            heard[role, split] = self._hear(bench, role, split, k)

        def score(role: Role, split: Split) -> Scores:
            return self._headline(bench, heard[role, split])

        panel = stats.panel(bench, score)
        rows = [row for (role, split), found in heard.items() for row in self._rows(bench, role, split, found)]
        return Reading(rows, panel, self.note(bench, panel, heard["candidate", "forget"]))

    def _hear(self, bench: Bench, role: Role, split: Split, part: int | None) -> Heard:
        """What a subject says as it is and, unless `part` is None, under the attack; runs are remembered one by one."""
        places = bench.subset(split, self.items)
        asked = [bench.corpus(split).items[i] for i in places]
        plain = [bench.says(role, split)[i] for i in places]
        if self.retain_items and bench.has("retain"):
            kept = bench.subset("retain", self.retain_items)
            asked += [bench.corpus("retain").items[i] for i in kept]
            plain += bench.says(role, "retain", len(kept))
        masks = [self.tests(bench, split, run)[places] for run in range(self.runs)]
        tested = [np.concatenate([mask, np.ones(len(asked) - len(mask), bool)]) for mask in masks]
        said: dict[str, list[list[str]]] = {PLAIN: [plain] * self.runs}
        for run in range(self.runs if part is not None else 0):
            begin = ((part or 0) + run / self.runs) / 2
            for variation, texts in self._run(bench, role, split, run, asked, begin).items():
                said.setdefault(variation, []).append(texts)
        return Heard(asked, tested, said)

    def _run(
        self, bench: Bench, role: Role, split: Split, run: int, asked: list[Item], begin: float
    ) -> dict[str, list[str]]:
        def compute() -> dict[str, np.ndarray]:
            from audit.activations.generate import says

            texts: dict[str, list[str]] = {}

            def ask(variation: str, subject: Subject, some: Set[str] | None = None) -> None:
                message = f"asking the {role} ({split}, run {run + 1} of {self.runs}): {variation}"
                done = begin + 0.5 / self.runs * len(texts) / (len(texts) + 4)
                places = [i for i, item in enumerate(asked) if some is None or item.id in some]
                said = says(
                    subject, [asked[i] for i in places], bench.case.template,
                    progress=lambda share: bench.progress(done, message),
                )  # fmt: skip
                line = texts.setdefault(variation, [""] * len(asked))
                for i, text in zip(places, said, strict=True):
                    line[i] = text

            bench.progress(begin, f"attacking the {role} ({split}), run {run + 1} of {self.runs}")
            self.attack(bench, role, split, run, ask)
            return {"variations": np.asarray(list(texts), dtype=str), "said": np.asarray(list(texts.values()), str)}

        settings = {name: value for name, value in asdict(self).items() if name != "metric"}
        inputs = {"settings": settings, "split": split, "run": run, "asked": [item.id for item in asked]}
        used: list[Role] = [role] if role == "original" else [role, "original"]
        stored = bench.remember(f"attack {type(self).__name__}{self.COMPUTED}", used, inputs, compute)
        return dict(zip(stored["variations"].tolist(), stored["said"].tolist(), strict=True))

    def _scores(self, heard: Heard, values: Sequence[NDArray[np.float64]], split: str) -> Scores:
        mine = [i for i, item in enumerate(heard.items) if item.id.startswith(f"{split}:")]
        items = [heard.items[i] for i in mine]
        used = np.stack([mask[mine] for mask in heard.tested])
        return Scores([i.id for i in items], [i.entity or i.id for i in items], np.stack(values)[:, mine], used)

    def values(self, heard: Heard, variation: str) -> list[NDArray[np.float64]]:
        """Scores of one variation [runs][items]."""
        return [score_all(texts, heard.items, self.metric) for texts in heard.said[variation]]

    def _headline(self, bench: Bench, heard: Heard) -> Scores:
        """Scores at variations chosen on one half of the tested entities and scored on the other, run by run."""
        split = heard.items[0].id.split(":")[0]
        tried = [self.values(heard, name) for name in heard.said if not self.is_control(name)]
        best = []
        for run, mask in enumerate(heard.tested):
            mine = [i for i, item in enumerate(heard.items) if mask[i] and item.id.startswith(f"{split}:")]
            entities = [heard.items[i].entity or heard.items[i].id for i in mine]
            values = np.zeros(len(heard.items))
            values[mine], _ = stats.cross_fit(np.stack([v[run] for v in tried])[:, mine], entities, bench.seed)
            best.append(values)
        return self._scores(heard, best, split)

    def means(self, bench: Bench, heard: Heard, split: str) -> dict[str, Estimate]:
        """Recall of each variation on the tested corpus or on retain; nothing where that was not asked."""
        if not any(item.id.startswith(f"{split}:") for item in heard.items):
            return {}
        return {
            name: stats.mean(self._scores(heard, self.values(heard, name), split), seed=bench.seed).estimate(0.0)
            for name in heard.said
        }

    def _rows(self, bench: Bench, role: Role, split: Split, heard: Heard) -> Iterator[VariationRow]:
        means: dict[str, dict[str, Estimate]] = {name: self.means(bench, heard, name) for name in (split, "retain")}
        for variation, runs in heard.said.items():
            values = self.values(heard, variation)
            # Unattacked, runs differ only in what they test.
            same = variation == PLAIN and all((mask == heard.tested[0]).all() for mask in heard.tested)
            for run, texts in enumerate(runs[:1] if same else runs):
                for i, item in enumerate(heard.items):
                    where = item.id.split(":")[0]
                    mean = means[where][variation]
                    if heard.tested[run][i]:
                        yield VariationRow(
                            variation, str(run), item.id, item.entity or item.id, role, where, item.prompt, texts[i],
                            float(values[run][i]), mean.low, mean.high,
                        )  # fmt: skip

    def note(self, bench: Bench, panel: stats.Panel, heard: Heard) -> str:
        """What came back, from where, against which control, and what the attack broke."""
        means, kept = self.means(bench, heard, "forget"), self.means(bench, heard, "retain")
        best = max((name for name in means if not self.is_control(name)), key=lambda name: means[name].value)
        control = "the attacked reference" if panel.null == "reference" else "the same attack on facts it never saw"
        text = (
            f"{self.WORDS}, {bench.case.candidate.name} says {panel.candidate.value:.0%} of the answers "
            f"({means[PLAIN].value:.0%} as it is), {control} {panel.null_candidate.value:.0%}. "
        )
        if best == PLAIN:
            text += "No variation gives more than it says anyway."
        else:
            text += f"Most come back with: {best} ({means[best].value:.0%})."
            if kept:
                text += f" It then says {kept[best].value:.0%} of retain answers ({kept[PLAIN].value:.0%} as it is)."
        controls = [means[name].value for name in means if self.is_control(name)]
        if controls:
            text += f" {self.CONTROL}: {np.mean(controls):.0%}."
        return text

    CONTROL: ClassVar[str] = "Control"
