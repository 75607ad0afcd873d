"""Contrastive decoding: an expert's token scores less those of an amateur."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from audit.subjects.systems.combined import Combined
from audit.subjects.systems.system import OUTPUTS, System
from audit.types import Access

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

OUT = -1000.0
"""The logit of a token that is ruled out, as in DoLa's released code: far below all others, and still a number."""


@dataclass(frozen=True)
class ContrastDecoding(System):
    """(1 + strength) * expert - strength * amateur over the tokens that the expert finds plausible."""

    amateur: str = ""
    """The model whose preferences are taken away, path or hub id; the subject's own path is the expert."""
    strength: float = 0.5
    """How much of the amateur is taken away, 0 or more; 0 leaves the expert."""
    plausible: float = 0.1
    """Tokens less likely than this share of the expert's most likely one are ruled out, 0 (none is) to 1."""

    title: ClassVar[str] = "a contrast of two models"
    does: ClassVar[str] = "Every token is scored by how much more an expert likes it than an amateur does."
    papers: ClassVar[str] = (
        "Contrastive decoding (Li et al. 2023; O'Brien and Lewis 2023), Lower Layer Matters (2024) with its amateur's "
        "last layer"
    )
    access: ClassVar[frozenset[Access]] = OUTPUTS
    models: ClassVar[tuple[str, ...]] = ("amateur",)

    def fault(self) -> str:
        """No amateur, or a number out of its range."""
        if not self.amateur:
            return 'without an amateur; give the path of the second model as "amateur".'
        if self.strength < 0:
            return f"with the strength {self.strength:g}; it is 0 or more."
        if not 0 <= self.plausible <= 1:
            return f"with plausible {self.plausible:g}; it is a share of the most likely token, from 0 (off) to 1."
        return ""

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """Both models behind one door."""
        both: Any = Combined([base.model, parts["amateur"].model], self.combine)
        return dataclasses.replace(base, model=cast("Any", both))

    def combine(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits of expert and amateur [..., vocabulary] → the system's."""
        expert, amateur = logits
        found = (1 + self.strength) * expert - self.strength * amateur
        if not self.plausible:
            return found
        return found.masked_fill(expert < expert.amax(-1, keepdim=True) + math.log(self.plausible), OUT)
