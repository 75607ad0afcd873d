"""Loaded models and the room they take: kept while they fit, given back when they do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from audit.errors import SubjectError
from audit.types import SubjectSpec

if TYPE_CHECKING:
    from audit.subjects.load import Subject

Quantize = Literal["int8", "nf4"]


class Garage:
    """Lends models: original and candidate stay together when they fit, else the one not in use makes room."""

    def __init__(self, device: str = "auto", most: int | None = None) -> None:
        """`most` models are kept at once, besides those that are lent; None: as many as there is room for."""
        from audit.subjects.load import resolve_device

        self.device = resolve_device(device)
        self.most = most
        self._loaded: dict[tuple[str, str | None], Subject] = {}
        self._lent: dict[tuple[str, str | None], int] = {}
        self.loads = 0

    @property
    def number_format(self) -> str:
        """Device kind and number format that views depend on."""
        return "cpu float32" if self.device == "cpu" else "cuda bfloat16"

    @contextmanager
    def lend(self, spec: SubjectSpec, quantize: Quantize | None = None) -> Iterator[Subject]:
        """A shared model; whoever borrows it must not change it."""
        from audit.subjects.fingerprint import fingerprint

        key = (fingerprint(spec).id, quantize)
        if key not in self._loaded:
            self._loaded[key] = self._load(spec, quantize)
        subject = self._loaded.pop(key)
        self._loaded[key] = subject  # the most recently used is last
        self._lent[key] = self._lent.get(key, 0) + 1
        try:
            yield subject
        finally:
            self._lent[key] -= 1
            if quantize:
                self._drop(key)

    @contextmanager
    def private(self, spec: SubjectSpec) -> Iterator[Subject]:
        """A fresh copy for one borrower, released on leaving."""
        from audit.subjects.load import release

        subject = self._load(spec, None)
        try:
            yield subject
        finally:
            release(subject)

    def clear(self) -> None:
        """Give back everything that is not lent."""
        for key in [key for key in self._loaded if not self._lent.get(key)]:
            self._drop(key)

    def _load(self, spec: SubjectSpec, quantize: Quantize | None) -> Subject:
        from audit.subjects.load import load
        from audit.subjects.memory import available_memory, memory_estimate

        needed = memory_estimate(spec, self.device)
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
        self.loads += 1
        return load(spec, device=self.device, quantize=quantize)

    def _drop(self, key: tuple[str, str | None]) -> None:
        from audit.subjects.load import release

        if not self._lent.get(key) and key in self._loaded:
            release(self._loaded.pop(key))
