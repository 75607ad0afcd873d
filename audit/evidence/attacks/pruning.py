"""Does cutting out the weights that serve the forgotten prompts alone bring the answers back?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from audit.errors import CaseError
from audit.evidence.attacks._edit import block_matrices, changed
from audit.evidence.attacks._variations import Ask, Variations
from audit.types import ANSWERING, Access, Item, Modality, Role, Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from audit.bench import Bench
    from audit.subjects.load import Subject

PROMPTS = 512
"""Prompts of each corpus that activations are read from."""
BATCH = 32


@dataclass(frozen=True)
class Pruning(Variations):
    """Set to zero the weights that matter most for forget prompts and are not among those that matter for the rest.

    A weight matters by its size times the norm of the activations that go into it (Wanda), within its matrix. Only
    prompts are read, never an answer. The pair of shares is chosen on one half of the entities and scored on the other.
    """

    retain_items: int = 25
    """Most retain facts that are asked under each variation, to see what it breaks; 0 asks none."""
    forget_shares: tuple[float, ...] = (0.01, 0.03, 0.1)
    """Shares of each matrix that matter most for forget prompts."""
    keep_shares: tuple[float, ...] = (0.01, 0.1)
    """Shares that matter most for retain prompts and are spared."""

    title: ClassVar[str] = "Set-difference pruning"
    question: ClassVar[str] = "Does cutting the weights that only the forgotten prompts use bring the answers back?"
    blind_to: ClassVar[str] = (
        "Unlearning that is spread over weights that other prompts use too, finer choices of weights (by gradient), "
        "and shares outside the grid."
    )
    formula: ClassVar[str] = (
        "recall with w_ij = 0 where |w_ij| |x_j|_2 is in the top p of its matrix on forget prompts and not in its "
        "top q on retain prompts; residual = (candidate pruned - reference pruned) / (original unpruned - "
        "reference pruned)"
    )
    source: ClassVar[str] = (
        "Wei et al. 2024 (arXiv:2402.05162), as an attack on unlearning in Lucki et al. 2024 (arXiv:2409.18025); "
        "score: Wanda (Sun et al. 2023, arXiv:2306.11695)"
    )
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = ANSWERING
    cost: ClassVar[float] = 2.5
    WORDS: ClassVar[str] = "Pruned"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, shares in (("forget_shares", self.forget_shares), ("keep_shares", self.keep_shares)):
            if not shares or any(not 0 < share < 1 for share in shares):
                raise CaseError(f"{name} = {list(shares)}: expected shares between 0 and 1, such as [0.01, 0.1].")

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Ask with every pair of shares cut; raises NotApplicable without a retain corpus."""
        forget = [bench.corpus(split).items[i] for i in bench.subset(split, PROMPTS)]
        keep = [bench.corpus("retain").items[i] for i in bench.subset("retain", PROMPTS)]
        with bench.private_model(role) as subject:
            mine, rest = (activation_norms(subject, items, bench.case.template) for items in (forget, keep))
            modules = block_matrices(subject.model)
            for p in self.forget_shares:
                for q in self.keep_shares:
                    cuts = {
                        name: _cut(mine[name], rest[name], p, q, type(module).__name__ == "Conv1D")
                        for name, module in modules.items()
                    }
                    with changed(subject.model, cuts):
                        ask(f"top {p:.1%} of forget less top {q:.1%} of retain", subject)


def _cut(mine: Tensor, rest: Tensor, p: float, q: float, conv: bool) -> Callable[[Tensor], Tensor]:
    return lambda weight: weight.masked_fill(difference(weight, mine, rest, p, q, conv), 0.0)


def difference(weight: Tensor, mine: Tensor, rest: Tensor, p: float, q: float, conv: bool = False) -> Tensor:
    """Which weights are among the top p by |w| mine and not among the top q by |w| rest [shape of the weight].

    `mine` and `rest` are norms of the inputs [in]; a Linear holds its weights as [out, in], a Conv1D as [in, out].
    """
    size = weight.abs().float()
    norms = (norm[:, None] if conv else norm[None] for norm in (mine, rest))
    mine_score, rest_score = (size * norm.to(size.device) for norm in norms)
    return _top(mine_score, p) & ~_top(rest_score, q)


def _top(scores: Tensor, share: float) -> Tensor:
    """The largest share of a matrix; nothing where the share is less than one weight."""
    import torch

    count = int(share * scores.numel())
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[scores.flatten().topk(count).indices] = True
    return chosen.view_as(scores)


def activation_norms(subject: Subject, items: Sequence[Item], template: str) -> dict[str, Tensor]:
    """Euclidean norm over all prompt tokens of every input of each matrix in the blocks: name of its weight → [in]."""
    import torch

    from audit.activations.capture import TOKEN_BUDGET, plan_batches
    from audit.activations.eyes import shown_to
    from audit.activations.generate import asked

    if subject.classes:
        return _seen_norms(subject, items)
    rows = [asked(subject, item, template) for item in items]
    plan = plan_batches(rows, TOKEN_BUDGET[subject.device.type])
    squares: dict[str, Tensor] = {}
    for begin, end in plan.batches:
        batch = [rows[i] for i in plan.order[begin:end]]
        length = max(len(row) for row in batch)
        ids = torch.tensor([[*row.ids] + [0] * (length - len(row)) for row in batch], device=subject.device)
        real = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in batch], device=subject.device)
        with _inputs(block_matrices(subject.model), real, squares), torch.inference_mode():
            seen = shown_to([row.shown for row in batch], ids)
            subject.model(input_ids=ids, attention_mask=real.long(), **seen, use_cache=False, logits_to_keep=1)
    return {name: value.sqrt() for name, value in squares.items()}


def _seen_norms(subject: Subject, items: Sequence[Item]) -> dict[str, Tensor]:
    """The same of a classifier or an encoder, over the items' images, or over their prompts and answers."""
    import torch

    from audit.activations import images, vectors

    squares: dict[str, Tensor] = {}
    with _inputs(block_matrices(subject.model), torch.ones(0, 0), squares), torch.inference_mode():
        for begin in range(0, len(items), BATCH):
            part = items[begin : begin + BATCH]
            if subject.encoding:
                vectors.feed(subject, part)
            else:
                subject.model(pixel_values=images.pixels(subject, part))
    return {name: value.sqrt() for name, value in squares.items()}


@contextmanager
def _inputs(modules: dict[str, nn.Module], real: Tensor, squares: dict[str, Tensor]) -> Iterator[None]:
    """While open, squares of every input at real tokens are added up."""

    def hook(name: str) -> Any:
        def before(module: Any, args: Any) -> None:
            # A matrix that sees only some tokens (an expert of a mixture) has no padding to leave out.
            states = args[0]
            states = states[real.to(states.device)] if states.shape[:2] == real.shape else states.flatten(0, -2)
            found = states.float().square().sum(0)
            squares[name] = squares[name] + found if name in squares else found

        return before

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
