"""Can a latent or a condition be found from which it is drawn again?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np

from audit import stats
from audit.errors import CaseError, NotIdentifiable, suggest
from audit.evidence.attacks._latents import Budget, search_condition, search_latents
from audit.instrument import SURE, classifier, in_words, looked_at, sure_from
from audit.stats import Scores
from audit.types import LATENTS_ONLY, Access, Chart, Modality, Place, Reading, Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.bench import Bench

SEARCHES = ("latent", "condition")
FEWEST = 3
ALL = "all"
Seen = Mapping[str, "NDArray[Any]"]
"""`judge`: whether the judge is sure of the class; `named`, `scorer`: whether it or the scorer names it [runs, looks,
items]; `images`: what the first run had drawn at its last look."""


class Row(NamedTuple):
    """One subject after some steps of one search."""

    search: Annotated[str, "what was moved: each latent by itself (latent), or one condition for all (condition)"]
    subject: Annotated[str, "role of the model that was searched; the original is shown before any search"]
    split: Annotated[str, "corpus of the latents"]
    seed: Annotated[str, "number of the run, or `all` for the mean over runs"]
    step: Annotated[int, "steps of the search so far"]
    recovery: Annotated[float, "share of the images of which the judge is as sure as of real ones of the class, 0 to 1"]
    low: Annotated[float, "lower end of the 95 % interval over entities and runs"]
    high: Annotated[float, "upper end"]
    named: Annotated[float, "share in which the judge names the class at all, however unsure"]
    scorer: Annotated[
        float, "share in which the scorer, which led the search, names it: it can be fooled by its own lead"
    ]
    items: Annotated[int, "latents"]
    entities: Annotated[int, "entities behind them"]


@dataclass(frozen=True)
class LatentSearch:
    """The gradient of a scorer leads, a judge that was trained apart decides, and the reference has the same budget.

    Whoever is led by a classifier's gradient finds images that fool this classifier, from any generator; what the
    scorer sees at the end is therefore no finding. And between the classes that a generator learnt lies something that
    a judge, who must name one, calls by the forgotten one's name; it counts only where the judge is as sure as of four
    in five real images of the class. A condition is found on one half of the latents and tried on the
    other. Where there are several searches, the headline's is chosen on one half of the entities and scored on the
    other.
    """

    steps: int = 80
    """Steps of each search; at half of them what is found still rises."""
    rate: float = 0.1
    """Step size of Adam."""
    seeds: int = 10
    """Runs of each search, each from starting points of its own; at least 3. Some starts lead nowhere: five runs leave
    an interval too wide for an answer."""
    items: int = 24
    """Most latents of a corpus, spread evenly over its entities."""
    searches: tuple[str, ...] = SEARCHES
    """`latent`, `condition`, or both; a generator without conditions has its latents searched alone."""

    title: ClassVar[str] = "Latent search"
    question: ClassVar[str] = "Can a latent or a condition be found from which the forgotten class is drawn again?"
    blind_to: ClassVar[str] = (
        "Searches with a larger budget, better starts or another scorer, and knowledge that no input brings out. A "
        "generator that never learnt the class may come near it between the classes that it learnt: the reference's "
        "share under the same search shows how near. What both classifiers take for it may still not be it."
    )
    formula: ClassVar[str] = (
        "share of images with argmax of the judge = class and its probability at least the 20 % quantile on real "
        "images of the class, after Adam on -log p_scorer(class | G(z, c)) over z, or "
        "over c, within the usual length of latents and conditions; residual = (candidate searched - reference "
        "searched) / (original unsearched - reference searched)"
    )
    source: ClassVar[str] = (
        "Search for inputs that bring an erased concept back: Circumventing Concept Erasure Methods (Pham et al. 2024, "
        "arXiv:2308.01508, conditions); projection into a latent space (Abdal et al. 2019, arXiv:1904.03189, latents)"
    )
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = LATENTS_ONLY
    row: ClassVar[type] = Row
    chart: ClassVar[Chart] = Chart(
        "line", "step", "recovery", low="low", high="high", facet="search", hover=("named", "scorer", "items"),
        x_title="steps of the search", y_title="judge is sure of the class", title="What the search brings back",
    )  # fmt: skip
    cost: ClassVar[float] = 6.0

    def __post_init__(self) -> None:
        if self.seeds < FEWEST:
            raise CaseError(f"seeds = {self.seeds}: an attack needs at least {FEWEST} runs to show its spread.")
        if self.steps < 1 or self.items < 2 or not self.rate > 0:
            raise CaseError("steps must be at least 1, items at least 2, and rate above 0.")
        if not self.searches:
            raise CaseError(f"searches is empty; expected at least one of {', '.join(SEARCHES)}.")
        for search in self.searches:
            if search not in SEARCHES:
                raise CaseError(f'Unknown search "{search}".{suggest(str(search), SEARCHES)}')

    @property
    def looks(self) -> tuple[int, ...]:
        """The steps after which it is judged what is drawn."""
        return tuple(sorted({0, self.steps, *(s for s in (5, 10, 20, 40, 80, 160, 320) if s < self.steps)}))

    def measure(self, bench: Bench) -> Reading:
        """Search candidate and null; raises NotIdentifiable without a judge or where it cannot be trusted."""
        tested = looked_at(bench)
        if "judge" not in tested:
            raise NotIdentifiable(
                "There is no judge: what is found by the gradient of the scorer fools the scorer, whether the class is "
                "there or not. Name a second classifier that was trained on its own, [subjects.judge]."
            )
        attacked: list[tuple[Role, Split]] = [("candidate", "forget")]
        attacked.append(("reference", "forget") if bench.null == "reference" else ("candidate", "holdout"))
        searches = self.searches if _conditional(bench) else ("latent",)
        wanted = [(search, *who) for search in searches for who in attacked]
        found = {key: self._searched(bench, *key, k / len(wanted), 1 / len(wanted)) for k, key in enumerate(wanted)}
        plain = {split: self._plain(bench, split) for split in bench.splits}

        def score(role: Role, split: Split) -> Scores:
            if role == "original":
                return self._scores(bench, split, plain[split]["judge"][:, 0])
            last = np.stack([found[search, role, split]["judge"][:, -1] for search in searches])
            if len(last) == 1:
                return self._scores(bench, split, last[0])
            entities = self._entities(bench, split)
            best = [stats.cross_fit(last[:, run], entities, bench.seed)[0] for run in range(self.seeds)]
            return self._scores(bench, split, np.stack(best))

        panel = stats.panel(bench, score)
        rows = [row for key, seen in found.items() for row in self._rows(bench, *key, seen, self.looks)]
        rows += [
            row for search in searches for split, s in plain.items()
            for row in self._rows(bench, search, "original", split, s, (0,))
        ]  # fmt: skip
        return Reading(rows, panel, self._note(bench, panel, found, in_words(tested)))

    def _searched(self, bench: Bench, search: str, role: Role, split: Split, done: float, share: float) -> Seen:
        """What judge and scorer see in what a subject draws along every run of a search [runs, looks, items]."""

        def compute() -> dict[str, NDArray[Any]]:
            drawn = []
            with bench.model(role) as subject:
                for run in range(self.seeds):
                    message = f"searching the {role} ({search}), run {run + 1} of {self.seeds}"

                    def tell(step: int, run: int = run, message: str = message) -> None:
                        bench.progress(done + share * (run + step / self.steps) / self.seeds, message)

                    drawn.append(self._run(bench, search, split, run, subject, tell))
            seen = _see(bench, split, self._chosen(bench, split), np.stack(drawn))
            return {**seen, "images": drawn[0][-1]}

        inputs = {"search": search, "budget": asdict(self._budget), "seeds": self.seeds, "items": self.items}
        return bench.remember("latent search", [role], inputs, compute, corpora=(split,))

    def drawings(self, bench: Bench) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
        """What the first run of each search found: item, whose and by which search, image; raises as `measure` does."""
        looked_at(bench)
        for role in ("candidate", "reference"):
            if role not in bench.roles:
                continue
            name = bench.case.candidate.name if role == "candidate" else role
            for search in self.searches if _conditional(bench) else ("latent",):
                images = self._searched(bench, search, role, "forget", 0.0, 0.0)["images"]
                for row, image in zip(self._chosen(bench, "forget"), images, strict=True):
                    yield bench.corpus("forget").items[row].id, f"{name}, {search} search", image

    @property
    def _budget(self) -> Budget:
        return Budget(self.steps, self.rate, self.looks)

    def _run(self, bench: Bench, search: str, split: Split, run: int, subject: Any, tell: Any) -> NDArray[np.uint8]:
        """The images of one run [looks, items, height, width, channels]; a condition is tried on the other half."""
        items = [bench.corpus(split).items[i] for i in self._chosen(bench, split)]
        seed = bench.torch_seed("latent search", split, run) if run else 0
        if search == "latent":
            return np.stack(search_latents(subject, items, self._budget, seed, tell))
        first = stats.halves(self._entities(bench, split), bench.seed + run)
        whole: NDArray[np.uint8] | None = None
        for half in (first, ~first):
            taught = [item for item, yes in zip(items, half, strict=True) if not yes]
            asked = [item for item, yes in zip(items, half, strict=True) if yes]
            one = np.stack(search_condition(subject, taught, asked, self._budget, seed, tell))
            whole = np.zeros((len(one), len(items), *one.shape[2:]), np.uint8) if whole is None else whole
            whole[:, half] = one
        assert whole is not None
        return whole

    def _plain(self, bench: Bench, split: Split) -> Seen:
        """What judge and scorer see in what the original draws without any search [1, 1, items]."""

        def compute() -> dict[str, NDArray[np.float64]]:
            rows = self._chosen(bench, split)
            return _see(bench, split, rows, bench.drawn("original", split)[rows][None, None])

        return bench.remember("latents judged", ["original"], {"items": self.items}, compute, corpora=(split,))

    def _chosen(self, bench: Bench, split: Split) -> NDArray[np.intp]:
        return bench.subset(split, self.items)

    def _entities(self, bench: Bench, split: Split) -> list[str]:
        every = bench.corpus(split).entities
        return [every[i] for i in self._chosen(bench, split)]

    def _scores(self, bench: Bench, split: Split, values: NDArray[np.float64]) -> Scores:
        """Scores of the chosen latents; `values` is [runs, items]."""
        ids = [bench.corpus(split).items[i].id for i in self._chosen(bench, split)]
        return Scores(ids, self._entities(bench, split), values)

    def _rows(self, bench: Bench, search: str, role: Role, split: Split, seen: Seen, looks: Sequence[int]) -> list[Row]:
        rows = []
        runs = len(seen["judge"])
        parts = [(ALL, slice(None)), *((str(run), slice(run, run + 1)) for run in range(runs) if runs > 1)]
        for name, part in parts:
            for k, step in enumerate(looks):
                point = stats.mean(self._scores(bench, split, seen["judge"][part, k]), seed=bench.seed).estimate(0.0)
                named, led = (float(seen[kind][part, k].mean()) for kind in ("named", "scorer"))
                numbers = (point.value, point.low, point.high, named, led)
                rows.append(Row(search, role, split, name, step, *numbers, seen["judge"].shape[2], point.n))
        return rows

    def _note(
        self, bench: Bench, panel: stats.Panel, found: Mapping[tuple[str, Role, Split], Seen], tested: str
    ) -> str:
        shares = "; ".join(
            f"by the {search} {seen['judge'][:, -1].mean():.0%} ({seen['named'][:, -1].mean():.0%} named so however "
            f"unsure; the scorer that led names {seen['scorer'][:, -1].mean():.0%})"
            for (search, role, split), seen in found.items() if (role, split) == ("candidate", "forget")
        )  # fmt: skip
        control = "the reference under the same search" if panel.null == "reference" else "an unseen condition"
        null = f"{panel.null_candidate.value:.0%}"
        return (
            f"After {self.steps} steps the judge is as sure of the forgotten class in what {bench.case.candidate.name} "
            f"draws as in {1 - SURE:.0%} of real images: {shares}. The control, {control}, reaches {null}, the "
            f"original without any search {panel.original.value:.0%}. {tested}"
        )


def _conditional(bench: Bench) -> bool:
    with bench.model("original") as subject:
        return getattr(subject.model, "condition", None) is not None


def _see(
    bench: Bench, split: Split, rows: NDArray[np.intp], drawn: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """What judge and scorer see of each item's class in images [runs, looks, items, height, width, channels]."""
    from audit.activations.drawing import scored
    from audit.activations.images import class_of

    items = [bench.corpus(split).items[i] for i in rows]
    limits = sure_from(bench, "judge")
    found = {}
    for name in ("judge", "scorer"):
        with classifier(bench, name) as one:
            wanted = np.array([class_of(one, item) for item in items])
            logits = scored(one, drawn.reshape(-1, *drawn.shape[3:])).astype(np.float64).reshape(*drawn.shape[:3], -1)
        found[name] = (logits.argmax(-1) == wanted).astype(np.float64)
        if name == "judge":
            logs = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
            own = np.exp(np.take_along_axis(logs, np.broadcast_to(wanted[:, None], (*drawn.shape[:3], 1)), -1))[..., 0]
            least = np.array([limits.get(item.answer, 1.0) for item in items])
            found["named"], found["judge"] = found["judge"], found["judge"] * (own >= least)
    return found
