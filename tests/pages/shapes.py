"""Evidence of shapes that pages treat by their columns: texts per item, a ROC curve, a curve of one item over layers.

They stand in the catalogue only while `registered()` is open, so that nothing else ever sees them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, NamedTuple, cast

from audit.catalogue import CATALOGUE
from audit.types import Access, Chart, Place, Reading

TEXTS, ROC, LENS = "attacks.made_up_texts", "privacy.made_up_curve", "attacks.made_up_layers"


class TextRow(NamedTuple):
    """One text of one subject."""

    item: Annotated[str, "id of the item"]
    entity: Annotated[str, "who the item is about"]
    subject: Annotated[str, "role of the model"]
    split: Annotated[str, "corpus of the item"]
    family: Annotated[str, "what was tried"]
    run: Annotated[int, "number of the run, from 0"]
    prompt: Annotated[str, "what the model was given"]
    said: Annotated[str, "what the model said"]
    score: Annotated[float, "share of the answer's words, 0 to 1"]


class RocRow(NamedTuple):
    """One point of one curve."""

    false_positive_rate: Annotated[float, "share of unseen answers that are taken for trained ones"]
    subject: Annotated[str, "role of the model"]
    true_positive_rate: Annotated[float | None, "share of forget answers that are found"]
    low: Annotated[float | None, "lower end"]
    high: Annotated[float | None, "upper end"]
    auc: Annotated[float, "area under the curve"]
    auc_low: Annotated[float, "lower end"]
    auc_high: Annotated[float, "upper end"]


class LensRow(NamedTuple):
    """One item at one block."""

    layer: Annotated[int, "block, from 1"]
    item: Annotated[str, "id of the item"]
    subject: Annotated[str, "role of the model"]
    rank: Annotated[float, "rank of the answer's first token"]


@dataclass(frozen=True)
class _Shape:
    """What the three have in common."""

    budget: int = 3
    """Tries."""

    question: ClassVar[str] = "Is it there in this shape?"
    blind_to: ClassVar[str] = "Everything, it is made up."
    formula: ClassVar[str] = "none"
    source: ClassVar[str] = "made up"
    place: ClassVar[Place] = "recoverable"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.TEXT})
    cost: ClassVar[float] = 0.1

    def measure(self, bench: Any) -> Reading:
        """Tests give the rows."""
        raise NotImplementedError


@dataclass(frozen=True)
class Texts(_Shape):
    """Transcripts."""

    title: ClassVar[str] = "Made-up texts"
    row: ClassVar[type] = TextRow
    chart: ClassVar[Chart] = Chart("bar", "family", "score", y_title="share of the answer said")


@dataclass(frozen=True)
class Roc(_Shape):
    """A curve."""

    title: ClassVar[str] = "Made-up membership"
    place: ClassVar[Place] = "stored"
    row: ClassVar[type] = RocRow
    chart: ClassVar[Chart] = Chart("line", "false_positive_rate", "true_positive_rate", low="low", high="high")


@dataclass(frozen=True)
class Lens(_Shape):
    """An item's rank by block."""

    title: ClassVar[str] = "Made-up ranks"
    row: ClassVar[type] = LensRow
    chart: ClassVar[Chart] = Chart("line", "layer", "rank", y_title="rank")


SHAPES: dict[str, type[_Shape]] = {TEXTS: Texts, ROC: Roc, LENS: Lens}


def register() -> None:
    """Put them into the catalogue, until `unregister`."""
    for id, cls in SHAPES.items():
        sys.modules[f"audit.evidence.{id}"] = cast(Any, SimpleNamespace(**{cls.__name__: cls}))
        CATALOGUE[id] = cls.__name__


def unregister() -> None:
    """Take them out again."""
    for id in SHAPES:
        sys.modules.pop(f"audit.evidence.{id}", None)
        CATALOGUE.pop(id, None)


@contextmanager
def registered() -> Iterator[None]:
    """The catalogue with them for a while."""
    already = TEXTS in CATALOGUE  # inside another such block they stay until that one ends
    register()
    try:
        yield
    finally:
        if not already:
            unregister()
