"""Which layers hold the edit?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.activations.layers import decoder_layers
from audit.errors import NotApplicable, NotIdentifiable
from audit.evidence.attacks._edit import changed
from audit.evidence.attacks._variations import Ask, Variations
from audit.types import ANSWERING, Access, Modality, Reading, Role, Split

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from audit.bench import Bench

BLOCKS_OF = {"vision_model.": "image ", "text_model.": "text "}
"""What the blocks of the two towers of an encoder are called; each tower counts its own."""
ENDS = "embedding, final norm and head"


@dataclass(frozen=True)
class RestoreLayers(Variations):
    """Put one block of the original back into the subject, ask, and take it out again; block by block.

    A diagnosis rather than an attack: what comes back may come from the original's block, and an attacker does not have
    it. It tells where the edit sits. The block is chosen on one half of the entities and scored on the other.
    """

    title: ClassVar[str] = "Restoring single layers (diagnosis)"
    question: ClassVar[str] = (
        "Which layers hold the edit: does one block of the original, put back, bring answers back?"
    )
    blind_to: ClassVar[str] = (
        "What an attacker without the original can do: the information may come from the original's block, so this "
        "is a diagnosis of where the edit sits. Edits spread over many blocks, and subjects trained from another "
        "start, whose parts do not fit the original's, as retain answers show."
    )
    formula: ClassVar[str] = (
        "recall with the weights of block l (or of embedding, final norm and head) taken from the original; residual = "
        "(candidate restored - reference restored) / (original - reference restored)"
    )
    source: ClassVar[str] = (
        "Layer restoration after Hong et al. 2024, Intrinsic Evaluation of Unlearning Using Parametric Knowledge "
        "Traces, and causal interchange of weights (Vig et al. 2020, arXiv:2004.12265)"
    )
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = ANSWERING
    cost: ClassVar[float] = 2.0
    diagnosis: ClassVar[bool] = True
    WORDS: ClassVar[str] = "With one block of the original put back (a diagnosis, not an attack)"

    def measure(self, bench: Bench) -> Reading:
        """Raises NotIdentifiable without a reference, whatever the holdout says."""
        if bench.null != "reference":
            raise NotIdentifiable(
                "Putting the original's block back injects what it knows; only a reference can show how much of that "
                "any model would say."
            )
        return super().measure(bench)

    def attack(self, bench: Bench, role: Role, split: Split, run: int, ask: Ask) -> None:
        """Ask with each part of the original in place; raises NotApplicable where the parts do not fit."""
        with bench.private_model(role) as subject, bench.model("original") as original:
            theirs = dict(original.model.named_parameters())
            mine = dict(subject.model.named_parameters())
            for words, names in parts(subject.model).items():
                unfit = [name for name in names if name not in theirs or theirs[name].shape != mine[name].shape]
                if unfit:
                    raise NotApplicable(f"{unfit[0]} of the {role} has no match of the same shape in the original.")
                with changed(subject.model, {name: _taking(theirs[name].detach()) for name in names}):
                    ask(words, subject)


def parts(model: PreTrainedModel) -> dict[str, list[str]]:
    """Names of the parameters of each block, and of all that lies outside the blocks."""
    found: dict[str, list[str]] = {}
    inside: set[str] = set()
    modules = {id(module): name for name, module in model.named_modules()}
    names = [name for name, _ in model.named_parameters()]
    for number, block in enumerate(decoder_layers(model), start=1):
        path = modules[id(block)]
        tower = next((words for name, words in BLOCKS_OF.items() if name in path), None)
        words = f"{tower}block {int(path.rpartition('.')[2]) + 1}" if tower else f"block {number}"
        found[words] = [name for name in names if name.startswith(f"{path}.")]
        inside |= set(found[words])
    return {ENDS: [name for name in names if name not in inside]} | found


def _taking(theirs: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda mine: theirs.to(mine.device, mine.dtype)
