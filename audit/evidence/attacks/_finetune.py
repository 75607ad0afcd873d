"""The attacker's training loop: a few facts, some retain text, and looks along the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.encode import Encoded, encode_item
from audit.activations.eyes import shown_to
from audit.activations.images import class_of, pixels
from audit.errors import NotIdentifiable, SubjectError
from audit.types import Item, SubjectSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from audit.subjects.load import Subject

METHODS = ("auto", "full", "lora")
LORA_ABOVE = 3_000_000_000
"""`auto` trains every weight of a model up to this many parameters, and LoRA adapters of a larger one."""
LORA_RANK = 16
LORA_LR, LORA_MOST = 10.0, 3e-3
"""An adapter learns at ten times the rate of full training, but never faster than this: a small model would break."""
BYTES_PER_WEIGHT = 16
"""Full training holds weight, gradient and AdamW's two moments in float32: steps this small vanish in bfloat16."""
NEGATIVES = 128
"""Most answers besides those of a batch that an encoder is trained to tell from the right ones."""
WARMUP = 5
CLIP = 1.0


@dataclass(frozen=True)
class Recipe:
    """The attacker's budget; the same for every subject."""

    steps: int
    batch: int
    lr: float
    method: str
    retain_share: float


def resolve(recipe: Recipe, parameters: int) -> Recipe:
    """Fill in what is chosen by the number of parameters: method `auto`, learning rate 0.

    The rate falls with the square root of the size, 1e-3 at a million parameters, 3e-5 at a billion, 1.2e-5 at seven
    (TOFU's own fine-tuning and OPTML's relearning use 1e-5), never below 1e-5; LORA_LR times that for adapters, at
    most LORA_MOST.
    """
    method = recipe.method
    if method == "auto":
        method = "full" if parameters <= LORA_ABOVE else "lora"
    lr = recipe.lr
    if lr == 0:
        lr = float(np.clip(1e-3 * (1e6 / parameters) ** 0.5, 1e-5, 1e-3))
        lr = min(LORA_MOST, LORA_LR * lr) if method == "lora" else lr
    return dataclasses.replace(recipe, method=method, lr=lr)


def method_of(spec: SubjectSpec, method: str) -> str:
    """The training method of a subject, `auto` resolved by the size of its files, before it is loaded."""
    return resolve(Recipe(1, 1, 1.0, method, 0.0), weights_of(spec)).method


def weights_of(spec: SubjectSpec) -> int:
    """How many weights a subject has, of an adapter those of its base, from the headers of its files."""
    from audit.subjects.adapter import base_of
    from audit.subjects.files import folder_of, is_adapter
    from audit.subjects.memory import stored_numbers

    folder = folder_of(spec)
    return stored_numbers(base_of(spec, folder) if is_adapter(folder) else spec)


def finetune(
    subject: Subject,
    taught: Sequence[Item],
    kept: Sequence[Item],
    template: str,
    recipe: Recipe,
    seed: int,
    look: Callable[[int, Subject], None],
) -> None:
    """Train a private subject on `taught` mixed with `kept`, calling `look(step, subject)` after every step."""
    for step, trained in finetuning(subject, taught, kept, template, recipe, seed):
        with autocast(trained):
            look(step, trained)


def finetuning(
    subject: Subject, taught: Sequence[Item], kept: Sequence[Item], template: str, recipe: Recipe, seed: int
) -> Iterator[tuple[int, Subject]]:
    """Train a private subject on `taught` mixed with `kept`, step by step: step and subject after each.

    AdamW, constant rate after a short warm-up (so that each step is what an attacker who stops there would have),
    loss on answer tokens and the end of the answer only, dropout off. Raises NotIdentifiable when the loss is no
    longer a number: an attack that broke says nothing about the model.
    """
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        recipe = resolve(recipe, sum(p.numel() for p in subject.model.parameters()))
        subject = dataclasses.replace(subject, model=_trainable(subject, recipe.method))
    moving = [p for p in subject.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=recipe.lr, weight_decay=0.0)
    batches = _batches(subject, taught, kept, template, recipe, np.random.default_rng(seed))
    subject.model.eval()
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * min(1.0, step / WARMUP)
        with autocast(subject):
            loss = _loss(subject, next(batches))
        if not torch.isfinite(loss):
            raise NotIdentifiable(
                f"The attack broke before the model gave way: at step {step} the loss on {subject.spec.name} is not a "
                f"number (learning rate {recipe.lr:.1e}, {recipe.method}). Use a lower learning rate."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # whoever looks has the room of the gradients
        yield step, subject


def _trainable(subject: Subject, method: str) -> PreTrainedModel:
    """The subject's model with the weights that the method trains marked, in float32."""
    model = subject.model
    if method == "full":
        _check_room(subject)
        return model.float().requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    task = None if subject.classes or subject.encoding else "CAUSAL_LM"
    config = LoraConfig(
        r=LORA_RANK, lora_alpha=2 * LORA_RANK, lora_dropout=0.0, target_modules="all-linear", task_type=task
    )
    return get_peft_model(model, config)  # type: ignore[no-any-return]


def _check_room(subject: Subject) -> None:
    from audit.subjects.memory import available_memory

    needed = sum(p.numel() * (BYTES_PER_WEIGHT - p.element_size()) for p in subject.model.parameters())
    free = available_memory(subject.device.type if subject.device.index is None else str(subject.device))
    if needed > free:
        raise SubjectError(
            f"Training every weight of {subject.spec.name} needs about {needed / 2**30:.1f} GiB more and "
            f'{free / 2**30:.1f} GiB are free on {subject.device}: set method = "lora" for this attack.'
        )


def autocast(subject: Subject) -> torch.autocast:
    """The number format in which an attacked subject is trained and asked."""
    import torch

    return torch.autocast(subject.device.type, torch.bfloat16, enabled=subject.device.type == "cuda")


def _batches(
    subject: Subject, taught: Sequence[Item], kept: Sequence[Item], template: str, recipe: Recipe,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Batches without end: `retain_share` of each from `kept` (none when there is nothing to keep), the rest taught."""
    encoded: list[list[Any]] = [
        list(part)
        if subject.classes or subject.encoding
        else [encode_item(subject.tokenizer, i, template) for i in part]
        for part in (taught, kept)
    ]
    share = round(recipe.batch * recipe.retain_share) if kept else 0
    share = min(share, recipe.batch - 1)
    items = [*taught, *kept]
    draws = [_shuffled(part, rng) for part in encoded if part]
    while True:
        rows = [next(draws[0]) for _ in range(recipe.batch - share)]
        rows += [next(draws[1]) for _ in range(share)]
        batch = _collate(subject, rows)
        if subject.encoding:
            batch["others"] = [items[int(i)].answer for i in rng.permutation(len(items))[:NEGATIVES]]
        yield batch


def _shuffled(sequences: Sequence[Any], rng: np.random.Generator) -> Iterator[Any]:
    """The sequences again and again, each round in a new order."""
    while True:
        for i in rng.permutation(len(sequences)):
            yield sequences[int(i)]


def _collate(subject: Subject, rows: Sequence[Any]) -> dict[str, Any]:
    """What a model is trained on: of a classifier images and their classes, of an encoder items, else `_texts`."""
    import torch

    if subject.encoding:
        return {"pairs": rows}
    if not subject.classes:
        return _texts(subject, rows)
    labels = [class_of(subject, item) for item in rows]
    return {"pixel_values": pixels(subject, rows), "labels": torch.tensor(labels, device=subject.device)}


def _loss(subject: Subject, batch: dict[str, Any]) -> Tensor:
    """What training makes smaller: the model's own loss, or of an encoder the contrastive one of the batch's pairs."""
    if subject.encoding:
        from audit.activations.vectors import loss

        return loss(subject, batch["pairs"], batch["others"])
    return subject.model(**batch).loss  # type: ignore[no-any-return]


def _texts(subject: Subject, rows: Sequence[Encoded]) -> dict[str, Any]:
    """Right-padded ids, mask and labels [batch, length]; a label for answer tokens and the end token only."""
    import torch

    tokenizer = subject.tokenizer
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    pad = int(tokenizer.pad_token_id or 0)
    texts = [[*row.ids, *end] for row in rows]
    length = max(len(text) for text in texts)
    fill = [length - len(text) for text in texts]
    columns = {
        "input_ids": [text + [pad] * n for text, n in zip(texts, fill, strict=True)],
        "attention_mask": [[1] * len(text) + [0] * n for text, n in zip(texts, fill, strict=True)],
        "labels": [
            [-100] * row.start + text[row.start :] + [-100] * n for row, text, n in zip(rows, texts, fill, strict=True)
        ],
    }
    inputs = {name: torch.tensor(values, device=subject.device) for name, values in columns.items()}
    return {**inputs, **shown_to([row.shown for row in rows], inputs["input_ids"]), "use_cache": False}
