"""What one pass over a corpus reads: every prompt with every answer that some evidence asks for, in one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from audit.errors import CaseError
from audit.types import Corpus, Item

if TYPE_CHECKING:
    from audit.subjects.load import Subject

Variant = Literal["answer", "paraphrase", "wrong", "paraphrased_answer"]


def sequences_of(corpus: Corpus) -> list[tuple[Item, Variant, int, str, str]]:
    """Everything that the one pass reads for a corpus: item, variant, index, prompt, answer."""
    rows: list[tuple[Item, Variant, int, str, str]] = []
    for item in corpus.items:
        rows.append((item, "answer", 0, item.prompt, item.answer))
        rows += [(item, "paraphrase", k, prompt, item.answer) for k, prompt in enumerate(item.paraphrases)]
        if item.paraphrased_answer:
            rows.append((item, "paraphrased_answer", 0, item.prompt, item.paraphrased_answer))
        rows += [(item, "wrong", k, item.prompt, wrong) for k, wrong in enumerate(item.wrong_answers)]
    return rows


def read_corpus(
    subject: Subject,
    corpus: Corpus,
    template: str,
    folder: Path,
    *,
    whole: Sequence[int] = (),
    layers: Sequence[int] = (),
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Run the pass into a folder, with every token of the true answers of the items in `whole` at `layers`.

    No `layers` means a middle and a late one. Raises TooLong for an item that is longer than the model reads, and
    CaseError for a block that it has not.
    """
    from audit.activations.capture import Whole, capture
    from audit.activations.encode import encode

    if subject.encoding:
        from audit.activations.vectors import read_vectors

        read_vectors(subject, corpus, folder, progress)
        return
    if subject.scorer is not None:
        from audit.activations.drawing import read_drawn

        read_drawn(subject, corpus, folder, progress)
        return
    if subject.classes:
        from audit.activations.images import read_images

        read_images(subject, corpus, folder, progress)
        return
    read_at = _layers(subject, layers)
    wanted = sequences_of(corpus)
    sequences = [
        encode(subject.tokenizer, prompt, answer, template, item.image, name_of(item, variant, index))
        for item, variant, index, prompt, answer in wanted
    ]
    np.asarray([len(s) - s.start for s in sequences], np.int64).tofile(folder / "lengths.bin")
    answers = [k for k, (_, variant, *_) in enumerate(wanted) if variant == "answer"]
    kept = Whole(tuple(answers[i] for i in whole), read_at) if read_at else Whole()
    capture(subject, sequences, folder, whole=kept, progress=progress)


def name_of(item: Item, variant: Variant, index: int) -> str:
    """What a sequence is called in a sentence."""
    return f"Item {item.id}" + ("" if variant == "answer" else f" ({variant.replace('_', ' ')} {index + 1})")


def _layers(subject: Subject, named: Sequence[int]) -> tuple[int, ...]:
    """The blocks at which every token is kept; none where a subject shows no states."""
    from audit.activations.layers import decoder_layers, dictionary_layers, shows_states

    if not shows_states(subject.model):
        return ()
    blocks = len(decoder_layers(subject.model))
    if named and max(named) > blocks:
        raise CaseError(f"A dictionary was made for block {max(named)}, but the models have {blocks}.")
    return tuple(named) or dictionary_layers(blocks)
