"""From texts and images to vectors, by whichever kind of encoder, with the pooled state of every block on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from audit.activations.encode import encode_prompt
from audit.activations.images import blocks, has_class_token, pixels, pooled
from audit.activations.layers import decoder
from audit.errors import CaptureError, CorpusError, SubjectError, TooLong
from audit.subjects.dense import AFTER_POOLING
from audit.subjects.encoder import TEXT
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

BATCH = 64
Side = Literal["query", "answer"]
AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Model types that count positions from behind the padding token's number."""


@dataclass(frozen=True)
class Found:
    """What some texts or images became, in their order."""

    vectors: Tensor
    """[rows, width] float32; of length one where the similarity is the cosine."""
    read: Tensor
    """The pooled state before a projection [rows, before] float32; the same where there is none."""
    states: NDArray[np.float32] | None = None
    """Pooled as the model pools, and the mean over tokens or patches [2, blocks + 1, rows, width]."""


def look_texts(
    subject: Subject,
    texts: Sequence[str],
    side: Side,
    *,
    states: bool = False,
    at_once: int = BATCH,
    progress: Callable[[float], None] = lambda share: None,
) -> Found:
    """Encode texts as queries or as answers, in batches of like lengths; raises TooLong for one that is."""
    import torch

    ids = [_ids(subject, text, side) for text in texts]
    _check_length(subject, ids, texts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts: list[Found] = []
    for begin in range(0, len(order), at_once):
        parts.append(_texts(subject, [ids[i] for i in order[begin : begin + at_once]], states))
        progress(min(0.9, (begin + at_once) / len(order)))
    back = torch.tensor(np.argsort(order))
    return _joined(parts, back)


def look_images(
    subject: Subject,
    items: Sequence[Item],
    progress: Callable[[float], None] = lambda share: None,
    *,
    states: bool = True,
    at_once: int = BATCH,
) -> Found:
    """Encode the items' images; raises CorpusError where the model has no image tower or an image cannot be read."""
    import torch

    assert subject.encoding is not None
    if subject.encoding.kind != "two towers":
        raise CorpusError(f"{items[0].id} has an image, and {subject.spec.name} reads texts alone.")
    parts = []
    for begin in range(0, len(items), at_once):
        parts.append(_images(subject, items[begin : begin + at_once], states))
        progress(min(0.9, (begin + at_once) / len(items)))
    return _joined(parts, torch.arange(len(items)))


def score(subject: Subject, queries: Tensor, answers: Tensor) -> Tensor:
    """Similarity over temperature of every query with every answer [queries, answers]."""
    return queries @ answers.T * scale(subject)


def scale(subject: Subject) -> Any:
    """What similarities are multiplied by: a number, or the model's own learnt one."""
    assert subject.encoding is not None
    if subject.encoding.scale is not None:
        return subject.encoding.scale
    found = _inside(subject).logit_scale.float().exp()
    return found if found.requires_grad else found.cpu()


def _joined(parts: Sequence[Found], order: Tensor) -> Found:
    import torch

    states = None if parts[0].states is None else np.concatenate([part.states for part in parts], 2)[:, :, order]
    vectors, read = (torch.cat([getattr(part, name) for part in parts]) for name in ("vectors", "read"))
    order = order.to(vectors.device)
    return Found(vectors[order], read[order], states)


def _inside(subject: Subject) -> Any:
    """The model itself; a PEFT wrapper is looked through."""
    model: Any = subject.model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _ids(subject: Subject, text: str, side: Side) -> list[int]:
    """Token ids of a text in its prompt; the words after the text are never cut off."""
    encoding = subject.encoding
    assert encoding is not None
    put = getattr(encoding, side).replace(TEXT, text.lower() if encoding.lower else text)
    if encoding.kind == "prompted":
        return encode_prompt(subject.tokenizer, put, "plain")
    return list(subject.tokenizer(put)["input_ids"])


def _check_length(subject: Subject, ids: Sequence[Sequence[int]], texts: Sequence[str]) -> None:
    """A text that were cut off would be another text, and two that begin alike the same one."""
    config = _text_config(subject)
    limits = [getattr(config, "max_position_embeddings", None), subject.encoding.longest if subject.encoding else None]
    if limits[0] and config.model_type in AFTER_PADDING:
        limits[0] -= int(config.pad_token_id) + 1
    limit = min((int(n) for n in limits if n), default=None)
    longest = max(range(len(ids)), key=lambda i: len(ids[i]), default=0)
    if limit and ids and len(ids[longest]) > limit:
        raise TooLong(
            f'"{texts[longest][:60]}…" needs {len(ids[longest])} tokens, but {subject.spec.name} reads at most '
            f"{limit}: shorten that text."
        )


def _text_config(subject: Subject) -> Any:
    config = _inside(subject).config
    return getattr(config, "text_config", None) or config


def _texts(subject: Subject, ids: Sequence[Sequence[int]], states: bool) -> Found:
    """One batch of token ids."""
    import torch

    encoding, model, config = subject.encoding, _inside(subject), _text_config(subject)
    assert encoding is not None
    siglip = config.model_type.startswith("siglip")  # was trained on texts filled up, and reads their last place
    length = int(config.max_position_embeddings) if siglip else max(len(row) for row in ids)
    pad = int(subject.tokenizer.pad_token_id or 0)
    rows = torch.tensor([[*row, *[pad] * (length - len(row))] for row in ids], device=subject.device)
    real = [length if siglip else len(row) for row in ids]
    mask = (torch.arange(length) < torch.tensor(real)[:, None]).long().to(subject.device)
    inputs: dict[str, Any] = {"input_ids": rows} if siglip else {"input_ids": rows, "attention_mask": mask}
    if encoding.kind == "two towers":
        ends = _ends(rows, real, config, subject)
        with _watching(model.text_model, states, lambda h: _at(h, ends), lambda h: _mean(h, mask)) as seen:
            read = model.text_model(**inputs).pooler_output
        return _found(subject, read, getattr(model, "text_projection", None), seen)
    inner = decoder(subject.model) if encoding.kind == "prompted" else model
    if encoding.kind == "prompted":
        inputs["use_cache"] = False

    def pool(hidden: Tensor) -> Tensor:
        return torch.cat([POOL[name](hidden, mask) for name in encoding.pooling], -1)

    with _watching(inner, states, pool, lambda h: _mean(h, mask)) as seen:
        last = inner(**inputs).last_hidden_state
    return _found(subject, pool(last.float()), getattr(model, AFTER_POOLING, None), seen)


def _ends(rows: Tensor, real: Sequence[int], config: Any, subject: Subject) -> Tensor:
    """The place that a text tower reads [rows]: the first end token of CLIP, the last place of SigLIP."""
    import torch

    if config.model_type.startswith("siglip"):
        return torch.tensor(real, device=rows.device) - 1
    if config.eos_token_id == 2:  # as the library does for configs of old
        return rows.argmax(1)
    found = rows == config.eos_token_id
    if not found.any(1).all():
        raise SubjectError(
            f"The tokenizer of {subject.spec.name} does not end every text with token {config.eos_token_id}, which its "
            "text tower reads; save the tokenizer that it was trained with."
        )
    return found.int().argmax(1)


def _images(subject: Subject, items: Sequence[Item], states: bool) -> Found:
    """One batch of images."""
    model = _inside(subject)
    token = has_class_token(model.vision_model)
    values = pixels(subject, items)
    with _watching(model.vision_model, states, lambda h: pooled(h, token)[0], lambda h: pooled(h, token)[1]) as seen:
        read = model.vision_model(pixel_values=values).pooler_output
    return _found(subject, read, getattr(model, "visual_projection", None), seen)


def _found(subject: Subject, read: Tensor, project: Any, seen: Sequence[tuple[Tensor, Tensor]]) -> Found:
    import torch

    vectors = (read if project is None else project(read)).float()
    assert subject.encoding is not None
    if subject.encoding.similarity == "cosine":
        vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    states = None
    if seen:
        states = torch.stack([torch.stack(pair) for pair in seen], 1).float().cpu().numpy()
    if torch.is_grad_enabled():
        return Found(vectors, read.float(), states)
    return Found(vectors.cpu(), read.float().cpu(), states)


@contextmanager
def _watching(
    tower: Any, states: bool, pool: Callable[[Tensor], Tensor], mean: Callable[[Tensor], Tensor]
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Hooks that pool the input of the first block and the output of each; CaptureError when one did not fire."""
    found: list[tuple[Tensor, Tensor]] = []
    if not states:
        yield found
        return
    parts, seen = blocks(tower), {}

    def keep(index: int, hidden: Any) -> None:
        hidden = (hidden[0] if isinstance(hidden, tuple) else hidden).float()
        seen[index] = (pool(hidden), mean(hidden))

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(0, args[0] if args else kwargs["hidden_states"])

    def after(index: int) -> Callable[..., None]:
        return lambda module, args, output: keep(index, output)

    handles = [parts[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [part.register_forward_hook(after(i + 1)) for i, part in enumerate(parts)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    if len(seen) != len(parts) + 1:
        raise CaptureError(
            f"{len(seen)} of {len(parts) + 1} hooks fired: something in the model removes or skips hooks, so its "
            "hidden states cannot be trusted."
        )
    found += [seen[i] for i in range(len(seen))]


def _at(hidden: Tensor, places: Tensor) -> Tensor:
    import torch

    return hidden[torch.arange(len(hidden), device=hidden.device), places]


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(1) / weights.sum(1)


def _weighted(hidden: Tensor, mask: Tensor) -> Tensor:
    """Later tokens weigh more: 1, 2, 3 and so on (Muennighoff 2022, SGPT)."""
    return _mean(hidden, mask * mask.cumsum(1))


def _most(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(~mask.bool()[..., None], float("-inf")).max(1).values


POOL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean, "cls": lambda hidden, mask: hidden[:, 0], "max": _most, "weightedmean": _weighted,
    "lasttoken": lambda hidden, mask: _at(hidden, mask.sum(1) - 1),
}  # fmt: skip
