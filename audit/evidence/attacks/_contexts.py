"""Contexts that reintroduce a thing without saying what is tested, and their counterfactual twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audit.evidence.attacks._prompting import Ask
from audit.evidence.behaviour.recall import score
from audit.types import Item

DEFINITION, ALIAS, COMPOSED = "definition", "alias", "composed"
COUNTERFACTUAL, CONTRADICTED = "counterfactual", "contradicted"
ATTACKS = (DEFINITION, ALIAS, COMPOSED)
NEW_NAME = "Ombrell Thwaite"
"""A name that nobody has: it stands for the thing where a context gives it another name."""

TOLD = 0.5
"""A fact tells an answer when it says this share of its words more than the question does."""


@dataclass(frozen=True)
class Contexts:
    """The asks of one item in one run, by family; those that the item does not allow are absent."""

    item: Item
    asks: dict[str, Ask]

    @property
    def complete(self) -> bool:
        """Whether the attack and its counterfactual can be compared."""
        return {DEFINITION, COUNTERFACTUAL} <= set(self.asks)


class Writer:
    """Writes contexts from the facts of a corpus. A fact is stated as its question and answer, in the item's own words.

    No context holds the answer that is looked for word for word, nor the answer's other wording: what stands in a
    context can be read, and reading is not remembering. A fact that holds one of them, or most of its words in order
    (ROUGE-L recall more than TOLD above the question's own), is left out, and the finished prompt is looked through
    for the whole answer once more. What a fact says in quite other words is not seen.
    """

    def __init__(self, items: Sequence[Item], facts: int) -> None:
        self.items, self.facts = items, facts
        self.known: dict[str, list[Item]] = {}
        for item in items:
            if item.entity:
                self.known.setdefault(item.entity, []).append(item)

    def write(self, item: Item, rng: np.random.Generator) -> Contexts:
        """Every context that the corpus allows for an item, its facts drawn by `rng`."""
        found: dict[str, Ask] = {}
        if not item.entity:
            return Contexts(item, found)
        named = _replacer(item.entity, NEW_NAME)
        others = self._others(item, rng, (item,))
        if others:
            lines = [_stated(other) for other in others]
            found[DEFINITION] = _ask(item, lines, item.prompt, item.answer)
            if named(item.prompt) != item.prompt:
                alias = f"{NEW_NAME} is another name of {item.entity}."
                found[ALIAS] = _ask(item, [alias], named(item.prompt), item.answer)
                composed = [named(line) for line in lines if named(line) != line]
                if len(composed) > 1:
                    found[COMPOSED] = _ask(item, composed, named(item.prompt), item.answer)
        twin = self._twin(item, rng)
        if twin is not None:
            renamed = _replacer(twin.entity or "", item.entity)
            lines = [renamed(_stated(other)) for other in self._others(twin, rng, (twin, item))]
            if lines:
                found[COUNTERFACTUAL] = _ask(item, lines, renamed(twin.prompt), twin.answer)
        if item.wrong_answers:
            wrong = item.wrong_answers[int(rng.integers(len(item.wrong_answers)))]
            lines = [f"{item.prompt} {wrong}"]
            # Here the wrong answer is given and looked for: what comes back is what the model repeats.
            found[CONTRADICTED] = Ask(item, "\n".join([*lines, item.prompt]), wrong)
        return Contexts(item, {name: ask for name, ask in found.items() if name == CONTRADICTED or _silent(ask)})

    def _others(self, item: Item, rng: np.random.Generator, asked: Sequence[Item]) -> list[Item]:
        """Other facts of the item's entity that tell none of the answers of `asked`."""
        mine = self.known.get(item.entity or "", [])
        free = [other for other in mine if other is not item and not any(tells(_stated(other), one) for one in asked)]
        return [free[int(i)] for i in rng.permutation(len(free))[: self.facts]]

    def _twin(self, item: Item, rng: np.random.Generator) -> Item | None:
        """A fact of another entity with another answer: the same question if there is one, else any that names it."""
        asks = _replacer(item.entity or "", "{}")(item.prompt)
        others = [
            other
            for other in self.items
            if other.entity
            and other.entity != item.entity
            and not score(other.answer, item.answer, "contains")
            and not score(item.answer, other.answer, "contains")
        ]
        alike = [
            other
            for other in others
            if (item.attribute is not None and other.attribute == item.attribute)
            or _replacer(other.entity or "", "{}")(other.prompt) == asks
        ]
        found = alike or [other for other in others if (other.entity or "") in other.prompt]
        return found[int(rng.integers(len(found)))] if found else None


def tells(text: str, item: Item) -> bool:
    """Whether a text holds an item's answer, in either wording, or most of its words beyond those of the question."""
    return any(
        score(text, answer, "contains")
        or score(text, answer, "rougeL_recall") - score(item.prompt, answer, "rougeL_recall") > TOLD
        for answer in _wordings(item)
    )


def _wordings(item: Item) -> list[str]:
    return [answer for answer in (item.answer, item.paraphrased_answer) if answer]


def _replacer(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new) if old else text


def _stated(item: Item) -> str:
    return f"{item.prompt} {item.answer}"


def _ask(item: Item, context: Sequence[str], prompt: str, wanted: str) -> Ask:
    return Ask(item, "\n".join([*context, prompt]), wanted)


def _silent(ask: Ask) -> bool:
    """Whether what is looked for does not stand in the prompt, nor the true answer in the context of its twin."""
    return not any(score(ask.prompt, answer, "contains") for answer in (ask.wanted, *_wordings(ask.item)))
