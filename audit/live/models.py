"""The models of a case file, loaded when they are first asked, shared by everyone who asks, given back when idle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

from audit.bench import Bench
from audit.cache import Cache
from audit.errors import CaseError, NotApplicable, suggest
from audit.progress import read_progress
from audit.store import Run
from audit.subjects.modality import DO
from audit.subjects.systems.kinds import system_of
from audit.subjects.systems.sight import hidden_from
from audit.types import SORTING, Access, Case, Item, Role, SubjectSpec

if TYPE_CHECKING:
    from audit.dictionaries.source import Dictionary
    from audit.subjects.load import Subject

OFF = " (guard off)"
"""What stands after a system's name for the plain model under it."""
MOST = 8
"""Models that are kept loaded, if there is room; the one not used longest makes room first."""
IDLE_S = 600.0
"""Seconds after which models that nobody asks are given back."""


def case_file_of(run: Run) -> Path:
    """The case file that a run was made from; CaseError when it is not on this machine."""
    recorded = read_progress(run.path).case
    name = str(run.plan.get("case_file", "case.toml"))
    for path in (Path(recorded) if recorded else None, run.path.parent / name, run.path / name):
        if path is not None and path.is_file():
            return path
    raise CaseError(f"The case file of this run ({name}) is not on this machine, so its models cannot be loaded.")


class Models:
    """Every model of a case file by its name: original, reference, and each candidate.

    Any thread may ask. Whoever puts hooks on a model has it `alone` from before they are put on until they are off
    again, so that nobody else computes with them; other models answer meanwhile, also while one is being loaded.
    """

    def __init__(
        self,
        case_file: Path,
        *,
        root: Path | None = None,
        cache: Cache | None = None,
        device: str = "auto",
        idle_s: float = IDLE_S,
    ) -> None:
        from audit.casefile import read_plan
        from audit.subjects.garage import Garage

        self.case_file = case_file
        self.cases = read_plan(case_file, root=root).cases()
        self.garage = Garage(device, MOST)
        self._lock, self._reading = RLock(), RLock()
        self._alone: dict[int, Any] = {}
        self._cache = cache
        self._idle_s = idle_s
        self._timer: Timer | None = None
        self._dictionaries: list[Dictionary] | None = None

    @property
    def case(self) -> Case:
        """The case of the first candidate: corpora, template and seed are the same in all."""
        return self.cases[0]

    @property
    def names(self) -> list[str]:
        """Original, reference where there is one, then every candidate."""
        return [*(role for role in self.case.roles if role != "candidate"), *(c.candidate.name for c in self.cases)]

    @property
    def guarded(self) -> list[str]:
        """The candidates that are systems: a guard, a filter or an intervention can be taken away from them."""
        return [c.candidate.name for c in self.cases if system_of(c.candidate) is not None]

    def chosen(self, candidates: Sequence[str] | None = None, guard_off: bool = False) -> list[str]:
        """Original, reference, and the candidates named (all of them unless named); CaseError for an unknown one.

        With `guard_off` the plain model under each system follows it; CaseError when none of them is a system.
        """
        names = self.names
        unknown = [name for name in candidates or () if name not in names]
        if unknown:
            raise CaseError(f'There is no candidate "{unknown[0]}".{suggest(unknown[0], names)}')
        found = [name for name in names if name in self.case.roles or not candidates or name in candidates]
        if not guard_off:
            return found
        if not set(found) & set(self.guarded):
            raise CaseError("None of these candidates is a system: there is no guard that could be turned off.")
        return [one for name in found for one in ((name, name + OFF) if name in self.guarded else (name,))]

    def bench(self, candidate: str | None = None) -> Bench:
        """A bench of one candidate (the first unless named); CaseError for one that the case file has not."""
        if candidate is None:
            case: Case | None = self.case
        else:
            case = next((case for case in self.cases if case.candidate.name == candidate), None)
        if case is None:
            raise CaseError(f'The case file {self.case_file} has no candidate "{candidate}".')
        return Bench(case, self.garage, self._cache, audit=self.cases)

    def spec(self, name: str) -> SubjectSpec:
        """The subject that a name stands for; CaseError for a name that is not there."""
        bench, role = self._place(name)
        return bench.case.subject(role)

    def unseen(self, spec: SubjectSpec) -> str:
        """Why no inner state of a subject can be shown or changed, in a sentence or two; empty where they can."""
        return hidden_from(spec, {Access.HIDDEN}, self.case.original)

    def item(self, id: str) -> Item:
        """An item of the case by its id; CaseError when there is none."""
        corpora: dict[Any, Any] = dict(self.case.corpora)
        corpus = corpora.get(id.split(":")[0])
        found = next((item for item in corpus.items if item.id == id), None) if corpus else None
        if found is None:
            raise CaseError(f"There is no item {id} in this case.")
        return found

    def dictionary(self, layer: int) -> Dictionary:
        """The dictionary of features of a block (from 1); CaseError when the case has none for it."""
        with self._reading:
            if self._dictionaries is None:
                from audit.dictionaries.source import dictionaries

                self._dictionaries = dictionaries(self.bench())
        found = next((d for d in self._dictionaries if d.layer == layer), None)
        if found is None:
            raise CaseError(f"There is no dictionary for block {layer} in this case.")
        return found

    @contextmanager
    def lend(self, name: str) -> Iterator[Subject]:
        """A loaded model that must not be changed; CaseError for a name that is not there.

        Raises NotApplicable for what answers in no words of its own.
        """
        bench, role = self._place(name)
        if bench.modality in SORTING:
            raise NotApplicable(
                f"The subjects of this case {DO[bench.modality]}. What each finds for an item stands under Behaviour "
                "and Examples."
            )
        try:
            with bench.model(role) as subject:
                yield subject
        finally:
            self.rest()

    @contextmanager
    def alone(self, subject: Subject) -> Iterator[None]:
        """While open, nobody else computes with this model; two names may stand for one."""
        with self._lock:
            own = self._alone.setdefault(id(subject.model), RLock())
        with own:
            yield

    def rest(self) -> None:
        """From now on nobody asks: give the models back if that stays so."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = Timer(self._idle_s, self.close)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Give back every model that is not being asked; the next question loads it again."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self.garage.clear()

    def _place(self, name: str) -> tuple[Bench, Role]:
        if name not in self.names and (whole := name.removesuffix(OFF)) in self.guarded:
            return self.bench(whole).beneath(), "candidate"
        if name not in self.names:
            raise CaseError(f'There is no model "{name}".{suggest(name, self.names)}')
        for role in self.case.roles:
            if name == role != "candidate":
                return self.bench(), role
        return self.bench(name), "candidate"
