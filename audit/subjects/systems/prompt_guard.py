"""A guard of words: a fixed text around everything that the model is asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from audit.subjects.systems.around import Around, GuardedTokenizer
from audit.subjects.systems.system import SHOWN, System
from audit.types import Access

if TYPE_CHECKING:
    from audit.subjects.load import Subject


@dataclass(frozen=True)
class PromptGuard(System):
    """Instructions or examples that tell a model not to answer."""

    system: str = ""
    """The system prompt: a turn of its own in a chat template, else a paragraph before the prompt."""
    prefix: str = ""
    """What stands right before the user's words, as it is (an in-context guard)."""
    suffix: str = ""
    """What stands right after the user's words, as it is."""

    title: ClassVar[str] = "a prompt guard"
    does: ClassVar[str] = "A fixed text around every prompt tells the model what not to answer."
    papers: ClassVar[str] = (
        "Guardrail baselines for unlearning (Thaker et al. 2024), in-context unlearning (Pawelczyk et al. 2023)"
    )
    access: ClassVar[frozenset[Access]] = SHOWN

    def fault(self) -> str:
        """A guard without words guards nothing."""
        if not (self.system or self.prefix or self.suffix):
            return 'without any text; give "system", "prefix" or "suffix".'
        return ""

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base, whose tokenizer carries the text."""
        guarded: Any = GuardedTokenizer(base.tokenizer, Around(self.system, self.prefix, self.suffix))
        return dataclasses.replace(base, tokenizer=cast("Any", guarded))
