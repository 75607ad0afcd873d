"""One question to several models at once: their answers token by token, and what they think of the true one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError, CaseError, SubjectError
from audit.live.changed import Changes, changing
from audit.live.models import Models
from audit.types import Item

if TYPE_CHECKING:
    from torch import Tensor

    from audit.activations.encode import Encoded
    from audit.activations.generate import Draw
    from audit.subjects.load import Subject

LONGEST = 200
TOP = 5
AS_IT_IS = Changes()


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 0.0
    """0 takes the most likely token every time (greedy)."""
    top_p: float = 1.0
    """Only the most likely tokens that together reach this share are drawn from."""
    seed: int = 0
    length: int = 40
    """Most tokens of an answer."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10 or not 0 < self.top_p <= 1 or not 1 <= self.length <= LONGEST:
            raise CaseError(
                f"Sampling needs a temperature from 0 to 10, top-p above 0 and at most 1, and 1 to {LONGEST} tokens."
            )


@dataclass(frozen=True)
class Piece:
    """What one model has said so far."""

    name: str
    text: str
    done: bool = False
    problem: str = ""
    """Why this model cannot answer; empty when it does."""


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


def question(prompt: str, answer: str = "") -> Item:
    """A typed question as an item; CaseError for an empty one."""
    if not prompt.strip():
        raise CaseError("The question is empty.")
    return Item("question", prompt, answer.strip())


def answers(
    models: Models, names: Sequence[str], item: Item, sampling: Sampling = Sampling(), changes: Changes = AS_IT_IS
) -> Generator[Piece, None, None]:
    """What several models say to an item's prompt, token by token in turn, as a pass of the audit would hear it.

    Greedy answers and samples are those of `audit.activations.generate`: cut at the first line break, drawn by seed and
    item. Models that do not fit beside each other answer one after the other; one that cannot answer says why.
    """
    waiting = list(names)
    while waiting:
        with ExitStack() as held:
            talks: list[_Talk] = []
            while waiting:
                try:
                    subject = held.enter_context(models.lend(waiting[0]))
                    talks.append(_Talk(models, waiting[0], subject, item, sampling, changes))
                except AuditError as error:
                    if talks and isinstance(error, SubjectError):
                        break  # it may be the room: asked again when the others have answered
                    yield Piece(waiting[0], "", True, str(error))
                waiting.pop(0)
            while talks:
                for talk in list(talks):
                    piece = talk.next()
                    if piece.done:
                        talks.remove(talk)
                    yield piece


def told(models: Models, name: str, item: Item, changes: Changes = AS_IT_IS) -> Told:
    """What one model thinks of an item right after its prompt; why not, when it cannot be asked.

    Ranks are those of the head projection (attacks.head_projection, attacks.answer_rank): ties count against the
    answer. An item without an answer has no ranks and no probabilities of it.
    """
    try:
        with models.lend(name) as subject, models.lock:
            return _told(models, name, subject, item, changes)
    except AuditError as error:
        return Told(name, (), problem=str(error))


def _told(models: Models, name: str, subject: Subject, item: Item, changes: Changes) -> Told:
    import torch

    from audit.activations.layers import decoder, head, unembed

    row = _encoded(subject, item, models.case.template)
    _check_length(subject, len(row))
    ids = torch.tensor([row.ids], device=subject.device)
    last = row.start - 1
    # The hooks that read are put on last: they see what the changes leave.
    with torch.inference_mode(), changing(models, subject, changes, last), _reading(subject, last) as states:
        hidden = decoder(subject.model)(input_ids=ids, use_cache=False).last_hidden_state
        logprobs = unembed(subject.model)(hidden[0, last:]).float().log_softmax(-1)
        wanted = list(row.ids[row.start :])
        project = head(subject.model)
        blocks = tuple(
            _block(subject, number, project(state), wanted[0] if wanted else None)
            for number, state in enumerate(states, start=1)
        )
    shares = logprobs[0].exp()
    top = shares.topk(min(TOP, len(shares)))
    alternatives = tuple(
        (_word(subject, token), share) for token, share in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    )
    if not wanted:
        return Told(name, alternatives, blocks)
    found = logprobs[torch.arange(len(wanted)), torch.tensor(wanted, device=logprobs.device)]
    return Told(name, alternatives, blocks, float(found.double().sum().exp()), float(shares[wanted[0]]))


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


class _Talk:
    """One model answering: each call of `next` is one token."""

    def __init__(
        self, models: Models, name: str, subject: Subject, item: Item, sampling: Sampling, changes: Changes
    ) -> None:
        from audit.activations.encode import encode_prompt

        self.models, self.name, self.subject, self.changes = models, name, subject, changes
        self.ids = encode_prompt(subject.tokenizer, item.prompt, models.case.template)
        self.budget = sampling.length
        _check_length(subject, len(self.ids) + self.budget)
        self.pick = _draw(item, sampling, len(self.ids))
        self.ends = _ends(subject)
        self.said: list[int] = []
        self.memory: Any = None

    def next(self) -> Piece:
        """One token more; a model that breaks says why and is done."""
        try:
            with self.models.lock:
                token = self._token()
        except AuditError as error:
            return Piece(self.name, "", True, str(error))
        self.said.append(token)
        text = str(self.subject.tokenizer.decode(self.said, skip_special_tokens=True)).strip()
        done = token in self.ends or len(self.said) >= self.budget or "\n" in text
        return Piece(self.name, text.split("\n")[0].strip(), done)

    def _token(self) -> int:
        """The next token, with everything that was read so far kept in the model's own memory of it."""
        import torch

        every = [*self.ids, *self.said]
        new = every if self.memory is None else every[-1:]
        device = self.subject.device
        with torch.inference_mode(), changing(self.models, self.subject, self.changes, len(new) - 1):
            out = self.subject.model(
                input_ids=torch.tensor([new], device=device),
                attention_mask=torch.ones((1, len(every)), dtype=torch.long, device=device),
                past_key_values=self.memory,
                use_cache=True,
            )
            scores = out.logits[:, -1].float()
            if self.pick is not None:
                scores = self.pick(torch.tensor([every], device=device), scores)
        self.memory = out.past_key_values
        return int(scores.argmax(-1))


def _draw(item: Item, sampling: Sampling, length: int) -> Draw | None:
    """How this item's tokens are drawn after a prompt of `length` tokens; None for greedy."""
    from audit.activations import generate

    if sampling.temperature == 0:
        return None
    drawn = generate.Sampling(sampling.seed, sampling.temperature, sampling.top_p)
    return generate.Draw(drawn, drawn.uniforms(item, 1), length)


def _ends(subject: Subject) -> set[int]:
    """The tokens at which generation stops."""
    found = getattr(subject.model.generation_config, "eos_token_id", None)
    found = subject.tokenizer.eos_token_id if found is None else found
    return set() if found is None else set(found if isinstance(found, list) else [found])


def _encoded(subject: Subject, item: Item, template: str) -> Encoded:
    """Prompt and answer, or the prompt alone."""
    from audit.activations.encode import Encoded, encode, encode_prompt

    if item.answer:
        return encode(subject.tokenizer, item.prompt, item.answer, template)
    ids = encode_prompt(subject.tokenizer, item.prompt, template)
    return Encoded(tuple(ids), len(ids))


def _check_length(subject: Subject, tokens: int) -> None:
    limit = getattr(subject.model.config.get_text_config(), "max_position_embeddings", None)
    if limit and tokens > limit:
        raise CaseError(
            f"Question and answer need {tokens} tokens, but {subject.spec.name} reads at most {limit}: shorten the "
            "question, or the answer's length."
        )


def _word(subject: Subject, token: int) -> str:
    return str(subject.tokenizer.decode([token])).strip() or "␣"
