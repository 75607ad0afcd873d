"""Text that a guarded system puts around what it is asked; it goes where prompts become tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Around:
    """A system turn, and what stands before and after the user's own words."""

    system: str = ""
    prefix: str = ""
    suffix: str = ""

    def user(self, prompt: str) -> str:
        """What the model reads in place of the user's words."""
        return f"{self.prefix}{prompt}{self.suffix}"


class GuardedTokenizer:
    """A tokenizer that also carries what its system puts around a prompt (`around`); all else is the tokenizer's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, around: Around) -> None:
        self.plain = tokenizer
        self.around = around

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As the tokenizer's own: texts → ids."""
        return self.plain(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["plain"], name)
