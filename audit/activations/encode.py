"""Prompt and answer → token ids and the index where the answer starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.activations.eyes import UNSAID, NoImage, Shown, check_said
from audit.errors import CaseError, SubjectError, TooLong, suggest
from audit.types import Item, Picture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from audit.subjects.systems.around import Around

TEMPLATES = ("plain", "qa", "chat")


@dataclass(frozen=True)
class Reads:
    """How many tokens a model reads, prompt and answer together; the tokenizer of a loaded model carries it."""

    tokens: int
    name: str
    """The model's name in the case."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of prompt and answer together; `start` is the index of the first answer token."""

    ids: tuple[int, ...]
    start: int
    shown: Shown | None = None
    """The image in the prompt, whose tokens are among the ids."""

    def __len__(self) -> int:
        return len(self.ids)


def prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: str, template: str) -> str:
    """The prompt as the model sees it: as it is, as question and answer, or through the model's chat template.

    Raises CaseError for an unknown template and SubjectError when a model has no chat template.
    """
    around = getattr(tokenizer, "around", None)  # what a guarded system puts around everything that it is asked
    if around is not None:
        return _guarded(tokenizer, around, prompt, template)
    if template == "plain":
        return prompt
    if template == "qa":
        return f"Question: {prompt}\nAnswer:"
    if template == "chat":
        if not getattr(tokenizer, "chat_template", None):
            raise SubjectError('This tokenizer has no chat template; use template = "plain" or "qa" in the case file.')
        turns = [{"role": "user", "content": prompt}]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    raise CaseError(f'Unknown template "{template}".{suggest(template, TEMPLATES)}')


def _guarded(tokenizer: PreTrainedTokenizerBase, around: Around, prompt: str, template: str) -> str:
    """The prompt as a guarded model sees it: the system prompt is a turn in a chat, else a paragraph before it all."""
    plain: PreTrainedTokenizerBase = tokenizer.plain  # type: ignore[attr-defined]
    text = around.user(prompt)
    if not around.system:
        return prompt_text(plain, text, template)
    if template != "chat":
        return f"{around.system}\n\n{prompt_text(plain, text, template)}"
    prompt_text(plain, text, template)  # raises where there is no chat template at all
    turns = [{"role": "system", "content": around.system}, {"role": "user", "content": text}]
    try:
        return str(plain.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template raises what it likes, jinja's errors among it
        raise SubjectError(
            "The chat template of this model takes no system turn; give the guard's text as prefix instead of system."
        ) from error


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    template: str,
    image: Picture | None | NoImage = UNSAID,
    what: str = "",
) -> list[int]:
    """Token ids of a prompt, with the tokenizer's own BOS and never an EOS; `image` and `what` as for `encode`."""
    return list(question(tokenizer, prompt, template, image, what).ids)


def question(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    template: str,
    image: Picture | None | NoImage = UNSAID,
    what: str = "",
) -> Encoded:
    """A prompt without an answer: `start` is where one would begin. Raises TooLong as `encode` does."""
    found = check_said(tokenizer, image)
    ids = _ids(tokenizer, _asked(tokenizer, prompt, template, found), special=template != "chat")
    if not ids:
        raise SubjectError(f"The tokenizer turns the prompt {prompt[:60]!r} into no token.")
    check_reads(tokenizer, len(ids), what or _quoted(prompt))
    return Encoded(tuple(ids), len(ids), _shown(tokenizer, found))


def encode_item(tokenizer: PreTrainedTokenizerBase, item: Item, template: str) -> Encoded:
    """An item's prompt, with its image where it has one, and its answer."""
    return encode(tokenizer, item.prompt, item.answer, template, item.image, f"Item {item.id}")


def check_reads(tokenizer: PreTrainedTokenizerBase, tokens: int, what: str) -> None:
    """Raise TooLong when `what` has more tokens than the tokenizer's model reads; nothing is ever cut off instead."""
    reads = reading_length(tokenizer)
    if reads is not None and tokens > reads.tokens:
        raise TooLong(f"{what} needs {tokens} tokens, but {reads.name} reads at most {reads.tokens}: shorten it.")


def reading_length(tokenizer: PreTrainedTokenizerBase) -> Reads | None:
    """How much the model of a tokenizer reads; None where it sets no limit."""
    return getattr(tokenizer, "reads", None)


def _quoted(prompt: str) -> str:
    return f'The prompt "{prompt[:60]}{"…" if len(prompt) > 60 else ""}"'


def _asked(tokenizer: PreTrainedTokenizerBase, prompt: str, template: str, image: Picture | None) -> str:
    """The text of a prompt, with the tokens that stand for its image."""
    if image is None:
        return prompt_text(tokenizer, prompt, template)
    eyes = tokenizer.eyes  # type: ignore[attr-defined]
    placed = eyes.text(prompt_text(tokenizer, prompt, template) if template != "chat" else prompt, template)
    return str(eyes.expanded(placed, image))


def _shown(tokenizer: PreTrainedTokenizerBase, image: Picture | None) -> Shown | None:
    return None if image is None else Shown(image, tokenizer.eyes)  # type: ignore[attr-defined]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    answer: str,
    template: str,
    image: Picture | None | NoImage = UNSAID,
    what: str = "",
) -> Encoded:
    """Token ids of prompt and answer joined by one space where neither brings its own.

    The joined text is tokenised as a whole, so that the answer is cut as it was in training; where a token would
    straddle the boundary, the two parts are tokenised on their own. `image` is the image in the prompt; a model that
    reads images must be told, if only that there is none. Raises SubjectError when the answer has no token,
    NotApplicable where an image would be left out, and TooLong, in which `what` names the text (else its beginning
    does), when both together are longer than the model reads.
    """
    found = check_said(tokenizer, image)
    text = _asked(tokenizer, prompt, template, found)
    special = template != "chat"
    joint = "" if special is False or text[-1:].isspace() or answer[:1].isspace() else " "
    head = encode_prompt(tokenizer, prompt, template, image, what)
    whole = _ids(tokenizer, text + joint + answer, special)
    if whole[: len(head)] != head or len(whole) == len(head):
        whole = head + _ids(tokenizer, joint + answer, special=False)
    if len(whole) == len(head):
        raise SubjectError(f"The tokenizer turns the answer {answer[:60]!r} into no token.")
    check_reads(tokenizer, len(whole), f"{what or _quoted(prompt)} with its answer")
    return Encoded(tuple(whole), len(head), _shown(tokenizer, found))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, special: bool) -> list[int]:
    ids = [int(i) for i in tokenizer(text, add_special_tokens=special)["input_ids"]]
    while len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids
