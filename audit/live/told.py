"""What a model thinks right after a question: the true answer's probability, its rank in every block, other tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError
from audit.live.changed import Changes, changing
from audit.live.models import Models
from audit.types import Item

if TYPE_CHECKING:
    from torch import Tensor

    from audit.activations.encode import Encoded
    from audit.subjects.load import Subject

TOP = 5
AS_IT_IS = Changes()
QUESTION = "The question"
"""What the prompt is called in a sentence that says that it is too long."""


@dataclass(frozen=True)
class Block:
    """What the unembedding reads out of one block at the last token of the question."""

    block: int
    rank: int | None
    """Rank of the true answer's first token, 1 is the top; None without a true answer."""
    token: str
    """The most likely token there."""
    share: float
    """Its probability."""


@dataclass(frozen=True)
class Told:
    """What one model thinks right after the question."""

    name: str
    alternatives: tuple[tuple[str, float], ...]
    """The most likely first tokens with their probabilities."""
    blocks: tuple[Block, ...] = ()
    whole: float | None = None
    """Probability of the whole true answer; None without one."""
    first: float | None = None
    """Probability of its first token."""
    problem: str = ""
    unseen: str = ""
    """Why there are no ranks by block, where the model is a system whose states are not seen."""


def told(models: Models, name: str, item: Item, changes: Changes = AS_IT_IS) -> Told:
    """What one model thinks of an item right after its prompt; why not, when it cannot be asked.

    Ranks are those of the head projection (attacks.head_projection, attacks.answer_rank): ties count against the
    answer. An item without an answer has no ranks and no probabilities of it.
    """
    try:
        with models.lend(name) as subject, models.alone(subject):
            return _told(models, name, subject, item, changes)
    except AuditError as error:
        return Told(name, (), problem=str(error))


def _told(models: Models, name: str, subject: Subject, item: Item, changes: Changes) -> Told:
    import torch

    from audit.activations.batch import Batch
    from audit.activations.layers import decoder, unembed

    row = _encoded(subject, item, models.case.template)
    # A batch says where the prompt ends: what stands around or inside a system looks at the prompt alone.
    batch = Batch([row], "right", 0, subject.device)
    last = row.start - 1
    unseen = models.unseen(models.spec(name))
    # The hooks that read are put on last: they see what the changes leave.
    with torch.inference_mode(), changing(models, subject, changes, last), ExitStack() as stack:
        states = [] if unseen else stack.enter_context(_reading(subject, last))
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
        logprobs = unembed(subject.model)(hidden[0, last:]).float().log_softmax(-1)
        wanted = list(row.ids[row.start :])
        blocks = tuple(_blocks(subject, states, wanted[0] if wanted else None))
    shares = logprobs[0].exp()
    top = shares.topk(min(TOP, len(shares)))
    alternatives = tuple(
        (_word(subject, token), share) for token, share in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    )
    if not wanted:
        return Told(name, alternatives, blocks, unseen=unseen)
    found = logprobs[torch.arange(len(wanted)), torch.tensor(wanted, device=logprobs.device)]
    return Told(name, alternatives, blocks, float(found.double().sum().exp()), float(shares[wanted[0]]), unseen=unseen)


def _blocks(subject: Subject, states: list[Tensor], wanted: int | None) -> Iterator[Block]:
    """What the unembedding reads out of the state of each block [width]."""
    from audit.activations.layers import head

    for number, state in enumerate(states, start=1):
        yield _block(subject, number, head(subject.model)(state), wanted)


def _block(subject: Subject, number: int, logits: Tensor, wanted: int | None) -> Block:
    logits = logits.float()
    token = int(logits.argmax())
    rank = None if wanted is None else int((logits >= logits[wanted]).sum())
    return Block(number, rank, _word(subject, token), float(logits.softmax(-1)[token]))


@contextmanager
def _reading(subject: Subject, position: int) -> Iterator[list[Tensor]]:
    """While open, the output of every block at one position of the one row is kept [blocks][width]."""
    from audit.activations.layers import decoder_layers

    kept: list[Tensor] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output)[0, position].clone())

    handles = [layer.register_forward_hook(hook) for layer in decoder_layers(subject.model)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _encoded(subject: Subject, item: Item, template: str) -> Encoded:
    """Prompt and answer, or the prompt alone."""
    from audit.activations.encode import encode, question

    if item.answer:
        return encode(subject.tokenizer, item.prompt, item.answer, template, item.image, QUESTION)
    return question(subject.tokenizer, item.prompt, template, item.image, QUESTION)


def _word(subject: Subject, token: int) -> str:
    return str(subject.tokenizer.decode([token])).strip() or "␣"
