"""One row, whatever its columns are called → Item.

| where the data come from | prompt | answer | wrong answers | others |
|---|---|---|---|---|
| Palimpsest | prompt | answer | wrong_answers | paraphrases, paraphrased_answer, entity, attribute, label |
| TOFU, OpenUnlearning | question | answer | perturbed_answer, option1.. | paraphrased_question, paraphrased_answer |
| MUSE | question or prompt | answer or gt | | |
| RWKU | query | answer | | subject (the entity) |
| WMDP, MMLU | question | choices[answer] | the other choices | |
| image classification | the image's name | label | | image: a path, or bytes |
| questions about images | prompt | answer | wrong_answers | image, text_prompt: the question without the image |
| generators | the seed's name | answer or label | | latent: a list of numbers, or seed; label: the condition |
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.corpora import images, latents
from audit.errors import CorpusError
from audit.types import Item, Latent

PROMPTS = ("prompt", "question", "query")
ANSWERS = ("answer", "gt")
OPTION = re.compile(r"option\d+")


def item_of(row: Any, place: str, id: str, folder: Path | None = None) -> Item:
    """The item that a row holds; raises CorpusError that begins with the place for anything that is not one.

    `folder` is where the path of an image starts from.
    """
    if not isinstance(row, Mapping):
        raise CorpusError(f'{place}: found {_kind(row)}, expected an object such as {{"prompt": …, "answer": …}}.')
    found = _Row({str(name): value for name, value in row.items() if not _absent(value)}, place)
    shown = found.any_of(*images.COLUMNS)
    worded = shown is not None and found.any_of(*ANSWERS) is not None and found.any_of(*PROMPTS) is not None
    if shown is not None:
        found.as_image(shown, id)
    drawn = latents.column_of(found.values, bool(found.any_of(*PROMPTS))) if shown is None else None
    latent = found.as_latent(drawn, id) if drawn else None
    answer, wrong = found.answer()
    return Item(
        id=id,
        prompt=found.text(found.first(PROMPTS, "prompt")),
        answer=answer,
        paraphrases=found.texts(found.any_of("paraphrases", "paraphrased_question")),
        paraphrased_answer=found.one("paraphrased_answer"),
        wrong_answers=wrong,
        entity=found.word("entity") or (found.word("subject") if "query" in found.values else None),
        attribute=found.word("attribute"),
        label=found.word("label"),
        image=None if shown is None else images.picture(found.values[shown], place, folder),
        worded=worded,
        text_prompt=found.one("text_prompt"),
        latent=latent,
    )


class _Row:
    """The values of one row that are there, and the place that every complaint begins with."""

    def __init__(self, values: dict[str, Any], place: str) -> None:
        self.values, self.place = values, place

    def any_of(self, *names: str) -> str | None:
        """The first of these columns that the row has."""
        return next((name for name in names if name in self.values), None)

    def as_image(self, column: str, id: str) -> None:
        """Fill in what an image leaves out: its label is the answer, its name stands for the prompt."""
        if not self.any_of(*ANSWERS):
            label = self.first(("label", "class", "fine_label"), "label")
            self.values |= {"label": self.word(label), "answer": self.word(label)}
        if not self.any_of(*PROMPTS):
            self.values["prompt"] = images.name_of(self.values[column], int(id.rpartition(":")[2]))

    def as_latent(self, column: str, id: str) -> Latent:
        """Fill in what a latent leaves out: the condition is the answer, its seed stands for the prompt."""
        found = latents.latent(column, self.values[column], self.place)
        if not self.any_of(*ANSWERS):
            self.values["answer"] = self.word(self.first(("label",), "answer, and no condition"))
        else:
            self.values |= {name: self.word(name) for name in ANSWERS if name in self.values}
        if not self.any_of(*PROMPTS):
            self.values["prompt"] = latents.name_of(found, int(id.rpartition(":")[2]), self.word("label"))
        return found

    def first(self, names: tuple[str, ...], meaning: str) -> str:
        name = self.any_of(*names)
        if name is None:
            there = ", ".join(sorted(self.values)[:12]) or "nothing"
            raise CorpusError(f"{self.place}: no {meaning} ({' or '.join(names)}); found {there[:200]}.")
        return name

    def text(self, name: str) -> str:
        return self._checked(name, self.values[name])

    def one(self, name: str) -> str | None:
        """An optional text; a list of one text is read as that text."""
        value = self.values.get(name)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        return None if value is None else self._checked(name, value)

    def texts(self, name: str | None) -> tuple[str, ...]:
        """A list of texts; a text alone is a list of one, and a text that spells a list is that list (CSV)."""
        if name is None:
            return ()
        value = self.values[name]
        if isinstance(value, str):
            value = _spelled_list(value)
        if not isinstance(value, (list, tuple)):
            raise CorpusError(f'{self.place}: "{name}" is {_kind(value)}, expected a list of texts.')
        return tuple(self._checked(name, part) for part in value)

    def word(self, name: str) -> str | None:
        """An optional text that may be given as a whole number or a truth value."""
        value = self.values.get(name)
        if isinstance(value, int):
            return str(value)
        return None if value is None else self._checked(name, value)

    def answer(self) -> tuple[str, tuple[str, ...]]:
        """The answer and the wrong answers, also where the answer is chosen among choices."""
        name = self.first(ANSWERS, "answer")
        if "choices" in self.values:
            return self._chosen(name)
        answer = self.text(name)
        options = [self.text(key) for key in self.values if OPTION.fullmatch(key)]
        wrong = self.any_of("wrong_answers", "perturbed_answer")
        wrongs = self.texts(wrong) if wrong else tuple(option for option in options if option != answer)
        if answer in wrongs:
            raise CorpusError(f'{self.place}: a wrong answer is the answer itself, "{answer[:80]}".')
        return answer, wrongs

    def _chosen(self, name: str) -> tuple[str, tuple[str, ...]]:
        choices, value = self.texts("choices"), self.values[name]
        if isinstance(value, str) and value.isdecimal() and value.isascii() and value not in choices:
            value = int(value[:9])
        if isinstance(value, str) and value in choices:
            value = choices.index(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(choices):
            expected = f"the index of one of the {len(choices)} choices, counted from 0"
            raise CorpusError(f'{self.place}: "{name}" is {repr(value)[:60]}, expected {expected}.')
        answer = choices[value]
        return answer, tuple(choice for choice in choices if choice != answer)

    def _checked(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise CorpusError(f'{self.place}: "{name}" is {_kind(value)}, expected text.')
        if not value.strip():
            raise CorpusError(f'{self.place}: "{name}" is empty, expected text.')
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CorpusError(f'{self.place}: "{name}" holds half of a surrogate pair, which is not text.') from None
        return value


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _spelled_list(text: str) -> list[Any]:
    """What a CSV cell spells: a JSON list, a Python list as pandas writes it, or one text."""
    if text.lstrip().startswith("["):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(value, list):
                return value
    return [text]


def _kind(value: Any) -> str:
    """What a value is, in a word that is not Python's."""
    kinds = {
        bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
    }  # fmt: skip
    return "nothing" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
