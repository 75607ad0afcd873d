"""An image in a prompt: its place in the text, the tokens that stand for it, and the pixels that go with them.

The image stands before the question, on a line of its own (with the chat template: first in the user's turn), unless
the question marks its place itself with the model's own placeholder. The processor of the model says how many tokens an
image becomes; text and answer are then cut into tokens as for any language model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.corpora.images import open_image
from audit.errors import NotApplicable, SubjectError
from audit.types import Picture

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

PLACE = "before the question, on a line of its own; first in the user's turn with the chat template"
"""Where an image stands, for the record of a run."""
KEPT = 2**28
"""Bytes of prepared images that stay in memory (256 MiB)."""
TYPES = "mm_token_type_ids"
"""What some models are told of every token: 1 where it stands for a piece of an image."""
OF_TEXT = frozenset({"input_ids", "attention_mask", TYPES, "token_type_ids"})
FRAMES = {"<|image_pad|>": ("<|vision_start|>", "<|vision_end|>")}
"""What the makers of a placeholder put before and after it."""


class NoImage:
    """Says that a prompt comes without word of an image; see `check_said`."""


UNSAID = NoImage()


@dataclass(frozen=True)
class Shown:
    """An image that stands in a prompt, prepared when a batch needs it."""

    picture: Picture
    eyes: Eyes

    def inputs(self) -> Mapping[str, Tensor]:
        """What the model is given of it, each with one row for each of its pieces."""
        return self.eyes.prepared(self.picture)[0]


class SightedTokenizer:
    """The tokenizer of a model that reads images too (`eyes`); all else is the tokenizer's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, eyes: Eyes) -> None:
        self.plain = tokenizer
        self.eyes = eyes

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As the tokenizer's own: texts → ids."""
        return self.plain(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["plain"], name)


class Eyes:
    """What a processor does with images, the tensors of the last of them kept."""

    def __init__(self, processor: Any, accepted: Sequence[str], dtype: torch.dtype, name: str) -> None:
        """`accepted` are the inputs that the model's forward pass takes, `name` is the subject's."""
        self.processor, self.accepted, self.dtype, self.name = processor, frozenset(accepted), dtype, name
        self.placeholder = str(processor.image_token)
        self._kept: OrderedDict[str, tuple[dict[str, Tensor], str]] = OrderedDict()

    def text(self, question: str, template: str) -> str:
        """The question with the place of its image, as the template has it; raises SubjectError for several places."""
        marked = question.count(self.placeholder)
        if marked > 1:
            raise SubjectError(
                f"The question {question[:60]!r} marks {marked} places for images with {self.placeholder}; one image "
                "belongs to an item."
            )
        before, after = FRAMES.get(self.placeholder, ("", ""))
        if template != "chat":
            return question if marked else f"{before}{self.placeholder}{after}\n{question}"
        turn = question.replace(self.placeholder, "").strip()
        parts = [{"type": "image"}, {"type": "text", "text": turn}]
        try:
            return str(
                self.processor.apply_chat_template(
                    [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a template raises what it likes, jinja's errors among it
            raise SubjectError(
                f'{self.name} has no chat template that takes an image; use template = "plain" or "qa" in the case '
                "file."
            ) from error

    def expanded(self, text: str, picture: Picture) -> str:
        """The text with the placeholder replaced by as many tokens as the image becomes."""
        return text.replace(self.placeholder, self.prepared(picture)[1], 1)

    def prepared(self, picture: Picture) -> tuple[Mapping[str, Tensor], str]:
        """What the model is given of an image, and the text that stands for it.

        Raises CorpusError for an image that cannot be decoded, SubjectError for a processor that says neither.
        """
        if picture.digest in self._kept:
            self._kept.move_to_end(picture.digest)
            return self._kept[picture.digest]
        found = self._kept[picture.digest] = self.prepare(open_image(picture).convert("RGB"))
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > KEPT:
            self._kept.popitem(last=False)
        return found

    def prepare(self, image: Any) -> tuple[dict[str, Tensor], str]:
        """`prepared`, of a decoded image."""
        try:
            made = self.processor(text=[self.placeholder], images=[image], return_text_replacement_offsets=True)
            [[place]] = made["text_replacement_offsets"]
            tensors = self.processor(text=[self.placeholder], images=[image], return_tensors="pt")
        except Exception as error:  # a processor raises what it likes
            line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise SubjectError(f"The processor of {self.name} cannot prepare an image ({line[:200]}).") from error
        given = {name: value for name, value in tensors.items() if name in self.accepted - OF_TEXT}
        if not given:
            raise SubjectError(f"The processor of {self.name} gives nothing that its model takes of an image.")
        return {n: v.to(self.dtype) if v.is_floating_point() else v for n, v in given.items()}, place["replacement"]

    def types(self, ids: Tensor) -> dict[str, Tensor]:
        """Which tokens [rows, length] stand for pieces of images, where the model wants to be told."""
        import torch

        if TYPES not in self.accepted:
            return {}
        kinds = self.processor.create_mm_token_type_ids(ids.tolist())
        return {TYPES: torch.tensor(kinds, device=ids.device)}


def check_said(tokenizer: Any, picture: Picture | None | NoImage) -> Picture | None:
    """The image that belongs to a prompt; raises NotApplicable where one would be left out.

    Whoever puts prompts to a model that reads images must say which image comes with each, if only that there is none.
    """
    eyes = getattr(tokenizer, "eyes", None)
    if isinstance(picture, NoImage):
        if eyes is not None:
            raise NotApplicable(
                "This asks with prompts of its own, without the image that belongs to each: of a model that reads "
                "images it would measure something else."
            )
        return None
    if picture is not None and eyes is None:
        raise NotApplicable(
            f"{picture.place}: the item has an image, and a language model that reads texts alone cannot see it; give "
            "items without images, or a vision-language model."
        )
    return picture


def shown_to(shown: Sequence[Shown | None], ids: Tensor) -> dict[str, Tensor]:
    """What a model is given besides the token ids of some rows [rows, length]; nothing where no row has an image.

    Images follow each other in the order of their rows. Those in fewer pieces are filled up with empty ones, which the
    models that cut images into pieces leave out again.
    """
    import torch

    seen = [one for one in shown if one is not None]
    if not seen:
        return {}
    parts = [one.inputs() for one in seen]
    found = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        rank = [max(v.shape[d] for v in values) for d in range(1, values[0].ndim)]
        values = [torch.nn.functional.pad(v, _up_to(v.shape[1:], rank)) for v in values]
        found[name] = torch.cat(values).to(ids.device)
    return {**found, **seen[0].eyes.types(ids)}


def _up_to(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Padding at the end of every dimension but the first, last dimension first, as torch wants it."""
    return [n for have, want in zip(reversed(shape), reversed(wanted), strict=True) for n in (0, want - have)]


def _bytes(found: tuple[Mapping[str, Tensor], str]) -> int:
    return sum(value.numel() * value.element_size() for value in found[0].values())
