"""What a recipe is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from audit.lab.data import Data
from audit.lab.train import Progress

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class Recipe(Protocol):
    """A way of making one model from another: a frozen dataclass whose fields are its settings."""

    @property
    def steps(self) -> int:
        """How many steps of training it takes."""
        ...

    def apply(self, model: LlamaForCausalLM, data: Data, seed: int, progress: Progress) -> LlamaForCausalLM:
        """Return the new model; `model` is float32 and may be changed in place."""
        ...
