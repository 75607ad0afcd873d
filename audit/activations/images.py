"""The one pass of an image classifier: what the pass of a language model keeps, for answers that are one class.

An image is the prompt, the name of its class an answer of one token over the classes. States are pooled over the image:
position `answer_mean` is the mean over patches or places, `prompt_last` and `answer_last` are the class token where the
model has one and that mean where it has none. State 0 is the input of the first block or stage, state i the output of
block or stage i; those of fewer channels than the widest are filled up with zeros, which changes no distance between
two of them. `said.bin` and `outputs.bin` hold the predicted class and the logits,
`features.bin` what the last linear layer reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.batch import NO_END, TOKEN, records
from audit.activations.capture import POSITIONS
from audit.activations.reading import sequences_of
from audit.corpora.images import open_image
from audit.errors import CaptureError, CorpusError, SubjectError
from audit.types import Corpus, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from audit.subjects.load import Subject

BATCH = 64
LOGITS_AT_ONCE = 4096
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for an image of so many channels."""
CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")
CONTAINERS = ("layer", "layers", "blocks", "stages")
"""What a model calls the list of its blocks or stages; the first of the right length is taken."""
UNCLEAR = "unclear"
"""What is said of a drawn image in which scorer and judge see different classes; its number is -1."""
SAID, OUTPUTS, FEATURES = "said.bin", "outputs.bin", "features.bin"


def read_images(
    subject: Subject, corpus: Corpus, folder: Path, progress: Callable[[float], None] = lambda share: None
) -> None:
    """Run the pass into a folder.

    Raises CorpusError for an item without image or whose label is no class of the model, SubjectError for a model whose
    outputs are not its classes, CaptureError when a hook did not fire or a state is not finite.
    """
    import torch

    rows = sequences_of(corpus)
    targets = [class_of(subject, item, corpus.source, answer) for item, _, _, _, answer in rows]
    states, outputs, features = [], [], []
    with torch.inference_mode():
        for begin in range(0, len(corpus), BATCH):
            items = corpus.items[begin : begin + BATCH]
            found, read, logits = look(subject, items)
            states.append(found)
            outputs.append(logits.cpu().numpy())
            features.append(read.cpu().numpy())
            progress(min(1.0, (begin + BATCH) / len(corpus)))
    whole = np.concatenate(outputs).astype(np.float32)
    write_pass(folder, corpus, np.concatenate(states, 2), whole, np.concatenate(features), targets, subject.classes)


def write_pass(
    folder: Path,
    corpus: Corpus,
    states: NDArray[np.float32],
    logits_all: NDArray[np.float32],
    features: NDArray[np.float32],
    targets: Sequence[int],
    classes: Sequence[str],
    **more: Any,
) -> None:
    """Write what a pass over one image for each item found; `targets` are the classes of all `sequences_of` the corpus.

    Other answers to an image are read off the same pass. Raises CaptureError for what is not finite.
    """
    import torch

    places = {item.id: k for k, item in enumerate(corpus.items)}
    of = np.array([places[item.id] for item, *_ in sequences_of(corpus)])
    every = states[:, :, of]
    if not (np.isfinite(every).all() and np.isfinite(logits_all).all()):
        raise CaptureError("A hidden state is not a finite number: the model overflows in this number format.")
    number = len(of)
    tokens = records(torch.from_numpy(logits_all[of]), torch.tensor(targets), lambda block: block, LOGITS_AT_ONCE)
    every.tofile(folder / "states.bin")
    tokens.tofile(folder / "tokens.bin")
    logits_all.tofile(folder / OUTPUTS)
    features.astype(np.float32).tofile(folder / FEATURES)
    logits_all.argmax(1).astype(np.int32).tofile(folder / SAID)
    np.full(number, NO_END, TOKEN).tofile(folder / "ends.bin")
    np.ones(number, np.int64).tofile(folder / "lengths.bin")
    (folder / "whole.bin").touch()
    layout = {
        "shape": every.shape, "order": list(range(number)), "positions": POSITIONS, "batches": 1,
        "whole": {"layers": [], "rows": [], "ids": []}, "classes": list(classes), **more,
    }  # fmt: skip
    (folder / "layout.json").write_text(json.dumps(layout))


def read_said(folder: Path, corpus: Corpus) -> list[str]:
    """The name of the class that a pass found for each image, in corpus order; a right one as the corpus spells it."""
    classes = json.loads((folder / "layout.json").read_text())["classes"]
    first = [variant == "answer" for _, variant, *_ in sequences_of(corpus)]
    true = np.fromfile(folder / "tokens.bin", TOKEN)["id"][first]
    found = np.fromfile(folder / SAID, np.int32)
    classes = [*classes, UNCLEAR]
    return [i.answer if k == t else classes[k] for i, k, t in zip(corpus.items, found, true, strict=True)]


def read_outputs(folder: Path) -> NDArray[np.float32]:
    """The logits of a pass, in corpus order [items, classes]."""
    layout = json.loads((folder / "layout.json").read_text())
    return np.fromfile(folder / OUTPUTS, np.float32).reshape(-1, len(layout["classes"]))


def read_features(folder: Path) -> NDArray[np.float32]:
    """What the last linear layer read in a pass, in corpus order [items, features]."""
    number = len(np.fromfile(folder / SAID, np.int32))
    return np.fromfile(folder / FEATURES, np.float32).reshape(number, -1)


def read_classes(folder: Path) -> tuple[str, ...]:
    """The names of the classes in the order of the logits."""
    return tuple(json.loads((folder / "layout.json").read_text())["classes"])


def says(subject: Subject, items: Sequence[Item], progress: Callable[[float], None] | None = None) -> list[str]:
    """The name of the class that a live subject finds for each item's image; a right one as the corpus spells it."""
    import torch

    names: list[str] = []
    with torch.inference_mode():
        for begin in range(0, len(items), BATCH):
            part = items[begin : begin + BATCH]
            found = subject.model(pixel_values=pixels(subject, part)).logits.argmax(1).tolist()
            names += [
                i.answer if k == class_of(subject, i) else subject.classes[k] for i, k in zip(part, found, strict=True)
            ]
            if progress:
                progress(min(1.0, (begin + BATCH) / len(items)))
    return names


def class_of(subject: Subject, item: Item, source: str = "", answer: str | None = None) -> int:
    """The class of an item, or of another answer to it: by its name, else by its number.

    Raises CorpusError when the model has no such class.
    """
    answer = item.answer if answer is None else answer
    if answer in subject.classes:
        return subject.classes.index(answer)
    if answer.isascii() and answer.isdecimal() and int(answer[:9]) < len(subject.classes):
        return int(answer[:9])
    place = item.image.place if item.image else f"{item.id} ({source})"
    known = ", ".join(subject.classes[:8]) + (", …" if subject.classes[8:] else "")
    raise CorpusError(f'{place}: the label "{answer[:80]}" is no class of {subject.spec.name}, which knows {known}.')


def pixels(subject: Subject, items: Sequence[Item]) -> Tensor:
    """The items' images as the model takes them [rows, channels, height, width].

    Raises CorpusError for an item without image or an image that cannot be decoded.
    """
    mode = MODES.get(getattr(subject.model.config, "num_channels", 3), "RGB")
    images = []
    for item in items:
        if item.image is None:
            raise CorpusError(f"{item.id} has no image, and {subject.spec.name} reads nothing else.")
        images.append(open_image(item.image).convert(mode))
    assert subject.processor is not None
    found = subject.processor(images=images, return_tensors="pt")["pixel_values"]
    return found.to(subject.device, next(subject.model.parameters()).dtype)  # type: ignore[no-any-return]


def look(subject: Subject, items: Sequence[Item]) -> tuple[NDArray[np.float32], Tensor, Tensor]:
    """One batch → its states [positions, layers + 1, rows, width], what the head reads, its logits; all float32."""
    import torch

    parts, last = blocks(subject.model), head(subject.model)
    read: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda module, args: read.append(args[0].flatten(1).float()))
    try:
        with _collecting(subject.model, parts) as seen:
            logits = subject.model(pixel_values=pixels(subject, items)).logits.float()
    finally:
        handle.remove()
    if len(read) != 1 or not torch.allclose(_apply(last, read[0]), logits, atol=0.03 * float(logits.abs().max())):
        raise CaptureError(
            f"The last linear layer of {type(subject.model).__name__} does not give its logits; this architecture is "
            "not supported yet."
        )
    if len(seen) != len(parts) + 1:
        raise CaptureError(
            f"{len(seen)} of {len(parts) + 1} hooks fired: something in the model removes or skips hooks, so its "
            "hidden states cannot be trusted."
        )
    if logits.shape[1] != len(subject.classes):
        raise SubjectError(
            f"{subject.spec.name} has {logits.shape[1]} outputs and {len(subject.classes)} names of classes; they do "
            "not belong together."
        )
    width = max(state.shape[-1] for state in seen.values())
    pad = torch.nn.functional.pad
    states = [pad(seen[i].float(), (0, width - seen[i].shape[-1])) for i in range(len(seen))]
    return torch.stack(states, 1).cpu().numpy(), read[0], logits


def _apply(linear: nn.Linear, read: Tensor) -> Tensor:
    import torch

    bias = None if linear.bias is None else linear.bias.float()
    return torch.nn.functional.linear(read, linear.weight.float(), bias)


@contextmanager
def _collecting(model: Any, parts: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Hooks that keep the pooled input of the first part and output of each [positions, rows, width]."""
    seen: dict[int, Tensor] = {}
    token = has_class_token(model)

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[0] = pooled(args[0] if args else kwargs["hidden_states"], token)

    def after(index: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            seen[index] = pooled(output[0] if isinstance(output, tuple) else output, token)

        return hook

    handles = [parts[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [part.register_forward_hook(after(i + 1)) for i, part in enumerate(parts)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def pooled(state: Tensor, class_token: bool) -> Tensor:
    """Tokens [rows, tokens, width] or places [rows, channels, height, width] → [positions, rows, width]."""
    import torch

    if state.ndim == 4:
        mean = state.mean((2, 3))
        return torch.stack([mean, mean, mean])
    if not class_token:
        mean = state.mean(1)
        return torch.stack([mean, mean, mean])
    return torch.stack([state[:, 0], state[:, 1:].mean(1), state[:, 0]])


def has_class_token(model: Any) -> bool:
    """Whether the first token stands for the whole image."""
    return any(name.rpartition(".")[2] in CLASS_TOKENS for name, _ in model.named_parameters())


def blocks(model: Any) -> list[nn.Module]:
    """The blocks or stages, in order; raises SubjectError for a model where they cannot be told."""
    from torch import nn

    config = model.config
    counts = [getattr(config, "num_hidden_layers", None)]
    counts += [len(sizes) for name in ("depths", "hidden_sizes") if (sizes := getattr(config, name, None))]
    for name, module in model.named_modules():
        listed = isinstance(module, (nn.ModuleList, nn.Sequential)) and name.rpartition(".")[2] in CONTAINERS
        if listed and len(module) > 1 and (len(module) in counts or not any(counts)):
            return list(module)
    plain = getattr(model, "inner", model)  # what was put around a model of timm is looked through
    named = [part for k in range(1, 9) if (part := getattr(plain, f"layer{k}", None)) is not None]
    if named:  # the residual networks of timm and torchvision
        return named
    raise SubjectError(f"{type(model).__name__} has no list of blocks; its hidden states cannot be read.")


def head(model: Any) -> nn.Linear:
    """The last linear layer, which gives the logits of the classes; raises SubjectError when there is none."""
    from torch import nn

    wanted = getattr(model.config, "num_labels", None)
    found = [m for m in model.modules() if isinstance(m, nn.Linear) and wanted in (None, m.out_features)]
    if not found:
        raise SubjectError(f"{type(model).__name__} has no linear layer that gives its classes.")
    return found[-1]
