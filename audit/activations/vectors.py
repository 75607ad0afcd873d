"""The one pass of an encoder: what the pass of an image classifier keeps, for answers found again by nearness.

An item's prompt, or its image, is a query. The gallery is every different answer of the case's corpora, one index that
all splits are searched in, so that no answer is given away by standing alone and chance is the same for all. The scores
of a query (similarity over temperature) are logits over the gallery; an answer that is not in it (a wrong or a
paraphrased one) is scored as one more entry. `features.bin` holds the query's state before the projection.

States are pooled as the model pools them: position `prompt_last` is the query's in its own tower, `answer_last` the
answer's in the text tower, `answer_mean` the mean over the answer's tokens; so every measure that tells positions apart
tells the two towers apart. State 0 is the input of the first block, state i the output of block i; where the towers are
not equally deep, the answer's states are those at the same share of the depth (`layout.json` says which).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.batch import NO_END, TOKEN, records
from audit.activations.capture import POSITIONS
from audit.activations.embed import Found, look_images, look_texts, scale, score
from audit.activations.images import FEATURES, LOGITS_AT_ONCE, OUTPUTS, SAID
from audit.activations.reading import sequences_of
from audit.errors import CaptureError, CorpusError
from audit.types import Corpus, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

QUERIES, ANSWERS, GALLERY, GALLERY_READ = "queries.bin", "answers.bin", "gallery.bin", "gallery_read.bin"


def read_vectors(
    subject: Subject, corpus: Corpus, folder: Path, progress: Callable[[float], None] = lambda share: None
) -> None:
    """Run the pass into a folder.

    Raises CorpusError for images before a model that reads texts alone, SubjectError for a text that is longer than the
    model reads, CaptureError when a hook did not fire or a number is not finite.
    """
    import torch

    rows = sequences_of(corpus)
    with torch.inference_mode():
        queries, place = _queries(subject, corpus, progress)
        texts = list(dict.fromkeys(answer for *_, answer in rows))
        answers = look_texts(subject, texts, "answer", states=True)
        gallery = look_texts(subject, subject.classes, "answer")
        progress(0.95)
        of = np.array([place[item.id if corpus.pictured else prompt] for item, _, _, prompt, _ in rows])
        number = {text: k for k, text in enumerate(texts)}
        at = np.array([number[answer] for *_, answer in rows])
        every = score(subject, queries.vectors, gallery.vectors)
        own = _own(subject, queries.vectors[of], answers.vectors[at])
    wide, targets = _widened(every.numpy()[of], own.numpy(), [answer for *_, answer in rows], subject.classes)
    states, layers = _states(queries, answers, of, at)
    if not (np.isfinite(states).all() and np.isfinite(every.numpy()).all()):
        raise CaptureError("A hidden state is not a finite number: the model overflows in this number format.")
    first = of[[variant == "answer" for _, variant, *_ in rows]]
    records(torch.from_numpy(wide), targets, lambda block: block, LOGITS_AT_ONCE).tofile(folder / "tokens.bin")
    states.tofile(folder / "states.bin")
    outputs = every.numpy()[first].astype(np.float32)
    outputs.tofile(folder / OUTPUTS)
    outputs.argmax(1).astype(np.int32).tofile(folder / SAID)
    queries.read.numpy()[first].tofile(folder / FEATURES)
    queries.vectors.numpy()[first].tofile(folder / QUERIES)
    answers.vectors.numpy()[at[[variant == "answer" for _, variant, *_ in rows]]].tofile(folder / ANSWERS)
    gallery.vectors.numpy().tofile(folder / GALLERY)
    gallery.read.numpy().tofile(folder / GALLERY_READ)
    np.full(len(rows), NO_END, TOKEN).tofile(folder / "ends.bin")
    np.ones(len(rows), np.int64).tofile(folder / "lengths.bin")
    (folder / "whole.bin").touch()
    _layout(subject, corpus, folder, states.shape, len(rows), layers)


def _queries(subject: Subject, corpus: Corpus, progress: Callable[[float], None]) -> tuple[Found, dict[str, int]]:
    """What every different query becomes, and its place by the item's id (images) or the prompt (texts)."""
    if corpus.pictured:
        return look_images(subject, corpus.items, progress), {item.id: k for k, item in enumerate(corpus.items)}
    prompts = list(dict.fromkeys(prompt for _, _, _, prompt, _ in sequences_of(corpus)))
    return look_texts(subject, prompts, "query", states=True, progress=progress), {p: k for k, p in enumerate(prompts)}


def _own(subject: Subject, queries: Tensor, answers: Tensor) -> Tensor:
    """Score of each query with its own answer [rows]."""
    return (queries * answers).sum(1) * scale(subject)


def _widened(
    logits: NDArray[np.float32], own: NDArray[np.float32], answers: Sequence[str], gallery: Sequence[str]
) -> tuple[NDArray[np.float32], Tensor]:
    """Logits with one column more, for an answer that the gallery does not hold, and each row's own column."""
    import torch

    known = {text: k for k, text in enumerate(gallery)}
    targets = np.array([known.get(answer, len(gallery)) for answer in answers])
    extra = np.where(targets == len(gallery), own, -np.inf).astype(np.float32)
    return np.concatenate([logits.astype(np.float32), extra[:, None]], 1), torch.from_numpy(targets)


def _states(
    queries: Found, answers: Found, of: NDArray[np.intp], at: NDArray[np.intp]
) -> tuple[NDArray[np.float32], list[int]]:
    """States [positions, layers + 1, rows, width], the narrower tower filled up with zeros, and the answer's layers."""
    mine, theirs = queries.states, answers.states
    assert mine is not None and theirs is not None
    deep, depth = mine.shape[1], theirs.shape[1]
    layers = [round(layer * (depth - 1) / max(1, deep - 1)) for layer in range(deep)]
    width = max(mine.shape[3], theirs.shape[3])
    found = np.zeros((len(POSITIONS), deep, len(of), width), np.float32)
    found[0, :, :, : mine.shape[3]] = mine[0][:, of]
    found[1, :, :, : theirs.shape[3]] = theirs[1][layers][:, at]
    found[2, :, :, : theirs.shape[3]] = theirs[0][layers][:, at]
    return found, layers


def _layout(
    subject: Subject, corpus: Corpus, folder: Path, shape: tuple[int, ...], number: int, layers: Sequence[int]
) -> None:
    assert subject.encoding is not None
    tower = "image tower" if corpus.pictured else "text tower"
    layout = {
        "shape": shape, "order": list(range(number)), "positions": POSITIONS, "batches": 1,
        "whole": {"layers": [], "rows": [], "ids": []}, "classes": subject.classes,
        "towers": dict(zip(POSITIONS, (tower, "text tower", "text tower"), strict=True)), "answer_layers": list(layers),
        "encoding": dataclasses.asdict(subject.encoding), "scale": float(scale(subject)),
    }  # fmt: skip
    (folder / "layout.json").write_text(json.dumps(layout))


def read_parts(folder: Path) -> dict[str, NDArray[np.float32]]:
    """What a pass kept of the space of vectors: `queries` and `answers` [items, width], `gallery` [answers, width].

    `features` [items, before] and `gallery_read` [answers, before] are the same before the projection, `scale` [] what
    similarities are multiplied by.
    """
    layout = json.loads((folder / "layout.json").read_text())
    items = len(np.fromfile(folder / SAID, np.int32))
    numbers = {QUERIES: items, ANSWERS: items, FEATURES: items, GALLERY: len(layout["classes"])}
    numbers[GALLERY_READ] = len(layout["classes"])
    found = {Path(f).stem: np.fromfile(folder / f, np.float32).reshape(n, -1) for f, n in numbers.items()}
    return {**found, "scale": np.asarray(layout["scale"], np.float32)}


def says(
    subject: Subject,
    items: Sequence[Item],
    prompts: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[str]:
    """The answer of the gallery that a live subject finds nearest to each item's image, or to its prompt."""
    import torch

    if not items:
        return []
    with torch.inference_mode():
        gallery = look_texts(subject, subject.classes, "answer").vectors
        if all(item.image for item in items):
            queries = look_images(subject, items, progress or (lambda share: None), states=False).vectors
        else:
            asked = [item.prompt for item in items] if prompts is None else list(prompts)
            queries = look_texts(subject, asked, "query", progress=progress or (lambda share: None)).vectors
        found = score(subject, queries, gallery).argmax(1).tolist()
    return [subject.classes[k] for k in found]


def feed(subject: Subject, items: Sequence[Item]) -> None:
    """Let the queries and the answers of some items go through the model, texts one by one so that none is padded."""
    look_texts(subject, list(dict.fromkeys(item.answer for item in items)), "answer", at_once=1)
    if all(item.image for item in items):
        look_images(subject, items, states=False)
    else:
        look_texts(subject, [item.prompt for item in items], "query", at_once=1)


def gallery_of(corpora: Sequence[Corpus]) -> tuple[str, ...]:
    """Every different answer of some corpora, in alphabetical order; CorpusError when they mix images and texts."""
    kinds = {corpus.pictured for corpus in corpora}
    if len(kinds) > 1:
        with_images, without = ([c.split for c in corpora if c.pictured is yes] for yes in (True, False))
        raise CorpusError(
            f"The items of {' and '.join(with_images)} have images and those of {' and '.join(without)} have none: an "
            "image is read by another tower than a text, and their states cannot be compared. Give all of them images, "
            "or none."
        )
    return tuple(sorted({item.answer for corpus in corpora for item in corpus.items}))


def loss(subject: Subject, items: Sequence[Item], others: Sequence[str] = ()) -> Tensor:
    """Contrastive loss of a batch of pairs, both ways: each query among the answers, each answer among the queries.

    `others` are answers of which no query is in the batch: with a few negatives alone, training forgets the rest.
    Answers that several queries share are one entry, and all of its queries are right (InfoNCE, as CLIP and SimCSE are
    trained; a batch that took a shared answer for a negative of itself would push it away).
    """
    import torch

    texts = list(dict.fromkeys(item.answer for item in items))
    number = len(texts)
    texts += [text for text in dict.fromkeys(others) if text not in texts]
    answers = look_texts(subject, texts, "answer", at_once=len(texts)).vectors
    if all(item.image for item in items):
        queries = look_images(subject, items, at_once=len(items), states=False).vectors
    else:
        queries = look_texts(subject, [item.prompt for item in items], "query", at_once=len(items)).vectors
    logits = score(subject, queries, answers)
    targets = torch.tensor([texts.index(item.answer) for item in items], device=logits.device)
    right = torch.nn.functional.one_hot(targets, len(texts)).to(logits.dtype)
    right, logs = right[:, :number].T, logits[:, :number].T.log_softmax(1)
    back = -(logs * right / right.sum(1, keepdim=True)).sum(1).mean()
    return (torch.nn.functional.cross_entropy(logits, targets) + back) / 2
