"""Loaded models and the room they take: kept while they fit, given back when they do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Literal

from audit.errors import SubjectError
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from audit.subjects.load import Subject

Quantize = Literal["int8", "nf4"]


class Garage:
    """Lends models: original and candidate stay together when they fit, else the one not in use makes room.

    Any thread may borrow; a model that is loaded already is lent while another one is being loaded.
    """

    def __init__(self, device: str = "auto", most: int | None = None) -> None:
        """`most` models are kept at once, besides those that are lent; None: as many as there is room for."""
        from audit.subjects.load import resolve_device

        self.device = resolve_device(device)
        self.most = most
        self._loaded: dict[tuple[str, str | None], Subject] = {}
        self._lent: dict[tuple[str, str | None], int] = {}
        self.loads = 0
        self._books = RLock()
        """Held for a moment, while what is loaded and what is lent changes."""
        self._loading = RLock()
        """Held while a model is loaded: two at once could each find the room that is there for one."""

    @property
    def number_format(self) -> str:
        """Device kind and number format that views depend on."""
        return "cpu float32" if self.device == "cpu" else "cuda bfloat16"

    @contextmanager
    def lend(self, spec: SubjectSpec, quantize: Quantize | None = None) -> Iterator[Subject]:
        """A shared model; whoever borrows it must not change it."""
        from audit.subjects.fingerprint import fingerprint

        key = (fingerprint(spec).id, quantize)
        subject = self._taken(key)
        if subject is None:
            with self._loading:
                subject = self._taken(key)  # somebody else may have loaded it meanwhile
                if subject is None:
                    loaded = self._load(spec, quantize)
                    with self._books:
                        self._loaded[key] = subject = loaded
                        self._lent[key] = self._lent.get(key, 0) + 1
        try:
            yield subject
        finally:
            with self._books:
                self._lent[key] -= 1
                if quantize:
                    self._drop(key)

    def _taken(self, key: tuple[str, str | None]) -> Subject | None:
        """A loaded model, lent once more and the most recently used; None when it is not loaded."""
        with self._books:
            subject = self._loaded.pop(key, None)
            if subject is not None:
                self._loaded[key] = subject  # the most recently used is last
                self._lent[key] = self._lent.get(key, 0) + 1
            return subject

    @contextmanager
    def private(self, spec: SubjectSpec) -> Iterator[Subject]:
        """A fresh copy for one borrower, released on leaving."""
        from audit.subjects.load import release

        with self._loading:
            subject = self._load(spec, None)
        try:
            yield subject
        finally:
            release(subject)

    def clear(self) -> None:
        """Give back everything that is not lent."""
        with self._books:
            for key in [key for key in self._loaded if not self._lent.get(key)]:
                self._drop(key)

    def _load(self, spec: SubjectSpec, quantize: Quantize | None) -> Subject:
        from audit.subjects.load import load
        from audit.subjects.memory import memory_estimate

        needed = memory_estimate(spec, self.device)
        with self._books:
            self._make_room(spec, needed)
        self.loads += 1
        return load(spec, device=self.device, quantize=quantize)

    def _make_room(self, spec: SubjectSpec, needed: int) -> None:
        """Give back what is not in use until a model fits; SubjectError when it does not even then."""
        from audit.subjects.memory import available_memory

        for key in [key for key in self._loaded if not self._lent.get(key)]:
            if self.most is not None and len(self._loaded) >= self.most:
                self._drop(key)
        while needed > (available := available_memory(self.device)):
            idle = [key for key in self._loaded if not self._lent.get(key)]
            if not idle:
                raise SubjectError(
                    f"{spec.name} needs about {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are free on "
                    f"{self.device}: use a larger device, a smaller number format, or close what else uses it."
                )
            self._drop(idle[0])

    def _drop(self, key: tuple[str, str | None]) -> None:
        from audit.subjects.load import release

        if not self._lent.get(key) and key in self._loaded:
            release(self._loaded.pop(key))
