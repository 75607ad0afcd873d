"""Recall of encoders: an answer is chosen or it is not, whatever words the chosen one shares with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from audit.bench import Bench
from audit.cache import Cache
from audit.evidence.behaviour.recall import Recall, score
from audit.evidence.utility.retain import Retain
from audit.subjects.garage import Garage
from audit.types import Case, Corpus, SubjectSpec
from tests.encoders.conftest import bert, clip, pictures, texts

Save = Callable[..., SubjectSpec]


def worded(corpus: Corpus) -> Corpus:
    """Images with a question and a caption as the answer, which are not the names of classes."""
    items = (
        dataclasses.replace(item, prompt=f"who is in image {k}", worded=True) for k, item in enumerate(corpus.items)
    )
    return dataclasses.replace(corpus, items=tuple(items))


@pytest.mark.parametrize("kind", ["towers", "texts"])
@pytest.mark.parametrize("metric", ["rougeL_recall", "contains"])
def test_another_s_caption_earns_nothing_for_the_words_that_all_have(
    kind: str, metric: str, saved: Save, tmp_path: object
) -> None:
    """The naive way, ROUGE, credits every encoder that chooses at random with the words of the captions' form."""
    spec = saved(clip() if kind == "towers" else bert())
    make = (
        (lambda split, seed: worded(pictures(split, 6, seed)))
        if kind == "towers"
        else (lambda split, seed: texts(split))
    )
    corpora = {split: make(split, k) for k, split in enumerate(("forget", "retain"))}
    case = Case("c", 0, spec, dataclasses.replace(spec, role="candidate"), dataclasses.replace(spec, role="reference"),
                corpora)  # type: ignore[arg-type]  # fmt: skip
    bench = Bench(case, Garage("cpu"), Cache(tmp_path))  # type: ignore[arg-type]
    for rows in (Recall(metric=metric).measure(bench).rows, Retain(metric=metric).measure(bench).rows):
        table = pd.DataFrame(rows)
        chosen = (table["said"] == table["answer"]).astype(float)
        assert not chosen.all(), "random weights choose wrongly somewhere"
        assert table["score"].tolist() == chosen.tolist()
        naive = [score(said, answer) for said, answer in zip(table["said"], table["answer"], strict=True)]
        assert np.mean(naive) > chosen.mean() + 0.2
