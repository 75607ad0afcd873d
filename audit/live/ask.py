"""One question to several models at once: their answers, token by token in turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import AuditError, CaseError, SubjectError
from audit.live.changed import Changes, changing
from audit.live.models import Models
from audit.live.told import AS_IT_IS, QUESTION
from audit.types import Item

if TYPE_CHECKING:
    from audit.activations.generate import Draw
    from audit.subjects.load import Subject

LONGEST = 200


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
    item. A system that decides by the prompt what it does afterwards says its whole answer at once. Models that do not
    fit beside each other answer one after the other; one that cannot answer says why.
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


class _Talk:
    """One model answering: each call of `next` is one token."""

    def __init__(
        self, models: Models, name: str, subject: Subject, item: Item, sampling: Sampling, changes: Changes
    ) -> None:
        from audit.activations.encode import check_reads, question
        from audit.activations.layers import shows_states

        self.models, self.name, self.subject, self.changes = models, name, subject, changes
        asked = question(subject.tokenizer, item.prompt, models.case.template, item.image, QUESTION)
        self.ids, self.shown = list(asked.ids), asked.shown
        self.budget = sampling.length
        check_reads(subject.tokenizer, len(self.ids) + self.budget, f"{QUESTION} with {self.budget} tokens of answer")
        self.pick = _draw(item, sampling, len(self.ids))
        self.ends = _ends(subject)
        self.said: list[int] = []
        self.memory: Any = None
        self.at_once = subject.inside is not None or not shows_states(subject.model)
        """What such a system has noted of a prompt would be lost if somebody else asked it between two tokens."""

    def next(self) -> Piece:
        """One token more, or all at once; a model that breaks says why and is done."""
        try:
            with self.models.alone(self.subject):
                self.said += self._tokens() if self.at_once else [self._token()]
        except AuditError as error:
            return Piece(self.name, "", True, str(error))
        text = str(self.subject.tokenizer.decode(self.said, skip_special_tokens=True)).strip()
        done = self.at_once or self.said[-1] in self.ends or len(self.said) >= self.budget or "\n" in text
        return Piece(self.name, text.split("\n")[0].strip(), done)

    def _token(self) -> int:
        """The next token, with everything that was read so far kept in the model's own memory of it."""
        import torch

        from audit.activations.eyes import shown_to

        every = [*self.ids, *self.said]
        new = every if self.memory is None else every[-1:]
        device = self.subject.device
        with torch.inference_mode(), changing(self.models, self.subject, self.changes, len(new) - 1):
            ids = torch.tensor([new], device=device)
            out = self.subject.model(
                input_ids=ids,
                **shown_to([self.shown] if self.memory is None else [], ids),
                attention_mask=torch.ones((1, len(every)), dtype=torch.long, device=device),
                past_key_values=self.memory,
                use_cache=True,
            )
            scores = out.logits[:, -1].float()
            if self.pick is not None:
                scores = self.pick(torch.tensor([every], device=device), scores)
        self.memory = out.past_key_values
        return int(scores.argmax(-1))

    def _tokens(self) -> list[int]:
        """All tokens, by the system's own `generate`."""
        from audit.activations.generate import generated, left_padded

        inputs = left_padded(self.subject, [self.ids])
        with changing(self.models, self.subject, self.changes, -1):
            return generated(self.subject, inputs, self.budget, self.pick)[0]


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
