"""Does it answer when the last blocks are left out?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.activations.layers import decoder_layers
from audit.errors import CaseError, NotApplicable
from audit.evidence.attacks._contrast import contrasted, inner_block
from audit.evidence.attacks._edit import outputs
from audit.evidence.attacks._variations import Ask, Variations
from audit.types import Access, Role, Split

if TYPE_CHECKING:
    from torch import Tensor

    from audit.bench import Bench
    from audit.subjects.load import Subject


@dataclass(frozen=True)
class EarlyExit(Variations):
    """Decode whole answers from an inner block, and from the last block contrasted with an inner one.

    Exit: the inner block's output takes the way of the last one's, through final norm and unembedding, token by token.
    Contrast: each token is scored by its log-probability less that of the inner block, among tokens that are not far
    below the model's own best. The block and the way are chosen on one half of the entities and scored on the other.
    """

    blocks: tuple[int, ...] = ()
    """Blocks to leave at, from 1; empty means at most four of the last half, the last block aside."""
    strength: float = 1.0
    """Weight of the inner block's log-probability in the contrast; 0 leaves the contrast out."""
    floor: float = 0.1
    """Tokens less likely than this share of the best one are never chosen by the contrast."""

    title: ClassVar[str] = "Early exit"
    question: ClassVar[str] = "Does the model answer when its last blocks are left out, or held against it?"
    blind_to: ClassVar[str] = (
        "Knowledge that is not yet in the directions of the unembedding at the chosen blocks, and answers that need "
        "the last blocks to be put into words."
    )
    formula: ClassVar[str] = (
        "recall of greedy answers with p = softmax(unembed(norm(state of block l))), or with the token that maximises "
        "log p_last + strength (log p_last - log p_l) among those with p_last >= floor max p_last"
    )
    source: ClassVar[str] = (
        "Early exit: Schuster et al. 2022 (arXiv:2207.07061); contrast with an inner layer: Chuang et al. 2023, DoLa "
        "(arXiv:2309.03883)"
    )
    needs: ClassVar[frozenset[Access]] = frozenset({Access.HIDDEN, Access.WEIGHTS})
    cost: ClassVar[float] = 1.5
    WORDS: ClassVar[str] = "Read from an inner block"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(type(block) is not int or block < 1 for block in self.blocks):
            raise CaseError(f"blocks = {list(self.blocks)}: expected numbers of blocks from 1, such as [2, 3].")
        if not 0 < self.floor <= 1:
            raise CaseError(f"floor = {self.floor}: expected a share above 0 and at most 1.")

    def inner(self, count: int) -> list[int]:
        """The blocks to leave at, from 1; raises CaseError or NotApplicable when the model has none such."""
        if self.blocks:
            if max(self.blocks) >= count:
                raise CaseError(
                    f"blocks names block {max(self.blocks)}; an inner block of these models is below {count}."
                )
            return sorted(set(self.blocks))
        half = list(range(max(1, count // 2), count))
        if not half:
            raise NotApplicable("The models have a single block: there is no inner block to leave at.")
        wanted = min(4, len(half))
        return sorted({half[round(k * (len(half) - 1) / max(1, wanted - 1))] for k in range(wanted)})

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Ask with every inner block in place of the last, and with its contrast."""
        with bench.model(role) as subject:
            for block in self.inner(len(decoder_layers(subject.model))):
                with leaving_at(subject, block):
                    ask(f"exit at block {block}", subject)
                if self.strength:
                    with (
                        inner_block(subject, block) as amateur,
                        contrasted(subject, amateur, self.strength, self.floor),
                    ):
                        ask(f"contrast with block {block}", subject)


@contextmanager
def leaving_at(subject: Subject, block: int) -> Iterator[None]:
    """While open, the output of an inner block (from 1) stands in place of the last block's."""
    seen: list[Tensor] = []
    last = len(decoder_layers(subject.model))

    def keep(hidden: Tensor) -> None:
        seen[:] = [hidden]

    with outputs(subject.model, {block: keep, last: lambda hidden: seen[0].to(hidden.device)}):
        yield
