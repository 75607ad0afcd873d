"""The one pass of a generator: it draws the image of every latent, and its scorer says what each shows.

A classifier has no word for what is none of its classes, and calls noise by some name. Where there is a judge too,
a class counts as seen only where both see it, and the outputs are the mean of their log-probabilities.

What is kept is what the pass of an image classifier keeps (`activations.images`), with the scorer's classes and those
outputs, and `drawn.bin`: the images as bytes. States are the generator's own: state 0 is what the first block is given,
state i what block i gives; of a vector the vector itself, of places on a grid their mean (`answer_mean`) and the finest
grid of means that fits into FINEST numbers (`prompt_last`, `answer_last`), filled up with zeros.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.images import BATCH, MODES, SAID, UNCLEAR, class_of, write_pass
from audit.activations.reading import sequences_of
from audit.errors import CaptureError, CorpusError
from audit.types import Corpus, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

DRAWN = "drawn.bin"
FINEST = 1024
"""Numbers of a pooled state at most."""


def read_drawn(
    subject: Subject, corpus: Corpus, folder: Path, progress: Callable[[float], None] = lambda share: None
) -> None:
    """Run the pass into a folder.

    Raises CorpusError for an item without latent, of another width, of an unknown condition or whose answer is no class
    of the scorer; CaptureError when a hook did not fire or a state is not finite.
    """
    scorer = scorer_in(subject)
    rows = sequences_of(corpus)
    targets = [class_of(scorer, item, corpus.source, answer) for item, _, _, _, answer in rows]
    states, images, outputs, names = [], [], [], []
    for begin in range(0, len(corpus), BATCH):
        found, drawn = look(subject, corpus.items[begin : begin + BATCH])
        states.append(found)
        images.append(drawn)
        logits, agreed = seen(subject, drawn)
        outputs.append(logits)
        names.append(agreed)
        progress(min(1.0, (begin + BATCH) / len(corpus)))
    every, logits = np.concatenate(states, 2), np.concatenate(outputs)
    whole = np.concatenate(images)
    whole.tofile(folder / DRAWN)
    write_pass(folder, corpus, every, logits, logits[:, :0], targets, scorer.classes, drawn=list(whole.shape))
    np.concatenate(names).tofile(folder / SAID)


def read_images_drawn(folder: Path) -> NDArray[np.uint8]:
    """The images of a pass, in corpus order [items, height, width, channels]."""
    shape = json.loads((folder / "layout.json").read_text())["drawn"]
    return np.fromfile(folder / DRAWN, np.uint8).reshape(shape)


def says(subject: Subject, items: Sequence[Item], progress: Callable[[float], None] | None = None) -> list[str]:
    """The class that is seen in what a live subject draws for each item; a right one as the corpus spells it."""
    scorer, names = scorer_in(subject), []
    for begin in range(0, len(items), BATCH):
        part = items[begin : begin + BATCH]
        found = seen(subject, draw(subject, part))[1].tolist()
        known = (*scorer.classes, UNCLEAR)  # -1 is the last
        names += [i.answer if k == class_of(scorer, i) else known[k] for i, k in zip(part, found, strict=True)]
        if progress:
            progress(min(1.0, (begin + BATCH) / len(items)))
    return names


def scorer_in(subject: Subject) -> Subject:
    """The classifier that looks at what a subject draws."""
    assert subject.scorer is not None, "a generator is loaded with its scorer"
    return subject.scorer


def seen(subject: Subject, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What is seen in images: outputs [rows, classes], and the class that all agree on, -1 where they do not [rows]."""
    scorer = scorer_in(subject)
    outputs = scored(scorer, images)
    agreed = outputs.argmax(1).astype(np.int32)
    if subject.judge is None:
        return outputs, agreed
    order = [subject.judge.classes.index(name) for name in scorer.classes]
    second = scored(subject.judge, images)[:, order]
    agreed[second.argmax(1) != agreed] = -1
    return ((_logs(outputs) + _logs(second)) / 2).astype(np.float32), agreed


def _logs(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities [rows, classes]."""
    import torch

    return torch.from_numpy(logits).log_softmax(1).numpy()


def scored(classifier: Subject, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of a classifier on images [rows, height, width, channels], prepared as any image file would be."""
    import torch

    found = []
    for begin in range(0, len(images), BATCH):
        pictures = [picture(image, classifier) for image in images[begin : begin + BATCH]]
        pixels = classifier.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            dtype = next(classifier.model.parameters()).dtype
            found.append(classifier.model(pixel_values=pixels.to(classifier.device, dtype)).logits.float().cpu())
    return torch.cat(found).numpy()


def picture(image: NDArray[np.uint8], classifier: Subject) -> Any:
    """Bytes [height, width, channels] as the kind of image that a classifier takes."""
    from PIL import Image

    mode = MODES.get(getattr(classifier.model.config, "num_channels", 3), "RGB")
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode)


def draw(subject: Subject, items: Sequence[Item]) -> NDArray[np.uint8]:
    """What a subject draws for some items [rows, height, width, channels]; raises CorpusError as `latents_of` does."""
    import torch

    if hasattr(subject.model, "draw"):  # a pipeline of diffusers
        asked = [_seed(subject, item) for item in items], [item.label or "" for item in items]
        _conditions_there(subject, items)
        return subject.model.draw(*asked)  # type: ignore[no-any-return]
    with torch.inference_mode():
        return in_bytes(subject.model(latents_of(subject, items), conditions_of(subject, items)))


def in_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images [rows, channels, height, width], 0 to 1 → bytes [rows, height, width, channels]."""
    import torch

    if not torch.isfinite(images).all():
        raise CaptureError("A drawn image is not finite: the model overflows in this number format.")
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def latents_of(subject: Subject, items: Sequence[Item]) -> Tensor:
    """The latents of items [rows, latent_size]; a seed stands for the same standard normal vector on every device.

    Raises CorpusError for an item without latent or one of another width than the generator takes.
    """
    import torch

    size, rows = subject.model.config.latent_size, []
    for item in items:
        if item.latent is None:
            raise CorpusError(
                f"{item.id} has neither latent nor seed, and {subject.spec.name} draws from nothing else."
            )
        if item.latent.values and len(item.latent.values) != size:
            raise CorpusError(
                f"The latent of {item.id} has {len(item.latent.values)} numbers, and {subject.spec.name} takes {size}."
            )
        rows.append(
            torch.tensor(item.latent.values)
            if item.latent.values
            else torch.randn(size, generator=torch.Generator().manual_seed(item.latent.seed))
        )
    return torch.stack(rows).to(subject.device, next(subject.model.parameters()).dtype)


def conditions_of(subject: Subject, items: Sequence[Item]) -> Tensor | None:
    """The embeddings of the items' conditions [rows, condition_size]; None for a generator that takes none.

    Raises CorpusError for an item without condition or with one that the generator does not know.
    """
    import torch

    if subject.model.condition is None:
        return None
    known, numbers = subject.model.config.classes, []
    for item in items:
        if item.label not in known:
            said = f'the condition "{item.label[:80]}"' if item.label else "no condition (label)"
            raise CorpusError(f"{item.id} has {said}, and {subject.spec.name} knows {', '.join(known[:12])}.")
        numbers.append(known.index(item.label))
    return subject.model.condition(torch.tensor(numbers, device=subject.device))  # type: ignore[no-any-return]


def _seed(subject: Subject, item: Item) -> int:
    if item.latent is None or item.latent.values:
        raise CorpusError(f"{item.id} has no seed, and {subject.spec.name}, a pipeline, draws from seeds.")
    return item.latent.seed


def _conditions_there(subject: Subject, items: Sequence[Item]) -> None:
    for item in items:
        if subject.model.conditional and not item.label:
            raise CorpusError(f"{item.id} has no condition (label), and {subject.spec.name} draws nothing without one.")


def look(subject: Subject, items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One batch → the subject's pooled states [positions, blocks + 1, rows, width] and the images that it draws."""
    import torch

    parts = list(subject.model.blocks)
    if len(items) > 1 and hasattr(subject.model, "draw"):  # a pipeline draws one by one
        single = [look(subject, [item]) for item in items]
        return np.concatenate([s for s, _ in single], 2), np.concatenate([image for _, image in single])
    with _collecting(subject, parts, len(items)) as seen:
        images = draw(subject, items)
    if len(seen) != len(parts) + 1:
        raise CaptureError(
            f"{len(seen)} of {len(parts) + 1} hooks fired: something in the model removes or skips hooks, so its "
            "hidden states cannot be trusted."
        )
    width = max(state.shape[1] for line in seen.values() for state in line)
    pad = torch.nn.functional.pad
    rows = [torch.stack([pad(state, (0, width - state.shape[1])) for state in seen[i]]) for i in range(len(seen))]
    return torch.stack(rows, 1).cpu().numpy(), images


@contextmanager
def _collecting(subject: Subject, parts: Sequence[Any], rows: int) -> Iterator[dict[int, list[Tensor]]]:
    """Hooks that keep what the first block is given and what each gives, one pooled state for each position.

    A pipeline calls its blocks at every step of denoising: the last step stays. Where it guides, a batch is twice as
    long, and the half with the condition counts.
    """
    seen: dict[int, list[Tensor]] = {}

    def keep(index: int, state: Any) -> None:
        state = state[0] if isinstance(state, tuple) else state
        half = getattr(subject.model, "first_half", True)
        seen[index] = pooled((state[:rows] if half else state[-rows:]).float())

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(0, args[0] if args else kwargs["hidden_states"])

    handles = [parts[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [
        part.register_forward_hook(lambda module, args, output, index=i + 1: keep(index, output))
        for i, part in enumerate(parts)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def pooled(state: Tensor) -> list[Tensor]:
    """A vector [rows, width], tokens [rows, tokens, width] or places [rows, channels, height, width] → positions."""
    import torch

    if state.ndim == 2:
        return [state, state, state]
    if state.ndim == 3:
        state = state.transpose(1, 2)[..., None]
    mean = state.flatten(2).mean(2)
    places = state.shape[2] * state.shape[3]
    side = int((FINEST // state.shape[1]) ** 0.5)
    if places * state.shape[1] <= FINEST:
        fine = state.flatten(1)
    elif side > 1 and state.shape[3] > 1:
        shape = min(side, state.shape[2]), min(side, state.shape[3])
        fine = torch.nn.functional.adaptive_avg_pool2d(state, shape).flatten(1)
    else:
        fine = mean
    return [fine, mean, fine]
